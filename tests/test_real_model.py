"""A real language model on llama.cpp's server, where `scripts/real_model` has started one; skipped elsewhere."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from conftest import Configs
from engine.config import ModelConfig
from engine.llm.backends.server import asked
from engine.runs.api import arun

ROOT = os.environ.get("DATAGEN_REAL_MODEL_URL", "http://127.0.0.1:28080")


def metrics() -> dict[str, float]:
    with urllib.request.urlopen(f"{ROOT}/metrics", timeout=2) as reply:  # noqa: S310 - on loopback
        return {
            name: float(value)
            for name, value in re.findall(r"^(\S+) (\S+)$", reply.read().decode(), re.MULTILINE)
        }


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    try:
        metrics()
    except (urllib.error.URLError, OSError):
        pytest.skip(f"no model answers at {ROOT}; start one with scripts/real_model")


async def test_it_says_how_much_it_works_on_at_once() -> None:
    facts = await asked(ModelConfig(name="smollm2", base_url=f"{ROOT}/v1"))
    assert facts.software == "llama.cpp"
    assert (facts.at_once or 0) >= 1
    assert (facts.context or 0) >= 512


async def test_a_run_ends_in_order_and_its_account_is_the_servers(configs: Configs, tmp_path: Path) -> None:
    before = metrics()
    config = configs.load(
        f"{ROOT}/v1",
        generate={"target": 4, "batch_size": 1, "max_tokens": 200},
        limits={"attempts": 3, "concurrency": 32},
    )
    report = await arun(config, tmp_path / "run")
    after = metrics()
    assert report.outcome in ("target", "attempts")
    items = report.data["items"]
    assert items["generated"] == items["accepted"] + items["rejected"] + items["surplus"]
    assert not report.data["cost"]["unconfirmed_usd"]
    made = after["llamacpp:tokens_predicted_total"] - before["llamacpp:tokens_predicted_total"]
    assert abs(report.data["usage"]["completion_tokens"] - made) <= report.data["calls"]["completed"]

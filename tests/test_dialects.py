"""Every dialect with every style of thinking: the same job, with all validators, comes to the same end."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
import yaml

from conftest import ROOT, Configs, Start, datagen, finished, lines, run_in
from engine.config import RunConfig
from engine.config.simulator import Dialect, Thinking
from engine.report.summary import Report
from engine.simulator.content.facts import draw
from engine.simulator.dialects.table import DIALECTS
from engine.simulator.dialects.thinking import DRAFT
from engine.simulator.server import Simulator
from engine.simulator.truth import is_right
from test_facts import documents

__all__ = ["documents"]

PRICE = {"input": 1.0, "output": 2.0, "cached_input": 0.5, "cache_write": 1.25}
STYLES = get_args(Thinking)
DEFECTS = {"wrong_labels": 0.4, "wrong_facts": 0.4, "violations": 0.1}
PROBLEMS: dict[str, Any] = {
    "dataset": {"constraints": [{"length": {"max": 60}}, "Every problem is about everyday life."]},
    "generate": {"target": 9, "batch_size": 3},
    "validators": [{"name": "constraints", "options": {"judge": True}}, "code", "reflection", "difficulty"],
}


def facts(documents: Path) -> dict[str, Any]:
    """The job whose labels are checked against documents."""
    checked = {"name": "facts", "options": {"source": {"kind": "local", "path": str(documents)}}}
    return {"generate": {"target": 6, "batch_size": 3}, "validators": [checked, "reflection"]}


def model(url: str, dialect: str) -> dict[str, Any]:
    api = dialect if dialect in ("anthropic", "azure") else "openai"
    return {"name": "m", "base_url": url, "price": PRICE, "api": api}


def check(report: Report, folder: Path, simulator: Simulator, target: int) -> None:
    """Exactly as many as were asked for; no draft, no wrong label; spent what the endpoint itself counts."""
    rows = lines(folder / "accepted.jsonl")
    assert report.outcome == "target"
    assert len(rows) == report.accepted == target
    for row in rows:
        assert DRAFT not in f"{row['question']} {row['answer']}"
        assert is_right({"text": row["question"], "label": row["answer"]}), row
    bill = simulator.statistics.billed
    assert round(report.data["cost"]["spent_usd"] * 10**12) == bill > 0
    assert report.data["cost"]["unconfirmed_usd"] == 0


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_main_job_with_styles_of_thinking(
    dialect: str, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    async def job(style: str) -> None:
        url, simulator = await endpoint(dialect=dialect, thinking=style, price=PRICE, **DEFECTS)
        config = configs.load(url, model=model(url, dialect), **PROBLEMS)
        report = await run_in(tmp_path / style, config)
        check(report, tmp_path / style, simulator, 9)

    half = (
        list(DIALECTS).index(dialect) % 2
    )  # every style meets half of the dialects, and every dialect half of them
    for style in STYLES[half::2]:
        await job(style)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_facts_in_every_dialect(
    dialect: str, tmp_path: Path, endpoint: Start, configs: Configs, documents: Path
) -> None:
    drawn = [draw(random.Random(n)) for n in range(20)]
    rows = [{"question": fact.question, "answer": fact.answer} for fact in drawn]
    configs.base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    url, simulator = await endpoint(dialect=dialect, price=PRICE, wrong_facts=0.4)
    config = configs.load(url, model=model(url, dialect), **facts(documents))
    check(await run_in(tmp_path / "run", config), tmp_path / "run", simulator, 6)


@pytest.mark.parametrize("style", [style for style in STYLES if style not in ("own", "none")])
@pytest.mark.parametrize("dialect", ["plain", "anthropic", "dashscope"])
async def test_thoughts_longer_than_every_answer(
    dialect: str, style: str, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """The first answers are cut within their thoughts, after a draft: nothing of that is an item."""
    url, simulator = await endpoint(
        dialect=dialect, thinking=style, thinking_tokens=3000, price=PRICE, **DEFECTS
    )
    config = configs.load(url, model=model(url, dialect), **PROBLEMS)
    report = await run_in(tmp_path / "run", config)
    check(report, tmp_path / "run", simulator, 9)
    if style != "hidden":
        assert report.data["usage"]["reasoning_tokens"] > 0


@pytest.mark.parametrize("style", ["tag", "half_tag", "channel", "parts", "field"])
async def test_an_evaluation_scores_no_draft(
    style: str, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """Every answer of this model is right, and every draft wrong."""
    from engine.runs.api import evaluate

    url, _ = await endpoint(thinking=style, kind="word_problems")
    config = configs.load(url, generate={"target": 8})
    await run_in(tmp_path / "made", config)
    await evaluate(config, tmp_path / "out", data=[tmp_path / "made" / "accepted.jsonl"])
    [found] = orjson.loads((tmp_path / "out" / "results.json").read_bytes())["results"]
    assert found["accuracy"] == 1.0


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_empty_account_ends_the_run_in_the_providers_words(
    dialect: str, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(dialect=dialect, price=PRICE, credit=0.004)
    config = configs.load(url, model=model(url, dialect), generate={"target": 200, "batch_size": 3})
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "fatal"
    assert DIALECTS[dialect].no_credit.message[:60] in report.data["message"]
    assert report.accepted == len(lines(tmp_path / "run" / "accepted.jsonl")) > 0
    assert round(report.data["cost"]["spent_usd"] * 10**12) == simulator.statistics.billed


LIMITED = [name for name, dialect in DIALECTS.items() if "context" in repr(dialect.rules)]


@pytest.mark.parametrize("dialect", LIMITED)
async def test_a_small_context_is_kept_to(
    dialect: str, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """Too small for the examples, and for the longest answer: with fewer, and a shorter one, it fits."""
    url, simulator = await endpoint(
        dialect=dialect, price=PRICE, thinking="none", context=900, kind="word_problems"
    )
    config = configs.load(
        url,
        model=model(url, dialect),
        generate={"target": 6, "batch_size": 2, "few_shot": 12, "max_tokens": 1500},
        dataset={"description": "Sums of small numbers. The label is the final answer. " * 12},
    )
    check(await run_in(tmp_path / "run", config), tmp_path / "run", simulator, 6)
    assert all(
        len(row["_meta"]["examples"]) in (1, 3, 6, 12) for row in lines(tmp_path / "run" / "accepted.jsonl")
    )


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_no_system_role_and_refusals_for_speed(
    dialect: str, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """Neither is a failure of a call."""
    url, simulator = await endpoint(dialect=dialect, price=PRICE, system_role=False, requests_per_minute=1200)
    config = configs.load(url, model=model(url, dialect), generate={"target": 24, "batch_size": 1})
    report = await run_in(tmp_path / "run", config)
    check(report, tmp_path / "run", simulator, 24)
    assert set(report.data["calls"]["failed_attempts"]) <= {"renegotiated", "rate_limited"}


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "plain"])
async def test_a_config_names_a_dialect(dialect: str, tmp_path: Path, configs: Configs) -> None:
    """The simulated endpoint in a process of its own, spoken to as its dialect is."""
    settings = configs.settings("", generate={"target": 3})
    settings["model"] = {"simulated": {"dialect": dialect}}
    path = tmp_path / "dialect.yaml"
    path.write_text(yaml.safe_dump(settings))
    report = await run_in(tmp_path / "run", RunConfig.load(path))
    assert report.accepted == 3


async def test_the_command_names_a_dialect() -> None:
    process = await datagen("simulate", "--port", "0", "--dialect", "mistral", "--thinking", "half_tag")
    assert process.stdout is not None
    url = re.search(rb"http://\S+", await process.stdout.readline())
    assert url is not None
    import aiohttp

    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    async with aiohttp.ClientSession(base_url=f"{url[0].decode()}/") as session:
        async with session.post("chat/completions", json=body | {"seed": 1}) as refused:
            assert refused.status == 422
            assert (await refused.json())["message"]["detail"][0]["loc"] == ["body", "seed"]
        async with session.post("chat/completions", json=body) as reply:
            content = (await reply.json())["choices"][0]["message"]["content"]
    assert "</think>" in content
    assert "<think>" not in content
    process.terminate()
    await process.wait()
    status, _, err = await finished(await datagen("simulate", "--dialect", "klingon"))
    assert status == 2
    assert "--dialect: Input should be 'plain', 'openai'" in err


def test_every_dialect_has_its_name_and_its_sources() -> None:
    assert set(DIALECTS) == set(get_args(Dialect))
    table = (ROOT / "docs" / "endpoints.md").read_text("utf-8").casefold()
    names = {"lm-studio": "lm studio", "vertex": "vertex ai"}
    for dialect in DIALECTS.keys() - {"plain"}:
        assert names.get(dialect, dialect) in table, dialect

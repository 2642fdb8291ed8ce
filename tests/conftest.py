"""Shared by the tests: a simulated endpoint on loopback, configs, and a way to run the command."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import settings

from engine.config import RunConfig
from engine.config.simulator import SimulatorConfig
from engine.report.summary import Report
from engine.runs.api import arun
from engine.simulator.server import Simulator
from engine.simulator.serving import serving
from engine.veil import forget

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = Path(os.environ.get("DATAGEN_DATA") or ROOT.parent / "shared" / "data")

settings.register_profile("any machine", deadline=None)  # how busy a machine is proves nothing
settings.load_profile("any machine")
os.environ["HF_HUB_OFFLINE"] = "1"  # a test reaches no model hub

LONGEST = (
    "test_spread_on_ray",
    "test_spread",
    "test_dialects",
    "test_elsewhere",
    "test_faults",
    "test_stops",
)
"""The files that take longest: begun last, they would keep one process at work while the others have nothing."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path.stem, len(first)))


CLEAN: dict[str, Any] = {
    "wrong_labels": 0.0,
    "wrong_facts": 0.0,
    "near_duplicates": 0.0,
    "violations": 0.0,
    "bad_json": 0.0,
    "prose": 0.0,
    "wrong_count": 0.0,
    "refusals": 0.0,
    "program_errors": 0.0,
    "enhancement_errors": 0.0,
    "failing_code": 0.0,
    "vacuous_tests": 0.0,
    "answer_accuracy": 1.0,
    "review_accuracy": 1.0,
}
"""The simulated endpoint without defects; tests add the one that they are about."""

Endpoint = tuple[str, Simulator]
Start = Callable[..., Awaitable[Endpoint]]


@pytest.fixture
async def endpoint() -> AsyncIterator[Start]:
    """`url, simulator = await endpoint(errors=0.1)`: starts a simulated endpoint for the test."""
    async with AsyncExitStack() as stack:

        async def start(**knobs: Any) -> Endpoint:
            return await stack.enter_async_context(serving(SimulatorConfig(**{**CLEAN, **knobs})))

        yield start


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors are cached for all tests together, and not among the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user of the tests allows the embedders of the tests."""
    home = tmp_path_factory.getbasetemp() / "settings"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    allowed = home / "datagen" / "allowed-code"
    if not allowed.exists():
        source = (ROOT / "tests" / "hashing_embedder.py").read_text()
        names = [*re.findall(r"def (\w+)", source), "gone", "NOT_A_FUNCTION"]
        allowed.parent.mkdir(parents=True, exist_ok=True)
        allowed.write_text("".join(f"hashing_embedder:{name}\n" for name in names))
    return allowed


@pytest.fixture(autouse=True)
def no_secrets() -> None:
    """A test knows no secrets of another."""
    forget()


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """A small base dataset."""
    path = tmp_path / "base.jsonl"
    rows = [
        {"question": f"What is {n} plus {n + 1}, in whole numbers?", "answer": str(2 * n + 1)}
        for n in range(12)
    ]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


class Configs:
    """Writes config files for runs against an endpoint."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder = folder
        self.base = base

    def settings(self, url: str, **sections: Any) -> dict[str, Any]:
        """The default settings with sections merged over them."""
        settings: dict[str, Any] = {
            "dataset": {
                "path": str(self.base),
                "description": "Sums of small numbers. The label is the final answer.",
                "fields": {"text": "question", "label": "answer"},
            },
            "generate": {"target": 20, "batch_size": 3, "few_shot": 2},
            "model": {"name": "m", "base_url": url, "price": {"input": 1.0, "output": 2.0}},
            "limits": {"concurrency": 8},
            "observe": {"page": False},  # five megabytes each; tests/test_page.py has them
        }
        for name, value in sections.items():
            merged = isinstance(value, dict) and isinstance(settings.get(name), dict)
            settings[name] = {**settings[name], **value} if merged else value
        return settings

    def write(self, url: str, name: str = "config.yaml", **sections: Any) -> Path:
        path = self.folder / name
        path.write_text(yaml.safe_dump(self.settings(url, **sections)))
        return path

    def load(self, url: str, **sections: Any) -> RunConfig:
        return RunConfig.load(self.write(url, **sections))


@pytest.fixture
def configs(tmp_path: Path, problems: Path) -> Configs:
    return Configs(tmp_path, problems)


async def run_in(folder: Path, config: RunConfig) -> Report:
    return await arun(config, folder)


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def contents(path: Path) -> list[dict[str, Any]]:
    """The dataset's own fields of each line, and its id: what must not depend on time."""
    return [
        {**{k: v for k, v in row.items() if k != "_meta"}, "id": row["_meta"]["id"]} for row in lines(path)
    ]


async def datagen(*arguments: str | Path, cwd: Path | None = None) -> asyncio.subprocess.Process:
    """The command in a process of its own, running."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "engine.cli",
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
    )


def command(*arguments: str | Path) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of the command in this process, which has no loop: a tenth of the
    time, where nothing that a process has is what the test is about.
    """
    from typer.testing import CliRunner

    from engine.cli.app import app

    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.stdout, result.stderr


async def finished(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """(exit status, standard output, standard error)."""
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def when_served(simulator: Simulator, count: int) -> asyncio.Event:
    """Set once the endpoint has made so many completions."""
    event = asyncio.Event()
    made = simulator._completion

    def counting(*arguments: Any) -> bytes:
        payload = made(*arguments)
        if simulator.statistics.served >= count:
            event.set()
        return payload

    simulator._completion = counting  # type: ignore[method-assign]
    return event


def held(simulator: Simulator, until: asyncio.Event, after: int = 0) -> None:
    """The endpoint has made so many completions, and answers no other call until then."""
    answered = simulator._reply

    async def waiting(*arguments: Any) -> Any:
        if simulator.statistics.served >= after:
            await until.wait()
        return await answered(*arguments)

    simulator._reply = waiting  # type: ignore[method-assign]


needs_published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason=f"the published datasets are not at {PUBLISHED}; set DATAGEN_DATA"
)

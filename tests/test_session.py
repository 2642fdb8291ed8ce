"""One start of a run: a whole object, whose parts end when it does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import Configs, Start
from engine.errors import ConfigError, StoreError
from engine.flow.halt import Halt
from engine.llm.backends.openai_compatible import OpenAICompatible
from engine.llm.budget import Budget
from engine.llm.call import CallCounts
from engine.runs import instruments
from engine.runs.modes import GenerateMode
from engine.runs.session import Session, opened
from engine.stages.progress import Progress
from engine.store.folder import RunFolder
from engine.store.journal import Journal


async def started(configs: Configs, url: str, folder: Path, **sections: object) -> Session:
    mode = GenerateMode()
    inputs = mode.load(configs.load(url, **sections))
    there = RunFolder(folder)
    with there.locked():
        async with opened(mode, inputs, there) as session:
            await session.run()
            return session


async def test_nothing_of_a_start_is_left_running(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, _ = await endpoint()
    before = asyncio.all_tasks()
    await started(configs, url, tmp_path / "run")
    assert asyncio.all_tasks() == before


async def test_the_samples_are_waited_for(
    endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample that is being written as the run ends is written, or given up, before the journal closes."""
    url, _ = await endpoint(latency_s=0.02)
    monkeypatch.setattr(instruments, "FIRST_SAMPLE_S", 0.0)
    monkeypatch.setattr(instruments, "SAMPLE_EVERY_S", 0.0)
    under_way, closed_during = 0, []
    record, close = Journal.record_counts, Journal.close

    async def recorded(self: Journal, *given: object) -> None:
        nonlocal under_way
        under_way += 1
        try:
            await record(self, *given)  # type: ignore[arg-type]
        finally:
            under_way -= 1

    async def closed(self: Journal) -> None:
        closed_during.append(under_way)
        await close(self)

    monkeypatch.setattr(Journal, "record_counts", recorded)
    monkeypatch.setattr(Journal, "close", closed)
    await started(configs, url, tmp_path / "run")
    assert closed_during == [0]


async def test_the_sampler_ends_with_its_block() -> None:
    """And samples whenever items were decided, though no call was made, as in an audit."""
    progress, samples, recording, ended = Progress(9), [], asyncio.Event(), []

    async def record() -> None:
        recording.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)  # writes to the disk
            ended.append(True)

    limiter = SimpleNamespace(statistics=lambda: SimpleNamespace(in_flight=0))
    parts: Any = progress, Budget(None), CallCounts(), limiter, None, Halt(), None
    journal: Any = SimpleNamespace(sample=samples.append)
    async with instruments.Sampler(
        instruments.Instruments(*parts), journal, lambda: 5.0, 1.0, record
    ).running():
        await asyncio.sleep(0)
        progress.accepted += 1
        await recording.wait()
    assert ended
    assert [sample[:2] for sample in samples] == [(4.0, 0), (4.0, 1), (4.0, 1)]


async def test_a_session_is_whole_before_anything_opens(
    endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the endpoints cannot open: counts and events are there, and the report is written."""

    def refused(self: OpenAICompatible, *given: object, **named: object) -> None:
        raise StoreError("no endpoint")

    monkeypatch.setattr(OpenAICompatible, "__init__", refused)
    session = await started(configs, "http://127.0.0.1:9", tmp_path / "run")
    assert session.instruments is None
    assert (tmp_path / "run" / "report.json").exists()


async def test_the_journal_closes_where_the_folder_holds_another_run(
    endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = await endpoint()
    await started(configs, url, tmp_path / "run")
    closed = []
    close = Journal.close

    async def noted(self: Journal) -> None:
        closed.append(True)
        await close(self)

    monkeypatch.setattr(Journal, "close", noted)
    with pytest.raises(ConfigError, match="this run was started with other settings"):
        await started(configs, url, tmp_path / "run", seed=9)
    assert closed == [True]

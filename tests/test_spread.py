"""Runs with workers, in real processes: the dataset, the bill and the pace are those of one process, whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import ROOT, Configs, Start, contents, datagen, finished, run_in, when_served
from engine.simulator.server import Simulator

CHECKED: dict[str, Any] = {
    "validators": ["constraints", {"name": "reflection", "max_rounds": 1}],
    "groupcheck": {"same": "meaning+numbers", "threshold": 0.9},
    "embedding": {"function": "hashing_embedder:hashed"},
}
"""A call for each item besides the one that makes it, revisions, vectors, and near-duplicates to be kept out."""


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedder of the tests is found by other processes, too."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))


def spread(workers: int, **more: Any) -> dict[str, Any]:
    return {"spread": {"workers": workers, **more}}


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(folder / "run.db")) as connection:
        return connection.execute(sql).fetchall()


def workers_of(folder: Path) -> list[int]:
    """The processes of the workers that are there, by what the journal says of them."""
    with contextlib.suppress(sqlite3.Error):
        there = rows(folder, "SELECT place FROM workers WHERE left IS NULL ORDER BY epoch")
        return [int(place.split()[-1]) for (place,) in there]
    return []


async def until(found: Callable[[], Any], seconds: float = 30.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (value := found()):
            await asyncio.sleep(0.02)
    return value


@pytest.mark.parametrize("sections", [{}, CHECKED], ids=["plain", "checked"])
async def test_the_dataset_does_not_depend_on_workers(
    sections: dict[str, Any], endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    knobs = {"near_duplicates": 0.2, "bad_json": 0.05, "wrong_count": 0.1, "latency_s": 0.005}
    found, calls = [], []
    for workers in (0, 1, 3):
        url, simulator = await endpoint(**knobs)
        folder = tmp_path / str(workers)
        config = configs.load(url, generate={"target": 60}, **sections, **spread(workers))
        report = await run_in(folder, config)
        assert report.data["outcome"] == "target"
        found.append(contents(folder / "accepted.jsonl"))
        calls.append({key for (key,) in rows(folder, "SELECT key FROM calls WHERE error IS NULL")})
        assert simulator.statistics.repeated == 0
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 60
    assert rows(tmp_path / "3", "SELECT 1 FROM workers WHERE items > 0")


async def running(config: Path, folder: Path, act: Callable[[Any], Awaitable[None]]) -> tuple[int, str, str]:
    """Starts the run in a process, does something to it, and waits for its end."""
    process = await datagen("run", config, "-o", folder)
    try:
        await act(process)
        return await asyncio.wait_for(finished(process), 90)
    finally:
        if process.returncode is None:
            process.kill()


def killing(simulator: Simulator, folder: Path, kills: int, number: signal.Signals = signal.SIGKILL) -> Any:
    """Sends a signal to the youngest worker, again and again as the work goes on."""

    async def act(_: Any) -> None:
        for kill in range(kills):
            await when_served(simulator, simulator.statistics.served + 6).wait()
            pids = await until(lambda: workers_of(folder))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[kill % len(pids)], number)

    return act


async def test_workers_may_be_killed(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    sections = {"generate": {"target": 150}, **CHECKED}
    url, _ = await endpoint(latency_s=0.01, near_duplicates=0.1)
    assert (await run_in(tmp_path / "one", configs.load(url, **sections))).data["outcome"] == "target"
    url, simulator = await endpoint(latency_s=0.03, near_duplicates=0.1)
    config = configs.write(url, **sections, **spread(2))
    folder = tmp_path / "several"
    status, out, err = await running(config, folder, killing(simulator, folder, 8))
    assert status == 0, err
    assert contents(folder / "accepted.jsonl") == contents(tmp_path / "one" / "accepted.jsonl")
    assert len(rows(folder, "SELECT 1 FROM workers")) >= 8, out
    keys = rows(folder, "SELECT key, count(*) FROM calls GROUP BY key HAVING count(*) > 1")
    assert keys == []
    lost = [row for row in rows(folder, "SELECT why FROM workers") if row != ("the run has ended",)]
    assert len(lost) >= 8


async def test_a_frozen_worker_is_given_up_and_its_late_word_refused(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, simulator = await endpoint(latency_s=0.2)
    sections = {"generate": {"target": 80}, "limits": {"concurrency": 6}}
    config = configs.write(url, **sections, **spread(2, silence_s=2))
    folder = tmp_path / "run"

    async def act(_: Any) -> None:
        await when_served(simulator, 6).wait()
        pid = (await until(lambda: workers_of(folder)))[0]
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: rows(folder, "SELECT 1 FROM workers WHERE why LIKE 'not heard%'"))
        os.kill(pid, signal.SIGCONT)

    status, _, err = await running(config, folder, act)
    assert status == 0, err
    url, _ = await endpoint()
    await run_in(tmp_path / "one", configs.load(url, **sections))
    assert contents(folder / "accepted.jsonl") == contents(tmp_path / "one" / "accepted.jsonl")


@pytest.mark.parametrize("then", [0, 1, 3])
async def test_a_killed_head_is_resumed_by_any_number_of_workers(
    then: int, endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, simulator = await endpoint(latency_s=0.02)
    sections = {"generate": {"target": 90}, **CHECKED}
    folder = tmp_path / "run"
    config = configs.write(url, **sections, **spread(2))
    for served in (10, 25, 40):
        process = await datagen("run", config, "-o", folder)
        await when_served(simulator, served).wait()
        pids = workers_of(folder)
        process.kill()
        await finished(process)
        await until(lambda pids=pids: not [pid for pid in pids if alive(pid)], 5)
    config = configs.write(url, **sections, **spread(then))
    held = {key for (key,) in rows(folder, "SELECT key FROM calls")}
    before = simulator.statistics.served
    status, _, err = await finished(await datagen("run", config, "-o", folder))
    assert status == 0, err
    after = {key for (key,) in rows(folder, "SELECT key FROM calls")}
    assert simulator.statistics.served - before == len(after - held)
    url, _ = await endpoint()
    await run_in(tmp_path / "one", configs.load(url, **sections))
    assert contents(folder / "accepted.jsonl") == contents(tmp_path / "one" / "accepted.jsonl")


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    return False


async def test_the_cap_holds_and_buys_as_much(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    accepted = []
    for workers in (0, 3):
        url, simulator = await endpoint(latency_s=0.005, price={"input": 1.0, "output": 2.0})
        folder = tmp_path / str(workers)
        sections = {"generate": {"target": 5000}, "limits": {"budget_usd": 0.12, "concurrency": 16}}
        report = await run_in(folder, configs.load(url, **sections, **spread(workers)))
        assert report.data["outcome"] == "budget"
        billed = simulator.statistics.billed / 10**12
        assert billed <= 0.12
        assert report.data["cost"]["spent_usd"] == pytest.approx(billed)
        accepted.append(report.data["items"]["accepted"])
    assert accepted[0] == accepted[1]


async def test_an_interrupt_lets_workers_finish(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, simulator = await endpoint(latency_s=0.3)
    config = configs.write(url, generate={"target": 400}, **spread(2))
    folder = tmp_path / "run"

    async def act(process: Any) -> None:
        await when_served(simulator, 12).wait()
        process.send_signal(signal.SIGINT)

    status, _, err = await running(config, folder, act)
    assert status == 130, err
    report = orjson.loads((folder / "report.json").read_bytes())
    assert report["cost"]["unconfirmed_usd"] == 0
    assert simulator.statistics.served == len(rows(folder, "SELECT 1 FROM calls"))

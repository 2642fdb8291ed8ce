"""Runs with workers, in real processes: the dataset, the bill and the pace are those of one process, whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import ROOT, Configs, Start, contents, datagen, finished, held, lines, run_in, when_served
from engine.config import RunConfig
from engine.config.spread import SpreadConfig
from engine.runs.api import audit, enhance, merge
from engine.simulator.server import Simulator
from engine.spread.joining import TOKEN
from engine.store.parts import PartBook
from hashing_embedder import is_deadly
from nights import Night, check

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
    place = f"file:{folder / 'run.db'}?mode=rw"  # where there is none, none is made
    with contextlib.closing(sqlite3.connect(place, uri=True)) as connection:
        return connection.execute(sql).fetchall()


def workers_of(folder: Path) -> list[int]:
    """The processes of the workers that are there, by what the journal says of them."""
    with contextlib.suppress(sqlite3.Error):
        there = rows(folder, "SELECT place FROM workers WHERE left IS NULL ORDER BY epoch")
        return [int(place.split()[-1]) for (place,) in there]
    return []


def at_work(folder: Path) -> list[Any]:
    """The workers that have made anything."""
    return rows(folder, "SELECT epoch FROM workers WHERE items > 0")


def why(folder: Path) -> list[Any]:
    """Who rejected which item, and why: all that stands before the last accepted one."""
    accepted = [row["_meta"]["batch"] for row in lines(folder / "accepted.jsonl")]
    rejected = [row["_meta"] for row in lines(folder / "rejected.jsonl")]
    return [
        (meta["id"], meta["rejected_by"], meta["reason"])
        for meta in rejected
        if meta["batch"] < max(accepted)
    ]


async def until(found: Callable[[], Any], seconds: float = 90.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (value := found()):
            await asyncio.sleep(0.02)
    return value


async def met(folder: Path, count: int, there: asyncio.Event) -> None:
    """Sets the event once so many workers are there."""
    await until(lambda: len(workers_of(folder)) >= count or not count)
    there.set()


@pytest.mark.parametrize("sections", [{}, CHECKED], ids=["plain", "checked"])
async def test_the_dataset_does_not_depend_on_workers(
    sections: dict[str, Any], endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    knobs = {"near_duplicates": 0.2, "bad_json": 0.05, "wrong_count": 0.1, "latency_s": 0.05}
    found, calls = [], []
    for workers in (0, 1, 3):
        url, simulator = await endpoint(**knobs)
        folder = tmp_path / str(workers)
        config = configs.load(url, generate={"target": 120}, **sections, **spread(workers))
        there = asyncio.Event()
        if workers > 1:
            held(simulator, there)
        report, _ = await asyncio.gather(run_in(folder, config), met(folder, min(workers, 2), there))
        assert report.data["outcome"] == "target"
        found.append(contents(folder / "accepted.jsonl") + why(folder))
        calls.append({key for (key,) in rows(folder, "SELECT key FROM calls WHERE error IS NULL")})
        assert simulator.statistics.repeated == 0
    assert found[0] == found[1] == found[2]
    assert len(contents(tmp_path / "0" / "accepted.jsonl")) == 120
    assert len(at_work(tmp_path / "3")) >= 2


async def check_against_one(
    folder: Path, endpoint: Start, configs: Configs, sections: dict[str, Any]
) -> None:
    """The dataset is that of one process at an endpoint where nothing is slow and nothing fails."""
    url, _ = await endpoint()
    alone = folder.with_name("one")
    assert (await run_in(alone, configs.load(url, **sections))).data["outcome"] == "target"
    assert contents(folder / "accepted.jsonl") == contents(alone / "accepted.jsonl")


async def running(config: Path, folder: Path, act: Callable[[Any], Awaitable[None]]) -> tuple[int, str, str]:
    """Starts the run in a process, does something to it, and waits for its end."""
    process = await datagen("run", config, "-o", folder)
    end = asyncio.create_task(finished(process))
    acting = asyncio.ensure_future(act(process))
    try:
        await asyncio.wait((acting, end), return_when=asyncio.FIRST_COMPLETED)
        assert acting.done(), f"ended before anything was done to it: {end.result()}"
        await acting
        return await asyncio.wait_for(end, 150)
    finally:
        acting.cancel()
        if process.returncode is None:
            process.kill()


def killing(simulator: Simulator, folder: Path, kills: int, number: signal.Signals = signal.SIGKILL) -> Any:
    """Sends a signal to the youngest worker, again and again as the work goes on."""

    async def act(_: Any) -> None:
        for kill in range(kills):
            await when_served(simulator, simulator.statistics.served + 6).wait()
            pids = await until(lambda: [pid for pid in workers_of(folder) if alive(pid)])
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
    lost = rows(folder, "SELECT in_flight FROM workers WHERE why != 'the run has ended'")
    assert simulator.statistics.repeated <= sum(count for (count,) in lost), (
        "what was answered is asked again"
    )
    assert len(lost) >= 4, out  # a kill may meet one whose end the head has not heard of


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
    await check_against_one(folder, endpoint, configs, sections)


@pytest.mark.parametrize("then", [0, 3])
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
    await check_against_one(folder, endpoint, configs, sections)


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


async def test_what_takes_its_worker_with_it_costs_one_batch(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint(latency_s=0.01)
    sections = {
        "generate": {"target": 24, "batch_size": 1},
        "groupcheck": {"same": "meaning", "threshold": 0.99, "against_base": False},
        "embedding": {"function": "hashing_embedder:deadly"},
        "validators": [],
    }
    folder = tmp_path / "run"
    report = await run_in(folder, configs.load(url, **sections, **spread(2)))
    assert report.data["outcome"] == "target"
    lost = [row for row in lines(folder / "rejected.jsonl") if row["_meta"]["rejected_by"] == "workers"]
    assert lost
    texts = {text for (text,) in rows(folder, "SELECT text FROM calls WHERE purpose = 'items'")}
    deadly = [text for text in texts if is_deadly(orjson.loads(text)["items"][0]["text"])]
    assert len(lost) == len(deadly)
    assert report.data["items"]["rejected_by"].get("workers") == len(lost)


# --- workers that come over TCP ---


def with_token(monkeypatch: pytest.MonkeyPatch) -> str:
    token = secrets.token_urlsafe(32)
    monkeypatch.setenv(TOKEN, token)
    return token


async def listening(process: Any) -> int:
    """The port that a run tells on standard error."""
    while line := (await process.stderr.readline()).decode():
        if "datagen worker --head" in line:
            return int(line.split(":")[-1])
    raise AssertionError("the run does not listen")


async def test_workers_join_and_leave(
    endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = with_token(monkeypatch)
    url, simulator = await endpoint(latency_s=0.2)
    sections = {"generate": {"target": 160}, "validators": ["constraints", "reflection"]}
    config = configs.write(url, **sections, spread={"listen": "127.0.0.1:0"})
    folder = tmp_path / "run"
    head = await datagen("run", config, "-o", folder)
    port = await listening(head)
    first = await datagen("worker", "--head", f"127.0.0.1:{port}")
    await when_served(simulator, 20).wait()
    second = await datagen("worker", "--head", f"127.0.0.1:{port}")
    await until(lambda: len(workers_of_any(folder)) == 2)
    first.send_signal(signal.SIGTERM)
    status, _, err = await finished(first)
    assert status == 0, err
    assert "Ended: it has finished what it had." in err or "it had nothing to do" in err
    assert (await asyncio.wait_for(finished(head), 60))[0] == 0
    assert (await finished(second))[0] == 0
    assert rows(folder, "SELECT sum(cost) FROM late") == [(None,)]
    report = orjson.loads((folder / "report.json").read_bytes())
    assert report["cost"]["unconfirmed_usd"] == 0, "whoever leaves in order leaves nothing behind"
    assert [each["name"] for each in report["workers"]["workers"]] == ["worker 1", "worker 2"]
    assert (await finished(await datagen("report", folder)))[0] == 0
    page = (folder / "report.html").read_text("utf-8")
    assert "2 joined in start 1." in page
    assert "it has finished what it had" in page or "it had nothing to do" in page
    assert not [file for file in folder.iterdir() if file.suffix == ".token"]
    assert token not in "".join(
        file.read_text("utf-8", "replace") for file in folder.rglob("*") if file.is_file()
    )
    await check_against_one(folder, endpoint, configs, sections)


def workers_of_any(folder: Path) -> list[Any]:
    with contextlib.suppress(sqlite3.Error):
        return rows(folder, "SELECT epoch FROM workers WHERE left IS NULL")
    return []


OTHER = """
import sys, {what}
from engine.cli.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("engine._version; engine._version.__version__ = '9.9.9'", "it has DataGen 9.9.9, and the head has"),
        ("platform; platform.python_version_tuple = lambda: ('3', '99', '1')", "it runs on Python 3.99"),
        ("os; os.environ['DATAGEN_WORKER_TOKEN'] += 'x'", "it does not show a token of this run"),
    ],
)
async def test_others_are_refused_by_name(
    what: str,
    said: str,
    endpoint: Start,
    configs: Configs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_token(monkeypatch)
    url, _ = await endpoint()
    config = configs.write(url, spread={"listen": "127.0.0.1:0"})
    head = await datagen("run", config, "-o", tmp_path / "run")
    try:
        port = await listening(head)
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", OTHER.format(what=what), "worker", "--head", f"127.0.0.1:{port}",
            stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        status, _, err = await asyncio.wait_for(finished(worker), 60)
        assert status == 2
        assert said in err
    finally:
        head.kill()
        await finished(head)


SKEWED = """
import time
real = time.time
time.time = lambda: real() + 400 * 86400
from engine.cli.__main__ import main
main()
"""


async def test_clocks_may_differ(
    endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_token(monkeypatch)
    url, _ = await endpoint(latency_s=0.01)
    folder = tmp_path / "run"
    head = await datagen("run", configs.write(url, spread={"listen": "127.0.0.1:0"}), "-o", folder)
    port = await listening(head)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SKEWED, "worker", "--head", f"127.0.0.1:{port}",
        stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert (await asyncio.wait_for(finished(head), 60))[0] == 0
    assert (await finished(worker))[0] == 0


class Relay:
    """Passes bytes between a worker and its head, until it is told to hold them; then, all of them at once.

    Mutable state: whether it holds, what it holds.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._free = asyncio.Event()
        self._free.set()
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Relay]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(reader, to), self._pass(there, writer), return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._free.wait()
            writer.write(data)
            await writer.drain()
        await self._free.wait()
        writer.close()


async def test_a_partition_costs_what_was_under_way(
    endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides give each other up; what the worker had said before comes late, is paid, and is not used."""
    with_token(monkeypatch)
    url, simulator = await endpoint(latency_s=0.3)
    sections = {"generate": {"target": 90}, "limits": {"concurrency": 6}}
    config = configs.write(url, **sections, spread={"listen": "127.0.0.1:0", "silence_s": 2})
    folder = tmp_path / "run"
    head = await datagen("run", config, "-o", folder)
    port = await listening(head)
    async with Relay(port).running() as relay:
        cut_off = await datagen("worker", "--head", f"127.0.0.1:{relay.port}")
        await when_served(simulator, 12).wait()
        relay.hold()
        status, _, err = await asyncio.wait_for(finished(cut_off), 60)
        assert status == 4
        assert "the head was not heard for" in err
        await until(lambda: rows(folder, "SELECT 1 FROM workers WHERE why LIKE 'not heard%'"))
        relay.release()
        other = await datagen("worker", "--head", f"127.0.0.1:{port}")
        status, _, err = await asyncio.wait_for(finished(head), 60)
        assert status == 0, err
        await finished(other)
    [[late]] = rows(folder, "SELECT count(*) FROM late")
    assert late > 0
    report = orjson.loads((folder / "report.json").read_bytes())
    assert report["workers"]["late_calls"] == late
    assert report["workers"]["late_usd"] > 0
    assert report["cost"]["spent_usd"] >= sum(
        row["_meta"]["cost_usd"] for row in lines(folder / "accepted.jsonl")
    )
    await check_against_one(folder, endpoint, configs, sections)


async def test_without_any_worker_the_run_ends_and_can_be_resumed(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    config = configs.write(url, spread={"listen": "127.0.0.1:0"}, limits={"outage_s": 1})
    status, out, _ = await finished(await datagen("run", config, "-o", tmp_path / "run"))
    assert status == 4
    assert "no worker for 1 s (limits.outage_s)" in " ".join(out.split())
    config = configs.write(url)
    status, _, err = await finished(await datagen("run", config, "-o", tmp_path / "run"))
    assert status == 0, err


async def test_a_mistake_is_told_before_anything_is_spent(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, simulator = await endpoint()
    wrong = {"validators": [{"name": "code", "sandbox": "full", "preload": ["no_such_package"]}]}
    status, _, err = await finished(
        await datagen("run", configs.write(url, **wrong, **spread(2)), "-o", tmp_path / "run")
    )
    assert status in (2, 4), err
    assert simulator.statistics.served == 0


async def test_the_rate_is_kept_by_all_together(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, simulator = await endpoint(requests_per_minute=600)
    limits = {"limits": {"requests_per_minute": 600, "concurrency": 16}}
    report = await run_in(tmp_path / "run", configs.load(url, generate={"target": 90}, **limits, **spread(3)))
    assert report.data["outcome"] == "target"
    assert simulator.statistics.limit_violations == 0
    assert simulator.statistics.refused == 0


@pytest.mark.parametrize("mode", ["batch", "auto"])
async def test_calls_of_workers_may_wait(
    mode: str, endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches of a provider: what is let go by a worker is made again by a later pass."""
    monkeypatch.setattr(PartBook, "longest", lambda self: {})
    night = Night(tmp_path, endpoint, configs)
    config = await night.config(mode, thinking="none")
    report = await run_in(night.folder, config.changed(spread=SpreadConfig(workers=2)))
    assert report.outcome == "target"
    assert check(night)["batches"]["calls"] > 0
    online = config.changed(limits=config.limits.model_copy(update={"mode": "online"}))
    assert (await run_in(tmp_path / "online", online)).outcome == "target"
    assert contents(night.folder / "accepted.jsonl") == contents(tmp_path / "online" / "accepted.jsonl")


@pytest.mark.parametrize("command", ["audit", "enhance"])
async def test_rows_of_a_dataset_are_checked_by_workers(
    command: str, endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    found = []
    data = tmp_path / "rows.jsonl"
    data.write_bytes(
        b"\n".join(
            orjson.dumps(
                {"question": f"What is {n} plus {n}?", "answer": str(2 * n), "own": [n, {"a": None}]}
            )
            for n in range(40)
        )
    )
    for workers in (0, 2):
        url, _ = await endpoint(review_accuracy=0.8)
        folder = tmp_path / f"{command}-{workers}"
        sections = {"validators": ["constraints", "reflection"], **spread(workers)}
        config = configs.load(url, **sections)
        config = config.changed(dataset=config.dataset.model_copy(update={"path": (str(data),)}))
        report = await {"audit": audit, "enhance": enhance}[command](config, folder)
        assert report.data["items"]["generated"] == 40
        found.append(contents(folder / "accepted.jsonl") + contents(folder / "rejected.jsonl"))
    assert found[0] == found[1]


async def test_what_is_one_process_is_that_whatever_the_config_says(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    """So that a config with workers can be calibrated, and runs of workers can be merged."""
    url, _ = await endpoint()
    for seed in (1, 2):
        run = configs.load(url, seed=seed, generate={"target": 12}, **spread(1 if seed == 1 else 0))
        assert (await run_in(tmp_path / f"{seed}", run)).outcome == "target"
    first = RunConfig.load(tmp_path / "1" / "config.yaml")
    report = await merge(first, [tmp_path / "1", tmp_path / "2"], tmp_path / "both")
    assert report.data["items"]["generated"] == 24
    assert rows(tmp_path / "both", "SELECT 1 FROM workers") == []


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "hedges": (
        {"latency_s": 0.03, "latency_p99_s": 0.5},
        {"limits": {"hedge": True}},
    ),
    "a refused form": ({"dialect": "deepseek", "thinking": "none"}, {}),
    "an endpoint for vectors": (
        {"near_duplicates": 0.2},
        {"groupcheck": {"same": "meaning", "threshold": 0.9}, "embedding": {"endpoint": {"name": "e"}}},
    ),
    "adaptive strategies": (
        {},
        {"generate": {"strategy": "adaptive", "strategies": {"a": {}, "b": {"few_shot": 0}}}},
    ),
    "faults": ({"errors": 0.1, "resets": 0.05, "cut_bodies": 0.05}, {"limits": {"retries": 12}}),
    "lessons": (
        {"violations": 0.3},
        {
            "generate": {"learn_from_mistakes": {"every": 10}},
            "dataset": {"constraints": [{"length": {"max": 60}}]},
        },
    ),
}
"""Ways in which a call, or what is planned, depends on what came before."""


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_is_configured(kind: str, endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    knobs, sections = KINDS[kind]
    generate = {"target": 90, **sections.get("generate", {})}  # more than the first worker is given at once
    sections = {"validators": ["constraints", "reflection"], **sections, "generate": generate}
    found, refused = [], []
    for workers in (0, 2):
        url, simulator = await endpoint(**{"latency_s": 0.05, **knobs})
        folder = tmp_path / str(workers)
        report = await run_in(folder, configs.load(url, **sections, **spread(workers)))
        assert report.data["outcome"] == "target"
        found.append(contents(folder / "accepted.jsonl") + why(folder))
        refused.append(simulator.statistics.refusals)
    assert found[0] == found[1]
    assert len(at_work(tmp_path / "2")) == 2
    more = sum(refused[1].values()) - sum(
        refused[0].values()
    )  # of calls that were under way when it was settled
    assert more <= 3, "what one worker has settled with an endpoint, the others know"


@pytest.mark.parametrize("times", [1, 2])
async def test_a_drain_has_an_end(times: int, endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    """By itself after limits.drain_s, and at once where it is asked for again; workers go with the head."""
    url, simulator = await endpoint(latency_s=60)
    folder = tmp_path / "run"
    limits = {"limits": {"drain_s": 1.5 if times == 1 else 60, "concurrency": 6}}
    process = await datagen("run", configs.write(url, **limits, **spread(2)), "-o", folder)
    await until(lambda: simulator.statistics.in_flight >= 1)
    pids = await until(lambda: workers_of(folder))
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.3)
    status, _, err = await asyncio.wait_for(finished(process), 60)
    assert status == 130, err
    await until(lambda: not [pid for pid in pids if alive(pid)], 10)
    report = orjson.loads((folder / "report.json").read_bytes())
    assert report["cost"]["unconfirmed_usd"] > 0, "what may have been answered may have been charged"


async def test_ray_without_workers_is_a_mistake(configs: Configs, tmp_path: Path) -> None:
    config = configs.write("http://127.0.0.1:9/v1")
    status, _, err = await finished(await datagen("run", config, "-o", tmp_path / "run", "--on", "ray"))
    assert status == 2
    assert "give a number, such as --workers 4" in err

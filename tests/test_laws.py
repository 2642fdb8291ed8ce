"""The laws, on whole runs against a real HTTP endpoint."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, Start, contents, datagen, finished, lines, run_in, when_served
from engine.config import RunConfig
from engine.errors import BadRequest
from engine.items import Item, Verdict
from engine.simulator.dialects.dialect import Refusal
from engine.stages.commit import Commit
from engine.stages.progress import Progress
from engine.stages.source import Source

FAULTS: dict[str, Any] = {
    "violations": 0.2,
    "bad_json": 0.1,
    "prose": 0.2,
    "wrong_count": 0.2,
    "refusals": 0.1,
    "errors": 0.03,
    "resets": 0.03,
    "cut_bodies": 0.03,
    "latency_s": 0.002,
    "latency_p99_s": 0.02,
}
LENGTH = {"constraints": [{"length": {"max": 60}}]}


def table(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "run.db")) as connection:
        return connection.execute(sql).fetchall()


def check_conservation(folder: Path, report: dict[str, Any]) -> None:
    """Law 1 on the journal, the files and the report at once."""
    items = report["items"]
    fates = Counter(state for (state,) in table(folder, "SELECT state FROM items"))
    assert items["generated"] == sum(fates.values())
    assert (items["accepted"], items["rejected"], items["surplus"]) == (
        fates["accepted"],
        fates["rejected"],
        fates["surplus"],
    )
    accepted, rejected = lines(folder / "accepted.jsonl"), lines(folder / "rejected.jsonl")
    ids = [row["_meta"]["id"] for row in accepted + rejected]
    assert len(set(ids)) == len(ids) == items["accepted"] + items["rejected"]
    assert all(row["_meta"]["rejected_by"] and row["_meta"]["reason"] for row in rejected)
    assert sum(items["rejected_by"].values()) == items["rejected"]
    batches = [int(id.split("-")[0]) for id in ids]
    if (
        report["outcome"] != "fatal"
    ):  # committed in order, none left out; what fails may leave a hole to be made up for
        assert set(batches) == set(range(max(batches) + 1))


@pytest.mark.parametrize("seed", range(4))
async def test_law_1_conservation(seed: int, tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    chance = random.Random(seed)
    url, _ = await endpoint(seed=seed, **FAULTS)
    config = configs.load(
        url,
        dataset=LENGTH,
        generate={"target": chance.randint(1, 60), "batch_size": chance.randint(1, 7)},
        limits={"concurrency": chance.randint(1, 20), "retries": 20, "attempts": 50},
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    assert report.accepted == config.generate.target
    check_conservation(tmp_path / "run", dict(report.data))


@pytest.mark.parametrize("kill_at", [1, 7, 20])
async def test_law_2_paid_once_through_kill(
    kill_at: int, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """SIGKILL twice, then the same command: what is asked again was in flight at a kill."""
    url, simulator = await endpoint(latency_s=0.005, violations=0.2)
    concurrency = 4
    path = configs.write(url, generate={"target": 150}, dataset=LENGTH, limits={"concurrency": concurrency})
    folder = tmp_path / "run"
    for kill in (1, 2):
        # What was in flight at the first kill may still be served: it must not end the second start too soon.
        earlier = simulator.statistics.served + concurrency if kill == 2 else 0
        reached = when_served(simulator, earlier + kill_at)
        process = await datagen("run", path, "-o", folder)
        await asyncio.wait_for(reached.wait(), 60)
        process.kill()
        await process.communicate()
    status, _, err = await finished(await datagen("run", path, "-o", folder))
    assert status == 0, err
    # A call that was received but not yet on disk is in flight too: workers hold a few more than are on the wire.
    assert simulator.statistics.repeated <= 2 * (concurrency * 5 // 4 + 1)
    found = orjson.loads((await finished(await datagen("status", folder, "--json")))[1])
    assert found["starts"] == 3
    check_conservation(folder, found)
    assert (
        table(folder, "SELECT count(*), count(DISTINCT key) FROM calls")[0][0] == found["calls"]["completed"]
    )

    clean = await run_in(tmp_path / "clean", RunConfig.load(path))
    assert clean.outcome == "target"
    assert contents(folder / "accepted.jsonl") == contents(tmp_path / "clean" / "accepted.jsonl")


async def test_law_2_nothing_is_asked_twice_after_an_orderly_stop(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(latency_s=0.002, latency_p99_s=0.02)
    budget = 0.004
    outcomes = []
    while not outcomes or outcomes[-1] == "budget":
        config = configs.load(
            url, generate={"target": 60, "max_tokens": 400}, limits={"budget_usd": budget, "concurrency": 5}
        )
        outcomes.append((await run_in(tmp_path / "run", config)).outcome)
        budget += 0.004
    assert outcomes[-1] == "target"
    assert len(outcomes) > 2
    assert simulator.statistics.repeated == 0


@pytest.mark.parametrize("cap", [0.003, 0.01, 0.05])
async def test_law_3_never_over(cap: float, tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint(latency_s=0.001)
    config = configs.load(
        url,
        generate={"target": 5000, "max_tokens": 300},
        limits={"budget_usd": cap, "concurrency": 200},
    )
    report = await run_in(tmp_path / "run", config)
    stats = simulator.statistics
    true_cost = (stats.prompt_tokens * 1.0 + stats.completion_tokens * 2.0) / 1e6
    assert report.outcome == "budget"
    assert true_cost == pytest.approx(report.data["cost"]["spent_usd"])
    assert true_cost <= cap
    worst_call = (2_500 * 1.0 + 300 * 2.0) / 1e6
    assert cap - true_cost < worst_call


@pytest.mark.parametrize("ratio", [None, {"7": 1, "9": 3, "11": 2}])
async def test_law_7_time_does_not_change_the_dataset(
    ratio: dict[str, int] | None, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """The same seed at other speeds, concurrencies and faults of transport: the same items, in the same order."""
    found = []
    for number, (concurrency, latency, errors) in enumerate(
        [(1, 0.0, 0.0), (9, 0.002, 0.05), (40, 0.004, 0.0)]
    ):
        url, _ = await endpoint(
            latency_s=latency,
            latency_p99_s=latency * 10 or None,
            errors=errors,
            violations=0.3,
            wrong_count=0.2,
        )
        constraints: list[Any] = [{"length": {"max": 60}}]
        if ratio is not None:
            constraints.append({"label_ratio": ratio})
        config = configs.load(
            url,
            dataset={"constraints": constraints},
            generate={"target": 50},
            limits={"concurrency": concurrency, "retries": 30},
        )
        folder = tmp_path / str(number)
        assert (await run_in(folder, config)).outcome == "target"
        found.append(contents(folder / "accepted.jsonl"))
    assert found[0] == found[1] == found[2]
    if ratio is not None:
        assert Counter(row["answer"] for row in found[0]) == {"7": 8, "9": 25, "11": 17}


async def test_law_7_another_seed_is_another_dataset(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint()
    for seed in (1, 2):
        await run_in(tmp_path / str(seed), configs.load(url, seed=seed))
    assert contents(tmp_path / "1" / "accepted.jsonl") != contents(tmp_path / "2" / "accepted.jsonl")


async def test_law_8_a_straggler_does_not_fill_the_memory(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first batch hangs, a fixed number of others wait for it, and no more: then they go before it."""
    most = 0
    ready = Commit._ready

    def watched(self: Commit) -> Iterator[Any]:
        nonlocal most
        most = max(most, len(self._waiting))
        return ready(self)

    monkeypatch.setattr(Commit, "_ready", watched)
    url, simulator = await endpoint()
    made, wanted, release = simulator._reply, Source._wanted, asyncio.Event()
    first = True

    def until_no_more(self: Source, number: int) -> bool:
        if not (more := wanted(self, number)):
            release.set()
        return more

    async def reply(*arguments: Any) -> Any:
        nonlocal first
        if first:
            first = False
            await release.wait()
        return await made(*arguments)

    monkeypatch.setattr(Source, "_wanted", until_no_more)
    simulator._reply = reply  # type: ignore[method-assign]
    config = configs.load(url, generate={"target": 400, "batch_size": 1}, limits={"concurrency": 2})
    assert (await run_in(tmp_path / "run", config)).outcome == "target"
    assert 40 < most <= 64


class Fussy:
    """A plugin that fails in its own way now and then."""

    name = "fussy"

    def __init__(self, tools: Any) -> None: ...

    async def validate(self, item: Item) -> Verdict:
        if item.position == 0 and item.batch.number % 3 == 0:
            raise ZeroDivisionError("a bug")
        if item.position == 1 and item.batch.number % 3 == 0:
            raise BadRequest("refused")
        return Verdict.passed(self.name)


async def test_law_9_one_bad_apple(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Point:
        name = "fussy"

        def load(self) -> type[Fussy]:
            return Fussy

    monkeypatch.setattr("engine.runs.plugins.installed_validators", lambda: {Point.name: Point()})
    url, _ = await endpoint()
    report = await run_in(tmp_path / "run", configs.load(url, validators=["fussy"]))
    assert report.outcome == "target"
    assert report.accepted == 20
    reasons = report.data["items"]["reasons"]["fussy"]
    assert set(reasons) == {"validator_error", "bad_request"}
    seen = report.data["validators"]["fussy"]
    assert seen["seen"] == seen["passed"] + seen["rejected"]
    assert all(
        row["_meta"]["id"].endswith(("-0", "-1")) for row in lines(tmp_path / "run" / "rejected.jsonl")
    )


async def test_a_call_refused_for_good_costs_its_batch_alone(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint()
    read, count = simulator._read, 0

    def refusing(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return simulator._error(Refusal("too long")) if count == 3 else read(*arguments)

    simulator._read = refusing  # type: ignore[method-assign]
    report = await run_in(tmp_path / "run", configs.load(url, limits={"concurrency": 1}))
    assert report.outcome == "target"
    assert report.data["items"]["reasons"] == {"generate": {"bad_request": 3}}
    assert report.data["calls"]["failed"] == 1


async def test_surplus_is_kept_and_used_when_the_target_is_raised(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint()
    folder = tmp_path / "run"
    report = await run_in(folder, configs.load(url, generate={"target": 10, "batch_size": 4}))
    assert report.data["items"]["surplus"] == 2
    served = simulator.statistics.served
    report = await run_in(folder, configs.load(url, generate={"target": 12, "batch_size": 4}))
    assert (report.accepted, report.data["items"]["surplus"]) == (12, 0)
    assert simulator.statistics.served == served
    report = await run_in(folder, configs.load(url, generate={"target": 13, "batch_size": 4}))
    assert report.accepted == 13
    assert simulator.statistics.served == served + 1
    assert simulator.statistics.repeated == 0


async def test_it_asks_for_no_more_than_is_needed(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint()
    config = configs.load(url, generate={"target": 60, "batch_size": 3}, limits={"concurrency": 50})
    await run_in(tmp_path / "run", config)
    assert simulator.statistics.served == 20


def test_acceptance_is_measured() -> None:
    progress = Progress(target=100)
    assert progress.acceptance == 1.0
    progress.accepted, progress.rejected = 450, 550
    assert progress.acceptance == pytest.approx(0.455, abs=0.01)


async def test_law_4_told_the_limit_it_provokes_no_429(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(requests_per_minute=1800)
    config = configs.load(
        url,
        generate={"target": 36, "batch_size": 1},
        limits={"concurrency": 20, "requests_per_minute": 1800, "tokens_per_minute": 1_000_000},
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    assert simulator.statistics.limit_violations == 0
    assert simulator.statistics.served == 36


async def test_not_told_the_limit_it_obeys_retry_after(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(requests_per_minute=1800)
    simulator._limits.left = list  # type: ignore[method-assign, assignment]
    config = configs.load(
        url, generate={"target": 45, "batch_size": 1}, limits={"concurrency": 45, "retries": 0}
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    assert report.data["calls"]["rate_limited"] == simulator.statistics.limit_violations > 0
    assert report.data["calls"]["failed"] == 0
    assert report.data["cost"]["unconfirmed_usd"] == 0

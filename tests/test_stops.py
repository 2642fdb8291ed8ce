"""A stop delivers what was paid: what is complete is decided, whatever is still missing before it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, Start, datagen, finished, lines, run_in, when_served
from engine.items import item_number
from faults.provider import Asked, Fault, Line, Provider, completion, items, provided
from test_group_check import FUNCTION, GROUP, check_law_6
from test_laws import check_conservation, table

SLOW_TAIL: dict[str, Any] = {"latency_s": 0.01, "latency_p99_s": 0.1}


def paid_batches(folder: Path) -> set[int]:
    """The batches whose items a call has brought."""
    sql = "SELECT batch FROM calls WHERE purpose = 'items' AND error IS NULL"
    return {batch for (batch,) in table(folder, sql)}


def delivered(folder: Path) -> Iterator[int]:
    for name in ("accepted.jsonl", "rejected.jsonl"):
        for row in lines(folder / name):
            yield int(row["_meta"]["batch"])


@pytest.mark.parametrize("errors", [0.02, 0.2])
async def test_at_the_cap_every_item_that_was_paid_is_delivered(
    errors: float, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """Batches that are still being tried again when the money ends hold back none that has come."""
    url, simulator = await endpoint(errors=errors, **SLOW_TAIL)
    config = configs.load(
        url,
        generate={"target": 5000, "batch_size": 2, "max_tokens": 200},
        limits={"concurrency": 128, "budget_usd": 0.06},
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "budget"
    assert set(delivered(tmp_path / "run")) == paid_batches(tmp_path / "run")
    assert report.accepted >= 2 * len(paid_batches(tmp_path / "run")) * 0.9
    further = await run_in(
        tmp_path / "run",
        config.changed(limits=config.limits.model_copy(update={"budget_usd": 0.12})),
    )
    assert further.accepted > report.accepted
    assert simulator.statistics.repeated == 0
    assert set(delivered(tmp_path / "run")) == paid_batches(tmp_path / "run")
    check_whole(tmp_path / "run")


def check_whole(folder: Path) -> None:
    """No item stands twice, and no fate is that of another item."""
    rows = [
        row["_meta"]["id"] for name in ("accepted.jsonl", "rejected.jsonl") for row in lines(folder / name)
    ]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("served", [3, 40, 150])
async def test_a_stop_at_any_point_loses_nothing_that_is_complete(
    served: int, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """Ctrl-C amid validation; the same command goes on, pays nothing twice, and ends at the target."""
    url, simulator = await endpoint(errors=0.1, wrong_labels=0.3, violations=0.2, **SLOW_TAIL)
    sections: dict[str, Any] = {
        "generate": {"target": 120, "batch_size": 3},
        "dataset": {"constraints": [{"length": {"max": 60}}]},
        "validators": ["constraints", "reflection"],
        "limits": {"concurrency": 24, "attempts": 20},
    }
    path, folder = configs.write(url, **sections), tmp_path / "run"
    reached = when_served(simulator, served)
    process = await datagen("run", path, "-o", folder)
    await reached.wait()
    process.send_signal(signal.SIGINT)
    status, _, err = await finished(process)
    assert status == 130, err
    whole = reviewed(folder)
    assert whole <= set(accepted_or_rejected(folder)), "an item whose every call is paid has a fate"
    status, _, err = await finished(await datagen("run", path, "-o", folder))
    assert status == 0, err
    assert len(lines(folder / "accepted.jsonl")) == 120
    assert simulator.statistics.repeated == 0
    check_whole(folder)


def reviewed(folder: Path) -> set[int]:
    """Items whose review is paid and favourable: nothing more is to be asked about them."""
    sql = "SELECT key, text FROM calls WHERE purpose = 'review' AND error IS NULL"
    good = [key for key, text in table(folder, sql) if '"good":true' in text.replace(" ", "")]
    return {number_of(key.split("/")[0]) for key in good if key.endswith("/0")}


def number_of(name: str) -> int:
    batch, position = name.split("-")
    return item_number(int(batch), int(position))


def accepted_or_rejected(folder: Path) -> Iterator[int]:
    for (item,) in table(folder, "SELECT item FROM items"):
        yield item


async def test_a_key_revoked_in_the_middle_keeps_what_came_before(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(errors=0.05, **SLOW_TAIL)
    config = configs.load(url, generate={"target": 2000, "batch_size": 2}, limits={"concurrency": 64})
    reached = when_served(simulator, 300)

    async def revoke() -> None:
        await reached.wait()
        simulator.knobs = simulator.knobs.model_copy(update={"api_key": "another"})

    revoking = asyncio.create_task(revoke())
    report = await run_in(tmp_path / "run", config)
    await revoking
    assert report.outcome == "fatal"
    assert set(delivered(tmp_path / "run")) == paid_batches(tmp_path / "run")
    assert report.accepted > 500


async def test_a_run_that_is_stopped_once_more_ends_as_it_would(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """The group check sees the items that an earlier stop decided out of turn."""
    url, _ = await endpoint(errors=0.1, near_duplicates=0.3, **SLOW_TAIL)
    config = configs.load(
        url,
        generate={"target": 200, "batch_size": 3},
        groupcheck=GROUP,
        embedding=FUNCTION,
        limits={"concurrency": 32, "budget_usd": 0.02, "attempts": 30},
    )
    budget = 0.02
    for _ in range(12):
        report = await run_in(tmp_path / "run", config)
        if report.outcome == "target":
            break
        assert report.outcome == "budget"
        budget += 0.02
        config = config.changed(limits=config.limits.model_copy(update={"budget_usd": budget}))
    assert report.outcome == "target"
    check_conservation(tmp_path / "run", dict(report.data))
    check_law_6(tmp_path / "run", 0.8)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_drain_has_a_deadline_that_is_said(
    number: signal.Signals, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """Calls that never end are given up; what came before them is delivered."""
    url, simulator = await endpoint(stalls=0.2, latency_s=0.005)
    path = configs.write(
        url,
        generate={"target": 500, "batch_size": 2},
        limits={"concurrency": 8, "drain_s": 0.5, "budget_usd": 5},
    )
    folder = tmp_path / "run"
    reached = when_served(simulator, 12)
    process = await datagen("run", path, "-o", folder)
    await asyncio.wait_for(reached.wait(), 60)
    await asyncio.sleep(0.5)  # all places are taken by calls that stall
    process.send_signal(number)
    status, _, err = await asyncio.wait_for(finished(process), 60)
    assert status == 130, err
    assert "calls in flight, 0.5 s at most; once more to stop at once" in err
    assert set(delivered(folder)) == paid_batches(folder)
    report = orjson.loads((folder / "report.json").read_bytes())
    assert report["cost"]["unconfirmed_usd"] > 0, "what was given up may be charged"


async def test_a_validator_that_never_ends_is_given_up_with_the_run(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.items import Item, Verdict

    class Endless:
        name = "endless"

        def __init__(self, tools: Any, **_: Any) -> None: ...

        async def validate(self, item: Item) -> Verdict:
            if item.position == 1:
                await asyncio.Event().wait()
            return Verdict.passed(self.name)

    class Point:
        name = "endless"

        def load(self) -> Any:
            return Endless

    monkeypatch.setattr("engine.runs.plugins.installed_validators", lambda: {Point.name: Point()})
    url, _ = await endpoint()
    config = configs.load(
        url,
        generate={"target": 100, "batch_size": 2},
        validators=["endless"],
        limits={"budget_usd": 0.004, "attempt_timeout_s": 0.3, "drain_s": 0.3, "concurrency": 8},
    )
    report = await asyncio.wait_for(run_in(tmp_path / "run", config), 60)
    assert report.outcome == "budget"
    assert report.accepted == len(paid_batches(tmp_path / "run")) > 1


async def test_a_batch_that_does_not_come_holds_up_no_other(tmp_path: Path, configs: Configs) -> None:
    """It is passed over while it is tried, and joins when it comes; a later start finds nothing twice."""
    answered = asyncio.Event()
    count = 0

    async def late(line: Line, asked: Asked) -> None:
        await answered.wait()
        await line.reply(200, completion(items(asked, 1)))

    def script(number: int) -> Fault | None:
        nonlocal count
        count = number
        if number >= 180:
            answered.set()
        return late if number == 1 else None

    provider = Provider(script)
    provider.content = lambda asked: items(asked, 1)
    folder = tmp_path / "run"
    async with provided(provider) as url:
        config = configs.load(
            url,
            generate={"target": 300, "batch_size": 1},
            limits={"concurrency": 4, "failed_calls": "free"},
        )
        async with asyncio.timeout(60):
            report = await run_in(folder, config)
    assert count >= 180, "the window of 64 batches did not hold them up"
    assert report.accepted == 300
    check_whole(folder)
    check_conservation(folder, report.data)
    [[committed]] = table(folder, "SELECT value FROM facts WHERE name = 'committed'")
    assert int(committed) >= 299
    late_ones = [row for row in lines(folder / "accepted.jsonl") if "asked as number 1?" in row["question"]]
    assert len(late_ones) == 1


async def test_what_was_passed_over_is_asked_again_after_a_kill(tmp_path: Path, configs: Configs) -> None:
    """A kill while one batch has never come: all others are on record, and a resume pays for that one alone."""
    hung = asyncio.Event()

    async def never(line: Line, asked: Asked) -> None:
        await hung.wait()

    provider = Provider(lambda number: never if number == 1 else None)
    provider.content = lambda asked: items(asked, 1)
    folder = tmp_path / "run"
    async with provided(provider) as url:
        path = configs.write(
            url,
            generate={"target": 5000, "batch_size": 1},
            limits={"concurrency": 4, "failed_calls": "free"},
        )
        process = await datagen("run", path, "-o", folder)
        while len(provider.account.asked) < 400:
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        asked = len(provider.account.asked)
        [[decided]] = table(folder, "SELECT count(*) FROM items")
        assert decided > asked - 150
        code, _, _ = await finished(await datagen("export", folder, "-o", tmp_path / "killed.jsonl"))
        assert code == 0
        assert len((tmp_path / "killed.jsonl").read_bytes().splitlines()) == decided
        code, _, err = await finished(await datagen("run", path, "-o", folder, "--target", str(decided + 20)))
        assert code == 0, err
    hung.set()
    check_whole(folder)
    [[calls]] = table(folder, "SELECT count(*) FROM calls")
    assert calls >= asked - 10
    assert len(provider.account.asked) < asked + 120


async def test_at_the_cap_what_is_paid_and_not_validated_is_told_and_finished_first(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(wrong_labels=0.2, **SLOW_TAIL)
    config = configs.load(
        url,
        generate={"target": 2000, "batch_size": 5},
        validators=["constraints", "reflection"],
        limits={"concurrency": 32, "budget_usd": 0.12},
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "budget"
    items = report.data["items"]
    assert items["undecided"] < 0.1 * items["generated"], "validating goes before new items"
    asked = simulator.statistics.purposes["items"]
    if items["undecided"]:
        assert items["finishing_usd"] > 0
    more = config.changed(limits=config.limits.model_copy(update={"budget_usd": 0.13}))
    again = await run_in(tmp_path / "run", more)
    assert again.data["items"]["generated"] >= items["generated"] + items["undecided"] * 0.5
    assert simulator.statistics.purposes["items"] - asked < 100

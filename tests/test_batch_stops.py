"""Runs in batches that are stopped, killed, moved and changed: nothing is lost, nothing is asked twice."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from conftest import Configs, Start, datagen, finished, run_in
from engine.items import PICO
from engine.store.parts import PartBook
from nights import Night, check, rows


@pytest.fixture
def night(tmp_path: Path, endpoint: Start, configs: Configs) -> Night:
    return Night(tmp_path, endpoint, configs)


def starts(folder: Path) -> int:
    """How many starts the journal knows of."""
    with contextlib.suppress(sqlite3.Error):
        return int(rows(folder, "SELECT count(*) FROM starts")[0][0])
    return 0


@pytest.mark.parametrize("dialect", ["plain", "anthropic"])
async def test_paid_once_through_kills_anywhere(dialect: str, night: Night) -> None:
    """SIGKILL again and again while batches are made, lost, worked on and collected."""
    config = await night.config(
        "batch", dialect, batches={"lose_create": 2, "day_s": 20.0}, more={"limits": {"batch": {"part": 20}}}
    )
    del config
    path = night._configs.folder / "config.yaml"
    for start, seconds in enumerate((0.0, 0.2, 0.6, 1.0), 1):
        process = await datagen("run", path, "-o", night.folder)
        while process.returncode is None and starts(night.folder) < start:
            await asyncio.sleep(0.02)
        try:
            await asyncio.wait_for(process.communicate(), seconds)
        except TimeoutError:
            process.kill()
            await process.communicate()
    status, _, err = await finished(await datagen("run", path, "-o", night.folder))
    assert status == 0, err
    found = check(night)
    assert found["starts"] > 1
    answered = rows(night.folder, "SELECT count(*), count(DISTINCT key) FROM asked WHERE fate = 'answered'")
    assert answered[0][0] == answered[0][1] == sum(night.desk.answered.values())


async def test_the_same_when_every_state_is_the_last(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start ends right after each state is on disk; the next one goes on from there."""
    put, seen = PartBook.put, set[str]()

    class Killed(BaseException):
        pass

    async def killing(self: PartBook, *parts: Any) -> None:
        await put(self, *parts)
        for part in parts:
            if str(part.state) not in seen:
                seen.add(str(part.state))
                raise Killed

    monkeypatch.setattr(PartBook, "put", killing)
    config = await night.config("batch", more={"limits": {"batch": {"part": 10}}})
    starts = 0
    while True:
        starts += 1
        try:
            report = await run_in(night.folder, config)
        except (Killed, BaseExceptionGroup):
            continue
        if report.outcome != "fatal":
            break
    assert report.outcome == "target"
    assert {"spooled", "intent", "uploaded", "told", "created", "ended", "collected"} <= seen
    assert starts > 6
    check(night)


async def test_ctrl_c_leaves_the_batches_and_a_resume_collects_them(night: Night) -> None:
    await night.config("batch", batches={"day_s": 60.0, "quickest": 0.08, "slowest": 0.09})
    path = night._configs.folder / "config.yaml"
    process = await datagen("run", path, "-o", night.folder)
    while not night.desk.batches:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)
    process.send_signal(signal.SIGINT)
    status, out, err = await finished(process)
    assert status == 130
    assert "Batches go on until" in err
    assert f"datagen cancel {night.folder}" in out
    status, out, _ = await finished(await datagen("status", night.folder))
    assert status == 0
    assert "part 1, wave 1: in_progress" in out
    status, out, _ = await finished(await datagen("budget", night.folder))
    assert "Set aside for batches that are under way: $" in out
    online = ("--set", "limits.mode=online")
    status, out, err = await finished(await datagen("resume", night.folder, *online))
    assert status == 0, err
    found = check(night)
    assert found["batches"]["calls"] == sum(night.desk.answered.values()) > 0


async def test_cancel_keeps_what_was_answered(night: Night) -> None:
    await night.config("batch", batches={"day_s": 60.0, "quickest": 0.1, "slowest": 0.1})
    path = night._configs.folder / "config.yaml"
    process = await datagen("run", path, "-o", night.folder)
    while not any(each.succeeded for each in night.desk.batches.values()):
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    await finished(process)
    status, out, err = await finished(await datagen("cancel", night.folder))
    assert status == 0, err
    assert out.startswith("Batches stopped: 1; ")
    [batch] = night.desk.batches.values()
    assert batch.state == "cancelled"
    assert rows(night.folder, "SELECT count(*) FROM asked WHERE fate = 'answered'") == [(batch.succeeded,)]
    status, out, _ = await finished(await datagen("cancel", night.folder))
    assert out == "No batch of this run is under way.\n"
    status, _, err = await finished(await datagen("resume", night.folder, "--set", "limits.mode=online"))
    assert status == 0, err
    check(night)


async def test_a_start_online_collects_what_earlier_ones_have_sent(night: Night) -> None:
    config = await night.config("batch", batches={"day_s": 60.0, "quickest": 0.02, "slowest": 0.03})
    path = night._configs.folder / "config.yaml"
    process = await datagen("run", path, "-o", night.folder)
    while not night.desk.batches:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    process.kill()
    await process.communicate()
    lower = config.limits.model_copy(update={"mode": "online", "budget_usd": 0.005})
    report = await run_in(night.folder, config.changed(limits=lower))
    assert report.outcome == "budget", (
        "the cap was lowered below what is under way: it is collected all the same"
    )
    assert (
        sum(night.desk.answered.values())
        == rows(night.folder, "SELECT count(*) FROM asked WHERE fate = 'answered'")[0][0]
    )
    check(night)


async def test_a_batch_that_somebody_cancels_at_the_provider(night: Night) -> None:
    config = await night.config("batch", batches={"day_s": 60.0, "quickest": 0.05, "slowest": 0.05})

    async def cancel() -> None:
        while not any(each.succeeded for each in night.desk.batches.values()):
            await asyncio.sleep(0.02)
        for batch in night.desk.batches.values():
            batch.cancelled.set()
        night.desk.knobs = night.desk.knobs.model_copy(update={"quickest": 0.002, "slowest": 0.01})

    cancelling = asyncio.create_task(cancel())
    report = await run_in(night.folder, config)
    await cancelling
    assert report.outcome == "target"
    check(night)
    assert any("not answered" in event["words"] for event in report.data["events"])


async def test_a_run_folder_moves_while_its_batches_wait(night: Night, tmp_path: Path) -> None:
    config = await night.config("batch", batches={"day_s": 60.0, "quickest": 0.03, "slowest": 0.03})
    path = night._configs.folder / "config.yaml"
    process = await datagen("run", path, "-o", night.folder)
    while not night.desk.batches:
        await asyncio.sleep(0.02)
    process.kill()
    await process.communicate()
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    night.folder.rename(moved)
    online = config.limits.model_copy(update={"mode": "online"})
    assert (await run_in(moved, config.changed(limits=online))).outcome == "target"
    found = check(night, moved)
    assert found["batches"]["calls"] == sum(night.desk.answered.values()) > 0


async def test_a_full_disk_while_calls_are_spooled(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.llm.batches.spool import Spool

    add, left = Spool.add, [10]

    def full(self: Spool, *given: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            from engine.errors import DiskFull

            raise DiskFull("no space left for the calls of a batch")
        add(self, *given)

    monkeypatch.setattr(Spool, "add", full)
    config = await night.config("batch")
    report = await run_in(night.folder, config)
    assert report.outcome == "fatal"
    assert "no space left" in report.data["message"]
    assert not night.desk.batches
    monkeypatch.setattr(Spool, "add", add)
    assert (await run_in(night.folder, config)).outcome == "target"
    check(night)


async def test_another_endpoint_is_refused_before_anything_is_changed(night: Night) -> None:
    config = await night.config("batch", batches={"day_s": 60.0, "quickest": 0.5, "slowest": 0.6})
    path = night._configs.folder / "config.yaml"
    process = await datagen("run", path, "-o", night.folder)
    while not night.desk.batches:
        await asyncio.sleep(0.02)
    process.kill()
    await process.communicate()
    kept = (night.folder / "config.yaml").read_bytes()
    elsewhere = f"model.base_url={config.main.base_url.replace('127.0.0.1', 'localhost')}"
    status, _, err = await finished(await datagen("run", path, "-o", night.folder, "--set", elsewhere))
    assert status == 2
    assert "this config does not name that endpoint" in err
    assert (night.folder / "config.yaml").read_bytes() == kept
    status, out, _ = await finished(await datagen("cancel", night.folder))
    assert status == 0
    assert out.startswith("Batches stopped: 1; ")


async def test_a_batch_that_is_gone_can_be_given_up(night: Night) -> None:
    config = await night.config("batch", batches={"day_s": 60.0, "quickest": 0.5, "slowest": 0.6})
    path = night._configs.folder / "config.yaml"
    process = await datagen("run", path, "-o", night.folder)
    while not night.desk.batches:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    process.kill()
    await process.communicate()
    night.desk.batches.clear()
    assert (await finished(await datagen("cancel", night.folder)))[0] == 4
    status, out, _ = await finished(await datagen("cancel", night.folder, "--forget"))
    assert status == 0
    assert out.startswith("Given up: 1, at the most that they may have cost, $0.0")
    [(worst,)] = rows(night.folder, "SELECT worst FROM parts WHERE state = 'gone'")
    quick = config.limits.model_copy(update={"mode": "online"})
    report = await run_in(night.folder, config.changed(limits=quick))
    assert report.outcome == "target"
    cost = report.data["cost"]
    assert cost["unconfirmed_usd"] == pytest.approx(worst / PICO)
    assert cost["spent_usd"] == pytest.approx(sum(cost["by_purpose"].values()) + worst / PICO)
    assert report.data["batches"]["cost_usd"] == 0

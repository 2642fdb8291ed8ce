"""What is shown while a run goes."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from engine.report import live
from engine.report.formatting import duration
from engine.report.live import Snapshot, Throughput, display, panel, plain_line

SNAPSHOT = Snapshot(
    target=1000,
    accepted=250,
    rejected=40,
    surplus=0,
    spent_usd=0.5,
    cap_usd=2.0,
    calls=60,
    calls_per_s=12.5,
    in_flight=8,
    retried=2,
    rate_limited=1,
    eta_s=75.0,
    queues={"generate": (3, 64), "commit": (0, 256)},
    rejected_by={"constraints": 40},
    note="ending: [bold]interrupted",
)


def test_workers_are_shown() -> None:
    many = replace(SNAPSHOT, workers=[f"worker {n} at [b]process {n}: 1.5 items/s" for n in range(1, 21)])
    assert "40 rejected, 20 workers, 60 calls" in plain_line(many)
    console = Console(file=io.StringIO(), width=120)
    console.print(panel(many))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "worker 1 at [b]process 1: 1.5 items/s" in shown
    assert "worker 16 at" in shown
    assert "worker 17 at" not in shown
    assert "and 4 more" in shown


def test_a_plain_line() -> None:
    assert plain_line(SNAPSHOT) == (
        "250/1,000 accepted, 40 rejected, 60 calls (12.5/s, 8 in flight, 3 tried again), $0.5000 of $2, "
        "1 min 15 s left [ending: [bold]interrupted]"
    )


def test_the_panel_shows_everything_and_takes_no_text_for_markup() -> None:
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(panel(SNAPSHOT))
    shown = console.export_text()
    for said in (
        "250 of 1,000",
        "$0.5000 of $2",
        "12.5/s",
        "generate 3/64",
        "constraints 40",
        "[bold]interrupted",
    ):
        assert said in shown


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (75, "1 min 15 s"), (7260, "2 h 01 min")])
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
async def test_the_display_runs_and_ends(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PLAIN_EVERY_S", 0.0)
    monkeypatch.setattr(live, "LIVE_EVERY_S", 0.0)
    looked = asyncio.Event()

    def look() -> Snapshot:
        if stream.getvalue():
            looked.set()
        return SNAPSHOT

    async with display(look, stream):
        await looked.wait()
    assert "250" in stream.getvalue()


def test_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    speed = Throughput()
    assert speed.per_second(0) == 0.0
    now = 110.0
    assert speed.per_second(50) == 5.0

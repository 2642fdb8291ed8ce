"""What is shown while a run goes."""

from __future__ import annotations

import asyncio
import io
import math
import random
import re
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from engine.report import live, showing
from engine.report.formatting import duration
from engine.report.live import Snapshot, Throughput, panel, plain_line
from engine.report.remaining import Left, Marks, left
from engine.report.showing import KINDS, JsonLines, Kind, Lines, Nothing, Panel, as_shown, shown_on

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
    left=Left(70.0, 80.0),
    queues={"generate": (3, 64), "commit": (0, 256)},
    rejected_by={"constraints": 40},
    note="ending: [bold]interrupted",
    elapsed_s=25.0,
    here=(250, 40, 0.5),
    folder="runs/one",
)


def test_workers_are_shown() -> None:
    many = replace(SNAPSHOT, workers=[f"worker {n} at [b]process {n}: 1.5 items/s" for n in range(1, 21)])
    assert "40 rejected (86% pass), 20 workers, 60 calls" in plain_line(many)
    console = Console(file=io.StringIO(), width=120)
    console.print(panel(many))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "worker 1 at [b]process 1: 1.5 items/s" in shown
    assert "worker 16 at" in shown
    assert "worker 17 at" not in shown
    assert "and 4 more" in shown


def test_a_plain_line() -> None:
    assert plain_line(SNAPSHOT) == (
        "250/1,000 accepted, 40 rejected (86% pass), 60 calls (12.5/s, 8 in flight, 3 tried again), "
        "$0.5000 of $2, about 1 min 15 s left [ending: [bold]interrupted]"
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


@pytest.mark.parametrize("width", [80, 160])
def test_the_panel_keeps_to_the_terminal(width: int) -> None:
    """What it says at every moment stands in as few lines, none of them longer than the terminal."""
    long = replace(
        SNAPSHOT, note="x at http://127.0.0.1:9/v1: cannot connect: no such host; next try in 8 s " * 2
    )
    console = Console(file=io.StringIO(), width=width)
    console.print(panel(long, width))
    shown = console.file.getvalue().rstrip().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, shown)) <= width
    labels = [line[:8].strip() for line in shown]
    assert labels[:5] == ["items", "time", "spent", "", "calls"]
    assert "25 s; about 1 min 15 s left" in shown[1]
    assert "$0.002000 an item, about $2.0000 at the end" in shown[3]
    assert "runs/one" in "".join(shown)


def test_a_cap_that_ends_it_is_told() -> None:
    assert "the cap ends it at about 750 items" in live.expected(replace(SNAPSHOT, cap_usd=1.5))
    assert live.expected(replace(SNAPSHOT, priced=False)) == ""


def test_each_kind_of_display() -> None:
    found = {kind: type(shown_on(Terminal(), kind)) for kind in KINDS}
    assert found == {"auto": Panel, "plain": Lines, "rich": Panel, "json": JsonLines, "none": Nothing}
    assert isinstance(shown_on(io.StringIO()), Lines)
    assert isinstance(as_shown(None), Nothing)
    assert isinstance(as_shown(Nothing()), Nothing)


@pytest.mark.parametrize("kind", ["plain", "rich", "json"])
async def test_the_display_runs_and_ends(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_FIRST_LINE_S", 0.0)
    monkeypatch.setattr(showing, "PANEL_EVERY_S", 0.0)
    stream, looked = Terminal(), asyncio.Event()

    def look() -> Snapshot:
        if stream.getvalue():
            looked.set()
        return SNAPSHOT

    shown = shown_on(stream, kind)
    async with shown.during(look):
        await looked.wait()
        shown.say("something \x1b[2J happened")
    shown.ended({"outcome": "target"})
    said = stream.getvalue()
    assert "250" in said
    assert "\x1b[2J" not in said
    if kind == "json":
        rows = [orjson.loads(line) for line in said.splitlines()]
        assert [row["kind"] for row in rows][-3:] == ["said", "progress", "end"]
        assert rows[0]["left_s"] == [70.0, 80.0]
        assert rows[0]["acceptance"] == pytest.approx(250 / 290)
    if kind == "plain":
        assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in said.splitlines())


async def test_a_night_has_a_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    at, told, real = 0.0, list[float](), asyncio.sleep

    async def passing(seconds: float) -> None:
        nonlocal at
        at += seconds
        await real(0)

    def look() -> Snapshot:
        told.append(at)
        return SNAPSHOT

    monkeypatch.setattr(showing.asyncio, "sleep", passing)
    async with Lines(io.StringIO()).during(look):
        while at < 8 * 3600:
            await real(0)
    assert told[:5] == [5, 15, 35, 75, 135]
    assert 479 <= len(told) <= 484  # of eight hours


# --- how long is left --------------------------------------------------------------------------------


@given(
    pace=st.floats(0.5, 200), warm=st.floats(0, 60), size=st.integers(1, 20), seed=st.integers(0, 10_000),
    share=st.floats(0.05, 0.95),
)  # fmt: skip
def test_what_is_left_is_within_its_range(
    pace: float, warm: float, size: int, seed: int, share: float
) -> None:
    """At a steady pace, whatever it is, however long the start took and in whatever batches the items come."""
    chance, target, marks = random.Random(seed), 4000, Marks()
    at, accepted, so_far = warm, 0, marks.add(0.0, 0)
    while accepted < share * target:
        at += chance.expovariate(pace / size)
        accepted += size
        so_far = marks.add(at, accepted)
    found = left(so_far, target - accepted)
    if found is None:
        assert accepted < 5 + 2 * size
        return
    real = (target - accepted) / pace
    assert found.low / 2.5 <= real <= found.high * 2.5
    if accepted > 200 * size:
        assert found.low / 1.25 <= real <= found.high * 1.25
        assert found.high < 2 * found.low


def test_a_standstill_is_no_five_seconds() -> None:
    """A refusal that lasts: what is left grows, and is told as at least so much."""
    marks = [(float(second), 10.0 * second) for second in range(1, 61)]
    steady = left(marks, 50)
    assert steady is not None
    assert steady.words == "about 5 s"
    stalled = left([*marks, (180.0, 600.0)], 50)
    assert stalled is not None
    assert stalled.high == math.inf
    assert stalled.words.startswith("at least ")
    assert left([(0.0, 0.0), (5.0, 0.0)], 50) is None
    assert left(marks, 0) is None


@pytest.mark.parametrize(
    ("bounds", "said"),
    [((3, 4), "about 4 s"), ((60, 70), "about 1 min 05 s"), ((60, 300), "1 min 00 s to 5 min 00 s"),
     ((0.2, math.inf), "")],
)  # fmt: skip
def test_a_range_in_words(bounds: tuple[float, float], said: str) -> None:
    assert Left(*bounds).words == said


def test_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    speed = Throughput()
    assert speed.per_second(0) == 0.0
    now = 110.0
    assert speed.per_second(50) == 5.0

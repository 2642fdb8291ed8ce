"""What a run shows while it goes: a snapshot of it, as one line and as a panel."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.report.formatting import counted, duration
from engine.report.remaining import Left

if TYPE_CHECKING:
    from rich.console import RenderableType

_WORKERS = 16
_LABEL = 8
"""Columns of the panel's first column."""


@dataclass(frozen=True)
class Snapshot:
    """What a display shows at one moment."""

    target: int
    accepted: int
    rejected: int
    surplus: int
    spent_usd: float
    cap_usd: float | None
    calls: int
    calls_per_s: float
    in_flight: int
    retried: int
    rate_limited: int
    left: Left | None
    """How long it may still take."""
    queues: Mapping[str, tuple[int, int]]
    """Stage -> (waiting, capacity)."""
    rejected_by: Mapping[str, int]
    note: str = ""
    """What it waits for, or why it ends."""
    waiting: int = 0
    """Batches that have come and are not decided yet."""
    workers: Sequence[str] = ()
    """A line for each worker."""
    elapsed_s: float = 0.0
    """Of this start."""
    here: tuple[int, int, float] = (0, 0, 0.0)
    """Of this start alone: accepted, rejected, dollars."""
    folder: str = ""
    priced: bool = True
    """Whether dollars are known at all."""

    @property
    def acceptance(self) -> float | None:
        """The share of what was decided that was accepted; None where nothing was."""
        decided = self.accepted + self.rejected
        return self.accepted / decided if decided else None

    @property
    def each_usd(self) -> float | None:
        """Dollars for one accepted item, by this start's own."""
        accepted, _, dollars = self.here
        return dollars / accepted if accepted else None

    @property
    def expected_usd(self) -> float | None:
        """What the whole will have cost, if it goes on like this start."""
        each = self.each_usd
        return None if each is None else self.spent_usd + each * max(0, self.target - self.accepted)


Snapshots = Callable[[], Snapshot]


def plain_line(snapshot: Snapshot) -> str:
    """One line for a log file."""
    left = f", {snapshot.left.words} left" if snapshot.left is not None and snapshot.left.words else ""
    note = f" [{snapshot.note}]" if snapshot.note else ""
    workers = f"{counted(len(snapshot.workers), 'worker')}, " if snapshot.workers else ""
    return (
        f"{snapshot.accepted:,}/{snapshot.target:,} accepted, {snapshot.rejected:,} rejected{_share(snapshot)}, "
        f"{_waiting(snapshot)}{workers}"
        f"{snapshot.calls:,} calls ({snapshot.calls_per_s:.1f}/s, {snapshot.in_flight} in flight, "
        f"{snapshot.retried + snapshot.rate_limited} tried again), {_money(snapshot)}{left}{note}"
    )


def _waiting(snapshot: Snapshot) -> str:
    return f"{snapshot.waiting:,} waiting their turn, " if snapshot.waiting else ""


def _share(snapshot: Snapshot) -> str:
    return "" if snapshot.acceptance is None else f" ({snapshot.acceptance:.0%} pass)"


def _money(snapshot: Snapshot) -> str:
    if not snapshot.priced:
        return "cost not known"
    return f"${snapshot.spent_usd:.4f}" + (f" of ${snapshot.cap_usd:g}" if snapshot.cap_usd else "")


def expected(snapshot: Snapshot) -> str:
    """What an item costs and what the whole will have cost, in words; '' where that is not known."""
    each, whole = snapshot.each_usd, snapshot.expected_usd
    if each is None or whole is None or not snapshot.priced:
        return ""
    said = f"${each:.6f} an item, about ${whole:.4f} at the end"
    if snapshot.cap_usd and whole > snapshot.cap_usd and each > 0:
        reached = snapshot.accepted + (snapshot.cap_usd - snapshot.spent_usd) / each
        said = f"${each:.6f} an item; the cap ends it at about {max(snapshot.accepted, int(reached)):,} items"
    return said


def panel(snapshot: Snapshot, width: int = 80) -> RenderableType:
    """The live display for a terminal of so many columns. Texts are shown literally: nothing in them is markup."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1), expand=False)
    grid.add_column(width=_LABEL, no_wrap=True)
    grid.add_column(max_width=max(20, width - _LABEL - 2), overflow="fold")
    bar = max(10, min(40, width - 50))

    def with_bar(done: float, whole: float, said: str) -> RenderableType:
        row = Table.grid(padding=(0, 1))
        row.add_column(width=bar)
        row.add_column(overflow="fold")
        row.add_row(ProgressBar(total=whole, completed=min(done, whole), width=bar), Text(said))
        return row

    items = f"{snapshot.accepted:,} of {snapshot.target:,}{_share(snapshot)}"
    grid.add_row("items", with_bar(snapshot.accepted, snapshot.target, items))
    left = snapshot.left.words if snapshot.left is not None else ""
    known = f"; {left} left" if left else "; time left not known yet" if snapshot.left is None else ""
    grid.add_row(
        "time", Text(f"{duration(snapshot.elapsed_s)}{known if snapshot.accepted < snapshot.target else ''}")
    )
    if snapshot.cap_usd:
        grid.add_row("spent", with_bar(snapshot.spent_usd, snapshot.cap_usd, _money(snapshot)))
    else:
        grid.add_row("spent", Text(f"{_money(snapshot)}{', no cap' if snapshot.priced else ''}"))
    if said := expected(snapshot):
        grid.add_row("", Text(said))
    grid.add_row(
        "calls",
        Text(
            f"{snapshot.calls:,} done, {snapshot.calls_per_s:.1f}/s, {snapshot.in_flight} in flight, "
            f"{snapshot.retried} retried, {snapshot.rate_limited} rate-limited"
        ),
    )
    busy = {name: queue for name, queue in snapshot.queues.items() if queue[0]} or snapshot.queues
    grid.add_row("queues", Text("  ".join(f"{name} {n}/{most}" for name, (n, most) in busy.items())))
    rejected = "  ".join(f"{by} {count:,}" for by, count in snapshot.rejected_by.items())
    grid.add_row("rejected", Text(f"{snapshot.rejected:,}  {rejected}"))
    if snapshot.waiting:
        grid.add_row("waiting", Text(f"{snapshot.waiting:,} for their turn"))
    for number, line in enumerate(snapshot.workers[:_WORKERS]):
        grid.add_row("" if number else "workers", Text(line))
    if len(snapshot.workers) > _WORKERS:
        grid.add_row("", Text(f"and {len(snapshot.workers) - _WORKERS} more"))
    if snapshot.folder:
        grid.add_row("folder", Text(snapshot.folder))
    grid.add_row("now", Text(snapshot.note, style="bold") if snapshot.note else Text("running"))
    return grid


class Silence:
    """How long a total has stood still. Mutable state: the total, and since when."""

    def __init__(self) -> None:
        self._total, self._since = 0.0, time.monotonic()

    def seconds(self, total: float) -> float:
        """`total` is the present one."""
        if total != self._total:
            self._total, self._since = total, time.monotonic()
        return time.monotonic() - self._since


class Throughput:
    """Rates over the last half minute. Mutable state: a few (time, value) marks."""

    def __init__(self, first: float = 0.0, seconds: float = 30.0) -> None:
        self._seconds = seconds
        self._marks: list[tuple[float, float]] = [(time.monotonic(), first)]

    def per_second(self, value: float) -> float:
        """Units per second; `value` is the present total."""
        now = time.monotonic()
        self._marks = [mark for mark in self._marks if mark[0] > now - self._seconds] + [(now, value)]
        began, first = self._marks[0]
        return (value - first) / (now - began) if now > began else 0.0

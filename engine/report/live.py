"""Shows a run's progress: a live panel on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from engine.report.formatting import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

PLAIN_EVERY_S = 5.0
LIVE_EVERY_S = 0.25
_WORKERS = 16


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
    eta_s: float | None
    queues: Mapping[str, tuple[int, int]]
    """Stage -> (waiting, capacity)."""
    rejected_by: Mapping[str, int]
    note: str = ""
    waiting: int = 0
    """Batches that have come and are not decided yet."""
    workers: Sequence[str] = ()
    """A line for each worker."""


Snapshots = Callable[[], Snapshot]


def plain_line(snapshot: Snapshot) -> str:
    """One line for a log file."""
    money = f"${snapshot.spent_usd:.4f}" + (f" of ${snapshot.cap_usd:g}" if snapshot.cap_usd else "")
    eta = f", {duration(snapshot.eta_s)} left" if snapshot.eta_s is not None else ""
    note = f" [{snapshot.note}]" if snapshot.note else ""
    workers = f"{len(snapshot.workers)} workers, " if snapshot.workers else ""
    return (
        f"{snapshot.accepted:,}/{snapshot.target:,} accepted, {snapshot.rejected:,} rejected, "
        f"{_waiting(snapshot)}{workers}"
        f"{snapshot.calls:,} calls ({snapshot.calls_per_s:.1f}/s, {snapshot.in_flight} in flight, "
        f"{snapshot.retried + snapshot.rate_limited} tried again), {money}{eta}{note}"
    )


def _waiting(snapshot: Snapshot) -> str:
    return f"{snapshot.waiting:,} waiting their turn, " if snapshot.waiting else ""


@asynccontextmanager
async def display(snapshots: Snapshots, stream: TextIO = sys.stderr) -> AsyncIterator[None]:
    """Shows snapshots until the block ends."""
    shown = _live(snapshots, stream) if stream.isatty() else _plain(snapshots, stream)
    task = asyncio.create_task(shown, name="display")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _plain(snapshots: Snapshots, stream: TextIO) -> None:
    while True:
        await asyncio.sleep(PLAIN_EVERY_S)
        print(plain_line(snapshots()), file=stream, flush=True)


async def _live(snapshots: Snapshots, stream: TextIO) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)
    with Live(panel(snapshots()), console=console, auto_refresh=False, transient=True) as live:
        while True:
            await asyncio.sleep(LIVE_EVERY_S)
            live.update(panel(snapshots()), refresh=True)


def panel(snapshot: Snapshot) -> RenderableType:
    """The live display. Texts are shown literally: nothing in them is markup."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 2))
    head.add_column(width=10)
    head.add_column(width=40)
    head.add_column()
    eta = f"{duration(snapshot.eta_s)} left" if snapshot.eta_s is not None else ""
    bar = ProgressBar(total=snapshot.target, completed=min(snapshot.accepted, snapshot.target), width=40)
    head.add_row("items", bar, Text(f"{snapshot.accepted:,} of {snapshot.target:,}  {eta}"))
    if snapshot.cap_usd:
        spend = ProgressBar(
            total=snapshot.cap_usd, completed=min(snapshot.spent_usd, snapshot.cap_usd), width=40
        )
        head.add_row("spent", spend, Text(f"${snapshot.spent_usd:.4f} of ${snapshot.cap_usd:g}"))
    else:
        head.add_row("spent", Text(f"${snapshot.spent_usd:.4f}, no cap"), Text(""))
    body = Table.grid(padding=(0, 2))
    body.add_column(width=10)
    body.add_column()
    body.add_row(
        "calls",
        Text(
            f"{snapshot.calls:,} done, {snapshot.calls_per_s:.1f}/s, {snapshot.in_flight} in flight, "
            f"{snapshot.retried} retried, {snapshot.rate_limited} rate-limited"
        ),
    )
    body.add_row("queues", Text("  ".join(f"{name} {n}/{cap}" for name, (n, cap) in snapshot.queues.items())))
    rejected = "  ".join(f"{by} {count:,}" for by, count in snapshot.rejected_by.items())
    body.add_row("rejected", Text(f"{snapshot.rejected:,}  {rejected}"))
    if snapshot.waiting:
        body.add_row("waiting", Text(f"{snapshot.waiting:,} for their turn"))
    for number, line in enumerate(snapshot.workers[:_WORKERS]):
        body.add_row("" if number else "workers", Text(line))
    if len(snapshot.workers) > _WORKERS:
        body.add_row("", Text(f"and {len(snapshot.workers) - _WORKERS} more"))
    if snapshot.note:
        body.add_row("", Text(snapshot.note, style="bold"))
    return Group(head, body)


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

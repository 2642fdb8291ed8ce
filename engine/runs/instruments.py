"""The progress of a start: for the display, for metrics, and for the time series in the journal."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from engine.errors import StoreError
from engine.flow.halt import Halt
from engine.items import usd
from engine.llm.budget import Budget
from engine.llm.call import CallCounts
from engine.llm.limiter import Limiter
from engine.llm.pacing import Clock
from engine.observe.prometheus import Figures
from engine.report.live import Silence, Snapshot, Throughput
from engine.report.remaining import Marks, left
from engine.runs.passes import Passes
from engine.runs.pipeline import Pass
from engine.stages.progress import Progress
from engine.store.journal import Journal

FIRST_SAMPLE_S = 0.25
"""Short, so that a short run has samples too."""
SILENT_S = 10.0
"""Seconds without an answer after which the display says so."""
SAMPLE_EVERY_S = 2.0
"""Seconds between two samples of a long run; this start's counts are journaled as often."""


@dataclass(frozen=True)
class Instruments:
    """All sources of a start's progress."""

    progress: Progress
    budget: Budget
    counts: CallCounts
    limiter: Limiter
    passes: Passes
    halt: Halt
    cap_usd: float | None
    workers: Callable[[], Sequence[str]] = tuple
    """A line for each worker that is there."""
    folder: str = ""
    priced: bool = True
    clock: Clock = time.monotonic
    began: float = 0.0
    """When the start began, by the clock."""
    event: Callable[[], str] = str
    """What happened last, in words, if it is still news."""

    def figures(self) -> Figures:
        """The figures for metrics."""
        progress = self.progress
        channels = self.passes.statistics().items()
        queues = {name: channel.queued for name, channel in channels}
        return Figures(
            progress.accepted, progress.rejected, progress.surplus, progress.target, usd(self.budget.spent),
            self.cap_usd, self.counts, self.limiter.statistics(), self.limiter.endpoints, queues,
        )  # fmt: skip

    def snapshots(self) -> Callable[[], Snapshot]:
        """For the display: each call returns the current state, with speeds since the previous calls."""
        calls, marks, silence = Throughput(), Marks(), Silence()
        before = self.progress.accepted, self.progress.rejected, usd(self.budget.spent)

        def snapshot() -> Snapshot:
            progress, counts, online = self.progress, self.counts, self.passes.turn is Pass.ONLINE
            elapsed, spent = self.clock() - self.began, usd(self.budget.spent)
            so_far = marks.add(elapsed, progress.accepted)
            rejected_by: Counter[str] = Counter()
            for (by, _), count in progress.rejected_by.items():
                rejected_by[by] += count
            channels = self.passes.statistics().items()
            return Snapshot(
                target=progress.target,
                accepted=progress.accepted,
                rejected=progress.rejected,
                surplus=progress.surplus,
                spent_usd=spent,
                cap_usd=self.cap_usd,
                calls=counts.completed,
                calls_per_s=calls.per_second(counts.completed),
                in_flight=self.limiter.statistics().in_flight,
                retried=counts.retried,
                rate_limited=counts.rate_limited,
                left=left(so_far, progress.target - progress.accepted) if online else None,
                queues={name: (channel.queued, channel.capacity) for name, channel in channels},
                rejected_by=rejected_by,
                note=self._note(silence.seconds(counts.completed)),
                waiting=progress.waiting,
                workers=self.workers(),
                elapsed_s=elapsed,
                here=(progress.accepted - before[0], progress.rejected - before[1], spent - before[2]),
                folder=self.folder,
                priced=self.priced,
            )

        return snapshot

    def _note(self, silent: float) -> str:
        """What people should know at this moment: why the run ends, or that it only waits."""
        in_flight = self.limiter.statistics().in_flight
        waits = f"no answer for {silent:.0f} s" if in_flight and silent >= SILENT_S else ""
        ends = "" if self.halt.reason is None else f"ending: {self.halt.reason}"
        out = "; ".join(filter(None, (each.waits() for each in self.limiter.endpoints)))
        return "; ".join(filter(None, (ends, out or waits, self.passes.waves.said()))) or self.event()


@dataclass(frozen=True)
class Sampler:
    """Journals samples of a start, and its counts, now and then."""

    instruments: Instruments
    journal: Journal
    clock: Clock
    began: float
    """When the start began, by the clock."""
    record_counts: Callable[[], Awaitable[None]]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block lasts; one more sample at its end."""
        task = asyncio.create_task(self._work(), name="samples")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.sample()

    def sample(self) -> None:
        """Where the start stands, for the lines over time."""
        progress, at = self.instruments.progress, round(self.clock() - self.began, 2)
        in_flight = self.instruments.limiter.statistics().in_flight
        calls, spent = self.instruments.counts.completed, self.instruments.budget.spent
        with contextlib.suppress(StoreError):  # the pipeline meets the same failure and ends the run
            self.journal.sample((at, progress.accepted, progress.rejected, calls, spent, in_flight))

    async def _work(self) -> None:
        before, pause = self._happened(), FIRST_SAMPLE_S
        self.sample()
        while True:
            await asyncio.sleep(pause)
            pause = min(SAMPLE_EVERY_S, 1.2 * pause)
            if (now := self._happened()) == before:
                continue  # write nothing
            before = now
            self.sample()
            with contextlib.suppress(StoreError):  # as above
                await self.record_counts()

    def _happened(self) -> tuple[object, ...]:
        """What changes whenever anything happens: calls, and the fates of items."""
        progress = self.instruments.progress
        fates = (progress.accepted, progress.rejected, progress.surplus)
        return asdict(self.instruments.counts), *fates

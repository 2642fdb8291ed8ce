"""Tells others how a start goes: a falling share of accepted items, a standstill, the figures, the end."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from engine.config import RunConfig
from engine.items import usd
from engine.observe.notify import Notifier
from engine.observe.track import Tracking
from engine.report.event_log import EventLog
from engine.runs.falling import Yield
from engine.runs.instruments import Instruments
from engine.store.journal import Journal

_LOOK_S = 2.0


class Telling:
    """One start's. Mutable state: the tracking, once the work has begun."""

    def __init__(
        self, config: RunConfig, folder: Path, journal: Journal, events: EventLog, say: Callable[[str], None]
    ) -> None:
        self._config = config
        self._folder = folder
        self._journal = journal
        self._events = events
        observe = config.observe
        self._notifier = Notifier(observe.notify, say) if observe.notify is not None else None
        self._tracking = Tracking(observe.track, say) if observe.track is not None else None

    @asynccontextmanager
    async def during(self, instruments: Instruments) -> AsyncIterator[None]:
        """Looks and sends while the block lasts. Raises ConfigError where the tracker's library is not there."""
        async with AsyncExitStack() as stack:
            if self._tracking is not None:
                await self._tracking.begin(await self._key(), self._config.without_secrets(), self._folder)
                await stack.enter_async_context(self._tracking.during(lambda: _figures(instruments)))
            task = asyncio.create_task(self._looking(instruments), name="telling")
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def ended(self, figures: Mapping[str, Any]) -> None:
        """How the start ended; see `outcome.ending`."""
        if self._tracking is not None:
            await self._tracking.end(figures)
        if self._notifier is not None:
            await self._notifier.tell(figures)

    async def _key(self) -> str:
        """The run's own name at the tracker, the same in all its starts."""
        key = self._journal.fact("track")
        if key is None:
            key = hashlib.blake2b(
                f"{self._folder.resolve()} {time.time_ns()}".encode(), digest_size=5
            ).hexdigest()
            await self._journal.remember("track", key)
        return str(key)

    async def _looking(self, instruments: Instruments) -> None:
        shares, since, before, told = (
            Yield(instruments.progress),
            time.monotonic(),
            _moved(instruments),
            False,
        )
        while True:
            await asyncio.sleep(_LOOK_S)
            if sentence := shares.news():
                self._events.record("", "yield", sentence)
            if (now := _moved(instruments)) != before:
                since, before, told = time.monotonic(), now, False
            elif self._notifier is not None and not told and self._config.observe.notify is not None:
                silent = time.monotonic() - since
                if silent >= self._config.observe.notify.stalled_s:
                    told = True
                    await self._notifier.tell(self._standstill(instruments, silent))

    def _standstill(self, instruments: Instruments, seconds: float) -> dict[str, Any]:
        progress = instruments.progress
        waits = "; ".join(filter(None, (each.waits() for each in instruments.limiter.endpoints)))
        return {
            "outcome": "stalled",
            "message": waits or f"no answer for {seconds:.0f} s",
            "accepted": progress.accepted,
            "target": progress.target,
            "rejected": progress.rejected,
            "spent_usd": usd(instruments.budget.spent),
            "cap_usd": instruments.cap_usd,
            "seconds": seconds,
            "folder": str(self._folder),
        }


def _moved(instruments: Instruments) -> tuple[int, ...]:
    progress = instruments.progress
    return instruments.counts.completed, progress.accepted, progress.rejected, progress.surplus


def _figures(instruments: Instruments) -> tuple[float, dict[str, float]]:
    """(seconds of this start, figures by name) for a tracker."""
    progress, seconds = instruments.progress, instruments.clock() - instruments.began
    decided = progress.accepted + progress.rejected
    return seconds, {
        "accepted": float(progress.accepted),
        "rejected": float(progress.rejected),
        "acceptance": progress.accepted / decided if decided else 0.0,
        "calls": float(instruments.counts.completed),
        "in_flight": float(instruments.limiter.statistics().in_flight),
        "spent_usd": usd(instruments.budget.spent),
    }

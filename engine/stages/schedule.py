"""When the next batch is due, so that a run ends at a time of day rather than as soon as possible."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from engine.stages.progress import Progress

EARLY = 0.95
"""Share of the available time that is planned with: the last calls need some time too, and some fail."""


def next_time(clock: str, now: float) -> float:
    """Seconds since the epoch of the next 'HH:MM', local time, after `now`."""
    hours, minutes = map(int, clock.split(":"))
    today = datetime.fromtimestamp(now)
    due = today.replace(hour=hours, minute=minutes, second=0, microsecond=0)
    return (due if due > today else due + timedelta(days=1)).timestamp()


class Schedule:
    """Spreads the remaining requests over the remaining time, recalculated for each batch.

    So it adapts to the acceptance rate, to outages and to clock changes. After its end it delays nothing.
    Mutable state: when the last batch was begun.
    """

    def __init__(self, finish_by: str, batch_size: int, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._size = batch_size
        self.end = next_time(finish_by, clock())
        self._began = clock()
        self._last = -float("inf")

    def wait(self, progress: Progress) -> float:
        """Seconds until the next batch is due; 0 if it is due now."""
        now = self._clock()
        left = self._began + EARLY * (self.end - self._began) - now
        if left <= 0:
            return 0.0
        rate = progress.acceptance
        missing = progress.target - progress.accepted - progress.outstanding * rate
        batches = max(1.0, missing / rate / self._size)
        since = now - self._last
        return max(0.0, left / batches - max(0.0, since))

    def begun(self) -> None:
        """Records that a batch begins now."""
        self._last = self._clock()

"""How fast: an amount per period, as a state machine that only tells how long to wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

Clock = Callable[[], float]
PERIOD = 60.0
"""Seconds. Providers state their limits per minute."""
CATCH_UP_S = 0.1
"""How much of what was not sent in time may be sent at once: timers wake late, and that must not cost rate."""
_GRAIN_S = 0.01
"""Entries of the log that are this near to each other are one."""


class Gcra:
    """At most `per_minute` of something in any minute, spread evenly, what was not used given back.

    A log of the last minute is the law; in front of it the amount is earned at the limit's rate (the generic
    cell rate algorithm, ITU-T I.371), so that it does not leave in one burst.
    Mutable state: the log, its sum, and the time at which all that has left is earned.
    """

    def __init__(self, per_minute: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._log: deque[list[float]] = deque()  # [last time, amount, first time], oldest first
        self._held = 0.0
        self._earned = 0.0
        self._period, self._limit, self._rate = _spread(per_minute)

    def change(self, per_minute: float) -> None:
        """Keeps to another limit from now on; what has been sent in the last minute still counts."""
        self._period, self._limit, self._rate = _spread(per_minute)

    def wait(self, amount: int = 1) -> float:
        """Seconds until so much may go; 0 for now. More than the limit counts as the limit."""
        now = self._clock()
        self._forget(now)
        amount = min(amount, self._limit)
        excess, until = self._held + amount - self._limit, 0.0
        for at, held, _ in self._log:
            if excess <= 0:
                break
            excess -= held
            until = at + self._period
        return max(self._earned - CATCH_UP_S - now, until - now, 0.0)

    def take(self, amount: int = 1) -> tuple[list[float], int]:
        """Enter it in the log. The entry is what `give_back` takes."""
        now = self._clock()
        amount = min(amount, self._limit)
        self._earned = max(self._earned, now) + amount / self._rate
        self._held += amount
        if self._log and now - self._log[-1][2] < _GRAIN_S:
            entry = self._log[-1]
            entry[0] = now  # the later time: it is forgotten later than it might be
            entry[1] += amount
            return entry, amount
        entry = [now, float(amount), now]
        self._log.append(entry)
        return entry, amount

    def give_back(self, entry: tuple[list[float], int], used: int) -> None:
        """Correct what was entered to what was really used, more or less."""
        logged, amount = entry
        difference = amount - used
        if logged[0] + self._period > self._clock():
            logged[1] -= difference
            self._held -= difference
        self._earned -= difference / self._rate

    def _forget(self, now: float) -> None:
        while self._log and self._log[0][0] + self._period <= now:
            self._held -= self._log.popleft()[1]


def _spread(per_minute: float) -> tuple[float, int, float]:
    """(period in seconds, amount in a period, amount per second). Below one a minute, the period is longer."""
    period = PERIOD if per_minute >= 1 else PERIOD / per_minute
    limit = max(1, int(per_minute))
    return period, limit, limit / period

"""Pacing: an amount per period, as a state machine that only computes how long to wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

Clock = Callable[[], float]
PERIOD = 60.0
"""Seconds. Providers state their limits per minute."""
CATCH_UP_S = 0.1
"""Seconds of unused rate that may be sent at once: timers wake late, and that must not reduce the rate."""
_GRAIN_S = 0.01
"""Log entries closer together than this are merged."""


class Pace:
    """At most `per_minute` of something in any minute, spread evenly; unused amounts can be given back.

    A log of the last minute enforces the limit; in addition, the amount is earned at the limit's rate (the
    generic cell rate algorithm, ITU-T I.371), so that it is not sent in one burst.
    Mutable state: the log, its sum, and the time at which everything sent so far is earned.
    """

    def __init__(self, per_minute: float, clock: Clock = time.monotonic) -> None:
        self.per_minute = per_minute
        # A limit below one per minute becomes one per longer period.
        self._period = PERIOD if per_minute >= 1 else PERIOD / per_minute
        self._limit = max(1, int(per_minute))
        self._rate = self._limit / self._period
        self._clock = clock
        self._log: deque[list[float]] = deque()  # [last time, amount, first time], oldest first
        self._held = 0.0
        self._earned = 0.0

    def wait(self, amount: int = 1) -> float:
        """Seconds until `amount` may be sent; 0 if now. More than the limit counts as the limit."""
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

    def take(self, amount: int = 1) -> list[float]:
        """Enters the amount in the log. Returns the entry, for `give_back`."""
        now = self._clock()
        amount = min(amount, self._limit)
        self._earned = max(self._earned, now) + amount / self._rate
        self._held += amount
        if self._log and now - self._log[-1][2] < _GRAIN_S:
            entry = self._log[-1]
            entry[0] = now  # the later time, so that no part of it is forgotten too early
            entry[1] += amount
            return entry
        entry = [now, float(amount), now]
        self._log.append(entry)
        return entry

    def give_back(self, entry: list[float], taken: int, used: int) -> None:
        """Corrects the entry of `take(taken)` to the amount really used, whether more or less."""
        difference = min(taken, self._limit) - used
        if entry[0] + self._period > self._clock():
            entry[1] -= difference
            self._held -= difference
        self._earned -= difference / self._rate

    def _forget(self, now: float) -> None:
        while self._log and self._log[0][0] + self._period <= now:
            self._held -= self._log.popleft()[1]

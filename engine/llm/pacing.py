"""How fast: requests and tokens per minute, as state machines that only tell how long to wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from asyncio_throttle import Throttler

Clock = Callable[[], float]
PERIOD = 60.0
"""Seconds. Providers state their limits per minute."""


class RequestPace(Throttler):
    """At most `per_minute` requests in any minute, spread evenly.

    asyncio-throttle lets `rate_limit` entries into any `period`. Both are chosen so that a second's worth
    may go at once and no minute holds too many. Its `acquire` polls while there is no room; the one
    dispatcher that calls it waits for `wait()` first, so that it never does.
    """

    def __init__(self, per_minute: float) -> None:
        burst = max(1, int(per_minute / PERIOD))
        windows = max(1, int(per_minute / burst)) if per_minute >= 1 else per_minute
        super().__init__(rate_limit=burst, period=PERIOD / windows)

    def wait(self) -> float:
        """Seconds until one more request may go; 0 for now."""
        self.flush()  # type: ignore[no-untyped-call]
        if len(self._task_logs) < self.rate_limit:
            return 0.0
        return max(0.0, float(self._task_logs[0]) + float(self.period) - time.monotonic()) + 1e-4


class TokenPace:
    """At most `per_minute` tokens in any minute, spread evenly, what was not used given back.

    A log of the last minute is the law; in front of it tokens are earned at the limit's rate (the generic
    cell rate algorithm), so that they do not leave in one burst.
    Mutable state: the log, its sum, and the time at which the next token is earned.
    """

    def __init__(self, per_minute: float, clock: Clock = time.monotonic) -> None:
        self._limit = int(per_minute)
        self._rate = per_minute / PERIOD
        self._clock = clock
        self._log: deque[list[float]] = deque()  # [time, tokens], oldest first
        self._held = 0.0
        self._next = 0.0

    def wait(self, tokens: int) -> float:
        """Seconds until so many tokens may go; 0 for now. More than the limit counts as the limit."""
        now = self._clock()
        self._forget(now)
        tokens = min(tokens, self._limit)
        excess, until = self._held + tokens - self._limit, 0.0
        for at, amount in self._log:
            if excess <= 0:
                break
            excess -= amount
            until = at + PERIOD
        return max(self._next - now, until - now, 0.0)

    def take(self, tokens: int) -> list[float]:
        """Enter them in the log. The entry is what `give_back` takes."""
        now = self._clock()
        tokens = min(tokens, self._limit)
        self._next = max(self._next, now) + tokens / self._rate
        entry = [now, float(tokens)]
        self._log.append(entry)
        self._held += tokens
        return entry

    def give_back(self, entry: list[float], used: int) -> None:
        """Correct an entry to what was really used, more or less than asked for."""
        difference = entry[1] - used
        if entry[0] + PERIOD > self._clock():
            entry[1] -= difference
            self._held -= difference
        self._next -= difference / self._rate

    def _forget(self, now: float) -> None:
        while self._log and self._log[0][0] + PERIOD <= now:
            self._held -= self._log.popleft()[1]

"""The simulated provider's rate limits: token buckets, enforced with real 429s."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from engine.simulator.dialects.rate_headers import Left


class Bucket:
    """Refills evenly; holds one second's worth, but at least one request or 5,000 tokens.

    Mutable state: the level and the time it was last filled.
    """

    def __init__(
        self, per_minute: float, least_burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.per_minute = per_minute
        self._rate = per_minute / 60
        self._size = max(self._rate, least_burst)
        self._clock = clock
        self._level = self._size
        self._at = clock()

    def wait(self, amount: float) -> float:
        """Seconds until `amount` is available; 0 means now. More than the bucket holds counts as full."""
        now = self._clock()
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (min(amount, self._size) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        self._level -= amount

    @property
    def left(self) -> int:
        return max(0, math.floor(self._level))


class Limits:
    """Limits for requests and tokens per minute; either may be absent."""

    def __init__(self, requests: float | None, tokens: float | None) -> None:
        self._buckets = {
            name: Bucket(limit, burst)
            for name, limit, burst in (("requests", requests, 1.0), ("tokens", tokens, 5_000.0))
            if limit is not None
        }

    def admit(self, tokens: int) -> tuple[str, float] | None:
        """None if the request may pass; otherwise the limit that it exceeds, and for how many seconds."""
        amounts = {"requests": 1.0, "tokens": float(tokens)}
        for name, bucket in self._buckets.items():
            if (wait := bucket.wait(amounts[name])) > 0:
                return name, wait
        for name, bucket in self._buckets.items():
            bucket.take(amounts[name])
        return None

    def left(self) -> list[Left]:
        """What is left of each limit."""
        return [
            Left(name, bucket.per_minute, bucket.left, bucket.wait(1))
            for name, bucket in self._buckets.items()
        ]

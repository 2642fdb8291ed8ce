"""Quantiles of many call latencies in little memory; old values fade."""

from __future__ import annotations

import math

_GROWTH = math.log(1.1)
_LEAST_S = 1e-4
_BINS = 160  # up to about 400 seconds
_KEPT = 4000
_LOOK = 10


class Latencies:
    """A histogram of log seconds: a quantile is within 10 % of the true one.

    After 4,000 values all counts are halved, so that a change shows within a few thousand calls.
    Mutable state: the counts.
    """

    def __init__(self) -> None:
        self._bins = [0.0] * _BINS
        self._held = 0.0
        self.count = 0
        self.sum = 0.0
        """Total seconds of all calls."""
        self.p99 = 0.0
        """Updated every 10 calls; `quantile` gives the present value."""

    def add(self, seconds: float) -> None:
        place = int(math.log(seconds / _LEAST_S) / _GROWTH) if seconds > _LEAST_S else 0
        self._bins[min(place, _BINS - 1)] += 1
        self._held += 1
        self.count += 1
        self.sum += seconds
        if self.count % _LOOK == 0:
            self.p99 = self.quantile(0.99)
        if self._held > _KEPT:
            self._bins = [count / 2 for count in self._bins]
            self._held /= 2

    def quantile(self, share: float) -> float:
        """The seconds within which this share of calls ended; 0.0 without any calls."""
        left = share * self._held
        for place, count in enumerate(self._bins):
            left -= count
            if left <= 0 and count:
                return _LEAST_S * math.exp((place + 1) * _GROWTH)
        return 0.0

    def __repr__(self) -> str:
        return f"<Latencies of {self.count}: median {self.quantile(0.5):.3g} s>"

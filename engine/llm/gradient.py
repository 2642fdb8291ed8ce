"""Whether more calls in flight bring more answers, or only longer waits: the latency's slope over concurrency."""

from __future__ import annotations

import math
from collections.abc import Mapping

SATURATED = 0.75
"""If at least this share of the added concurrency merely waits, it is not worth having."""
RISE = 1.4
"""How much more concurrency two spans must differ by to be compared."""
SURE = 0.15
"""The standard error of the slope below which a comparison counts."""
_LEAST = 20
_OLD = 1000
_REMEMBERED = 20_000
"""Calls, in both cases."""


class _Moments:
    """Welford's running mean and variance."""

    __slots__ = ("count", "mean", "squares")

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, value: float) -> None:
        self.count += 1
        difference = value - self.mean
        self.mean += difference / self.count
        self.squares += difference * (value - self.mean)

    @property
    def error(self) -> float:
        """The squared standard error of the mean."""
        return self.squares / max(1, self.count - 1) / self.count


class Span:
    """A stretch of calls: their log latencies by purpose, their log concurrency. Mutable."""

    def __init__(self) -> None:
        self.count = 0
        self.flight = _Moments()
        self.latency: dict[str, _Moments] = {}

    @property
    def level(self) -> float:
        """The geometric mean of calls in flight."""
        return math.exp(self.flight.mean)

    def add(self, purpose: str, seconds: float, in_flight: int) -> None:
        self.count += 1
        self.flight.add(math.log(in_flight))
        moments = self.latency.get(purpose)
        if moments is None:
            moments = self.latency[purpose] = _Moments()
        moments.add(math.log(max(seconds, 1e-6)))


class Gradient:
    """Compares a span with one at other concurrency.

    Little's law: calls in flight = rate x latency. Where the latency grows as fast as the concurrency, the rate
    does not grow at all, and the slope d log(latency) / d log(concurrency) is 1; where nobody waits it is 0. The
    absolute latency says nothing: it is another for each model, and a batching server's grows while its rate does.
    Spans end when the comparison is sure, so that few calls of even length decide as well as many uneven ones.
    Where more only queues, less is tried, until less costs answers.
    Mutable state: the span to compare with, the one that is being filled, what was found to be too little.
    """

    def __init__(self) -> None:
        self._base: Span | None = None
        self._now = Span()
        self._trying_less = False
        self._too_little = 0.0
        self._remembered = 0

    def add(self, purpose: str, seconds: float, in_flight: int) -> bool:
        """True where it is time for a verdict."""
        self._now.add(purpose, seconds, in_flight)
        return self._now.count % _LEAST == 0

    def verdict(self) -> float | None:
        """The concurrency to go to, down or back up; None to go on as it is."""
        base, now = self._base, self._now
        self._forget()
        if base is None:
            self._rebase(now)
            return None
        rise = now.flight.mean - base.flight.mean
        if abs(rise) < math.log(RISE):
            if now.count > _OLD:  # long at about the same: what was measured before is old
                self._base, self._now = (now if rise < 0.1 else base), Span()
            return None
        if rise < 0 and not self._trying_less:
            self._rebase(now)
            return None
        lower, upper = (base, now) if rise > 0 else (now, base)
        slope, error = _slope(lower.latency, upper.latency, abs(rise))
        if error > SURE:
            if now.count > 10 * _OLD:
                self._rebase(now)
            return None
        return self._compared(lower, upper, queues=slope >= SATURATED)

    def _compared(self, lower: Span, upper: Span, *, queues: bool) -> float | None:
        """Whether `upper` merely queues is known."""
        if not queues and not self._trying_less:
            self._rebase(upper)
            return None
        if not queues:
            self._trying_less, self._too_little, self._remembered = False, lower.level, _REMEMBERED
            self._base, self._now = upper, Span()
            return upper.level
        self._base, self._now = lower, Span()
        less = lower.level / RISE / 1.05
        self._trying_less = less > self._too_little
        return max(1.0, less) if self._trying_less else lower.level

    def _rebase(self, span: Span) -> None:
        self._base, self._now, self._trying_less = span, Span(), False

    def _forget(self) -> None:
        self._remembered -= _LEAST
        if self._remembered <= 0:
            self._too_little = 0.0


def _slope(below: Mapping[str, _Moments], now: Mapping[str, _Moments], rise: float) -> tuple[float, float]:
    """(d log latency / d log concurrency, its standard error) over the purposes that both spans saw."""
    total = weighed = variance = 0.0
    for purpose, later in now.items():
        earlier = below.get(purpose)
        if earlier is None or min(earlier.count, later.count) < 5:
            continue
        weight = min(earlier.count, later.count)
        total += weight
        weighed += weight * (later.mean - earlier.mean)
        variance += weight**2 * (earlier.error + later.error)
    if total == 0:
        return 0.0, math.inf
    return weighed / total / rise, math.sqrt(variance) / total / rise

"""The limit of calls in flight: grows while that helps, shrinks if an endpoint reports or shows overload."""

from __future__ import annotations

import math

from engine.llm.gradient import Gradient

FIRST = 4
"""Calls in flight at the start: few, since a server may work on few at once; the slow start makes up for that soon."""
SHRINK = 0.7
"""The share of the limit that remains after a congestion event."""
STEEP = 16
"""Up to here the slow start grows fourfold a round trip; beyond, the latency must have time to show a queue."""
FIRST_HOSTED, STEEP_HOSTED = 16, 256
"""The same at a provider, which refuses what is too much, and does not queue it."""
STEPS = 64
"""Additive growth: a 64th of the ceiling for each round trip of all calls in flight."""

_QUEUE = 0.1
"""The share of the calls in flight that may wait at the endpoint: so it is never idle."""


class Concurrency:
    """Additive increase, multiplicative decrease (Chiu and Jain, 1989), with a slow start that doubles.

    The endpoint reports congestion (429, 503, 529), or its latency shows it: if more calls in flight only
    wait longer and no more of them are answered, they queue at the endpoint; see Gradient. Calls sent before
    the last decrease are ignored: a burst of refusals is one event.
    Mutable state: the limit, whether it still doubles, and when it was last decreased.
    """

    def __init__(self, ceiling: int, *, first: int | None = None, steep: int = STEEP) -> None:
        self.ceiling = ceiling
        self._steep = steep
        self.limit = float(min(ceiling, first or ceiling))
        self.decreases = 0
        self._doubling = self.limit < ceiling
        self._decreased = -math.inf
        self._gradient = Gradient()

    def answered(self, route: str, seconds: float, in_flight: int, sent: float, now: float) -> None:
        """Records an answer to a call sent at `sent`, with `in_flight` calls under way, itself included."""
        if sent <= self._decreased:
            return
        if self.ceiling > 1 and self._gradient.add(route, seconds, in_flight) and self._judge(now):
            return
        if self.limit < self.ceiling and in_flight >= 0.8 * self.limit:
            grown = max(1.0, self.ceiling / STEPS) / self.limit
            if self._doubling:
                grown = 3.0 if self.limit < self._steep else 1.0
            self.limit = min(float(self.ceiling), self.limit + grown)

    def congested(self, sent: float, in_flight: int, now: float) -> bool:
        """Records that the endpoint asked for fewer calls. False if this belongs to the last event."""
        if sent <= self._decreased:
            return False
        self._decrease(SHRINK * min(self.limit, float(in_flight)), now)
        return True

    def queued(self, waiting: int, in_flight: int, now: float) -> bool:
        """Records that so many calls wait at the endpoint itself. True if fewer are sent from now on."""
        if waiting <= _QUEUE * in_flight:
            return False
        self._decrease(min(self.limit, float(in_flight - waiting)), now)
        return True

    def _judge(self, now: float) -> bool:
        """Whether the limit changes because the latency shows that it is higher than useful, or too low."""
        level = self._gradient.verdict()
        if level is None:
            return False
        if level < self.limit:
            self._decrease(max(level, SHRINK**2 * self.limit), now)
        else:
            self.limit = min(float(self.ceiling), level)
        return True

    def _decrease(self, to: float, now: float) -> None:
        self.limit = max(1.0, to)
        self.decreases += 1
        self._doubling = False
        self._decreased = now

    def __repr__(self) -> str:
        return f"<Concurrency {self.limit:.1f} of {self.ceiling}>"

"""The Coordinator of one process: every rate is its own."""

from __future__ import annotations

import time

from engine.llm.pacing import Clock, Pace


class InProcess:
    """A Coordinator. The same endpoint asked for twice has the same rate.

    Mutable state: the rates by endpoint, kind and limit.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._rates: dict[tuple[str, str, float], Pace] = {}

    def rate(self, endpoint: str, kind: str, per_minute: float) -> Pace:
        """The rate of one endpoint; one without a name shares with nobody."""
        if not endpoint:
            return Pace(per_minute, self._clock)
        place = (endpoint, kind, per_minute)
        return self._rates.setdefault(place, Pace(per_minute, self._clock))

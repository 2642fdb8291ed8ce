"""The Coordinator for one process: it shares no rate with other processes."""

from __future__ import annotations

import time

from engine.llm.pacing import Clock, Gcra


class InProcess:
    """A Coordinator. Two requests for the rate of one endpoint return the same object.

    Mutable state: the rates by endpoint, kind and limit.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._rates: dict[tuple[str, str, float], Gcra] = {}

    def rate(self, endpoint: str, kind: str, per_minute: float) -> Gcra:
        """The rate of one endpoint; an endpoint without a name shares its rate with no other."""
        if not endpoint:
            return Gcra(per_minute, self._clock)
        place = (endpoint, kind, per_minute)
        return self._rates.setdefault(place, Gcra(per_minute, self._clock))

    def close(self) -> None:
        """Does nothing: its rates hold no files."""

"""A pause that one endpoint asked for, and the ramp after it."""

from __future__ import annotations

import random

RAMP_S = 1.0
"""After a pause, how long it takes until as many calls may be in flight as before it."""
FIRST_S = 0.5
LONGEST_S = 60.0
"""Where an endpoint asks for less and does not say for how long."""
_DISBELIEVED = 2
"""Pauses in a row after which what an endpoint asks for has brought nothing, and its own doubling counts too."""


class Pause:
    """Mutable state: until when it lasts, since when calls come back, how many there were without an answer between."""

    def __init__(self, chance: random.Random) -> None:
        """`chance` spreads the ends of pauses: who was turned away together does not come back together."""
        self.until = 0.0
        self._ramp_from = -RAMP_S
        self._in_a_row = 0
        self._chance = chance

    def active(self, now: float) -> bool:
        return now < self.until

    def wait(self, now: float, in_flight: int, limit: float) -> float:
        """Seconds until another call may go, by the pause and by the ramp after it."""
        if now < self.until:
            return self.until - now
        share = (now - self._ramp_from) / RAMP_S
        if share >= 1 or in_flight < 1 + share * limit:
            return 0.0
        return RAMP_S / max(1.0, limit)

    def begin(self, now: float, asked: float | None, *, anew: bool) -> None:
        """As long as the endpoint asks for, else longer each time. `anew`: no part of the same event as the last."""
        if asked is None and not anew:
            return
        own = min(FIRST_S * 2 ** min(self._in_a_row, 10), LONGEST_S) * self._chance.uniform(0.5, 1.0)
        if asked is None:
            seconds = own
        else:
            late = self._chance.uniform(0, 0.05 * asked + 0.01)
            seconds = max(asked + late, own if self._in_a_row > _DISBELIEVED else 0.0)
        self._in_a_row += anew
        self.until = max(self.until, now + seconds)
        self._ramp_from = self.until

    def ramp(self, now: float) -> None:
        """Calls come back one by one from now on."""
        self._ramp_from = now

    def answered(self) -> None:
        self._in_a_row = 0

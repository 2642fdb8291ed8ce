"""A pause that one endpoint asked for, and the ramp after it."""

from __future__ import annotations

import random

RAMP_S = 1.0
"""Seconds after a pause until as many calls may be in flight as before it."""
FIRST_S = 0.5
LONGEST_S = 60.0
"""First and longest pause where an endpoint asks for one without a duration."""
_DISBELIEVED = 2
"""Pauses in a row after which the requested duration is not trusted, and our own doubling one applies too."""


class Pause:
    """Mutable state: its end, the start of the ramp, and the number of pauses in a row without an answer."""

    def __init__(self, chance: random.Random) -> None:
        """`chance` spreads the ends of pauses, so that calls refused together do not all return together."""
        self.until = 0.0
        self._ramp_from = -RAMP_S
        self._in_a_row = 0
        self._chance = chance

    def active(self, now: float) -> bool:
        return now < self.until

    def wait(self, now: float, in_flight: int, limit: float) -> float:
        """Seconds until the pause and the ramp after it allow another call."""
        if now < self.until:
            return self.until - now
        share = (now - self._ramp_from) / RAMP_S
        if share >= 1 or in_flight < 1 + share * limit:
            return 0.0
        return RAMP_S / max(1.0, limit)

    def begin(self, now: float, asked: float | None, *, anew: bool) -> None:
        """Pauses as long as `asked`, else longer each time. `anew`: not part of the last event."""
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
        """Starts the ramp: calls return one by one from now on."""
        self._ramp_from = now

    def answered(self) -> None:
        self._in_a_row = 0

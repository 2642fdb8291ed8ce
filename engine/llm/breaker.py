"""Whether an endpoint is worth asking: taken out after failures in a row, tried again with one call at a time."""

from __future__ import annotations

import math
import random

FAILURES = 5
"""In a row, with no answer between, that take an endpoint out."""
FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0


class Breaker:
    """Closed: ask. Open: rest. Half open: one call tries whether it is back (Nygard, Release It!, 2007).

    The rest doubles with each failed try, with jitter, up to a minute. Calls sent before the last answer say
    nothing new.
    Mutable state: failures in a row, since when it is open, until when it rests, whether a try is under way.
    """

    def __init__(self, chance: random.Random | None = None) -> None:
        """`chance` is for the jitter of rests."""
        self._chance = chance or random.Random()
        self.opened: float | None = None
        """When it was taken out; None while it is asked."""
        self.trying = False
        self._by_tries = False
        self._failures = 0
        self._rest = FIRST_REST_S
        self._until = 0.0
        self._answered = -math.inf

    def wait(self, now: float) -> float | None:
        """Seconds until one more call may go; None while a try is under way."""
        if self.opened is None:
            return 0.0
        return None if self.trying else max(0.0, self._until - now)

    def answered(self, sent: float) -> bool:
        """True where this brings it back."""
        self._answered = max(self._answered, sent)
        self._failures = 0
        if self.opened is None or (self._by_tries and sent < self.opened):
            return False
        self.opened, self.trying, self._rest, self._by_tries = None, False, FIRST_REST_S, False
        return True

    def failed(self, sent: float, now: float) -> bool:
        """True where this takes it out."""
        if self.opened is not None:
            if self.trying and sent >= self.opened:
                self._again(now)
            return False
        if sent < self._answered:
            return False
        self._failures += 1
        if self._failures < FAILURES:
            return False
        self.open(now)
        return True

    def abandoned(self, sent: float) -> None:
        """A call ended that says nothing; if it was the try, another may be."""
        if self.opened is not None and sent >= self.opened:
            self.trying = False

    def open(self, now: float, *, by_tries: bool = False) -> None:
        """Take it out. With `by_tries` only a try brings it back, not the answer to a call sent before."""
        self._by_tries = by_tries
        self.opened = now if self.opened is None else self.opened
        self._again(now)

    def _again(self, now: float) -> None:
        self.trying = False
        self._until = now + self._rest * self._chance.uniform(0.75, 1.25)
        self._rest = min(2 * self._rest, LONGEST_REST_S)

    def __repr__(self) -> str:
        return "<Breaker closed>" if self.opened is None else f"<Breaker open, trying: {self.trying}>"

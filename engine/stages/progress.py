"""The progress of a run: the counts that plan and commit share."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, field

from engine.flow.halt import Halt

_PRIOR = 10
"""Number of accepted items that are assumed before any are measured, so that the rate begins at 1."""


@dataclass
class Progress:
    """Mutable; written by the commit stage (`outstanding` by the source too), read by all."""

    target: int
    committed: int = 0
    """The fates of all batches below this number are recorded."""
    accepted: int = 0
    rejected: int = 0
    surplus: int = 0
    outstanding: int = 0
    """Requested items whose fate is not decided yet."""
    arrived: int = 0
    """Items of this start that nothing is asked about any more: decided, or waiting for those before them."""
    labels: Counter[str] = field(default_factory=Counter)
    """Accepted items by label, if a ratio is wanted."""
    turned_away: int = 0
    """Items rejected only because their label already had its share."""
    rejected_by: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(validator, reason) of this start's rejections, for the display."""
    passed_over: int = 0
    """Batches from `committed` on whose fates are recorded too, before that of one that is still missing."""
    waiting: int = 0
    """Batches that have come and wait for one before them, or for the rest of their items."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def start_over(self) -> None:
        """Forgets what is under way: another pass makes it again from the journal."""
        self.outstanding = self.arrived = self.passed_over = self.waiting = 0

    async def room(self, number: int, window: int, halt: Halt) -> bool:
        """Waits until batch `number` is less than `window` ahead of what is decided; False once the run is halted."""
        while halt.reason is None and self.under_way(number) >= window:
            self.changed.clear()
            await self.changed.wait()
        return halt.reason is None

    def under_way(self, number: int) -> int:
        """How many batches below this number are not decided."""
        return number - self.committed - self.passed_over

    @property
    def reached(self) -> bool:
        return self.accepted >= self.target

    @property
    def acceptance(self) -> float:
        """Share of the decided items that were accepted, as measured so far."""
        decided = self.accepted + self.rejected
        return (self.accepted + _PRIOR) / (decided + _PRIOR)

    @property
    def wanting(self) -> bool:
        """Whether more items are needed: those under way are not expected to reach the target."""
        return self.accepted + self.outstanding * self.acceptance < self.target

    @property
    def surely_wanting(self) -> bool:
        """The same with a margin of two standard deviations, for where what is missing in the end costs an hour."""
        rate = self.acceptance
        spread = 2 * math.sqrt(self.outstanding * rate * (1 - rate))
        return self.accepted + self.outstanding * rate - spread < self.target

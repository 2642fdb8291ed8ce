"""What became of earlier batches, given out once it is due, however fast calls return."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from engine.planning.attributes import Cell


class Mistake(NamedTuple):
    """An item that was turned away: by whom, why in a word, why in a sentence, and its text."""

    by: str
    reason: str
    said: str
    text: str


@dataclass(frozen=True)
class Outcome:
    """What became of one batch."""

    batch: int
    strategy: str
    accepted: int
    cost: int
    """In picodollars."""
    duplicates: tuple[tuple[Cell, str], ...] = ()
    """Of items turned away by the group check, where they are to be asked for again: attributes and text."""
    decided: int = 0
    """Items whose fate says something of the prompt: all but those that only had the wrong label for the ratio."""
    mistakes: tuple[Mistake, ...] = ()

    def joined(self, rest: Outcome) -> Outcome:
        """With what became of the batch's other items."""
        return replace(
            self,
            accepted=self.accepted + rest.accepted,
            cost=self.cost + rest.cost,
            duplicates=self.duplicates + rest.duplicates,
            decided=self.decided + rest.decided,
            mistakes=self.mistakes + rest.mistakes,
        )


class Due:
    """Mutable state: outcomes that are not due yet, in order, and of a batch decided in part what is known."""

    def __init__(self, lag: int | None) -> None:
        """An outcome counts from `lag` batches after its own on; never, where there is none."""
        self.lag = lag
        self._pending: deque[Outcome] = deque()
        self._cut: Outcome | None = None

    def restore(self, outcomes: Iterable[Outcome], cut: Outcome | None = None) -> None:
        """Of earlier starts, in order; `cut` is of a batch that was decided in part."""
        self._pending.extend(outcomes)
        self._cut = cut

    def note(self, outcome: Outcome) -> None:
        """Called for each batch in order, as its items are decided."""
        if self._cut is not None and self._cut.batch == outcome.batch:
            outcome, self._cut = self._cut.joined(outcome), None
        if self.lag is not None:
            self._pending.append(outcome)

    def until(self, number: int) -> Iterator[Outcome]:
        """Those that are due for batch `number`; each is given out once."""
        while self.lag is not None and self._pending and self._pending[0].batch <= number - self.lag:
            yield self._pending.popleft()

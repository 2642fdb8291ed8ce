"""Delayed outcomes: what became of a batch counts so many batches later, however fast calls return."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from engine.diversity import GROUP_CHECK
from engine.planning.attributes import Cell

LABEL_GATE = "label_ratio"
"""Stands as `rejected_by` for items whose label has its share: these say nothing of the prompt."""


class Fate(NamedTuple):
    """What was decided of one item, as the journal keeps it: a resumed run has the same before it as the live one."""

    accepted: bool
    by: str
    """Who rejected it; '' for nobody."""
    reason: str
    said: str
    """Why, in a sentence."""
    text: str
    cost: int
    """Picodollars."""
    withdrawn: bool = False
    """A person has turned it away after the run had accepted it."""


class Mistake(NamedTuple):
    """An item that was turned away: by whom, why in a word, why in a sentence, and its text."""

    by: str
    reason: str
    said: str
    text: str


@dataclass(frozen=True)
class BatchOutcome:
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

    def joined(self, rest: BatchOutcome) -> BatchOutcome:
        """With what became of the batch's other items."""
        return replace(
            self,
            accepted=self.accepted + rest.accepted,
            cost=self.cost + rest.cost,
            duplicates=self.duplicates + rest.duplicates,
            decided=self.decided + rest.decided,
            mistakes=self.mistakes + rest.mistakes,
        )


def batch_outcome(
    batch: int, strategy: str, attributes: Cell, *, replaces: bool, fates: Sequence[Fate]
) -> BatchOutcome:
    """The outcome of a batch, for the live run and the resumed one alike.

    `replaces`: whether it was asked for in place of duplicates; what was itself asked again is not asked a third time.
    """
    mistakes = tuple(
        Mistake(fate.by, fate.reason, fate.said, fate.text)
        for fate in fates
        if not (fate.accepted or fate.withdrawn or fate.by == LABEL_GATE)
    )
    accepted = sum(fate.accepted for fate in fates)
    away = () if replaces else [mistake.text for mistake in mistakes if mistake.by == GROUP_CHECK]
    return BatchOutcome(
        batch,
        strategy,
        accepted,
        sum(fate.cost for fate in fates),
        tuple((attributes, text) for text in away),
        accepted + len(mistakes),
        mistakes,
    )


class DelayedOutcomes:
    """Mutable state: outcomes that do not count yet, in order; of a batch decided in part, what is known."""

    def __init__(self, lag: int | None) -> None:
        """An outcome counts from `lag` batches after its own on; never, where there is none."""
        self.lag = lag
        self._pending: deque[BatchOutcome] = deque()
        self._partial: BatchOutcome | None = None

    def restore(self, outcomes: Iterable[BatchOutcome], partial: BatchOutcome | None = None) -> None:
        """Those of earlier starts, in order; `partial` is of a batch that was decided in part."""
        self._pending.extend(outcomes)
        self._partial = partial

    def add(self, outcome: BatchOutcome) -> None:
        """Called for each batch in order, as its items are decided."""
        if self._partial is not None and self._partial.batch == outcome.batch:
            outcome, self._partial = self._partial.joined(outcome), None
        if self.lag is not None:
            self._pending.append(outcome)

    def ready(self, number: int) -> Iterator[BatchOutcome]:
        """Those that count for batch `number` and have not counted before."""
        while self.lag is not None and self._pending and self._pending[0].batch <= number - self.lag:
            yield self._pending.popleft()

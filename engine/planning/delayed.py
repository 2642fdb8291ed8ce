"""Delays outcomes: a batch's outcome counts a fixed number of batches later, however fast calls return."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from engine.diversity import GROUP_CHECK
from engine.planning.attributes import Cell

LABEL_GATE = "label_ratio"
"""The value of `rejected_by` for items whose label has its share already: not a fault of the prompt."""


class Fate(NamedTuple):
    """The decision on one item, as the journal stores it, so that live and resumed runs see the same."""

    accepted: bool
    by: str
    """What rejected it; '' if it was not rejected."""
    reason: str
    said: str
    """The reason as a sentence."""
    text: str
    cost: int
    """Picodollars."""
    withdrawn: bool = False
    """Whether a person rejected it after the run had accepted it."""


class Mistake(NamedTuple):
    """A rejected item: who rejected it, the reason as a slug and as a sentence, and its text."""

    by: str
    reason: str
    said: str
    text: str


@dataclass(frozen=True)
class BatchOutcome:
    """The outcome of one batch."""

    batch: int
    strategy: str
    accepted: int
    cost: int
    """In picodollars."""
    duplicates: tuple[tuple[Cell, str], ...] = ()
    """Attributes and text of items that the group check rejected and that are to be requested again."""
    decided: int = 0
    """The number of items that say something about the prompt: all not rejected for the label ratio."""
    mistakes: tuple[Mistake, ...] = ()

    def joined(self, rest: BatchOutcome) -> BatchOutcome:
        """This outcome together with that of the batch's other items."""
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
    """The outcome of a batch, for live and resumed runs alike.

    `replaces`: whether the batch replaces duplicates; its own duplicates are then not requested a third time.
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
    """Mutable state: outcomes that do not count yet, in order; those of partly decided batches."""

    def __init__(self, lag: int | None) -> None:
        """An outcome counts from `lag` batches after its own batch on; never if `lag` is None."""
        self.lag = lag
        self._pending: deque[BatchOutcome] = deque()
        self._partial: dict[int, BatchOutcome] = {}

    def restore(self, outcomes: Iterable[BatchOutcome], partial: Iterable[BatchOutcome] = ()) -> None:
        """Restores the outcomes of earlier starts, in order; `partial` are those of partly decided batches."""
        self._pending.extend(outcomes)
        self._partial = {outcome.batch: outcome for outcome in partial}

    def add(self, outcome: BatchOutcome) -> None:
        """Called for each batch in order, as its items are decided."""
        if (decided_before := self._partial.pop(outcome.batch, None)) is not None:
            outcome = decided_before.joined(outcome)
        if self.lag is not None:
            self._pending.append(outcome)

    def ready(self, number: int) -> Iterator[BatchOutcome]:
        """The outcomes that count for batch `number` and have not been returned before."""
        while self.lag is not None and self._pending and self._pending[0].batch <= number - self.lag:
            yield self._pending.popleft()

"""Answers to one item, counted: which of them are the same, by rule where a rule can tell, else by a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.answers.numbers import readings
from engine.answers.same import bare, letter_of, same
from engine.answers.scoring import labels_named, scored
from engine.errors import PermanentError
from engine.items import Item, Label, said
from engine.protocols import Asker, Question, Tools
from validators.same_answer import Same
from validators.tags import mark
from validators.templates import template

LABEL = 0
"""The place of the label's own answer among the answers."""


@dataclass
class Ballot:
    """One item's answers. Mutable state: the answers so far, the label first, each with its number of votes."""

    item: Item
    answers: list[Label]
    votes: list[int] = field(default_factory=lambda: [0])
    cast: list[int] = field(default_factory=list)
    """Which answer each vote was for, in order."""

    @classmethod
    def about(cls, item: Item) -> Ballot:
        assert item.label is not None
        return cls(item, [item.label])

    def count(self, place: int, answer: Label) -> None:
        if place == len(self.answers):
            self.answers.append(answer)
            self.votes.append(0)
        self.votes[place] += 1
        self.cast.append(place)

    def others(self) -> str:
        """The answers besides the label, with their votes, for people."""
        given = zip(self.answers[1:], self.votes[1:], strict=True)
        return ", ".join(f"{said(answer)!r} ({votes})" for answer, votes in given)

    def counted(self) -> list[dict[str, object]]:
        """The answers with their votes, as recorded."""
        return [
            {"answer": said(answer)[:200], "votes": votes}
            for answer, votes in zip(self.answers, self.votes, strict=True)
        ]


class Counting:
    """Counts answers for a validator: finds the answer that a new one is the same as."""

    def __init__(self, asker: Asker, labels: Sequence[str] = ()) -> None:
        """`labels`: the closed set of the dataset's labels, where it has one."""
        self._asker = asker
        self._labels = labels
        self.question: Question[Same] = asker.question(
            "same_answer", template("same_answer"), Same, max_tokens=64
        )

    @classmethod
    def of(cls, asker: Asker, tools: Tools) -> Counting:
        return cls(asker, tools.labels)

    async def add(self, ballot: Ballot, answer: str, tag: str) -> int:
        """Counts a vote for this answer. Returns the answer's place; raises what asking raises, but PermanentError."""
        place = 0
        while place < len(ballot.answers) and not await self._agree(
            ballot.item, answer, ballot.answers[place], tag
        ):
            place += 1
        ballot.count(place, answer)
        return place

    async def _agree(self, item: Item, answer: str, known: Label, tag: str) -> bool:
        """Whether two answers are the same: decided by a rule if possible, else by a model."""
        decided = self._by_rule(item, answer, known)
        if decided is not None:
            return decided
        shown = {"first": answer[:1000], "second": said(known)[:1000], "question": item.text}
        try:
            reply = await self._asker.ask(
                self.question, item, shown, tag=f"{tag}-{mark(answer, said(known))}"
            )
        except PermanentError:
            return False
        return reply.same

    def _by_rule(self, item: Item, answer: str, known: Label) -> bool | None:
        if self._labels and not item.choices:
            return _named(answer, item, self._labels) == _named(known, item, self._labels)
        return (
            scored(answer, known).correct
            if isinstance(known, tuple)
            else same(answer, said(known), item.choices)
        )


def _named(answer: Label, item: Item, labels: Sequence[str]) -> set[str]:
    """The labels of the closed set that an answer names; the answer itself where it names none of them."""
    if isinstance(answer, tuple):
        return set(answer)
    return labels_named(said(answer), labels, several=isinstance(item.label, tuple)) or {said(answer)}


def as_label(answer: str, item: Item, labels: Sequence[str] = ()) -> Label | None:
    """An answer as the item's label; None if it cannot be one.

    A choice's letter; of a closed set, the labels that it names; a whole number without `.0`.
    """
    if item.choices:
        return letter_of(bare(answer), item.choices)
    if labels:
        several = isinstance(item.label, tuple)
        named = labels_named(answer, labels, several=several)
        listed = tuple(label for label in labels if label in named)
        return (listed or None) if several else next(iter(listed), None)
    return None if isinstance(item.label, tuple) else number_or_text(answer)


def number_or_text(answer: str) -> str:
    """The bare answer; a whole number without `.0`, a long fraction rounded to six places."""
    plain = bare(answer)
    numbers = readings(plain)
    if numbers and not numbers[0].unit and numbers[0].value.denominator == 1:
        return str(numbers[0].value.numerator)
    if numbers and not numbers[0].unit and (numbers[0].decimals or 0) > 6:
        rounded = f"{float(numbers[0].value):.6f}".rstrip("0").rstrip(".")
        return rounded if float(rounded) else plain
    return plain

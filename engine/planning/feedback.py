"""Advises batches: with people's notes on earlier items, and with lessons drawn from rejected items.

A model draws lessons, from the reasons for rejection, whenever a set number of further items was rejected.
The lessons are tested while they are used: a share of the batches goes without them, and if those batches
yield no less, the lessons are dropped. Everything depends only on the outcomes that are due (see
engine.planning.delayed), so a resumed run gives the same advice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.config.generate import LearnConfig
from engine.items import usd
from engine.planning.attributes import root
from engine.planning.delayed import BatchOutcome, DelayedOutcomes, Mistake

_CONTROL = root(31)
_WHOLE = 1 << 64
FIRST_LOOK = 50
"""Items with and without lessons (each) at which the two are first compared; the number doubles each time."""

Draw = Callable[[int, Sequence[Mistake], Sequence[str]], Awaitable[tuple[str, ...] | None]]
"""Draws lessons from (number of the drawing, mistakes, previous lessons); None where it gets none."""


@dataclass(frozen=True)
class Advice:
    """Advice for one batch. `lesson` is the number of its lesson: 0 for none, None before there was any."""

    notes: int = 0
    """How many of the people's notes were known at the time."""
    lesson: int | None = None

    def as_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"notes": self.notes} if self.notes else {}
        return state if self.lesson is None else {**state, "lesson": self.lesson}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Advice:
        return cls(state.get("notes", 0), state.get("lesson"))


@dataclass
class Arm:
    """Totals of the batches with, or without, lessons since the first lesson. Mutable."""

    items: int = 0
    accepted: int = 0
    cost: int = 0

    def add(self, outcome: BatchOutcome) -> None:
        self.items += outcome.decided
        self.accepted += outcome.accepted
        self.cost += outcome.cost

    def yielded(self, *, priced: bool) -> float:
        """Accepted items per dollar, or per decided item if calls cost nothing."""
        return self.accepted / (usd(self.cost) if priced and self.cost else self.items or 1)


class Lessons:
    """Mutable state: lessons so far, mistakes since the last lesson, totals of batches with and without."""

    def __init__(self, spec: LearnConfig, lag: int, draw: Draw, *, priced: bool) -> None:
        self.delayed = DelayedOutcomes(lag)
        self.drawn: list[tuple[str, ...]] = []
        self.off = False
        self._spec = spec
        self._draw = draw
        self._priced = priced
        self._draws = 0
        self._mistakes: list[Mistake] = []
        self._given: dict[int, int | None] = {}
        self._with, self._without = Arm(), Arm()
        self._look = FIRST_LOOK
        self._dropped_at: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the report: the current lessons, how many were drawn, and at which batch they were dropped."""
        return {
            "drawn": len(self.drawn),
            "lessons": list(self.drawn[-1]) if self.drawn else [],
            "dropped_at_batch": self._dropped_at,
        }

    async def lesson(self, number: int) -> int | None:
        """The lesson for batch `number`. Called once for each batch, in order. Raises what drawing raises."""
        for outcome in self.delayed.ready(number):
            self._weigh(outcome)
            self._mistakes += outcome.mistakes
            if len(self._mistakes) >= self._spec.every and not self.off:
                await self._learn()
        if not self.drawn or self.off:
            lesson = 0 if self.off else None
        else:
            lesson = 0 if self._control(number) else len(self.drawn)
        self._given[number] = lesson
        return lesson

    def remember(self, number: int, lesson: int | None) -> None:
        """Records the lesson of a batch from an earlier start."""
        self._given[number] = lesson

    def texts(self, lesson: int | None) -> tuple[str, ...]:
        """The texts of a lesson; the latest ones if changed settings mean that it is no longer drawn."""
        return self.drawn[min(lesson, len(self.drawn)) - 1] if lesson and self.drawn else ()

    async def _learn(self) -> None:
        mistakes, self._mistakes = self._mistakes, []
        self._draws += 1  # a drawing that yields nothing still has its own number
        lessons = await self._draw(self._draws, mistakes, self.drawn[-1] if self.drawn else ())
        if lessons:
            self.drawn.append(lessons)

    def _weigh(self, outcome: BatchOutcome) -> None:
        lesson = self._given.pop(outcome.batch, None)
        if lesson is None or self.off:
            return
        (self._with if lesson else self._without).add(outcome)
        if min(self._with.items, self._without.items) >= self._look:
            self._look *= 2
            pays = self._with.yielded(priced=self._priced) > self._without.yielded(priced=self._priced)
            self.off = not pays
            self._dropped_at = None if pays else outcome.batch

    def _control(self, number: int) -> bool:
        """Whether this batch goes without lessons; such batches are spread evenly."""
        return (number + 1) * _CONTROL % _WHOLE < self._spec.control * _WHOLE


class Adviser:
    """Gives notes and lessons to each batch. Mutable state: the advice that earlier starts gave."""

    def __init__(self, notes: Sequence[str], most_notes: int, lessons: Lessons | None) -> None:
        self._notes = notes
        self._most_notes = most_notes
        self.lessons = lessons
        self._made: dict[int, Advice] = {}

    async def restore(
        self, made: Iterable[tuple[int, Mapping[str, Any]]], outcomes: Iterable[BatchOutcome],
        committed: int, partial: Iterable[BatchOutcome] = (),
    ) -> None:  # fmt: skip
        """Restores advice and outcomes of earlier starts. Their lessons are drawn again, from the journal."""
        self._made = {number: Advice.from_dict(state) for number, state in made}
        if self.lessons is None:
            return
        self.lessons.delayed.restore(outcomes, partial)
        for number in range(committed):
            await self.lessons.lesson(number)
            self.lessons.remember(number, self._made.get(number, Advice()).lesson)

    def observe(self, outcome: BatchOutcome) -> None:
        if self.lessons is not None:
            self.lessons.delayed.add(outcome)

    async def advice(self, number: int) -> Advice:
        """The advice that an earlier start gave, or new advice."""
        lesson = await self.lessons.lesson(number) if self.lessons is not None else None
        made = self._made.get(number)
        if made is None:
            return Advice(len(self._notes), lesson)
        if self.lessons is not None:
            self.lessons.remember(number, made.lesson)
        return made

    def texts(self, advice: Advice) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The latest notes, and the lessons."""
        lessons = self.lessons.texts(advice.lesson) if self.lessons is not None else ()
        return tuple(self._notes[: advice.notes][-self._most_notes :]), lessons

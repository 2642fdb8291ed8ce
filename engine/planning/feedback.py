"""What a batch is advised of: people's notes on earlier items, and lessons drawn from those that were turned away.

Lessons are drawn each time so many items more have been turned away, by a model that is shown why. They are put to the
test as they are used: a share of the batches goes without them, and where those yield no less, the lessons are dropped.
All of it rests on the outcomes that are due (see engine.planning.delayed), so a resumed run is advised alike.
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
"""Items without lessons after which these are first weighed; then at twice as many, and so on."""

Draw = Callable[[int, Sequence[Mistake], Sequence[str]], Awaitable[tuple[str, ...] | None]]
"""Lessons from mistakes, given the number of the drawing and the lessons before; None where none can be had."""


@dataclass(frozen=True)
class Advice:
    """For one batch. `lesson` is the number of the lesson that it was given: 0 for none, None before there was one."""

    notes: int = 0
    """How many of the people's notes were known."""
    lesson: int | None = None

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"notes": self.notes} if self.notes else {}
        return found if self.lesson is None else {**found, "lesson": self.lesson}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Advice:
        return cls(found.get("notes", 0), found.get("lesson"))


@dataclass
class Arm:
    """Batches with lessons, or without, since there are any. Mutable."""

    items: int = 0
    accepted: int = 0
    cost: int = 0

    def add(self, outcome: BatchOutcome) -> None:
        self.items += outcome.decided
        self.accepted += outcome.accepted
        self.cost += outcome.cost

    def yielded(self, *, priced: bool) -> float:
        """Accepted items per dollar; per item where calls cost nothing."""
        return self.accepted / (usd(self.cost) if priced and self.cost else self.items or 1)


class Lessons:
    """Mutable state: lessons so far, mistakes since the last one, how batches with and without them fare."""

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
        """For the report: the lessons in force, how many were drawn, whether and where they were dropped."""
        return {
            "drawn": len(self.drawn),
            "lessons": list(self.drawn[-1]) if self.drawn else [],
            "dropped_at_batch": self._dropped_at,
        }

    async def lesson(self, number: int) -> int | None:
        """Which lesson batch `number` gets. Called for each batch once, in order. Raises what drawing one raises."""
        for outcome in self.delayed.ready(number):
            self._weigh(outcome)
            self._mistakes += outcome.mistakes
            if len(self._mistakes) >= self._spec.every and not self.off:
                await self._learn()
        if not self.drawn or self.off:
            found = 0 if self.off else None
        else:
            found = 0 if self._control(number) else len(self.drawn)
        self._given[number] = found
        return found

    def remember(self, number: int, lesson: int | None) -> None:
        """A batch of an earlier start."""
        self._given[number] = lesson

    def texts(self, lesson: int | None) -> tuple[str, ...]:
        """Of a lesson that is no longer drawn, since the settings have changed, the latest there is."""
        return self.drawn[min(lesson, len(self.drawn)) - 1] if lesson and self.drawn else ()

    async def _learn(self) -> None:
        mistakes, self._mistakes = self._mistakes, []
        self._draws += 1  # one that yields nothing is a call of its own all the same
        found = await self._draw(self._draws, mistakes, self.drawn[-1] if self.drawn else ())
        if found:
            self.drawn.append(found)

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
        """Whether this batch goes without, evenly over any stretch of batches."""
        return (number + 1) * _CONTROL % _WHOLE < self._spec.control * _WHOLE


class Adviser:
    """Notes and lessons for batch after batch. Mutable state: the advice that earlier starts gave."""

    def __init__(self, notes: Sequence[str], most_notes: int, lessons: Lessons | None) -> None:
        self._notes = notes
        self._most_notes = most_notes
        self.lessons = lessons
        self._made: dict[int, Advice] = {}

    async def restore(
        self, made: Iterable[tuple[int, Mapping[str, Any]]], outcomes: Iterable[BatchOutcome],
        committed: int, partial: BatchOutcome | None = None,
    ) -> None:  # fmt: skip
        """What earlier starts advised, and what became of it. Their lessons are drawn again, from the journal."""
        self._made = {number: Advice.from_dict(found) for number, found in made}
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
        """As an earlier start gave it, or anew."""
        lesson = await self.lessons.lesson(number) if self.lessons is not None else None
        made = self._made.pop(number, None)
        if made is None:
            return Advice(len(self._notes), lesson)
        if self.lessons is not None:
            self.lessons.remember(number, made.lesson)
        return made

    def texts(self, advice: Advice) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The notes, the latest ones, and the lessons."""
        lessons = self.lessons.texts(advice.lesson) if self.lessons is not None else ()
        return tuple(self._notes[: advice.notes][-self._most_notes :]), lessons

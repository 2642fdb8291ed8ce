"""How long a run may still take: a range that narrows as more of it is decided. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from engine.report.formatting import duration

_PARTS = (1.0, 0.5, 0.25)
"""The pace is measured over all of the work so far, its later half, and its last quarter: where they agree, the pace is
steady and the range narrow; where it rises, falls or stands still, the range says so."""
_LEAST = 5
"""Accepted items from which anything can be told."""
_AS_ONE = 1.2
"""A range whose ends differ by less is told as one figure."""
_MOST_MARKS = 512


class Left(NamedTuple):
    """Seconds, at least and at most; the most is infinite where nothing came of late."""

    low: float
    high: float

    @property
    def words(self) -> str:
        if self.high == math.inf:
            return f"at least {duration(self.low)}" if self.low >= 1 else ""
        if self.high < _AS_ONE * self.low or self.high < 5:
            return f"about {duration((self.low + self.high) / 2)}"
        return f"{duration(self.low)} to {duration(self.high)}"


Mark = tuple[float, float]
"""(seconds, accepted items by then)."""


def left(marks: Sequence[Mark], missing: float) -> Left | None:
    """How long the missing items take, by the pace that the marks show, in order, the last one of now.

    None where too little is known. Counting begins with the first accepted item: what came before was the start.
    """
    if missing <= 0 or len(marks) < 2:
        return None
    first = next((place for place in range(1, len(marks)) if marks[place][1] > marks[0][1]), None)
    if first is None:
        return None
    (begun, before), (now, accepted) = marks[first], marks[-1]
    elapsed, came = now - begun, accepted - before
    if elapsed <= 0 or came < _LEAST:
        return None
    paces = []
    for part in _PARTS:
        since = now - part * elapsed
        paces.append((accepted - _at(marks, since, first)) / (part * elapsed))
    spread = 1 / math.sqrt(came)  # one standard deviation of so many that come by chance
    slowest = min(paces)
    high = missing / slowest * (1 + spread) if slowest > 0 else math.inf
    return Left(missing / max(paces) / (1 + spread), high)


def _at(marks: Sequence[Mark], at: float, first: int) -> float:
    """How many were accepted by then, between two marks in proportion."""
    low, high = first, len(marks) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if marks[middle][0] <= at else (low, middle)
    (t0, n0), (t1, n1) = marks[low], marks[high]
    return n0 if t1 <= t0 else n0 + (n1 - n0) * min(1.0, max(0.0, (at - t0) / (t1 - t0)))


class Marks:
    """The marks of one start. Mutable: some hundred of them, ever further apart."""

    def __init__(self) -> None:
        self._marks: list[Mark] = []
        self._every = 0.0

    def add(self, at: float, accepted: float) -> Sequence[Mark]:
        """All marks, with this one of now."""
        if not self._marks or at - self._marks[-1][0] >= self._every:
            self._marks.append((at, accepted))
            if len(self._marks) > _MOST_MARKS:
                self._marks = self._marks[::2]
                self._every = 2 * (self._marks[-1][0] - self._marks[0][0]) / len(self._marks)
            return self._marks
        return [*self._marks, (at, accepted)]

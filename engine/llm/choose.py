"""Who may send now, and where: decided from a few figures, without a clock and without state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

#  for each line, the one at its head that came first of all first:
#    the run has no place for another call           ->  nobody may; an ending call changes that
#    every endpoint is given up                      ->  close the line: those in it hear why
#    an endpoint and the run's rates allow it        ->  send, to the least loaded for its weight
#    the run's own rate must be waited for           ->  nobody may pass; wait
#    its endpoint must be waited for                 ->  remember how long; the next line may go


class Candidate(NamedTuple):
    """One endpoint that answers a line's calls, as it stands for the call at the head."""

    wait: float | None
    """Seconds until it can take the call; None until one of its own calls has ended."""
    load: float = 0.0
    """Its calls in flight for its weight, this one included; infinite where the call would rather go elsewhere."""
    hope: float = math.inf
    """Seconds until it is given up, unless it answers; 0 or less where it is given up."""


class Waiting(NamedTuple):
    """The head of a line."""

    overall: float | None
    """Seconds until the run's own limits allow the call; None until another call has ended."""
    candidates: Sequence[Candidate]


class Choice(NamedTuple):
    """Exactly one of: `line` and `endpoint`, by place: send; `closed`: a line without hope; or wait.

    `wait` is in seconds; None until a call ends, or somebody comes.
    """

    line: int | None = None
    endpoint: int | None = None
    closed: int | None = None
    wait: float | None = None


def choose(lines: Sequence[Waiting]) -> Choice:
    """The lines in the order of their heads: lower priority first, then who came first."""
    nearest: float | None = None
    for line, (overall, candidates) in enumerate(lines):
        if overall is None:
            return Choice(wait=nearest)
        if all(candidate.hope <= 0 for candidate in candidates):
            return Choice(closed=line)
        wait, endpoint = soonest(candidates)
        if wait == 0 and overall == 0:
            return Choice(line, endpoint)
        if overall > 0:
            return Choice(wait=_sooner(nearest, overall))
        nearest = _sooner(nearest, wait)
    return Choice(wait=nearest)


def soonest(candidates: Sequence[Candidate]) -> tuple[float | None, int | None]:
    """(seconds, place): who can take the call soonest, of several the least loaded. No place until a call ends."""
    best: tuple[float, float, int] | None = None
    for place, (wait, load, hope) in enumerate(candidates):
        if wait is None or hope <= 0:
            continue
        if wait > 0 and hope < math.inf:  # no longer than there is hope, and then it is looked at again
            wait = max(1e-3, min(wait, hope + 1e-3))
        if best is None or (wait, load, place) < best:
            best = wait, load, place
    return (None, None) if best is None else (best[0], best[2])


def _sooner(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


class Speed(NamedTuple):
    """How long an endpoint's calls take, among others that do the same work."""

    seconds: float
    """A moving average."""
    calls: int
    """That it rests on."""
    asked: bool
    """Whether it is asked at all now."""


SLOW = 5.0
"""Of several endpoints, one that takes so many times as long as the quickest is taken out for a while."""
COMPARED = 20
"""Calls that a comparison rests on, at least."""


def too_slow(speeds: Sequence[Speed]) -> list[tuple[int, int]]:
    """(place of one that takes far longer than the quickest, place of the quickest) each."""
    known = [place for place, speed in enumerate(speeds) if speed.asked and speed.calls >= COMPARED]
    if len(known) < 2:
        return []
    quickest = min(known, key=lambda place: speeds[place].seconds)
    most = SLOW * speeds[quickest].seconds
    return [(place, quickest) for place in known if speeds[place].seconds > most]

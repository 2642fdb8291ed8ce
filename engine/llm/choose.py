"""Decides which call is sent next and to which endpoint: a pure function without clock or state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

#  for the head of each line, in order of priority and arrival:
#    the run has no place for another call           ->  no line may send until a call ends
#    every endpoint is given up                      ->  close the line: its calls get the reason
#    an endpoint and the run's rates allow it        ->  send to the least loaded endpoint for its weight
#    the run's own rate requires a wait              ->  wait; no other line may pass
#    the line's endpoints require a wait             ->  remember how long; try the next line


class Candidate(NamedTuple):
    """The state of one of a line's endpoints, for the call at the head of the line."""

    wait: float | None
    """Seconds until it can accept the call; None until one of its own calls ends."""
    load: float = 0.0
    """Calls in flight, this one included, divided by the weight; infinite if the call avoids it."""
    hope: float = math.inf
    """Seconds until it is given up, unless it answers; 0 or less if it is given up already."""


class Waiting(NamedTuple):
    """The head of a line."""

    overall: float | None
    """Seconds until the run's own limits allow the call; None until another call ends."""
    candidates: Sequence[Candidate]


class Admission(NamedTuple):
    """Exactly one of: send (the indices `line` and `endpoint`), close the line with index `closed`, or wait.

    `wait` is in seconds; None means until a call ends or a new one arrives.
    """

    line: int | None = None
    endpoint: int | None = None
    closed: int | None = None
    wait: float | None = None


def choose(lines: Sequence[Waiting]) -> Admission:
    """The next step. `lines` are in the order of their heads: lower priority first, then earlier arrival."""
    nearest: float | None = None
    for line, (overall, candidates) in enumerate(lines):
        if overall is None:
            return Admission(wait=nearest)
        if all(candidate.hope <= 0 for candidate in candidates):
            return Admission(closed=line)
        wait, endpoint = soonest(candidates)
        if wait == 0 and overall == 0:
            return Admission(line, endpoint)
        if overall > 0:
            return Admission(wait=_sooner(nearest, overall))
        nearest = _sooner(nearest, wait)
    return Admission(wait=nearest)


def soonest(candidates: Sequence[Candidate]) -> tuple[float | None, int | None]:
    """(seconds, index) of the soonest, then least loaded candidate; (None, None) until a call ends."""
    best: tuple[float, float, int] | None = None
    for place, (wait, load, hope) in enumerate(candidates):
        if wait is None or hope <= 0:
            continue
        if wait > 0 and hope < math.inf:  # wait no longer than `hope`, then decide again
            wait = max(1e-3, min(wait, hope + 1e-3))
        if best is None or (wait, load, place) < best:
            best = wait, load, place
    return (None, None) if best is None else (best[0], best[2])


def _sooner(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


class Speed(NamedTuple):
    """How long an endpoint's calls take, for a comparison with endpoints that do the same work."""

    seconds: float
    """A moving average of seconds per call."""
    calls: int
    """Number of calls in the average."""
    asked: bool
    """Whether it is in use now."""


SLOW = 5.0
"""An endpoint that takes this many times as long as the quickest is taken out for a while."""
COMPARED = 20
"""Least number of calls for a comparison."""


def too_slow(speeds: Sequence[Speed]) -> list[tuple[int, int]]:
    """(index, index of the quickest) for each endpoint that takes far longer than the quickest."""
    known = [place for place, speed in enumerate(speeds) if speed.asked and speed.calls >= COMPARED]
    if len(known) < 2:
        return []
    quickest = min(known, key=lambda place: speeds[place].seconds)
    most = SLOW * speeds[quickest].seconds
    return [(place, quickest) for place in known if speeds[place].seconds > most]

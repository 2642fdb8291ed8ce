"""Who may send now, and where: the table of `choose`, case by case."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints import VirtualClock, endpoint
from engine.errors import AuthError, RateLimited
from engine.llm.choose import COMPARED, Admission, Candidate, Speed, Waiting, choose, soonest, too_slow
from engine.llm.outage import FORGOTTEN_S, Outage
from engine.llm.pause import FIRST_S, LONGEST_S, RAMP_S, Pause

FREE, BUSY, LATER, GONE = Candidate(0.0, 1), Candidate(None, 9), Candidate(3.0, 1), Candidate(0.0, 1, hope=0)

TABLE = {
    "nobody waits": ([], Admission()),
    "one is free": ([Waiting(0.0, [FREE])], Admission(line=0, endpoint=0)),
    "it is full": ([Waiting(0.0, [BUSY])], Admission()),
    "it paces": ([Waiting(0.0, [LATER])], Admission(wait=3.0)),
    "the run has no place": ([Waiting(None, [FREE])], Admission()),
    "the run paces": ([Waiting(2.0, [FREE])], Admission(wait=2.0)),
    "the run paces, and so does the endpoint": ([Waiting(2.0, [LATER])], Admission(wait=2.0)),
    "given up": ([Waiting(0.0, [GONE])], Admission(closed=0)),
    "given up, though the run paces": ([Waiting(2.0, [GONE])], Admission(closed=0)),
    "one of two is given up": ([Waiting(0.0, [GONE, FREE])], Admission(line=0, endpoint=1)),
    "the other is full": ([Waiting(0.0, [GONE, BUSY])], Admission()),
    "the less loaded": ([Waiting(0.0, [Candidate(0.0, 2), Candidate(0.0, 1.5)])], Admission(line=0, endpoint=1)),
    "alike: the first": ([Waiting(0.0, [FREE, FREE])], Admission(line=0, endpoint=0)),
    "free before less loaded": ([Waiting(0.0, [Candidate(1.0, 1), Candidate(0.0, 8)])], Admission(line=0, endpoint=1)),
    "where it would rather not go": ([Waiting(0.0, [Candidate(0.0, math.inf), FREE])], Admission(line=0, endpoint=1)),
    "where it would rather not go, but must": (
        [Waiting(0.0, [Candidate(0.0, math.inf), LATER])], Admission(line=0, endpoint=0),
    ),
    "no longer than there is hope": ([Waiting(0.0, [Candidate(9.0, 1, hope=2.0)])], Admission(wait=2.001)),
    "the next line passes one whose endpoint rests": (
        [Waiting(0.0, [LATER]), Waiting(0.0, [FREE])], Admission(line=1, endpoint=0),
    ),
    "nobody passes one that waits for the run's rate": (
        [Waiting(2.0, [FREE]), Waiting(0.0, [FREE])], Admission(wait=2.0),
    ),
    "the nearest of several waits": (
        [Waiting(0.0, [LATER]), Waiting(0.0, [Candidate(1.0, 1)])], Admission(wait=1.0),
    ),
    "a rest is nearer than the run's rate": (
        [Waiting(0.0, [Candidate(1.0, 1)]), Waiting(2.0, [FREE])], Admission(wait=1.0),
    ),
    "a line without hope behind one that waits": (
        [Waiting(0.0, [LATER]), Waiting(0.0, [GONE])], Admission(closed=1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_the_table(case: str) -> None:
    lines, expected = TABLE[case]
    assert choose(lines) == expected


candidates = st.builds(
    Candidate,
    st.one_of(st.none(), st.just(0.0), st.floats(0.01, 100)),
    st.floats(0.1, 50),
    st.one_of(st.just(math.inf), st.floats(-5, 500)),
)
waits = st.one_of(st.none(), st.just(0.0), st.floats(0.01, 100))
lines = st.lists(st.builds(Waiting, waits, st.lists(candidates, min_size=1, max_size=4)), max_size=4)


@given(lines)
def test_whatever_is_chosen_may_be(waiting: list[Waiting]) -> None:
    """A call is sent only where everything allows it, a line closed only without hope, a wait never without end."""
    choice = choose(waiting)
    if choice.line is not None:
        assert choice.endpoint is not None
        overall, there = waiting[choice.line]
        assert overall == 0
        assert there[choice.endpoint].wait == 0
        assert there[choice.endpoint].hope > 0
    elif choice.closed is not None:
        assert all(candidate.hope <= 0 for candidate in waiting[choice.closed].candidates)
    else:
        assert choice.wait is None or choice.wait > 0
        blocked = next((place for place, each in enumerate(waiting) if each.overall != 0), len(waiting))
        for overall, there in waiting[:blocked]:
            assert overall == 0
            assert not any(candidate.wait == 0 and candidate.hope > 0 for candidate in there)


@given(st.lists(candidates, min_size=1, max_size=5), st.permutations(range(5)))
def test_the_order_of_endpoints_decides_only_between_equals(there: list[Candidate], order: list[int]) -> None:
    places = [place for place in order if place < len(there)]
    wait, place = soonest(there)
    again, other = soonest([there[place] for place in places])
    assert wait == again
    assert (place is None) == (other is None)
    if place is not None and other is not None:
        assert there[place].load == there[places[other]].load


def test_the_slow_one_of_several_rests() -> None:
    quick, slow, new = Speed(1.0, COMPARED, True), Speed(5.1, COMPARED, True), Speed(99.0, COMPARED - 1, True)
    assert too_slow([slow, quick, new]) == [(0, 1)]
    assert too_slow([quick, Speed(5.0, COMPARED, True)]) == []
    assert too_slow([slow]) == []
    assert too_slow([slow, quick._replace(asked=False)]) == []


# --- the parts of an endpoint ----------------------------------------------------------------------


def test_a_pause_is_as_long_as_asked_and_its_end_is_spread() -> None:
    ends = set()
    for seed in range(20):
        pause = Pause(random.Random(seed))
        pause.begin(100.0, 10.0, anew=True)
        assert pause.active(109.9)
        assert 110.0 <= pause.until <= 110.6
        ends.add(pause.until)
    assert len(ends) == 20


def test_a_pause_without_a_word_doubles() -> None:
    pause, lengths = Pause(random.Random(1)), []
    now = 0.0
    for _ in range(12):
        pause.begin(now, None, anew=True)
        lengths.append(pause.until - now)
        now = pause.until
    assert FIRST_S / 2 <= lengths[0] <= FIRST_S
    assert LONGEST_S / 2 <= lengths[-1] <= LONGEST_S
    pause.answered()
    pause.begin(now, None, anew=True)
    assert pause.until - now <= FIRST_S


def test_refusals_of_one_burst_are_one_pause() -> None:
    pause = Pause(random.Random(1))
    pause.begin(0.0, None, anew=True)
    until = pause.until
    pause.begin(0.1, None, anew=False)
    assert pause.until == until


def test_after_a_pause_calls_come_back_one_by_one() -> None:
    pause = Pause(random.Random(1))
    pause.begin(0.0, 10.0, anew=True)
    end = pause.until
    assert pause.wait(end - 1, 0, 100) == pytest.approx(1.0)
    assert pause.wait(end, 0, 100) == 0.0
    assert pause.wait(end, 1, 100) == pytest.approx(RAMP_S / 100)
    assert pause.wait(end + RAMP_S / 2, 50, 100) == 0.0
    assert pause.wait(end + RAMP_S / 2, 52, 100) > 0.0
    assert pause.wait(end + RAMP_S, 10_000, 100) == 0.0


def test_an_outage_is_waited_for_as_long_as_there_is_patience() -> None:
    outage = Outage(3600.0, 30.0)
    assert outage.hope(0.0, proven=True) == math.inf
    outage.failed(100.0, "down")
    assert outage.hope(110.0, proven=False) == 20.0
    assert outage.hope(110.0, proven=True) == 3590.0
    outage.failed(100.0 + FORGOTTEN_S + 11, "down again")
    assert outage.lasted(100.0 + FORGOTTEN_S + 11) == 0.0
    outage.over()
    assert outage.hope(1e9, proven=False) == math.inf


def test_the_jitter_of_one_endpoint_is_its_own() -> None:
    """What else draws from the process's chance changes nothing."""

    def pauses(draws: int) -> list[float | None]:
        clock = VirtualClock()
        one, waits = endpoint(clock=clock), []
        for number in range(5):
            for _ in range(draws):
                random.random()
            clock.now += 100.0 * number
            one.failed(RateLimited("429"), clock.now)
            waits.append(one.candidate(0, clock.now).wait)
        return waits

    assert pauses(0) == pauses(7)


def test_who_is_retired_is_out_though_it_asked_to_wait() -> None:
    one = endpoint()
    one.failed(RateLimited("429", retry_after=60.0), 0.0)
    assert one.statistics().state == "paused"
    one.retire(AuthError("401"))
    assert one.statistics().state == "out"

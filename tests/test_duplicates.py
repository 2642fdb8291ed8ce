"""Law 6: no two accepted items are nearer than the threshold, whatever the order, the batches, the restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.diversity import duplicates as duplicates_module
from engine.diversity import index as index_module
from engine.diversity import sameness as sameness_module
from engine.diversity.duplicates import Duplicates, Match
from engine.diversity.index import Exact, Ivf, similarity
from engine.diversity.numbers import numbers_in, plain_number
from engine.diversity.sameness import KEYS, answer_of, suited, text_key

Vectors = Any


@dataclass(frozen=True)
class Thing:
    text: str
    label: str | None = None
    choices: tuple[str, ...] = ()


def unit(rows: Vectors) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def crowded(seed: int, count: int, dimensions: int = 16) -> Vectors:
    """Clusters of vectors, many of them near-duplicates of one another."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((max(1, count // 6), dimensions))
    spread = chance.choice([0.02, 0.1, 0.3], (count, 1))
    return unit(
        centres[chance.integers(0, len(centres), count)]
        + spread * chance.standard_normal((count, dimensions))
    )


def things(seed: int, count: int) -> list[Thing]:
    chance = np.random.default_rng(seed + 1)
    return [
        Thing(f"item {n} has {chance.integers(0, 3)} parts", str(chance.integers(0, 2))) for n in range(count)
    ]


def accepted(
    memory: Duplicates, items: Sequence[Thing], vectors: Vectors, sizes: Sequence[int]
) -> dict[int, Match | None]:
    """Offer the items in micro-batches of these sizes, in turn; what each was told, by place."""
    told: dict[int, Match | None] = {}
    start = turn = 0
    while start < len(items):
        size = sizes[turn % len(sizes)]
        batch = items[start : start + size]
        comparison = memory.compare(batch, vectors[start : start + size])
        refs = list(range(start, start + len(batch)))
        for place in range(len(batch)):
            match = comparison.same_text(place, refs) or comparison.nearest(place, refs)
            told[start + place] = match
            if match is None:
                comparison.accept(place)
        memory.add_accepted(comparison, refs)
        start, turn = start + size, turn + 1
    return told


@given(
    st.integers(0, 10_000),
    st.sampled_from(["meaning", "meaning+numbers", "meaning+answer"]),
    st.sampled_from([0.8, 0.9, 0.97]),
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
)
@settings(max_examples=60)
def test_micro_batches_decide_as_one_at_a_time(
    seed: int, same: str, threshold: float, sizes: list[int]
) -> None:
    items, vectors = things(seed, 120), crowded(seed, 120)
    together = accepted(Duplicates(same, threshold), items, vectors, sizes)
    alone = accepted(Duplicates(same, threshold), items, vectors, [1])
    assert together == alone

    kept = [place for place, match in together.items() if match is None]
    key = KEYS[same]
    for place, match in together.items():
        near = [
            float(similarity(vectors[[place]], vectors[[other]])[0])
            for other in kept
            if other < place and key(items[other]) == key(items[place])
        ]
        if match is None:
            assert max(near, default=-1.0) < threshold  # never a pair above the threshold
        else:
            assert match.similarity >= threshold  # nothing rejected without a neighbour above it
            assert match.similarity == max(near)
            assert match.ref in kept


@given(st.integers(0, 1000), st.integers(1, 119))
@settings(max_examples=20)
def test_a_restart_decides_as_if_there_had_been_none(seed: int, stopped_at: int) -> None:
    items, vectors = things(seed, 120), crowded(seed, 120)
    whole = accepted(Duplicates("meaning", 0.9), items, vectors, [7])
    first = accepted(Duplicates("meaning", 0.9), items[:stopped_at], vectors[:stopped_at], [7])
    again = Duplicates("meaning", 0.9)
    kept = [place for place, match in first.items() if match is None]
    again.add([(place, items[place]) for place in kept], vectors[kept])
    rest = accepted(again, items[stopped_at:], vectors[stopped_at:], [11])
    assert {place for place, match in whole.items() if match is None and place >= stopped_at} == {
        place + stopped_at for place, match in rest.items() if match is None
    }


def test_the_bound_hides_no_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Across the point from which only leading coordinates are looked at first."""
    monkeypatch.setattr(index_module, "NARROWED_FROM", 500)
    monkeypatch.setattr(index_module, "FRONT", 15)
    vectors = crowded(3, 1500, 64)
    index = Exact(64)
    for start in range(0, 1200, 100):
        index.add(vectors[start : start + 100])
    queries = vectors[1200:]
    found = index.nearest(queries, 0.99)
    full = np.array([similarity(np.broadcast_to(query, (1200, 64)), vectors[:1200]) for query in queries])
    expected = np.where(full.max(axis=1) >= 0.99, full.argmax(axis=1), -1)
    assert (found.rows == expected).all()
    assert 20 < (expected >= 0).sum() < 300
    assert (found.similarities[expected >= 0] == full.max(axis=1)[expected >= 0]).all()


def test_of_equally_near_ones_the_first_is_named() -> None:
    vectors = np.repeat(unit(np.eye(8, 200)), 3, axis=0)
    index = Exact(200)
    index.add(vectors)
    assert index.nearest(unit(np.eye(8, 200)), 0.9).rows.tolist() == [0, 3, 6, 9, 12, 15, 18, 21]


def test_the_approximate_index_finds_nearly_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates_module, "IVF_FROM", 2000)
    vectors = crowded(5, 6000, 32)
    memory = Duplicates("meaning", 0.95, "ivf")
    memory.add([(place, Thing(f"{place}")) for place in range(4000)], vectors[:4000])
    assert memory.policy() == "ivf"
    comparison = memory.compare([Thing(f"new {n}") for n in range(2000)], vectors[4000:])
    exact = (vectors[4000:] @ vectors[:4000].T).max(axis=1) >= 0.95
    assert sum(place in comparison.outside for place in np.flatnonzero(exact)) >= 0.98 * exact.sum()


def test_the_approximate_index_grows() -> None:
    vectors = crowded(6, 3000, 32)
    index = Ivf(vectors[:2000], probes=32)
    index.add(vectors[2000:])
    assert len(index) == 3000
    assert (index.vectors == vectors).all()
    assert index.nearest(vectors[2500:2510], 0.99).similarities.min() >= 0.99


def test_what_was_turned_away_blocks_nothing() -> None:
    """c is near b only, and b was turned away for a."""
    a, b, c = np.array([1, 0, 0]), np.array([0.95, 0.31, 0]), np.array([0.8, 0.6, 0])
    told = accepted(
        Duplicates("meaning", 0.9), [Thing("a"), Thing("b"), Thing("c")], unit(np.stack([a, b, c])), [3]
    )
    assert [match is None for match in told.values()] == [True, False, True]


@pytest.mark.parametrize("batch", [1, 2])
def test_the_same_text_goes_whatever_its_vector(batch: int) -> None:
    memory = Duplicates("meaning+answer", 0.99)
    items = [Thing("How many?  Ten!", "1"), Thing("how many -- ten", "2")]
    told = accepted(memory, items, unit(np.eye(2, 4)), [batch])
    assert told == {0: None, 1: Match(0, 1.0, by_text=True)}


def test_by_text_alone_no_vector_is_needed() -> None:
    memory = Duplicates("text")
    assert not memory.needs_vectors
    comparison = memory.compare([Thing("a"), Thing("A!"), Thing("b")], None)
    assert comparison.same_text(0, [5, 6, 7]) is None
    comparison.accept(0)
    assert comparison.same_text(1, [5, 6, 7]) == Match(5, 1.0, by_text=True)
    assert comparison.same_text(2, [5, 6, 7]) is None


def test_a_row_without_a_vector_counts_by_its_text() -> None:
    memory = Duplicates("meaning", 0.9)
    memory.add([(1, Thing("known"))], np.full((1, 4), np.nan, np.float32))
    assert memory.same_text(Thing("Known.")) is not None
    assert memory.compare([Thing("x")], unit(np.eye(1, 4))).nearest(0, [2]) is None


def test_items_of_many_keys_and_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys with few vectors share one array, and move out of it when they grow: nothing changes by that."""
    items, vectors = things(1, 400), crowded(1, 400)
    found = []
    for few in (0, 3, 1000):
        monkeypatch.setattr(duplicates_module, "_FEW", few)
        found.append(accepted(Duplicates("meaning+numbers", 0.9), items, vectors, [16]))
    assert found[0] == found[1] == found[2]


def test_lists_are_learned_at_the_same_vectors_however_many_come_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duplicates_module, "IVF_FROM", 1000)
    monkeypatch.setattr(duplicates_module, "RELEARNED_AT", 2)
    vectors = crowded(8, 3000, 16)
    items = [Thing(f"item {n}") for n in range(3000)]
    told = []
    for size in (97, 700, 2500):
        memory = Duplicates("meaning", 0.97, "ivf")
        for start in range(0, 2500, size):
            stop = min(start + size, 2500)
            memory.add([(n, items[n]) for n in range(start, stop)], vectors[start:stop])
        told.append(memory.compare(items[2500:], vectors[2500:]).outside)
    assert told[0] == told[1] == told[2]


# --- keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("She has 1,200 pens, 3.50 dollars and 7.", ["1200", "3.5", "7"]),
        ("Three of the twelve; no one left 3", ["3", "12", "3"]),
        ("2/3 of 10%", ["2", "3", "10"]),
        ("a dozen", ["12"]),
        ("1,2,3 and 12,345,6", ["1", "2", "3", "12345", "6"]),
        ("It was -5, then 5 - 3, on pages 10-20", ["-5", "5", "3", "10", "20"]),
        (".5 of 0.50", ["0.5", "0.5"]),
        ("twenty-five and 25", ["25", "25"]),
        ("two hundred and six, a hundred, one hundred", ["206", "100", "100"]),
        ("2.5 million is 2,500,000 is 25 hundred thousand", ["2500000", "2500000", "2500000"]),
        ("twenty and three; five six", ["20", "3", "5", "6"]),
        ("one thousand two hundred thirty four", ["1234"]),
        ("twenty one, not one", ["21"]),
        ("1,00,000 rupees", ["100000"]),
        ("\u0969 boxes and \u22124", ["3", "-4"]),
        ("$1,200.50 and $.75", ["1200.5", "0.75"]),
        ("two dozen", ["2", "12"]),
        ("9" * 80, ["9" * 80]),
        ("none", []),
    ],
)
def test_numbers_in(text: str, numbers: list[str]) -> None:
    assert numbers_in(text) == numbers


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("$1,200.50", "1200.5"), ("-0.0", "0"), ("+5", "5"), ("007", "7"), ("12.", "12"), ("1,2", "1,2"),
        ("1e9999999", "1e9999999"), ("1" * 40, "1" * 40), ("-$3.10", "-3.1"), ("ten", "ten"), ("", ""),
    ],
)  # fmt: skip
def test_plain_number(text: str, plain: str) -> None:
    assert plain_number(text) == plain


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What is 5 + 3?", "What is 5 - 3?", False),
        ("Is C++ faster?", "Is C# faster?", False),
        ("x < 3", "x > 3", False),
        ("1.5 metres", "1 5 metres", False),
        ("\u0926\u093f\u0928", "\u0926\u093e\u0928", False),  # Hindi: day, gift
        ("What is 5!", "What is 5?", False),
        ("It is \u22125 here", "It is 5 here", False),
        ("A well-known  fact.", "a well known fact", True),
        ("The cat's hat; red", "the cat\u2019s hat: red!", True),
    ],
)
def test_texts_are_the_same_but_for_marks_without_meaning(one: str, other: str, same: bool) -> None:
    assert (text_key(Thing(one)) == text_key(Thing(other))) is same


def test_keys_tell_kinds_apart() -> None:
    one = Thing("Ann has 3 pens and 4 books", "7")
    reworded = Thing("Of books Ann owns four, of pens three", "7.0")
    other = Thing("Ann has 3 pens and 5 books", "8")
    assert KEYS["meaning+numbers"](one) == KEYS["meaning+numbers"](reworded) != KEYS["meaning+numbers"](other)
    assert KEYS["meaning+answer"](one) == KEYS["meaning+answer"](reworded) != KEYS["meaning+answer"](other)
    assert KEYS["meaning"](one) == KEYS["meaning"](other)


def test_an_answer_is_the_choice_not_its_letter() -> None:
    assert (
        answer_of(Thing("?", "B", ("Rome", "Oslo"))) == answer_of(Thing("?", "A", ("oslo", "Rome"))) == "oslo"
    )
    assert text_key(Thing("Which?", "A", ("x", "y"))) != text_key(Thing("Which?", "A", ("x", "z")))
    assert text_key(Thing("?!")) != text_key(Thing("!?"))  # nothing but marks: the marks count


def test_the_kind_that_suits_a_dataset() -> None:
    assert suited([Thing("a", "12"), Thing("b", "#### 1,200"), Thing("c", "x")]) == "meaning+numbers"
    assert suited([Thing("a", "A", ("1", "2"))] * 3) == "meaning+answer"
    assert suited([Thing("a", "A", ("1", "2")), Thing("b", "7"), Thing("c")]) == "meaning"
    assert suited([Thing("a", "yes")] * 3) == "meaning"
    assert suited([]) == "meaning"


@given(st.text(st.characters(codec="ascii")), st.sampled_from("\u00e9\u4e2d"))
def test_the_quick_way_for_plain_text_finds_the_same_pieces(text: str, beyond: str) -> None:
    """A letter beyond ASCII, set apart, takes the other way and is the only difference."""
    plain = sameness_module._pieces(text)
    assert [*plain, beyond] == sameness_module._pieces(f"{text}\n{beyond}") or plain == [text.lower()]

"""Law 7's first half: batches are pure functions; and the arithmetic of label ratios."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from engine.config import GenerateConfig
from engine.planning.few_shot import Randomly
from engine.planning.plan import Planner, interleaved, shares

SELECTORS = {"only": Randomly(50)}
PLANNER = Planner(GenerateConfig(target=10, temperature=(0.5, 1.0)), 7, SELECTORS)


@given(st.integers(0, 10**6))
def test_the_same_number_gives_the_same_batch(number: int) -> None:
    batch = PLANNER.batch(number)
    assert batch == PLANNER.batch(number)
    assert len(set(batch.examples)) == 5
    assert max(batch.examples) < 50
    assert 0.5 <= batch.temperature <= 1.0


def test_numbers_and_seeds_make_a_difference() -> None:
    seeds = {
        Planner(PLANNER.generate, seed, SELECTORS).batch(number).seed
        for seed in range(20)
        for number in range(20)
    }
    assert len(seeds) == 400


def test_sampling_is_drawn_with_dice_of_its_own() -> None:
    plain = GenerateConfig(target=10, temperature=(0.5, 1.0))
    varied = GenerateConfig(target=10, temperature=(0.5, 1.0), top_p=(0.8, 1.0), top_k=(20, 60))
    for number in range(30):
        one, other = (Planner(each, 7, SELECTORS).batch(number) for each in (plain, varied))
        assert other.top_p is not None
        assert other.top_k is not None
        assert 0.8 <= other.top_p <= 1.0
        assert 20 <= other.top_k <= 60
        assert replace(other, top_p=None, top_k=None) == one, "nothing else of a batch changes"
    assert Planner(GenerateConfig(target=1, top_p=0.9), 7, SELECTORS).batch(0).top_p == 0.9


WEIGHTS = st.dictionaries(st.text(min_size=1), st.floats(0.01, 100), min_size=1, max_size=8)


@given(st.integers(0, 10_000), WEIGHTS)
def test_shares_are_exact_and_fair(total: int, weights: dict[str, float]) -> None:
    parts = shares(total, weights)
    assert sum(parts.values()) == total
    whole = sum(weights.values())
    assert all(abs(parts[label] - total * weight / whole) < 1 for label, weight in weights.items())


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 60), min_size=1, max_size=6))
def test_labels_are_spread_evenly(counts: dict[str, int]) -> None:
    order = list(interleaved(counts))
    total = sum(counts.values())
    assert Counter(order) == Counter({label: count for label, count in counts.items() if count})
    for length in range(total):
        so_far = Counter(order[:length])
        assert all(
            abs(so_far[label] - length * count / total) <= len(counts) for label, count in counts.items()
        )

"""How many more different items there are; how a run has grown."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, lines, run_in
from engine.quality.richness import Richness, more_to_be_had


def drawn(chance: random.Random, different: int, draws: int) -> Richness:
    """Of a model that has so many different items in it, each as likely."""
    counts = Counter(chance.randrange(different) for _ in range(draws))
    return Richness.of(len(counts), [count - 1 for count in counts.values() if count > 1])


@pytest.mark.parametrize(("different", "draws"), [(500, 300), (500, 1000), (2000, 1000), (20_000, 3000)])
def test_the_interval_holds_the_number_of_different_items(different: int, draws: int) -> None:
    chance, held, estimates = random.Random(different + draws), 0, []
    for _ in range(100):
        found = drawn(chance, different, draws)
        assert found.more is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= different - found.distinct <= found.high
        estimates.append(found.distinct + found.more)
    assert held >= 88
    assert abs(sum(estimates) / 100 - different) < 0.1 * different


def test_a_count_by_hand() -> None:
    """Ten different items in 14: seven came once, two twice, one three times."""
    found = Richness.of(10, [1, 1, 2])
    assert (found.drawn, found.coverage, found.more) == (14, 0.5, 7 * 6 / (2 * 3))


def test_it_is_a_lower_bound_where_some_items_come_more_often() -> None:
    chance, weights = random.Random(5), [1 / place for place in range(1, 2001)]
    for _ in range(30):
        counts = Counter(chance.choices(range(2000), weights, k=1500))
        found = Richness.of(len(counts), [count - 1 for count in counts.values() if count > 1])
        assert found.low is not None
        assert found.distinct + found.low < 2000


@given(st.integers(0, 500), st.lists(st.integers(1, 30), max_size=60))
def test_any_counts(distinct: int, again: list[int]) -> None:
    found = Richness.of(max(distinct, len(again)), again)
    assert 0 <= found.coverage <= 1
    if found.more is None:
        assert not again
        assert "is open" in more_to_be_had(found.as_dict())
        return
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.more <= found.high
    assert "more different items" in more_to_be_had(found.as_dict())


@pytest.mark.parametrize("group", [None, {"same": "text"}])
async def test_a_run_says_how_much_more_there_is(
    endpoint: Start, configs: Configs, tmp_path: Path, group: Any
) -> None:
    url, _ = await endpoint(kind="word_problems", different=400, seed=3)
    limits = {"least_acceptance": 0.0, "attempts": 3.0}
    config = configs.load(
        url, generate={"target": 250, "batch_size": 5}, validators=[], groupcheck=group, limits=limits,
        observe={"page": True},
    )  # fmt: skip
    report = await run_in(tmp_path / "run", config)
    assert report.accepted == 250
    found = report.data["growth"]["richness"]
    assert found["distinct"] == 250
    assert found["drawn"] == 250 + report.data["items"]["rejected"]
    assert found["low"] <= 400 - 250 <= found["high"]
    points = report.data["growth"]["points"]
    assert [point["items"] for point in points] == [100, 200, 250]
    assert points[-1]["repeats"] > points[0]["repeats"]
    assert points[-1]["new_per_100_calls"] < points[0]["new_per_100_calls"]
    assert points[-1]["self_bleu"] > 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "As it grew" in page
    assert "Beside the paper" in page
    assert "more different items are to be had here" in page
    assert len({row["question"] for row in lines(tmp_path / "run" / "accepted.jsonl")}) == 250

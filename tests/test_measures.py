"""Each measure against an independent, straightforward computation on small inputs."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.diversity.measures import vectors as vectors_module
from engine.diversity.measures.contamination import shared_runs
from engine.diversity.measures.dataset import Measured, at_equal_size, measures
from engine.diversity.measures.vectors import (
    average_pairwise_similarity,
    nearest_similarities,
    quantiles,
    remote_clique,
    vendi_score,
)
from engine.diversity.measures.words import (
    distinct,
    entropy,
    inter_sample_frequency,
    lengths,
    self_bleu,
    tokens,
)


def unit(seed: int, count: int, dimensions: int = 12) -> Any:
    found = np.random.default_rng(seed).standard_normal((count, dimensions))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@given(st.integers(0, 1000), st.integers(2, 30))
@settings(max_examples=30)
def test_of_vectors(seed: int, count: int) -> None:
    rows = unit(seed, count)
    pairs = [(rows[i].astype(float), rows[j].astype(float)) for i, j in permutations(range(count), 2)]
    distances = [math.dist(one, other) for one, other in pairs]
    clique = remote_clique(rows)
    assert clique.paper == pytest.approx(sum(distances) / count**2, rel=1e-4)
    assert clique.pairs == pytest.approx(sum(distances) / len(pairs), rel=1e-4)
    cosines = [float(one @ other) for one, other in pairs]
    assert average_pairwise_similarity(rows) == pytest.approx(sum(cosines) / len(pairs), abs=1e-5)
    values = np.linalg.eigvalsh(rows.astype(float) @ rows.T.astype(float) / count)
    values = values[values > 1e-12]
    assert vendi_score(rows) == pytest.approx(math.exp(-(values * np.log(values)).sum()), rel=1e-3)
    near = [max(float(rows[i] @ rows[j]) for j in range(count) if j != i) for i in range(count)]
    assert nearest_similarities(rows) == pytest.approx(near, abs=1e-5)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, others = unit(1, 100), unit(2, 33)
    whole = remote_clique(rows), nearest_similarities(rows), nearest_similarities(rows, others)
    monkeypatch.setattr(vectors_module, "_BLOCK", 7)
    assert remote_clique(rows) == pytest.approx(whole[0])
    assert nearest_similarities(rows) == pytest.approx(whole[1])
    assert nearest_similarities(rows, others) == pytest.approx(whole[2])


def test_at_the_ends() -> None:
    alike = np.repeat(unit(0, 1), 10, axis=0)
    assert remote_clique(alike).pairs == pytest.approx(0, abs=1e-3)
    assert average_pairwise_similarity(alike) == pytest.approx(1)
    assert vendi_score(alike) == pytest.approx(1, abs=1e-3)
    apart = np.eye(10, 12, dtype=np.float32)
    assert remote_clique(apart).pairs == pytest.approx(math.sqrt(2))
    assert vendi_score(apart) == pytest.approx(10)
    assert remote_clique(apart[:1]) == (0, 0)
    assert vendi_score(apart[:0]) == 0
    assert quantiles(apart[0, :0]) == {}
    assert quantiles(np.array([0.0, 1.0], np.float32))["0.5"] == 0.5


TEXTS = [
    "The cat sat on the mat.",
    "The cat sat on the rug.",
    "A dog ran in the park, and the cat sat on the mat.",
    "Completely other words here!",
]


def test_of_words() -> None:
    words = [tokens(text) for text in TEXTS]
    grams: list[list[tuple[str, ...]]] = [[tuple(w[i : i + 3]) for i in range(len(w) - 2)] for w in words]
    found = Counter(gram for each in grams for gram in set(each))
    assert inter_sample_frequency(words) == pytest.approx(sum(found.values()) / len(found))
    everything = [gram for each in grams for gram in each]
    assert distinct(words, 3) == pytest.approx(len(set(everything)) / len(everything))
    assert distinct(words, 50) == 0
    assert inter_sample_frequency([["a", "b", "c"]]) == 1
    assert lengths(words) == {"mean": 8.5, "deviation": 3.84, "least": 5, "median": 7.0, "most": 15}
    assert lengths([]) == {}


def test_self_bleu_exact_and_sampled() -> None:
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(effective_order=True)
    by_hand = [bleu.sentence_score(text, [other for other in TEXTS if other != text]).score for text in TEXTS]
    exact = self_bleu(TEXTS)
    assert exact.score == pytest.approx(sum(by_hand) / 4)
    assert (exact.half_width, exact.sampled, exact.references) == (0, 4, 3)
    many = [f"{text} number {n}" for n in range(30) for text in TEXTS]
    whole = self_bleu(many, most=200, references=119)
    sampled = self_bleu(many, seed=1, most=60, references=119)
    assert sampled == self_bleu(many, seed=1, most=60, references=119)
    assert sampled.half_width > 0
    assert abs(sampled.score - whole.score) <= 2 * sampled.half_width
    assert self_bleu(["alone"]).score == 0


def test_entropy() -> None:
    assert entropy("aabb") == {"values": 2, "bits": 1.0, "evenness": 1.0}
    assert entropy("aaab")["bits"] == pytest.approx(0.8113, abs=1e-4)
    assert entropy("aaa") == {"values": 1, "bits": 0.0, "evenness": 1.0}
    assert entropy("") == {"values": 0, "bits": 0.0, "evenness": 0.0}


def test_a_dataset_whole() -> None:
    rows = unit(4, 4)
    rows[3] = np.nan
    data = Measured(TEXTS, rows, ["a", "a", "b", "b"], {"kind": ["x", "y", "x", "y"]})
    found = measures(data, Measured(TEXTS[:5], unit(5, 3)))
    assert found["items"] == 4
    assert found["remote_clique"]["pairs"] == pytest.approx(remote_clique(rows[:3]).pairs, abs=1e-4)
    assert found["labels"]["bits"] == found["attributes"]["kind"]["bits"] == 1
    assert set(found) >= {"aps", "vendi", "ingf", "distinct_1", "distinct_2", "self_bleu", "length"}
    assert set(found["nearest_within"]) == set(found["nearest_in_base"])
    assert "aps" not in measures(Measured(TEXTS))
    assert measures(Measured(["one"], unit(0, 1)))["vendi"] == pytest.approx(1, abs=1e-3)


def test_sizes_that_differ_are_compared_at_equal_size() -> None:
    """The same dataset at two sizes: its measures differ, those at equal size do not."""
    words = ["red green blue one two three four five six seven".split()[n % 10] for n in range(400)]
    texts = [f"{words[n]} {words[n * 7 % 400]} {words[n * 3 % 400]} {n % 13}" for n in range(400)]
    rows = unit(6, 400)
    large = Measured(texts, rows)
    small = large.subset(random.Random(1).sample(range(400), 50))
    found = at_equal_size({"small": small, "large": large}, seed=3)
    assert found["items"] == 50
    assert found["small"]["vendi"]["deviation"] == 0
    for measure in ("remote_clique", "aps", "vendi", "distinct_1"):
        one, other = found["small"][measure], found["large"][measure]
        assert abs(one["mean"] - other["mean"]) <= 4 * other["deviation"] + 1e-3
    assert distinct([tokens(text) for text in texts], 1) < 0.5 * found["large"]["distinct_1"]["mean"]
    assert found == at_equal_size({"small": small, "large": large}, seed=3)


RUN = "one two three four five six seven eight nine ten eleven twelve thirteen"


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        (RUN, True),
        (f"Zero, {RUN.upper()}; fourteen!", True),
        (RUN.replace("seven", "SEVENTH"), False),
        (RUN.removesuffix(" thirteen"), False),
        ("short text", True),
        ("short texts", False),
        ("short", False),
        ("", False),
    ],
)
def test_a_run_of_thirteen_words_is_found(text: str, shares: bool) -> None:
    base = [f"And {RUN} and so on", "Short: text."]
    assert shared_runs([text], base)[0] == [shares]


@given(st.lists(st.text("ab c", max_size=60), max_size=8), st.lists(st.text("ab c", max_size=60), max_size=8))
def test_runs_are_those_of_a_plain_search(texts: list[str], base: list[str]) -> None:
    """As a search for every run in every text of the base finds them."""

    def runs(text: str, n: int) -> set[tuple[str, ...]]:
        words = text.split()
        if len(words) < n:
            return {("short", *words)} if words else set()
        return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}

    known = {run for text in base for run in runs(text, 3)}
    found, short = shared_runs(texts, base, 3)
    assert found == [bool(runs(text, 3) & known) for text in texts]
    assert short == sum(len(text.split()) < 3 for text in texts)


def test_contamination_and_duplicates() -> None:
    texts = ["A cat sat.", "a CAT sat", f"{RUN} again", "Something else entirely"]
    vectors = unit(1, 4)
    base = Measured(["A cat  sat!", f"{RUN} once more"], vectors[:2])
    found = measures(Measured(texts, vectors), base)
    assert found["contamination"]["exact"] == 0.5
    assert found["contamination"]["ngram_13"] == 0.75
    assert found["contamination"]["shorter_than_13_words"] == 3
    assert found["contamination"]["close"]["0.99"] == 0.5
    assert found["duplicates"]["exact"] == 1
    assert set(found["duplicates"]["close"]) == {"0.9", "0.95", "0.99"}
    assert "contamination" not in measures(Measured(texts))
    labelled = measures(Measured(texts, labels=["a", "a", "a", "b"]))["labels"]
    assert labelled["shares"] == {"a": 0.75, "b": 0.25}
    assert "shares" not in measures(Measured(texts, labels=["1", "2", "3", "4"]))["labels"]

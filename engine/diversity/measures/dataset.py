"""Computes all measures of one dataset, and compares several datasets at equal size."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from engine.diversity.measures.contamination import close, contamination, repeated
from engine.diversity.measures.vectors import (
    average_pairwise_similarity,
    nearest_similarities,
    quantiles,
    remote_clique,
    vendi_score,
)
from engine.diversity.measures.words import (
    REFERENCES,
    SAMPLED,
    balance,
    distinct,
    entropy,
    inter_sample_frequency,
    lengths,
    self_bleu,
    tokens,
)

if TYPE_CHECKING:
    from engine.protocols import Vectors

T = TypeVar("T")

DRAWS = 10
"""Subsamples drawn from each dataset where sizes differ."""
MOST_VECTORS = 50_000
"""Items whose pairs are compared; a larger dataset is sampled down to this number."""
MOST_TEXTS = 200_000
"""Items whose words are counted; a larger dataset is sampled down to this number."""
MOST_DRAWN = 10_000
"""The most items in a subsample."""
_DIGITS = 5


@dataclass(frozen=True)
class Measured:
    """A dataset as the measures use it; all sequences have one entry per item."""

    texts: Sequence[str]
    vectors: Vectors | None = None
    """None where the dataset has no vectors; rows of NaN are left out."""
    labels: Sequence[str] = ()
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def subset(self, rows: Sequence[int]) -> Measured:
        """The dataset reduced to these items."""
        return Measured(
            [self.texts[row] for row in rows],
            None if self.vectors is None else self.vectors[list(rows)],
            [self.labels[row] for row in rows] if self.labels else (),
            {name: [values[row] for row in rows] for name, values in self.attributes.items()},
        )


def measures(
    data: Measured,
    against: Measured | None = None,
    seed: int = 0,
    most: int = SAMPLED,
    references: int = REFERENCES,
) -> dict[str, Any]:
    """Every measure, as plain JSON values. `against` is the base dataset.

    A large dataset is sampled with `seed`: `vectors_of` and `words_of` are then the numbers of sampled items.
    """
    chance = random.Random(seed)
    texts = _some(data.texts, MOST_TEXTS, chance)
    words = [tokens(text) for text in texts]
    result: dict[str, Any] = {"items": len(data.texts)}
    if len(texts) < len(data.texts):
        result["words_of"] = len(texts)
    nearest = None
    if data.vectors is not None:
        vectors = data.vectors[np.isfinite(data.vectors[:, 0])]
        rows = _some(range(len(vectors)), MOST_VECTORS, chance)
        if len(rows) < len(vectors):
            result["vectors_of"] = len(rows)
        nearest = _nearest(vectors[rows], against)
        result |= _of_vectors(vectors[rows], nearest)
    result["duplicates"] = {"exact": repeated(data.texts)}
    if "nearest_within" in result:
        result["duplicates"]["close"] = result.pop("close_within")
    if against is not None:
        result["contamination"] = contamination(data.texts, against.texts, nearest)
    result["ingf"] = _rounded(inter_sample_frequency(words))
    result["distinct_1"], result["distinct_2"] = _rounded(distinct(words, 1)), _rounded(distinct(words, 2))
    bleu = self_bleu(data.texts, seed, most, references)
    result["self_bleu"] = {
        "score": round(bleu.score, 2),
        "half_width": round(bleu.half_width, 2),
        "items": bleu.sampled,
        "references": bleu.references,
        "seed": seed,
    }
    result["length"] = lengths(words)
    if data.labels:
        result["labels"] = {**entropy(data.labels), **balance(data.labels)}
    if data.attributes:
        result["attributes"] = {name: entropy(values) for name, values in data.attributes.items()}
    return result


def _some(values: Sequence[T], most: int, chance: random.Random) -> list[T]:
    """All values, or `most` drawn at random, in order."""
    if len(values) <= most:
        return list(values)
    return [values[place] for place in sorted(chance.sample(range(len(values)), most))]


def _nearest(vectors: Vectors, against: Measured | None) -> Vectors | None:
    """For each item, the cosine to its nearest neighbour in the base."""
    if against is None or against.vectors is None:
        return None
    base = against.vectors[np.isfinite(against.vectors[:, 0])]
    return nearest_similarities(vectors, base) if len(base) else None


def _of_vectors(vectors: Vectors, nearest: Vectors | None) -> dict[str, Any]:
    clique = remote_clique(vectors)
    result: dict[str, Any] = {
        "remote_clique": {"paper": _rounded(clique.paper), "pairs": _rounded(clique.pairs)},
        "aps": _rounded(average_pairwise_similarity(vectors)),
        "vendi": round(vendi_score(vectors), 3),
    }
    if len(vectors) > 1:
        within = nearest_similarities(vectors)
        result["nearest_within"], result["close_within"] = quantiles(within), close(within)
    if nearest is not None:
        result["nearest_in_base"] = quantiles(nearest)
    return result


def at_equal_size(datasets: Mapping[str, Measured], seed: int = 0, draws: int = DRAWS) -> dict[str, Any]:
    """For each dataset, mean and standard deviation over subsamples of the smallest dataset's size.

    Most measures change with the number of items, and a group check alone changes some. Subsamples are drawn
    without replacement; the smallest dataset is measured whole, so it has no deviation.
    """
    size = min(MOST_DRAWN, *(len(data.texts) for data in datasets.values()))
    result: dict[str, Any] = {"items": size, "draws": draws}
    for name, data in datasets.items():
        chance = random.Random(f"{seed}/{name}")
        whole = len(data.texts) == size
        drawn = [
            _numbers(data if whole else data.subset(chance.sample(range(len(data.texts)), size)))
            for _ in range(1 if whole else draws)
        ]
        result[name] = {
            measure: {
                "mean": _rounded(statistics.fmean(each[measure] for each in drawn)),
                "deviation": _rounded(statistics.pstdev(each[measure] for each in drawn)),
            }
            for measure in drawn[0]
        }
    return result


def _numbers(data: Measured) -> dict[str, float]:
    """The measures that change with the number of items, except self-BLEU: its samples have equal size."""
    words = [tokens(text) for text in data.texts]
    numbers: dict[str, float] = {}
    if data.vectors is not None:
        vectors = data.vectors[np.isfinite(data.vectors[:, 0])]
        clique = remote_clique(vectors)
        numbers = {
            "remote_clique": clique.paper,
            "aps": average_pairwise_similarity(vectors),
            "vendi": vendi_score(vectors),
        }
    numbers["ingf"] = inter_sample_frequency(words)
    numbers["distinct_1"], numbers["distinct_2"] = distinct(words, 1), distinct(words, 2)
    return numbers


def _rounded(value: float) -> float:
    return round(value, _DIGITS)

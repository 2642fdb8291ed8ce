"""Few-shot selection: which examples of the base dataset a prompt shows.

    random      each example is equally likely
    clustered   one from each of k clusters of the examples' vectors (k-means), as in the paper
    farthest    one at random, then each time the one farthest from those chosen (greedy k-centre)
    balanced    the values of a label, a field or an attribute as evenly as possible

All are drawn anew for each batch, with the batch's own random generator.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from engine.protocols import Vectors

POOL = 1_000
"""Random rows among which `farthest` chooses: enough to be far apart, few enough for every batch."""
_ITERATIONS = 25


class Selector(Protocol):
    """Chooses rows of the base dataset."""

    def choose(self, chance: random.Random, count: int) -> list[int]:
        """`count` different rows, in the order in which the prompt shows them."""
        ...


@dataclass(frozen=True)
class Randomly:
    rows: int

    def choose(self, chance: random.Random, count: int) -> list[int]:
        return chance.sample(range(self.rows), count)


@dataclass(frozen=True)
class FromGroups:
    """As evenly from each group as possible; which groups, and which of their rows, is random."""

    groups: Sequence[Sequence[int]]

    def choose(self, chance: random.Random, count: int) -> list[int]:
        order = chance.sample(range(len(self.groups)), len(self.groups))
        chosen: list[int] = []
        for wanted, place in zip(self._wanted(order, count), order, strict=True):
            chosen.extend(chance.sample(self.groups[place], wanted))
        chance.shuffle(chosen)
        return chosen

    def _wanted(self, order: Sequence[int], count: int) -> list[int]:
        """How many rows from each group, in that order; other groups make up for a small one."""
        wanted = [0] * len(order)
        while count > 0:
            before = count
            for turn, place in enumerate(order):
                if count > 0 and wanted[turn] < len(self.groups[place]):
                    wanted[turn] += 1
                    count -= 1
            if count == before:
                raise ValueError("fewer rows than asked for")
        return wanted


@dataclass(frozen=True)
class Farthest:
    """Greedy k-centre (Gonzalez, 1985) among POOL random rows."""

    vectors: Vectors

    def choose(self, chance: random.Random, count: int) -> list[int]:
        import numpy as np

        pool = chance.sample(range(len(self.vectors)), min(len(self.vectors), max(POOL, count)))
        vectors = np.nan_to_num(self.vectors[pool])
        chosen = [0][:count]
        nearest = vectors @ vectors[0]  # the greatest similarity to any chosen row
        while len(chosen) < count:
            nearest[chosen[-1]] = np.inf
            chosen.append(int(nearest.argmin()))
            np.maximum(nearest, vectors @ vectors[chosen[-1]], out=nearest, where=np.isfinite(nearest))
        return [pool[place] for place in chosen]


def clustered(vectors: Vectors, clusters: int, seed: int) -> FromGroups:
    """Groups by k-means on unit vectors (FAISS, `spherical`); rows without a vector form their own group."""
    import faiss
    import numpy as np

    there = np.flatnonzero(np.isfinite(vectors[:, 0]))
    groups: list[list[int]] = [[] for _ in range(clusters)]
    if len(there) >= clusters:
        means = faiss.Kmeans(
            vectors.shape[1], clusters, niter=_ITERATIONS, seed=seed % 2**31, spherical=True,
            min_points_per_centroid=1, max_points_per_centroid=10_000,
        )  # fmt: skip
        usable = np.ascontiguousarray(vectors[there])
        means.train(usable)
        for row, cluster in zip(there.tolist(), means.index.search(usable, 1)[1][:, 0].tolist(), strict=True):
            groups[cluster].append(row)
    others = sorted(set(range(len(vectors))) - {row for group in groups for row in group})
    return FromGroups([group for group in [*groups, others] if group])


def balanced(values: Sequence[str | None]) -> FromGroups:
    """Rows grouped by value; rows without a value form a group too."""
    groups: dict[str | None, list[int]] = {}
    for row, value in enumerate(values):
        groups.setdefault(value, []).append(row)
    return FromGroups(list(groups.values()))

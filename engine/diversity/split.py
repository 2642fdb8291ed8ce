"""Splits a dataset in two with no near-duplicates across the parts: groups of similar items stay together."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from engine.diversity.measures.contamination import N, runs, words_of

if TYPE_CHECKING:
    from engine.protocols import Vectors

CLOSE = 0.9
"""The default cosine from which on two items must be in the same part."""
_QUERIES = 512


class Groups:
    """Items joined into groups: a disjoint-set forest (Tarjan, 1975). Mutable: each item's parent."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, item: int) -> int:
        while (parent := self._parent[item]) != item:
            self._parent[item] = self._parent[parent]
            item = self._parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        self._parent[self.root(one)] = self.root(other)

    def members(self) -> list[list[int]]:
        """The items of each group; groups are ordered by their first item."""
        groups: dict[int, list[int]] = {}
        for item in range(len(self._parent)):
            groups.setdefault(self.root(item), []).append(item)
        return list(groups.values())


def join_by_words(groups: Groups, texts: Iterable[str], n: int = N) -> None:
    """Join items that share a run of `n` words, or the whole text if it is shorter."""
    first: dict[int, int] = {}
    for item, text in enumerate(texts):
        for run in runs(words_of(text), n):
            groups.join(item, first.setdefault(run, item))


def join_by_vectors(groups: Groups, vectors: Vectors, closeness: float = CLOSE) -> None:
    """Join items whose cosine is at least `closeness`; shape [items, dimensions], NaN rows are skipped."""
    import faiss

    rows = np.flatnonzero(np.isfinite(vectors[:, 0]))
    there = np.ascontiguousarray(vectors[rows])
    index = faiss.IndexFlatIP(there.shape[1])
    index.add(there)
    for start in range(0, len(there), _QUERIES):
        ends, _, neighbours = index.range_search(there[start : start + _QUERIES], closeness)
        for place, (low, high) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
            for other in neighbours[low:high].tolist():
                groups.join(int(rows[start + place]), int(rows[other]))


def held_out(groups: Sequence[Sequence[int]], share: float, seed: int) -> set[int]:
    """The items to hold out: whole groups drawn at random, up to this share of all items.

    Never more than the rounded share; a group too large for the remaining room stays in the other part.
    """
    wanted = round(share * sum(map(len, groups)))
    order = list(groups)
    random.Random(f"{seed}/held out").shuffle(order)
    chosen: set[int] = set()
    for group in order:
        if len(chosen) + len(group) <= wanted:
            chosen.update(group)
    return chosen

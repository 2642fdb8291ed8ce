"""The memory of a group check: what has been accepted, and whether a new item says the same.

A micro-batch is decided exactly as if its items came one at a time: `compare` finds each item's neighbours
among the items accepted before and in the batch itself; then, in order, `Comparison.nearest` considers only
those items of the batch that were accepted. A rejected item blocks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from engine.diversity.index import Exact, Growing, Index, Ivf, similarity
from engine.diversity.sameness import KEYS, THRESHOLDS, Comparable, Key, text_key

if TYPE_CHECKING:
    from engine.protocols import Vectors

EXACT_UP_TO = 2_000_000
"""Vectors of one key up to which the search is exact; beyond, a scan takes longer than making the vectors."""
IVF_FROM = 20_000
"""Vectors that an approximate index needs to learn its lists; with fewer, `ivf` is exact too."""
RELEARNED_AT = 8
"""The lists are learned anew when the vectors are this many times as many: long lists are slow."""
_FEW = 256
"""Up to this number, the vectors of one key are compared one by one, without an index of their own."""

Ref = int
"""The caller's identifier of an item."""


class Match(NamedTuple):
    """An accepted item that says the same."""

    ref: Ref
    similarity: float
    """Cosine; 1 where the texts differ only in case, spacing and marks without meaning."""
    by_text: bool = False


class _Few:
    """Vectors of keys that have few vectors: most keys do, where numbers or answers distinguish items.

    All keys share one array: an index for each would double the memory. Mutable: all of it.
    """

    def __init__(self, dimensions: int) -> None:
        self._vectors = Growing(dimensions, np.float16)
        self._refs: list[Ref] = []
        self._rows: dict[Key, list[int]] = {}

    def add(self, key: Key, refs: Sequence[Ref], vectors: Vectors) -> int:
        """Adds vectors; returns how many this key has now."""
        rows = self._rows.setdefault(key, [])
        rows.extend(range(self._vectors.used, self._vectors.used + len(vectors)))
        self._vectors.extend(vectors)
        self._refs.extend(refs)
        return len(rows)

    def give(self, key: Key) -> tuple[list[Ref], Vectors]:
        """Removes and returns everything of one key, in order; the caller keeps it from now on."""
        rows = self._rows.pop(key)
        return [self._refs[row] for row in rows], self._vectors.rows[rows].astype(np.float32)

    def nearest(self, key: Key, queries: Vectors, threshold: float) -> list[Match | None]:
        rows = self._rows.get(key)
        if rows is None:
            return [None] * len(queries)
        there = self._vectors.rows[rows].astype(np.float32)
        found: list[Match | None] = []
        for query in queries:
            near = similarity(np.broadcast_to(query, there.shape), there)
            best = int(near.argmax())
            found.append(
                Match(self._refs[rows[best]], float(near[best])) if near[best] >= threshold else None
            )
        return found


@dataclass
class _Many:
    """Vectors of a key that has many. Mutable: `refs` holds the item of each row of the index."""

    index: Index
    refs: list[Ref]
    limit: int
    """The number of vectors at which the lists of an approximate index are learned."""

    def nearest(self, queries: Vectors, threshold: float) -> list[Match | None]:
        found = self.index.nearest(queries, threshold)
        return [
            Match(self.refs[row], near) if row >= 0 else None
            for row, near in zip(found.rows.tolist(), found.similarities.tolist(), strict=True)
        ]

    def add(self, refs: Sequence[Ref], vectors: Vectors) -> None:
        """Lists are learned at exactly `limit` vectors, however many vectors one call adds."""
        self.refs.extend(refs)
        while len(self.index) + len(vectors) >= self.limit:
            ahead = self.limit - len(self.index)
            self.index.add(vectors[:ahead])
            vectors = vectors[ahead:]
            self.index = Ivf(self.index.vectors)
            self.limit *= RELEARNED_AT
        self.index.add(vectors)


class Duplicates:
    """Mutable state: texts and vectors of everything accepted.

    Texts may be looked up while another thread compares or adds vectors; vectors allow one call at a time.
    """

    def __init__(self, same: str, threshold: float | None = None, policy: str = "auto") -> None:
        """`same` is a kind of sameness (sameness.KEYS), `policy` one of auto, exact, ivf."""
        self.same = same
        self.threshold = THRESHOLDS[same] if threshold is None else threshold
        self._policy = policy
        self._key: Callable[[Comparable], Key] = KEYS[same]
        self._texts: dict[Key, Ref] = {}
        self._few: _Few | None = None
        self._many: dict[Key, _Many] = {}

    @property
    def needs_vectors(self) -> bool:
        return self.same != "text"

    def __len__(self) -> int:
        return len(self._texts)

    def same_text(self, item: Comparable) -> Match | None:
        """The accepted item with the same text; see sameness.text_key."""
        ref = self._texts.get(text_key(item))
        return None if ref is None else Match(ref, 1.0, by_text=True)

    def add(self, items: Iterable[tuple[Ref, Comparable]], vectors: Vectors | None = None) -> None:
        """Adds accepted items unchecked; shape [items, dimensions]. Items without a vector count by text."""
        there = list(items)
        self.add_texts(there)
        if vectors is not None:
            self.add_vectors(there, vectors)

    def add_texts(self, items: Iterable[tuple[Ref, Comparable]]) -> None:
        for ref, item in items:
            self._texts.setdefault(text_key(item), ref)

    def add_vectors(self, items: Sequence[tuple[Ref, Comparable]], vectors: Vectors) -> None:
        """Uses processor time. Rows that are not finite are left out."""
        refs: dict[Key, list[Ref]] = {}
        rows: dict[Key, list[int]] = {}
        for place, (ref, item) in enumerate(items):
            if np.isfinite(vectors[place, 0]):
                key = self._key(item)
                refs.setdefault(key, []).append(ref)
                rows.setdefault(key, []).append(place)
        for key, places in rows.items():
            self._extend(key, refs[key], vectors[places])

    def compare(self, items: Sequence[Comparable], vectors: Vectors | None) -> Comparison:
        """The neighbours of each item; shape [items, dimensions]. Uses processor time, changes nothing."""
        texts = [text_key(item) for item in items]
        if vectors is None or not self.needs_vectors:
            return Comparison(self, items, texts, None)
        groups: dict[Key, list[int]] = {}
        for place, item in enumerate(items):
            groups.setdefault(self._key(item), []).append(place)
        comparison = Comparison(self, items, texts, vectors)
        for key, places in groups.items():
            self._compare(comparison, key, places)
        return comparison

    def _compare(self, comparison: Comparison, key: Key, places: Sequence[int]) -> None:
        assert comparison.vectors is not None
        queries = comparison.vectors[places]
        for place, match in zip(places, self._nearest(key, queries), strict=True):
            if match is not None:
                comparison.outside[place] = match
        if len(places) > 1:
            later, earlier = np.nonzero(np.tril(queries @ queries.T >= self.threshold - 1e-4, -1))
            exact = similarity(queries[later], queries[earlier])
            near = exact >= self.threshold
            for one, other, value in zip(later[near], earlier[near], exact[near].tolist(), strict=True):
                comparison.inside.setdefault(places[one], []).append((places[other], value))

    def _nearest(self, key: Key, queries: Vectors) -> list[Match | None]:
        if (many := self._many.get(key)) is not None:
            return many.nearest(queries, self.threshold)
        if self._few is not None:
            return self._few.nearest(key, queries, self.threshold)
        return [None] * len(queries)

    def add_accepted(self, comparison: Comparison, refs: Sequence[Ref]) -> None:
        """Adds the accepted items of a comparison; `refs` identify all its items."""
        self.add(comparison.chosen(refs), comparison.chosen_vectors())

    def _extend(self, key: Key, refs: Sequence[Ref], vectors: Vectors) -> None:
        if (many := self._many.get(key)) is not None:
            many.add(refs, vectors)
            return
        if self._few is None:
            self._few = _Few(vectors.shape[1])
        if self._few.add(key, refs, vectors) > _FEW:
            before, there = self._few.give(key)
            self._many[key] = _Many(Exact(vectors.shape[1]), [], self._limit())
            self._many[key].add(before, there)

    def _limit(self) -> int:
        return {"auto": EXACT_UP_TO, "ivf": IVF_FROM}.get(self._policy, 1 << 62)

    def policy(self) -> str:
        """The kind of index in use, for the report."""
        return "ivf" if any(isinstance(many.index, Ivf) for many in self._many.values()) else "exact"


@dataclass
class Comparison:
    """The neighbours of a micro-batch's items. Mutable: its accepted items, in order, and their texts."""

    duplicates: Duplicates
    items: Sequence[Comparable]
    texts: Sequence[Key]
    vectors: Vectors | None
    outside: dict[int, Match] = field(default_factory=dict)
    """By place in the batch: the nearest item accepted before the batch."""
    inside: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    """By place: earlier places of the batch that are near enough, with their similarity."""
    accepted: list[int] = field(default_factory=list)
    """Places, in order."""
    _accepted: set[int] = field(default_factory=set)
    _texts: dict[Key, int] = field(default_factory=dict)

    def same_text(self, place: int, refs: Sequence[Ref]) -> Match | None:
        """An accepted item with the same text, from this batch or from before it."""
        if (match := self.duplicates.same_text(self.items[place])) is not None:
            return match
        earlier = self._texts.get(self.texts[place])
        return None if earlier is None else Match(refs[earlier], 1.0, by_text=True)

    def nearest(self, place: int, refs: Sequence[Ref]) -> Match | None:
        """The nearest accepted item, from this batch or from before it; None if none is near enough."""
        best = self.outside.get(place)
        for earlier, near in self.inside.get(place, ()):
            if earlier in self._accepted and (best is None or near > best.similarity):
                best = Match(refs[earlier], near)
        return best

    def accept(self, place: int) -> None:
        """Accepts an item: later items of the batch are compared with it too."""
        self.accepted.append(place)
        self._accepted.add(place)
        self._texts.setdefault(self.texts[place], place)

    def chosen(self, refs: Sequence[Ref]) -> list[tuple[Ref, Comparable]]:
        """The accepted items; `refs` identify all items of the batch."""
        return [(refs[place], self.items[place]) for place in self.accepted]

    def chosen_vectors(self) -> Vectors | None:
        """The vectors of the accepted items, in the same order."""
        return self.vectors[self.accepted] if self.vectors is not None and self.accepted else None

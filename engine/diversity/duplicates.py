"""The memory of a group check: what has been accepted, and whether a new item says the same.

A micro-batch is decided exactly as if its items came one at a time: `compare` finds each one's neighbours among
what was accepted before and among the batch itself; then, in order, `Comparison.nearest` counts only those of the
batch that were accepted. An item that is turned away blocks nothing.
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
"""Vectors of one key; beyond, a scan takes longer than making the vectors does."""
IVF_FROM = 20_000
"""Vectors that an approximate index needs to learn its lists from; below, `ivf` is exact too."""
RELEARNED_AT = 8
"""Times as many vectors, and the lists are learned anew: lists that are too long are slow."""
_FEW = 256
"""Vectors of one key up to which they are compared one by one, without an index of their own."""

Ref = int
"""Which item: what the caller calls it by."""


class Match(NamedTuple):
    """An accepted item that says the same."""

    ref: Ref
    similarity: float
    """Cosine; 1 where the texts are the same but for case, spacing and marks without meaning."""
    by_text: bool = False


class _Few:
    """Vectors of the keys that have few: most keys, where numbers or answers tell items apart.

    One array for all of them: an index each would take as much memory again. Mutable: all of it.
    """

    def __init__(self, dimensions: int) -> None:
        self._vectors = Growing(dimensions, np.float16)
        self._refs: list[Ref] = []
        self._rows: dict[Key, list[int]] = {}

    def add(self, key: Key, refs: Sequence[Ref], vectors: Vectors) -> int:
        """How many of this key there are now."""
        rows = self._rows.setdefault(key, [])
        rows.extend(range(self._vectors.used, self._vectors.used + len(vectors)))
        self._vectors.extend(vectors)
        self._refs.extend(refs)
        return len(rows)

    def give(self, key: Key) -> tuple[list[Ref], Vectors]:
        """All of one key, in order, to be kept elsewhere from now on."""
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
    """Vectors of a key that has many. Mutable: `refs` tells for each row of the index which item it is."""

    index: Index
    refs: list[Ref]
    limit: int
    """Vectors at which the lists of an approximate index are to be learned."""

    def nearest(self, queries: Vectors, threshold: float) -> list[Match | None]:
        found = self.index.nearest(queries, threshold)
        return [
            Match(self.refs[row], near) if row >= 0 else None
            for row, near in zip(found.rows.tolist(), found.similarities.tolist(), strict=True)
        ]

    def add(self, refs: Sequence[Ref], vectors: Vectors) -> None:
        """Lists are learned at exactly `limit` vectors, so that they do not depend on how many came at once."""
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

    Texts may be asked for while another thread compares, or adds, vectors; these one call at a time.
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
        """Accepted items, unchecked; shape [items, dimensions]. Those without a vector count by their text."""
        there = list(items)
        self.add_texts(there)
        if vectors is not None:
            self.add_vectors(there, vectors)

    def add_texts(self, items: Iterable[tuple[Ref, Comparable]]) -> None:
        for ref, item in items:
            self._texts.setdefault(text_key(item), ref)

    def add_vectors(self, items: Sequence[tuple[Ref, Comparable]], vectors: Vectors) -> None:
        """Takes processor time. Rows that are not finite are left out."""
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
        """What each of these is near to; shape [items, dimensions]. Takes processor time, changes nothing."""
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
        """What was accepted of a comparison; `refs` name its items."""
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
        """Which index is in use, for the report."""
        return "ivf" if any(isinstance(many.index, Ivf) for many in self._many.values()) else "exact"


@dataclass
class Comparison:
    """What a micro-batch's items are near to. Mutable: what was accepted of it, in order, and the texts of that."""

    duplicates: Duplicates
    items: Sequence[Comparable]
    texts: Sequence[Key]
    vectors: Vectors | None
    outside: dict[int, Match] = field(default_factory=dict)
    """By place in the batch: the nearest of what was accepted before it."""
    inside: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    """By place: earlier places of the batch that are near enough, and how near."""
    accepted: list[int] = field(default_factory=list)
    """Places, in order."""
    _accepted: set[int] = field(default_factory=set)
    _texts: dict[Key, int] = field(default_factory=dict)

    def same_text(self, place: int, refs: Sequence[Ref]) -> Match | None:
        """An accepted item, of before or of this batch, with the same text."""
        if (match := self.duplicates.same_text(self.items[place])) is not None:
            return match
        earlier = self._texts.get(self.texts[place])
        return None if earlier is None else Match(refs[earlier], 1.0, by_text=True)

    def nearest(self, place: int, refs: Sequence[Ref]) -> Match | None:
        """The accepted item, of before or of this batch, that this one is nearest to, if any is near enough."""
        best = self.outside.get(place)
        for earlier, near in self.inside.get(place, ()):
            if earlier in self._accepted and (best is None or near > best.similarity):
                best = Match(refs[earlier], near)
        return best

    def accept(self, place: int) -> None:
        """Later ones of the batch are compared with this item too."""
        self.accepted.append(place)
        self._accepted.add(place)
        self._texts.setdefault(self.texts[place], place)

    def chosen(self, refs: Sequence[Ref]) -> list[tuple[Ref, Comparable]]:
        """What was accepted; `refs` name all items of the batch."""
        return [(refs[place], self.items[place]) for place in self.accepted]

    def chosen_vectors(self) -> Vectors | None:
        """The vectors of the accepted items, in the same order."""
        return self.vectors[self.accepted] if self.vectors is not None and self.accepted else None

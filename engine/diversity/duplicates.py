"""The memory of a group check: what has been accepted, and whether a new item says the same.

A micro-batch is decided exactly as if its items came one at a time: `look` finds each one's neighbours among
what was accepted before and among the batch itself; then, in order, `Look.nearest` counts only those of the
batch that were taken. An item that is turned away blocks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from engine.diversity.index import Exact, Index, Ivf, similarity
from engine.diversity.sameness import KEYS, THRESHOLDS, Content, Key, text_key

if TYPE_CHECKING:
    from engine.protocols import Vectors

EXACT_UP_TO = 2_000_000
"""Vectors of one key; beyond, a scan takes longer than making the vectors does."""

IVF_FROM = 20_000
"""Vectors that an approximate index needs to learn its lists from; below, `ivf` is exact too."""

Ref = int
"""Which item: what the caller calls it by."""


class Match(NamedTuple):
    """An accepted item that says the same."""

    ref: Ref
    similarity: float
    """Cosine; 1 where the texts are the same but for case, spacing and punctuation."""
    by_text: bool = False


@dataclass
class _Bucket:
    """Items of one key. Mutable: `refs` tells for each row of the index which item it is."""

    index: Index
    refs: list[Ref] = field(default_factory=list)


class Duplicates:
    """Mutable state: texts and vectors of everything accepted. One owner, one call at a time."""

    def __init__(self, same: str, threshold: float | None = None, policy: str = "auto") -> None:
        """`same` is a kind of sameness (sameness.KEYS), `policy` one of auto, exact, ivf."""
        self.same = same
        self.threshold = THRESHOLDS[same] if threshold is None else threshold
        self._policy = policy
        self._key: Callable[[Content], Key] = KEYS[same]
        self._texts: dict[Key, Ref] = {}
        self._buckets: dict[Key, _Bucket] = {}

    @property
    def needs_vectors(self) -> bool:
        return self.same != "text"

    def __len__(self) -> int:
        return len(self._texts)

    def same_text(self, item: Content) -> Match | None:
        """The accepted item with the same text, but for case, spacing and punctuation."""
        ref = self._texts.get(text_key(item))
        return None if ref is None else Match(ref, 1.0, by_text=True)

    def add(self, items: Iterable[tuple[Ref, Content]], vectors: Vectors | None = None) -> None:
        """Accepted items, unchecked; shape [items, dimensions]. Those without a vector count by their text."""
        refs: dict[Key, list[Ref]] = {}
        rows: dict[Key, list[int]] = {}
        for place, (ref, item) in enumerate(items):
            self._texts.setdefault(text_key(item), ref)
            if vectors is not None and np.isfinite(vectors[place, 0]):
                key = self._key(item)
                refs.setdefault(key, []).append(ref)
                rows.setdefault(key, []).append(place)
        if vectors is not None:
            for key, places in rows.items():
                self._extend(key, refs[key], vectors[places])

    def look(self, items: Sequence[Content], vectors: Vectors | None) -> Look:
        """What each of these is near to; shape [items, dimensions]. Takes processor time, changes nothing."""
        texts = [text_key(item) for item in items]
        if vectors is None or not self.needs_vectors:
            return Look(self, items, texts, None)
        keys = [self._key(item) for item in items]
        groups: dict[Key, list[int]] = {}
        for place, key in enumerate(keys):
            groups.setdefault(key, []).append(place)
        look = Look(self, items, texts, vectors, keys)
        for key, places in groups.items():
            self._look(look, key, places)
        return look

    def _look(self, look: Look, key: Key, places: Sequence[int]) -> None:
        assert look.vectors is not None
        queries = look.vectors[places]
        if (bucket := self._buckets.get(key)) is not None:
            found = bucket.index.nearest(queries, self.threshold)
            for place, row, near in zip(
                places, found.rows.tolist(), found.similarities.tolist(), strict=True
            ):
                if row >= 0:
                    look.outside[place] = Match(bucket.refs[row], near)
        if len(places) > 1:
            later, earlier = np.nonzero(np.tril(queries @ queries.T >= self.threshold - 1e-4, -1))
            exact = similarity(queries[later], queries[earlier])
            near = exact >= self.threshold
            for one, other, value in zip(later[near], earlier[near], exact[near].tolist(), strict=True):
                look.inside.setdefault(places[one], []).append((places[other], value))

    def take(self, look: Look, refs: Sequence[Ref]) -> None:
        """Remember what was taken of a look; `refs` name its items."""
        places = look.taken
        chosen = [(refs[place], look.items[place]) for place in places]
        self.add(chosen, look.vectors[places] if look.vectors is not None and places else None)

    def _extend(self, key: Key, refs: Sequence[Ref], vectors: Vectors) -> None:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(Exact(vectors.shape[1]))
        bucket.index.add(vectors)
        bucket.refs.extend(refs)
        index = bucket.index
        wanted = self._policy == "ivf" and len(index) >= IVF_FROM
        if isinstance(index, Exact) and (wanted or (self._policy == "auto" and len(index) > EXACT_UP_TO)):
            bucket.index = Ivf(vectors.shape[1], index.vectors)

    def policy(self) -> str:
        """Which index is in use, for the report."""
        approximate = any(isinstance(bucket.index, Ivf) for bucket in self._buckets.values())
        return "ivf" if approximate else "exact"


@dataclass
class Look:
    """What a micro-batch's items are near to. Mutable: `taken`, and the texts of what was taken."""

    duplicates: Duplicates
    items: Sequence[Content]
    texts: Sequence[Key]
    vectors: Vectors | None
    keys: Sequence[Key] = ()
    outside: dict[int, Match] = field(default_factory=dict)
    """By place in the batch: the nearest of what was accepted before it."""
    inside: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    """By place: earlier places of the batch that are near enough, and how near."""
    taken: list[int] = field(default_factory=list)
    _taken: set[int] = field(default_factory=set)
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
            if earlier in self._taken and (best is None or near > best.similarity):
                best = Match(refs[earlier], near)
        return best

    def take(self, place: int) -> None:
        """The item is accepted: later ones of the batch are compared with it too."""
        self.taken.append(place)
        self._taken.add(place)
        self._texts.setdefault(self.texts[place], place)

"""Passages that say the same: equal texts, and near-duplicates, such as those of two versions of one manual.

Each passage is a vector of its runs of three words, hashed into few dimensions (feature hashing; Weinberger et al.,
2009, with signs), so that the index of the group check finds candidates without a model; what it finds is decided by
the share of runs that both have (Jaccard, as Broder, 1997). Meaning is no measure here: two passages about one thing
may well say different things of it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.diversity.duplicates import Duplicates

DIMENSIONS = 192
CANDIDATE = 0.72
"""Cosine of the hashed vectors, whose error is about 0.07."""
SAME = 0.8
"""The share of all runs of words of two passages that both have."""
_RUN = 3
_WORD = re.compile(r"[^\W_]+")
_TOGETHER = 256


@dataclass(frozen=True)
class _Text:
    """A passage as the group check compares it."""

    text: str
    label: None = None
    choices: tuple[str, ...] = ()
    parts: tuple[()] = ()


class Alike:
    """Finds, for each passage, the first one before it that says the same. Mutable state: the index, what waits."""

    def __init__(self, text_of: Callable[[int], str]) -> None:
        """`text_of` gives the text of an earlier passage, by number."""
        self._text_of = text_of
        self._duplicates = Duplicates("meaning", CANDIDATE)

    def same(self, texts: Sequence[tuple[int, str]]) -> list[int | None]:
        """For each of these passages, which are new and in order: the number of the one that it repeats, if any."""
        found: list[int | None] = []
        for begin in range(0, len(texts), _TOGETHER):
            found += self._some(texts[begin : begin + _TOGETHER])
        return found

    def _some(self, texts: Sequence[tuple[int, str]]) -> list[int | None]:
        runs = [_runs(text) for _, text in texts]
        vectors = np.stack([_vector(each) for each in runs])
        refs = [number for number, _ in texts]
        inside = {number: place for place, number in enumerate(refs)}
        comparison = self._duplicates.compare([_Text(text) for _, text in texts], vectors)
        found: list[int | None] = []
        for place in range(len(texts)):
            match = comparison.same_text(place, refs)
            if match is None and (near := comparison.nearest(place, refs)) is not None:
                other = runs[inside[near.ref]] if near.ref in inside else _runs(self._text_of(near.ref))
                match = near if _jaccard(runs[place], other) >= SAME else None
            if match is None:
                comparison.accept(place)
            found.append(None if match is None else match.ref)
        self._duplicates.add_accepted(comparison, refs)
        return found


def _runs(text: str) -> frozenset[int]:
    """Digests of its runs of words; of single characters where a script has no blanks between words."""
    words = _WORD.findall(text.casefold())
    if sum(map(len, words)) > 12 * len(words):
        words = [char for word in words for char in word]
    if len(words) < _RUN:
        return frozenset(zlib.crc32(word.encode()) for word in words)
    return frozenset(
        zlib.crc32(" ".join(words[place : place + _RUN]).encode()) for place in range(len(words) - _RUN + 1)
    )


def _vector(runs: frozenset[int]) -> np.ndarray:
    digests = np.fromiter(runs, np.uint32, len(runs))
    signs = np.where(digests & 1, 1.0, -1.0)
    vector = np.bincount((digests >> 1) % DIMENSIONS, signs, DIMENSIONS).astype(np.float32)
    length = float(np.linalg.norm(vector))
    return vector / length if length else np.full(DIMENSIONS, np.nan, np.float32)


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    both = len(one & other)
    return both / (len(one) + len(other) - both) if both else 0.0

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
import numpy.typing as npt

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
    """A passage as the group check compares it: by a digest of its words."""

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
        comparison = self._duplicates.compare([_Text(each.tobytes().hex()) for each in runs], vectors)
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


class _Digests(dict[str, int]):
    """Of words, each computed once. Mutable."""

    def __missing__(self, word: str) -> int:
        digest = self[word] = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        return digest


_DIGESTS = _Digests()
_MOST_WORDS = 500_000
_MIXED = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
"""Odd numbers by which the words of a run are weighed, so that their order counts."""


def _runs(text: str) -> npt.NDArray[np.uint64]:
    """Digests of its runs of words, ascending; of single characters where a script has no blanks between words."""
    words = _WORD.findall(text.casefold())
    if sum(map(len, words)) > 12 * len(words):
        words = [char for word in words for char in word]
    if len(_DIGESTS) > _MOST_WORDS:
        _DIGESTS.clear()
    digests = np.array([_DIGESTS[word] for word in words], np.uint64)
    if len(digests) < _RUN:
        return np.unique(digests)
    count = len(digests) - _RUN + 1
    mixed = sum((digests[place : place + count] * _MIXED[place] for place in range(_RUN)), np.uint64(0))
    return np.unique(np.asarray(mixed) >> np.uint64(16))


def _vector(runs: npt.NDArray[np.uint64]) -> npt.NDArray[np.float32]:
    signs = np.where(runs & np.uint64(1), 1.0, -1.0)
    places = ((runs >> np.uint64(1)) % np.uint64(DIMENSIONS)).astype(np.int64)
    vector = np.bincount(places, signs, DIMENSIONS).astype(np.float32)
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else np.full(DIMENSIONS, np.nan, np.float32)


def _jaccard(one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both) if both else 0.0

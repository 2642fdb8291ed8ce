"""Measures how much of a dataset occurs in another: whole texts, shared word runs, nearest neighbours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from engine.protocols import Vectors

N = 13
"""The length in words of a run that counts as copied (Brown et al., 2020, appendix C)."""
CLOSE = (0.9, 0.95, 0.99)
"""Cosines from which on items are counted as close."""
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """The text's words in lower case, without punctuation."""
    return _WORD.findall(text.casefold())


def shared_runs(texts: Sequence[str], base: Iterable[str], n: int = N) -> tuple[list[bool], int]:
    """Which texts share a run of `n` words with any text of the base, and how many are too short to have one.

    A text shorter than `n` words counts if the base contains exactly it. Runs are compared by 64-bit hashes.
    """
    known: set[int] = set()
    for text in base:
        known.update(runs(words_of(text), n))
    shares, short = list[bool](), 0
    for text in texts:
        words = words_of(text)
        short += len(words) < n
        shares.append(any(run in known for run in runs(words, n)))
    return shares, short


def runs(words: Sequence[str], n: int = N) -> Iterator[int]:
    """Hashes of the runs of `n` words; a shorter text is one run."""
    if len(words) < n:
        if words:
            yield hash(("short", *words))
        return
    for start in range(len(words) - n + 1):
        yield hash(tuple(words[start : start + n]))


def same_texts(texts: Iterable[str], base: Iterable[str]) -> int:
    """The number of texts that also occur in the base, ignoring case, spacing and punctuation."""
    known = {tuple(words_of(text)) for text in base}
    return sum(tuple(words_of(text)) in known for text in texts)


def repeated(texts: Sequence[str]) -> int:
    """The number of texts that repeat an earlier one, ignoring case, spacing and punctuation."""
    return len(texts) - len({tuple(words_of(text)) for text in texts})


def contamination(texts: Sequence[str], base: Sequence[str], nearest: Vectors | None) -> dict[str, Any]:
    """Shares of the items. `nearest`: cosines to the nearest neighbours in the base, if there are vectors."""
    runs, short = shared_runs(texts, base)
    result: dict[str, Any] = {
        "exact": _share(same_texts(texts, base), len(texts)),
        f"ngram_{N}": _share(sum(runs), len(texts)),
        f"shorter_than_{N}_words": short,
    }
    if nearest is not None:
        result["close"] = close(nearest)
    return result


def close(nearest: Vectors) -> dict[str, float]:
    """By cosine: the share of the items whose nearest neighbour has at least that cosine."""
    return {f"{cosine:g}": _share(int(np.count_nonzero(nearest >= cosine)), len(nearest)) for cosine in CLOSE}


def _share(count: int, of: int) -> float:
    return round(count / of, 5) if of else 0.0

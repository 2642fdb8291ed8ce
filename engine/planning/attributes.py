"""Attributes that guide generation: their values, and a walk that covers all combinations evenly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isqrt
from typing import Any

Cell = tuple[tuple[str, str], ...]
"""One combination of values: (name, value) of each attribute, in their order."""
_WHOLE = 1 << 64


def root(number: int) -> int:
    """The fractional part of a square root, in units of 2**-64."""
    return isqrt(number << 128) % _WHOLE


_GOLDEN = (root(5) + _WHOLE) // 2
"""(sqrt 5 - 1) / 2, in units of 2**-64."""
_IRRATIONALS = (_GOLDEN, *map(root, (2, 3, 7, 11, 13, 17, 19)))
"""Square roots have bounded partial quotients, and these roots are independent over the rationals, so the
points i * alpha fill the unit cube evenly (Kronecker's theorem)."""
MOST = len(_IRRATIONALS)
"""The most independent attributes in one run."""


@dataclass(frozen=True)
class Attribute:
    """A name and its weighted values; with `of`, separate values for each value of the other attribute."""

    name: str
    values: Mapping[str, Mapping[str, float]]
    """By the other attribute's value; under '' where there is no other attribute."""
    parent: str | None = None

    def given(self, parent: str) -> Mapping[str, float]:
        """The values for a value of the other attribute; empty where there are none for it."""
        return self.values.get(parent if self.parent is not None else "", {})

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "of": self.parent,
            "values": {key: dict(inner) for key, inner in self.values.items()},
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Attribute:
        return cls(state["name"], state["values"], state["of"])


class Cells:
    """Computes cell number i, for any i: the walk is a Kronecker sequence.

    Each independent attribute has a dimension of its own. A dependent attribute divides the interval of its
    parent's value further, so a whole family is covered as evenly as a single attribute: among any n
    consecutive cells, a combination of a family's values with weight w (its share) occurs n*w times, give
    or take 2*(3 + (1/log phi + K/log(K+1)) * log n), for partial quotients up to K (Kuipers and Niederreiter,
    Uniform Distribution of Sequences, theorem 2.3.4; doubled for an interval that wraps around the end).
    """

    def __init__(self, attributes: Sequence[Attribute], seed: int) -> None:
        """Raises ValueError for more independent attributes than there are dimensions."""
        self._attributes = attributes
        self._family = families(attributes)
        roots = list(dict.fromkeys(self._family.values()))
        if len(roots) > MOST:
            raise ValueError(f"{len(roots)} independent attributes; at most {MOST} can be covered evenly")
        self._steps = dict(zip(roots, _IRRATIONALS, strict=False))
        self._start = {
            root: (seed * 2 + 1) * factor % _WHOLE
            for root, factor in zip(roots, _IRRATIONALS[::-1], strict=False)
        }
        self._ends = {
            (attribute.name, parent): _ends(values)
            for attribute in attributes
            for parent, values in attribute.values.items()
            if values
        }

    def at(self, number: int) -> Cell:
        left = {
            root: (self._start[root] + (number + 1) * step) % _WHOLE / _WHOLE
            for root, step in self._steps.items()
        }
        chosen: dict[str, str] = {}
        for attribute in self._attributes:
            parent = chosen.get(attribute.parent, "") if attribute.parent is not None else ""
            if (ends := self._ends.get((attribute.name, parent))) is not None:
                root = self._family[attribute.name]
                chosen[attribute.name], left[root] = _part(ends, left[root])
        return tuple(chosen.items())


def families(attributes: Sequence[Attribute]) -> dict[str, str]:
    """For each attribute, the root of its chain of dependence; itself if it depends on no other."""
    roots: dict[str, str] = {}
    for attribute in attributes:
        roots[attribute.name] = roots.get(attribute.parent or "", attribute.name)
    return roots


def _ends(values: Mapping[str, float]) -> list[tuple[str, float]]:
    """Each value with the end of its part of [0, 1)."""
    whole = sum(values.values())
    return [(name, end / whole) for name, end in zip(values, accumulate(values.values()), strict=True)]


def _part(ends: Sequence[tuple[str, float]], point: float) -> tuple[str, float]:
    """The value whose part contains the point, and the position within that part, from 0 to 1."""
    begin = 0.0
    for name, end in ends[:-1]:
        if point < end:
            return name, (point - begin) / (end - begin)
        begin = end
    return ends[-1][0], min((point - begin) / (1.0 - begin), 1.0 - 2**-53)


def counted(values: Iterable[str], keep: int, *, even: bool, loosely: bool = False) -> dict[str, float]:
    """The `keep` most frequent values with their weights: 1 each, or their counts.

    Values that differ only in case and spacing are merged under their most frequent spelling; `loosely`: those of one
    word's number, hyphens, or British and American spelling, too.
    """
    folded = alike if loosely else str.casefold
    spellings: dict[str, Counter[str]] = {}
    for value in values:
        plain = " ".join(str(value).split())
        if plain:
            spellings.setdefault(folded(plain), Counter())[plain] += 1
    ranked = sorted(spellings.values(), key=lambda found: (-found.total(), min(found)))
    return {
        min(found, key=lambda name: (-found[name], name)): 1.0 if even else float(found.total())
        for found in ranked[:keep]
    }


def conditional(pairs: Iterable[tuple[str, str]], keep: int, *, even: bool) -> dict[str, dict[str, float]]:
    """`counted` for each value of another attribute; `pairs`: (the other's value, this attribute's value)."""
    by_parent: dict[str, list[str]] = {}
    for parent, value in pairs:
        by_parent.setdefault(" ".join(parent.split()), []).append(value)
    return {parent: counted(values, keep, even=even) for parent, values in by_parent.items()}


_SPELLINGS = (
    ("our", "or"),
    ("isation", "ization"),
    ("ise", "ize"),
    ("yse", "yze"),
    ("tre", "ter"),
    ("ogue", "og"),
)


def alike(value: str) -> str:
    """Equal for values that a model writes now so, now so: Fractions and fraction, colour and color, word-play."""
    return " ".join(map(_stem, value.casefold().replace("-", " ").replace("_", " ").split()))


def _stem(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        word = f"{word[:-3]}y"
    elif word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for british, american in _SPELLINGS:
        if word.endswith(british) and len(word) > len(british) + 1:
            return word.removesuffix(british) + american
    return word

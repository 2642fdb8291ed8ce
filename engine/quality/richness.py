"""How many more different items there are to be had, from how often those that came so far have come again.

Coverage by Good and Turing (Good, 1953); the number not seen yet by Chao (1984, bias-corrected), with the interval of
Chao (1987), on the logarithm of that number. It is a lower bound where some items come much more often than others, as
they do from language models: there are at least so many.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import exp, log, sqrt
from typing import Any

_Z95 = 1.959964


@dataclass(frozen=True)
class Richness:
    """`drawn` items, `distinct` of them different; of the others each said the same as one of these."""

    drawn: int
    distinct: int
    coverage: float
    """The share of what comes next that would say the same as an item that is there."""
    more: float | None
    """How many more different items there are; None where nothing has repeated yet, so that nothing bounds it."""
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, distinct: int, again: Iterable[int]) -> Richness:
        """`again`: for each item that came again, how often it did."""
        counts = list(again)
        drawn = distinct + sum(counts)
        once, twice = distinct - len(counts), sum(count == 1 for count in counts)
        if not counts:
            return cls(drawn, distinct, 0.0, None)
        coverage = 1 - once / drawn
        more = once * (once - 1) / (2 * (twice + 1))
        if twice:
            ratio = once / twice
            variance = twice * (ratio**2 / 2 + ratio**3 + ratio**4 / 4)
        else:
            variance = once * (once - 1) / 2 + once * (2 * once - 1) ** 2 / 4
            variance -= once**4 / (4 * max(1.0, distinct + more))
        if more <= 0:
            return cls(drawn, distinct, coverage, 0.0, 0.0, 0.0)
        spread = exp(_Z95 * sqrt(log(1 + max(0.0, variance) / more**2)))
        return cls(drawn, distinct, coverage, more, more / spread, more * spread)

    def as_dict(self) -> dict[str, Any]:
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def more_to_be_had(found: dict[str, Any]) -> str:
    """In words, for people: 'about 1,900 more different items are to be had here (1,400 to 2,600)'."""
    if found.get("more") is None:
        return "nothing has come twice yet: how many more different items are to be had here is open"
    more, low, high = (round(found[name]) for name in ("more", "low", "high"))
    return (
        f"about {more:,} more different items are to be had here ({low:,} to {high:,}), by how often the "
        f"{found['drawn']:,} so far have repeated themselves"
    )

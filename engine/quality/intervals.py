"""Intervals and tests for shares and their differences."""

from __future__ import annotations

from math import comb, sqrt
from statistics import NormalDist

Interval = tuple[float, float]
Z95 = NormalDist().inv_cdf(0.975)
_EXACT = 1_000
"""Discordant pairs up to which McNemar's test is exact."""


def wilson(right: float, of: float, z: float = Z95) -> Interval:
    """The score interval of a share (Wilson, 1927): where the true one lies with 95 %; (0, 1) of nothing."""
    if of == 0:
        return 0.0, 1.0
    share = right / of
    centre = share + z * z / (2 * of)
    reach = z * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    whole = 1 + z * z / of
    low, high = (centre - reach) / whole, (centre + reach) / whole
    return 0.0 if right == 0 else low, 1.0 if right == of else high  # exactly, whatever the rounding


def newcombe(right: int, of: int, right2: int, of2: int) -> Interval:
    """The interval of a difference of two independent shares, first less second (Newcombe, 1998, method 10)."""
    if of == 0 or of2 == 0:
        return -1.0, 1.0
    share, share2 = right / of, right2 / of2
    (low, high), (low2, high2) = wilson(right, of), wilson(right2, of2)
    between = share - share2
    return (
        max(-1.0, between - sqrt((share - low) ** 2 + (high2 - share2) ** 2)),
        min(1.0, between + sqrt((high - share) ** 2 + (share2 - low2) ** 2)),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The p-value for two models being equally good on the same items (McNemar, 1947), two-sided.

    By the items that one alone got right: exact binomial, or with the continuity correction beyond 1,000 of them.
    """
    of, fewer = only_first + only_second, min(only_first, only_second)
    if of == 0:
        return 1.0
    if of <= _EXACT:
        return min(1.0, float(2 * sum(comb(of, count) for count in range(fewer + 1)) / 2**of))
    z = (abs(only_first - only_second) - 1) / sqrt(of)
    return min(1.0, 2 * (1 - NormalDist().cdf(z)))

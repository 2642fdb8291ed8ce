"""What some people's answers on a few items say of all items, with the checks' verdicts as the proxy.

The sample is stratified: by what becomes of an item and how the checks have judged it. Within a stratum the estimate
is that of prediction-powered inference (Angelopoulos et al., 2023, arXiv 2301.09633, with the power tuning of
2311.01453): the mean of the proxy over all items, put right by the mean difference between truth and proxy on those
that a person has seen. The better the proxy, the narrower the interval; a bad one makes it no worse than none.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from engine.quality.intervals import wilson


@dataclass(frozen=True, slots=True)
class Seen:
    """An item as the estimate sees it. `proxy` is how sure the checks are that it is right, from 0 to 1."""

    number: int
    stratum: str
    accepted: bool
    proxy: float


def stratified(items: Iterable[Seen], count: int, seed: int) -> list[Seen]:
    """So many items, some of each stratum: by the square root of its size, so that rare patterns are seen, too.

    In an order in which any first part is such a sample, for whoever ends early.
    """
    groups: dict[str, list[Seen]] = {}
    for item in items:
        groups.setdefault(item.stratum, []).append(item)
    chance = random.Random(f"{seed}/sample")
    due: list[tuple[float, float, Seen]] = []
    for name in sorted(groups):
        group = groups[name]
        chance.shuffle(group)
        weight = math.sqrt(len(group))
        start = chance.random()
        due += [((place + start) / weight, chance.random(), item) for place, item in enumerate(group)]
    due.sort(key=lambda entry: entry[:2])
    return [item for _, _, item in due[:count]]


def estimated(items: Sequence[Seen], truth: Mapping[int, float]) -> dict[str, Any] | None:
    """The mean truth over all `items`, from that of those in `truth`; None where no stratum has been seen.

    Strata of which nobody has seen an item are joined with the others: what is known of those is taken for them.
    """
    groups: dict[str, list[Seen]] = {}
    for item in items:
        groups.setdefault(item.stratum, []).append(item)
    known = {name: [each for each in group if each.number in truth] for name, group in groups.items()}
    if sum(map(len, known.values())) == 0:
        return None
    unseen = [name for name in groups if not known[name]]
    if unseen:
        joined = [each for name in groups if len(known[name]) < 2 or name in unseen for each in groups[name]]
        kept = {name: group for name, group in groups.items() if len(known[name]) >= 2}
        groups = {**kept, "": joined} if any(each.number in truth for each in joined) else {"": list(items)}
    share = variance = 0.0
    seen = 0
    for group in groups.values():
        weight = len(group) / len(items)
        mean, its = _of_stratum(group, truth)
        share += weight * mean
        variance += weight * weight * its
        seen += sum(each.number in truth for each in group)
    share = min(1.0, max(0.0, share))
    smooth = (share * seen + 1) / (seen + 2)
    effective = smooth * (1 - smooth) / variance if variance > 0 else float(seen)
    low, high = wilson(share * effective, effective)
    return {
        "share": share,
        "low": low,
        "high": high,
        "seen": seen,
        "of": len(items),
        "worth": round(effective, 1),
    }


def _of_stratum(group: Sequence[Seen], truth: Mapping[int, float]) -> tuple[float, float]:
    """(mean, variance of that mean) of the truth in a stratum."""
    seen = [each for each in group if each.number in truth]
    count = len(seen)
    values = [truth[each.number] for each in seen]
    proxies = [each.proxy for each in seen]
    mean, middle = fmean(values), fmean(proxies)
    covariance = sum((y - mean) * (f - middle) for y, f in zip(values, proxies, strict=True)) / max(
        1, count - 1
    )
    spread = sum((f - middle) ** 2 for f in proxies) / max(1, count - 1)
    power = max(0.0, covariance / spread) if spread > 0 and count >= _ENOUGH else 0.0
    power *= len(group) / (len(group) + count)
    put_right = mean + power * (fmean(each.proxy for each in group) - middle)
    # Never nought: of five that are all right nobody knows that the sixth is (Agresti and Coull, 1998).
    smooth = (sum(values) + 1) / (count + 2)
    whole = smooth * (1 - smooth)
    left = whole
    if power:
        unexplained = whole - 2 * power * covariance + power * power * spread
        left = max(0.1 * whole, unexplained) * count / (count - 2)
    return put_right, left / count * (1 - count / len(group) if len(group) > count else 1e-9)


_ENOUGH = 8
"""Answers in a stratum from which the proxy's worth can be told at all."""


def kappa(pairs: Iterable[tuple[bool, bool, float]]) -> float | None:
    """Cohen's kappa (1960) of two judges, each pair with its weight; None where chance alone would agree wholly."""
    table = {(one, other): 0.0 for one in (True, False) for other in (True, False)}
    for one, other, weight in pairs:
        table[one, other] += weight
    whole = sum(table.values())
    if not whole:
        return None
    agree = (table[True, True] + table[False, False]) / whole
    first = (table[True, True] + table[True, False]) / whole
    second = (table[True, True] + table[False, True]) / whole
    by_chance = first * second + (1 - first) * (1 - second)
    return None if by_chance >= 1 else (agree - by_chance) / (1 - by_chance)

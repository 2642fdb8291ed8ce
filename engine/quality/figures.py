"""Figures with their 95 % interval: shares, and dollars for something.

Shares have Wilson's interval. Dollars for a catch or an accepted item are ratios of sums: theirs is a percentile
bootstrap over rows (Efron, 1979), since the cases of one row are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.quality.intervals import wilson

_RESAMPLES = 1_000
Figure = dict[str, Any]


def share(count: int, of: int) -> Figure:
    """A share with its interval, and the counts that it is from."""
    low, high = wilson(count, of)
    return {"share": count / of if of else None, "low": low, "high": high, "count": count, "of": of}


def ratio(parts: Sequence[tuple[int, float, float]], *, intervals: bool = True) -> Figure:
    """The sum of the first values over that of the second, by row, with its bootstrap interval; None of nothing."""
    above, below = sum(part[1] for part in parts), sum(part[2] for part in parts)
    if not below:
        return {"value": None, "low": None, "high": None}
    if not above:
        return {"value": 0.0, "low": 0.0, "high": 0.0}
    low, high = _bootstrapped(parts) if intervals else (None, None)
    return {"value": above / below, "low": low, "high": high}


def _bootstrapped(parts: Sequence[tuple[int, float, float]]) -> tuple[float | None, float | None]:
    import numpy as np

    rows: dict[int, list[float]] = {}
    for row, above, below in parts:
        sums = rows.setdefault(row, [0.0, 0.0])
        sums[0] += above
        sums[1] += below
    values = np.array(list(rows.values()))
    drawn = np.random.default_rng(0).multinomial(
        len(values), np.full(len(values), 1 / len(values)), _RESAMPLES
    )
    sums = drawn @ values
    ratios = sums[sums[:, 1] > 0]
    if len(ratios) < _RESAMPLES * 0.9:  # too few catches for an interval
        return None, None
    low, high = np.quantile(ratios[:, 0] / ratios[:, 1], [0.025, 0.975])
    return float(low), float(high)


def told(figure: Mapping[str, Any], digits: int = 2) -> str:
    """'0.91 (0.87 to 0.94)' of a share or a ratio; '-' of none."""
    value = figure.get("share", figure.get("value"))
    if value is None:
        return "-"
    if figure["low"] is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"

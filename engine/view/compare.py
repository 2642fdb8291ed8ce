"""Two runs side by side, or a run and its base dataset: figures, distributions, items only in one, settings."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from engine.dataset.base import BaseDataset
from engine.dataset.fields import Fields
from engine.dataset.forms import Example
from engine.diversity.sameness import text_key
from engine.errors import EngineError
from engine.items import item_id
from engine.quality.intervals import newcombe, wilson
from engine.report.page.charts import Bar, Bars
from engine.report.page.figures import lengths_figure
from engine.report.profile import profile_of
from engine.schema.values import loads
from engine.store.reading import read_accepted
from engine.view.opening import OpenRun

MOST = 50_000
"""Items of each side that are compared by their texts."""
BASE = "base dataset"
_SHOWN = 15
_LABELS = 15
_MEASURES = (
    ("APS", "aps", "lower is more diverse"), ("Vendi score", "vendi", "higher is more diverse"),
    ("INGF", "ingf", "lower is more diverse"), ("distinct bigrams", "distinct_2", "higher is more diverse"),
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One of the two. What is not known of it, such as a cost of a base dataset, is absent."""

    name: str
    address: str
    """Where its items are; '' for a base dataset."""
    items: int
    profile: Mapping[str, Any]
    report: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """A figure of both, and the difference, in words."""

    name: str
    one: str
    other: str
    difference: str = ""
    said: str = ""


@dataclass(frozen=True)
class Comparison:
    one: Side
    other: Side
    rows: Sequence[Row]
    charts: Sequence[tuple[str, Bars]]
    settings: Sequence[tuple[str, str, str]]
    """(key, value of the one, of the other), where they differ."""


@dataclass(frozen=True)
class Texts:
    """The texts of one of the two, as far as they are compared; the first of each that are the same."""

    name: str
    address: str
    by_key: Mapping[bytes, tuple[str, str]]
    """(id, text)."""
    partly: bool
    """Whether there are more."""


@dataclass(frozen=True)
class Overlap:
    """How many texts both have, how many only the one and only the other, and some of these: (id, text)."""

    common: int
    only: tuple[int, int]
    some: tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]


def side_of(
    run: OpenRun, items: int, report: Mapping[str, Any], attributes: Mapping[str, Mapping[str, int]]
) -> Side:
    """A run's accepted items, of which there are so many."""
    with run.reading() as connection:
        profile = profile_of(example for _, example in _accepted(connection, run.fields))
    settings = dict(_flat(run.config.without_secrets()))
    return Side(run.name, f"/r/{run.key}", items, profile, report, attributes, settings)


def base_of(run: OpenRun) -> Side:
    """Its base dataset, as far as it can be read from here."""
    try:
        examples = BaseDataset.load(run.config.dataset).examples
    except (EngineError, OSError) as error:
        return Side(BASE, "", 0, {}, problem=str(error))
    return Side(BASE, "", len(examples), profile_of(examples))


def texts_of(run: OpenRun) -> Texts:
    """The texts of a run's accepted items."""
    with run.reading() as connection:
        return _texts(run.name, f"/r/{run.key}", _accepted(connection, run.fields))


def texts_of_base(run: OpenRun) -> Texts:
    """The texts of its base dataset. Raises ConfigError, OSError if it cannot be read from here."""
    examples = BaseDataset.load(run.config.dataset).examples
    return _texts(BASE, "", ((f"row {each.number}", each) for each in examples))


def _accepted(connection: sqlite3.Connection, fields: Fields) -> Iterator[tuple[str, Example]]:
    for item, record, _ in read_accepted(connection):
        yield item_id(item), fields.remembered(loads(record))


def _texts(name: str, address: str, items: Iterator[tuple[str, Example]]) -> Texts:
    by_key: dict[bytes, tuple[str, str]] = {}
    for id_, example in islice(items, MOST):
        by_key.setdefault(text_key(example), (id_, example.text[:400]))
    return Texts(name, address, by_key, next(items, None) is not None)


def overlap(one: Texts, other: Texts) -> Overlap:
    """What both have, and what only one has."""
    common = one.by_key.keys() & other.by_key.keys()
    only = len(one.by_key) - len(common), len(other.by_key) - len(common)
    return Overlap(len(common), only, (_some(one, common), _some(other, common)))


def _some(texts: Texts, common: Set[bytes]) -> list[tuple[str, str]]:
    return list(islice((shown for key, shown in texts.by_key.items() if key not in common), _SHOWN))


def compare(one: Side, other: Side) -> Comparison:
    """What differs, but for the texts."""
    charts = [(title, chart) for title, chart in _charts(one, other) if chart is not None]
    differing = [
        (key, one.settings.get(key, "-"), other.settings.get(key, "-"))
        for key in dict.fromkeys([*one.settings, *other.settings])
        if one.settings.get(key) != other.settings.get(key)
    ]
    settings = differing if one.settings and other.settings else []
    return Comparison(one, other, list(_rows(one, other)), charts, settings)


# --- figures -----------------------------------------------------------------------------------------


def _rows(one: Side, other: Side) -> Iterator[Row]:
    yield Row("items", f"{one.items:,}", f"{other.items:,}", f"{other.items - one.items:+,}")
    counts = [side.report.get("items") for side in (one, other)]
    if all(counts):
        yield _shares("yield", [(c["accepted"], c["accepted"] + c["rejected"]) for c in counts if c])
    rights = [_right(side) for side in (one, other)]
    if any(rights):
        difference, said = _apart(rights)
        yield Row("labels right", _interval(rights[0]), _interval(rights[1]), difference, said)
    costs = [side.report.get("cost") for side in (one, other)]
    if all(costs):
        each = [c["per_accepted_usd"] for c in costs if c]
        times = f"{each[1] / each[0]:.2f} times" if all(each) else ""
        first, second = (
            f"${dollars:.6f}" if side.items else "-" for dollars, side in zip(each, (one, other), strict=True)
        )
        yield Row("dollars an accepted item", first, second, times)
        whole = [c["spent_usd"] for c in costs if c]
        yield Row("dollars in all", f"${whole[0]:.4f}", f"${whole[1]:.4f}", f"{whole[1] - whole[0]:+.4f}")
    yield Row("words, middle", _median(one), _median(other))
    measured = [(side.report.get("diversity") or {}).get("measures") or {} for side in (one, other)]
    for name, key, said in _MEASURES:
        values = [m.get(key) for m in measured]
        if all(isinstance(value, int | float) for value in values):
            numbers = [float(value) for value in values if value is not None]
            apart = f"{numbers[1] - numbers[0]:+.3g}"
            yield Row(name, f"{numbers[0]:.4g}", f"{numbers[1]:.4g}", apart, said)
    speeds = [(side.report.get("time") or {}).get("items_per_s") for side in (one, other)]
    if all(speeds):
        yield Row("items a second", f"{speeds[0]:.1f}", f"{speeds[1]:.1f}")


def _shares(name: str, counts: Sequence[tuple[int, int]]) -> Row:
    """Two shares, each with its 95 % interval (Wilson), and their difference with its own (Newcombe, 1998)."""
    (a, n), (b, m) = counts
    if not n or not m:
        return Row(name, "-", "-")
    low, high = newcombe(b, m, a, n)
    said = "" if low <= 0 <= high else "more than chance"
    shown = [f"{x / y:.1%} ({_bounds(wilson(x, y))})" for x, y in counts]
    return Row(name, shown[0], shown[1], f"{b / m - a / n:+.1%} ({low:+.1%} to {high:+.1%})", said)


def _bounds(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.1%} to {interval[1]:.1%}"


def _right(side: Side) -> Mapping[str, Any] | None:
    quality = side.report.get("quality") or {}
    found: Mapping[str, Any] | None = (quality.get("people") or {}).get("right") or quality.get(
        "labels_right"
    )
    return found


def _interval(each: Mapping[str, Any] | None) -> str:
    return "-" if each is None else f"{each['share']:.1%} ({each['low']:.1%} to {each['high']:.1%})"


def _apart(rights: Sequence[Mapping[str, Any] | None]) -> tuple[str, str]:
    one, other = rights
    if one is None or other is None:
        return "", ""
    away = one["high"] < other["low"] or other["high"] < one["low"]
    return f"{other['share'] - one['share']:+.1%}", "more than chance" if away else ""


def _median(side: Side) -> str:
    lengths = side.profile.get("lengths") or {}
    whole, so_far = sum(lengths.values()), 0
    for length, count in sorted(((int(k), v) for k, v in lengths.items())):
        so_far += count
        if so_far * 2 >= whole:
            return f"{length:,}"
    return "-"


# --- distributions -----------------------------------------------------------------------------------


def _charts(one: Side, other: Side) -> Iterator[tuple[str, Bars | None]]:
    if one.profile.get("items") and other.profile.get("items"):
        lengths = lengths_figure(other.profile, one.profile, other.name)
        yield "Length, words", lengths and _named(lengths, one.name, other.name)
        frequent = [Counter(side.profile.get("frequent") or {}) for side in (one, other)]
        if any(side.profile.get("labels") for side in (one, other)):
            yield "Labels", _of(frequent, [side.profile["items"] for side in (one, other)], one, other)
    for name in dict.fromkeys([*one.attributes, *other.attributes]):
        counts = [Counter(side.attributes.get(name, {})) for side in (one, other)]
        if all(counts):
            yield name, _of(counts, [max(1, each.total()) for each in counts], one, other)
    reasons = [_reasons(side) for side in (one, other)]
    if all(reasons):
        decided = [
            max(1, s.report["items"]["accepted"] + s.report["items"]["rejected"]) for s in (one, other)
        ]
        yield "Rejected, of all that were decided", _of(reasons, decided, one, other)


def _reasons(side: Side) -> Counter[str]:
    items = side.report.get("items") or {}
    return Counter(
        {
            f"{by}: {why}": n
            for by, reasons in (items.get("reasons") or {}).items()
            for why, n in reasons.items()
        }
    )


def _of(counts: Sequence[Counter[str]], wholes: Sequence[int], one: Side, other: Side) -> Bars | None:
    weight: Counter[str] = Counter()
    for counted, whole in zip(counts, wholes, strict=True):
        for name, count in counted.items():
            weight[name] = max(weight[name], math.ceil(1e6 * count / whole))
    names = [name for name, _ in weight.most_common(_LABELS)]
    if not names:
        return None
    series = [
        (side.name, kind, [_bar(counted[name], whole) for name in names])
        for side, kind, counted, whole in zip(
            (one, other), ("original", "accepted"), counts, wholes, strict=True
        )
    ]
    return Bars(names, series, "share of the items")


def _bar(count: int, whole: int) -> Bar:
    low, high = wilson(count, whole)
    return Bar(count / whole, low, high)


def _named(figure: Bars, one: str, other: str) -> Bars:
    names = iter((one, other))
    return Bars(figure.names, [(next(names), kind, bars) for _, kind, bars in figure.series], figure.y_title,
                figure.y_format, figure.x_title)  # fmt: skip


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)[:300]

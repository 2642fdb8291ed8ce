"""The figures of a run's page: which there are, from its plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.report.page.charts import Bar, Bars, Figure, Flow, Line, Lines, Step, dollars, percent, plain
from engine.report.page.documents import coverage_figure
from engine.report.page.page_data import FlowStep, PageData, Series
from engine.report.shape import Cost, Items, ReportData

_BINS = 40
_LABELS = 15
_CAP_IN_SIGHT = 3.0
"""A cap of so many times what was spent would press the curve to the floor: then it is only told."""
OTHER = "all others"
_TELLS_NOTHING = 0.8
"""Where so large a share of every side has none of the most frequent labels, they are answers, not classes."""


def figures(page_data: PageData) -> dict[str, Figure]:
    """The figures by their place on the page; a figure without data is left out."""
    report = page_data.report.data
    new = page_data.new
    drawn: dict[str, Figure | None] = {
        "flow": flow_figure(page_data.flow, report["items"]) if page_data.results is None else None,
        "throughput": throughput_figure(page_data.series),
        "in_flight": in_flight_figure(page_data.series),
        "spend": spend_figure(page_data.series, report["cost"]),
        "coverage": coverage_figure(report.get("documents")),
        "cost": cost_figure(report),
        "growth": growth_figure(report["growth"].get("points") or [], "new_per_100_calls"),
        "repeats": growth_figure(report["growth"].get("points") or [], "repeats"),
        "lengths": lengths_figure(page_data.accepted, page_data.original, new),
        "labels": labels_figure(page_data.accepted, page_data.original, new),
        "accuracy": accuracy_figure(page_data.results),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def flow_figure(steps: Sequence[FlowStep], items: Items) -> Flow | None:
    """From what was asked for through each step to what was accepted."""
    whole = items["accepted"] + items["rejected"] + items["surplus"]
    if not whole:
        return None
    shown = [Step(each.name, each.passed, each.revised, each.rejected) for each in steps]
    return Flow(shown, items["accepted"], items["surplus"], whole)


def throughput_figure(series: Series) -> Lines | None:
    return _over_time(
        series,
        "items",
        [("accepted", "accepted", series.accepted), ("rejected", "rejected", series.rejected)],
    )


def in_flight_figure(series: Series) -> Lines | None:
    return _over_time(series, "calls at once", [("calls in flight", "revised", series.in_flight)])


def spend_figure(series: Series, cost: Cost) -> Lines | None:
    if not cost["priced"] or not series.spent:
        return None
    curves: list[tuple[str, str, Sequence[float]]] = [("spent", "accepted", series.spent)]
    cap, note = cost["cap_usd"], ""
    if cap and cap <= _CAP_IN_SIGHT * max(series.spent[-1], 1e-12):
        curves.append(("cap", "rejected", [cap] * len(series.spent)))
    elif cap:
        note = f"The cap of ${cap:g} is far above."
    return _over_time(series, "US dollars", curves, note)


def _over_time(
    series: Series, title: str, curves: Sequence[tuple[str, str, Sequence[float]]], note: str = ""
) -> Lines | None:
    if len(series.seconds) < 2:
        return None
    unit, size = unit_of(series.seconds[-1])
    x = [round(second / size, 4) for second in series.seconds]
    lines = [Line(name, kind, x, values) for name, kind, values in curves]
    shown = dollars if title == "US dollars" else plain
    return Lines(lines, unit, title, shown, marks=[at / size for at in series.starts], note=note)


def unit_of(last: float) -> tuple[str, int]:
    """The unit that suits the length of the run, and its seconds."""
    return ("seconds", 1) if last < 180 else ("minutes", 60) if last < 3 * 3600 else ("hours", 3600)


def cost_figure(report: ReportData) -> Bars | None:
    """Dollars for each accepted item, by purpose."""
    accepted = report["items"]["accepted"]
    spent = {name: money for name, money in report["cost"]["by_purpose"].items() if money > 0}
    if not accepted or not spent:
        return None
    ordered = sorted(spent, key=lambda name: -spent[name])
    bars = [Bar(spent[name] / accepted) for name in ordered]
    each = [("for each accepted item", "accepted", bars)]
    return Bars(ordered, each, "US dollars", dollars, "purpose", lying=True)


def growth_figure(points: Sequence[Mapping[str, Any]], name: str) -> Lines | None:
    """New items in 100 calls, or the share of repeats, by how many items were accepted by then."""
    if len(points) < 2:
        return None
    sizes = [float(point["items"]) for point in points]
    title, kind, shown = {
        "new_per_100_calls": ("new items in 100 calls", "accepted", plain),
        "repeats": ("repeats", "rejected", percent),
    }[name]
    line = Line(title, kind, sizes, [float(point[name]) for point in points])
    return Lines([line], "accepted items", title, shown, logarithmic=True)


def lengths_figure(accepted: Mapping[str, Any], original: Mapping[str, Any] | None, new: str) -> Bars | None:
    """Shares of the texts by their number of words, in the same bins for both."""
    there = [
        (name, kind, profile)
        for name, kind, profile in (("original", "original", original), (new, "accepted", accepted))
        if profile and profile["items"]
    ]
    if not there:
        return None
    longest = max(int(length) for _, _, profile in there for length in profile["lengths"])
    width = max(1, -(-(longest + 1) // _BINS))
    bins = longest // width + 1
    series = []
    for name, kind, profile in there:
        shares = [0.0] * bins
        for length, count in profile["lengths"].items():
            shares[int(length) // width] += count / profile["items"]
        series.append((name, kind, [Bar(share) for share in shares]))
    names = [
        str(place) if width == 1 else f"{place * width}-{(place + 1) * width - 1}" for place in range(bins)
    ]
    return Bars(names, series, "share of the items", percent, "words")


def labels_figure(accepted: Mapping[str, Any], original: Mapping[str, Any] | None, new: str) -> Bars | None:
    """Shares of the items by label, where at least one side has few; what is not among the most frequent is one bar."""
    if not accepted or not accepted["items"]:
        return None
    sides = [("original", "original", original), (new, "accepted", accepted)]
    there = [(name, kind, profile) for name, kind, profile in sides if profile and profile["items"]]
    if not any(profile["labels"] for _, _, profile in there):
        return None
    counted = [(name, kind, profile, _counts(profile)) for name, kind, profile in there]
    frequent: dict[str, float] = {}
    for _, _, profile, counts in counted:
        for label, count in counts.items():
            frequent[label] = max(frequent.get(label, 0.0), count / profile["items"])
    names = sorted(sorted(frequent, key=lambda label: (-frequent[label], label))[:_LABELS])
    series = []
    for name, kind, profile, counts in counted:
        shares = [counts.get(label, 0) / profile["items"] for label in names]
        series.append((name, kind, [Bar(share) for share in [*shares, max(0.0, 1 - sum(shares))]]))
    if all(bars[-1].value > _TELLS_NOTHING for _, _, bars in series):
        return None
    rest = any(bars[-1].value > 0.0005 for _, _, bars in series)
    if not rest:
        series = [(name, kind, bars[:-1]) for name, kind, bars in series]
    return Bars([*names, *([OTHER] if rest else [])], series, "share of the items", percent, "label")


def _counts(profile: Mapping[str, Any]) -> Mapping[str, int]:
    counts: Mapping[str, int] = profile.get("frequent") or profile["labels"]
    return counts


def accuracy_figure(results: Mapping[str, Any] | None) -> Bars | None:
    """Accuracy with its interval: one group of bars for each model, one bar for each dataset."""
    if not results or not any(result["n"] for result in results["results"]):
        return None
    kinds = ("accepted", "revised", "original", "surplus", "rejected")
    datasets = list(dict.fromkeys(result["dataset"] for result in results["results"]))
    models = list(dict.fromkeys(result["model"] for result in results["results"]))
    series = []
    for place, dataset in enumerate(datasets):
        bars: list[Bar | None] = [None] * len(models)
        for row in results["results"]:
            if row["dataset"] == dataset and row["n"]:
                # While answers await a judge, the bar is what is sure, and its line leads to what may be.
                low, high = row["bounds"] if row["pending"] else row["interval"]
                sure = row["bounds"][0] if row["pending"] else row["accuracy"]
                bars[models.index(row["model"])] = Bar(sure, low, high)
        series.append((str(dataset), kinds[place % len(kinds)], bars))
    return Bars([str(model) for model in models], series, "accuracy", percent, "model", most=1.0)

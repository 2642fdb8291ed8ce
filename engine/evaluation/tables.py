"""An evaluation's results as tables for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.evaluation.shape import Result, Results
from engine.report.tables import Listing

_VALUES = 12
"""Most values of a breakdown that are shown; results.json has more."""


def listings(results: Results) -> Iterator[Listing]:
    """Accuracy; original against generated; models against one another; the breakdowns."""
    yield _accuracy(results)
    if results["differences"]:
        yield _differences(results)
    if results["comparisons"]:
        yield _comparisons(results)
    yield from _breakdowns(results)


def _accuracy(results: Results) -> Listing:
    heads = ("dataset", "model", "accuracy", "95 %", "n", "unanswered", "to judge", "solvability",
             "accuracy on solvable", "dollars")  # fmt: skip
    rows = []
    for result in results["results"]:
        solvability = result["solvability"]
        known = (
            f"{solvability['confirmed']:,} of {solvability['checked']:,}"
            if solvability["checked"]
            else "unknown"
        )
        on = solvability["on_confirmed"]
        rows.append(
            [
                result["dataset"],
                result["model"],
                _accuracy_of(result),
                interval(result["interval"]) if result["n"] and not result["pending"] else "-",
                f"{result['n']:,}",
                f"{result['unanswered']:,}",
                f"{result['pending']:,}",
                known,
                f"{share(on['accuracy'])} {interval(on['interval'])}" if on and on["n"] else "-",
                f"${result['cost_usd']:.4f}",
            ]
        )
    return Listing("Accuracy", "", heads, rows, 2, wide=True)


def _accuracy_of(result: Result) -> str:
    """The accuracy, or what it lies between while answers await a judge."""
    if not result["pending"]:
        return share(result["accuracy"])
    low, high = result["bounds"]
    waiting = result["pending"] / (result["n"] + result["pending"])
    return f"{share(low)} to {share(high)}; {share(waiting)} awaits datagen judge"


def _breakdowns(results: Results) -> Iterator[Listing]:
    for name in dict.fromkeys(name for result in results["results"] for name in result["by"]):
        rows = [
            [result["dataset"], result["model"], value or "-", share(counted["accuracy"]),
             interval(counted["interval"]), f"{counted['n']:,}"]
            for result in results["results"]
            for value, counted in list(result["by"].get(name, {}).items())[:_VALUES]
        ]  # fmt: skip
        yield Listing(
            f"By {name}", "", ("dataset", "model", name, "accuracy", "95 %", "n"), rows, 3, wide=True
        )


def _differences(results: Results) -> Listing:
    rows = []
    for each in results["differences"]:
        on = each.get("on_confirmed")
        rows.append(
            [
                each["model"],
                each["dataset"],
                each["against"],
                points(each["difference"]),
                interval(each["interval"], signed=True) if each["difference"] is not None else "-",
                points(on["difference"]) if on else "-",
                interval(on["interval"], signed=True) if on and on["difference"] is not None else "-",
            ]
        )
    heads = ("model", "dataset", "less", "difference", "95 %", "on solvable", "95 %")
    return Listing("Against the original, in percentage points", "", heads, rows, 3, wide=True)


def _comparisons(results: Results) -> Listing:
    rows = [
        [
            each["dataset"],
            *each["models"],
            f"{each['only_first']:,}",
            f"{each['only_second']:,}",
            f"{each['n']:,}",
            "-" if not each["n"] else f"{each['p']:.4f}" if each["p"] >= 0.0001 else "< 0.0001",
        ]
        for each in results["comparisons"]
    ]
    heads = ("dataset", "model", "against", "only the first right", "only the second", "n", "p")
    return Listing("Models on the same items (McNemar)", "", heads, rows, 3, wide=True)


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"


def interval(bounds: Any, *, signed: bool = False) -> str:
    low, high = bounds
    return f"{100 * low:+.1f} to {100 * high:+.1f}" if signed else f"{100 * low:.1f} to {100 * high:.1f}"

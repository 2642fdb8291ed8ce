"""An evaluation's results as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from engine.report.tables import text_table

if TYPE_CHECKING:
    from rich.table import Table


def result_tables(found: Mapping[str, Any]) -> Iterator[Table]:
    """Accuracy; the breakdowns; original against generated; models against one another."""
    yield _accuracy(found)
    yield from _breakdowns(found)
    if found["differences"]:
        yield _differences(found)
    if found["comparisons"]:
        yield _comparisons(found)


def pending(found: Mapping[str, Any]) -> int:
    """Answers that wait for a judge."""
    return sum(int(result["pending"]) for result in found["results"])


def _accuracy(found: Mapping[str, Any]) -> Table:
    columns = ("dataset", "model", "accuracy", "95 %", "n", "unanswered", "to judge", "solvability",
               "accuracy on solvable", "dollars")  # fmt: skip
    table = text_table(*columns)
    for result in found["results"]:
        solvability = result["solvability"]
        known = (
            f"{solvability['confirmed']:,} of {solvability['checked']:,}"
            if solvability["checked"]
            else "unknown"
        )
        on = solvability["on_confirmed"]
        table.add_row(
            result["dataset"],
            result["model"],
            share(result["accuracy"]),
            interval(result["interval"]) if result["n"] else "-",
            f"{result['n']:,}",
            f"{result['unanswered']:,}",
            f"{result['pending']:,}",
            known,
            f"{share(on['accuracy'])} {interval(on['interval'])}" if on and on["n"] else "-",
            f"${result['cost_usd']:.4f}",
        )
    table.title, table.title_justify = "Accuracy", "left"
    return table


def _breakdowns(found: Mapping[str, Any]) -> Iterator[Table]:
    names = list(dict.fromkeys(name for result in found["results"] for name in result["by"]))
    for name in names:
        table = text_table("dataset", "model", name, "accuracy", "95 %", "n")
        for result in found["results"]:
            for value, counted in list(result["by"].get(name, {}).items())[:_VALUES]:
                cells = share(counted["accuracy"]), interval(counted["interval"]), f"{counted['n']:,}"
                table.add_row(result["dataset"], result["model"], value or "-", *cells)
        table.title, table.title_justify = f"By {name}", "left"
        yield table


_VALUES = 12
"""Of a breakdown, what is printed; results.json has more."""


def _differences(found: Mapping[str, Any]) -> Table:
    table = text_table("model", "dataset", "less", "difference", "95 %", "on solvable", "95 %")
    for each in found["differences"]:
        on = each.get("on_confirmed")
        table.add_row(
            each["model"], each["dataset"], each["against"],
            points(each["difference"]), interval(each["interval"], signed=True),
            points(on["difference"]) if on else "-", interval(on["interval"], signed=True) if on else "-",
        )  # fmt: skip
    table.title, table.title_justify = "Against the original, in percentage points", "left"
    return table


def _comparisons(found: Mapping[str, Any]) -> Table:
    table = text_table("dataset", "model", "against", "only the first right", "only the second", "n", "p")
    for each in found["comparisons"]:
        first, second = each["models"]
        table.add_row(
            each["dataset"], first, second, f"{each['only_first']:,}", f"{each['only_second']:,}", f"{each['n']:,}",
            f"{each['p']:.4f}" if each["p"] >= 0.0001 else "< 0.0001",
        )  # fmt: skip
    table.title, table.title_justify = "Models on the same items (McNemar)", "left"
    return table


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"


def interval(bounds: Any, *, signed: bool = False) -> str:
    low, high = bounds
    return f"{100 * low:+.1f} to {100 * high:+.1f}" if signed else f"{100 * low:.1f} to {100 * high:.1f}"

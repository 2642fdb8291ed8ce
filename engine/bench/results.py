"""The results of a sweep: a table, JSON, and a plot."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from engine.bench.sweep import Bench, Level, knee, quantiles
from engine.errors import ConfigError
from engine.files.writing import replacing
from engine.report.tables import text_table

if TYPE_CHECKING:
    from rich.table import Table


def levels_table(levels: Sequence[Level]) -> Table:
    """One row for each tested concurrency."""
    table = text_table(
        "at once", "calls", "calls/s", "tokens/s", "p50 s", "p95 s", "p99 s", "first token p50 s", "failed"
    )
    best = knee(levels)
    for level in levels:
        latency, first = quantiles(level.latencies) or {}, quantiles(level.first_tokens) or {}
        failed = ", ".join(f"{kind} {count:,}" for kind, count in level.errors.items())
        table.add_row(
            f"{level.concurrency:,}{' *' if level is best else ''}",
            f"{level.calls:,}",
            f"{level.calls_per_s:.2f}",
            f"{level.tokens_per_s:,.0f}",
            *(f"{latency[name]:.2f}" if latency else "-" for name in ("p50", "p95", "p99")),
            f"{first['p50']:.2f}" if first else "-",
            f"{failed} of {level.calls:,}" if failed else "0",
        )
    if best is not None:
        table.caption = "* the least that brings nine tenths of the best throughput"
    return table


def summary(bench: Bench, levels: Sequence[Level], model: str) -> dict[str, Any]:
    """The content of bench.json."""
    best, limits = knee(levels), bench.announced
    return {
        "model": model,
        "knee": best.concurrency if best is not None else None,
        "calls": sum(level.calls for level in levels),
        "spent_usd": bench.spent_usd,
        "announced_per_minute": (
            None if limits is None else {"requests": limits.requests, "tokens": limits.tokens}
        ),
        "ended": bench.ended,
        "levels": [level.as_dict() for level in levels],
    }


def advice(bench: Bench, found: Mapping[str, Any], folder: Path | None) -> list[str]:
    """Sentences for the user. `folder` is where the result was written, if anywhere."""
    told = [f"{found['calls']:,} calls, ${found['spent_usd']:.4f}. Ended: {found['ended']}."]
    if (limits := bench.announced) is not None:
        kinds = (("requests", limits.requests), ("tokens", limits.tokens))
        said = ", ".join(f"{value:,.0f} {kind} per minute" for kind, value in kinds if value is not None)
        told.append(f"The endpoint announces {said}.")
    if found["knee"] is None:
        told.append("Nothing was answered: see the failures, and `datagen check`.")
    else:
        told.append(f"Worth it: limits.concurrency: {found['knee']}.")
    if folder is not None:
        told.append(f"Result: {folder / 'bench.json'}   Plot: {folder / 'bench.svg'}")
    return told


def prepare(folder: Path) -> None:
    """Creates the folder before anything is spent. Raises ConfigError if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"-o {folder}: cannot be written: {error.strerror or error}") from None


def write(folder: Path, bench: Mapping[str, Any], levels: Sequence[Level]) -> None:
    """Writes bench.json and bench.svg. Raises StoreError."""
    with replacing(folder / "bench.json") as file:
        file.write(orjson.dumps(bench, option=orjson.OPT_INDENT_2).decode() + "\n")
    with replacing(folder / "bench.svg") as file:
        file.write(plot(levels, str(bench["model"])))


def plot(levels: Sequence[Level], model: str) -> str:
    """Throughput, and latency on a second axis, over concurrency; a self-contained SVG."""
    import pygal
    from pygal.style import Style

    # pygal adds an import finder, used only for its plugins, about which Python warns.
    sys.meta_path[:] = [each for each in sys.meta_path if type(each).__name__ != "PluginImportFixer"]

    colours = ("#1f6fb2", "#b2541f", "#d9a441")
    chart: Any = pygal.Line(
        js=[],
        title=model,
        x_title="calls at once",
        y_title="calls per second",
        style=Style(
            background="#ffffff", plot_background="#ffffff", colors=colours, font_family="sans-serif"
        ),
        width=900,
        height=520,
        legend_at_bottom=True,
        show_minor_x_labels=True,
        formatter=lambda value: f"{value:.3g}",
    )
    chart.x_labels = [f"{level.concurrency:,}" for level in levels]
    chart.add("calls per second", [round(level.calls_per_s, 3) for level in levels])
    for name in ("p50", "p95"):
        values = [(quantiles(level.latencies) or {}).get(name) for level in levels]
        chart.add(f"{name}, seconds", values, secondary=True, stroke_style={"dasharray": "4, 4"})
    chart.add_xml_filter(_without_scripts)
    return str(chart.render(is_unicode=True))


def _without_scripts(root: Any) -> Any:
    """Removes scripts: the plot is static, and its interactive parts would need external scripts."""
    for parent in list(root.iter()):
        for child in list(parent):
            if str(child.tag).rpartition("}")[2] == "script":
                parent.remove(child)
    return root

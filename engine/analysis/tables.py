"""Builds the tables and lines that the commands print about datasets: measures, thresholds, duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from engine.report.tables import text_table

if TYPE_CHECKING:
    from rich.table import Table

    from engine.analysis.duplicates import NearDuplicates
    from engine.diversity.calibration import Confusion


def metrics_tables(found: Any) -> Iterator[Table]:
    """Measures as rows, datasets as columns; sampled measures are marked."""
    datasets = found["datasets"]
    table = text_table("measure", *datasets)
    flat = {name: dict(_flat(measured)) for name, measured in datasets.items()}
    for measure in dict.fromkeys(key for measured in flat.values() for key in measured):
        table.add_row(measure, *(str(measured.get(measure, "")) for measured in flat.values()))
    yield table
    if (equal := found.get("at_equal_size")) is not None:
        table = text_table(f"at {equal['items']:,} items", *datasets)
        for measure in equal[next(iter(datasets))]:
            table.add_row(measure, *(_with_deviation(equal[name][measure]) for name in datasets))
        table.caption = f"Mean and standard deviation over {equal['draws']} subsamples."
        yield table


def _flat(found: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if name == "self_bleu":
        sampled = f" +- {found['half_width']} ({found['items']} items, seed {found['seed']})"
        yield name, f"{found['score']}{sampled if found['half_width'] else ''}"
    elif isinstance(found, dict):
        for key, value in found.items():
            yield from _flat(value, f"{name} {key}".strip())
    else:
        yield name, found


def _with_deviation(figure: Any) -> str:
    return f"{figure['mean']:g}" + (f" +- {figure['deviation']:.2g}" if figure["deviation"] else "")


def calibration_tables(confusions: Sequence[Confusion]) -> Iterator[Table]:
    """Thresholds as columns; the share of each kind of row that is flagged as the same."""
    from engine.diversity.calibration import CAUGHT, FALSE_ALARMS, THRESHOLDS

    for confusion in confusions:
        table = text_table(f"same: {confusion.same}", *(f"{threshold:.2f}" for threshold in THRESHOLDS))
        for name, shares in confusion.rows.items():
            table.add_row(name, *(f"{share:.3f}" for share in shares))
        table.caption = (
            f"Proposed: threshold {confusion.proposed:g}. Among those that flag at most {FALSE_ALARMS:.0%} "
            f"of different rows: the highest that catches {CAUGHT:.0%} of reworded rows, or else the lowest."
        )
        yield table


def duplicates_lines(duplicates: NearDuplicates, shown: int = 20) -> Iterator[str]:
    """Lists the rows that say the same as another, and counts them."""
    for row, match in list(duplicates.matches.items())[:shown]:
        other = f"row {-match.ref} of the base dataset" if match.ref < 0 else f"row {match.ref}"
        how = "has the text" if match.by_text else f"says the same (similarity {match.similarity:.3f})"
        yield f"row {row} {how} of {other}" if match.by_text else f"row {row} {how} as {other}"
    if len(duplicates.matches) > shown:
        yield f"... and {len(duplicates.matches) - shown:,} more (--json lists all)"
    for row, why in list(duplicates.unreadable.items())[:3]:
        yield f"row {row} is no item and is left out: {why}"
    if len(duplicates.unreadable) > 3:
        yield f"... and {len(duplicates.unreadable) - 3:,} more that are no items"
    yield (
        f"{len(duplicates.matches):,} of {duplicates.rows:,} rows say the same as another "
        f"(same: {duplicates.same}, threshold {duplicates.threshold:g})."
    )

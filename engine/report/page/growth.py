"""The page's tables of how a run has grown, and of the paper's own figures beside the run's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.quality.figures import told
from engine.quality.richness import more_to_be_had
from engine.report.growth import DRAWN
from engine.report.shape import ReportData
from engine.report.tables import Listing

_COLUMNS = (
    ("new items in 100 calls", "new_per_100_calls", "{:.0f}"),
    ("repeats", "repeats", "{:.1%}"),
    ("dollars an accepted item", "usd_per_accepted", "${:.6f}"),
    ("remote-clique", "remote_clique", "{:.3f}"),
    ("APS", "aps", "{:.3f}"),
    ("Vendi", "vendi", "{:.1f}"),
    ("self-BLEU", "self_bleu", "{:.1f}"),
    ("distinct bigrams", "distinct_2", "{:.3f}"),
)


def growth_tables(report: ReportData) -> Iterator[Listing]:
    """How the run has grown; what the paper found, where the two can be compared."""
    growth = report["growth"]
    points = growth.get("points") or []
    if points:
        columns = [each for each in _COLUMNS if any(point.get(each[1]) is not None for point in points)]
        rows = [
            [f"{point['items']:,}", *(_cell(point.get(name), form) for _, name, form in columns)]
            for point in points
        ]
        more = more_to_be_had(growth["richness"])
        said = (
            f"{more[:1].upper()}{more[1:]}. New items, repeats, dollars: of the items since the size before; repeats "
            f"are those of the items that pass all else. Diversity: of {DRAWN} items drawn from all so far, since the "
            "measures move with their number."
        )
        yield Listing("As it grew", said, ["accepted", *(head for head, _, _ in columns)], rows, 0, wide=True)
    if report["mode"] == "run":
        yield _beside_the_paper(report)


def _cell(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)


def _beside_the_paper(report: ReportData) -> Listing:
    """The figures of arXiv 2406.18966 that this run has, too."""
    measures = report["diversity"].get("measures") or {}
    clique = (measures.get("remote_clique") or {}).get("paper")
    right = report["quality"].get("labels_right")
    cost, facts = report["cost"], report["validators"].get("facts")
    reviewed = report["validators"].get("reflection")
    reviews = reviewed.get("better") if reviewed else None
    each = f"${cost['per_accepted_usd']:.6f}" if cost["priced"] else "unknown"
    each = each if report["items"]["accepted"] else "-"
    corrected = f"{facts['revised'] / facts['seen']:.1%}" if facts and facts["seen"] else "-"
    rows = [
        ["remote-clique", "0.695 raw, 0.735 with attributes, 0.743 group-checked", _cell(clique, "{:.3f}"),
         "only with the same embedding model, and as many items"],
        ["right labels", "44 % raw, 92 % by programs", told(right) if right else "-", "by a calibration; other data"],
        ["facts corrected", "4.2 %", corrected, "other data, another wiki's state"],
        ["revised items better than before", "over 80 %", _cell(reviews, "{:.0%}"), "by a model's word in both"],
        ["dollars an item", "at most $0.20", each, "yes; prices have changed"],
    ]  # fmt: skip
    said = "Of arXiv 2406.18966, from 226 items at most and GPT-4 of 2024."
    return Listing(
        "Beside the paper's own figures",
        said,
        ["figure", "paper", "this run", "comparable"],
        rows,
        4,
        wide=True,
    )

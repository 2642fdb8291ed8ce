"""The page's table of workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from engine.report.shape import WorkersSection
from engine.report.tables import Listing

_COUNTED: tuple[Literal["items", "calls", "items_per_s"], ...] = ("items", "calls", "items_per_s")


def worker_tables(section: WorkersSection | None) -> Iterator[Listing]:
    """For the page."""
    if section is None:
        return
    rows = [
        [each["name"], each["where"], each["left"], *(f"{each[name]:,}" for name in _COUNTED)]
        for each in section["workers"]
    ]
    said = f"{section['joined']:,} joined in start {section['start']}."
    if section["late_calls"]:
        said += (
            f" {section['late_calls']:,} answers came from workers that had been given up, and cost "
            f"${section['late_usd']:.4f}; they are not used, and counted as spent at their worst."
        )
    heads = ["worker", "where", "why it left", "items", "calls", "items a second"]
    yield Listing("Workers", said, heads, rows, numbers=3, wide=True)

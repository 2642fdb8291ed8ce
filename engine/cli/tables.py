"""The table that `datagen plan` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.report.formatting import duration
from engine.report.tables import text_table

if TYPE_CHECKING:
    from rich.table import Table

    from engine.runs.estimate import Estimate


def plan_table(estimates: Sequence[Estimate], cap: float | None) -> Table:
    """One row for each assumed acceptance."""
    table = text_table("accepted", "calls", "prompt tokens", "completion tokens", "dollars", "time")
    for found in estimates:
        dollars = "unknown" if found.dollars is None else f"${found.dollars:.2f}"
        if cap is not None and found.dollars is not None and found.dollars > cap:
            dollars += f" (stops at ${cap:g})"
        table.add_row(
            f"{found.acceptance:.0%}",
            f"{found.calls:,}",
            f"{found.prompt_tokens:,}",
            f"{found.completion_tokens:,}",
            dollars,
            duration(found.seconds),
        )
    table.caption = "Estimates: 4 characters a token, 60 tokens a second and call; item calls only."
    return table

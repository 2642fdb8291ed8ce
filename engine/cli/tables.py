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
    for estimate in estimates:
        dollars = "unknown" if estimate.dollars is None else f"${estimate.dollars:.2f}"
        if cap is not None and estimate.dollars is not None and estimate.dollars > cap:
            dollars += f" (stops at ${cap:g})"
        table.add_row(
            f"{estimate.acceptance:.0%}",
            f"{estimate.calls:,}",
            f"{estimate.prompt_tokens:,}",
            f"{estimate.completion_tokens:,}",
            dollars,
            duration(estimate.seconds),
        )
    table.caption = "Estimates: 4 characters a token, 60 tokens a second and call; item calls only."
    return table

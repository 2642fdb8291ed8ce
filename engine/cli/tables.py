"""The table that `datagen plan` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.report.formatting import duration
from engine.report.tables import text_table

if TYPE_CHECKING:
    from rich.table import Table

    from engine.runs.estimate import Plan, Range


def plan_table(plan: Plan) -> Table:
    """One row for each step of the run; ranges are at least, likely, at most."""
    table = text_table("", "asks for", "calls", "prompt tokens", "completion tokens", "dollars")
    for step in plan.steps:
        table.add_row(
            step.name,
            step.purposes,
            _counted(step.calls),
            _likely(step.prompt_tokens),
            _likely(step.completion_tokens),
            _dollars(step.dollars),
        )
    table.add_row("in all", "", _counted(plan.calls), "", "", _dollars(plan.dollars))
    return table


def plan_lines(plan: Plan, cap: float | None) -> list[str]:
    """What the table rests on, and what stands beside it."""
    kept, seconds = plan.acceptance, plan.seconds
    said = [
        f"{plan.left:,} items: of {_counted(plan.items)} asked for, {kept.likely:.0%} accepted ({kept.low:.0%} to "
        f"{kept.high:.0%}); {duration(seconds.likely)} ({duration(seconds.low)} to {duration(seconds.high)}).",
        f"These figures are {plan.said}; 4 characters a token, 60 tokens a second, calls that fail not counted.",
    ]
    if cap is not None and plan.dollars is not None and plan.dollars.high > cap:
        likely = "likely" if plan.dollars.likely > cap else "possibly"
        said.append(f"The run would {likely} stop at its cap of ${cap:g}.")
    return [*said, *(f"{note[:1].upper()}{note[1:]}." for note in plan.notes)]


def _counted(value: Range) -> str:
    low, likely, high = (f"{round(each):,}" for each in value)
    return likely if low == high else f"{likely} ({low} to {high})"


def _likely(value: Range) -> str:
    return f"{round(value.likely):,}" if value.likely else ""


def _dollars(value: Range | None) -> str:
    if value is None:
        return "unknown"
    digits = 2 if value.likely >= 1 else 4
    low, likely, high = (f"${each:.{digits}f}" for each in value)
    return likely if low == high else f"{likely} ({low} to {high})"

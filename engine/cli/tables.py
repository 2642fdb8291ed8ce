"""The table that `datagen plan` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.report.formatting import duration
from engine.report.tables import text_table

if TYPE_CHECKING:
    from rich.table import Table

    from engine.runs.estimate import Plan, Range
    from engine.runs.ways import Way


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


def ways_lines(ways: Sequence[Way]) -> list[str]:
    """What each way of making the calls costs and takes, where there is a choice."""
    if len(ways) < 2:
        return []
    said = ["By limits.mode, or model.service_tier:"]
    for way in ways:
        digits = 2 if way.dollars is not None and way.dollars >= 1 else 4
        dollars = "not known" if way.dollars is None else f"${way.dollars:,.{digits}f}"
        low, high = way.seconds
        said.append(f"  {way.mode:<7} {dollars:>10}   {duration(low)} to {duration(high)}")
    if any(way.mode == "batch" for way in ways):
        said.append("  A wave of batches is taken to need 10 minutes to an hour; providers promise a day.")
    return said


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

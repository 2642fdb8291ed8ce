"""Maps the reason why a run ended to the outcome in its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.errors import (
    BudgetExhausted,
    EngineError,
    FatalError,
    Interrupted,
    NearlyAllRejected,
    TargetReached,
)
from engine.report.summary import Report

#  halt.reason        outcome      exit
#  TargetReached      target       0
#  BudgetExhausted    budget       3
#  FatalError         fatal        4
#  None: source done  attempts     5
#  NearlyAllRejected  attempts     5
#  Interrupted        interrupted  130

OUTCOMES: Sequence[tuple[type[EngineError], str]] = (
    (TargetReached, "target"),
    (BudgetExhausted, "budget"),
    (NearlyAllRejected, "attempts"),
    (Interrupted, "interrupted"),
    (FatalError, "fatal"),
)


def outcome_of(reason: EngineError | None, reached: bool) -> str:
    """The outcome in report.json for the reason why a run ended."""
    if reached and not isinstance(reason, FatalError):
        return "target"
    if reason is None:
        return "attempts"
    return next(outcome for kind, outcome in OUTCOMES if isinstance(reason, kind))


def ending(report: Report, folder: Path) -> dict[str, Any]:
    """How a start ended, in short: for whoever is told of it."""
    data = report.data
    return {
        "outcome": report.outcome,
        "message": data["message"],
        "accepted": report.accepted,
        "target": data["items"]["target"],
        "rejected": data["items"]["rejected"],
        "spent_usd": data["cost"]["spent_usd"],
        "cap_usd": data["cost"]["cap_usd"],
        "seconds": data["time"]["wall_s"],
        "folder": str(folder),
    }

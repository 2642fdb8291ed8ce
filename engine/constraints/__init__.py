"""Constraints that a generated item must satisfy, and their form in a config."""

from engine.constraints.kinds import (
    Constraint,
    Contains,
    Excludes,
    FreeText,
    LabelIn,
    LabelRatio,
    Language,
    Length,
    Regex,
    Unit,
)

__all__ = [
    "Constraint",
    "Contains",
    "Excludes",
    "FreeText",
    "LabelIn",
    "LabelRatio",
    "Language",
    "Length",
    "Regex",
    "Unit",
]

"""What a generated item must satisfy, and how a config writes it."""

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

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
    Shape,
    Unit,
    allowed_by,
)
from engine.constraints.shapes import Case, Count, Ends, Form, OneOf, Paragraph, Starts

__all__ = [
    "Case",
    "Constraint",
    "Contains",
    "Count",
    "Ends",
    "Excludes",
    "Form",
    "FreeText",
    "LabelIn",
    "LabelRatio",
    "Language",
    "Length",
    "OneOf",
    "Paragraph",
    "Regex",
    "Shape",
    "Starts",
    "Unit",
    "allowed_by",
]

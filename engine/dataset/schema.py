"""The JSON schema of one item, with every bound that its constraints and the base dataset set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.config import FieldsConfig
from engine.constraints import Constraint, LabelIn, LabelRatio, Length, Regex
from engine.dataset.forms import LETTERS, Shape
from engine.dataset.patterns import bounded

LONGEST = 2_000
"""Characters. Servers that generate by a schema refuse longer repetitions (llama.cpp: 2,000)."""
_PER_WORD = 16
"""Characters of a word and its space, generously."""
_SLACK = 2.0
"""A new text may be this much longer than the longest of the base dataset, or shorter than the shortest."""


def item_schema(
    fields: FieldsConfig, shape: Shape, constraints: Sequence[Constraint] = (), *, fewer: int = 0
) -> dict[str, Any]:
    """Closed, with every field required. Bounds keep weak models from endless and empty answers.

    There may be `fewer` choices than the shape says.
    """
    properties: dict[str, Any] = {"text": _text("text", shape.lengths, constraints)}
    if fields.choices is not None:
        properties["choices"] = _choices(shape.choices, fewer)
    if fields.label is not None:
        properties["label"] = _label(fields, shape, constraints)
    for name, spec in fields.extras.items():
        kind = "array" if spec.separator is not None else shape.extras.get(name, "string")
        if kind == "string":
            properties[name] = _text(name, None, constraints)
        else:
            properties[name] = {"type": kind, **({"items": {"type": "string"}} if kind == "array" else {})}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _choices(count: int | None, fewer: int) -> dict[str, Any]:
    low, high = (2, len(LETTERS)) if count is None else (count - fewer, count)
    return {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": low, "maxItems": high}


def _label(fields: FieldsConfig, shape: Shape, constraints: Sequence[Constraint]) -> dict[str, Any]:
    for constraint in constraints:
        if isinstance(constraint, LabelIn):
            return {"type": "string", "enum": list(constraint.labels)}
        if isinstance(constraint, LabelRatio):
            return {"type": "string", "enum": list(constraint.weights)}
    if fields.choices is not None:
        letters = LETTERS[: shape.choices] if shape.choices is not None else LETTERS
        return {"type": "string", "enum": list(letters)}
    if shape.label.kind in ("number", "date", "closed"):
        return shape.label.schema()
    return _text("label", None, constraints)


def _text(name: str, lengths: tuple[int, int] | None, constraints: Iterable[Constraint]) -> dict[str, Any]:
    """A pattern, where a constraint has one that servers can take; otherwise lengths: some refuse both."""
    about = [each for each in constraints if getattr(each, "field", None) == name]
    for constraint in about:
        if isinstance(constraint, Regex) and (pattern := bounded(constraint.pattern)) is not None:
            return {"type": "string", "pattern": pattern}
    low, high = (lengths[0] / _SLACK, lengths[1] * _SLACK) if lengths is not None else (1, LONGEST + 1)
    for constraint in about:
        if isinstance(constraint, Length):
            least, most = _characters(constraint)
            low, high = max(low, least), min(high, most)
    bounds: Mapping[str, int] = {"minLength": max(1, int(low)), "maxLength": int(high)}
    kept = {key: value for key, value in bounds.items() if value <= LONGEST}
    return {"type": "string", **(kept if low <= high else {})}


def _characters(length: Length) -> tuple[float, float]:
    """Characters that a text of this length has at least and at most."""
    low, high = length.min or 0, length.max
    if length.unit == "characters":
        return low, high if high is not None else LONGEST + 1
    least = max(1, 2 * low - 1)
    return least, _PER_WORD * high if length.unit == "words" and high is not None else LONGEST + 1

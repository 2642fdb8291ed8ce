"""The JSON schema of one item, with every bound that its constraints, its columns and the base dataset set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.config import FieldsConfig, LabelField
from engine.config.dataset import wire_name
from engine.constraints import Constraint, Length, Regex, allowed_by
from engine.dataset.forms import LETTERS
from engine.dataset.mapping import Mapped
from engine.dataset.patterns import bounded
from engine.dataset.shape import Shape
from engine.schema.columns import Column
from engine.schema.types import has_any

LONGEST = 2_000
"""Characters. Servers that generate by a schema refuse longer repetitions (llama.cpp: 2,000)."""
_PER_WORD = 16
"""Characters of a word and its space, generously."""
_SLACK = 2.0
"""A new text may be this much longer than the longest of the base dataset, or shorter than the shortest."""
_MOST_LABELS = 16


def item_schema(
    mapped: Mapped, constraints: Sequence[Constraint] = (), *, fewer: int = 0, bounds: bool = True
) -> dict[str, Any]:
    """Closed, with every field required. Bounds keep weak models from endless and empty answers.

    There may be `fewer` choices than the shape says; without `bounds` a text may have any length.
    """
    fields, shape, schema = mapped.config, mapped.shape, mapped.schema
    properties: dict[str, Any] = {}
    if fields.messages is not None:
        properties["messages"] = _messages(fields, shape)
        if fields.messages.tools is not None:
            properties["tools"] = _JSON_TEXT
    names = ["text"] if len(fields.parts) == 1 else [wire_name(part) for part in fields.parts]
    for name in names:
        lengths = shape.lengths.get(name) if bounds else None
        empty = name in shape.optional and len(names) > 1
        properties[name] = _text(name, lengths, constraints, least=0 if empty else 1)
    for name in ("chosen", "rejected") if fields.chosen is not None else ():
        properties[name] = _text(name, shape.lengths.get(name) if bounds else None, constraints)
    if fields.choices is not None:
        properties["choices"] = _choices(shape.choices, fewer)
    if fields.solution is not None:
        properties[wire_name(fields.solution)] = {"type": "string", "minLength": 1}
    if fields.label is not None:
        properties["label"] = _label("label", fields.label, mapped, constraints)
    elif fields.all_labels:
        properties["labels"] = closed_object(
            {name: _label(name, spec, mapped, ()) for name, spec in fields.all_labels.items()}
        )
    for name, spec in fields.named_extras.items():
        if spec.separator is not None:
            properties[wire_name(name)] = {"type": "array", "items": {"type": "string"}}
        else:
            properties[wire_name(name)] = _extra(wire_name(name), schema.at(name), constraints)
    return closed_object(properties)


def closed_object(properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object with these fields, all of them required, and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


_JSON_TEXT: dict[str, Any] = {"type": "string", "description": "JSON text"}
"""For values that have no type in common: a closed schema has no place for them."""


def _extra(name: str, column: Column, constraints: Iterable[Constraint]) -> dict[str, Any]:
    if column.names:
        schema: dict[str, Any] = {"type": "string", "enum": list(column.names)}
        return {"type": "array", "items": schema} if column.type.kind == "array" else schema
    if has_any(column.type):
        return _JSON_TEXT
    if column.type.kind in ("string", "null") and column.type.name in ("string", "large_string", "null"):
        schema = _text(name, None, constraints)
        return {**schema, **{key: inner for key, inner in column.json_schema().items() if key != "type"}}
    return column.json_schema()


def _messages(fields: FieldsConfig, shape: Shape) -> dict[str, Any]:
    """The schema of a conversation: a message is a role and what it says, a call of a tool its name and arguments."""
    assert fields.messages is not None
    low, high = fields.messages.turns or shape.chat.turns
    system = shape.chat.system[0] and fields.messages.system != "drop"
    roles = [*(["system"] if system else []), "user", "assistant", *(["tool"] if shape.chat.calls else [])]
    properties: dict[str, Any] = {
        "role": {"type": "string", "enum": roles},
        "content": {"type": "string"},
    }
    if shape.chat.thoughts:
        properties[shape.chat.thoughts] = {"type": ["string", "null"]}
    if shape.chat.calls:
        function = closed_object({"name": {"type": "string"}, "arguments": {"type": "string"}})
        properties["tool_calls"] = {
            "type": ["array", "null"],
            "items": closed_object({"type": {"type": "string", "enum": ["function"]}, "function": function}),
        }
    schema = {"type": "array", "items": closed_object(properties)}
    return {**schema, "minItems": low or 2, "maxItems": (high or 20) + system}


def _choices(count: int | None, fewer: int) -> dict[str, Any]:
    low, high = (2, len(LETTERS)) if count is None else (count - fewer, count)
    return {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": low, "maxItems": high}


def _label(name: str, spec: LabelField, mapped: Mapped, constraints: Sequence[Constraint]) -> dict[str, Any]:
    one = _one_label(name, spec, mapped, constraints)
    return {"type": "array", "items": one, "maxItems": _MOST_LABELS} if name in mapped.several else one


def _one_label(
    name: str, spec: LabelField, mapped: Mapped, constraints: Sequence[Constraint]
) -> dict[str, Any]:
    fields, shape = mapped.config, mapped.shape
    if allowed := allowed_by(constraints):
        return {"type": "string", "enum": list(allowed)}
    if fields.choices is not None:
        letters = LETTERS[: shape.choices] if shape.choices is not None else LETTERS
        return {"type": "string", "enum": list(letters)}
    form = shape.form(name)
    if form.kind in ("number", "date", "closed"):
        return form.schema()
    kind = mapped.schema.at(spec.field).type.kind
    if kind in ("integer", "number", "boolean") and spec.pattern is None:
        return {"type": kind}
    return _text("label", None, constraints)


def _text(
    name: str, lengths: tuple[int, int] | None, constraints: Iterable[Constraint], least: int = 1
) -> dict[str, Any]:
    """A pattern, where a constraint has one that servers can take; otherwise lengths: some refuse both."""
    about = [each for each in constraints if getattr(each, "field", None) == name]
    for constraint in about:
        if isinstance(constraint, Regex) and (pattern := bounded(constraint.pattern)) is not None:
            return {"type": "string", "pattern": pattern}
    low, high = (lengths[0] / _SLACK, lengths[1] * _SLACK) if lengths is not None else (least, LONGEST + 1)
    for constraint in about:
        if isinstance(constraint, Length):
            fewest, most = _characters(constraint)
            low, high = max(low, fewest), min(high, most)
    bounds: Mapping[str, int] = {"minLength": max(least, int(low)), "maxLength": int(high)}
    kept = {key: value for key, value in bounds.items() if 0 < value <= LONGEST}
    return {"type": "string", **(kept if low <= high else {})}


def _characters(length: Length) -> tuple[float, float]:
    """Characters that a text of this length has at least and at most."""
    low, high = length.min or 0, length.max
    if length.unit == "characters":
        return low, high if high is not None else LONGEST + 1
    # A word may be one character, and in scripts without spaces nothing stands between two.
    least = max(1, low)
    return least, _PER_WORD * high if length.unit == "words" and high is not None else LONGEST + 1

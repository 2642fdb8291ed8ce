"""Describes the rows of a dataset: examples, the spelling of their labels, what all rows have in common."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from engine.config import FieldsConfig
from engine.dataset.label_form import LabelForm

LETTERS = string.ascii_uppercase
LabelKind = Literal["index", "letter", "text"]


@dataclass(frozen=True, slots=True)
class Example:
    """One usable row. For multiple choice the label is the right choice's letter."""

    number: int
    text: str
    label: str | None = None
    choices: tuple[str, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)


class Content(NamedTuple):
    """An item's own fields, in the order of Item's parameters."""

    text: str
    label: str | None
    choices: tuple[str, ...]
    extras: dict[str, Any]


class FieldProblem(ValueError):
    """A row or a reply that does not fit the mapping. `reason` is a stable slug."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LabelStyle:
    """How the dataset spells its labels, so that generated ones are spelled the same."""

    kind: LabelKind = "text"
    type: Literal["string", "integer", "number", "boolean"] = "string"

    @classmethod
    def from_samples(cls, config: FieldsConfig, samples: Sequence[tuple[Any, tuple[str, ...]]]) -> LabelStyle:
        """The style that fits most raw labels and their choices: a bad row must not affect the others."""
        values = [value for value, _ in samples]
        if config.label is None:
            return cls()
        if config.choices is None:
            return cls("text", _json_type(values))
        if config.label.kind != "auto":
            return cls(config.label.kind, _json_type(values))
        fits: dict[LabelKind, int] = {
            "text": sum(str(value) in choices for value, choices in samples),
            "letter": sum(letter_of(value, len(choices)) is not None for value, choices in samples),
            "index": sum(index_of(value, len(choices)) is not None for value, choices in samples),
        }
        return cls(max(fits, key=lambda kind: fits[kind]), _json_type(values))


def _json_type(values: Sequence[Any]) -> Literal["string", "integer", "number", "boolean"]:
    if values and all(isinstance(value, bool) for value in values):
        return "boolean"
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return "integer"
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "number"
    return "string"


def letter_of(value: Any, count: int) -> str | None:
    """The letter of one of `count` choices, however it is decorated: 'B', '(b)', 'B.'."""
    name = value.strip().strip("().").upper() if isinstance(value, str) else ""
    return name if len(name) == 1 and name in LETTERS[:count] else None


def index_of(value: Any, count: int) -> int | None:
    """The index of one of `count` choices, from 0, as a number or as text."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count else None


def plain(value: Any) -> str:
    """A label as text: 3.0 and 3 are both '3', True is 'true'."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


@dataclass(frozen=True, slots=True)
class Shape:
    """What all rows have in common, so that new items have it too."""

    choices: int | None = None
    """The number of choices, if it is always the same."""
    extras: Mapping[str, str] = field(default_factory=dict)
    """The JSON type of each extra that always has the same type."""
    label: LabelForm = field(default_factory=LabelForm)
    """The form of all labels; free with choices, whose labels are letters."""
    lengths: tuple[int, int] | None = None
    """Characters of the shortest and of the longest text; None for a few rows, which show no bounds."""

    @classmethod
    def from_examples(cls, examples: Sequence[Example]) -> Shape:
        counts = {len(example.choices) for example in examples}
        types: dict[str, set[str]] = {}
        for example in examples:
            for name, value in example.extras.items():
                types.setdefault(name, set()).add(_type_name(value))
        for names in types.values():
            if names == {"integer", "number"}:
                names.discard("integer")
        extras = {name: next(iter(names)) for name, names in types.items() if len(names) == 1}
        choices = counts.pop() or None if len(counts) == 1 else None
        form = LabelForm.of((each.label, each.text) for each in examples if each.label and not each.choices)
        sizes = [len(example.text) for example in examples]
        lengths = (min(sizes), max(sizes)) if len(sizes) >= _LEAST_ROWS else None
        return cls(choices, extras, form, lengths)


_LEAST_ROWS = 5
JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "string")

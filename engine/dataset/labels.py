"""How a dataset spells its labels, and what each of them means: found over all rows, written back alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.config import FieldsConfig, LabelField
from engine.config.dataset import OLD_KINDS
from engine.dataset.forms import LETTERS, FieldProblem, letter_of, place_of, plain
from engine.dataset.paths import value_at
from engine.errors import ConfigError
from engine.items import Label
from engine.protocols import Row
from engine.schema.columns import Column, Schema

Kind = Literal["from_0", "from_1", "letters", "keys", "text"]
_NEARLY = 0.98
"""The share of rows from which on a spelling fits: the others are bad rows."""


@dataclass(frozen=True, slots=True)
class LabelStyle:
    """How labels name a choice, and the JSON type that they have."""

    kind: Kind = "text"
    type: Literal["string", "integer", "number", "boolean"] = "string"

    @classmethod
    def from_json(cls, shown: Mapping[str, Any]) -> LabelStyle:
        """Also reads the names of earlier releases."""
        kind = shown.get("kind", "text")
        return cls(OLD_KINDS.get(kind, kind), shown.get("type", "string"))


# --- reading ---------------------------------------------------------------------------------------


def raw_label(row: Row, spec: LabelField) -> Any:
    """The label as the row spells it, with the pattern applied. Raises FieldProblem."""
    value = value_at(row, spec.field)
    if value is None or value == "":
        raise FieldProblem("missing_field", f"field {spec.field!r} is missing or empty")
    if isinstance(value, dict):
        raise FieldProblem("wrong_type", f"field {spec.field!r} is a dict, not a label")
    if isinstance(value, list):
        if any(isinstance(each, dict | list) or each is None for each in value):
            raise FieldProblem("wrong_type", f"field {spec.field!r} is a list of other things than labels")
        return value
    if spec.pattern is None:
        return value
    match = re.search(spec.pattern, str(value))
    if match is None or match[1] is None:
        raise FieldProblem("no_label", f"field {spec.field!r} does not match {spec.pattern!r}")
    return match[1].strip()


def named(value: Any, column: Column) -> str:
    """The label as text; the name of a number that stands for one. Raises FieldProblem."""
    if column.names:
        if isinstance(value, str) and value in column.names:
            return value
        if not isinstance(value, int) or not 0 <= value < len(column.names):
            raise FieldProblem(
                "no_label", f"the label {value!r} stands for none of {', '.join(column.names)}"
            )
        return column.names[value]
    return plain(value)


def several(value: Any, column: Column) -> Label:
    """The label, or all labels of a list. Raises FieldProblem."""
    if isinstance(value, list):
        inner = Column(column.type.inner, names=column.names) if column.type.inner is not None else column
        return tuple(named(each, inner) for each in value)
    return named(value, column)


def chosen(value: Any, choices: Sequence[str], keys: Sequence[str], style: LabelStyle) -> str:
    """The letter of the choice that a row's label names. Raises FieldProblem."""
    place = _place(value, choices, keys, style.kind)
    if place is None:
        raise FieldProblem("bad_label", f"the label {value!r} is not a choice's {_WORDS[style.kind]}")
    return LETTERS[place]


_WORDS: Mapping[str, str] = {
    "from_0": "place from 0",
    "from_1": "place from 1",
    "letters": "letter",
    "keys": "key",
    "text": "text",
}


def _place(value: Any, choices: Sequence[str], keys: Sequence[str], kind: Kind) -> int | None:
    """The place from 0 of the choice that a label of this kind names."""
    match kind:
        case "from_0":
            return place_of(value, len(choices))
        case "from_1":
            return place_of(value, len(choices), 1)
        case "letters":
            letter = letter_of(value, len(choices))
            return LETTERS.index(letter) if letter is not None else None
        case "keys":
            return keys.index(plain(value)) if plain(value) in keys else None
    return choices.index(plain(value)) if plain(value) in choices else None


def spelled(letter: str, choices: Sequence[str], keys: Sequence[str], style: LabelStyle) -> str:
    """The label of a choice as the dataset spells it, as text."""
    place = LETTERS.index(letter)
    match style.kind:
        case "from_0":
            return str(place)
        case "from_1":
            return str(place + 1)
        case "keys":
            return keys[place]
        case "text":
            return choices[place]
    return letter


# --- finding the style -----------------------------------------------------------------------------


@dataclass
class LabelCounts:
    """What the labels of all rows show. Mutable: how many rows each way of naming a choice fits."""

    fits: Counter[str] = field(default_factory=Counter)
    alone: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows in which two ways name different choices."""
    rows: int = 0
    types: set[type] = field(default_factory=set)

    def add(self, value: Any, choices: Sequence[str], keys: Sequence[str]) -> None:
        """Counts one row's raw label."""
        self.types.add(type(value))
        if not choices:
            return
        self.rows += 1
        places = {kind: _place(value, choices, keys, kind) for kind in _KINDS}
        for kind, place in places.items():
            self.fits[kind] += place is not None
        for one, other in _PAIRS:
            if None not in (places[one], places[other]) and places[one] != places[other]:
                self.alone[one, other] += 1

    def style(self, config: FieldsConfig, where: str) -> LabelStyle:
        """The way that fits the rows. Raises ConfigError where two fit and name different choices."""
        type = _json_type(self.types)
        if config.choices is None or not self.rows:
            return LabelStyle("text", type)
        wanted = _wanted(config)
        if wanted is not None:
            return LabelStyle(wanted, type)
        whole = [kind for kind in _KINDS if self.fits[kind] == self.rows]
        likely = whole or [kind for kind in _KINDS if self.fits[kind] >= _NEARLY * self.rows]
        likely = likely or [max(_KINDS, key=lambda kind: self.fits[kind])]
        if not whole and {"from_0", "from_1"} <= {
            kind for kind in _KINDS if self.fits[kind] >= 0.9 * self.rows
        }:
            likely = ["from_0", "from_1"]
        first = likely[0]
        other = next(
            (kind for kind in likely[1:] if self.alone[first, kind] or self.alone[kind, first]), None
        )
        if other is not None:
            raise ConfigError(
                f"{where}: the labels may be the choices' {_PLURAL[first]} or their {_PLURAL[other]}, and these are "
                f"not the same; set dataset.fields.choices.labels to {first} or {other}"
            )
        return LabelStyle(first, type)


_KINDS: tuple[Kind, ...] = ("keys", "text", "letters", "from_0", "from_1")
"""Ways of naming a choice; of two that say the same of every row, the first."""
_PAIRS = [(one, other) for place, one in enumerate(_KINDS) for other in _KINDS[place + 1 :]]
_PLURAL: Mapping[str, str] = {
    "from_0": "places counted from 0",
    "from_1": "places counted from 1",
    "letters": "letters",
    "keys": "keys",
    "text": "texts",
}


def _wanted(config: FieldsConfig) -> Kind | None:
    """The kind that the config states."""
    assert config.choices is not None
    kinds = (config.choices.labels, config.label.kind if config.label is not None else "auto")
    return next((kind for kind in kinds if kind != "auto"), None)


def _json_type(types: Iterable[type]) -> Literal["string", "integer", "number", "boolean"]:
    known = set(types)
    if known == {bool}:
        return "boolean"
    if known == {int}:
        return "integer"
    return "number" if known and known <= {int, float} else "string"


# --- writing ---------------------------------------------------------------------------------------


def written(label: Label, spec: LabelField, column: Column, style: LabelStyle) -> Any:
    """The label in the column's own type and spelling. Raises FieldProblem where it has none in it."""
    if isinstance(label, tuple):
        inner = column.type.inner
        one = Column(inner, names=column.names) if inner is not None else Column(names=column.names)
        return [_typed(each, one, spec) for each in label]
    assert isinstance(label, str)
    if spec.pattern is not None:
        return spec.write.replace("{label}", label)
    return _typed(label, column, spec, style.type)


def _typed(label: str, column: Column, spec: LabelField, usual: str = "string") -> Any:
    if column.names:
        if label not in column.names:
            raise FieldProblem("label_unknown", f"the label {label!r} is none of {', '.join(column.names)}")
        return column.names.index(label)
    kind = column.type.kind if column.type.kind not in ("any", "null") else usual
    if kind == "string" or (kind == "any" and usual == "string"):
        return spec.write.replace("{label}", label)
    value = from_text(label, kind)
    if value is None:
        raise FieldProblem("label_type", f"the label {label!r} is no {kind}")
    return value


def from_text(text: str, kind: str) -> Any:
    """The text as a value of a JSON type; None where it says no such value."""
    try:
        match kind:
            case "integer":
                number = float(text) if re.fullmatch(r"-?\d+\.0+", text) else None
                return int(number) if number is not None else int(text)
            case "number":
                value = float(text)
                return int(text) if re.fullmatch(r"-?\d+", text) else value
            case "boolean":
                return {"true": True, "false": False}[text.casefold()]
    except (ValueError, KeyError, OverflowError):
        return None
    return text


def closed_names(schema: Schema, spec: LabelField) -> tuple[str, ...]:
    """The labels that a column's own type allows; empty where it allows any."""
    column = schema.at(spec.field)
    if column.names:
        return column.names
    return tuple(map(plain, column.enum))

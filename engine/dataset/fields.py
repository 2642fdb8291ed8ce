"""Maps a dataset's own fields to the text, label, choices and extras of an item, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from engine.answers.backslashes import control_character, restored
from engine.config import FieldsConfig
from engine.constraints import Constraint
from engine.dataset.forms import (
    JSON_TYPES,
    LETTERS,
    Content,
    Example,
    FieldProblem,
    LabelStyle,
    Shape,
    index_of,
    letter_of,
    plain,
)
from engine.dataset.schema import item_schema
from engine.errors import Unparseable
from engine.items import Item
from engine.protocols import Row


@dataclass(frozen=True)
class Fields:
    """Reads rows and replies into examples and items; writes items in the dataset's own format."""

    config: FieldsConfig
    style: LabelStyle = field(default_factory=LabelStyle)
    shape: Shape = field(default_factory=Shape)

    # --- from the dataset ---

    def read(self, number: int, row: Row) -> Example:
        """Raises FieldProblem where a field is missing, empty or of the wrong type."""
        text = _text(row, self.config.text)
        choices = self._choices(row)
        label = self._label(self.raw_label(row), choices)
        return Example(number, text, label, choices, self._extras(row))

    def raw_label(self, row: Row) -> Any:
        """The label as the row spells it, with the pattern applied. Raises FieldProblem."""
        spec = self.config.label
        if spec is None:
            return None
        value = row.get(spec.field)
        if value is None or value == "":
            raise FieldProblem("missing_field", f"field {spec.field!r} is missing or empty")
        if isinstance(value, dict | list):
            raise FieldProblem("wrong_type", f"field {spec.field!r} is a {type(value).__name__}, not a label")
        if spec.pattern is None:
            return value
        match = re.search(spec.pattern, str(value))
        if match is None or match[1] is None:
            raise FieldProblem("no_label", f"field {spec.field!r} does not match {spec.pattern!r}")
        return match[1].strip()

    def sample(self, row: Row) -> tuple[Any, tuple[str, ...]]:
        """A raw label with its choices, for LabelStyle.from_samples. Raises FieldProblem."""
        return self.raw_label(row), self._choices(row)

    def _label(self, raw: Any, choices: tuple[str, ...]) -> str | None:
        if raw is None:
            return None
        if not choices:
            return plain(raw)
        letter: str | None = None
        match self.style.kind:
            case "index":
                index = index_of(raw, len(choices))
                letter = LETTERS[index] if index is not None else None
            case "letter":
                letter = letter_of(raw, len(choices))
            case "text":
                letter = LETTERS[choices.index(str(raw))] if str(raw) in choices else None
        if letter is None:
            raise FieldProblem("bad_label", f"the label {raw!r} is not a choice's {self.style.kind}")
        return letter

    def _choices(self, row: Row) -> tuple[str, ...]:
        spec = self.config.choices
        if spec is None:
            return ()
        if spec.columns:
            value: Any = [row.get(column) for column in spec.columns if row.get(column) not in (None, "")]
        else:
            value = row.get(str(spec.field))
            if value is None:
                raise FieldProblem("missing_field", f"field {spec.field!r} is missing")
            if isinstance(value, str) and spec.separator is not None:
                value = [part for part in value.split(spec.separator) if part.strip()]
        if not isinstance(value, list):
            raise FieldProblem("wrong_type", f"the choices are a {type(value).__name__}, not a list")
        if not 2 <= len(value) <= len(LETTERS):
            raise FieldProblem("bad_choices", f"{len(value)} choices; 2 to {len(LETTERS)} are allowed")
        return tuple(plain(choice) for choice in value)

    def _extras(self, row: Row) -> dict[str, Any]:
        extras = {}
        for name, spec in self.config.extras.items():
            value = row.get(name)
            if value is None and spec.required:
                raise FieldProblem("missing_field", f"field {name!r} is missing")
            if isinstance(value, str) and spec.separator is not None:
                value = [part.strip() for part in value.split(spec.separator) if part.strip()]
            if value is not None:
                extras[name] = value
        return extras

    # --- from and to the wire ---

    def wire(self, example: Example | Item) -> dict[str, Any]:
        """An example or an item as a model sees it."""
        shown: dict[str, Any] = {"text": example.text}
        if example.choices:
            shown["choices"] = list(example.choices)
        if example.label is not None:
            shown["label"] = example.label
        return {**shown, **example.extras}

    def item_schema(self, constraints: Sequence[Constraint] = ()) -> dict[str, Any]:
        """JSON Schema of one item on the wire, with every bound that is known; see engine.dataset.schema."""
        return item_schema(self.config, self.shape, constraints)

    @property
    def marks(self) -> tuple[str, ...]:
        """The names by which an item in a reply is known: the wire's for its text, and the dataset's."""
        return tuple(dict.fromkeys(("text", self.config.text)))

    def in_wire_names(self, reply: Mapping[str, Any]) -> Mapping[str, Any]:
        """A reply under the wire's names, where a model answered in the dataset's own."""
        own = {self.config.text: "text"}
        if self.config.label is not None:
            own[self.config.label.field] = "label"
        if self.config.choices is not None and self.config.choices.field is not None:
            own[self.config.choices.field] = "choices"
        if self.config.text not in reply or ("text" in reply and own.get("text", "text") == "text"):
            return reply
        return {**reply, **{wire: reply[name] for name, wire in own.items() if name in reply}}

    def revision_schema(self, constraints: Sequence[Constraint] = ()) -> dict[str, Any]:
        """JSON Schema of a revised item: it may be longer than those of the dataset, and have one more choice."""
        choices = None if self.shape.choices is None else self.shape.choices + 1
        return item_schema(
            self.config, replace(self.shape, lengths=None, choices=choices), constraints, fewer=1
        )

    def content(self, reply: Mapping[str, Any], before: Item | None = None) -> Content:
        """A model's reply read as one item. For a revision of `before`, extras that it lacked may be missing.

        Raises FieldProblem.
        """
        _check_writable(reply)
        if before is None:
            reply = _mended(self.in_wire_names(reply))
        text = _text(reply, "text")
        wanted = [
            name for name in self.config.extras if before is None or name in reply or name in before.extras
        ]
        extras = {name: self._reply_extra(name, reply.get(name)) for name in wanted}
        choices: tuple[str, ...] = ()
        if before is not None and reply.get("choices") == list(before.choices):
            choices = before.choices
        elif self.config.choices is not None:
            choices = self._reply_choices(reply.get("choices"))
        return Content(text, self._reply_label(reply.get("label"), choices, text), choices, extras)

    def _reply_choices(self, value: Any) -> tuple[str, ...]:
        choices = _reply_choices(value)
        wanted, separator = self.shape.choices, self.config.choices and self.config.choices.separator
        if wanted is not None and len(choices) != wanted:
            raise FieldProblem("bad_choices", f"{len(choices)} choices, where the dataset has {wanted}")
        if separator and any(separator in choice for choice in choices):
            raise FieldProblem("bad_choices", f"a choice contains the separator {separator!r}")
        return choices

    def _reply_extra(self, name: str, value: Any) -> Any:
        if value is None:
            raise FieldProblem("missing_field", f"the field {name!r} is missing")
        wanted = "array" if self.config.extras[name].separator is not None else self.shape.extras.get(name)
        if wanted in ("integer", "number", "boolean") and isinstance(value, str):
            value = _typed(value.strip(), wanted)
        if wanted == "string" and isinstance(value, int | float):
            value = plain(value)
        if wanted is not None and not isinstance(value, JSON_TYPES[wanted]):
            raise FieldProblem("wrong_type", f"the field {name!r} is not of type {wanted}")
        return value

    def _reply_label(self, value: Any, choices: tuple[str, ...], text: str) -> str | None:
        if self.config.label is None:
            return None
        if value is None or isinstance(value, dict | list) or plain(value) == "":
            raise FieldProblem("no_label", "the label is missing")
        if not choices:
            return self._readable(self._in_form(plain(value), text))
        if letter := letter_of(value, len(choices)):
            return letter
        if plain(value) in choices:
            return LETTERS[choices.index(plain(value))]
        if (index := index_of(value, len(choices))) is not None:
            return LETTERS[index]
        raise FieldProblem("bad_label", f"the label {value!r} is not one of the {len(choices)} choices")

    def _in_form(self, label: str, text: str) -> str:
        """The label in the form that all labels of the base dataset have, if they have one."""
        fitted = self.shape.label.fitted(label, text)
        if fitted is None:
            self._readable(label)  # raises for a label that is worse than of another form
            raise FieldProblem(
                "label_form", f"the label {label[:100]!r} is not {self.shape.label.in_words()}"
            )
        return fitted

    def _readable(self, label: str) -> str:
        """The label, checked: the dataset's own pattern must read it back once it is written."""
        spec = self.config.label
        if spec is not None and spec.pattern is not None:
            match = re.search(spec.pattern, spec.write.replace("{label}", label))
            if match is None or (match[1] or "").strip() != label:
                raise FieldProblem("bad_label", f"the label {label!r} cannot be read by {spec.pattern!r}")
        return label

    def remembered(self, row: Row) -> Example:
        """An accepted item from its record in the journal; if the record cannot be read, only its text."""
        try:
            return self.read(0, row)
        except FieldProblem:
            return Example(0, str(row.get(self.config.text, "")))

    # --- to the dataset ---

    def rewritten(self, item: Item) -> Row:
        """The item in the dataset's own fields; in an existing row, only changed fields are replaced."""
        origin = {name: value for name, value in item.origin.items() if name != "_meta"}
        if not origin or not item.text:
            return self.write(item) if item.text else origin
        if not item.revisions:
            return origin
        before, now = self.write(self.read(0, origin)), self.write(item)
        return {**origin, **{name: value for name, value in now.items() if value != before.get(name)}}

    def write(self, item: Example | Item) -> Row:
        """The item in the base dataset's own fields and spelling."""
        row: Row = {self.config.text: item.text}
        if (spec := self.config.choices) is not None:
            if spec.columns:
                row.update(zip(spec.columns, item.choices, strict=False))
            else:
                listed = list(item.choices)
                row[str(spec.field)] = listed if spec.separator is None else spec.separator.join(listed)
        if self.config.label is not None and item.label is not None:
            row[self.config.label.field] = self._spelled(item.label, item.choices)
        for name, value in item.extras.items():
            separator = self.config.extras[name].separator
            joined = separator is not None and isinstance(value, list)
            row[name] = str(separator).join(map(str, value)) if joined else value
        return row

    def revised(self, item: Item, reply: Mapping[str, Any]) -> Item:
        """The item with the fields that a model sent; other fields stay unchanged. Raises Unparseable."""
        kept = self.wire(item)
        named = self.in_wire_names(reply)
        try:
            sent = {n: _mended(value, n) for n, value in named.items() if n in kept and value is not None}
            return item.evolve(**self.content({**kept, **sent}, item)._asdict())
        except FieldProblem as problem:
            raise Unparseable(f"the revised item: {problem}") from None

    def verify(self, item: Item) -> None:
        """Raises FieldProblem, KeyError or TypeError for an item that the dataset cannot represent."""
        _text({"text": item.text}, "text")
        row = self.write(item)
        _check_writable(row)
        if item.choices and self._choices(row) != item.choices:
            raise FieldProblem(
                "bad_choices", f"the dataset has no place for these {len(item.choices)} choices"
            )

    def _spelled(self, label: str, choices: tuple[str, ...]) -> Any:
        assert self.config.label is not None
        spelled = label
        if choices and self.style.kind != "letter":
            index = LETTERS.index(label)
            spelled = choices[index] if self.style.kind == "text" else str(index)
        if self.config.label.pattern is not None or self.style.type == "string":
            return self.config.label.write.replace("{label}", spelled)
        return _typed(spelled, self.style.type)


def _typed(label: str, type: str) -> Any:
    """The label converted to the base dataset's JSON type, or as text where it cannot be converted."""
    try:
        match type:
            case "integer":
                return int(label)
            case "number":
                return float(label)
            case "boolean":
                return {"true": True, "false": False}[label]
    except (ValueError, KeyError):
        pass
    return label


def _mended(value: Any, name: str = "") -> Any:
    """The reply with the backslashes that JSON took from its texts. Raises FieldProblem for control characters."""
    if isinstance(value, str):
        text = restored(value)
        if (control := control_character(text)) is not None:
            raise FieldProblem("control_character", f"the field {name!r} holds {control}")
        return text
    if isinstance(value, Mapping):
        return {key: _mended(inner, name or str(key)) for key, inner in value.items()}
    return [_mended(inner, name) for inner in value] if isinstance(value, list) else value


def _check_writable(reply: Mapping[str, Any]) -> None:
    """Raises FieldProblem if JSON cannot hold it: nested too deep, lone surrogates, numbers out of range."""
    try:
        orjson.dumps(reply)
    except TypeError as error:
        raise FieldProblem("not_json", str(error)) from None


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        raise FieldProblem("missing_field", f"field {name!r} is missing")
    if not isinstance(value, str):
        raise FieldProblem("wrong_type", f"field {name!r} is a {type(value).__name__}, not text")
    if not value.strip():
        raise FieldProblem("empty_text", f"field {name!r} is empty")
    return value.strip()


def _reply_choices(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):  # {"A": "…", "B": "…"}
        value = list(value.values())
    if not isinstance(value, list) or not 2 <= len(value) <= len(LETTERS):
        raise FieldProblem("bad_choices", "the choices are not a list of two or more")
    choices = tuple(plain(choice) for choice in value)
    if not all(choices) or len(set(choices)) < len(choices):
        raise FieldProblem("bad_choices", "two choices are the same, or one is empty")
    return choices

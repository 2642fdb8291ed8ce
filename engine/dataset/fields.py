"""Maps a dataset's own fields to the parts of an item, and back: rows, replies of models, and rows again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from engine.config.dataset import wire_name
from engine.constraints import Constraint
from engine.dataset import replies
from engine.dataset.chat_rules import complaint
from engine.dataset.chats import messages_in, tools_in, tools_written, written
from engine.dataset.forms import LETTERS, Content, Example, FieldProblem, plain
from engine.dataset.item_schema import item_schema
from engine.dataset.labels import chosen, raw_label, several, spelled
from engine.dataset.labels import written as label_written
from engine.dataset.mapping import Mapped
from engine.dataset.pairs import as_messages, pair_in, said
from engine.dataset.paths import put, value_at
from engine.dataset.texts import known_by, text_of
from engine.errors import Unparseable
from engine.items import Item, Label
from engine.protocols import Row
from engine.schema.columns import Column
from engine.schema.types import has_any
from engine.schema.values import dumps


@dataclass(frozen=True)
class Fields(Mapped):
    """Reads rows and replies into examples and items; writes items in the dataset's own format."""

    # --- from the dataset ---

    def read(self, number: int, row: Row) -> Example:
        """Raises FieldProblem where a field is missing, empty or of the wrong type."""
        text, parts = self._text(row)
        choices = self.choices(row)
        label = self._label(row, choices, parts, text)
        return Example(number, text, label, choices, self._extras(row), parts)

    def missing(self, row: Row, later: Collection[str]) -> FieldProblem | None:
        """Why a row is no item, whatever comes to stand in the columns filled in `later`; None if it may be one."""
        spec = self.config
        if (
            {path.split(".")[0] for path in spec.columns()}
            & set(later)
            & {*spec.parts, spec.chosen, spec.rejected}
        ):
            return None
        if spec.messages is not None and spec.messages.field in later:
            return None
        try:
            self._text(row)
        except FieldProblem as problem:
            return problem
        return None

    def _text(self, row: Row) -> tuple[str, dict[str, Any]]:
        """What the item is known by, and its parts, where it has several."""
        spec = self.config
        if spec.messages is None and spec.chosen is None and isinstance(spec.text, str):
            return text_of(row, spec.text), {}
        parts: dict[str, Any] = {}
        if spec.messages is not None:
            parts |= self._conversation(row)
        if len(spec.parts) == 1:
            parts["text"] = text_of(row, spec.parts[0])
        elif spec.parts:
            parts |= self._texts(row)
        if spec.chosen is not None:
            parts |= self._pair(row, parts)
        return known_by(parts), parts

    def _texts(self, row: Row) -> dict[str, str]:
        texts = {wire_name(path): self._said(value_at(row, path)) for path in self.config.parts}
        for name, value in texts.items():
            if value is not None and not isinstance(value, str):
                raise FieldProblem("wrong_type", f"field {name!r} is a {type(value).__name__}, not text")
        stripped = {name: (value or "").strip() for name, value in texts.items()}
        if not any(stripped.values()):
            raise FieldProblem("empty_text", f"the fields {', '.join(texts)} are all empty")
        return stripped

    def _said(self, value: Any) -> Any:
        """The text of a part that is a list of one message."""
        if self.spoken and isinstance(value, list) and len(value) == 1:
            return messages_in(value)[0]["content"]
        return value

    def _conversation(self, row: Row) -> dict[str, Any]:
        spec = self.config.messages
        assert spec is not None
        value = value_at(row, spec.field)
        if value is None:
            raise FieldProblem("missing_field", f"field {spec.field!r} is missing")
        messages = messages_in(value)
        tools = tools_in(value_at(row, spec.tools)) if spec.tools is not None else []
        if messages and messages[0]["role"] == "system" and spec.system == "drop":
            messages = messages[1:]
        prompt = self.config.chosen is not None or spec.last == "user"
        if (fault := complaint(messages, tools, spec.turns, spec.system, prompt=prompt)) is not None:
            raise FieldProblem(*fault)
        return {"messages": messages, **({"tools": tools} if tools else {})}

    def _pair(self, row: Row, parts: Mapping[str, Any]) -> dict[str, Any]:
        better, worse = self.config.chosen, self.config.rejected
        assert better is not None
        assert worse is not None
        values = {name: value_at(row, name) for name in (better, worse)}
        for name, value in values.items():
            if value is None or value == "" or value == []:
                raise FieldProblem("missing_field", f"field {name!r} is missing or empty")
        pair = pair_in(values[better], values[worse])
        shown: dict[str, Any] = {"chosen": pair.chosen, "rejected": pair.rejected}
        if pair.prompt and "text" not in parts and "messages" not in parts:
            if (fault := complaint(pair.prompt, prompt=True)) is not None:
                raise FieldProblem(*fault)
            shown = {"messages": pair.prompt, **shown}
        return shown

    def _label(self, row: Row, choices: tuple[str, ...], parts: Mapping[str, Any], text: str) -> Label | None:
        if self.config.label is None and not self.config.labels:
            return None
        if self.config.label is not None and choices:
            return chosen(raw_label(row, self.config.label), choices, self.keys(row), self.style)
        labels = {}
        for name, spec in self.config.all_labels.items():
            raw = raw_label(row, spec)
            if isinstance(raw, list) != (name in self.several):
                what = "one label" if isinstance(raw, list) else "a list of labels"
                raise FieldProblem(
                    "wrong_type", f"field {spec.field!r} is a {type(raw).__name__}, not {what}"
                )
            label = several(raw, self.schema.at(spec.field))
            if spec.inside is not None:
                replies.check_inside(label, spec, parts or {wire_name(spec.inside): text})
            labels[name] = label
        return labels["label"] if self.config.label is not None else labels

    def choices(self, row: Row) -> tuple[str, ...]:
        """The choices of a row, as texts. Raises FieldProblem."""
        spec = self.config.choices
        if spec is None:
            return ()
        if spec.columns:
            value: Any = [row.get(column) for column in spec.columns if row.get(column) not in (None, "")]
        else:
            value = value_at(row, str(spec.field))
            if value is None:
                raise FieldProblem("missing_field", f"field {spec.field!r} is missing")
            if isinstance(value, str) and spec.separator is not None:
                value = [part for part in value.split(spec.separator) if part.strip()]
        if not isinstance(value, list):
            raise FieldProblem("wrong_type", f"the choices are a {type(value).__name__}, not a list")
        if not 2 <= len(value) <= len(LETTERS):
            raise FieldProblem("bad_choices", f"{len(value)} choices; 2 to {len(LETTERS)} are allowed")
        return tuple(plain(choice) for choice in value)

    def keys(self, row: Row) -> tuple[str, ...]:
        """The choices' own names in a row; empty where they have none."""
        spec = self.config.choices
        value = value_at(row, spec.keys) if spec is not None and spec.keys is not None else None
        return tuple(map(plain, value)) if isinstance(value, list) else ()

    def _extras(self, row: Row) -> dict[str, Any]:
        extras = {}
        for path, spec in self.config.named_extras.items():
            value = value_at(row, path)
            if value is None and spec.required:
                raise FieldProblem("missing_field", f"field {path!r} is missing")
            if isinstance(value, str) and spec.separator is not None:
                value = [part.strip() for part in value.split(spec.separator) if part.strip()]
            if value is not None:
                extras[wire_name(path)] = self._shown(value, self.schema.at(path))
        if (solution := self.config.solution) is not None:
            extras[wire_name(solution)] = self._solution(row, solution)
        return extras

    def _shown(self, value: Any, column: Column) -> Any:
        """The value with the names of numbers that stand for some."""
        if column.names and isinstance(value, int) and 0 <= value < len(column.names):
            return column.names[value]
        if column.names and isinstance(value, list):
            return [self._shown(each, column) for each in value]
        return value

    def _solution(self, row: Row, path: str) -> str:
        value = value_at(row, path)
        if not isinstance(value, str) or not value.strip():
            raise FieldProblem("missing_field", f"field {path!r}, the solution, is missing or empty")
        label = self.config.label
        if label is None or label.field != path or label.pattern is None:
            return value.strip()
        return replies.before_label(value, label.pattern)

    # --- from and to the wire ---

    def wire(self, example: Example | Item) -> dict[str, Any]:
        """An example or an item as a model sees it."""
        shown = self.question(example)
        others = dict(example.extras)
        shown |= {name: example.parts[name] for name in ("chosen", "rejected") if name in example.parts}
        if self.config.solution is not None and (name := wire_name(self.config.solution)) in others:
            shown[name] = others.pop(name)
        if example.label is not None:
            shown |= self._shown_label(example.label)
        for path in self.config.named_extras:
            if (name := wire_name(path)) in others and has_any(self.schema.at(path).type):
                others[name] = dumps(others[name])
        return {**shown, **others}

    @property
    def solution_name(self) -> str:
        """The worked solution's name on the wire; '' where the dataset has none."""
        return wire_name(self.config.solution) if self.config.solution is not None else ""

    @property
    def closed_labels(self) -> tuple[str, ...]:
        """The set of labels, where it is closed, be it by constraints; empty where the labels are choices, too."""
        if self.config.choices is not None or self.config.label is None:
            return ()
        form = self.shape.form()
        return form.values if form.kind == "closed" else self.shape.allowed

    def question(self, example: Example | Item) -> dict[str, Any]:
        """What an item asks, without its answer and whatever may reveal it."""
        shown: dict[str, Any] = {
            name: part for name, part in example.parts.items() if name not in ("chosen", "rejected")
        } or {"text": example.text}
        if "tools" in shown:
            shown["tools"] = dumps(shown["tools"])
        if example.choices:
            shown["choices"] = list(example.choices)
        return shown

    def _shown_label(self, label: Label) -> dict[str, Any]:
        if isinstance(label, tuple):
            return {"label": list(label)}
        if isinstance(label, str):
            return {"label": label}
        return {"labels": {n: list(i) if isinstance(i, tuple) else i for n, i in label.items()}}

    def item_schema(self, constraints: Sequence[Constraint] = ()) -> dict[str, Any]:
        """JSON Schema of one item on the wire, with every bound that is known; see engine.dataset.item_schema."""
        return item_schema(self, constraints)

    def revision_schema(self, constraints: Sequence[Constraint] = ()) -> dict[str, Any]:
        """JSON Schema of a revised item: it may be longer than those of the dataset, and have one more choice."""
        choices = None if self.shape.choices is None else self.shape.choices + 1
        shape = replace(self.shape, choices=choices)
        return item_schema(replace(self, shape=shape), constraints, fewer=1, bounds=False)

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """The names by which an item in a reply is known: the wire's for its text, and the dataset's."""
        if self.config.messages is not None:
            return ("messages", self.config.messages.field, "conversations")
        if len(self.config.parts) > 1:
            return tuple(map(wire_name, self.config.parts))
        if not self.config.parts:
            return ("chosen",)
        return tuple(dict.fromkeys(("text", *self.config.parts)))

    def content(self, reply: Mapping[str, Any], before: Item | None = None) -> Content:
        """A model's reply read as one item. For a revision of `before`, extras that it lacked may be missing.

        Raises FieldProblem.
        """
        return replies.content(self, reply, before)

    def remembered(self, row: Row) -> Example:
        """An accepted item from its record in the journal; if the record cannot be read, only its text."""
        try:
            return self.read(0, row)
        except FieldProblem:
            texts = (value_at(row, path) for path in self.config.parts)
            return Example(0, "\n\n".join(text for text in texts if isinstance(text, str)))

    # --- to the dataset ---

    def rewritten(self, item: Item) -> Row:
        """The item in the dataset's own fields; in an existing row, only changed fields are replaced."""
        origin = {name: value for name, value in item.origin.items() if name != "_meta"}
        if not origin or not item.text:
            return self.write(item) if item.text else origin
        if not item.revisions:
            return origin
        try:
            before = self.write(self.read(0, origin))
        except FieldProblem:  # it is known by what is no text there
            before = {}
        now = self.write(item)
        changed = {name: value for name, value in now.items() if value != before.get(name)}
        return {**origin, **{name: _over(origin.get(name), value) for name, value in changed.items()}}

    def write(self, item: Example | Item) -> Row:
        """The item in the base dataset's own fields and spelling. Raises FieldProblem where it has none there."""
        row: Row = {}
        self._write_text(item, row)
        keys = self.keys(dict(item.origin)) if isinstance(item, Item) and item.origin else ()
        keys = keys if len(keys) == len(item.choices) else tuple(LETTERS[: len(item.choices)])
        if item.choices:
            self._write_choices(item.choices, keys, row)
        solution = self.config.solution
        extras = dict(item.extras)
        if solution is not None and wire_name(solution) in extras:
            self._put(row, solution, extras.pop(wire_name(solution)))
        if item.label is not None:
            self._write_labels(item, keys, row)
        for path, spec in self.config.named_extras.items():
            if (name := wire_name(path)) in extras:
                value = extras[name]
                joined = spec.separator is not None and isinstance(value, list)
                column = self.schema.at(path)
                self._put(
                    row,
                    path,
                    str(spec.separator).join(map(str, value)) if joined else _numbered(value, column),
                )
        return row

    def _put(self, row: Row, path: str, value: Any) -> None:
        put(row, path, value, self.schema.column(path.split(".")[0]).type)

    def _write_text(self, item: Example | Item, row: Row) -> None:
        spec = self.config
        if not item.parts and spec.parts:
            self._put(row, spec.parts[0], item.text)
            return
        for path in spec.parts:
            name = "text" if len(spec.parts) == 1 else wire_name(path)
            text: Any = item.parts.get(name, "")
            if (role := self.spoken.get(name)) is not None:
                text = written([{"role": role, "content": text}], self.chat)
            self._put(row, path, text)
        if spec.messages is not None:
            self._put(row, spec.messages.field, written(item.parts["messages"], self.chat))
            if spec.messages.tools is not None and "tools" in item.parts:
                self._put(row, spec.messages.tools, self._tools(item.parts["tools"], spec.messages.tools))
        if spec.chosen is not None and spec.rejected is not None:
            for path, name in ((spec.chosen, "chosen"), (spec.rejected, "rejected")):
                self._put(row, path, self._answer(item, name))

    def _tools(self, tools: Sequence[Any], path: str) -> Any:
        shown = tools_written(tools, self.chat)
        return dumps(shown) if self.schema.at(path).type.kind == "string" else shown

    def _answer(self, item: Example | Item, name: str) -> Any:
        """One answer of a pair as the dataset spells it: a text, or messages, with the prompt or without."""
        answer = item.parts[name]
        if not self.pair.messages:
            return said(answer)
        prompt: list[Any] = []
        if self.pair.repeats:
            prompt = list(item.parts.get("messages") or [])
            if not prompt and "text" in item.parts:
                prompt = [{"role": "user", "content": item.parts["text"]}]
        return written([*prompt, *as_messages(answer)], self.chat)

    def _write_choices(self, choices: tuple[str, ...], keys: tuple[str, ...], row: Row) -> None:
        spec = self.config.choices
        if spec is None:
            return
        if spec.columns:
            row.update(zip(spec.columns, choices, strict=False))
            return
        listed = list(choices)
        assert spec.field is not None
        self._put(row, spec.field, listed if spec.separator is None else spec.separator.join(listed))
        if spec.keys is not None:
            self._put(row, spec.keys, list(keys))

    def _write_labels(self, item: Example | Item, keys: tuple[str, ...], row: Row) -> None:
        label = item.label
        if isinstance(label, str) and item.choices:
            spec = self.config.label
            assert spec is not None
            label = spelled(label, item.choices, keys, self.style)
        for name, spec in self.config.all_labels.items():
            one = label if isinstance(label, str | tuple | None) else label[name]
            if one is None:
                continue
            value = label_written(one, spec, self.schema.at(spec.field), self.style)
            if spec.field == self.config.solution:
                value = f"{row.get(spec.field, '')}\n{value}"
            self._put(row, spec.field, value)
            if spec.start is not None and spec.inside is not None:
                self._put(row, spec.start, self._starts(item, one, spec.inside))

    def _starts(self, item: Example | Item, label: Label, inside: str) -> Any:
        """Where the label begins in the part that it stands in, in characters from 0."""
        text = str(item.parts.get(wire_name(inside), item.text))
        return [text.find(each) for each in label] if isinstance(label, tuple) else text.find(str(label))

    def revised(self, item: Item, reply: Mapping[str, Any]) -> Item:
        """The item with the fields that a model sent; other fields stay unchanged. Raises Unparseable."""
        try:
            return item.evolve(**replies.revised(self, item, reply, self.wire(item))._asdict())
        except FieldProblem as problem:
            raise Unparseable(f"the revised item: {problem}") from None

    def verify(self, item: Item) -> None:
        """Raises FieldProblem, KeyError or TypeError for an item that the dataset cannot represent."""
        if not item.parts:
            text_of({"text": item.text}, "text")
        known = {wire_name(path) for path in (*self.config.named_extras, self.config.solution or "")}
        if unknown := item.extras.keys() - known:
            raise FieldProblem("wrong_value", f"the dataset has no field {min(unknown)!r}")
        replies.check_solution(self, item.extras, item.label, item.choices)
        row = self.write(item)
        replies.check_writable(row)
        if item.choices and self.choices(row) != item.choices:
            raise FieldProblem(
                "bad_choices", f"the dataset has no place for these {len(item.choices)} choices"
            )


def _over(before: Any, now: Any) -> Any:
    """A nested column with what has changed in it; the rest as it was."""
    if isinstance(before, dict) and isinstance(now, dict):
        return {**before, **{name: _over(before.get(name), value) for name, value in now.items()}}
    return now


def _numbered(value: Any, column: Column) -> Any:
    """The value with numbers for the names that stand for them."""
    if column.names and isinstance(value, str):
        return column.names.index(value)
    if column.names and isinstance(value, list):
        return [_numbered(each, column) for each in value]
    return value

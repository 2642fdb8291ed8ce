"""Which columns of a dataset hold what: told by their names, their types and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.dataset import column_names as known
from engine.dataset.paths import value_at
from engine.protocols import Row
from engine.schema.columns import Schema
from engine.schema.types import Type

_ID = re.compile(
    r"(?:.*_)?(?:id|ids|idx|index|uuid|guid|key|hash|url|row|qid)|unnamed: \d+|level_0", re.IGNORECASE
)
_MARKED = re.compile(r"(?s).+####\s*\S[^\n]*\s*")
_MOST_EXTRAS = 8
_LONGEST_EXTRA = 200


_ORDER = (
    "messages",
    "text",
    "chosen",
    "rejected",
    "choices",
    "solution",
    "label",
    "labels",
    "extras",
)
"""In which a config names the fields."""


@dataclass
class Guess:
    """What the columns seem to hold. Mutable while it is made."""

    fields: dict[str, Any] = field(default_factory=dict)
    """As `dataset.fields` of a config."""
    why: dict[str, str] = field(default_factory=dict)
    """By field: what it was told by, for a comment."""
    unnamed: list[str] = field(default_factory=list)
    """Columns that are named for nothing."""
    open: list[str] = field(default_factory=list)
    """What cannot be seen, as questions."""


def guessed(schema: Schema, rows: Sequence[Row]) -> Guess:
    """What the columns seem to hold, by these rows, which are the first of the dataset."""
    return _Guessing(schema, rows).guess()


class _Guessing:
    """Mutable: the columns that are not named for anything yet."""

    def __init__(self, schema: Schema, rows: Sequence[Row]) -> None:
        self._schema = schema
        self._rows = rows
        self._left = [name for name in schema.columns if name != "_meta"]
        self._guess = Guess()

    def guess(self) -> Guess:
        guess = self._guess
        self._pair()
        self._messages()
        if "messages" not in guess.fields:
            self._choices()
            self._label_and_text()
            self._named_labels()
        self._extras()
        guess.unnamed = list(self._left)
        guess.fields = {name: guess.fields[name] for name in _ORDER if name in guess.fields}
        return guess

    # --- columns ---

    def _take(self, *names: str | None) -> None:
        for name in names:
            root = (name or "").split(".")[0]
            if root in self._left:
                self._left.remove(root)

    def _named(self, *names: str) -> str | None:
        """The first of these columns that is there, however it is spelled."""
        spelled = {_plain(name): name for name in self._left}
        return next((spelled[_plain(name)] for name in names if _plain(name) in spelled), None)

    def _values(self, path: str) -> list[Any]:
        return [value for row in self._rows if (value := value_at(row, path)) is not None]

    def _type(self, name: str) -> Type:
        return self._schema.column(name).type

    def _is_text(self, name: str) -> bool:
        return self._type(name).kind == "string" and not self._schema.column(name).names

    def _mostly_filled(self, name: str) -> bool:
        filled = sum(isinstance(value, str) and bool(value.strip()) for value in self._values(name))
        return filled * 2 > len(self._rows)

    # --- conversations and pairs ---

    def _messages(self) -> None:
        if "chosen" in self._guess.fields:
            return
        listed = [name for name in self._left if self._type(name).kind in ("array", "any")]
        chats = [name for name in listed if _are_messages(self._values(name))]
        if len(chats) > 1 and (answered := self._answered(chats)) is not None:
            self._guess.fields["text"] = list(answered)
            self._guess.why["text"] = "a prompt and its completion"
            return self._take(*answered)
        if not chats:
            return None
        name = self._named(*known.CHATS) if self._named(*known.CHATS) in chats else chats[0]
        assert name is not None
        spec: dict[str, Any] = {"field": name}
        tools = self._named(*known.TOOLS)
        if tools is not None:
            spec["tools"] = tools
        if _ends_with_user(self._values(name)):
            spec["last"] = "user"
        self._guess.fields["messages"] = spec if len(spec) > 1 else name
        self._guess.why["messages"] = "lists of messages"
        self._take(name, tools)
        if (label := self._named("label", "labels")) is not None:
            self._guess.fields["label"] = label
            self._take(label)
        return None

    def _answered(self, chats: Sequence[str]) -> tuple[str, str] | None:
        """A prompt and a completion of one message each."""
        names = self._named("prompt"), self._named("completion", "response")
        prompt, answer = (name if name in chats else None for name in names)
        if prompt is None or answer is None:
            return None
        single = all(len(value) == 1 for name in (prompt, answer) for value in self._values(name))
        return (prompt, answer) if single else None

    def _pair(self) -> None:
        for better, worse in known.PAIRS:
            names = self._named(better), self._named(worse)
            if None in names:
                continue
            prompt = self._named("prompt", "question", "instruction", "query", "input")
            if prompt is not None and self._is_text(prompt):
                self._guess.fields["text"] = prompt
                self._guess.why["text"] = "the prompt of both answers"
                self._take(prompt)
            self._guess.fields |= {"chosen": names[0], "rejected": names[1]}
            self._guess.why["chosen"] = "two answers, of which one is better"
            self._take(*names)
            return

    # --- choices ---

    def _choices(self) -> None:
        for name in self._left:
            kind = self._type(name)
            texts = kind.kind == "array" and kind.inner is not None and kind.inner.kind == "string"
            if texts and _plain(name) in known.CHOICES:
                self._guess.fields["choices"] = name
                self._guess.why["choices"] = "a list of texts"
                return self._take(name)
            inner = kind.inner if kind.kind == "array" and kind.inner is not None else kind
            if (nested := self._nested_choices(name, inner)) is not None:
                self._guess.fields["choices"] = nested
                self._guess.why["choices"] = "texts with their keys beside them"
                return self._take(name)
        if (columns := self._choice_columns()) is not None:
            self._guess.fields["choices"] = {"columns": columns}
            self._guess.why["choices"] = "one column each"
            self._take(*columns)
        return None

    def _nested_choices(self, name: str, type: Type, depth: int = 0) -> Any:
        """`choices.text` with `choices.label` beside it, also further inside."""
        there = {_plain(inner): inner for inner, _ in type.fields}
        text = next((there[each] for each in known.CHOICE_TEXTS if each in there), None)
        keys = next((there[each] for each in known.KEYS if each in there), None)
        if text is not None and keys is not None:
            return {"field": f"{name}.{text}", "keys": f"{name}.{keys}"}
        for inner, each in type.fields if depth < 1 else ():
            found = self._nested_choices(f"{name}.{inner}", each.inner or each, depth + 1)
            if found is not None:
                return found
        return None

    def _choice_columns(self) -> list[str] | None:
        for pattern in known.CHOICE_COLUMNS:
            named = {
                match[1].casefold(): name
                for name in self._left
                if self._type(name).kind in ("string", "integer", "number")
                and (match := re.fullmatch(pattern, name, re.IGNORECASE))
            }
            columns = [named[key] for key in sorted(named, key=lambda key: (len(key), key))]
            if len(columns) >= 2 and _run(sorted(named)):
                return columns
        return None

    # --- label and text ---

    def _label_and_text(self) -> None:
        fields = self._guess.fields
        if not fields.keys() & {"chosen", "text"}:
            texts = self._texts()
            if texts:
                fields["text"] = texts[0] if len(texts) == 1 else texts
                self._take(*texts)
        label = self._label() if "chosen" not in fields else None
        if label is None:
            if "chosen" not in fields:
                self._guess.open.append(
                    "No column looks like a label or answer; name it under `label` if there is one."
                )
            return
        solution = self._named(*known.SOLUTIONS)
        name = label if isinstance(label, str) else label["field"]
        if solution is not None and solution != name and self._is_text(solution):
            fields["solution"] = solution
            self._take(solution)
        values = self._values(name)
        if isinstance(label, str) and values and all(_MARKED.fullmatch(str(value)) for value in values):
            label = {"field": name, "pattern": "#### (.+)"}
            fields["solution"] = name
            self._guess.why["label"] = "what stands after ####; the solution before it"
        fields["label"] = label
        self._take(name)

    def _texts(self) -> list[str]:
        there = {_plain(name): name for name in self._left if self._is_text(name)}
        nested = [
            f"{name}.{inner}"
            for name in self._schema.columns
            for inner, type in self._type(name).fields
            if type.kind == "string" and _plain(inner) in ("stem", "question", "text")
        ]
        for names in known.TEXTS:
            if all(name in there for name in names):
                found = [there[name] for name in names]
                if len(found) == 1 and not self._mostly_filled(found[0]):
                    continue
                self._guess.why["text"] = "by name" if len(found) == 1 else "parts, by name"
                return found
        if nested:
            self._guess.why["text"] = "by name"
            return nested[:1]
        longest = sorted(there.values(), key=lambda name: -_length(self._values(name)))
        if longest:
            self._guess.why["text"] = "the longest texts"
            self._guess.open.append(
                f"Is {longest[0]} the text of an item? No column has a name that says so."
            )
        return longest[:1]

    def _label(self) -> Any:
        for wanted in known.LABELS:
            name = self._named(wanted)
            if name is None or not self._values(name):
                continue
            kind = self._type(name)
            if kind.name == "struct":
                if (span := self._span(name)) is not None:
                    return span
                continue
            if kind.kind == "any" or (
                kind.kind == "array" and kind.inner and kind.inner.kind in ("array", "object", "any")
            ):
                continue
            self._guess.why["label"] = "by name"
            return name
        few = [name for name in self._left if self._schema.column(name).names]
        if few:
            self._guess.why["label"] = "a class label"
            return few[0]
        return None

    def _span(self, name: str) -> Any:
        """SQuAD's answers: texts that stand in the context, with where they begin."""
        inner = {_plain(each): each for each, _ in self._type(name).fields}
        text = inner.get("text") or inner.get("texts")
        if text is None:
            return None
        label: dict[str, Any] = {"field": f"{name}.{text}"}
        self._guess.why["label"] = "the texts of the answers"
        start = next((each for plain, each in inner.items() if "start" in plain), None)
        parts = self._guess.fields.get("text")
        for part in parts if isinstance(parts, list) else [parts]:
            if (
                part is not None
                and start is not None
                and self._stands(part, f"{name}.{text}", f"{name}.{start}")
            ):
                label |= {"in": part, "start": f"{name}.{start}"}
                self._guess.why["label"] = f"texts that stand in {part}, where {name}.{start} says"
        return label

    def _stands(self, part: str, text: str, start: str) -> bool:
        for row in self._rows:
            whole, texts, starts = (value_at(row, path) for path in (part, text, start))
            if not isinstance(whole, str) or not isinstance(texts, list) or not isinstance(starts, list):
                continue
            if any(whole[at : at + len(said)] != said for said, at in zip(texts, starts, strict=False)):
                return False
        return True

    def _named_labels(self) -> None:
        """Several class labels beside the first, as of an intent and its scenario."""
        fields = self._guess.fields
        label = fields.get("label")
        if not isinstance(label, str) or "choices" in fields or _plain(label) != "intent":
            return
        others = [name for name in self._left if _plain(name) in ("scenario", "domain", "emotion", "topic")]
        if others:
            fields["labels"] = {_plain(name): name for name in [label, *others]}
            del fields["label"]
            self._take(*others)

    # --- the rest ---

    def _extras(self) -> None:
        extras = [name for name in self._left if self._is_extra(name)][:_MOST_EXTRAS]
        extras += self._beside()
        if "messages" in self._guess.fields and (system := self._named("system")) is not None:
            extras.append(system)
        if extras:
            self._guess.fields["extras"] = extras
            self._guess.why["extras"] = "further fields, which new items have too"
            self._take(*extras)

    def _beside(self) -> Iterator[str]:
        """Texts that stand in an object beside a part of it that is named."""
        named = str(self._guess.fields)
        for name in self._schema.columns:
            for inner, type in self._type(name).fields:
                path = f"{name}.{inner}"
                if f"'{name}." in named and f"'{path}" not in named and type.kind == "string":
                    yield path

    def _is_extra(self, name: str) -> bool:
        values = self._values(name)
        if not values or _ID.fullmatch(name) or len(values) * 2 < len(self._rows):
            return False
        kind = self._type(name).kind
        if kind in ("integer", "number", "boolean") or self._schema.column(name).names:
            return True
        texts = kind == "string" and all(isinstance(v, str) and len(v) <= _LONGEST_EXTRA for v in values)
        return texts and len(set(values)) * 2 <= max(len(values), 4)


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).strip().casefold())


def _run(keys: Sequence[str]) -> bool:
    """Whether these are the first letters or numbers, without a gap."""
    if all(key.isdigit() for key in keys):
        numbers = sorted(map(int, keys))
        return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return keys == [chr(ord("a") + place) for place in range(len(keys))]


def _length(values: Sequence[Any]) -> float:
    return sum(map(len, map(str, values))) / max(1, len(values))


def _are_messages(values: Sequence[Any]) -> bool:
    """Whether most of these are conversations."""
    messages = [value for value in values if list(_first_messages(value))]
    return bool(values) and 2 * len(messages) > len(values)


def _first_messages(value: Any) -> Iterator[Mapping[str, Any]]:
    while isinstance(value, list) and value and isinstance(value[0], list):
        value = value[0]
    for each in value[:1] if isinstance(value, list) else ():
        if isinstance(each, Mapping) and (
            {"role", "content"} <= each.keys() or {"from", "value"} <= each.keys()
        ):
            yield each


def _ends_with_user(values: Sequence[Any]) -> bool:
    last = []
    for value in values:
        while isinstance(value, list) and value:
            value = value[-1]
        if isinstance(value, Mapping):
            last.append(value.get("role", value.get("from")))
    return bool(last) and 2 * sum(role in ("user", "human") for role in last) > len(last)

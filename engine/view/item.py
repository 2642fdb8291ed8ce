"""All that a run knows about one item: its values, its way through the checks, the calls behind it, its neighbours."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from engine.dataset.chats import messages_in
from engine.dataset.fields import Fields
from engine.dataset.forms import LETTERS
from engine.items import POSITIONS, item_id, usd
from engine.schema.values import loads
from engine.store.prompts import read_prompt
from engine.store.reading import read_reviews
from engine.view.diff import Piece, word_diff
from engine.view.evidence import Program, Quote, programs_of, quotes_of, sources_of

_FOLDED = 700
"""Characters of a value beyond which it is folded."""
_CODE = ("code", "program", "programs", "solution_code", "tests", "test")


@dataclass(frozen=True)
class Value:
    """One value of an item as it is shown."""

    name: str
    kind: str
    """text, chat, choices, list, json, code"""
    value: Any
    marked: str = ""
    """Of choices: the letter of the right one."""
    folded: bool = False
    changed: Sequence[Piece] = ()
    """What revisions have made of it, from its first version on."""


@dataclass(frozen=True)
class Step:
    """What one check said."""

    by: str
    decision: str
    reason: str
    feedback: str
    seconds: float
    changes: Mapping[str, Sequence[Piece]]
    """By field, what it changed."""
    details: Sequence[Value] = ()
    programs: Sequence[Program] = ()
    quotes: Sequence[Quote] = ()


@dataclass(frozen=True)
class CallShown:
    """One call to a model."""

    key: str
    purpose: str
    owner: str
    model: str
    answer: str
    error: str
    reasoning: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    seconds: float
    attempts: int
    finish: str
    system: str
    user: str
    at: float | None


@dataclass(frozen=True)
class Review:
    """What a person decided."""

    decision: str
    note: str
    at: float
    person: str = ""
    undone: bool = False


@dataclass(frozen=True)
class ItemShown:
    """Everything that the page of an item shows."""

    number: int
    id: str
    state: str
    rejected_by: str
    reason: str
    values: Sequence[Value]
    meta: Mapping[str, Any]
    steps: Sequence[Step]
    calls: Sequence[CallShown]
    siblings: Sequence[tuple[str, str]]
    """(id, fate) of the items of its batch."""
    reviews: Sequence[Review] = ()
    before: str | None = None
    after: str | None = None
    sources: Sequence[Quote] = ()
    """The passages of documents that it was made from."""


def read_item(connection: sqlite3.Connection, fields: Fields, number: int) -> ItemShown | None:
    """None where the run has no such item."""
    row = connection.execute(
        "SELECT state, rejected_by, reason, record, meta FROM items WHERE item = ?", (number,)
    ).fetchone()
    if row is None:
        return None
    state, by, reason, record_text, meta_text = row
    record, meta = loads(record_text), orjson.loads(meta_text)
    batch = number // POSITIONS
    neighbours = connection.execute(
        "SELECT (SELECT max(item) FROM items WHERE item < ?1), (SELECT min(item) FROM items WHERE item > ?1)",
        (number,),
    ).fetchone()
    siblings = connection.execute(
        "SELECT item, state FROM items WHERE item >= ? AND item < ? ORDER BY item",
        (batch * POSITIONS, (batch + 1) * POSITIONS),
    ).fetchall()
    calls = read_calls(connection, number)
    steps = _steps(meta, record, fields, calls)
    return ItemShown(
        number,
        item_id(number),
        state,
        by or "",
        reason or "",
        values_of(record, fields),
        meta,
        steps,
        calls,
        [(item_id(each), fate) for each, fate in siblings],
        _reviews(connection, number),
        before=None if neighbours[0] is None else item_id(neighbours[0]),
        after=None if neighbours[1] is None else item_id(neighbours[1]),
        sources=sources_of(connection, meta) if meta.get("source") is not None else (),
    )


# --- values ------------------------------------------------------------------------------------------


def values_of(record: Mapping[str, Any], fields: Fields) -> list[Value]:
    """The record's values, each in the shape that it has."""
    config, example = fields.config, fields.remembered(dict(record))
    choices = config.choices.field if config.choices is not None else None
    chat = config.messages.field if config.messages is not None else None
    pairs = [path for path in (config.chosen, config.rejected) if path]
    shown = []
    for name, value in record.items():
        if name == choices and example.choices:
            letters = list(zip(LETTERS, example.choices, strict=False))
            shown.append(Value(name, "choices", letters, marked=example.answer))
        elif name == chat or (name in pairs and isinstance(value, list)):
            shown.append(_chat(name, value))
        else:
            shown.append(value_shown(name, value))
    return shown


def _chat(name: str, value: Any) -> Value:
    try:
        messages = messages_in(loads(value) if isinstance(value, str) else value)
    except Exception:  # whatever it holds, it is shown
        return value_shown(name, value)
    said = [(str(each.get("role")), _said(each.get("content")), _calls_in(each)) for each in messages]
    return Value(name, "chat", said)


def _said(content: Any) -> str:
    return content if isinstance(content, str) else "" if content is None else _json(content)


def _calls_in(message: Mapping[str, Any]) -> str:
    return _json(message["tool_calls"]) if message.get("tool_calls") else ""


def value_shown(name: str, value: Any) -> Value:
    """One value by its type alone."""
    if isinstance(value, str):
        kind = "code" if name in _CODE or value.startswith(("def ", "import ", "from ", "```")) else "text"
        return Value(name, kind, value, folded=len(value) > _FOLDED)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return Value(name, "list", value, folded=sum(map(len, value)) > _FOLDED)
    if isinstance(value, dict | list):
        text = _json(value)
        return Value(name, "json", text, folded=len(text) > _FOLDED)
    return Value(name, "text", "" if value is None else _plain(value))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode()


# --- the way through the checks ----------------------------------------------------------------------


def _steps(
    meta: Mapping[str, Any], record: Mapping[str, Any], fields: Fields, calls: Sequence[CallShown]
) -> list[Step]:
    """The verdicts, oldest first. What a revision changed is known from what stood before it, and what came after."""
    now = _now(record, fields)
    steps: list[Step] = []
    for verdict in reversed(meta.get("verdicts") or ()):
        told = verdict.get("record") or {}
        before = told["before"] if isinstance(told.get("before"), dict) else {}
        kept = verdict.get("verdict") == "revise"
        changes = {}
        for name, was in before.items():
            if kept:
                if name in now or was is not None:
                    changes[name] = word_diff(_text(was), _text(now.get(name)))
                now[name] = was
        details = [
            value_shown(name, value)
            for name, value in told.items()
            if name != "before" and value not in ("", [], {}, None)
        ]
        steps.append(
            Step(
                str(verdict.get("by", "")),
                str(verdict.get("verdict", "")),
                str(verdict.get("reason", "")),
                str(verdict.get("feedback", "")),
                float(verdict.get("seconds") or 0.0),
                {
                    name: pieces
                    for name, pieces in changes.items()
                    if any(piece.kind != "same" for piece in pieces)
                },
                details,
                programs_of(told, str(verdict.get("by", "")), calls),
                quotes_of(told, str(verdict.get("by", "")), calls),
            )
        )
    return steps[::-1]


def _now(record: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """The item's parts by the names that revisions use."""
    example = fields.remembered(dict(record))
    parts = dict(example.parts) or {"text": example.text}
    return {
        **record,
        **parts,
        "choices": list(example.choices),
        "label": example.label,
        **dict(example.extras),
    }


def _text(value: Any) -> str:
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return "\n".join(value)
    return "" if value is None else _plain(value)


# --- calls and reviews -------------------------------------------------------------------------------


def read_calls(connection: sqlite3.Connection, number: int) -> list[CallShown]:
    """The calls for the item, and the one that brought its batch, in the order in which they were answered."""
    batch, shown = number // POSITIONS, item_id(number)
    if names := _shared(connection, number):
        return [call_shown(connection, row) for row in _named(connection, names)]
    rows = connection.execute(
        f"{_CALLS} WHERE (key >= ?1 || '/' AND key < ?1 || '0') OR (key >= ?2 || '.' AND key < ?2 || '0')"
        " ORDER BY rowid",
        (str(batch), shown),
    ).fetchall()
    return [call_shown(connection, row) for row in rows]


def _shared(connection: sqlite3.Connection, number: int) -> list[str]:
    """What the item's calls are named after, where other items may have asked the same."""
    found = connection.execute(
        "SELECT json_extract(meta, '$.asked') FROM items WHERE item = ?", (number,)
    ).fetchone()
    return list(orjson.loads(found[0])) if found is not None and found[0] else []


def _named(connection: sqlite3.Connection, names: Sequence[str]) -> list[Any]:
    """The rows of the calls that are named after these."""
    stems = " OR ".join("(key >= ? || '/' AND key < ? || '0')" for _ in names)
    twice = [name for each in names for name in (each, each)]
    return connection.execute(f"{_CALLS} WHERE {stems} ORDER BY rowid", twice).fetchall()


_CALLS = (
    "SELECT key, purpose, owner, model, text, error, reasoning, prompt_tokens, completion_tokens, cost, seconds,"
    " attempts, finish FROM calls"
)


def calls_of(connection: sqlite3.Connection, batch: int) -> list[Any]:
    """The rows of the calls that brought a batch, for `call_shown`."""
    if names := _shared(connection, batch * POSITIONS):
        return _named(connection, names)
    found = connection.execute(
        f"{_CALLS} WHERE key >= ?1 || '/' AND key < ?1 || '0' ORDER BY rowid", (str(batch),)
    )
    return found.fetchall()


def call_shown(connection: sqlite3.Connection, row: Sequence[Any]) -> CallShown:
    """A row of `_CALLS` with what it was asked."""
    key, purpose, owner, model, text, error, reasoning, asked, answered, cost, seconds, attempts, finish = row
    prompt = read_prompt(connection, key)
    return CallShown(
        key, purpose, owner, model, "" if error else text, f"{error}: {text}" if error else "", reasoning, asked,
        answered, usd(cost), seconds, attempts, finish,
        prompt.system if prompt else "", prompt.user if prompt else "", prompt.at if prompt else None,
    )  # fmt: skip


def _reviews(connection: sqlite3.Connection, number: int) -> list[Review]:
    return [
        Review(each.decision, each.note, each.at, each.person, bool(each.undone))
        for each in read_reviews(connection, number)
        if each.decision != "undo"
    ]

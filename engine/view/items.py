"""The rows of a page of items, and the same as lines of a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from engine.dataset.fields import Fields
from engine.items import item_id
from engine.schema.values import loads

COLUMNS = {
    "label": "label",
    "why": "rejected by",
    "checks": "checks",
    "attributes": "attributes",
    "strategy": "strategy",
    "model": "model",
    "cost": "cost",
    "revisions": "revised",
    "batch": "batch",
}
"""Columns that can be chosen, with their heads."""
_TEXT = 320
_MOST_NOTED = 10_000


@dataclass(frozen=True)
class Row:
    """An item in a list."""

    id: str
    state: str
    text: str
    cells: Mapping[str, str]


def read_rows(connection: sqlite3.Connection, fields: Fields, numbers: Sequence[int]) -> list[Row]:
    """The items of these numbers, in this order."""
    found = _read(connection, numbers)
    return [_row(fields, number, *found[number]) for number in numbers if number in found]


def _row(fields: Fields, number: int, state: str, by: str, reason: str, record: str, meta_text: str) -> Row:
    example, meta = fields.remembered(loads(record)), orjson.loads(meta_text)
    checks = ", ".join(f"{each.get('by')} {each.get('verdict')}" for each in meta.get("verdicts") or ())
    attributes = ", ".join(f"{name}: {value}" for name, value in (meta.get("attributes") or {}).items())
    cells = {
        "label": example.answer[:120],
        "why": f"{by}: {reason}" if by and reason else by,
        "checks": checks,
        "attributes": attributes,
        "strategy": str(meta.get("strategy") or ""),
        "model": str(meta.get("model") or ""),
        "cost": f"${meta.get('cost_usd') or 0:.6f}",
        "revisions": str(meta.get("revisions") or ""),
        "batch": str(meta.get("batch", "")),
    }
    text = example.text if len(example.text) <= _TEXT else f"{example.text[:_TEXT]} …"
    return Row(item_id(number), state, text, cells)


def _read(connection: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, list[str]]:
    places = ", ".join("?" * len(numbers))
    values = "item, state, coalesce(rejected_by, ''), coalesce(reason, ''), record, meta"
    sql = f"SELECT {values} FROM items WHERE item IN ({places})"  # noqa: S608 - placeholders
    return {number: rest for number, *rest in connection.execute(sql, list(numbers))}


def export_lines(connection: sqlite3.Connection, numbers: Sequence[int]) -> bytes:
    """The items as lines of accepted.jsonl and rejected.jsonl have them."""
    found = _read(connection, numbers)
    said = []
    for number in numbers:
        if number in found:
            *_, record, meta = found[number]
            said.append(f'{{"_meta":{meta}}}\n' if record == "{}" else f'{record[:-1]},"_meta":{meta}}}\n')
    return "".join(said).encode()


def noted(connection: sqlite3.Connection, said: str) -> list[int]:
    """The items on which a person's note holds all these words."""
    words = said.split()
    if not words or not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'reviews'").fetchone():
        return []
    holds = " AND ".join("instr(lower(note), lower(?))" for _ in words)
    rows = connection.execute(
        f"SELECT DISTINCT item FROM reviews WHERE note != '' AND {holds} LIMIT {_MOST_NOTED}",  # noqa: S608
        words,
    )
    return [item for (item,) in rows]

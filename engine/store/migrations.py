"""Converts journals of earlier releases to the present version, and fills gaps where one is only read.

1   0.1.0
2   a call carries its owner; validators describe their own sections of the report
3   a call carries its reasoning tokens, what the model thought, and what was sent otherwise than asked
4   calls and items carry checksums
5   calls that travel in batches: parts, asked
6   workers: workers, late
7   prompts: what calls were asked, and when
8   what items are made from: documents, passages
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from engine.errors import StoreError

VERSION = 8
_OF_AN_ITEM = re.compile(r"\d+-\d+(?:\.\d+)?/([^/]+)/")
_FIRST_PART = {"attributes": "attributes", "lessons": "lessons", "embedding": "embedding"}


def migrate(connection: sqlite3.Connection) -> None:
    """Applies all migrations in one transaction. Raises StoreError for a journal of a later release."""
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _with_owners(connection)
        _with_reasoning(connection)
        _with_checksums(connection)
        connection.execute("UPDATE facts SET value = ? WHERE name = 'version'", (str(VERSION),))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    [[found]] = connection.execute("SELECT value FROM facts WHERE name = 'version'").fetchall()
    if not 1 <= int(found) <= VERSION:
        raise StoreError(
            f"the run folder is of journal version {found}; this release reads versions up to {VERSION}"
        )
    return int(found)


def _with_owners(connection: sqlite3.Connection) -> None:
    if "owner" in _columns(connection):
        return
    connection.execute("ALTER TABLE calls ADD COLUMN owner TEXT NOT NULL DEFAULT ''")
    connection.create_function("owner_of", 1, owner_of, deterministic=True)
    connection.execute("UPDATE calls SET owner = owner_of(key)")


_REASONING = {
    "reasoning_tokens": "INTEGER NOT NULL DEFAULT 0",
    "reasoning": "TEXT NOT NULL DEFAULT ''",
    "sent": "TEXT NOT NULL DEFAULT ''",
}
"""In the order of the table: rows are inserted by place."""


def _with_reasoning(connection: sqlite3.Connection) -> None:
    there = _columns(connection)
    for name, kind in _REASONING.items():
        if name not in there:
            connection.execute(f"ALTER TABLE calls ADD COLUMN {name} {kind}")


def _with_checksums(connection: sqlite3.Connection) -> None:
    for table in ("calls", "items"):
        if "crc" not in _columns(connection, table):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN crc INTEGER")


def readable(connection: sqlite3.Connection) -> None:
    """Lets a read-only connection select all columns from an earlier journal, through a temporary view.

    Raises StoreError for a journal of a later release.
    """
    if _version(connection) == VERSION:
        return
    connection.create_function("owner_of", 1, owner_of, deterministic=True)
    there = _columns(connection)
    missing = {
        "owner": "owner_of(key)",
        "reasoning_tokens": "0",
        "reasoning": "''",
        "sent": "''",
        "crc": "NULL",
    }
    added = "".join(f", {value} AS {name}" for name, value in missing.items() if name not in there)
    connection.execute(f"CREATE TEMP VIEW calls AS SELECT *{added} FROM main.calls")  # noqa: S608 - names from here
    if "crc" not in _columns(connection, "items"):
        connection.execute("CREATE TEMP VIEW items AS SELECT *, NULL AS crc FROM main.items")


def _columns(connection: sqlite3.Connection, table: str = "calls") -> set[str]:
    return {name for _, name, *_ in connection.execute(f"PRAGMA main.table_info({table})")}


def owner_of(key: str) -> str:
    """The owner of a call of release 0.1, from its key: `code` made the call `3-1/code/program/1`."""
    if (match := _OF_AN_ITEM.match(key)) is not None:
        return match[1]
    return _FIRST_PART.get(key.partition("/")[0], "generate")


CAVEATS_BEFORE = {
    "code": "Labels were confirmed by programs that a model wrote; both can be wrong in the same way.",
    "facts": "Facts were compared with retrieved passages; a passage can be missing, outdated or wrong.",
    "reflection": "Items were reviewed by a language model, which can err like the one that wrote them.",
}
"""The caveats of release 0.1's validators, which its journals lack, for the card of an exported dataset."""


def sections_before(rules: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The report sections of release 0.1's validators, by validator; `rules` are those of its journal."""
    difficulty = {
        "kind": "tally",
        "name": "difficulty",
        "title": "What made items harder",
        "counted": "principles",
        "value": "principle",
        "columns": {"chosen": ["pass", "revise", "reject"], "kept": ["revise"]},
    }
    constraints = {
        "kind": "compliance",
        "name": "constraints",
        "title": "How well constraints were kept",
        "broken": "broken",
        "rules": [
            {"rule": rule["sentence"], "checked_where": "judged" if rule["free"] else None} for rule in rules
        ],
    }
    return {"difficulty": [difficulty], "constraints": [constraints]}

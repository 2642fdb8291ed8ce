"""The journal's record of batches: parts, the calls in them, and what became of each."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import orjson

from engine.items import Prompt
from engine.llm.batches.part import OPEN, Answer, Asked, Fate, Part, State
from engine.store.journal import Journal
from engine.store.writer import Insert, Statement

_PART = "INSERT OR REPLACE"
_KNOWN = 20
"""Answers of one purpose that tell how long they are."""
NONCE = "nonce"
"""The fact that tells a run's batches from those of other runs."""


class PartBook:
    """A Book over the journal."""

    def __init__(self, journal: Journal, nonce: str) -> None:
        self._journal = journal
        self.nonce = nonce

    @classmethod
    async def opened(cls, journal: Journal) -> PartBook:
        """Raises StoreError."""
        nonce = journal.fact(NONCE)
        if nonce is None:
            nonce = secrets.token_hex(5)
            await journal.remember(NONCE, nonce)
        return cls(journal, nonce)

    def parts(self, *states: State) -> list[Part]:
        places = ", ".join("?" * len(states))
        sql = f"SELECT * FROM parts WHERE state IN ({places}) ORDER BY part"  # noqa: S608 - placeholders
        return [_part(row) for row in self._journal.rows(sql, states)]

    def next_number(self) -> int:
        [[last]] = self._journal.rows("SELECT coalesce(max(part), 0) FROM parts")
        return int(last) + 1

    def waves(self) -> int:
        """How many there have been."""
        [[last]] = self._journal.rows(
            "SELECT coalesce(max(wave), 0) FROM parts WHERE state NOT IN ('spooled', 'void')"
        )
        return int(last)

    def begin(self, part: Part) -> None:
        self._journal.submit([Insert(_PART, "parts", [_row(part)])])

    def append(self, calls: Sequence[Asked]) -> None:
        self._journal.submit([Insert(_PART, "asked", [tuple(each) for each in calls])])

    async def put(self, *parts: Part) -> None:
        await self._journal.write([Insert(_PART, "parts", [_row(part) for part in parts])])

    async def split(self, part: Part, first: Part, second: Part) -> None:
        rows = [_row(each) for each in (replace(part, state=State.VOID), first, second)]
        [last] = self.at(part.number, [first.calls])
        moved = "UPDATE asked SET part = CASE WHEN n <= ?2 THEN ?3 ELSE ?4 END WHERE part = ?1"
        values = (part.number, last.n, first.number, second.number)
        await self._journal.write([Insert(_PART, "parts", rows), Statement(moved, values)])

    def at(self, part: int, lines: Sequence[int]) -> list[Asked]:
        sql = "SELECT * FROM asked WHERE part = ? ORDER BY n LIMIT 1 OFFSET ?"
        found = (self._journal.rows(sql, (part, line - 1)) for line in lines)
        return [Asked._make(rows[0]) for rows in found if rows]

    def asked(self, part: int, ids: Sequence[str]) -> dict[str, Asked]:
        places = ", ".join("?" * len(ids))
        sql = f"SELECT * FROM asked WHERE part = ? AND id IN ({places})"  # noqa: S608 - placeholders
        return {row[0]: Asked._make(row) for row in self._journal.rows(sql, (part, *ids))}

    def waiting(self, part: int, most: int) -> list[Asked]:
        sql = "SELECT * FROM asked WHERE part = ? AND fate = ? ORDER BY n LIMIT ?"
        return [Asked._make(row) for row in self._journal.rows(sql, (part, Fate.WAITING, most))]

    def keep_prompt(self, prompt: Prompt) -> None:
        self._journal.keep_prompt(prompt)

    def holds(self, key: str) -> bool:
        return self._journal.holds(key)

    async def answered(self, answers: Sequence[Answer]) -> None:
        outcomes = [(each.asked.prompt, each.outcome) for each in answers if each.outcome is not None]
        sql = "UPDATE asked SET fate = ?2 WHERE id IN (SELECT value FROM json_each(?1))"
        told = []
        for fate in {each.asked.fate for each in answers}:
            ids = [each.asked.id for each in answers if each.asked.fate == fate]
            told.append(Statement(sql, (orjson.dumps(ids).decode(), fate)))
        await self._journal.record_all(outcomes, told)

    async def relent(self, part: int, purpose: str) -> None:
        sql = "UPDATE asked SET fate = ?4, tries = tries - 1 WHERE part = ?1 AND purpose = ?2 AND fate = ?3"
        await self._journal.write([Statement(sql, (part, purpose, Fate.ONLINE, Fate.AGAIN))])

    def longest(self) -> dict[str, int]:
        sql = "SELECT purpose, max(completion_tokens) FROM calls WHERE error IS NULL GROUP BY 1 HAVING count(*) >= ?"
        return dict(self._journal.rows(sql, (_KNOWN,)))

    def unanswered(self) -> dict[str, tuple[int, bool]]:
        sql = (
            "SELECT key, max(tries), max(fate = ?) FROM asked WHERE fate IN (?, ?)"
            " AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.key = asked.key) GROUP BY key"
        )
        rows = self._journal.rows(sql, (Fate.ONLINE, Fate.AGAIN, Fate.ONLINE))
        return {key: (tries, bool(online)) for key, tries, online in rows}


def read_parts(connection: sqlite3.Connection, *states: State) -> list[Part]:
    """Parts as of now, for those who only look; all where no state is named. Raises StoreError."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'parts'").fetchone():
        return []  # of an earlier release
    parts = map(_part, connection.execute("SELECT * FROM parts ORDER BY part"))
    return [part for part in parts if not states or part.state in states]


def read_open_parts(connection: sqlite3.Connection) -> list[Part]:
    """Those that a provider may be working on."""
    return read_parts(connection, *OPEN)


_JSON = ("counts", "terms")


def _row(part: Part) -> tuple[Any, ...]:
    values = {each.name: getattr(part, each.name) for each in fields(part)}
    told = {name: orjson.dumps(values[name]).decode() for name in _JSON}
    return tuple({**values, "state": str(part.state), **told}.values())


def _part(row: Sequence[Any]) -> Part:
    values = dict(zip((each.name for each in fields(Part)), row, strict=True))
    told = {name: orjson.loads(values[name]) for name in _JSON}
    return Part(**{**values, "state": State(values["state"]), **told})

"""People's reviews of a run's items: stored in run.db; an item that a person rejects becomes rejected."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from engine.schema.values import loads
from engine.store.checksums import checksum
from engine.store.reading import REVIEW
from engine.store.writer import opened_table, translated

ACCEPT, REJECT, NOTE = "accept", "reject", "note"
ReviewDecision = Literal["accept", "reject", "note"]
_TABLE = (
    "CREATE TABLE IF NOT EXISTS reviews (review INTEGER PRIMARY KEY, item INTEGER NOT NULL,"
    " decision TEXT NOT NULL, note TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL)"
)
_TEXT = 300
"""Characters of an item's text that are stored with a note, so that a prompt can show what it refers to."""


@dataclass(frozen=True)
class Reviewed:
    """An accepted item that nobody has reviewed."""

    item: int
    record: dict[str, Any]
    meta: dict[str, Any]


@contextmanager
def opened_reviews(database: Path) -> Iterator[Reviews]:
    """Opens the reviews for the block; each decision is on disk when `decide` returns. Raises StoreError."""
    with opened_table(database, _TABLE) as connection:
        yield Reviews(database, connection)


class Reviews:
    """The reviews of one run; one person reviews at a time, while the folder is locked."""

    def __init__(self, database: Path, connection: sqlite3.Connection) -> None:
        self._database = database
        self._connection = connection

    def open_items(self, seed: int) -> list[int]:
        """Accepted items without a review, shuffled by `seed`, so that the first few represent all."""
        with translated(self._database):
            rows = self._connection.execute(
                "SELECT item FROM items WHERE state = 'accepted'"
                " AND item NOT IN (SELECT item FROM reviews) ORDER BY item"
            ).fetchall()
        numbers = [item for (item,) in rows]
        random.Random(f"{seed}/review").shuffle(numbers)
        return numbers

    def read(self, items: Sequence[int]) -> Iterator[Reviewed]:
        for item in items:
            with translated(self._database):
                record, meta = self._connection.execute(
                    "SELECT record, meta FROM items WHERE item = ?", (item,)
                ).fetchone()
            yield Reviewed(item, loads(record), orjson.loads(meta))

    def decide(self, reviewed: Reviewed, decision: ReviewDecision, note: str, text: str) -> None:
        """Stores the decision; REJECT also marks the item as rejected by `review`, in one transaction."""
        values = (reviewed.item, decision, " ".join(note.split()), text[:_TEXT], time.time())
        with translated(self._database):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.execute(
                    "INSERT INTO reviews (item, decision, note, text, at) VALUES (?, ?, ?, ?, ?)", values
                )
                if decision == REJECT:
                    self._reject(reviewed, note)
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def _reject(self, reviewed: Reviewed, note: str) -> None:
        verdict: dict[str, Any] = {"by": REVIEW, "verdict": "reject", "seconds": 0.0, "reason": "human"}
        if note:
            verdict["feedback"] = note[:1000]
        verdicts = [*reviewed.meta.get("verdicts", []), verdict]
        meta = {**reviewed.meta, "verdicts": verdicts, "rejected_by": REVIEW, "reason": "human"}
        self._connection.execute(
            "UPDATE items SET state = 'rejected', rejected_by = ?, reason = 'human', meta = ? WHERE item = ?",
            (REVIEW, orjson.dumps(meta).decode(), reviewed.item),
        )
        self._connection.create_function("checksum", -1, lambda *values: checksum(values))
        self._connection.execute(
            "UPDATE items SET crc = checksum(item, state, label, rejected_by, reason, record, meta) WHERE item = ?",
            (reviewed.item,),
        )

    def counts(self) -> dict[str, int]:
        """Reviews so far, by decision."""
        with translated(self._database):
            return dict(
                self._connection.execute("SELECT decision, count(*) FROM reviews GROUP BY 1").fetchall()
            )

"""What the journal keeps of the workers of a run, and of answers that came from those that had been given up."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

from engine.items import item_number
from engine.store.journal import Journal
from engine.store.writer import Insert


class WorkerRow(NamedTuple):
    """One row of the table `workers`: one worker under one epoch."""

    epoch: int
    start: int
    name: str
    place: str
    joined: float
    """Seconds since the epoch; likewise the next two."""
    heard: float
    left: float | None
    why: str
    """Why it has left; '' while it is there."""
    items: int
    calls: int
    in_flight: int


def read_workers(connection: sqlite3.Connection, start: int | None = None) -> list[WorkerRow]:
    """The workers of one start, of the last one that had any where absent, in the order in which they came."""
    if not _has(connection, "workers"):
        return []
    if start is None:
        [[start]] = connection.execute("SELECT max(start) FROM workers").fetchall()
    rows = connection.execute("SELECT * FROM workers WHERE start = ? ORDER BY epoch", (start,))
    return [WorkerRow(*row) for row in rows]


def read_late(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many answers came too late, and the picodollars that they cost, over all starts."""
    if not _has(connection, "late"):
        return 0, 0
    [[count, cost]] = connection.execute("SELECT count(*), coalesce(sum(cost), 0) FROM late").fetchall()
    return count, cost


def _has(connection: sqlite3.Connection, table: str) -> bool:
    """Whether the journal is of a release that had this table."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return found is not None


class WorkerBook:
    """Reads and writes them. Holds nothing itself."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def first_epoch(self) -> int:
        """The next epoch: none is given twice in the life of a run."""
        [[last]] = self._journal.rows("SELECT coalesce(max(epoch), 0) FROM workers")
        return int(last) + 1

    def put(self, row: WorkerRow) -> None:
        self._journal.submit([Insert("INSERT OR REPLACE", "workers", [tuple(row)])])

    def put_late(self, key: str, worker: str, epoch: int, cost: int) -> None:
        """An answer that nobody waited for any more: what it cost, in picodollars."""
        self._journal.submit([Insert("INSERT", "late", [(key, worker, epoch, time.time(), cost)])])

    async def look_again(self) -> None:
        """What was recorded so far is found by calls that are made once more."""
        await self._journal.settled()
        self._journal.look_again()

    def vectors_of(self, batch: int) -> Sequence[tuple[int, bytes, bytes]]:
        """(item, digest of its text, vector) of the batch's items, as far as they were journaled."""
        return self._journal.vectors_between(item_number(batch, 0), item_number(batch + 1, 0))

    def keep_vectors(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        self._journal.keep_vectors(rows)

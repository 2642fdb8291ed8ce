"""People's reviews of a run's items: stored in run.db, each with what stood before, so that it can be undone."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from engine.schema.values import dumps, loads
from engine.store.checksums import checksum
from engine.store.reading import REVIEW
from engine.store.writer import opened_table, translated

ReviewDecision = Literal["accept", "reject", "note", "edit", "undo", "refused"]
ACCEPT: Final = "accept"
REJECT: Final = "reject"
EDIT: Final = "edit"
UNDO: Final = "undo"
REFUSED: Final = "refused"
_LATER = {
    "person": "TEXT NOT NULL DEFAULT ''",
    "key": "TEXT NOT NULL DEFAULT ''",
    "before": "TEXT NOT NULL DEFAULT ''",
    "undone": "INTEGER NOT NULL DEFAULT 0",
}
"""Columns that the table of an earlier release lacks: whose decision it is, the decision's own key, the fate and the
content before it as JSON, whether it was taken back."""
TABLE = (
    "CREATE TABLE IF NOT EXISTS reviews (review INTEGER PRIMARY KEY, item INTEGER NOT NULL,"
    " decision TEXT NOT NULL, note TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL, "
    + ", ".join(f"{name} {kind}" for name, kind in _LATER.items())
    + ")"
)
_TEXT = 300
"""Characters of an item's text that are stored with a note, so that a prompt can show what it refers to."""
Fate = Sequence[Any]
"""The state, label, rejected_by, reason, record and meta of an item."""
_READ = "SELECT state, label, rejected_by, reason, record, meta FROM items WHERE item = ?"
_GIVE = (
    "UPDATE items SET state = ?, label = ?, rejected_by = ?, reason = ?, record = ?, meta = ? WHERE item = ?"
)
_SEAL = (
    "UPDATE items SET crc = checksum(item, state, label, rejected_by, reason, record, meta) WHERE item = ?"
)
Unique = Callable[[int, Mapping[str, Any]], str]
"""Why the item with this record would be a second of its kind among the accepted; '' where it would not."""
Seen = Callable[[Mapping[str, Any]], tuple[str, str]]
"""(text, answer) of a record: what a note refers to, and the label that counts."""


@dataclass(frozen=True)
class Reviewed:
    """An accepted item that nobody has reviewed."""

    item: int
    record: dict[str, Any]
    meta: dict[str, Any]


@dataclass(frozen=True)
class Decision:
    """What a person decides about an item. `record`: of EDIT, the fields that change, in the dataset's own form."""

    item: int
    decision: ReviewDecision
    note: str = ""
    person: str = ""
    key: str = ""
    """Its own name, by which it is stored once; '' where it needs none."""
    at: float = field(default_factory=time.time)
    record: Mapping[str, Any] | None = None


@contextmanager
def opened_reviews(database: Path) -> Iterator[Reviews]:
    """Opens the reviews for the block; each decision is on disk when `decide` returns. Raises StoreError."""
    with opened_table(database, TABLE) as connection:
        with translated(database):
            there = {name for _, name, *_ in connection.execute("PRAGMA table_info(reviews)")}
            for name, kind in _LATER.items():
                if name not in there:
                    connection.execute(f"ALTER TABLE reviews ADD COLUMN {name} {kind}")
        yield Reviews(database, connection)


class Reviews:
    """The reviews of one run; they are written by one process, while it holds the folder's lock."""

    def __init__(self, database: Path, connection: sqlite3.Connection) -> None:
        self._database = database
        self._connection = connection
        connection.create_function("checksum", -1, lambda *values: checksum(values))

    def open_items(self, seed: int) -> list[int]:
        """Accepted items without a review, shuffled by `seed`, so that the first few represent all."""
        with translated(self._database):
            rows = self._connection.execute(
                "SELECT item FROM items WHERE state = 'accepted' AND item NOT IN"
                " (SELECT item FROM reviews WHERE NOT undone AND decision NOT IN ('undo', 'refused')) ORDER BY item"
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

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is decided in the block is stored as one, or not at all. Raises StoreError."""
        with translated(self._database):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def decide(self, decision: Decision, seen: Seen, unique: Unique | None = None) -> str:
        """Stores the decision and gives the item the fate, or the content, that follows from it.

        UNDO takes back the person's decision on the item, if it is the last one. A decision whose key is stored already
        changes nothing. `unique` is asked before an item joins the accepted, or changes among them; where it objects,
        REFUSED is stored instead. Returns the objection, or ''. Raises StoreError.
        """
        with contextlib.nullcontext() if self._connection.in_transaction else self.together():
            return self._decided(decision, seen, unique)

    def _decided(self, decision: Decision, seen: Seen, unique: Unique | None) -> str:
        one, item = self._connection.execute, decision.item
        stored = one("SELECT 1 FROM reviews WHERE key = ? AND key != '' AND item = ?", (decision.key, item))
        if stored.fetchone():
            return ""
        row = one(_READ, (item,)).fetchone()
        if row is None:
            return "the run has no such item"
        kind: ReviewDecision = decision.decision
        note = decision.note
        last = self._last(item, decision.person) if kind == UNDO else None
        fate = _fate_after(decision, row, last, seen)
        objection = ""
        if kind == UNDO and last is None:
            objection = "there is no decision to take back, or somebody else has decided since"
        elif fate is not None and fate[0] == "accepted" and (row[0], row[4]) != (fate[0], fate[4]):
            objection = unique(item, loads(fate[4])) if unique is not None else ""
        if objection:
            kind, fate = REFUSED, None
            note = f"{note}; {objection}" if note else objection
        elif last is not None:
            one("UPDATE reviews SET undone = 1 WHERE review = ?", (last[0],))
        text, _ = seen(loads(row[4]))
        before = dumps(list(row)) if fate is not None and kind != UNDO else ""
        one(
            "INSERT INTO reviews (item, decision, note, text, at, person, key, before) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                item,
                kind,
                " ".join(note.split()),
                text[:_TEXT],
                decision.at,
                decision.person,
                decision.key,
                before,
            ),
        )
        if fate is not None:
            self._give(item, fate, changed=fate[4] != row[4])
        return objection

    def _give(self, item: int, fate: Fate, *, changed: bool) -> None:
        self._connection.execute(_GIVE, (*fate, item))
        self._connection.execute(_SEAL, (item,))
        if changed:  # its vector was that of another text
            self._connection.execute("DELETE FROM vectors WHERE item = ?", (item,))

    def _last(self, item: int, person: str) -> tuple[int, str] | None:
        """(review, what stood before) of the last decision on the item, if it is this person's."""
        row = self._connection.execute(
            "SELECT review, before, person FROM reviews WHERE item = ? AND NOT undone"
            " AND decision NOT IN ('undo', 'refused') ORDER BY review DESC LIMIT 1",
            (item,),
        ).fetchone()
        return (row[0], row[1]) if row is not None and row[2] == person else None

    def counts(self) -> dict[str, int]:
        """Reviews so far, by decision."""
        with translated(self._database):
            return dict(
                self._connection.execute(
                    "SELECT decision, count(*) FROM reviews WHERE NOT undone GROUP BY 1"
                ).fetchall()
            )


def _fate_after(decision: Decision, row: Fate, last: tuple[int, str] | None, seen: Seen) -> Fate | None:
    """What the item becomes; None where it stays as it is."""
    kind, accepted = decision.decision, row[0] == "accepted"
    if kind == REJECT and accepted:
        return _rejected(row, decision.note)
    if kind == ACCEPT and not accepted:
        return _accepted(row, decision.note)
    if kind == EDIT and decision.record is not None:
        return _edited(row, decision.record, decision.note, seen)
    if kind == UNDO and last is not None and last[1]:
        before: Fate = loads(last[1])
        return before
    return None


def _with_verdict(meta_text: str, verdict: str, note: str, **more: Any) -> dict[str, Any]:
    meta: dict[str, Any] = orjson.loads(meta_text)
    said: dict[str, Any] = {"by": REVIEW, "verdict": verdict, "seconds": 0.0, **more}
    if note:
        said["feedback"] = note[:1000]
    return {**meta, "verdicts": [*meta.get("verdicts", []), said]}


def _rejected(row: Fate, note: str) -> Fate:
    _, label, _, _, record, meta = row
    told = _with_verdict(meta, "reject", note, reason="human")
    told |= {"rejected_by": REVIEW, "reason": "human"}
    return "rejected", label, REVIEW, "human", record, orjson.dumps(told).decode()


def _accepted(row: Fate, note: str) -> Fate:
    _, label, _, _, record, meta = row
    told = _with_verdict(meta, "pass", note, reason="human")
    told = {name: value for name, value in told.items() if name not in ("rejected_by", "reason")}
    return "accepted", label, None, None, record, orjson.dumps(told).decode()


def _edited(row: Fate, changed: Mapping[str, Any], note: str, seen: Seen) -> Fate:
    state, label, by, reason, record, meta = row
    was = loads(record)
    now = {**was, **changed}
    before = {name: was.get(name) for name in changed if was.get(name) != changed[name]}
    told = _with_verdict(meta, "revise", note, reason="human", record={"before": before})
    return state, label and seen(now)[1], by, reason, dumps(now), orjson.dumps(told).decode()

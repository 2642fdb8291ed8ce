"""Reads run.db for the report, the exports and resumed runs, even while another process writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from engine.config import FieldsConfig
from engine.dataset.chats import ChatStyle
from engine.dataset.fields import Fields
from engine.dataset.labels import LabelStyle
from engine.dataset.pairs import PairStyle
from engine.errors import StoreError
from engine.items import item_id
from engine.schema.columns import Schema
from engine.schema.values import loads
from engine.store.checksums import intact
from engine.store.migrations import readable
from engine.store.writer import damaged, translated

SETTLED = "settled"
"""The fact that holds the provider's own figure, and how far it differs from the run's count."""
REVIEW = "review"
"""The `rejected_by` of items that a person rejects after the run has accepted them."""


class Tallies(NamedTuple):
    """Counts of the journal's items."""

    accepted: int = 0
    rejected: int = 0
    surplus: int = 0


@dataclass
class Start:
    """One row of `starts`; the totals over all starts are sums over these rows."""

    number: int
    began: float
    ended: float | None
    outcome: str | None
    authorized: int
    counts: dict[str, Any]


class _Reader(sqlite3.Connection):
    """A connection that removes the copy that it reads, if it reads one. Mutable state: the copy."""

    copy: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        super().close()
        if self.copy is not None:
            self.copy.cleanup()


ANSWERED = (
    "SELECT EXISTS (SELECT 1 FROM calls WHERE error IS NULL OR cost > 0)"
    " OR (EXISTS (SELECT 1 FROM items) AND NOT EXISTS (SELECT 1 FROM calls))"
    " OR EXISTS (SELECT 1 FROM parts WHERE state NOT IN ('spooled', 'void'))"
)
"""Whether a call was ever answered or charged, a batch sent, or items were decided without any call."""


def is_answered(path: Path) -> bool:
    """The same, of the run.db at this path. Raises StoreError."""
    with contextlib.closing(connect(path)) as connection:
        [[answered]] = connection.execute(ANSWERED)
    return bool(answered)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that only reads. Raises StoreError."""
    uri, copy = f"{path.resolve().as_uri()}?mode=ro", None
    if path.exists() and not os.access(path.parent, os.W_OK):
        # SQLite cannot open a write-ahead log beside which it may not write (sqlite.org/wal.html, section 5).
        if (log := path.with_name(f"{path.name}-wal")).exists() and log.stat().st_size:
            copy = tempfile.TemporaryDirectory(prefix="datagen-")
            for part in (path, log):
                shutil.copyfile(part, Path(copy.name) / part.name)
            uri = (Path(copy.name) / path.name).as_uri()
        else:
            uri += "&immutable=1"
    with translated(path):
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, factory=_Reader)
        connection.copy = copy
        try:
            readable(connection)
        except sqlite3.OperationalError as error:
            connection.close()
            if "no such table" in str(error):
                raise damaged(path, "it is empty") from None
            raise
        except BaseException:
            connection.close()
            raise
        return connection


def read_fact(connection: sqlite3.Connection, name: str) -> Any:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return _parsed(row[0], f"the fact {name!r}") if row else None


def _parsed(text: str, what: str) -> Any:
    """Raises StoreError."""
    try:
        return orjson.loads(text)
    except ValueError:
        raise _lost(what) from None


def _lost(what: str) -> StoreError:
    return StoreError(f"run.db: {what} is damaged; rescue what is readable: datagen repair RUN_DIR")


@dataclass(frozen=True)
class RunFacts:
    """What a run's first start put on record."""

    mode: str = "run"
    seed: int | None = None
    validators: tuple[str, ...] = ()
    """In the order of the config."""
    strategies: tuple[str, ...] = ()
    """Empty where there is one way to ask."""
    priced: bool = False
    model: str | None = None
    engine_version: str | None = None
    dataset: Any = None
    """Rows, bad rows by reason, digest."""


def read_facts(connection: sqlite3.Connection) -> RunFacts:
    names = [field.name for field in fields(RunFacts)]
    places = ", ".join("?" * len(names))
    rows = connection.execute(f"SELECT name, value FROM facts WHERE name IN ({places})", names)  # noqa: S608
    known = {name: _parsed(value, f"the fact {name!r}") for name, value in rows}
    listed = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
    return RunFacts(**{**known, **listed})


def read_form(connection: sqlite3.Connection, config: FieldsConfig) -> Fields:
    """How the run's items are written: the config's fields, with the schema and spellings of the base dataset."""
    form = read_fact(connection, "form") or {}
    schema = Schema.from_json(form.get("schema"))
    return Fields(
        config.with_columns(list(schema.columns)),
        LabelStyle.from_json(form.get("style") or read_fact(connection, "style") or {}),
        schema=schema,
        chat=ChatStyle.from_json(form.get("chat", {})),
        pair=PairStyle(**form.get("pair", {})),
        several=frozenset(form.get("several", ())),
        spoken=form.get("spoken", {}),
    )


def read_starts(connection: sqlite3.Connection) -> list[Start]:
    rows = connection.execute(
        "SELECT start, began, ended, outcome, authorized, counts FROM starts ORDER BY start"
    )
    return [
        Start(number, began, ended, outcome, authorized, _parsed(counts, f"start {number}"))
        for number, began, ended, outcome, authorized, counts in rows
    ]


def read_unconfirmed(connection: sqlite3.Connection, *, running: bool = False) -> int:
    """Picodollars that may have been charged although no reply reports their usage.

    For a start that ended in order, or is `running`, this is its own count. For one that was killed, its calls in
    flight are added, each with what it may well have cost; together at most what the start had authorized.
    """
    paid = dict(connection.execute("SELECT start, sum(cost) FROM calls GROUP BY start").fetchall())
    batches = _paid_in_batches(connection)
    flying = _in_flight(connection)
    starts = read_starts(connection)
    total = 0
    for start in starts:
        counted = int(start.counts.get("unconfirmed", 0))
        killed = start.outcome is None and not (running and start is starts[-1])
        alone = paid.get(start.number, 0) - batches.get(start.number, 0)
        most = max(counted, start.authorized - alone)
        total += min(counted + flying.get(start.number, most), most) if killed else counted
    return total + _given_up(connection)


def _given_up(connection: sqlite3.Connection) -> int:
    """Picodollars that batches may have cost that their provider does not know any more."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'parts'").fetchone():
        return 0
    return int(
        connection.execute("SELECT coalesce(sum(lost), 0) FROM parts WHERE state = 'gone'").fetchone()[0]
    )


def _in_flight(connection: sqlite3.Connection) -> dict[int, int]:
    """Picodollars that calls without an answer may well have cost, by start; those of earlier releases have none."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sent'").fetchone():
        return {}
    rows = connection.execute(
        "SELECT sent.start, sum(CASE WHEN calls.key IS NULL THEN expected ELSE 0 END) FROM sent"
        " LEFT JOIN calls ON calls.key = sent.key AND calls.start = sent.start GROUP BY 1"
    )
    return dict(rows.fetchall())


def _paid_in_batches(connection: sqlite3.Connection) -> dict[int, int]:
    """Picodollars of calls that were answered in batches, by the start that has collected them."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'parts'").fetchone():
        return {}
    return dict(connection.execute("SELECT start, sum(cost - lost) FROM parts GROUP BY start").fetchall())


def _lost_in_batches(connection: sqlite3.Connection) -> int:
    """Picodollars of answers that came in batches and are not kept."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'parts'").fetchone():
        return 0
    return int(
        connection.execute("SELECT coalesce(sum(lost), 0) FROM parts WHERE state != 'gone'").fetchone()[0]
    )


def read_spent(connection: sqlite3.Connection, *, running: bool = False) -> int:
    """Picodollars spent over all starts, including unconfirmed ones: a cap must hold in the worst case.

    Where the provider's own figure has been put in place, it counts instead for all that came before it.
    """
    correction = (read_fact(connection, SETTLED) or {}).get("correction", 0)
    return read_counted(connection, running=running) + int(correction)


def read_counted(connection: sqlite3.Connection, *, running: bool = False) -> int:
    """The same by the run's own count alone."""
    [calls] = connection.execute("SELECT coalesce(sum(cost), 0) FROM calls").fetchone()
    return int(calls) + _lost_in_batches(connection) + read_unconfirmed(connection, running=running)


def read_tallies(connection: sqlite3.Connection, below: int | None = None) -> Tallies:
    """Counts all items, or only those whose number is less than `below`."""
    sql = "SELECT state, count(*) FROM items WHERE ?1 IS NULL OR item < ?1 GROUP BY 1"
    states = dict(connection.execute(sql, (below,)).fetchall())
    return Tallies(states.get("accepted", 0), states.get("rejected", 0), states.get("surplus", 0))


def read_plans(connection: sqlite3.Connection) -> dict[int, dict[str, Any]]:
    """What was decided for each batch, in order."""
    rows = connection.execute("SELECT batch, state FROM plans ORDER BY batch")
    return {batch: _parsed(state, f"the plan of batch {batch}") for batch, state in rows}


def _rows(
    connection: sqlite3.Connection, state: str, first: int = 0, end: int = 1 << 62
) -> Iterator[tuple[str, str]]:
    """(record, meta) of the items of one fate, in the order of the plan. Raises StoreError for a damaged one."""
    sql = "SELECT * FROM items WHERE state = ? AND item >= ? AND item < ? ORDER BY item"
    for row in connection.execute(sql, (state, first, end)):
        _, _, _, _, _, record, meta, _ = _whole(row)
        yield record, meta


def _whole(row: Sequence[Any]) -> Sequence[Any]:
    """The row, as it was written. Raises StoreError."""
    if not intact(row):
        raise _lost(f"item {item_id(row[0])}")
    return row


class FateRow(NamedTuple):
    """The fate of one item, as recorded in the journal."""

    item: int
    state: str
    by: str
    reason: str
    said: str
    record: str
    """As JSON."""
    cost: int
    """Picodollars."""


def read_fates(connection: sqlite3.Connection) -> Iterator[FateRow]:
    """The fates of all items except surplus ones, in the order of the plan."""
    rows = connection.execute(
        "SELECT item, state, coalesce(rejected_by, ''), coalesce(reason, ''),"
        " coalesce(json_extract(meta, '$.verdicts[#-1].feedback'), ''), record,"
        " CAST(round(json_extract(meta, '$.cost_usd') * 1e12) AS INTEGER)"
        " FROM items WHERE state != 'surplus' ORDER BY item"
    )
    yield from map(FateRow._make, rows)


class ReviewRow(NamedTuple):
    """What a person has decided about an item."""

    item: int
    decision: str
    note: str
    text: str
    at: float
    person: str
    undone: int
    """1 where it was taken back."""


def read_reviews(connection: sqlite3.Connection, item: int | None = None) -> list[ReviewRow]:
    """All reviews, or those of one item, in the order in which they were made."""
    there = {name for _, name, *_ in connection.execute("PRAGMA table_info(reviews)")}
    if not there:
        return []
    later = "person, undone" if "person" in there else "'', 0"
    sql = f"SELECT item, decision, note, text, at, {later} FROM reviews"  # noqa: S608 - names from here
    rows = connection.execute(f"{sql} WHERE ?1 IS NULL OR item = ?1 ORDER BY review", (item,))
    return list(map(ReviewRow._make, rows))


def read_notes(connection: sqlite3.Connection) -> list[str]:
    """People's notes on items, in the order in which they were made, each as JSON with the item's text."""
    return [
        orjson.dumps({"note": each.note, "decision": each.decision, "of": each.text}).decode()
        for each in read_reviews(connection)
        if each.note and not each.undone and each.decision not in ("undo", "refused")
    ]


def read_accepted(connection: sqlite3.Connection) -> Iterator[tuple[int, str, bytes | None]]:
    """(item, record as JSON, vector) of every accepted item, in the order of the plan."""
    rows = connection.execute(
        "SELECT items.*, vector FROM items LEFT JOIN vectors USING (item) WHERE state = 'accepted' ORDER BY items.item"
    )
    for *row, vector in rows:
        item, _, _, _, _, record, _, _ = _whole(row)
        yield item, record, vector


def read_dimensions(connection: sqlite3.Connection) -> int | None:
    """The dimensions of the stored vectors, at two bytes a number; None where no vector is stored."""
    row = connection.execute("SELECT length(vector) / 2 FROM vectors LIMIT 1").fetchone()
    return None if row is None else int(row[0])


def read_lines(
    connection: sqlite3.Connection, state: str, first: int = 0, end: int = 1 << 62
) -> Iterator[str]:
    """Like `read_items`, but as lines of JSON, without parsing the records; of items from `first` to before `end`."""
    for record, meta in _rows(connection, state, first, end):
        yield f'{{"_meta":{meta}}}\n' if record == "{}" else f'{record[:-1]},"_meta":{meta}}}\n'


def read_items(connection: sqlite3.Connection, state: str) -> Iterable[dict[str, Any]]:
    """Items of one fate in the order of their commit: the record's own fields, then `_meta`."""
    for record, meta in _rows(connection, state):
        yield {**loads(record), "_meta": orjson.loads(meta)}

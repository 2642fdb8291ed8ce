"""run.db: every completion, item and total of a run; the single source of truth. No completion is ever changed."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from engine.documents.shelf import SCHEMA as DOCUMENTS
from engine.errors import PERMANENT_BY_REASON, PermanentError
from engine.items import POSITIONS, SHARED, Completion, Prompt, Usage, item_number
from engine.store.checksums import intact, sealed
from engine.store.migrations import VERSION, migrate
from engine.store.prompts import Packing
from engine.store.reading import ANSWERED, Tallies, connect, read_fact, read_spent, read_tallies
from engine.store.seen import Seen
from engine.store.writer import GroupWriter, Insert, Operation, Statement, damaged, translated

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS starts (
  start INTEGER PRIMARY KEY, began REAL NOT NULL, ended REAL, outcome TEXT,
  authorized INTEGER NOT NULL DEFAULT 0,
  counts TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS rounds (first_batch INTEGER PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
  key TEXT PRIMARY KEY, batch INTEGER NOT NULL, purpose TEXT NOT NULL, start INTEGER NOT NULL,
  model TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL, error TEXT,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
  cost INTEGER NOT NULL, estimated INTEGER NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL,
  owner TEXT NOT NULL DEFAULT '', reasoning_tokens INTEGER NOT NULL DEFAULT 0,
  reasoning TEXT NOT NULL DEFAULT '', sent TEXT NOT NULL DEFAULT '', crc INTEGER);
CREATE TABLE IF NOT EXISTS items (
  item INTEGER PRIMARY KEY, state TEXT NOT NULL CHECK (state IN ('accepted', 'rejected', 'surplus')),
  label TEXT, rejected_by TEXT, reason TEXT, record TEXT NOT NULL, meta TEXT NOT NULL, crc INTEGER);
CREATE TABLE IF NOT EXISTS prompts (
  key TEXT PRIMARY KEY, at REAL NOT NULL, after TEXT NOT NULL, packed BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (
  key TEXT NOT NULL, start INTEGER NOT NULL, expected INTEGER NOT NULL, PRIMARY KEY (key, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
  part INTEGER PRIMARY KEY, wave INTEGER NOT NULL, endpoint TEXT NOT NULL, state TEXT NOT NULL, file TEXT NOT NULL,
  sha TEXT NOT NULL, n INTEGER NOT NULL, bytes INTEGER NOT NULL, worst INTEGER NOT NULL, tag TEXT NOT NULL,
  intent_at REAL, file_id TEXT NOT NULL, told_at REAL, batch_id TEXT NOT NULL, expires_at REAL, counts TEXT NOT NULL,
  cost INTEGER NOT NULL, lost INTEGER NOT NULL, start INTEGER NOT NULL, terms TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS asked (
  id TEXT PRIMARY KEY, part INTEGER NOT NULL, n INTEGER NOT NULL, key TEXT NOT NULL, purpose TEXT NOT NULL,
  batch INTEGER NOT NULL, owner TEXT NOT NULL, model TEXT NOT NULL, characters INTEGER NOT NULL, bound INTEGER NOT NULL,
  most INTEGER NOT NULL, answer INTEGER NOT NULL, least INTEGER NOT NULL, upper INTEGER NOT NULL, sent TEXT NOT NULL,
  tries INTEGER NOT NULL, shortened INTEGER NOT NULL, fate TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS asked_in ON asked (part, fate);
CREATE TABLE IF NOT EXISTS workers (
  epoch INTEGER PRIMARY KEY, start INTEGER NOT NULL, name TEXT NOT NULL, place TEXT NOT NULL, joined REAL NOT NULL,
  heard REAL NOT NULL, left REAL, why TEXT NOT NULL, items INTEGER NOT NULL, calls INTEGER NOT NULL,
  in_flight INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS late (
  key TEXT NOT NULL, worker TEXT NOT NULL, epoch INTEGER NOT NULL, at REAL NOT NULL, cost INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS plans (batch INTEGER PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS samples (
  start INTEGER NOT NULL, at REAL NOT NULL, accepted INTEGER NOT NULL, rejected INTEGER NOT NULL,
  calls INTEGER NOT NULL, spent INTEGER NOT NULL, in_flight INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS points (
  kind TEXT NOT NULL, ref INTEGER NOT NULL, x REAL NOT NULL, y REAL NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (item INTEGER PRIMARY KEY, text BLOB NOT NULL, vector BLOB NOT NULL);
"""
#  documents, passages   what items are made from, where that is documents; see engine.documents.shelf
#  facts    settings, identity, seed; `committed`: the fates of all batches below this number are recorded
#  rounds   the state that the plan uses from this batch on
#  prompts  what each call was asked, and when, where that is kept (observe.prompts); see prompts
#  sent     calls that were sent, and what each may well cost; emptied where a start ends in order
#  parts    calls that travel as one batch of a provider, where each stands, what is set aside for it (worst), what all
#           its answers have cost, and what of that is for answers that are not kept (lost); see llm.batches.part
#  asked    the calls in them, without their texts
#  workers  each worker under each epoch: where it ran, when it was heard, what it made, why it left
#  late     answers of workers that had been given up: their calls were counted at the worst, made again, and cost this
#  plans    how a batch was requested, where earlier outcomes decided it
#  samples  a start's totals, `at` seconds after it began
#  points   the map of the report: items and originals in two dimensions
#  vectors  vectors of items, each with a digest of the text that it was computed from
#  calls    owner: the validator, or the step of the engine, that made the call; reasoning: what the model
#           thought, if it is kept; sent: what was sent otherwise than the prompt says, as JSON
#  items    record: the item in the dataset's format; meta: its origin and its verdicts
#  crc      checksum of the other values of the row; see checksums


_VECTORS = "embedding"
"""The purpose of calls for vectors, which ask nothing."""


class ItemRow(NamedTuple):
    """One row of the table `items`."""

    item: int
    state: str
    label: str | None
    rejected_by: str | None
    reason: str | None
    record: str
    meta: str


class Journal:
    """Opens or creates run.db. One process at a time writes; see store.folder for the lock.

    Mutable state: the writer's queue; from earlier starts, the keys of calls that may be repeated and the
    numbers of items that have vectors; and whether fates are replaced.
    """

    def __init__(self, path: Path, *, prompts: bool = False) -> None:
        """Needs a running event loop. `prompts`: keep what each call was asked. Raises StoreError."""
        self.path = path
        self._packed = Packing().packed if prompts else None
        self._reader = _created(path)
        self._writer = GroupWriter(path, set_up)
        self._held: set[str] = set()
        self._seen: Seen | None = None
        self._with_vectors: set[int] = set()
        self._start = 0
        self._replaces = False

    # --- calls: the CallJournal door ---

    def find(self, key: str) -> Completion | PermanentError | None:
        """The journaled outcome of a call, if there is one."""
        shared = key.startswith(SHARED)
        if key not in (self._shared() if shared else self._held):
            return None
        with translated(self.path):
            row = self._reader.execute("SELECT * FROM calls WHERE key = ?", (key,)).fetchone()
        if row is None and shared:
            return None
        if row is None or not intact(row):
            raise damaged(self.path, f"call {key}")
        _, _, _, _, model, text, finish, error, prompt, completion, cached, cost, *more = row
        estimated, attempts, seconds, _, thought, reasoning, sent, _ = more
        usage = Usage(prompt, completion, cached, cost, bool(estimated), reasoning_tokens=thought)
        if error is not None:
            failure = PERMANENT_BY_REASON.get(error, PermanentError)(text)
            failure.usage = usage
            return failure
        told = orjson.loads(sent) if sent else {}
        return Completion(text, model, finish, usage, attempts, seconds, reasoning, told)

    def holds(self, key: str) -> bool:
        """Whether the outcome of this call is journaled."""
        if not key.startswith(SHARED):
            return key in self._held
        if key not in self._shared():
            return False
        with translated(self.path):
            return self._reader.execute("SELECT 1 FROM calls WHERE key = ?", (key,)).fetchone() is not None

    def _shared(self) -> Seen:
        """The keys that any batch may ask for, as far as there are any: nearly all that are asked for are new."""
        if self._seen is None:
            self._seen = Seen()
            with translated(self.path):
                sql = "SELECT key FROM calls WHERE key >= ? AND key < ?"
                for (key,) in self._reader.execute(sql, (SHARED, chr(ord(SHARED) + 1))):
                    self._seen.add(key)
        return self._seen

    @property
    def start(self) -> int:
        """The number of this start, from 1."""
        return self._start

    async def record(self, prompt: Prompt, outcome: Completion | PermanentError) -> None:
        """Returns once the outcome is on disk. Raises StoreError."""
        calls = Insert("INSERT OR IGNORE", "calls", [self._call(prompt, outcome)], finish=sealed)
        if self._seen is not None and prompt.key.startswith(SHARED):
            self._seen.add(prompt.key)
        await self._writer.write([calls, *self._asked(prompt)])

    async def record_all(
        self, outcomes: Sequence[tuple[Prompt, Completion | PermanentError]], operations: Sequence[Operation]
    ) -> None:
        """Records outcomes together with what else is to be known with them. Raises StoreError."""
        rows = [self._call(*outcome) for outcome in outcomes]
        for prompt, _ in outcomes if self._seen is not None else ():
            self._seen.add(prompt.key)  # type: ignore[union-attr]
        calls = [Insert("INSERT OR IGNORE", "calls", rows, finish=sealed)] if rows else []
        await self._writer.write([*calls, *operations])

    def keep_prompt(self, prompt: Prompt) -> None:
        """Keeps what a call is asked whose answer will be recorded without it, where prompts are kept."""
        self._writer.submit(self._asked(prompt))

    def _asked(self, prompt: Prompt) -> list[Operation]:
        if self._packed is None or prompt.purpose == _VECTORS:
            return []
        row = (prompt.key, time.time(), prompt.purpose, prompt.system, prompt.user)
        return [Insert("INSERT OR IGNORE", "prompts", [row], finish=self._packed)]

    def _call(self, prompt: Prompt, outcome: Completion | PermanentError) -> tuple[Any, ...]:
        error = outcome.reason if isinstance(outcome, PermanentError) else None
        answer = Completion(str(outcome), "", "", Usage()) if isinstance(outcome, PermanentError) else outcome
        usage = outcome.usage or Usage()
        sent = orjson.dumps(answer.sent).decode() if answer.sent else ""
        return (
            prompt.key, prompt.batch, prompt.purpose, self._start, answer.model, storable(answer.text),
            answer.finish_reason, error, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens,
            usage.cost, int(usage.estimated), answer.attempts, answer.seconds, prompt.owner,
            usage.reasoning_tokens, storable(answer.reasoning), sent,
        )  # fmt: skip

    async def authorize(self, amount: int) -> None:
        """Records that this start may spend up to `amount` picodollars; on disk when this returns."""
        sql = "UPDATE starts SET authorized = ?2 WHERE start = ?1"
        await self._writer.write([Statement(sql, (self._start, amount))])

    def sending(self, key: str, expected: int) -> None:
        """Records that a call is sent. A kill is charged by these, as far as they have no answer."""
        self._writer.submit([Insert("INSERT OR REPLACE", "sent", [(key, self._start, expected)])])

    # --- items and the plan ---

    def commit(self, rows: Sequence[ItemRow], committed: int) -> None:
        """Queues the fates of items and the number of committed batches, in one transaction, without waiting.

        Surplus may be judged again once the target is raised; any other fate is final (see `replacing`).
        """
        operations: list[Operation] = [_fact("committed", committed)]
        if rows:
            upsert = _FATE_CHANGES if self._replaces else _FATE_STANDS
            operations.append(Insert("INSERT", "items", rows, upsert, finish=sealed))
        self._writer.submit(operations)

    async def reopen(self, mode: str) -> None:
        """Lets every fate be decided again, in order; it is kept until then. Calls are not paid again."""
        rounds = int(self.fact("judge_rounds") or 0) + 1
        await self._writer.write([_fact("committed", 0), _fact("mode", mode), _fact("judge_rounds", rounds)])

    def replacing(self) -> None:
        """From now on a new fate replaces the earlier one: see `reopen`."""
        self._replaces = True

    async def begin_round(self, first_batch: int, state: Mapping[str, Any]) -> None:
        row = (first_batch, orjson.dumps(state).decode())
        await self._writer.write([Insert("INSERT OR IGNORE", "rounds", [row])])

    def keep_plan(self, batch: int, state: Mapping[str, Any]) -> None:
        """Records what was decided for a batch; it is on disk before anything that depends on it."""
        row = (batch, orjson.dumps(state).decode())
        self._writer.submit([Insert("INSERT OR IGNORE", "plans", [row])])

    def sample(self, row: tuple[float, int, int, int, int, int]) -> None:
        """Records this start's totals: seconds, accepted, rejected, calls, picodollars, calls in flight."""
        self._writer.submit([Insert("INSERT", "samples", [(self._start, *row)])])

    async def keep_map(
        self, points: Sequence[tuple[str, int, float, float, str]], about: Mapping[str, Any]
    ) -> None:
        """Stores the report's map in place of an earlier one."""
        rows = [(kind, ref, x, y, storable(text)) for kind, ref, x, y, text in points]
        await self._writer.write([Statement("DELETE FROM points")])  # a transaction writes its inserts first
        await self._writer.write([Insert("INSERT", "points", rows), _fact("map", about)])

    def keep_vectors(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Stores (item, digest of its text, vector) rows; on disk before any fate that depends on them."""
        self._writer.submit([Insert("INSERT OR REPLACE", "vectors", rows)])

    def vector(self, item: int, text: bytes) -> bytes | None:
        """The vector that earlier starts stored for this item, if it was computed from the same text."""
        if item not in self._with_vectors:
            return None
        with translated(self.path):
            row = self._reader.execute("SELECT text, vector FROM vectors WHERE item = ?", (item,)).fetchone()
        return row[1] if row is not None and row[0] == text else None

    def vectors_between(self, first: int, end: int) -> list[tuple[int, bytes, bytes]]:
        """(item, digest of its text, vector) of earlier starts, for items from `first` up to `end`."""
        if not self._with_vectors:
            return []
        return self.rows("SELECT item, text, vector FROM vectors WHERE item >= ? AND item < ?", (first, end))

    async def write(self, operations: Sequence[Operation]) -> None:
        """Returns once they are on disk. Raises StoreError."""
        await self._writer.write(operations)

    def submit(self, operations: Sequence[Operation]) -> None:
        """Queues them, without waiting. Raises StoreError once writing has failed."""
        self._writer.submit(operations)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """What a query finds on disk. Raises StoreError."""
        return list(self._all(sql, tuple(values)))

    async def settled(self) -> None:
        """Returns once everything committed so far is on disk. Raises StoreError."""
        await self._writer.write([])

    @property
    def queued(self) -> int:
        return self._writer.queued

    @property
    def unanswered(self) -> int:
        """How many callers wait for their writes to reach the disk."""
        return self._writer.unanswered

    # --- starts and facts ---

    async def start_over(self) -> None:
        """Forgets what was planned and refused so far; the starts remain, with what they may have cost.

        For a run to which no call was answered: everything about it may still be changed.
        """
        tables = (
            "calls", "prompts", "items", "plans", "rounds", "vectors", "points", "samples", "sent", "parts", "asked",
            "late",
        )  # fmt: skip
        emptied = [Statement(f"DELETE FROM {table}") for table in tables]  # noqa: S608 - names from here
        await self._writer.write([*emptied, Statement("DELETE FROM facts WHERE name <> 'version'")])

    @property
    def answered(self) -> bool:
        """Whether a call was ever answered or charged, a batch sent, or items were decided without any call."""
        return bool(self._one(ANSWERED))

    async def begin(self, facts: Mapping[str, Any]) -> int:
        """Records a new start and returns its number, from 1; stores only those `facts` that are new."""
        number = (self._one("SELECT max(start) FROM starts") or 0) + 1
        rows = [(name, orjson.dumps(value).decode()) for name, value in facts.items()]
        await self._writer.write(
            [
                Insert("INSERT OR IGNORE", "facts", rows),
                Statement("INSERT INTO starts (start, began) VALUES (?, ?)", (number, time.time())),
            ]
        )
        self._start = int(number)
        self.look_again()
        return self._start

    def stay(self) -> None:
        """Records what follows as of the last start, for whoever only ends what that has left."""
        self._start = int(self._one("SELECT max(start) FROM starts") or 0)
        self.look_again()

    def look_again(self) -> None:
        """Takes what this start has recorded for what may be asked for once more, as a later start would."""
        self._held = {
            key for (key,) in self._all("SELECT key FROM calls WHERE batch >= ?", (self.committed,))
        }
        undecided = (item_number(self.committed, 0),)
        self._with_vectors = {
            item for (item,) in self._all("SELECT item FROM vectors WHERE item >= ?", undecided)
        }

    async def remember(self, name: str, value: Any) -> None:
        """Sets a fact; it is on disk when this returns."""
        await self._writer.write([_fact(name, value)])

    async def record_counts(self, counts: Mapping[str, Any], outcome: str | None = None) -> None:
        """Records this start's own counts so far and, with an outcome, its end."""
        ended = time.time() if outcome is not None else None
        sql = "UPDATE starts SET counts = ?2, outcome = ?3, ended = ?4 WHERE start = ?1"
        values = (self._start, orjson.dumps(counts).decode(), outcome, ended)
        operations = [Statement(sql, values)]
        if outcome is not None:
            operations.append(Statement("DELETE FROM sent WHERE start = ?", (self._start,)))
        await self._writer.write(operations)

    async def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._reader.close()
        await self._writer.close()

    @property
    def committed(self) -> int:
        return int(self.fact("committed") or 0)

    def fact(self, name: str) -> Any:
        return read_fact(self._reader, name)

    def spent(self) -> int:
        """Picodollars over all starts so far."""
        return read_spent(self._reader)

    def rounds(self) -> list[tuple[int, dict[str, Any]]]:
        rows = self._all("SELECT first_batch, state FROM rounds ORDER BY first_batch")
        return [(first, orjson.loads(state)) for first, state in rows]

    def tallies(self) -> Tallies:
        """Counts the items whose fate is decided; while fates are replaced, only those decided again."""
        return read_tallies(self._reader, item_number(self.committed, 0) if self._replaces else None)

    def labels(self, state: str) -> dict[str, int]:
        """Counts the items of one fate by label; for datasets with few labels."""
        sql = "SELECT label, count(*) FROM items WHERE state = ? AND label IS NOT NULL GROUP BY label"
        return dict(self._all(sql, (state,)))

    def rejections(self, by: str) -> int:
        """How many items this validator or gate has rejected."""
        with translated(self.path):
            sql = "SELECT count(*) FROM items WHERE state = 'rejected' AND rejected_by = ?"
            return int(self._reader.execute(sql, (by,)).fetchone()[0])

    def decided(self, batch: int) -> dict[int, frozenset[int]]:
        """The positions that are decided, by batch, from this one on: a start ended with others still under way."""
        found: dict[int, set[int]] = {}
        if not self._replaces:
            sql = "SELECT item FROM items WHERE item >= ? AND state != 'surplus'"
            for (item,) in self._all(sql, (item_number(batch, 0),)):
                found.setdefault(item // POSITIONS, set()).add(item % POSITIONS)
        return {number: frozenset(positions) for number, positions in found.items()}

    @property
    def replaces(self) -> bool:
        """Whether fates that are there are decided anew."""
        return self._replaces

    def _one(self, sql: str) -> Any:
        with translated(self.path):
            return self._reader.execute(sql).fetchone()[0]

    def _all(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        with translated(self.path):
            yield from self._reader.execute(sql, values)


_FATE_CHANGES = (
    "ON CONFLICT (item) DO UPDATE SET state = excluded.state, label = excluded.label,"
    " rejected_by = excluded.rejected_by, reason = excluded.reason, record = excluded.record,"
    " meta = excluded.meta, crc = excluded.crc"
)
_FATE_STANDS = f"{_FATE_CHANGES} WHERE items.state = 'surplus'"


def _created(path: Path) -> sqlite3.Connection:
    """Creates the file and its tables where they are missing; returns a connection that only reads."""
    with translated(path), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        set_up(connection)
    return connect(path)


def _fact(name: str, value: Any) -> Statement:
    sql = "INSERT INTO facts VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    return Statement(sql, (name, orjson.dumps(value).decode()))


def set_up(connection: sqlite3.Connection) -> None:
    """Creates what is missing of a journal, and brings one of an earlier release up to date."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 10000")
    connection.executescript(_SCHEMA + DOCUMENTS)
    connection.execute("INSERT OR IGNORE INTO facts VALUES ('version', ?)", (str(VERSION),))
    migrate(connection)


def storable(text: str) -> str:
    """The text without lone surrogates, which no UTF-8 file can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def storable_values(value: Any) -> Any:
    """Plain JSON values with every text in them storable."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): storable_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable_values(inner) for inner in value]
    return value

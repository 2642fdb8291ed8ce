"""A thread that owns one SQLite connection and commits in groups."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import DiskFull, StoreError
from engine.veil import veiled

Values = tuple[Any, ...]


class Insert(NamedTuple):
    """Rows for one table, `verb` being INSERT OR IGNORE and the like."""

    verb: str
    table: str
    rows: Sequence[Values]
    upsert: str = ""
    finish: Callable[[Values], Values] | None = None
    """Makes of a row what is written, in the writer's thread, when secrets are veiled: see checksums, prompts."""


class Statement(NamedTuple):
    """Any other statement."""

    sql: str
    values: Values = ()


Operation = Insert | Statement
Entry = tuple[Sequence[Operation], asyncio.Future[None] | None]

_LINGER = 0.005
"""Seconds to let more arrive for the same transaction, under load: a disk synchronisation for hundreds of calls
instead of dozens. Otherwise none, so that few calls are in flight, and asked again, when the run is killed."""
_BUSY = 32
"""Entries in a transaction that mean load."""
_CHUNKS = (64, 8, 1)
"""Rows per statement. Each statement takes and gives the interpreter's lock once, so a busy event loop
is waited for once in 64 rows instead of at each of them; fixed sizes keep the statements cached."""


class GroupWriter:
    """Everything submitted while one transaction is being written goes into the next one.

    Mutable state: the entries and the wake-up (any thread), the entries not yet confirmed, `failure`, set once
    by the thread, the number of transactions, and whether it is closed.
    """

    def __init__(self, path: Path, setup: Callable[[sqlite3.Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._entries: deque[Entry | None] = deque()
        self._wake = threading.Event()
        self.failure: StoreError | None = None
        self._closed = False
        self._unanswered = 0
        self.groups = 0
        with translated(path):
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            try:
                setup(self._connection)
            except BaseException:
                self._connection.close()
                raise
        self._path = path
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def submit(self, operations: Sequence[Operation]) -> None:
        """Written with the next group, in order; nobody waits. Raises StoreError once writing has failed."""
        if self.failure is not None:
            raise self.failure
        self._put((operations, None))

    async def write(self, operations: Sequence[Operation]) -> None:
        """Returns once they are on disk, with everything submitted before. Raises StoreError."""
        if self.failure is not None:
            raise self.failure
        if self._closed:
            raise StoreError(f"{self._path}: the journal is closed")
        future: asyncio.Future[None] = self._loop.create_future()
        self._put((operations, future))
        self._unanswered += 1
        try:
            await future
        finally:
            self._unanswered -= 1

    async def close(self) -> None:
        """Write what is queued, then end. Never raises; see `failure`."""
        self._closed = True
        self._put(None)
        await asyncio.to_thread(self._thread.join)

    def _put(self, entry: Entry | None) -> None:
        self._entries.append(entry)
        if not self._wake.is_set():  # once for a group, not once for a call
            self._wake.set()

    @property
    def queued(self) -> int:
        return len(self._entries)

    @property
    def unanswered(self) -> int:
        """How many wait to hear that what they wrote is on disk."""
        return self._unanswered

    # --- the thread ---

    def _work(self) -> None:
        open_, busy = True, False
        while open_:
            self._wake.wait()
            if busy:
                time.sleep(_LINGER)
            self._wake.clear()
            group = []
            while self._entries:
                group.append(self._entries.popleft())
            open_, busy = None not in group, len(group) >= _BUSY
            self._write([entry for entry in group if entry is not None])
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _write(self, group: Sequence[Entry]) -> None:
        if self.failure is None and group:
            try:
                with translated(self._path):
                    self._transact([operation for operations, _ in group for operation in operations])
                self.groups += 1
            except StoreError as failure:
                self.failure = failure
            except Exception as error:  # whatever it is, those who wait must hear of it
                self.failure = StoreError(f"{self._path}: {type(error).__name__}: {error}")
        futures = [future for _, future in group if future is not None]
        if futures:
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                self._loop.call_soon_threadsafe(self._answer, futures)

    def _answer(self, futures: Sequence[asyncio.Future[None]]) -> None:
        for future in futures:
            if not future.done():
                if self.failure is None:
                    future.set_result(None)
                else:
                    future.set_exception(self.failure)

    def _transact(self, operations: Sequence[Operation]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for operation in _merged(operations):
                if isinstance(operation, Statement):
                    execute(operation.sql, _veiled(operation.values))
                else:
                    for sql, values in _inserts(operation):
                        execute(sql, values)
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                execute("ROLLBACK")
            raise


def _merged(operations: Sequence[Operation]) -> Sequence[Operation]:
    """The same operations with inserts into one table joined; the rows of a table keep their order."""
    inserts: dict[tuple[str, str, str, Callable[[Values], Values] | None], list[Values]] = {}
    others: dict[Values, Statement] = {}
    for operation in operations:
        if isinstance(operation, Statement):
            same = (operation.sql, operation.values[:1])
            others.pop(same, None)  # the last of the same statements on the same key stands
            others[same] = operation
        else:
            key = (operation.verb, operation.table, operation.upsert, operation.finish)
            inserts.setdefault(key, []).extend(operation.rows)
    joined = [
        Insert(verb, table, rows, upsert, finish) for (verb, table, upsert, finish), rows in inserts.items()
    ]
    return [*joined, *others.values()]


def _inserts(insert: Insert) -> list[tuple[str, list[Any]]]:
    statements = []
    rows, start = [_veiled(row) for row in insert.rows], 0
    if insert.finish is not None:
        rows = [insert.finish(row) for row in rows]
    width = len(rows[0]) if rows else 0
    one = f"({','.join('?' * width)})"
    for size in _CHUNKS:
        while len(rows) - start >= size:
            chunk = rows[start : start + size]
            places = ",".join([one] * size)
            sql = f"{insert.verb} INTO {insert.table} VALUES {places} {insert.upsert}"
            statements.append((sql, [value for row in chunk for value in row]))
            start += size
    return statements


def _veiled(values: Sequence[Any]) -> Values:
    return tuple([veiled(value) if isinstance(value, str) else value for value in values])


@contextlib.contextmanager
def translated(path: Path) -> Any:
    """SQLite's errors as the engine's. Raises StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "") or ""
        if code.startswith("SQLITE_FULL") or "full" in str(error):
            raise DiskFull(f"{path}: no space left for the journal; free some and resume") from error
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or "malformed" in str(error):
            raise damaged(path, str(error)) from error
        raise StoreError(f"{path}: {error}") from error


@contextlib.contextmanager
def opened_table(path: Path, table: str) -> Iterator[sqlite3.Connection]:
    """A connection for the block, once `table`, its statement, has run; what it executes is on disk when that returns.

    Raises StoreError where it cannot be opened.
    """
    with translated(path):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(table)
    try:
        yield connection
    finally:
        with contextlib.suppress(sqlite3.Error):
            connection.close()


def damaged(path: Path, how: str) -> StoreError:
    """The error for a journal that does not hold what was written."""
    return StoreError(f"{path}: is damaged ({how}); rescue what is readable: datagen repair {path.parent}")

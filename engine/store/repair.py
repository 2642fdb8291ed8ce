"""Rescues a run whose journal is damaged: every row that can still be read, and items from the files beside it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from engine.errors import StoreError
from engine.files.writing import temporary_beside
from engine.items import POSITIONS, item_id
from engine.schema.values import loads
from engine.store import opinions, reviews
from engine.store.checksums import checksum, intact
from engine.store.folder import RunFolder, write_items
from engine.store.journal import set_up
from engine.store.migrations import VERSION

Row = tuple[Any, ...]
_TABLES = (
    "facts",
    "starts",
    "rounds",
    "plans",
    "calls",
    "items",
    "samples",
    "points",
    "vectors",
    "sent",
    "parts",
    "asked",
    "workers",
    "late",
    "prompts",
    "documents",
    "passages",
)
_BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged database raises; the second where SQLite quotes, in its error, a name that is damaged."""
_PEOPLES = {"reviews": reviews.TABLE, "opinions": opinions.TABLE}
"""Tables that are there once somebody has judged an item."""
_SEALED = ("calls", "items")
"""Tables whose rows carry checksums."""
_WITHOUT_NUMBERS = ("facts", "sent", "prompts", "opinions")
_LATER = {
    "owner": "", "reasoning_tokens": 0, "reasoning": "", "sent": "", "crc": None,
    "person": "", "key": "", "before": "", "undone": 0,
}  # fmt: skip
"""Columns that earlier releases had not, and what stands in them."""
_FARTHEST = 1 << 62


@dataclass
class Rescue:
    """What became of a journal. Mutable while it is filled."""

    whole: bool = False
    """Nothing was damaged, and nothing is changed."""
    kept: dict[str, int] = field(default_factory=dict)
    """Rows by table."""
    damaged: dict[str, int] = field(default_factory=dict)
    """Rows that were read, and are not what was written."""
    unread: list[str] = field(default_factory=list)
    """Tables of which a part cannot be read."""
    from_files: int = 0
    """Items that only accepted.jsonl and rejected.jsonl still hold."""
    to_ask_again: int = 0
    """Batches that a resume decides again, since items of theirs are lost."""
    set_aside: Path | None = None
    """Where the damaged journal is kept."""
    can_resume: bool = True


def repair(folder: RunFolder) -> Rescue:
    """Puts a journal of what is readable in place of a damaged one, which is kept. The folder is locked by the caller.

    Raises StoreError where nothing is left, or the folder cannot be written.
    """
    rescue = Rescue()
    tables = _read(folder.database, rescue)
    if tables is not None and not (rescue.damaged or rescue.unread) and _sound(folder.database):
        rescue.whole = True
        return rescue
    tables = tables or {}
    items = {row[0]: row for row in tables.get("items", ())}
    for row in _in_files(folder):
        if row[0] not in items or items[row[0]][-1] is None:  # a row without a checksum may hold anything
            rescue.from_files += row[0] not in items
            items[row[0]] = row
    if not items and not tables.get("calls"):
        raise StoreError(
            f"{folder.path}: neither run.db nor the files beside it hold anything that can be read"
        )
    tables["items"] = [items[number] for number in sorted(items)]
    tables["starts"] = tables.get("starts") or [_start_of(tables, folder)]
    rescue.can_resume = folder.config.is_file()
    _note_gaps(tables, rescue)
    _write(folder, tables, rescue)
    write_items(folder)
    return rescue


# --- reading what is left ----------------------------------------------------------------------------


def _read(path: Path, rescue: Rescue) -> dict[str, list[Row]] | None:
    """The rows of each table that can be read; None where not even the list of tables can be."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as connection:
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            there = {
                name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            tables: dict[str, list[Row]] = {}
            for name in (*_TABLES, *_PEOPLES):
                if name in there:
                    tables[name] = _of_table(connection, name, rescue)
            return tables if "items" in there else None
    except _BROKEN:
        return None


def _of_table(connection: sqlite3.Connection, name: str, rescue: Rescue) -> list[Row]:
    broken: list[str] = []
    if not _as_declared(connection, name):
        rescue.unread.append(name)
        return []
    read = _by_name if name in _WITHOUT_NUMBERS else _by_number
    later = tuple(_LATER[column] for column in _declared().get(name, [])[len(_columns(connection, name)) :])
    rows = {row[0]: (*row[1:], *later) for row in read(connection, name, broken.append)}
    if broken:
        rescue.unread.append(name)
    good = [row for row in rows.values() if _is_good(name, row)]
    if len(good) < len(rows):
        rescue.damaged[name] = len(rows) - len(good)
    return good


def _as_declared(connection: sqlite3.Connection, name: str) -> bool:
    """Whether the table has the columns that it was made with, or, of an earlier release, the first of them.

    A flipped bit in the list of tables would make every value that of another column.
    """
    return (names := _columns(connection, name)) == _declared()[name][: len(names)]


def _columns(connection: sqlite3.Connection, name: str) -> list[str]:
    return [column for _, column, *_ in connection.execute(f"PRAGMA table_info({name})")]


@cache
def _declared() -> dict[str, list[str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        set_up(connection)
        for statement in _PEOPLES.values():
            connection.execute(statement)
        return {name: _columns(connection, name) for name in (*_TABLES, *_PEOPLES)}


def _is_good(table: str, row: Row) -> bool:
    if table == "facts":
        try:
            orjson.loads(row[1])
        except ValueError:
            return False
    if table in _SEALED and row[-1] is None:  # of an earlier release, or of a row whose end is cut off
        return _looks_like_one(table, row)
    return intact(row) if table in _SEALED else True


def _looks_like_one(table: str, row: Row) -> bool:
    """Whether a row without a checksum is what it should be, as far as that shows."""
    if table == "calls":
        counts = all(isinstance(value, int) for value in row[8:14])
        return counts and isinstance(row[5], str) and isinstance(row[14], float)
    number, state, _, _, _, record, meta, _ = row
    try:
        told, item = orjson.loads(meta), loads(record)
    except (ValueError, TypeError):
        return False
    known = state in ("accepted", "rejected", "surplus") and isinstance(item, dict) and isinstance(told, dict)
    return known and told.get("id") in (item_id(number), None)


def _by_number(connection: sqlite3.Connection, name: str, broken: Callable[[str], None]) -> Iterator[Row]:
    """All rows by their number; where a page is damaged, on from the next number that can be read."""
    last = -1
    while True:
        try:
            for row in connection.execute(
                f"SELECT rowid, * FROM {name} WHERE rowid > ? ORDER BY rowid",  # noqa: S608 - one of our tables
                (last,),
            ):
                last = row[0]
                yield row
            return
        except _BROKEN as error:
            broken(str(error))
            following = _next_readable(connection, name, last)
            if following is None or following[0] <= last:
                return
            last = following[0]
            yield following


def _next_readable(connection: sqlite3.Connection, name: str, last: int) -> Row | None:
    """The first row after number `last` that can be read."""

    def first_after(number: int) -> Row | None:
        sql = f"SELECT rowid, * FROM {name} WHERE rowid > ? ORDER BY rowid LIMIT 1"  # noqa: S608 - one of our tables
        row: Row | None = connection.execute(sql, (number,)).fetchone()
        return row

    step = 1
    while last + step < _FARTHEST:
        try:
            found = first_after(last + step)
            break
        except _BROKEN:
            step *= 2
    else:
        return None
    low, high = step // 2, step
    while high - low > 1:  # the least step that leads past the damage
        middle = (low + high) // 2
        try:
            found = first_after(last + middle)
            high = middle
        except _BROKEN:
            low = middle
    return found


def _by_name(connection: sqlite3.Connection, name: str, broken: Callable[[str], None]) -> Iterator[Row]:
    """A table without row numbers: from the one end and, where that ends early, from the other."""
    for order in ("ASC", "DESC"):
        try:
            for row in connection.execute(f"SELECT * FROM {name} ORDER BY 1 {order}"):  # noqa: S608
                yield row, *row  # its key may be of several columns
            return
        except _BROKEN as error:
            broken(str(error))


def _in_files(folder: RunFolder) -> Iterator[Row]:
    """The items in accepted.jsonl and rejected.jsonl, as rows of the table `items`."""
    for state, path in (("accepted", folder.accepted), ("rejected", folder.rejected)):
        with contextlib.suppress(OSError), path.open("rb") as file:
            for line in file:
                try:
                    record = loads(line)
                    meta = record.pop("_meta")
                    batch, _, position = str(meta["id"]).partition("-")
                    number = int(batch) * POSITIONS + int(position)
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue
                by, reason = meta.get("rejected_by"), meta.get("reason")
                row = (number, state, None, by, reason, _json(record), _json(meta))
                yield *row, checksum(row)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _sound(path: Path) -> bool:
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as connection:
            return [row[0] for row in connection.execute("PRAGMA integrity_check")] == ["ok"]
    except _BROKEN:
        return False


# --- writing it anew ---------------------------------------------------------------------------------


def _note_gaps(tables: dict[str, list[Row]], rescue: Rescue) -> None:
    """Lowers `committed` to the first batch of which items are lost, so that a resume decides the rest of it."""
    facts: dict[Any, Any] = dict(tables.get("facts", ()))
    positions: dict[int, list[int]] = {}
    for row in tables["items"]:
        positions.setdefault(row[0] // POSITIONS, []).append(row[0] % POSITIONS)
    committed = int(facts.get("committed", 0))
    usual = max((len(found) for found in positions.values()), default=0)
    gaps = [
        batch
        for batch in range(committed)
        if len(found := positions.get(batch, [])) < usual and found != list(range(len(found) or 1))
    ]
    rescue.to_ask_again = len(gaps)
    if gaps:
        facts["committed"] = str(gaps[0])
        tables["facts"] = list(facts.items())


def _start_of(tables: dict[str, list[Row]], folder: RunFolder) -> Row:
    """A start in place of those that are lost: what the answers cost is what it spent."""
    began = min((path.stat().st_mtime for path in folder.files if path.exists()), default=0.0)
    spent = sum(int(row[11]) for row in tables.get("calls", ()))
    return 1, began, None, None, spent, "{}"


def _write(folder: RunFolder, tables: dict[str, list[Row]], rescue: Rescue) -> None:
    with temporary_beside(folder.database) as temporary:
        with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            set_up(connection)
            connection.execute("DELETE FROM facts")
            for name, statement in _PEOPLES.items():
                if tables.get(name):
                    connection.execute(statement)
            connection.execute("BEGIN")
            for name, rows in tables.items():
                rescue.kept[name] = _inserted(connection, name, rows)
            connection.execute("INSERT OR IGNORE INTO facts VALUES ('version', ?)", (str(_version(tables)),))
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")
        rescue.set_aside = _aside(folder.database)
        temporary.replace(folder.database)


def _version(tables: dict[str, list[Row]]) -> int:
    known: dict[Any, Any] = dict(tables.get("facts", ()))
    return int(known.get("version", VERSION))


def _inserted(connection: sqlite3.Connection, name: str, rows: Sequence[Row]) -> int:
    count = 0
    for row in rows:
        places = ",".join("?" * len(row))
        with contextlib.suppress(sqlite3.Error):  # of an older release, or not what such a row is
            connection.execute(f"INSERT OR REPLACE INTO {name} VALUES ({places})", row)  # noqa: S608
            count += 1
    return count


def _aside(database: Path) -> Path:
    """Moves the damaged journal, with its log, to a name of its own."""
    number = 1
    while (place := database.with_name(f"{database.name}.damaged-{number}")).exists():
        number += 1
    for ending in ("-wal", "-shm"):
        beside = database.with_name(database.name + ending)
        if beside.exists():
            beside.replace(place.with_name(place.name + ending))
    if database.exists():
        database.replace(place)
    return place

"""Documents and their passages in SQLite: on disk for as long as they are read, in run.db from a run's start on."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import orjson

from engine.items import Passage

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
  document INTEGER PRIMARY KEY, file TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, pages INTEGER,
  characters INTEGER NOT NULL, reason TEXT NOT NULL, said TEXT NOT NULL, version TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS passages (
  passage INTEGER PRIMARY KEY, document INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, page INTEGER,
  breaks TEXT NOT NULL, heading TEXT NOT NULL, left_out TEXT NOT NULL, same_as INTEGER, text TEXT NOT NULL);
"""
#  documents  reason: why a file could not be read, as a slug, and what to do about it (said); '' for one that was read,
#             of which said tells what a reader should know; version: of the reader, and of the cut
#  passages   first, last: where it stands in the document's text; breaks: where in it further pages begin, as JSON;
#             left_out: why nothing is made from it; same_as: the passage that it repeats
REPEATS = "repeats"
"""Why a passage is left out that another one repeats."""
_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True)
class File:
    """One file of a shelf."""

    number: int
    name: str
    sha256: str
    size: int
    """Bytes."""
    pages: int | None
    characters: int
    reason: str = ""
    said: str = ""
    version: str = ""
    """Of the reader and of the cut by which it became passages."""

    @property
    def is_read(self) -> bool:
        return not self.reason


class Shelf:
    """All documents of a run, and their passages. Mutable while documents are being added.

    Passages are read from disk as they are asked for; what is held in memory is their numbers.
    """

    def __init__(self, connection: sqlite3.Connection, *, kept: bool = False) -> None:
        """`kept`: whether it was read before, and stands in a run."""
        self._db = connection
        self.kept = kept

    @classmethod
    def temporary(cls) -> Shelf:
        """An empty one, in a file that nobody sees and that is gone with the connection."""
        connection = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA)
        return cls(connection)

    @classmethod
    def opened(cls, path: Path) -> Shelf | None:
        """What a run.db, or a file that `write` has made, holds; None where it holds no documents."""
        if not is_shelf(path):
            return None
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False, isolation_level=None
        )
        try:
            [[count]] = connection.execute("SELECT count(*) FROM documents")
        except sqlite3.OperationalError:
            count = 0
        if not count:
            connection.close()
            return None
        return cls(connection, kept=True)

    def close(self) -> None:
        self._db.close()

    # --- adding ---

    def add_file(self, file: File) -> None:
        self._db.execute(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            astuple(file),
        )

    def add(self, document: int, passages: Iterable[tuple[Passage, str]]) -> None:
        """Each with the reason why nothing is made from it, or ''."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
            (
                (each.number, document, each.start, each.end, each.page, orjson.dumps(each.breaks).decode(),
                 each.heading, left_out, each.text)
                for each, left_out in passages
            ),
        )  # fmt: skip
        self._db.execute("COMMIT")

    def repeats(self, pairs: Iterable[tuple[int, int]]) -> None:
        """(passage, the one that it repeats)."""
        self._db.executemany(
            "UPDATE passages SET left_out = ?, same_as = ? WHERE passage = ?",
            ((REPEATS, same, number) for number, same in pairs),
        )

    # --- reading ---

    def files(self) -> list[File]:
        return [File(*row) for row in self._db.execute("SELECT * FROM documents ORDER BY document")]

    def text(self, number: int) -> str:
        [[text]] = self._db.execute("SELECT text FROM passages WHERE passage = ?", (number,))
        return str(text)

    def passage(self, number: int) -> Passage:
        """Raises KeyError for a number that is none."""
        for passage in self._passages("WHERE passage = ?", (number,)):
            return passage
        raise KeyError(number)

    def passages(self) -> Iterator[Passage]:
        """Those that items can be made from, in order."""
        return self._passages("WHERE left_out = '' ORDER BY passage")

    def all_passages(self) -> Iterator[tuple[Passage, str, int | None]]:
        """Every passage, why it is left out, and the one that it repeats."""
        rows = self._db.execute(f"{_SELECT}, left_out, same_as {_FROM} ORDER BY passage")
        return ((_passage(row[:9]), row[9], row[10]) for row in rows)

    def _passages(self, where: str, values: Sequence[int] = ()) -> Iterator[Passage]:
        return map(_passage, self._db.execute(f"{_SELECT} {_FROM} {where}", values))

    def usable(self) -> list[list[int]]:
        """The numbers of passages that items can be made from, by document; documents without any are left out."""
        found: dict[int, list[int]] = {}
        rows = self._db.execute("SELECT document, passage FROM passages WHERE left_out = '' ORDER BY passage")
        for document, number in rows:
            found.setdefault(document, []).append(number)
        return list(found.values())

    def left_out(self) -> dict[str, int]:
        """How many passages, by the reason why nothing is made from them; '' are those that are used."""
        rows = self._db.execute("SELECT left_out, count(*) FROM passages GROUP BY left_out")
        return dict(rows.fetchall())

    def counts(self) -> dict[int, int]:
        """How many passages items can be made from, by document."""
        rows = self._db.execute(
            "SELECT document, count(*) FROM passages WHERE left_out = '' GROUP BY document"
        )
        return dict(rows.fetchall())

    def extremes(self) -> list[int]:
        """The shortest and the longest usable passage."""
        query = "SELECT passage FROM passages WHERE left_out = '' ORDER BY last - first {}, passage LIMIT 1"
        return [number for order in ("", "DESC") for (number,) in self._db.execute(query.format(order))]

    def lengths(self) -> list[int]:
        """Of all usable passages, in characters, ascending."""
        rows = self._db.execute("SELECT last - first FROM passages WHERE left_out = '' ORDER BY 1")
        return [length for (length,) in rows]

    def digest(self, *more: object) -> str:
        """Tells documents, and how they were read, from others: the SHA-256 of every file, by name, and of `more`."""
        made = hashlib.sha256(repr(more).encode())
        for file in self.files():
            made.update(f"{file.name}\0{file.sha256}\0{file.version}\n".encode())
        return made.hexdigest()

    def write(self, path: Path) -> None:
        """Into a database that may hold other things, all at once. Raises sqlite3.Error."""
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as there:
            there.executescript(SCHEMA)
            there.execute("BEGIN IMMEDIATE")
            for table, columns in (("documents", 9), ("passages", 10)):
                marks = ", ".join("?" * columns)
                there.execute(f"DELETE FROM {table}")  # noqa: S608 - names from here
                rows = self._db.execute(f"SELECT * FROM {table}")  # noqa: S608
                there.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608
            there.execute("COMMIT")


_SELECT = "SELECT passage, file, sha256, first, last, text, heading, page, breaks"
_FROM = "FROM passages JOIN documents USING (document)"


def _passage(row: Sequence[object]) -> Passage:
    passage = Passage(*row)  # type: ignore[arg-type]
    return replace(passage, breaks=tuple(orjson.loads(str(passage.breaks))))


def is_shelf(path: Path) -> bool:
    """Whether it is a database, such as run.db."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False

"""The index of a run's items: their properties as columns, their words in SQLite's FTS5; thrown away without loss.

It stands in a file of its own in the cache folder and is filled from run.db, which it only reads, also while a run
writes it. Properties are held in memory, about 45 bytes an item, so that any filter and all counts take milliseconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
from filelock import FileLock, Timeout

from engine.dataset.paths import value_at
from engine.items import POSITIONS, item_number
from engine.schema.values import loads
from engine.store.reading import connect, read_fact
from engine.view.filters import Filter
from engine.view.tokens import TOKENIZER, query, searchable

FORM = 1
"""Of the file; another one is made anew."""
STATES = ("", "accepted", "rejected", "surplus")
DECISIONS = ("", "pass", "revise", "reject")
_FAR = 5_000
"""Batches behind."""
_STEP = 4_000
"""Items that are taken in at a time: about a twentieth of a second."""
_MOST_VALUES = 65_535
"""Different values of one property that are told apart."""
_MOST_ATTRIBUTES = 12
_SHORT = 60
"""Characters of a label."""
_PIECE = 65_536
"""Items in a whole piece of the file."""
_CHUNKS = 64
"""Smaller pieces beyond which they are joined."""

Columns = dict[str, npt.NDArray[Any]]
_WORDS = {
    "by": "rejected by",
    "reason": "reason",
    "label": "label",
    "strategy": "strategy",
    "model": "model",
}
"""Properties whose values are words, with their titles."""


class Found(NamedTuple):
    """What a filter lets through: places in the columns as they were then."""

    columns: Columns
    places: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.places)

    def numbers(self, first: int = 0, last: int | None = None) -> list[int]:
        """The numbers of the items from one place in the order to another."""
        return [int(number) for number in self.columns["item"][self.places[first:last]]]


class Index:
    """One run's index. Filled by one thread at a time; read by any.

    One process at a time fills the file; another one has a file of its own, which goes with it.
    Mutable state: the columns and the values of the words (each replaced as a whole), the file, what is in it.
    """

    def __init__(self, database: Path, cache: Path, label: str | None = None) -> None:
        """`cache` is the folder for the file, `label` the field whose values are counted. Raises StoreError where
        run.db cannot be read.
        """
        self._database = database
        self._label = label
        name = hashlib.blake2b(str(database.resolve()).encode(), digest_size=12).hexdigest()
        self._own = contextlib.ExitStack()
        self.path = self._place(cache, name)
        self._filling = threading.Lock()
        self.columns: Columns = {}
        self._room: Columns = {}
        self.words: dict[str, list[str]] = {}
        """By property, its values; their places are what the columns hold."""
        self.validators: tuple[str, ...] = ()
        self.attributes: tuple[str, ...] = ()
        self._known: dict[str, dict[str, int]] = {}
        self._searched: tuple[str, Any, npt.NDArray[np.int64]] = ("", None, np.empty(0, np.int64))
        self._next = 0
        self._reviewed = 0
        self._pieces = 0
        self._about: list[Any] = []
        try:
            with contextlib.closing(connect(database)) as run:
                self._opened(run)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leaves the file to others."""
        self._own.close()

    # --- the file ---

    def _place(self, cache: Path, name: str) -> Path:
        """The file in the cache; one of our own where that is another process's, or cannot be written."""
        try:
            cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(cache / f"{name}.lock", is_singleton=False)
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            return (
                Path(self._own.enter_context(tempfile.TemporaryDirectory(prefix="datagen-"))) / f"{name}.db"
            )
        self._own.callback(lock.release)
        return cache / f"{name}.db"

    @contextlib.contextmanager
    def _side(self) -> Iterator[sqlite3.Connection]:
        side = sqlite3.connect(self.path, isolation_level=None, timeout=30)
        try:
            yield side
        finally:
            side.close()

    def _opened(self, run: sqlite3.Connection) -> None:
        """Opens the file; one that is damaged, as after a power cut, is made anew."""
        try:
            with self._side() as side:
                self._open(side, run)
        except sqlite3.DatabaseError:
            for ending in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
            with self._side() as side:
                self._open(side, run)

    def _what(self, run: sqlite3.Connection) -> list[Any]:
        """What the columns depend on: another run in the same folder, or checks that are known only by now."""
        began = run.execute("SELECT began FROM starts ORDER BY start LIMIT 1").fetchone()
        validators = list(read_fact(run, "validators") or ())
        return [FORM, began[0] if began else None, self._label, validators, _attributes(run)]

    def _open(self, side: sqlite3.Connection, run: sqlite3.Connection) -> None:
        side.execute("PRAGMA journal_mode = WAL")
        side.execute("PRAGMA synchronous = OFF")
        self._about = self._what(run)
        self.validators, self.attributes = map(tuple, self._about[-2:])
        mark = orjson.dumps(self._about).decode()
        if _kept(side, "about") != mark:
            side.executescript(
                "DROP TABLE IF EXISTS words; DROP TABLE IF EXISTS pieces; DROP TABLE IF EXISTS kept;"
                "CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
                "CREATE TABLE pieces (piece INTEGER PRIMARY KEY, rows BLOB NOT NULL);"
                "CREATE VIRTUAL TABLE words USING fts5("
                f"text, content='', detail=none, tokenize={TOKENIZER});"
            )
            _keep(side, "about", mark)
        self.words = {name: [""] for name in (*_WORDS, *map(_attribute, range(len(self.attributes))))}
        self.words |= orjson.loads(_kept(side, "values") or "{}")
        self._known = {
            name: {value: n for n, value in enumerate(values)} for name, values in self.words.items()
        }
        self._next = int(_kept(side, "next") or 0)
        self._reviewed = int(_kept(side, "reviewed") or 0)
        self._pieces = 0
        self.columns = self._room = _latest(self._loaded(side))

    def _loaded(self, side: sqlite3.Connection) -> Columns:
        """The columns in the file, piece by piece: a million items have 40 MB, and are not to be there twice."""
        kind = self._kind()
        [whole] = side.execute("SELECT coalesce(sum(length(rows)), 0) FROM pieces").fetchone()
        columns = {name: np.empty(whole // kind.itemsize, kind[name]) for name in kind.names or ()}
        start = 0
        for (piece,) in side.execute("SELECT rows FROM pieces ORDER BY piece"):
            rows = np.frombuffer(piece, kind)
            for name, column in columns.items():
                column[start : start + len(rows)] = rows[name]
            start += len(rows)
            self._pieces += len(rows) < _PIECE
        return columns

    def _kind(self) -> np.dtype[Any]:
        """The columns of an item."""
        words = [(name, "u2") for name in self.words]
        verdicts = [(_verdict(n), "u1") for n in range(len(self.validators))]
        return np.dtype(
            [("item", "i8"), ("state", "u1"), ("review", "u1"), ("revised", "u1"), ("chars", "u4"), ("cost", "f4"),
             ("doubt", "f4"), *words, *verdicts]
        )  # fmt: skip

    # --- filling ---

    def __len__(self) -> int:
        return len(self.columns["item"])

    def behind(self) -> int:
        """About how many items are not taken in yet."""
        with contextlib.closing(connect(self._database)) as run:
            [there] = run.execute("SELECT count(*) FROM items WHERE item >= ?", (self._next,)).fetchone()
        known = len(self) - int(np.searchsorted(self.columns["item"], self._next))
        return max(0, int(there) - known)

    def is_far_behind(self) -> bool:
        """Whether so many batches are not taken in that it takes seconds."""
        with contextlib.closing(connect(self._database)) as run:
            [last] = run.execute("SELECT max(item) FROM items").fetchone()
        return last is not None and last - self._next > _FAR * POSITIONS

    def catch_up(self) -> bool:
        """Takes in what run.db holds by now; True where that changed anything."""
        with self._filling, contextlib.closing(connect(self._database)) as run, self._side() as side:
            if self._what(run) != self._about:
                self._open(side, run)
            committed = item_number(int(read_fact(run, "committed") or 0), 0)
            self._next = min(self._next, committed)
            changed, last = False, self._next - 1
            while rows := [_read(row) for row in run.execute(_SQL, (last, _STEP))]:
                last = rows[-1][0]
                changed |= self._take_in(rows, side)
                self._keep_place(side, min(last + 1, committed))
            self._keep_place(side, committed)
            changed |= self._take_reviews(run, side)
            if self._pieces > _CHUNKS:
                self._join(side)
            return changed

    def _keep_place(self, side: sqlite3.Connection, following: int) -> None:
        if following > self._next:
            self._next = following
            _keep(side, "next", str(following))

    def _take_in(self, rows: Sequence[Any], side: sqlite3.Connection) -> bool:
        """Adds items, and changes those whose fate is another one now."""
        numbers = np.array([row[0] for row in rows], np.int64)
        at = np.searchsorted(self.columns["item"], numbers)
        there = np.zeros(len(rows), bool)
        inside = at < len(self)
        there[inside] = self.columns["item"][at[inside]] == numbers[inside]
        same = there.copy()
        states = [STATES.index(row[1]) for row, known in zip(rows, there, strict=True) if known]
        same[there] = self.columns["state"][at[there]] == states
        some = [row for row, known in zip(rows, same, strict=True) if not known]
        if not some:
            return False
        new = [row for row, known in zip(rows, there, strict=True) if not known]
        values = sum(map(len, self.words.values()))
        made = np.array([self._row(row) for row in some], self._kind())
        known = ~same & there
        made["review"][there[~same]] = self.columns["review"][at[known]]
        texts = [(row[0], _text(row[5], row[6])) for row in new]
        side.execute("BEGIN IMMEDIATE")
        side.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", texts)
        self._add(side, made)
        if sum(map(len, self.words.values())) > values:
            _keep(side, "values", orjson.dumps(self.words).decode())
        side.execute("COMMIT")
        return True

    def _add(self, side: sqlite3.Connection, rows: npt.NDArray[Any]) -> None:
        side.execute("INSERT INTO pieces (rows) VALUES (?)", (rows.tobytes(),))
        self._pieces += 1
        count = len(self)
        if count and rows["item"][0] <= self.columns["item"][-1]:
            joined = {name: np.concatenate([column, rows[name]]) for name, column in self.columns.items()}
            self.columns = self._room = _latest(joined)
            return
        whole = count + len(rows)
        if whole > len(self._room["item"]):  # an eighth more, so that not all is copied at each step
            self._room = {name: _wider(column, whole * 9 // 8) for name, column in self.columns.items()}
        for name, column in self._room.items():
            column[count:whole] = rows[name]  # whoever reads has the columns up to here
        self.columns = {name: column[:whole] for name, column in self._room.items()}

    def _row(self, row: Sequence[Any]) -> tuple[Any, ...]:
        number, state, label, by, reason, record, meta, chars = row
        decided: dict[str, str] = {}
        agreement = meta.get("agreement")
        for verdict in meta.get("verdicts", ()):
            decided[str(verdict.get("by"))] = str(verdict.get("verdict"))
        revised = int(meta.get("revisions") or 0)
        doubt = (1.0 - agreement if isinstance(agreement, float) else 0.0) + 0.5 * (revised > 0)
        attributes = meta.get("attributes") or {}
        said = label if label is not None else self._label_in(record)
        words = [by or "", reason or "", said, meta.get("strategy") or "", meta.get("model") or ""]
        words += [attributes.get(name) or "" for name in self.attributes]
        codes = [self._code(name, str(value)[:200]) for name, value in zip(self.words, words, strict=True)]
        verdicts = [
            DECISIONS.index(d) if (d := decided.get(name, "")) in DECISIONS else 0 for name in self.validators
        ]
        cost = float(meta.get("cost_usd") or 0.0)
        return (
            number, STATES.index(state), 0, min(revised, 255), chars, cost, doubt, *codes, *verdicts
        )  # fmt: skip

    def _label_in(self, record: Mapping[str, Any]) -> str:
        """Short labels alone: those of which there may be few."""
        if self._label is None:
            return ""
        value = value_at(record, self._label)
        said = str(value) if isinstance(value, str | int | float) else ""
        return said if len(said) <= _SHORT else ""

    def _code(self, name: str, value: str) -> int:
        known = self._known[name]
        code = known.get(value)
        if code is None:
            if len(known) > _MOST_VALUES:
                return 0
            code = known[value] = len(known)
            self.words[name].append(value)
        return code

    def _take_reviews(self, run: sqlite3.Connection, side: sqlite3.Connection) -> bool:
        """Takes in what people have decided since, with the fate that it gave the item."""
        if not run.execute("SELECT 1 FROM sqlite_master WHERE name = 'reviews'").fetchone():
            return False
        fresh = run.execute(
            "SELECT max(review), item FROM reviews WHERE review > ? AND decision != 'refused' GROUP BY item ORDER BY 1",
            (self._reviewed,),
        ).fetchall()
        if not fresh:
            return False
        columns = {name: column.copy() for name, column in self.columns.items()}
        touched = []
        for review, item in fresh:
            self._reviewed = max(self._reviewed, review)
            place = int(np.searchsorted(columns["item"], item))
            if place == len(columns["item"]) or columns["item"][place] != item:
                continue  # of an item that a repair could not rescue
            [decision] = run.execute("SELECT decision FROM reviews WHERE review = ?", (review,)).fetchone()
            row = run.execute(f"{_COLUMNS} WHERE item = ?", (item,)).fetchone()
            for name, value in zip(columns, self._row(_read(row)), strict=True):
                columns[name][place] = value
            columns["review"][place] = REVIEWS.index(decision) if decision in REVIEWS else 0
            touched.append(place)
        if touched:
            rows = np.zeros(len(touched), self._kind())
            for name, column in columns.items():
                rows[name] = column[touched]
            side.execute("INSERT INTO pieces (rows) VALUES (?)", (rows.tobytes(),))
            self._pieces += 1
            _keep(side, "reviewed", str(self._reviewed))
            _keep(side, "values", orjson.dumps(self.words).decode())
            self.columns = self._room = columns
        return bool(touched)

    def _join(self, side: sqlite3.Connection) -> None:
        side.execute("BEGIN IMMEDIATE")
        side.execute("DELETE FROM pieces")
        for start in range(0, len(self), _PIECE):
            rows = np.empty(min(_PIECE, len(self) - start), self._kind())
            for name, column in self.columns.items():
                rows[name] = column[start : start + _PIECE]
            side.execute("INSERT INTO pieces (rows) VALUES (?)", (rows.tobytes(),))
        side.execute("COMMIT")
        self._pieces = 0

    # --- reading ---

    def chosen(
        self, filter_: Filter, noted: Sequence[int] = (), within: Sequence[int] | None = None
    ) -> Found:
        """The items that the filter lets through, in its order. `noted`: items whose notes it finds; `within`: those of
        its area on the map.
        """
        columns = self.columns
        through = self._through(columns, filter_)
        if filter_.q.strip():
            through &= self._said(columns, filter_.q, noted)
        if within is not None:
            through &= np.isin(columns["item"], np.array(within, np.int64))
        places = np.flatnonzero(through)
        name, down = filter_.sort.removeprefix("-"), filter_.sort.startswith("-")
        if name == "plan":
            return Found(columns, places[::-1] if down else places)
        key = columns[name][places].astype(np.float64)
        return Found(columns, places[np.argsort(-key if down else key, kind="stable")])

    def _through(self, columns: Columns, filter_: Filter) -> npt.NDArray[np.bool_]:
        through = np.ones(len(columns["item"]), bool)
        for name, value in (("state", filter_.state), ("review", filter_.review)):
            if value:
                codes = STATES if name == "state" else REVIEWS
                wanted = codes.index(value) if value in codes else 0 if value == "none" else -1
                through &= columns[name] == wanted
        for name in _WORDS:
            value = getattr(filter_, name)
            if value or (name == "label" and value is not None):
                through &= columns[name] == self._known[name].get(value, -1)
        for each in filter_.verdict:
            validator, _, decision = each.rpartition(":")
            known = validator in self.validators and decision in DECISIONS
            place = self.validators.index(validator) if known else -1
            through &= columns[_verdict(place)] == DECISIONS.index(decision) if known else False
        for each in filter_.attr:
            name, _, value = each.partition("=")
            known = name in self.attributes
            column = _attribute(self.attributes.index(name)) if known else ""
            through &= columns[column] == self._known[column].get(value, -1) if known else False
        if filter_.revised:
            through &= (columns["revised"] > 0) == (filter_.revised == "yes")
        least, most = filter_.costs()
        through &= columns["cost"] >= least if least is not None else True
        through &= columns["cost"] <= most if most is not None else True
        if (batches := filter_.batches()) is not None:
            low, high = (item_number(batch, 0) for batch in batches)
            through &= (columns["item"] >= low) & (columns["item"] < high)
        if (numbers := filter_.numbers()) is not None:
            through &= np.isin(columns["item"], np.array(numbers, np.int64))
        return through

    def _said(self, columns: Columns, said: str, noted: Sequence[int]) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(columns["item"]), bool)
        for numbers in (self._with_words(said, columns), np.array(noted, np.int64)):
            places = np.searchsorted(columns["item"], numbers)
            inside = places < len(found)
            places, numbers = places[inside], numbers[inside]
            found[places[columns["item"][places] == numbers]] = True
        return found

    def _with_words(self, said: str, columns: Columns) -> npt.NDArray[np.int64]:
        """The numbers of the items that have these words. The last search is remembered: counts ask for it, too."""
        words, there, numbers = self._searched
        if words == said and there is columns["item"]:
            return numbers
        asked = query(said)
        if not asked:
            return np.empty(0, np.int64)
        with self._side() as side:  # as one text: a row for each would take ten times as long
            [joined] = side.execute(
                "SELECT group_concat(rowid) FROM words WHERE words MATCH ?", (asked,)
            ).fetchone()
        numbers = np.fromstring(joined or "", np.int64, sep=",")
        self._searched = said, columns["item"], numbers
        return numbers

    def states(self) -> dict[str, int]:
        """How many items have each fate."""
        found = np.bincount(self.columns["state"], minlength=len(STATES))
        return {state: int(count) for state, count in zip(STATES, found, strict=True) if state}

    def reasons(self, most: int) -> list[tuple[str, str, int]]:
        """(by, reason, count) of the most frequent rejections."""
        columns = self.columns
        away = columns["state"] == STATES.index("rejected")
        codes = columns["by"][away].astype(np.uint32) * (_MOST_VALUES + 1) + columns["reason"][away]
        values, counts = np.unique(codes, return_counts=True)
        named = [
            (
                self.words["by"][code // (_MOST_VALUES + 1)],
                self.words["reason"][code % (_MOST_VALUES + 1)],
                count,
            )
            for code, count in zip(values.tolist(), counts.tolist(), strict=True)
        ]
        return sorted(named, key=lambda each: -each[2])[:most]

    def counts(self, found: Found | None = None) -> dict[str, tuple[str, dict[str, int]]]:
        """(title, counts by value) of each property, of the items that were found, or of all."""
        counted: dict[str, tuple[str, dict[str, int]]] = {}
        columns = found.columns if found is not None else self.columns

        def of(column: str) -> npt.NDArray[Any]:
            return columns[column] if found is None else columns[column][found.places]

        def count(name: str, title: str, column: str, values: Sequence[str], *, empty: str = "") -> None:
            numbers = np.bincount(of(column), minlength=len(values))
            counts = {
                value: int(n) for value, n in zip(values, numbers, strict=False) if n and (value or empty)
            }
            if "" in counts:
                counts[empty] = counts.pop("")
            counted[name] = title, counts

        count("state", "fate", "state", STATES)
        for name, title in _WORDS.items():
            count(name, title, name, self.words[name])
        for place, validator in enumerate(self.validators):
            count(f"verdict:{validator}", validator, _verdict(place), DECISIONS)
        for place, attribute in enumerate(self.attributes):
            count(f"attr:{attribute}", attribute, _attribute(place), self.words[_attribute(place)])
        codes = of("revised")
        changed = int(np.count_nonzero(codes))
        if changed:
            counted["revised"] = "revised", {"yes": changed, "no": len(codes) - changed}
        count("review", "review", "review", REVIEWS, empty="none")
        return counted


REVIEWS = ("", "accept", "reject", "note", "edit")
_COLUMNS = "SELECT item, state, label, rejected_by, reason, record, meta FROM items"
_SQL = f"{_COLUMNS} WHERE item > ? ORDER BY item LIMIT ?"


def _wider(column: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    wider = np.empty(size, column.dtype)
    wider[: len(column)] = column
    return wider


def _latest(columns: Columns) -> Columns:
    """In the order of the items, each once: as it was said last."""
    numbers = columns["item"]
    if len(numbers) < 2 or bool(np.all(numbers[1:] > numbers[:-1])):
        return columns
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    return {name: column[order[last]] for name, column in columns.items()}


def _verdict(place: int) -> str:
    return f"verdict {place}"


def _attribute(place: int) -> str:
    return f"attribute {place}"


def _attributes(run: sqlite3.Connection) -> list[str]:
    """The names of the attributes that items were asked for."""
    about: Mapping[str, Any] = read_fact(run, "diversity") or {}
    return [str(each["name"]) for each in about.get("attributes") or ()][:_MOST_ATTRIBUTES]


def _read(row: Sequence[Any]) -> tuple[Any, ...]:
    """A row with its record and meta parsed, and the characters of the record."""
    *values, record, meta = row
    try:
        parsed = orjson.loads(record)
    except orjson.JSONDecodeError:  # with numbers that only our own reading knows
        parsed = loads(record)
    return *values, parsed, orjson.loads(meta), len(record)


def _text(record: Any, meta: Mapping[str, Any]) -> str:
    """All texts of an item, and what the last check said of it."""
    texts: list[str] = []
    _gather(record, texts)
    verdicts = meta.get("verdicts") or [{}]
    texts.append(str(verdicts[-1].get("feedback") or ""))
    return searchable(" \n".join(texts))


def _gather(value: Any, texts: list[str]) -> None:
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            _gather(inner, texts)
    elif isinstance(value, list):
        for inner in value:
            _gather(inner, texts)
    elif value is not None:
        texts.append(str(value))


def _kept(side: sqlite3.Connection, name: str) -> str | None:
    if not side.execute("SELECT 1 FROM sqlite_master WHERE name = 'kept'").fetchone():
        return None
    found = side.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
    return None if found is None else str(found[0])


def _keep(side: sqlite3.Connection, name: str, value: str) -> None:
    side.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, value))

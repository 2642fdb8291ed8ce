"""Delimited text: any delimiter and quoting, found by the width that most rows share with the header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from engine.config.reading import CsvConfig
from engine.errors import ConfigError
from engine.escaping import unquoted_cell
from engine.files.rows import BadRow, Numbered, Row, too_long
from engine.files.text import not_utf8

_SAMPLE = 1 << 20
"""Characters by which the dialect is told."""
_MOST_ROWS = 2_000
DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe"}
_NUMBER = re.compile(r"[-+]?(?:\d[\d.,]*|\.\d+)(?:[eE][-+]?\d+)?%?")
_LONGEST_NAME = 100
_ALIKE = 0.9


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the cells of a file are told apart."""

    delimiter: str
    quote: str = '"'
    """Empty where quotes are characters like any other."""
    escaped: bool = False
    """Whether a backslash stands before a quote within a cell; otherwise it is doubled."""
    spaced: bool = False
    """Whether blanks stand between a delimiter and the cell."""
    skipped: int = 0
    """Lines before the header: `sep=;`, which Excel writes."""

    def reader(self, lines: Iterator[str], *, strict: bool = False) -> Any:
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar="\\" if self.escaped else None,
            doublequote=not self.escaped,
            skipinitialspace=self.spaced,
            strict=strict,
        )

    def in_words(self) -> str:
        """As in "tab-delimited, quotes are no quoting"."""
        named = DELIMITERS.get(self.delimiter, repr(self.delimiter))
        quoting = {"": ", quotes are no quoting", "'": ", quoted by '"}.get(self.quote, "")
        return f"{named}-delimited{quoting}{', quotes escaped by a backslash' if self.escaped else ''}"


class CsvFile:
    """Reads one file of delimited text."""

    def __init__(
        self, name: str, limit: int, given: CsvConfig, *, plain: bool = False, lenient: bool = False
    ) -> None:
        """`plain`: the file may hold a text a line, as a .txt does.

        `lenient` makes lines that are not UTF-8 bad rows.
        """
        csv.field_size_limit(2**31 - 1)  # a long cell must give one bad row, not end the reading
        self._name = name
        self._limit = limit
        self._given = given
        self._plain = plain
        self._lenient = lenient

    def dialect(self, stream: io.BufferedReader) -> tuple[Dialect | None, list[str]]:
        """The dialect and the columns; None for a text a line. Raises ConfigError."""
        text = self._text(stream)
        sample = text.read(_SAMPLE)
        if len(sample) == _SAMPLE:
            sample = sample.rpartition("\n")[0] or sample
        text.detach()
        if not sample.strip():
            raise ConfigError(f"{self._name}: is empty; a .csv dataset starts with a line of column names")
        dialect = found_dialect(sample, self._given, plain=self._plain)
        if dialect is None:
            if self._plain:
                return None, ["text"]
            dialect = Dialect(
                self._given.delimiter or ",", '"' if self._given.quote is None else self._given.quote
            )
        rows = list(islice(self._cells(iter(sample.splitlines(keepends=True)), dialect), 20))
        return dialect, self._columns([cells for _, cells in rows])

    def rows(
        self, stream: io.BufferedReader, dialect: Dialect | None, columns: Sequence[str]
    ) -> Iterator[Numbered]:
        """Raises ConfigError for text that is not UTF-8."""
        with self._text(stream) as text:
            if dialect is None:
                yield from self._lines(text)
                return
            cells = self._cells(text, dialect)
            if self._given.header is True or self._given.header is None:
                next(cells, None)
            for number, row in cells:
                yield number, self._row(number, columns, row)

    # --- parts ---

    def _text(self, stream: io.BufferedReader) -> io.TextIOWrapper:
        # Bare carriage returns end lines too: newline=None would change those within cells.
        return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")

    def _cells(self, lines: Iterator[str], dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
        """(line, cells) of each row that is not blank."""
        for _ in range(dialect.skipped):
            next(lines, None)
        since = _Since(_without_nul(lines))
        reader = dialect.reader(since)
        number = dialect.skipped + 1
        while True:
            since.lines.clear()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise ConfigError(f"{self._name} line {number}: is not delimited text: {error}") from None
            if since.ended and len(since.lines) > 1:
                self._check_closed(dialect, since.lines, number)
            if cells and (len(cells) > 1 or cells[0].strip()):
                yield number, cells
            number = dialect.skipped + reader.line_num + 1

    def _check_closed(self, dialect: Dialect, lines: Sequence[str], number: int) -> None:
        """Raises ConfigError where the last cell's quote is never closed: the rest of the file would be one cell."""
        try:
            list(dialect.reader(iter(lines), strict=True))
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise ConfigError(
                    f"{self._name} line {number}: a quote is opened and never closed; close it, or set "
                    "dataset.csv.quote: '' where quotes are characters like any other"
                ) from None

    def _columns(self, rows: Sequence[list[str]]) -> list[str]:
        """The names of the columns. Raises ConfigError where the first line holds none, or some twice."""
        header = [unquoted_cell(cell).strip() for cell in rows[0]]
        if isinstance(self._given.header, tuple):
            if len(self._given.header) != len(header):
                said = f"names {len(self._given.header)} columns, and there are {len(header)}"
                raise ConfigError(f"{self._name}: dataset.csv.header {said}")
            return list(self._given.header)
        if self._given.header is False:
            return [f"column_{place}" for place in range(1, len(header) + 1)]
        if self._given.header is None and (odd := _no_name(header, rows[1:])) is not None:
            raise ConfigError(
                f"{self._name} line 1: {odd!r} does not look like a column's name. Set dataset.csv.header: true if "
                "it is one, false if there are none (they are then column_1, column_2, ...), or to a list of names"
            )
        named = [name or f"Unnamed: {place}" for place, name in enumerate(header)]
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(
                f"{self._name} line 1: two columns are named {twice!r}; rename one, or set dataset.csv.header to a "
                "list of names"
            )
        return named

    def _row(self, number: int, columns: Sequence[str], cells: list[str]) -> Row | BadRow:
        if (size := sum(map(len, cells))) > self._limit:
            return too_long(number, size, self._limit)
        joined = "".join(cells)
        if not joined.isascii() and (raw := _as_it_was(joined)) is not None:
            if not self._lenient:
                raise not_utf8(self._name, number, raw)
            return BadRow(number, "invalid_utf8", "is not valid UTF-8")
        if len(cells) != len(columns):
            said = f"has {len(cells)} cells where the header has {len(columns)}"
            return BadRow(number, "wrong_columns", said)
        return dict(zip(columns, map(unquoted_cell, cells), strict=True))

    def _lines(self, text: io.TextIOWrapper) -> Iterator[Numbered]:
        """A text a line."""
        for number, line in enumerate(text, 1):
            said = line.rstrip("\r\n")
            if said.strip():
                yield number, self._row(number, ["text"], [said])


class _Since:
    """Passes lines on. Mutable: those passed on since it was cleared, and whether there are no more."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.lines: list[str] = []
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = next(self._lines)
        except StopIteration:
            self.ended = True
            raise
        self.lines.append(line)
        return line


def _without_nul(lines: Iterator[str]) -> Iterator[str]:
    return (line.replace("\0", "") if "\0" in line else line for line in lines)


def _as_it_was(text: str) -> bytes | None:
    """The bytes that are not UTF-8 with what stands around them; None if all is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return None


def _no_name(header: Sequence[str], others: Sequence[Sequence[str]]) -> str | None:
    """A cell of the first line that is data rather than a column's name."""
    for place, name in enumerate(header):
        if len(name) > _LONGEST_NAME:
            return name
        # 2019 may name a column; among numbers it is one of them.
        below = [row[place] for row in others if place < len(row)]
        if _NUMBER.fullmatch(name) and (not below or any(map(_NUMBER.fullmatch, below))):
            return name
    return None


# --- the dialect -----------------------------------------------------------------------------------


def found_dialect(sample: str, given: CsvConfig, *, plain: bool = False) -> Dialect | None:
    """The dialect in which most rows have the header's width; None if they have one cell in each.

    csv.Sniffer fails on quoted line breaks; this is right on files with them. `plain`: the file may hold a text a
    line, so that nearly all rows must have that width.
    """
    first = sample.split("\n", 1)[0].strip()
    excel = re.fullmatch(r"(?i)\"?sep=(.)\"?", first)
    skipped = int(excel is not None)
    named = given.delimiter or (excel[1] if excel is not None else None)
    delimiters = [named] if named is not None else list(DELIMITERS)
    quotes = [given.quote] if given.quote is not None else ['"', "'", ""]
    candidates = [
        Dialect(delimiter, quote, escaped, spaced, skipped)
        for delimiter in delimiters
        for quote in quotes
        for escaped in ((False, True) if quote and f"\\{quote}" in sample else (False,))
        for spaced in ((False, True) if quote and f"{delimiter} {quote}" in sample else (False,))
    ]
    scored = [(_score(sample, each), each) for each in candidates]
    best = max(scored, key=lambda pair: pair[0])
    share, width, _ = best[0]
    if given.delimiter is None and not excel and (width < 2 or (plain and share < _ALIKE)):
        return None
    return replace(best[1], skipped=skipped)


def _score(sample: str, dialect: Dialect) -> tuple[float, int, float]:
    """(share of rows with the header's width, that width, how well the quotes are read); the more the better."""
    lines = iter(sample.splitlines(keepends=True))
    for _ in range(dialect.skipped):
        next(lines, None)
    try:
        rows = [row for row in islice(dialect.reader(_without_nul(lines)), _MOST_ROWS) if row]
    except csv.Error:
        return 0.0, 1, 0.0
    rows = [row for row in rows if len(row) > 1 or row[0].strip()]
    if not rows:
        return 0.0, 1, 0.0
    width = len(rows[0])
    if width < 2:
        return 0.0, width, 0.0
    same = sum(len(row) == width for row in rows) / len(rows)
    return round(same, 3), width, _well_quoted(rows, dialect)


def _well_quoted(rows: Sequence[Sequence[str]], dialect: Dialect) -> float:
    """Prefers double quotes; others only where cells are left with quotes around them, or run on over lines."""
    cells = [cell for row in rows for cell in row]
    around = {
        quote: sum(len(cell) > 1 and cell[0] == cell[-1] == quote for cell in cells) / max(1, len(cells))
        for quote in ('"', "'")
    }
    # A cell that runs on over a line and its cells is one where a quote was a character like any other.
    swallowed = sum("\n" in cell and dialect.delimiter in cell for cell in cells)
    preference = {'"': 0.03, "'": 0.01, "": 0.0}.get(dialect.quote, 0.02)
    left = sum('\\"' in cell or "\\'" in cell for cell in cells) / max(1, len(cells))
    unescaped = sum('"' in cell.strip('"') and not dialect.escaped and cell.endswith('"') for cell in cells)
    return (
        preference
        - around['"']
        - (around["'"] if around["'"] > 0.2 else 0.0)
        - left
        - swallowed
        - unescaped / max(1, len(cells))
    )

"""A dataset's files as one sequence of rows: found, opened and told apart before the first row is read."""

from __future__ import annotations

import hashlib
import io
import weakref
import zipfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, get_args

from engine.config.reading import Format, ReadingConfig
from engine.errors import ConfigError
from engine.files.csv_rows import CsvFile, Dialect
from engine.files.json_rows import JsonFile
from engine.files.packed import bare_name, opened
from engine.files.places import ENDINGS, found
from engine.files.rows import BadRow, Numbered, Row
from engine.files.tables import ArrowFile, Workbook
from engine.files.text import as_utf8
from engine.schema.columns import Schema

_FORMATS: Mapping[str, Format] = {
    **{name: name for name in get_args(Format)},
    "ndjson": "jsonl",
    "feather": "arrow",
}
_TABLES = ("parquet", "arrow", "arrow_stream", "xlsx")
_PIECE = 1 << 20


@dataclass(frozen=True)
class _Part:
    """One file, and how its rows are read."""

    path: Path
    rows: Callable[[], Iterator[Numbered]]
    unit: str
    notes: tuple[str, ...] = ()
    schema: Schema | None = None
    delimited: bool = False
    """Whether its cells are texts, whatever they hold."""
    lines: JsonFile | None = None
    """What reads single rows again, where the file is JSON lines as they lie on the disk."""


@dataclass
class Source:
    """The rows of a dataset's files. Mutable: where each file's rows begin, known once they have been read."""

    places: tuple[str, ...]
    parts: tuple[_Part, ...]
    notes: tuple[str, ...] = ()
    """What was chosen or assumed, as sentences."""
    features: Any = None
    """The features that a repository's card states."""
    pinned: Mapping[str, str] = field(default_factory=dict)
    """Addresses with the revision that was read, by the address that was given."""
    of: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    _starts: list[int] = field(default_factory=list)
    _streams: dict[Path, IO[bytes]] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        return [part.path for part in self.parts]

    def files_of(self, place: str) -> tuple[Path, ...]:
        """The files that one of the places means."""
        return self.of.get(place, ())

    @property
    def name(self) -> str:
        """How the dataset is called in messages."""
        return (
            self.places[0] if len(self.places) == 1 else f"{self.places[0]} and {len(self.places) - 1} more"
        )

    @property
    def unit(self) -> str:
        """What row numbers count: line or element."""
        return self.parts[0].unit

    @property
    def delimited(self) -> bool:
        """Whether every cell is a text, whatever it holds."""
        return any(part.delimited for part in self.parts)

    @property
    def schema(self) -> Schema | None:
        """The columns' types, where the first file has types of its own."""
        return self.parts[0].schema

    def rows(self) -> Iterator[Numbered]:
        """Every row, or a BadRow in its place; numbers go on from file to file. Raises ConfigError."""
        start = 0
        for place, part in enumerate(self.parts):
            if len(self._starts) == place:  # a later reading may end early, and takes nothing back
                self._starts.append(start)
            number = start
            try:
                for number, row in part.rows():
                    if start:
                        number += start
                        row = replace(row, number=number) if isinstance(row, BadRow) else row
                    yield number, row
            except OSError as error:
                raise ConfigError(f"{part.path}: cannot be read: {error.strerror or error}") from None
            start = max(number, start)

    @property
    def seeks(self) -> bool:
        """Whether `row` can read single rows again."""
        return all(part.lines is not None for part in self.parts)

    def row(self, number: int) -> Row | BadRow:
        """A row that has been read before, by its number. Raises ConfigError where the file has changed since."""
        place = bisect_left(self._starts, number) - 1
        part = self.parts[max(place, 0)]
        stream = self._streams.get(part.path)
        if stream is None:
            stream = self._streams[part.path] = part.path.open("rb")
            weakref.finalize(self, stream.close)
        assert part.lines is not None
        row = part.lines.row_at(stream, number - self._starts[max(place, 0)])
        if isinstance(row, BadRow):
            raise ConfigError(f"{part.path}: has changed while it was being read ({row.detail})")
        return row

    def where(self, number: int) -> str:
        """A row's place for people: 'line 4', or 'b.jsonl line 2' of several files."""
        if len(self.parts) == 1:
            return f"{self.unit} {number}"
        place = sum(start < number for start in self._starts) - 1
        part = self.parts[max(place, 0)]
        return f"{part.path.name} {part.unit} {number - self._starts[max(place, 0)]}"

    def sha256(self) -> str:
        """The digest of the files' content, in order. Raises ConfigError."""
        digest = hashlib.sha256()
        for path in self.files:
            try:
                with path.open("rb") as file:
                    while piece := file.read(_PIECE):
                        digest.update(piece)
            except OSError as error:
                raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
        return digest.hexdigest()


def source_of(places: Sequence[str], how: ReadingConfig) -> Source:
    """Finds the files and tells how each is read. Raises ConfigError."""
    there = found(places, how)
    parts = tuple(_part(path, how) for path in there.files)
    notes = (*there.notes, *dict.fromkeys(note for part in parts for note in part.notes))
    return Source(tuple(places), parts, notes, there.features, there.pinned or {}, there.of or {})


def rows_of(path: Path) -> Iterator[Numbered]:
    """The rows of one file, read as its content says. Raises ConfigError."""
    return source_of((str(path),), ReadingConfig()).rows()


def format_by_name(path: Path) -> Format | None:
    """The format that a file's ending names, whatever it is packed in."""
    return _FORMATS.get(bare_name(path).suffix.lower().lstrip("."))


def _part(path: Path, how: ReadingConfig) -> _Part:
    try:
        stream, holds, inner = opened(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except zipfile.BadZipFile as error:
        raise ConfigError(f"{path}: is no readable zip: {error}") from None
    with stream:
        if holds in _TABLES:
            return _of_table(path, holds, how)
        if how.format in ("parquet", "arrow", "xlsx"):
            raise ConfigError(f"{path}: is no readable {how.format} file: its first bytes are not of one")
        format = how.format or format_by_name(Path(inner)) or format_by_name(path) or _by_content(stream)
        if format in ("parquet", "arrow", "xlsx"):
            raise ConfigError(f"{path}: is no readable {format} file: its first bytes are not of one")
        if format is None:
            raise ConfigError(
                f"{path}: the ending tells no format; set dataset.format, or use one of {', '.join(ENDINGS)}"
            )
        if format in ("json", "jsonl"):
            return _of_json(path, format, how, stream)
        return _of_text(path, format, how, stream)


def _by_content(stream: io.BufferedReader) -> Format | None:
    first = stream.peek(64)[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return "json" if first in (b"{", b"[") else None


def _text_of(path: Path, how: ReadingConfig) -> io.BufferedReader:
    return as_utf8(opened(path)[0], how.encoding, str(path))


def _lenient(how: ReadingConfig) -> bool:
    return how.encoding is not None


def _of_json(path: Path, format: Format, how: ReadingConfig, stream: io.BufferedReader) -> _Part:
    lines = format == "jsonl"
    file = JsonFile(str(path), how.max_row_bytes, at=how.at, lenient=_lenient(how), lines=lines)

    def rows() -> Iterator[Numbered]:
        with _text_of(path, how) as text:
            yield from file.rows(text)

    with as_utf8(stream, how.encoding, str(path)) as text:
        as_it_lies = isinstance(getattr(text, "raw", None), io.FileIO) and not text.tell()
        unit = file.unit_of(text)
    return _Part(path, rows, unit, lines=file if as_it_lies and unit == "line" else None)


def _of_text(path: Path, format: Format, how: ReadingConfig, stream: io.BufferedReader) -> _Part:
    given = how.csv
    if format == "tsv" and given.delimiter is None:
        given = given.model_copy(update={"delimiter": "\t"})
    file = CsvFile(str(path), how.max_row_bytes, given, plain=format == "txt", lenient=_lenient(how))
    with as_utf8(stream, how.encoding, str(path)) as text:
        dialect, columns = file.dialect(text)

    def rows() -> Iterator[Numbered]:
        with _text_of(path, how) as text:
            yield from file.rows(text, dialect, columns)

    return _Part(path, rows, "line", _assumed(path, dialect, how), delimited=True)


def _assumed(path: Path, dialect: Dialect | None, how: ReadingConfig) -> tuple[str, ...]:
    if dialect is None:
        return (f"{path.name}: a text a line, in the column text",)
    usual = dialect.delimiter == "," and dialect.quote == '"' and not dialect.escaped
    if usual or how.csv.delimiter is not None:
        return ()
    return (f"{path.name}: {dialect.in_words()} (dataset.csv says otherwise)",)


def _of_table(path: Path, holds: str, how: ReadingConfig) -> _Part:
    if holds == "xlsx":
        book = Workbook(path, how.max_row_bytes, how.at)
        sheet, others = book.sheet()
        more = f"; others are {', '.join(others)} (dataset.at names the one to read)" if others else ""
        return _Part(
            path, book.rows, "row", (f"{path.name}: the sheet {sheet!r} is read{more}",) if others else ()
        )
    file = ArrowFile(path, holds, how.max_row_bytes)
    return _Part(path, file.rows, "element", (), file.schema())

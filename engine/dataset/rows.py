"""Reads rows from a .json, .jsonl, .csv or .parquet file one at a time, and reports the bad ones."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from engine.config import Format
from engine.errors import ConfigError
from engine.escaping import unquoted_cell
from engine.protocols import Row


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used. `number` is the line (jsonl, csv) or the element (json, parquet), from 1."""

    number: int
    reason: str
    """A stable slug, for counting."""
    detail: str


Numbered = tuple[int, Row | BadRow]


def read_rows(path: Path, format: Format | None = None, max_row_bytes: int = 1_000_000) -> Iterator[Numbered]:
    """Every row of the file, or a BadRow in its place. Raises ConfigError if the file is not a dataset."""
    format = format or format_of(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        yield from _READERS[format](path, max_row_bytes)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None


def format_of(path: Path) -> Format:
    """The format that the file name's ending implies. Raises ConfigError."""
    ending = path.suffix.lower().lstrip(".")
    if ending not in _READERS:
        raise ConfigError(f"{path}: the ending tells no format; allowed: {', '.join(_READERS)}")
    return ending  # type: ignore[return-value]


def unit_of(path: Path, format: Format | None) -> str:
    """The unit that row numbers count in this file."""
    return "line" if (format or format_of(path)) in ("jsonl", "csv") else "element"


def _too_long(number: int, size: int, limit: int) -> BadRow:
    return BadRow(number, "too_long", f"{size:,} bytes, more than dataset.max_row_bytes ({limit:,})")


def _jsonl(path: Path, limit: int) -> Iterator[Numbered]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            line = line.removeprefix(b"\xef\xbb\xbf").strip()
            if line:
                yield number, _row_of_line(number, line, limit)


def _row_of_line(number: int, line: bytes, limit: int) -> Row | BadRow:
    if len(line) > limit:
        return _too_long(number, len(line), limit)
    try:
        line.decode()
        return _row_of(number, orjson.loads(line))
    except UnicodeDecodeError as error:
        return BadRow(number, "invalid_utf8", f"byte {error.start} is not valid UTF-8")
    except orjson.JSONDecodeError as error:
        return BadRow(number, "not_json", f"is not JSON: {error}")


def _row_of(number: int, value: Any) -> Row | BadRow:
    if isinstance(value, dict):
        return value
    return BadRow(number, "wrong_type", f"is a {type(value).__name__}, not an object with fields")


def _json(path: Path, limit: int) -> Iterator[Numbered]:
    try:
        rows = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path}: is not JSON: {error}") from None
    if not isinstance(rows, list):
        raise ConfigError(f"{path}: holds a {type(rows).__name__}; a .json dataset is an array of objects")
    for number, value in enumerate(rows, 1):
        size = len(orjson.dumps(value))
        yield number, _too_long(number, size, limit) if size > limit else _row_of(number, value)


def _csv(path: Path, limit: int) -> Iterator[Numbered]:
    csv.field_size_limit(2**31 - 1)  # a long cell must give one bad row, not end the reading
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=False)
        header = [*map(unquoted_cell, next(reader, ()))]
        if not header:
            raise ConfigError(f"{path}: is empty; a .csv dataset starts with a line of column names")
        if len(set(header)) < len(header):
            raise ConfigError(f"{path} line 1: two columns have the same name")
        number = reader.line_num + 1
        for cells in reader:
            if cells:
                yield number, _row_of_cells(number, header, cells, limit)
            number = reader.line_num + 1


def _row_of_cells(number: int, header: list[str], cells: list[str], limit: int) -> Row | BadRow:
    if (size := sum(map(len, cells))) > limit:
        return _too_long(number, size, limit)
    if len(cells) != len(header):
        return BadRow(number, "wrong_columns", f"has {len(cells)} cells where the header has {len(header)}")
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return BadRow(number, "invalid_utf8", "is not valid UTF-8")
    return dict(zip(header, map(unquoted_cell, cells), strict=True))


def _parquet(path: Path, limit: int) -> Iterator[Numbered]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(1024):
            for value in batch.to_pylist():
                number += 1
                size = sum(len(cell) for cell in value.values() if isinstance(cell, str | bytes))
                yield number, _too_long(number, size, limit) if size > limit else _row_of(number, value)
    except pyarrow.ArrowException as error:
        raise ConfigError(f"{path}: is not a readable parquet file: {error}") from None


_READERS = {"json": _json, "jsonl": _jsonl, "csv": _csv, "parquet": _parquet}

"""Writes rows to a file, whole or not at all: JSON, JSON lines, CSV, Parquet."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from engine.errors import ConfigError, StoreError
from engine.escaping import printable, quoted_cell
from engine.protocols import Row
from engine.store.files import replacing, temporary_beside
from engine.veil import veiled

RowSource = Callable[[], Iterable[Row]]
"""Iterates over the rows again at each call: some formats read them twice."""


@contextmanager
def _output(path: Path) -> Iterator[IO[str]]:
    if str(path) == "-" and sys.stdout.isatty():
        shown = io.StringIO(newline="")
        yield shown
        sys.stdout.write(printable(veiled(shown.getvalue())))
        sys.stdout.flush()
    elif str(path) == "-":
        yield sys.stdout
        sys.stdout.flush()
    else:
        check_place(path)
        if path.exists() and not path.is_file():  # a device or a pipe: written to, never replaced
            with path.open("w", encoding="utf-8", newline="") as file:
                yield file
        else:
            with replacing(path) as file:
                yield file


def check_place(path: Path) -> None:
    if path.is_dir():
        raise ConfigError(f"-o {path}: is a folder; give a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"-o {path}: there is no folder {path.parent}")


def write_jsonl(rows: RowSource, path: Path) -> int:
    count = 0
    with _output(path) as file:
        for count, row in enumerate(rows(), 1):  # noqa: B007 - the last count is the result
            file.write(orjson.dumps(row, default=str).decode() + "\n")
    return count


def write_json(rows: RowSource, path: Path) -> int:
    count = 0
    with _output(path) as file:
        file.write("[")
        for count, row in enumerate(rows(), 1):
            file.write(("," if count > 1 else "") + "\n" + orjson.dumps(row, default=str).decode())
        file.write("\n]\n")
    return count


def write_csv(rows: RowSource, path: Path, *, raw: bool = False) -> int:
    """Writes lists and objects as JSON in their cell.

    A text that a spreadsheet would run as a formula begins with a quote, unless `raw`; a column of numbers does not.
    """
    texts: dict[str, bool] = {}
    for row in rows():
        for name, value in row.items():
            texts[name] = texts.get(name, False) or (isinstance(value, str) and not _NUMBER.fullmatch(value))
    count = 0
    with _output(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([name if raw else quoted_cell(name) for name in texts])
        for count, row in enumerate(rows(), 1):  # noqa: B007 - the last count is the result
            writer.writerow([_cell(row.get(name), text and not raw) for name, text in texts.items()])
    return count


_NUMBER = re.compile(r"[-+]?[\d.,]*\d[\d.,]*%?")


def _cell(value: Any, quoted: bool) -> Any:
    if isinstance(value, dict | list):
        return orjson.dumps(value, default=str).decode()
    return quoted_cell(value) if quoted and isinstance(value, str) else value


def write_parquet(rows: RowSource, path: Path, like: RowSource | None = None) -> int:
    """Writes a column of mixed types as text. The columns and their types come from `like`, if given.

    Raises ConfigError.
    """
    import pyarrow
    import pyarrow.parquet

    if str(path) == "-":
        raise ConfigError("-o -: parquet is not text; give a file")
    check_place(path)
    if path.exists() and not path.is_file():
        raise ConfigError(f"-o {path}: parquet needs a regular file")
    columns = _columns((like or rows)())
    schema, count = None, 0
    for chunk in batched_rows((like or rows)(), columns):
        chunk_schema = pyarrow.Table.from_pylist(chunk).schema
        schemas = [chunk_schema] if schema is None else [schema, chunk_schema]
        schema = pyarrow.unify_schemas(schemas, promote_options="permissive")
    if schema is None:
        raise ConfigError("there is no accepted item to export")
    try:
        with temporary_beside(path) as temporary:
            with pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
                for chunk in batched_rows(rows(), columns):
                    writer.write_table(pyarrow.Table.from_pylist(chunk, schema=schema))
                    count += len(chunk)
            temporary.replace(path)
    except StoreError as error:
        raise ConfigError(f"-o {error}") from None
    return count


def _columns(rows: Iterable[Row]) -> dict[str, bool]:
    """Each column, and whether its values are of one type."""
    types: dict[str, set[tuple[type, ...]]] = {}
    for row in rows:
        for name, value in row.items():
            types.setdefault(name, set()).update(_types(value))
    return {name: len(kinds) <= 1 for name, kinds in types.items()}


def _types(value: Any) -> set[tuple[type, ...]]:
    """The type of a value; for a list, with the types of its elements."""
    if value is None:
        return set()
    return {(list, type(inner)) for inner in value} if isinstance(value, list) else {(type(value),)}


def batched_rows(rows: Iterable[Row], columns: Mapping[str, bool], size: int = 5_000) -> Iterator[list[Row]]:
    """Chunks of rows that all have every column, with `_meta` and mixed columns as text."""
    chunk: list[Row] = []
    for row in rows:
        chunk.append({name: _column(row.get(name), pure, name) for name, pure in columns.items()})
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _column(value: Any, pure: bool, name: str) -> Any:
    if value is None or (pure and name != "_meta" and not isinstance(value, dict)):
        return value
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()

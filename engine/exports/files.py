"""Writes rows to a file, whole or not at all: JSON, JSON lines, CSV, Parquet."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from engine.errors import ConfigError, StoreError
from engine.escaping import printable, quoted_cell
from engine.exports.columns import arrow_schema, columns_of, table_rows
from engine.files.writing import replacing, temporary_beside
from engine.protocols import Row
from engine.schema.arrow import chunks, table_of
from engine.schema.columns import Schema
from engine.schema.values import dumps
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
            file.write(dumps(row) + "\n")
    return count


def write_json(rows: RowSource, path: Path) -> int:
    count = 0
    with _output(path) as file:
        file.write("[")
        for count, row in enumerate(rows(), 1):
            file.write(("," if count > 1 else "") + "\n" + dumps(row))
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
        return dumps(value)
    return quoted_cell(value) if quoted and isinstance(value, str) else value


def write_parquet(
    rows: RowSource, path: Path, like: RowSource | None = None, schema: Schema | None = None
) -> int:
    """Writes the columns of `schema`, the dataset's, with their types; what has no common type as JSON.

    The columns of all files of one dataset come from `like`, if given. Raises ConfigError.
    """
    import pyarrow
    import pyarrow.parquet

    if str(path) == "-":
        raise ConfigError("-o -: parquet is not text; give a file")
    check_place(path)
    if path.exists() and not path.is_file():
        raise ConfigError(f"-o {path}: parquet needs a regular file")
    columns = columns_of((like or rows)(), schema or Schema())
    if not columns.columns or not any(True for _ in (like or rows)()):
        raise ConfigError("there is no accepted item to export")
    arrow = arrow_schema(columns)
    count = 0
    try:
        with temporary_beside(path) as temporary:
            with pyarrow.parquet.ParquetWriter(temporary, arrow) as writer:
                for chunk in chunks(iter(table_rows(rows(), columns))):
                    writer.write_table(table_of(chunk, arrow))
                    count += len(chunk)
            temporary.replace(path)
    except StoreError as error:
        raise ConfigError(f"-o {error}") from None
    except ValueError as error:
        raise ConfigError(f"-f parquet: {error}") from None
    return count

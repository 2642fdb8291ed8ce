"""Rows of tables with types of their own: Parquet, Arrow, Excel."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError
from engine.files.rows import Numbered, too_long
from engine.schema.arrow import rows_from, type_from
from engine.schema.columns import Column, Schema

if TYPE_CHECKING:
    import pyarrow

_AT_ONCE = 1024


class ArrowFile:
    """A Parquet file, an Arrow file or an Arrow stream, whose columns have types."""

    def __init__(self, path: Path, holds: str, limit: int) -> None:
        self._path = path
        self._holds = holds
        self._limit = limit

    def schema(self) -> Schema:
        """Raises ConfigError."""
        try:
            arrow = self._arrow_schema()
        except (OSError, ValueError, self._errors()) as error:
            raise self._unreadable(error) from None
        twice = next((name for name in arrow.names if arrow.names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"{self._path}: two columns are named {twice!r}; rename one")
        columns = {field.name: Column(type_from(field.type), field.nullable) for field in arrow}
        return Schema(columns, base64.b64encode(arrow.serialize().to_pybytes()).decode())

    def rows(self) -> Iterator[Numbered]:
        """Raises ConfigError."""
        number = 0
        try:
            for batch in self._batches():
                for row in rows_from(batch):
                    number += 1
                    size = sum(len(cell) for cell in row.values() if isinstance(cell, str))
                    yield number, too_long(number, size, self._limit) if size > self._limit else row
        except (OSError, ValueError, self._errors()) as error:
            raise self._unreadable(error) from None

    def _arrow_schema(self) -> pyarrow.Schema:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet

        match self._holds:
            case "parquet":
                return pyarrow.parquet.read_schema(self._path)
            case "arrow":
                with pyarrow.OSFile(str(self._path)) as file:
                    return pyarrow.ipc.open_file(file).schema
        with pyarrow.OSFile(str(self._path)) as file:
            return pyarrow.ipc.open_stream(file).schema

    def _batches(self) -> Iterator[pyarrow.RecordBatch]:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet

        if self._holds == "parquet":
            yield from pyarrow.parquet.ParquetFile(self._path).iter_batches(_AT_ONCE)
            return
        with pyarrow.memory_map(str(self._path)) as file:
            if self._holds == "arrow":
                reader = pyarrow.ipc.open_file(file)
                batches = (reader.get_batch(place) for place in range(reader.num_record_batches))
            else:
                batches = iter(pyarrow.ipc.open_stream(file))
            for batch in batches:
                for start in range(0, batch.num_rows, _AT_ONCE):
                    yield batch.slice(start, _AT_ONCE)

    @staticmethod
    def _errors() -> type[Exception]:
        import pyarrow

        return pyarrow.ArrowException  # type: ignore[no-any-return]

    def _unreadable(self, error: Exception) -> ConfigError:
        kind = {"parquet": "Parquet file", "arrow": "Arrow file"}.get(self._holds, "Arrow stream")
        return ConfigError(f"{self._path}: is not a readable {kind}: {error}")


class Workbook:
    """An Excel workbook: one sheet, whose first row that is not empty names the columns."""

    def __init__(self, path: Path, limit: int, sheet: str = "") -> None:
        self._path = path
        self._limit = limit
        self._sheet = sheet

    def sheet(self) -> tuple[str, list[str]]:
        """(the sheet that is read, the others that hold something). Raises ConfigError."""
        from python_calamine import CalamineError, load_workbook

        try:
            book = load_workbook(str(self._path))
            filled = [name for name in book.sheet_names if book.get_sheet_by_name(name).to_python(nrows=1)]
        except (CalamineError, OSError, ValueError) as error:
            raise ConfigError(f"{self._path}: is no readable workbook: {error}") from None
        if self._sheet and self._sheet not in book.sheet_names:
            named = ", ".join(book.sheet_names)
            raise ConfigError(
                f"{self._path}: dataset.at: there is no sheet {self._sheet!r}; there are {named}"
            )
        if not filled:
            raise ConfigError(f"{self._path}: every sheet is empty")
        chosen = self._sheet or filled[0]
        return chosen, [name for name in filled if name != chosen]

    def rows(self) -> Iterator[Numbered]:
        """Numbers are those of the sheet's rows, as Excel shows them. Raises ConfigError."""
        from python_calamine import load_workbook

        sheet = load_workbook(str(self._path)).get_sheet_by_name(self.sheet()[0])
        header: list[str] = []
        for number, cells in enumerate(sheet.to_python(skip_empty_area=False), 1):
            if all(cell in ("", None) for cell in cells):
                continue
            if not header:
                header = self._header(number, cells)
                continue
            row = {name: _cell(cell) for name, cell in zip(header, cells, strict=False) if name}
            size = sum(len(cell) for cell in row.values() if isinstance(cell, str))
            yield number, too_long(number, size, self._limit) if size > self._limit else row

    def _header(self, number: int, cells: list[Any]) -> list[str]:
        named = [str(_cell(cell) if cell is not None else "").strip() for cell in cells]
        twice = next((name for name in named if name and named.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"{self._path} row {number}: two columns are named {twice!r}; rename one")
        return named


def _cell(value: Any) -> Any:
    """A cell as JSON: Excel keeps every number as a float, and has no empty text."""
    if value == "" or value is None:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, timedelta) else value

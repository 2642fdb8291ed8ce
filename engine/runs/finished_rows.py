"""Rows that are finished, as files of so many rows each while the run goes; and how much room a run over rows takes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from itertools import count, islice
from pathlib import Path

from engine.errors import ConfigError, StoreError
from engine.files.rows import BadRow
from engine.files.writing import replacing
from engine.items import item_number
from engine.protocols import Row
from engine.runs.inputs import Inputs
from engine.schema.values import dumps
from engine.store.folder import RunFolder
from engine.store.reading import connect, read_lines

_CALL_BYTES, _ITEM_BYTES = 400, 350
"""What is written of a call, and of an item, besides their texts, about; measured."""
_SOME = 200
"""Rows by which the size of all is told."""


class FinishedRows:
    """Writes `parts/accepted-00001.jsonl` and on: each is whole, or is not there. Mutable: how many are known to be."""

    def __init__(
        self, folder: RunFolder, rows: int, settled: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """`rows` of the input each. `settled` waits until the journal has on disk what it was given."""
        self._folder = folder
        self._settled = settled
        self._rows = rows
        self._written = next(number for number in count() if not self.path(number).exists())
        self._writing: asyncio.Task[None] | None = None

    def path(self, number: int) -> Path:
        """Of the file with this number, from 0."""
        return self._folder.path / "parts" / f"accepted-{number + 1:05}.jsonl"

    def moved(self, committed: int) -> None:
        """Hears that all rows below this number are decided."""
        idle = self._writing is None or self._writing.done()
        if committed // self._rows > self._written and idle:
            self._writing = asyncio.create_task(self._write(committed), name="finished rows")

    async def _write(self, committed: int) -> None:
        """A failure is no matter: the end of the start writes what is missing, and says what is wrong."""
        with contextlib.suppress(StoreError):
            if self._settled is not None:
                await self._settled()
            await asyncio.to_thread(self._write_all, committed // self._rows)

    def _write_all(self, whole: int) -> None:
        with contextlib.closing(connect(self._folder.database)) as connection:
            for number in range(self._written, whole):
                self._put(connection, number)
                self._written = number + 1

    def finish(self, connection: sqlite3.Connection, rows: int) -> None:
        """Writes what is not there yet of the files whose rows are all decided. Raises StoreError."""
        for number in range(-(-rows // self._rows)):
            first, end = number * self._rows, min(rows, (number + 1) * self._rows)
            whole = self.path(number).exists() and end - first == self._rows
            if not whole and _decided(connection, first, end) == end - first:
                self._put(connection, number)

    def forget(self) -> None:
        """Removes the files of other sizes: their numbers are those of other rows."""
        for path in self.path(0).parent.glob("accepted-*.jsonl"):
            path.unlink()
        self._written = 0

    def _put(self, connection: sqlite3.Connection, number: int) -> None:
        first, end = number * self._rows, (number + 1) * self._rows
        self.path(number).parent.mkdir(exist_ok=True)
        with replacing(self.path(number)) as file:
            file.writelines(read_lines(connection, "accepted", item_number(first, 0), item_number(end, 0)))


def _decided(connection: sqlite3.Connection, first: int, end: int) -> int:
    """Rows from `first` to before `end` whose fate is recorded."""
    sql = "SELECT count(DISTINCT item >> 16) FROM items WHERE item >= ? AND item < ?"
    return int(connection.execute(sql, (item_number(first, 0), item_number(end, 0))).fetchone()[0])


def readable_rows(inputs: Inputs) -> Iterator[Row]:
    """The rows that can be read."""
    return (row for _, row in inputs.dataset.numbered() if not isinstance(row, BadRow))


def growth(inputs: Inputs, folder: Path) -> str:
    """How much the run folder will grow, as a sentence, and whether there is room for it; '' for an empty dataset."""
    prompts = inputs.row_prompts
    assert prompts is not None
    spec, some = prompts.spec, list(islice(readable_rows(inputs), _SOME))
    if not some:
        return ""
    own = sum(len(dumps(row)) for row in some) / len(some)
    asked = 0.0
    for row in some:
        with contextlib.suppress(ConfigError):
            asked += sum(map(len, prompts.steps[0].rendered(row, ()))) / len(some)
    replies = [4 * step.likely_tokens for step in prompts.steps]
    packed = asked / 10 if inputs.config.observe.prompts else 0
    calls = spec.samples * sum(_CALL_BYTES + reply + packed for reply in replies)
    a_row = calls + (3 if spec.part is not None else 2) * spec.most_items * (own + sum(replies) + _ITEM_BYTES)
    rows = inputs.target // spec.most_items
    whole = rows * a_row
    place = folder.absolute()
    free = shutil.disk_usage(next(each for each in (place, *place.parents) if each.exists())).free
    said = f"{rows:,} rows: the run folder will take about {_size(whole)}"
    return (
        f"{said}, and {_size(free)} are free here: make room, or map a part." if whole > free else f"{said}."
    )


def _size(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count / 1e3:,.0f} kB"

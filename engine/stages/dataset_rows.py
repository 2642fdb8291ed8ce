"""Rows of an existing dataset as batches of items: an audit uses them instead of planning and generating."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice

from engine.dataset.fields import Fields
from engine.dataset.forms import FieldProblem
from engine.files.rows import BadRow, Numbered
from engine.flow.halt import Halt
from engine.items import Batch, Item, Verdict
from engine.protocols import Row
from engine.stages.progress import Progress

NAME = "dataset"
"""The `rejected_by` of rows that cannot be read as items."""
SIZE = 16
"""Rows of one batch."""


class DatasetRows:
    """Source and first stage of an audit. Reads the file once, from the first row that is not decided yet.

    Mutable state: the rows of batches between the source and the stage.
    """

    def __init__(
        self, rows: Iterator[Numbered], fields: Fields, progress: Progress, halt: Halt, window: int
    ) -> None:
        self._rows = islice(rows, progress.committed * SIZE, None)
        self._fields = fields
        self._progress = progress
        self._halt = halt
        self._window = window
        self._read: dict[int, list[Numbered]] = {}
        halt.on_set(lambda _: progress.changed.set())

    async def batches(self) -> AsyncIterator[Batch]:
        number = self._progress.committed
        while rows := list(islice(self._rows, SIZE)):
            if not await self._progress.room(number, self._window, self._halt):
                return
            self._read[number] = rows
            self._progress.outstanding += len(rows)
            yield Batch(number, len(rows), 0, 0.0, rows=tuple(place for place, _ in rows))
            number += 1

    async def __call__(self, batch: Batch) -> Sequence[Item]:
        rows = self._read.pop(batch.number)
        return [item_of(batch, position, *row, self._fields) for position, row in enumerate(rows)]


def item_of(batch: Batch, position: int, number: int, row: Row | BadRow, fields: Fields) -> Item:
    """Turns a row into an item; a row that cannot be read as one becomes a rejected item."""
    if isinstance(row, BadRow):
        return Item(batch, position, batch.size).judged(Verdict.rejected(NAME, row.reason, row.detail))
    bare = Item(batch, position, batch.size, origin=row)
    try:
        content = fields.read(number, row)
    except FieldProblem as problem:
        return bare.judged(Verdict.rejected(NAME, problem.reason, str(problem)))
    return bare.evolve(
        text=content.text,
        label=content.label,
        choices=content.choices,
        extras=content.extras,
        parts=content.parts,
    )

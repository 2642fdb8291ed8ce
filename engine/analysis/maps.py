"""Draws the map of a run that made no vectors."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from engine.analysis.datasets import Data
from engine.analysis.vectors import Vectoriser
from engine.config import RunConfig
from engine.dataset.base import BaseDataset
from engine.dataset.forms import Example
from engine.diversity.sameness import compared
from engine.protocols import Notify
from engine.report.mapping import MOST_ITEMS, MOST_ORIGINALS, Some, finite
from engine.report.mapping import mapped as drawn
from engine.schema.values import loads
from engine.store.folder import RunFolder
from engine.store.journal import Journal
from engine.store.reading import connect, read_accepted, read_form

if TYPE_CHECKING:
    pass


async def mapped(folder: RunFolder, config: RunConfig, notify: Notify) -> bool:
    """Draw the run's map with its local embedding model and store it; False where there are too few items.

    Raises ConfigError, StoreError.
    """
    with contextlib.closing(connect(folder.database)) as connection:
        fields = read_form(connection, config.item_fields)
        rows = [(item, record) for item, record, _ in islice(read_accepted(connection), MOST_ITEMS)]
    items = [replace(fields.remembered(loads(record)), number=item) for item, record in rows]
    base = (
        BaseDataset.load(config.dataset).examples[:MOST_ORIGINALS] if config.dataset.path is not None else []
    )
    if len(items) + len(base) < 3 or not items:
        return False
    async with Vectoriser(config.embedding, notify) as vectoriser:
        some = [await _some(vectoriser, folder.path, examples) for examples in (items, base)]
    drawing = drawn(*some)
    if drawing is None:
        return False
    journal = Journal(folder.database)
    try:
        await journal.keep_map(drawing.points, drawing.about)
    finally:
        await journal.close()
    return True


async def _some(vectoriser: Vectoriser, path: Path, examples: Sequence[Example]) -> Some | None:
    if not examples:
        return None
    vectors = await vectoriser.vectors(Data(path, examples, {}))
    return finite([each.number for each in examples], [compared(each) for each in examples], vectors)

"""The group check of a run: it rejects near-duplicates of accepted items and of the base dataset."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.dataset.base import BaseDataset
from engine.diversity import GROUP_CHECK
from engine.diversity.duplicates import Comparison, Duplicates, Match
from engine.diversity.embedding import restored, stacked
from engine.items import Item, Verdict, item_id
from engine.schema.values import loads

if TYPE_CHECKING:
    from engine.protocols import Vectors

SAME_TEXT, NEAR = "same_text", "near_duplicate"
_RESTORED_AT_ONCE = 4096


class GroupCheck:
    """Decides in the order of the plan; searches in a thread, so that the event loop is not blocked.

    Mutable state: the texts and vectors of accepted items. Texts are searched and added only on the event
    loop, so that the stage before may search too; vectors are searched and added in a thread, one call at a
    time.
    """

    def __init__(self, duplicates: Duplicates, dataset: BaseDataset) -> None:
        self.duplicates = duplicates
        self._dataset = dataset
        self._vectors_in_use = asyncio.Lock()

    # --- what exists already ---

    def remember_base(self, vectors: Vectors | None) -> None:
        examples = self._dataset.examples
        self.duplicates.add(((-example.number, example) for example in examples), vectors)

    def remember_accepted(
        self, rows: Iterable[tuple[int, str, bytes | None]], check: Callable[[], None] = lambda: None
    ) -> None:
        """Adds (item number, record as JSON, vector) of accepted items; `check` raises to stop it."""
        chunk: list[tuple[int, str, bytes | None]] = []
        for row in rows:
            chunk.append(row)
            if len(chunk) == _RESTORED_AT_ONCE:
                check()
                self._remember(chunk)
                chunk = []
        if chunk:
            self._remember(chunk)

    def _remember(self, rows: Sequence[tuple[int, str, bytes | None]]) -> None:
        remembered = self._dataset.fields.remembered
        items = [(number, remembered(loads(record))) for number, record, _ in rows]
        vectors = [restored(vector) if vector is not None else None for _, _, vector in rows]
        self.duplicates.add(items, stacked(vectors))

    # --- deciding ---

    def same_text(self, item: Item) -> Verdict | None:
        """The verdict that needs no vector: everything accepted so far precedes this item in the plan."""
        match = self.duplicates.same_text(item)
        return None if match is None else self._verdict(match)

    async def compare(self, items: Sequence[Item]) -> GroupComparison:
        """Compares a micro-batch, which is in the order of the plan."""
        if not items:
            return GroupComparison(self, items, self.duplicates.compare((), None))
        vectors = _stacked(items) if self.duplicates.needs_vectors else None
        async with self._vectors_in_use:
            comparison = await asyncio.to_thread(self.duplicates.compare, items, vectors)
        return GroupComparison(self, items, comparison)

    async def remember(self, group: GroupComparison) -> None:
        """Adds the accepted items of a comparison."""
        chosen = group.comparison.chosen(group.refs)
        self.duplicates.add_texts(chosen)
        if (vectors := group.comparison.chosen_vectors()) is not None:
            async with self._vectors_in_use:
                await asyncio.to_thread(self.duplicates.add_vectors, chosen, vectors)

    def _verdict(self, match: Match) -> Verdict:
        place: dict[str, Any]
        if match.ref < 0:
            place, where = {"base_row": -match.ref}, f"row {-match.ref} of the base dataset"
        else:
            name = item_id(match.ref)
            place, where = {"item": name}, f"item {name}"
        if match.by_text:
            return Verdict.rejected(
                GROUP_CHECK, SAME_TEXT, f"has the text of {where}", {**place, "similarity": 1.0}
            )
        near = round(min(match.similarity, 1.0), 4)
        said = f"says the same as {where}: similarity {near:.3f}, threshold {self.duplicates.threshold:g}"
        return Verdict.rejected(GROUP_CHECK, NEAR, said, {**place, "similarity": near})


class GroupComparison:
    """The near-duplicates of a micro-batch's items; queried item by item, in order."""

    def __init__(self, group: GroupCheck, items: Sequence[Item], comparison: Comparison) -> None:
        self._group = group
        self.comparison = comparison
        self.refs = [item.number for item in items]
        self._places = {ref: place for place, ref in enumerate(self.refs)}

    def same_text(self, item: Item) -> Verdict | None:
        match = self.comparison.same_text(self._places[item.number], self.refs)
        return None if match is None else self._group._verdict(match)

    def nearest(self, item: Item) -> Verdict | None:
        match = self.comparison.nearest(self._places[item.number], self.refs)
        return None if match is None else self._group._verdict(match)

    def accept(self, item: Item) -> None:
        self.comparison.accept(self._places[item.number])


def _stacked(items: Sequence[Item]) -> Vectors:
    missing = [item.id for item in items if item.vector is None]
    assert not missing, f"items without a vector reached the group check: {missing[:3]}"
    return np.stack([item.vector for item in items if item.vector is not None])

"""The only writer: decides the fate of each item, in the order of the plan, and journals it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from engine.dataset.base import BaseDataset
from engine.errors import TargetReached
from engine.flow.channel import Channel
from engine.flow.halt import Halt
from engine.items import Item, Verdict, usd
from engine.stages.plan import shares
from engine.stages.progress import Progress
from engine.store.journal import POSITIONS, ItemRow, Journal, storable, storable_values

LABEL_GATE = "label_ratio"
"""Stands as `rejected_by` for items whose label has its share."""
_BACKLOG = 64
"""Groups waiting to be written, beyond which the commit waits for the disk."""


class Commit:
    """Items come in any order; they are decided batch by batch, as planned.

    So the dataset does not depend on how fast calls returned, and the place to go on from is one number.
    Mutable state: batches that are not complete or not yet at their turn, and Progress.
    """

    def __init__(
        self,
        journal: Journal,
        progress: Progress,
        dataset: BaseDataset,
        halt: Halt,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._journal = journal
        self._progress = progress
        self._dataset = dataset
        self._halt = halt
        self._room = shares(progress.target, weights) if weights is not None else None
        self._waiting: dict[int, list[Item]] = {}
        self._decided = journal.decided(progress.committed)

    async def run(self, inbox: Channel[Item]) -> None:
        """Until the inbox is closed and empty. Raises StoreError."""
        if self._progress.reached:
            self._halt.set(TargetReached("the target was reached before"))
        while True:
            try:
                arrived = await inbox.get_all()
            except StopAsyncIteration:
                break
            for item in arrived:
                self._waiting.setdefault(item.batch.number, []).append(item)
            before = self._progress.committed
            self._write(list(self._rows()))
            if self._progress.committed != before:
                self._progress.changed.set()
            if self._journal.queued > _BACKLOG:
                await self._journal.settled()
        if self._progress.reached:
            self._write(list(self._left_over()))
        await self._journal.settled()

    def _write(self, rows: Sequence[ItemRow]) -> None:
        if rows:
            self._journal.commit(rows, self._progress.committed)

    # --- deciding ---

    def _rows(self) -> Iterator[ItemRow]:
        """The fates of all batches whose turn has come."""
        progress = self._progress
        while not progress.reached and (items := self._complete(progress.committed)) is not None:
            del self._waiting[progress.committed]
            progress.outstanding -= items[0].batch.size
            for item in sorted(items, key=lambda item: item.position):
                if item.position not in self._decided:
                    yield self._row(self._decide(item))
            self._decided = {}
            if progress.reached:
                # The batch may hold surplus that a raised target can use: it stays the place to go on from.
                self._halt.set(TargetReached(f"{progress.accepted} items are accepted"))
            else:
                progress.committed += 1

    def _complete(self, number: int) -> list[Item] | None:
        items = self._waiting.get(number)
        return items if items is not None and len(items) == items[0].of else None

    def _left_over(self) -> Iterator[ItemRow]:
        """Items that were paid for and are not needed."""
        for number in sorted(self._waiting):
            for item in self._waiting[number]:
                yield self._row(self._surplus(item))
        self._waiting.clear()

    def _decide(self, item: Item) -> tuple[Item, str]:
        progress = self._progress
        if progress.reached:
            return self._surplus(item)
        if not item.settled and self._room is not None:
            item = self._through_gate(item, self._room)
        if (rejection := item.rejection) is not None:
            progress.rejected += 1
            progress.turned_away += rejection.by == LABEL_GATE
            progress.rejected_by[rejection.by, rejection.reason] += 1
            return item, "rejected"
        progress.accepted += 1
        if self._room is not None:
            progress.labels[item.label or ""] += 1
        return item, "accepted"

    def _surplus(self, item: Item) -> tuple[Item, str]:
        self._progress.surplus += 1
        return item, "surplus"

    def _through_gate(self, item: Item, room: Mapping[str, int]) -> Item:
        """A label that has its share is no longer accepted."""
        label = item.label or ""
        if self._progress.labels[label] < room.get(label, 0):
            return item
        reason = "label_full" if label in room else "label_unknown"
        return item.judged(Verdict.rejected(LABEL_GATE, reason, f"the label {label!r} has its share"))

    # --- writing ---

    def _row(self, decided: tuple[Item, str]) -> ItemRow:
        item, state = decided
        rejection = item.rejection if state == "rejected" else None
        by, reason = (rejection.by, storable(rejection.reason)) if rejection is not None else (None, None)
        record = self._dataset.fields.rewritten(item)
        label = storable(item.label) if self._room is not None and item.label is not None else None
        number = item.batch.number * POSITIONS + item.position
        return ItemRow(number, state, label, by, reason, _json(record), _json(self._meta(item, by, reason)))

    def _meta(self, item: Item, by: str | None, reason: str | None) -> dict[str, Any]:
        examples = self._dataset.examples
        meta: dict[str, Any] = {
            "id": item.id,
            "batch": item.batch.number,
            "model": storable(item.model),
            "examples": [examples[index].number for index in item.batch.examples],
            "attributes": {},
            "temperature": item.batch.temperature,
            "verdicts": [_verdict(verdict) for verdict in item.verdicts],
            "revisions": item.revisions,
            "usage": {
                "prompt_tokens": item.usage.prompt_tokens,
                "completion_tokens": item.usage.completion_tokens,
            },
            "cost_usd": round(usd(item.usage.cost), 12),
        }
        if item.usage.estimated:
            meta["usage"]["estimated"] = True
        if item.batch.rows:
            meta["row"] = item.batch.rows[item.position]
        if by is not None:
            meta["rejected_by"], meta["reason"] = by, reason
        return meta


def _verdict(verdict: Verdict) -> dict[str, Any]:
    shown = {"by": verdict.by, "verdict": verdict.decision.value, "seconds": verdict.seconds}
    if verdict.reason:
        shown["reason"] = storable(verdict.reason)
    if verdict.feedback:
        shown["feedback"] = storable(verdict.feedback[:1000])
    if verdict.record:
        shown["record"] = storable_values(verdict.record)
    return shown


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()

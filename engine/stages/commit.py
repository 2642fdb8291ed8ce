"""Decides the fate of each item, in the order of the plan, and journals it; nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from engine.dataset.base import BaseDataset
from engine.errors import TargetReached
from engine.flow.channel import Channel
from engine.flow.halt import Halt
from engine.items import Batch, Item, Verdict
from engine.planning.delayed import LABEL_GATE, BatchOutcome, Fate, batch_outcome
from engine.planning.plan import shares
from engine.stages.early_stopping import ACCEPTED, EarlyStopping, ItemFate
from engine.stages.progress import Progress
from engine.stages.repeats import Repeats
from engine.stages.written import SAID, written_of
from engine.store.journal import ItemRow, Journal, storable

if TYPE_CHECKING:
    from engine.stages.groupcheck import GroupCheck, GroupComparison

_TOGETHER = 256
"""Items of one micro-batch: a larger one takes less time per item, but delays the items that follow."""
_HELD_S = 60.0
"""Seconds after which complete batches go before one that has not come, however few they are."""
_BACKLOG = 64
"""Groups waiting to be written, beyond which the commit waits for the disk."""


class Commit:
    """Receives items in any order and decides them batch by batch, in the order of the plan.

    So the dataset does not depend on how fast calls return, and one number says where a resume continues. When a
    start ends, what is complete is decided all the same, in this order; the next start finds its fate recorded, and
    decides the rest. Given the same completions, and the same items lost to a stop, the dataset is the same.
    In a pass whose answers come later, the first batch of which something was let go is a hole: nothing behind it is
    decided or kept, since a later pass makes it again from the journal.
    Mutable state: batches that are incomplete or whose turn has not come, what was decided before its turn, the hole,
    Progress.
    """

    def __init__(
        self,
        journal: Journal,
        progress: Progress,
        dataset: BaseDataset,
        halt: Halt,
        weights: Mapping[str, float] | None = None,
        group: GroupCheck | None = None,
        observers: Sequence[Callable[[BatchOutcome], None]] = (),
        early_stopping: EarlyStopping | None = None,
        repeats: Repeats | None = None,
        patience: int | None = None,
        holes: bool = False,
        moved: Callable[[int], None] | None = None,
    ) -> None:
        """`weights` are the labels' weights, if a ratio is wanted. `observers` receive each batch's outcome.

        `early_stopping` decides when the run is no longer worth continuing; `repeats` rejects copies. Once `patience`
        complete batches wait for one before them, they are decided without it, and it joins when it comes; not where
        observers count on the order, and never where absent. `holes`: a later pass brings what is let go in this one.
        `moved` hears, now and then, below which number all batches are decided.
        """
        self._journal = journal
        self._progress = progress
        self._dataset = dataset
        self._halt = halt
        self._room = shares(progress.target, weights) if weights is not None else None
        self._group = group
        self._observers = observers
        self._early_stopping = early_stopping
        self._repeats = repeats
        self._waiting: dict[int, list[Item]] = {}
        self._decided = journal.decided(progress.committed)
        self._patience = None if observers or journal.replaces or holes else patience
        self._holes = holes
        self._moved = moved
        self._hole: int | None = None
        self._ahead: set[int] = set()
        self._still_since = asyncio.get_running_loop().time()

    async def run(self, inbox: Channel[Item]) -> None:
        """Decides items until the inbox is closed and empty. Raises StoreError."""
        if self._progress.reached:
            self._halt.set(TargetReached("the target was reached before"))
        while True:
            try:
                arrived = await inbox.get_all()
            except StopAsyncIteration:
                break
            self._progress.arrived += len(arrived)
            for item in arrived:
                if self._hole is None or item.batch.number < self._hole:
                    self._waiting.setdefault(item.batch.number, []).append(item)
            before = self._progress.committed, self._progress.passed_over
            await self._decide_ready()
            if self._patience is not None and self._is_held(moved=before[0] != self._progress.committed):
                await self._pass_over()
            self._progress.waiting = len(self._waiting)
            if before != (self._progress.committed, self._progress.passed_over):
                self._progress.changed.set()
                if self._moved is not None:
                    self._moved(self._progress.committed)
            if self._journal.queued > _BACKLOG:
                await self._journal.settled()
        if not self._progress.reached and not self._journal.replaces and self._hole is None:
            await self._decide_rest()
        if self._progress.reached:
            self._write(list(self._left_over()))
        await self._journal.settled()

    def let_go(self, value: Batch | Item) -> None:
        """Hears of a batch, or an item of one, whose answer comes later."""
        number = value.number if isinstance(value, Batch) else value.batch.number
        if self._holes and (self._hole is None or number < self._hole):
            self._hole = number
            for later in [each for each in self._waiting if each >= number]:
                del self._waiting[later]

    def _write(self, rows: Sequence[ItemRow]) -> None:
        if rows:
            self._journal.commit(rows, self._progress.committed)

    # --- deciding ---

    async def _decide_ready(self) -> None:
        """Decides and journals all batches whose turn has come, one micro-batch at a time."""
        while not self._progress.reached:
            self._catch_up()
            if not (batches := list(self._ready())):
                return
            group = None
            if self._group is not None:
                group = await self._group.compare([item for items in batches for item in self._open(items)])
            self._write([row for items in batches for row in self._rows(items, group)])
            if self._group is not None and group is not None:
                await self._group.remember(group)

    def _catch_up(self) -> None:
        """Moves on over batches that were decided before their turn."""
        progress = self._progress
        begun = progress.committed
        while progress.committed in self._ahead:
            self._ahead.remove(progress.committed)
            self._decided.pop(progress.committed, None)
            progress.committed += 1
            progress.passed_over -= 1
        if progress.committed != begun:
            self._journal.commit([], progress.committed)

    def _is_held(self, *, moved: bool) -> bool:
        """Whether too many batches, or some for too long, have waited for one that does not come."""
        now = asyncio.get_running_loop().time()
        if moved or not self._waiting:
            self._still_since = now
        return len(self._waiting) >= (self._patience or 0) or now - self._still_since > _HELD_S

    async def _pass_over(self) -> None:
        """Decides the complete batches that wait for one that does not come."""
        whole = [number for number in sorted(self._waiting) if self._complete(number) is not None]
        sizes = {number: self._waiting[number][0].batch.size for number in whole}
        await self._decide_items(
            [item for number in whole for item in sorted(self._waiting[number], key=_place)]
        )
        for number in whole:
            if not self._waiting[number]:
                del self._waiting[number]
                self._ahead.add(number)
                self._progress.passed_over += 1
                self._progress.outstanding -= sizes[number]

    async def _decide_rest(self) -> None:
        """Decides what is complete when the start ends, though items before it are still missing."""
        await self._decide_items(
            [item for number in sorted(self._waiting) for item in sorted(self._waiting[number], key=_place)]
        )

    async def _decide_items(self, items: Sequence[Item]) -> None:
        """Decides and journals these items, which are of batches whose turn has not come."""
        for start in range(0, len(items), _TOGETHER):
            if self._progress.reached:
                return
            part = items[start : start + _TOGETHER]
            some = [item for item in part if not self._is_decided(item)]
            group = await self._group.compare(self._open(some)) if self._group is not None else None
            fates = [self._decide(item, group) for item in some]
            for item in part:
                self._waiting[item.batch.number].remove(item)
            self._write([self._row(fate) for fate in fates])
            if self._group is not None and group is not None:
                await self._group.remember(group)
        if self._progress.reached:
            self._halt.set(TargetReached(f"{self._progress.accepted} items are accepted"))

    def _is_decided(self, item: Item) -> bool:
        return item.position in self._decided.get(item.batch.number, ())

    def _ready(self) -> Iterator[Sequence[Item]]:
        """Complete batches from the next one on, each in order."""
        number, count = self._progress.committed, 0
        while count < _TOGETHER and (items := self._complete(number)) is not None:
            yield sorted(items, key=_place)
            count += len(items)
            number += 1

    def _open(self, items: Sequence[Item]) -> list[Item]:
        """The items whose fate is neither recorded nor settled by a validator."""
        return [item for item in items if not item.settled and not self._is_decided(item)]

    def _rows(self, items: Sequence[Item], group: GroupComparison | None) -> Iterator[ItemRow]:
        """The fates of one batch's items; none once the target is reached."""
        progress, batch = self._progress, items[0].batch
        if progress.reached:
            return
        del self._waiting[batch.number]
        progress.outstanding -= batch.size
        fates = [self._decide(item, group) for item in items if not self._is_decided(item)]
        for fate in fates:
            yield self._row(fate)
        self._decided.pop(batch.number, None)
        if progress.reached:
            # The batch may hold surplus items that a raised target can use: a resumed run continues with it.
            self._halt.set(TargetReached(f"{progress.accepted} items are accepted"))
        else:
            progress.committed += 1
            if self._observers:
                outcome = batch_outcome(
                    batch.number,
                    batch.strategy,
                    batch.attributes,
                    replaces=bool(batch.unlike),
                    fates=[fate_of(*fate) for fate in fates],
                )
                for observe in self._observers:
                    observe(outcome)

    def _complete(self, number: int) -> list[Item] | None:
        items = self._waiting.get(number)
        return items if items is not None and len(items) == items[0].batch_total else None

    def _left_over(self) -> Iterator[ItemRow]:
        """Surplus items: they were paid for, but are not needed."""
        for number in sorted(self._waiting):
            for item in self._waiting[number]:
                if not self._is_decided(item):
                    yield self._row(self._surplus(item))
        self._waiting.clear()

    def _decide(self, item: Item, group: GroupComparison | None) -> tuple[Item, str]:
        progress = self._progress
        if progress.reached:
            return self._surplus(item)
        item = self._through_gates(item, group)
        if (rejection := item.rejection) is not None:
            progress.rejected += 1
            progress.turned_away += rejection.by == LABEL_GATE
            progress.rejected_by[rejection.by, rejection.reason] += 1
            if rejection.by != LABEL_GATE:
                self._weigh((rejection.by, rejection.reason))
            return item, "rejected"
        progress.accepted += 1
        self._weigh(ACCEPTED)
        if self._repeats is not None:
            self._repeats.accept(item)
        if self._room is not None:
            progress.labels[item.answer] += 1
        return item, "accepted"

    def _through_gates(self, item: Item, group: GroupComparison | None) -> Item:
        """Applies the label gate and the group check, which depend on the items accepted before this one."""
        if item.settled:
            return item
        # The group check first, as before an item has its vector: so the reason does not depend on the moment.
        if group is not None and (verdict := group.same_text(item)) is not None:
            return item.judged(verdict)
        if self._repeats is not None and (verdict := self._repeats.verdict(item)) is not None:
            return item.judged(verdict)
        if self._room is not None:
            item = self._through_label_gate(item, self._room)
        if item.settled or group is None:
            return item
        if (verdict := group.nearest(item)) is not None:
            return item.judged(verdict)
        group.accept(item)
        return item

    def _weigh(self, fate: ItemFate) -> None:
        if self._early_stopping is not None and (reason := self._early_stopping.add(fate)) is not None:
            self._halt.set(reason)

    def _surplus(self, item: Item) -> tuple[Item, str]:
        self._progress.surplus += 1
        return item, "surplus"

    def _through_label_gate(self, item: Item, room: Mapping[str, int]) -> Item:
        """Rejects an item whose label already has its share."""
        label = item.answer
        if self._progress.labels[label] < room.get(label, 0):
            return item
        reason = "label_full" if label in room else "label_unknown"
        return item.judged(Verdict.rejected(LABEL_GATE, reason, f"the label {label!r} has its share"))

    # --- writing ---

    def _row(self, decided: tuple[Item, str]) -> ItemRow:
        item, state = decided
        rejection = item.rejection if state == "rejected" else None
        by, reason = (rejection.by, storable(rejection.reason)) if rejection is not None else (None, None)
        label = storable(item.answer) if self._room is not None and item.label is not None else None
        written = item.written
        if written is None or (state == "surplus" and item.rejection is not None):
            written = written_of(item, self._dataset, rejection)
        return ItemRow(item.number, state, label, by, reason, *written)


def _place(item: Item) -> int:
    return item.position


def fate_of(item: Item, state: str) -> Fate:
    """The item's fate as the journal stores it: cost, reason and feedback are cut and rounded alike."""
    rejection = item.rejection if state == "rejected" else None
    by, reason, said = ("", "", "")
    if rejection is not None:
        by, reason, said = rejection.by, storable(rejection.reason), storable(rejection.feedback[:SAID])
    return Fate(state == "accepted", by, reason, said, item.text, item.usage.cost)

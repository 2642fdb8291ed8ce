"""Decides when to request the next batch, and with which labels."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from engine.flow.halt import Halt
from engine.items import Batch
from engine.planning.feedback import Adviser
from engine.planning.plan import Labels, Planner, interleaved, shares
from engine.planning.strategies import Choice, Mix
from engine.stages.progress import Progress
from engine.stages.schedule import Schedule
from engine.store.journal import Journal


class LabelRounds:
    """Chooses the labels to request, so that the accepted items reach the wanted ratio.

    If labels were chosen by what is accepted so far, a batch would depend on how fast calls return. So there
    are rounds: the first requests the whole target, label by label; when all of it is decided, the next one
    requests what is still missing, by the measured acceptance. A round is journaled when it begins; a
    resumed run continues it.
    Mutable state: the labels of the round that have not been requested, and the round's end.
    """

    def __init__(self, weights: Mapping[str, float], size: int, progress: Progress, journal: Journal) -> None:
        self._weights = weights
        self._size = size
        self._progress = progress
        self._journal = journal
        self._asks: Iterator[str] = iter(())
        self._end = progress.committed
        self.asked = 0
        """Number of items that the batches before the next one requested."""
        if rounds := journal.rounds():
            *earlier, (first, state) = rounds
            skipped = progress.committed - first
            self.asked = sum(sum(past["asks"].values()) for _, past in earlier)
            self.asked += min(skipped * size, sum(state["asks"].values()))
            self._enter(first, state["asks"], skipped)

    def at_end(self, number: int) -> bool:
        """Whether batch `number` needs a new round, so that all before it must be decided first."""
        return number >= self._end

    async def begin(self, number: int) -> None:
        """Start the round whose first batch is `number`. Raises StoreError."""
        wanted = shares(self._progress.target, self._weights)
        missing = {label: max(0, count - self._progress.labels[label]) for label, count in wanted.items()}
        rate = self._acceptance()
        asks = {label: math.ceil(count / rate) for label, count in missing.items()}
        await self._journal.begin_round(number, {"asks": asks})
        self._enter(number, asks)

    def labels(self) -> Labels:
        """The labels of the next batch of the round."""
        asked = list(islice(self._asks, self._size))
        return tuple((label, asked.count(label)) for label in self._weights if label in asked)

    def _enter(self, first: int, asks: Mapping[str, int], skipped: int = 0) -> None:
        self._asks = islice(interleaved(asks), skipped * self._size, None)
        self._end = first + math.ceil(sum(asks.values()) / self._size)

    def _acceptance(self) -> float:
        """The acceptance rate without items whose label merely had its share; at least 0.1."""
        progress = self._progress
        decided = progress.accepted + progress.rejected - progress.turned_away
        return max(0.1, (progress.accepted + 1) / (decided + 1))


_Texts = tuple[tuple[str, ...], tuple[str, ...]]
"""People's notes, and lessons."""


def _lags(mix: Mix | None, adviser: Adviser | None) -> Iterator[int | None]:
    """Limits of the window: no batch is planned before the outcomes that it depends on are known."""
    if mix is not None:
        yield mix.delayed.lag
    if adviser is not None and adviser.lessons is not None:
        yield adviser.lessons.delayed.lag


class Source:
    """Yields batches while more are needed than are under way, and ends when enough have been requested.

    `asked` is the number of items that earlier starts requested, `most_items` the maximum over all starts.
    `window` bounds the batches under way, including those that wait for their turn, and so the memory.
    """

    def __init__(
        self,
        planner: Planner,
        progress: Progress,
        halt: Halt,
        *,
        asked: int,
        most_items: int,
        window: int,
        rounds: LabelRounds | None = None,
        mix: Mix | None = None,
        adviser: Adviser | None = None,
        keep: Callable[[int, Mapping[str, Any]], None] | None = None,
        schedule: Schedule | None = None,
        waits: bool = True,
    ) -> None:
        """`mix` chooses each batch's strategy, where there is a choice, and `adviser` its advice.

        `keep` journals both. `schedule` says when a batch is due, if the run must end at a time of day.
        Unless it `waits`, it ends where the next batch depends on what is under way: a later pass goes on.
        """
        self._planner = planner
        self._progress = progress
        self._halt = halt
        self._most_items = most_items
        self._window = min([window, *(lag for lag in _lags(mix, adviser) if lag is not None)])
        self._rounds = rounds
        self._mix = mix
        self._adviser = adviser
        self._keep = keep
        self._schedule = schedule
        self._asked = asked
        self._waits = waits
        halt.on_set(lambda _: progress.changed.set())

    async def batches(self) -> AsyncIterator[Batch]:
        number = self._progress.committed
        while self._asked < self._most_items and not self._planner.ends_before(number):
            if not self._waits and not self._wanted(number):
                return
            await self._until_wanted(number)
            if self._schedule is not None:
                await self._until_due(self._schedule)
            if self._halt.reason is not None:
                return
            if self._rounds is not None and self._rounds.at_end(number):
                await self._rounds.begin(number)
            labels = self._rounds.labels() if self._rounds is not None else ()
            choice, advice = await self._decided(number)
            if self._halt.reason is not None:
                return
            batch = self._planner.batch(number, labels, choice, advice)
            self._asked += batch.size
            self._progress.outstanding += batch.size
            yield batch
            number += 1

    async def _decided(self, number: int) -> tuple[Choice | None, _Texts]:
        """The batch's strategy and advice; they are journaled before the batch is requested."""
        choice = self._mix.choose(number) if self._mix is not None else None
        kept = choice.as_dict() if choice is not None else {}
        texts: _Texts = ((), ())
        if self._adviser is not None:
            advice = await self._adviser.advice(number)
            kept, texts = {**kept, **advice.as_dict()}, self._adviser.texts(advice)
        if kept and self._keep is not None:
            self._keep(number, kept)
        return choice, texts

    async def _until_wanted(self, number: int) -> None:
        while self._halt.reason is None and not self._wanted(number):
            self._progress.changed.clear()
            await self._progress.changed.wait()

    async def _until_due(self, schedule: Schedule) -> None:
        """Waits until the next batch is due, which is recalculated whenever the progress changes."""
        while self._halt.reason is None and (seconds := schedule.wait(self._progress)) > 0:
            self._progress.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._progress.changed.wait()
        schedule.begun()

    def _wanted(self, number: int) -> bool:
        under_way = self._progress.under_way(number)
        if self._rounds is not None:
            ready = under_way == 0 if self._rounds.at_end(number) else under_way < self._window
            return ready and not self._progress.reached
        wanting = self._progress.wanting if self._waits else self._progress.surely_wanting
        return under_way < self._window and wanting

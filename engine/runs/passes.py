"""Runs a pipeline over the journal again and again, until nothing that it needs is still to come."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.config.run import LimitsConfig
from engine.errors import BudgetExhausted, NearlyAllRejected
from engine.flow.channel import ChannelStatistics
from engine.flow.halt import Halt
from engine.flow.pipeline import Pipeline
from engine.items import usd
from engine.llm.batches.later import Later, Turn
from engine.llm.batches.part import Part
from engine.llm.batches.spool import Lane
from engine.llm.batches.waves import Waves
from engine.llm.budget import Budget
from engine.llm.pacing import Clock
from engine.protocols import Notify
from engine.runs.pipeline import Pass
from engine.stages.progress import Progress
from engine.stages.schedule import next_time
from engine.store.journal import Journal

USUAL_S = 3_600.0
"""Seconds that a batch takes, before any of the run's own is known: most end within the hour, as providers say."""


SMALLEST = 0.05
"""Of the calls so far: at the cap, a smaller wave is not worth its wait."""


@dataclass
class Passes:
    """One start's passes. Mutable state: the present pass and its pipeline; what items and calls have taken so far."""

    limits: LimitsConfig
    made: Callable[[Pass], Pipeline]
    """Makes the pipeline of a pass."""
    later: Later
    waves: Waves
    journal: Journal
    progress: Progress
    budget: Budget
    halt: Halt
    notify: Notify
    lanes: Mapping[str, Lane]
    """Empty where no call may wait."""
    wall: Clock = time.time
    pipeline: Pipeline | None = None
    turn: Pass = Pass.ONLINE
    """Of the present pass."""

    def __post_init__(self) -> None:
        self._made, self._calls_an_item, self._finishing = 0, 0.0, 0
        self._end = (
            next_time(self.limits.finish_by, self.wall()) if self.limits.finish_by is not None else None
        )

    def statistics(self) -> Mapping[str, ChannelStatistics]:
        """Of the present pass's channels."""
        return self.pipeline.statistics() if self.pipeline is not None else {}

    async def run(self) -> None:
        """Until the run's end, as far as this start gets. Raises FatalError, and the reason of a halt."""
        if self.waves.open:
            said = self.waves.said()
            self.notify(f"{said[:1].upper()}{said[1:]}; collected first.")
            await self.waves.settle()
            await self._again()
        if self.limits.mode == "online" or not self.lanes:
            await self._pass(Pass.ONLINE)
        elif await self._pilot():
            await self._in_waves()

    # --- online ---

    async def _pilot(self) -> bool:
        """The first requests, online; whether waves may follow."""
        left = self.limits.batch.pilot - self.progress.committed
        if self.limits.mode != "auto" or left <= 0:
            return True
        await self._pass(Pass.ONLINE, most=left)
        if self.halt.reason is not None or self.progress.reached:
            return False
        progress = self.progress
        decided = progress.accepted + progress.rejected
        if decided and progress.accepted < self.limits.least_acceptance * decided:
            self.halt.set(
                NearlyAllRejected(
                    f"of the first {decided:,} items {progress.accepted:,} were accepted, and nothing was sent in a "
                    "batch; see rejected.jsonl, mend the config, or set limits.least_acceptance lower and resume"
                )
            )
            return False
        await self._again()
        return True

    # --- waves ---

    async def _in_waves(self) -> None:
        while True:
            self._measure()
            yielded, parts = await self._wave(self._finishing)
            if self._finishing and self.later.short and not parts and self.halt.reason is None:
                await self._again()  # what is kept for finishing leaves nothing to begin anything with
                yielded, parts = await self._wave(0)
            calls = sum(part.calls for part in parts)
            if self.halt.reason is not None:
                await self.later.drop(parts)
                return
            if calls and self._is_worth_it(calls):
                await self.waves.send(parts)
                await self.waves.settle()
                await self._again()
                continue
            await self.later.drop(parts)
            if not calls and not self.later.short:
                if not yielded:
                    return
                await self._again()
                continue
            if self.limits.mode == "batch" or not calls:
                await self._out_of_money(calls)
                return
            await self._again()
            whole = self.later.short or self._is_near_the_end()
            await self._pass(Pass.ONLINE, most=None if whole else yielded)
            if whole or self.halt.reason is not None or self.progress.reached:
                return
            await self._again()

    async def _wave(self, finishing: int) -> tuple[int, Sequence[Part]]:
        """A pass that lets go what is not answered: how many batches it had, and the parts that it has written.

        New items leave `finishing` picodollars for each that is under way.
        """

        def kept() -> int:
            return finishing * max(0, self.later.begun - self.progress.arrived) * 5 // 4

        self.later.kept = kept
        self.later.begin()
        yielded = await self._pass(Pass.WAVE)
        return yielded, await self.later.end()

    def _measure(self) -> None:
        """What finishing an item takes, by those that are decided: calls, and picodollars in batches."""
        decided = self.progress.accepted + self.progress.rejected
        [[self._made, calls, asked, told]] = self.journal.rows(
            "SELECT (SELECT count(*) FROM calls), count(*), coalesce(sum(prompt_tokens), 0),"
            " coalesce(sum(completion_tokens), 0) FROM calls"
            " WHERE batch < ? AND owner NOT IN ('generate', 'attributes', 'lessons', 'embedding', '')",
            (self.progress.committed,),
        )
        if not decided or not calls:
            self._calls_an_item, self._finishing = 0.0, 0
            return
        price = next(iter(self.lanes.values())).price
        self._calls_an_item = calls / decided
        self._finishing = int(price.cost(asked // calls, told // calls) * calls // decided)

    def _is_worth_it(self, calls: int) -> bool:
        """Whether so many calls are worth a wave's wait."""
        if self.later.short:  # each wave buys less than the one before it
            return calls >= max(1, SMALLEST * self._made)
        if self.limits.mode == "batch":
            return True
        if self._is_near_the_end():
            self.notify(f"{self.limits.finish_by} is near: the remaining calls are made online.")
            return False
        left = calls + self.later.new_items * self._calls_an_item
        if left < self.limits.batch.least:
            self.notify(f"About {left:,.0f} calls are left for now: too few for a wave, and made online.")
            return False
        return True

    def _is_near_the_end(self) -> bool:
        return self._end is not None and self.wall() + (self.waves.usual_s or USUAL_S) > self._end

    async def _out_of_money(self, calls: int) -> None:
        """What is complete is decided, without what there is no money for."""
        await self._again()
        self.later.turn = Turn.NEVER
        await self._pass(Pass.LAST)
        self.later.turn = Turn.NOW
        left = f"a further wave would have {calls:,} calls" if calls else "no further call fits"
        spent = f"${usd(self.budget.spent):.4f} of ${usd(self.budget.cap or 0):.4f} is spent"
        self.halt.set(BudgetExhausted(f"{spent} and {left}"))

    # --- one pass ---

    async def _pass(self, turn: Pass, most: int | None = None) -> int:
        """Runs the pipeline once, with at most so many batches; how many there were."""
        pipeline, self.turn = self.made(turn), turn
        source = _Counted(pipeline.source, most)
        self.pipeline = replace(pipeline, source=source)
        await self.pipeline.run()
        return source.count

    async def _again(self) -> None:
        """Lets the next pass see what has been recorded by now."""
        await self.journal.settled()
        self.journal.look_again()
        self.progress.start_over()
        self.budget.start_over()


class _Counted:
    """A source that ends after so many values. Mutable state: how many there were."""

    def __init__(self, source: AsyncIterator[Any], most: int | None) -> None:
        self._source = source
        self._most = most
        self.count = 0

    def __aiter__(self) -> _Counted:
        return self

    async def __anext__(self) -> Any:
        if self._most is not None and self.count >= self._most:
            raise StopAsyncIteration
        value = await self._source.__anext__()
        self.count += 1
        return value

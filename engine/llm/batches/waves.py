"""Brings batches through: uploaded, made once, watched, collected; whatever start has begun them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from engine.errors import BadRequest, EndpointDown, EndpointError, TransientError
from engine.flow.halt import Halt
from engine.llm.accounts import Accounts
from engine.llm.batches.ending import Ending
from engine.llm.batches.keeping import Keeping, Record
from engine.llm.batches.making import Maker
from engine.llm.batches.part import OPEN, WINDOW_S, Book, Part, State
from engine.llm.batches.room import Room
from engine.llm.batches.spool import FOLDER, RESULTS, Lane, Pace
from engine.llm.budget import Budget
from engine.llm.pacing import Clock
from engine.protocols import Notify

_GROWTH = 1.5
"""Of the pause between two looks at which nothing has changed."""


class Waves:
    """Mutable state: how long the trouble lasts, the parts that are open."""

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        book: Book,
        budget: Budget,
        accounts: Accounts,
        halt: Halt,
        folder: Path,
        *,
        wait_s: float,
        outage_s: float,
        start: int = 0,
        record: Record = lambda *_: None,
        notify: Notify = lambda _: None,
        wall: Clock = time.time,
    ) -> None:
        """`wait_s`: after so long a batch is cancelled. `wall` gives seconds since the epoch."""
        self._lanes = lanes
        self._book = book
        self._budget = budget
        self._halt = halt
        self._folder = folder
        self._outage_s = outage_s
        self._notify = notify
        self._wall = wall
        self._keeping = Keeping(book, budget, accounts, folder, start, record, wall)
        room = Room(self._keeping)
        self._maker, self._ending = Maker(self._keeping, room), Ending(self._keeping, room, wait_s)
        self._troubled: float | None = None
        self.open: Sequence[Part] = ()
        """As of the last look."""

    async def take_over(self) -> None:
        """Takes up what earlier starts have left. Raises StoreError.

        What was only spooled is dropped: nobody was told of it.
        """
        unsent = self._book.parts(State.SPOOLED)
        lost = [
            part for part in self._book.parts(*OPEN)
            if (lane := self._lanes.get(part.endpoint)) is not None and not lane.lasting
        ]  # fmt: skip
        if gone := [replace(part, state=State.VOID) for part in (*unsent, *lost)]:
            await self._book.put(*gone)
        self.open = self._book.parts(*OPEN)
        for part in self.open:
            self._budget.put_aside(part.worst, whatever=True)
        needed = {(self._folder / part.file).name for part in self.open}
        for file in (self._folder / FOLDER).glob("part-*"):
            if file.name not in needed and not file.name.endswith(RESULTS):
                file.unlink(missing_ok=True)

    async def send(self, parts: Sequence[Part]) -> None:
        """Puts it on record that these parts go out; their money is set aside already. Raises StoreError."""
        now = self._wall()
        await self._book.put(*(replace(part, state=State.INTENT, intent_at=now) for part in parts))
        self.open = self._book.parts(*OPEN)
        calls, wave = sum(part.calls for part in parts), max((part.wave for part in parts), default=0)
        how_many = "1 batch" if len(parts) == 1 else f"{len(parts)} batches"
        going = "1 call goes" if calls == 1 else f"{calls:,} calls go"
        self._notify(f"Wave {wave}: {going} out in {how_many}.")

    async def settle(self) -> None:
        """All open parts to their end. Raises FatalError, and the reason of a halt: the parts go on then."""
        pause = 0.0
        while self.open:
            self._halt.check()
            before = [(part.number, part.state, dict(part.counts)) for part in self.open]
            await self._look()
            self.open = self._book.parts(*OPEN)
            moved = before != [(part.number, part.state, dict(part.counts)) for part in self.open]
            first = min((self._pace(part).first for part in self.open), default=0.0)
            longest = max((self._pace(part).longest for part in self.open), default=0.0)
            pause = first if moved or not pause else min(longest, pause * _GROWTH)
            if self.open:
                await self._rest(pause)

    def said(self) -> str:
        """What is where, for people; '' where nothing is under way."""
        parts = self.open
        if not parts:
            return ""
        calls = sum(part.calls for part in parts)
        done = sum(
            min(part.calls, part.counts.get("done", 0) + part.counts.get("failed", 0)) for part in parts
        )
        oldest = self._wall() - min(part.told_at or part.intent_at or self._wall() for part in parts)
        usual = f"usually {_minutes(self.usual_s)}" if self.usual_s is not None else "usually under an hour"
        where = "1 batch" if len(parts) == 1 else f"{len(parts)} batches"
        return (
            f"wave {parts[-1].wave}: {calls:,} calls in {where}, {done / max(1, calls):.0%} done, oldest "
            f"{_minutes(max(0.0, oldest))}, {usual}"
        )

    @property
    def until(self) -> float:
        """Seconds since the epoch by which all that is open has ended, if its providers keep their word."""
        return max((part.until or self._wall() + WINDOW_S for part in self.open), default=self._wall())

    async def stop(self, *, forget: bool = False) -> None:
        """Cancels what is open, then collects what was answered. Raises FatalError.

        `forget`: what the provider does not know any more is given up, at the most that it may have cost.
        """
        for part in self.open:
            lane = self._lane(part)
            if part.state is State.TOLD:
                await asyncio.sleep(max(0.0, (part.told_at or 0.0) + lane.pace.grace - self._wall()))
                found = await self._maker.found(lane, part)
                if found is not None:
                    await self._maker.adopt(part, found)
                    part = replace(part, state=State.CREATED, batch_id=found.id)
            if part.state not in (State.CREATED, State.ENDED):
                await self._keeping.void(part)
                continue
            told = (await lane.door.poll([part.batch_id])).get(part.batch_id)
            if told is None and forget:
                gone = replace(
                    part, state=State.GONE, lost=part.worst, cost=part.worst, start=self._keeping.start
                )
                await self._book.put(gone)
                self._keeping.forget(part)
                self._keeping.tell(lane, f"part {part.number} is given up: its batch {part.batch_id} is gone")
            elif told is not None and told.stage == "running":
                with contextlib.suppress(BadRequest, TransientError):  # it has ended meanwhile
                    await lane.door.cancel(part.batch_id)
        self.open = self._book.parts(*OPEN)
        await self.settle()

    @property
    def usual_s(self) -> float | None:
        """Seconds that a batch of this start took, in the middle; None before the first."""
        took = sorted(self._ending.took)
        return took[len(took) // 2] if took else None

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                raise await self._halt.wait()
        except TimeoutError:
            return

    def _pace(self, part: Part) -> Pace:
        return self._lane(part).pace

    def _lane(self, part: Part) -> Lane:
        """Raises EndpointError where the config no longer names the endpoint."""
        lane = self._lanes.get(part.endpoint)
        if lane is None:
            raise EndpointError(
                f"part {part.number} ({part.calls:,} calls) waits at {part.endpoint}, which the config does not name "
                "with its batch API"
            )
        return lane

    # --- one look at all of them ---

    async def _look(self) -> None:
        by_lane: dict[str, list[Part]] = {}
        for part in self.open:
            by_lane.setdefault(self._lane(part).name, []).append(part)
        for name, parts in by_lane.items():
            try:
                await self._advance(self._lanes[name], parts)
            except TransientError as error:
                self._endure(self._lanes[name], error)
            else:
                self._troubled = None

    def _endure(self, lane: Lane, error: TransientError) -> None:
        """Raises EndpointDown after too long a trouble."""
        now = self._wall()
        if self._troubled is None:
            self._troubled = now
            self._keeping.tell(lane, f"{lane.door.name}: {error}; tried again")
        elif now - self._troubled > self._outage_s:
            raise EndpointDown(
                f"no word of batches from {lane.door.name} for {now - self._troubled:.0f} s: {error}"
            )

    async def _advance(self, lane: Lane, parts: Sequence[Part]) -> None:
        """Raises what the door raises."""
        made = [part for part in parts if part.state in (State.CREATED, State.ENDED)]
        if made:
            told = await lane.door.poll([part.batch_id for part in made])
            for part in made:
                await self._ending.heard(lane, part, told.get(part.batch_id))
        for part in parts:
            if part.state not in (State.CREATED, State.ENDED) and not await self._maker.advance(lane, part):
                break  # one at a time, so that a batch that nobody has heard of can be told from the others


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"

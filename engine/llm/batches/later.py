"""Asks as the client does; but in a wave's pass, what the journal does not hold is spooled and comes later."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

from engine.errors import BudgetExhausted, Deferred
from engine.items import SETUP_BATCH, SHARED, Completion, Prompt
from engine.llm.batches.part import Book, Part, State
from engine.llm.batches.spool import Lane, Spool, asked
from engine.llm.budget import Budget
from engine.llm.client import Client

TRIES = 2
"""Batches that a call may have been in without an answer; then it is made online."""
_LONGEST = 2
"""A batch asks for answers of so many times the longest seen, so that what is set aside is near what it costs."""


class Turn(Enum):
    """What becomes of a call that the journal does not hold."""

    NOW = "now"
    LATER = "later"
    NEVER = "never"
    """It is put off for good: the run ends."""


class Later:
    """An Ask. Mutable state: the turn, the parts being written, what is known of calls that parts did not answer."""

    def __init__(
        self,
        client: Client,
        lanes: Callable[[Prompt], Lane | None],
        book: Book,
        budget: Budget,
        folder: Path,
        *,
        most_calls: int | None = None,
    ) -> None:
        """`lanes` finds where a call can travel; `most_calls` go into one part."""
        self._client = client
        self._lanes = lanes
        self._book = book
        self._budget = budget
        self._folder = folder
        self._most_calls = most_calls or 1 << 40
        self.kept: Callable[[], int] = lambda: 0
        """Picodollars that calls for new items leave for finishing those under way."""
        self.turn = Turn.NOW
        self.short = False
        """Whether a call of this pass did not fit the cap."""
        self.begun = self.new_items = 0
        """Items that calls of this pass are for, or have brought; those of them that are asked for in it."""
        self._spools: dict[str, Spool] = {}
        self._parts: list[Part] = []
        self._shared: set[str] = set()
        """Keys in this pass's parts that other batches may ask for, too."""
        self._wave = self._number = 0
        self._unanswered: Mapping[str, tuple[int, bool]] = {}
        self._longest: Mapping[str, int] = {}
        self._first: dict[tuple[str, str], asyncio.Event] = {}
        """By lane and purpose: set once the call is answered that finds out what the endpoint takes."""

    async def ask(self, prompt: Prompt) -> Completion:
        """Raises what the client raises, and Deferred."""
        if self.turn is Turn.NOW:
            return await self._client.ask(prompt)
        if self._book.holds(prompt.key):
            self.begun += prompt.size if prompt.priority >= 0 else 0
            return await self._client.ask(prompt)
        lane = self._lanes(prompt) if prompt.batch < SETUP_BATCH else None
        if self.turn is Turn.NEVER:
            self.short = True
            raise Deferred
        tries, online = self._unanswered.get(prompt.key, (0, False))
        if prompt.key in self._shared:
            raise Deferred  # it travels already, for another batch
        if lane is None or online or tries >= TRIES or await self._finds_out(lane, prompt.purpose):
            return await self._online(prompt)
        await self._spool(lane, prompt, tries + 1)
        await asyncio.sleep(0)  # what is asked together is spooled together, before the first of it is let go
        raise Deferred

    async def _finds_out(self, lane: Lane, purpose: str) -> bool:
        """Whether this call is the first of its purpose, which finds out online what the endpoint takes.

        In a batch that would take an hour, for all of them. The others wait until it is answered.
        """
        if lane.door.settled(purpose):
            return False
        answered = self._first.get((lane.name, purpose))
        if answered is None:
            self._first[lane.name, purpose] = asyncio.Event()
            return True
        await answered.wait()
        return False

    async def _online(self, prompt: Prompt) -> Completion:
        """A call that cannot wait. Without money for it, it is put off until the wave's is settled."""
        try:
            return await self._client.ask(prompt)
        except BudgetExhausted:
            if not self._budget.aside:
                raise
            self.short = True
            raise Deferred from None
        finally:
            for (_, purpose), answered in self._first.items():
                if purpose == prompt.purpose:
                    answered.set()

    async def _spool(self, lane: Lane, prompt: Prompt, tries: int) -> None:
        allowed = lane.endpoint.allowance.of(prompt.purpose)
        whole = prompt.max_tokens + allowed
        longest = self._longest.get(prompt.purpose)
        limit = min(whole, _LONGEST * longest) if longest and tries == 1 else whole
        asking = replace(prompt, max_tokens=limit) if limit != prompt.max_tokens else prompt
        request, bound = lane.door.request(asking), self._client.bound(prompt)
        worst = lane.price.worst(bound, math.ceil(request.limit * lane.endpoint.overlong))
        if not self._budget.put_aside(worst, self.kept() if prompt.priority >= 0 else 0):
            self.short = True
            return
        spool = await self._spool_of(lane, len(prompt.system) + len(prompt.user))
        line = lane.door.line(spool.next_id, request)
        call = asked(
            spool.next_id, spool.part.number, spool.part.calls, prompt, request, bound, tries,
            shortened=limit < whole,
        )  # fmt: skip
        spool.add(call, line, worst)
        if prompt.key.startswith(SHARED):
            self._shared.add(prompt.key)
        self._book.keep_prompt(prompt)
        if prompt.priority >= 0:
            self.begun += prompt.size
            self.new_items += prompt.size

    async def _spool_of(self, lane: Lane, size: int) -> Spool:
        spool = self._spools.get(lane.name)
        if spool is not None and not spool.room(4 * size + 65_536, self._most_calls):
            del self._spools[lane.name]
            self._parts.append(await spool.close())
            spool = self._spools.get(lane.name)  # another call may have begun one meanwhile
        if spool is None:
            number = self._number = self._number + 1
            spool = self._spools[lane.name] = Spool(self._folder, lane, self._book, self._wave, number)
        return spool

    # --- a pass ---

    def begin(self) -> None:
        """Begins a pass whose calls are spooled."""
        self.turn, self.short = Turn.LATER, False
        self.begun = self.new_items = 0
        self._parts = []
        self._shared.clear()
        self._wave = self._book.waves() + 1
        self._number = self._book.next_number() - 1
        self._unanswered = self._book.unanswered()
        self._longest = self._book.longest()

    async def end(self) -> Sequence[Part]:
        """The parts of the pass. Raises StoreError."""
        self.turn = Turn.NOW
        spools, self._spools = self._spools, {}
        self._parts += [await spool.close() for spool in spools.values()]
        parts, self._parts = self._parts, []
        return parts

    def abandon(self) -> None:
        """Closes the files of a pass that has not come to its end; the next start drops them."""
        for spool in self._spools.values():
            spool.abandon()
        self._spools = {}

    async def drop(self, parts: Sequence[Part]) -> None:
        """Forgets parts that nobody has been told of."""
        for part in parts:
            self._budget.take_back(part.worst)
            (self._folder / part.file).unlink(missing_ok=True)
        if parts:
            await self._book.put(*(replace(part, state=State.VOID) for part in parts))

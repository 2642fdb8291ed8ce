"""Takes what a provider says of a batch: it goes on, it has ended and is collected, it was refused, it is gone."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from engine.errors import AuthError, BadRequest, EndpointError
from engine.llm.batches.collect import WELL, Collected, Collector
from engine.llm.batches.door import Fault, Told
from engine.llm.batches.keeping import Keeping, Watched
from engine.llm.batches.part import WINDOW_S, Answer, Fate, Part, State
from engine.llm.batches.refusals import about_money, about_room, changed, many, named
from engine.llm.batches.room import Room
from engine.llm.batches.spool import Lane

_MISSED = 3
"""Looks in a row at which a provider does not know a batch; now and then one is not found that is there
(anthropics/anthropic-sdk-python#1432)."""
_SLACK_S = 7_200.0
"""Seconds by which a batch is given more where its provider should end it by itself; Azure may not."""


class Ending:
    """Mutable state: how long batches took."""

    def __init__(self, keeping: Keeping, room: Room, wait_s: float) -> None:
        """`wait_s`: after so long a batch is cancelled."""
        self._keeping = keeping
        self._room = room
        self._wait_s = wait_s
        self.took: list[float] = []
        """Seconds of each batch of this start."""

    async def heard(self, lane: Lane, part: Part, told: Told | None) -> None:
        """Takes in what was said; None where the provider does not know the batch.

        Raises what the door raises, FatalError, and StoreError.
        """
        watched = self._keeping.watch(part)
        if told is None:
            watched.missed += 1
            if watched.missed >= _MISSED:
                raise EndpointError(
                    f"{lane.door.name} does not know the batch {part.batch_id} of part {part.number} ({part.calls:,} "
                    "calls) any more; what it may have cost stays set aside. Resume with the key that it was made "
                    "with; if it is gone for good: datagen cancel RUN_DIR --forget"
                )
            return
        watched.missed = 0
        if told.stage == "refused":
            await self._refused(lane, part, told)
        elif told.stage == "ended":
            await self._ended(lane, part, told)
        else:
            if told.counts != part.counts:
                await self._keeping.book.put(replace(part, counts=told.counts))
            await self._not_for_ever(lane, part, watched)

    async def _not_for_ever(self, lane: Lane, part: Part, watched: Watched) -> None:
        """Cancels a batch that takes too long; one that its provider lets expire, too, if it does not."""
        age = self._keeping.wall() - (part.told_at or self._keeping.wall())
        if age > self._wait_s + (_SLACK_S if self._wait_s >= WINDOW_S else 0) and not watched.cancelled:
            watched.cancelled = True
            self._keeping.tell(
                lane, f"part {part.number}: cancelled after {age / 3600:.1f} h (limits.batch.wait)"
            )
            with contextlib.suppress(BadRequest):  # it has ended meanwhile
                await lane.door.cancel(part.batch_id)

    async def _ended(self, lane: Lane, part: Part, told: Told) -> None:
        if part.state is State.CREATED:
            part = replace(part, state=State.ENDED, counts=told.counts)
            await self._keeping.book.put(part)
        try:
            found = await Collector(lane, self._keeping.book, self._keeping.accounts).collect(part, told)
        except EndpointError as error:
            raise EndpointError(
                f"{lane.door.name} has no results of the batch {part.batch_id} of part {part.number} any more "
                f"({error}); what it may have cost stays set aside. To go on without: datagen cancel RUN_DIR --forget"
            ) from None
        if lane.door.names_requests_only and found.strangers and not found.kept and not found.again:
            await self._disown(part)
            return
        await self._settle(lane, part, told, found)
        await self._heed(lane, part, found)

    async def _disown(self, part: Part) -> None:
        """A batch of as many calls, made at the same time by somebody else, was taken for ours."""
        await self._keeping.book.put(replace(part, state=State.TOLD, batch_id=""))

    async def _settle(self, lane: Lane, part: Part, told: Told, found: Collected) -> None:
        """The part is done with: by what was answered it is paid."""
        done = replace(
            part,
            state=State.COLLECTED,
            cost=found.cost,
            lost=found.lost,
            start=self._keeping.start,
            counts=told.counts,
        )
        await self._keeping.book.put(done)
        self._keeping.budget.take_back(part.worst, found.cost + found.unconfirmed)
        self._keeping.forget(part)
        if part.told_at is not None:
            self.took.append(max(0.0, self._keeping.wall() - part.told_at))
        if found.again or told.said not in WELL:
            self._keeping.tell(
                lane,
                f"part {part.number} {told.said}: {found.again:,} of {part.calls:,} calls were not answered",
            )
        if said := found.said():
            self._keeping.tell(lane, f"part {part.number} has {said}")

    async def _heed(self, lane: Lane, part: Part, found: Collected) -> None:
        """What calls were refused for is asked otherwise. Raises FatalError."""
        if found.stop is not None:
            raise found.stop
        for (purpose, _), count in found.refused.items():
            refusal = found.refusals[purpose, _]
            if not many(count, part.calls):
                continue  # asked online, one by one
            if not changed(lane, part, purpose, refusal):
                raise EndpointError(f"{lane.door.name} refuses {count:,} of {part.calls:,} calls: {refusal}")
            await self._keeping.book.relent(part.number, purpose)

    async def _refused(self, lane: Lane, part: Part, told: Told) -> None:
        """The whole batch was looked at and refused; nothing is charged. Raises FatalError."""
        said = "; ".join(dict.fromkeys(named(fault) for fault in told.faults)) or told.said
        if any(about_room(named(fault)) for fault in told.faults):
            await self._room.refused(lane, part, said)
            return
        if any(about_money(named(fault)) for fault in told.faults):
            await self._keeping.book.put(replace(part, state=State.UPLOADED, batch_id=""))
            raise AuthError(f"the account has no credit left ({said[:300]})")
        lines = sorted({fault.line for fault in told.faults if fault.line})
        if not lines or lines[-1] > part.calls:
            await self._keeping.void(part)
            raise EndpointError(f"{lane.door.name} refuses the batch: {said[:300]}")
        at_fault = self._keeping.book.at(part.number, lines)
        if many(len(lines), part.calls):
            first = told.faults[0]
            otherwise = [
                changed(lane, part, purpose, _refusal(first))
                for purpose in {each.purpose for each in at_fault}
            ]
            await self._keeping.void(part)
            if not any(otherwise):
                raise EndpointError(
                    f"{lane.door.name} refuses {len(lines):,} of {part.calls:,} calls: {said[:300]}"
                )
            return
        await self._keeping.book.answered(
            [Answer(each._replace(fate=Fate.ONLINE), None) for each in at_fault]
        )
        await self._keeping.void(part)
        self._keeping.tell(
            lane,
            f"part {part.number}: {len(lines):,} of {part.calls:,} calls were refused ({said[:300]}); they are made "
            "online, the others again",
        )


def _refusal(fault: Fault) -> BadRequest:
    return BadRequest(fault.message, fault.param, named(fault))

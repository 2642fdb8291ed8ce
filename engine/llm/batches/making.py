"""Brings a part to its batch: the file goes up, the batch is asked for once, one that nobody heard of is looked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from engine.errors import BadRequest, EndpointError, FatalError, RateLimited, TransientError
from engine.llm.batches.door import Told
from engine.llm.batches.keeping import Keeping
from engine.llm.batches.part import Part, State
from engine.llm.batches.refusals import about_room
from engine.llm.batches.room import Room
from engine.llm.batches.spool import Lane

_FILE_LAG_S = 600.0
"""Seconds for which a file may be unknown after its upload (bespokelabsai/curator#116)."""
_SKEW_S = 120.0
"""By which the provider's clock may differ from ours."""


class Maker:
    """No mutable state of its own."""

    def __init__(self, keeping: Keeping, room: Room) -> None:
        self._keeping = keeping
        self._room = room

    async def advance(self, lane: Lane, part: Part) -> bool:
        """A part that has no batch yet, a step further; whether the next part of the lane may go.

        Raises what the door raises, and StoreError.
        """
        watched = self._keeping.watch(part)
        if part.state is State.TOLD and self._keeping.wall() < (part.told_at or 0.0) + lane.pace.grace:
            return False
        if self._keeping.wall() < watched.not_before or (
            part.state is State.UPLOADED and self._room.waits(lane)
        ):
            return False
        if part.state is State.INTENT:
            part = await self._uploaded(lane, part)
        elif part.state is State.TOLD:
            found = await self.found(lane, part)
            if found is not None:
                await self.adopt(part, found)
                return True
            part = replace(part, state=State.UPLOADED)
            self._keeping.tell(lane, f"part {part.number}: no batch was made of it; asked for again")
        return await self._created(lane, part)

    async def _uploaded(self, lane: Lane, part: Part) -> Part:
        file = self._keeping.folder / part.file
        if not await asyncio.to_thread(file.exists):
            raise EndpointError(f"part {part.number}: its file {part.file} is missing from the run folder")
        file_id = await lane.door.upload(file, f"{part.tag}.jsonl")
        part = replace(part, state=State.UPLOADED, file_id=file_id)
        await self._keeping.book.put(part)
        return part

    async def _created(self, lane: Lane, part: Part) -> bool:
        """Asks for the batch, once; whether the next part may go."""
        told_at = self._keeping.wall()
        await self._keeping.book.put(replace(part, state=State.TOLD, told_at=told_at))
        try:
            told = await lane.door.create(self._keeping.folder / part.file, part.file_id, part.tag)
        except RateLimited as error:  # not made: there are too many already
            if about_room(str(error)) or self._room.made(lane):
                await self._room.refused(lane, part, str(error))
                return False
            await self._keeping.book.put(part)
            self._keeping.watch(part).not_before = told_at + (error.retry_after or lane.pace.first)
            raise
        except TransientError as error:
            unsent = not error.paid and error.reason == "disconnected"
            if unsent:  # no connection, no batch
                await self._keeping.book.put(part)
                raise
            self._keeping.tell(lane, f"part {part.number}: {error}; whether it was made is looked up")
            return False
        except BadRequest as error:
            await self._keeping.book.put(part)
            await self._refused_at_once(lane, part, error, told_at)
            return False
        except FatalError:
            await self._keeping.book.put(part)
            raise
        await self.adopt(replace(part, told_at=told_at), told)
        return not self._room.is_crowded(lane)

    async def _refused_at_once(self, lane: Lane, part: Part, error: BadRequest, now: float) -> None:
        if about_room(str(error)):
            await self._room.refused(lane, part, str(error))
        elif (
            part.file_id
            and part.file_id in (error.told or str(error))
            and now < (part.intent_at or 0.0) + _FILE_LAG_S
        ):
            self._keeping.watch(part).not_before = now + lane.pace.first  # the file is not there yet
        else:
            await self._keeping.void(part)
            raise EndpointError(f"{lane.door.name} takes no such batch: {error}")

    async def adopt(self, part: Part, told: Told) -> None:
        expires = told.expires
        await self._keeping.book.put(
            replace(
                part, state=State.CREATED, batch_id=told.id, expires_at=expires, counts=told.counts,
                told_at=told.created or part.told_at,
            )
        )  # fmt: skip

    async def found(self, lane: Lane, part: Part) -> Told | None:
        """The batch that was made of a part although no reply came."""
        since = (part.told_at or 0.0) - _SKEW_S
        known = {each.batch_id for each in self._keeping.book.parts(*State) if each.batch_id}
        for told in await lane.door.made(since):
            if told.id in known:
                continue
            same = told.tag == part.tag or (part.file_id and told.file == part.file_id)
            if same or (lane.door.names_requests_only and await self._is_ours(lane, part, told)):
                return told
        return None

    async def _is_ours(self, lane: Lane, part: Part, told: Told) -> bool:
        """By its number of calls; once it has ended, by their ids."""
        if told.total != part.calls:
            return False
        if told.stage == "running":
            return True
        async for result in lane.door.results(told):
            if result is not None:
                return bool(self._keeping.book.asked(part.number, [result.id]))
        return True

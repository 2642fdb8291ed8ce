"""Brings batches through: uploaded, made once, watched, collected; whatever start has begun them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import (
    AuthError,
    BadRequest,
    EndpointDown,
    EndpointError,
    FatalError,
    RateLimited,
    TransientError,
)
from engine.flow.halt import Halt
from engine.llm.accounts import Accounts
from engine.llm.batches.collect import Collected, Collector
from engine.llm.batches.door import Fault, Told
from engine.llm.batches.part import OPEN, WINDOW_S, Answer, Book, Fate, Part, State
from engine.llm.batches.refusals import about_money, about_room, changed, many, named
from engine.llm.batches.spool import FOLDER, RESULTS, Lane, Pace, translated
from engine.llm.budget import Budget
from engine.llm.pacing import Clock
from engine.protocols import Notify

Record = Callable[[str, str, str], None]
"""Called with (endpoint, kind, sentence) for events that users should know."""
_GROWTH = 1.5
_MISSED = 3
"""Looks in a row at which a provider does not know a batch; now and then one is not found that is there
(anthropics/anthropic-sdk-python#1432)."""
_FILE_LAG_S = 600.0
"""Seconds for which a file may be unknown after its upload (bespokelabsai/curator#116)."""
_SLACK_S = 7_200.0
"""Seconds by which a batch is given more where its provider should end it by itself; Azure may not."""
_SKEW_S = 120.0
"""By which the provider's clock may differ from ours."""


@dataclass
class _Watched:
    """What a start knows of a part besides what is on disk. Mutable."""

    missed: int = 0
    not_before: float = 0.0
    cancelled: bool = False


class Waves:
    """Mutable state: what is known of parts beyond the journal, lanes that are full, how long the trouble lasts."""

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
        self._accounts = accounts
        self._halt = halt
        self._folder = folder
        self._wait_s = wait_s
        self._outage_s = outage_s
        self._start = start
        self._record = record
        self._notify = notify
        self._wall = wall
        self._watched: dict[int, _Watched] = {}
        self._full: dict[str, tuple[float, int]] = {}
        self._crowded: set[str] = set()
        """Lanes that have had no room: their parts go one at a time."""
        self._troubled: float | None = None
        self._took: list[float] = []
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
        for file in (self._folder / FOLDER).glob("part-*.jsonl"):
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

    def parting(self, folder: Path) -> str:
        """What becomes of the batches if the process ends now."""
        until = [part.until or self._wall() + WINDOW_S for part in self.open]
        at = time.strftime("%H:%M", time.localtime(max(until, default=0.0)))
        return (
            f"Batches go on until {at} at the latest; datagen resume {folder} collects them, datagen cancel {folder} "
            "stops them."
        )

    async def stop(self, *, forget: bool = False) -> None:
        """Cancels what is open, then collects what was answered. Raises FatalError.

        `forget`: what the provider does not know any more is given up, at the most that it may have cost.
        """
        for part in self.open:
            lane = self._lane(part)
            if part.state is State.TOLD:
                await asyncio.sleep(max(0.0, (part.told_at or 0.0) + lane.pace.grace - self._wall()))
                found = await self._found(lane, part)
                if found is not None:
                    await self._adopt(part, found)
                    part = replace(part, state=State.CREATED, batch_id=found.id)
            if part.state not in (State.CREATED, State.ENDED):
                await self._void(part)
                continue
            told = (await lane.door.poll([part.batch_id])).get(part.batch_id)
            if told is None and forget:
                await self._book.put(
                    replace(part, state=State.COLLECTED, cost=part.worst, lost=part.worst, start=self._start)
                )
            elif told is not None and told.stage == "running":
                with contextlib.suppress(BadRequest, TransientError):  # it has ended meanwhile
                    await lane.door.cancel(part.batch_id)
        self.open = self._book.parts(*OPEN)
        await self.settle()

    @property
    def usual_s(self) -> float | None:
        """Seconds that a batch of this start took, in the middle; None before the first."""
        return sorted(self._took)[len(self._took) // 2] if self._took else None

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
                "any more; put it back, or stop its batch: datagen cancel RUN_DIR"
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
            self._record(lane.door.name, "batch", f"{lane.door.name}: {error}; tried again")
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
                await self._heard(lane, part, told.get(part.batch_id))
        for part in parts:
            if part.state not in (State.CREATED, State.ENDED) and not await self._toward_a_batch(lane, part):
                break  # one at a time, so that a batch that nobody has heard of can be told from the others

    async def _toward_a_batch(self, lane: Lane, part: Part) -> bool:
        """Whether the next part of the lane may go."""
        watched = self._watch(part)
        if part.state is State.TOLD and self._wall() < (part.told_at or 0.0) + lane.pace.grace:
            return False
        if self._wall() < watched.not_before or (part.state is State.UPLOADED and self._waits_for_room(lane)):
            return False
        if part.state is State.INTENT:
            part = await self._uploaded(lane, part)
        elif part.state is State.TOLD:
            found = await self._found(lane, part)
            if found is not None:
                await self._adopt(part, found)
                return True
            part = replace(part, state=State.UPLOADED)
            self._record(
                lane.door.name, "batch", f"part {part.number}: no batch was made of it; asked for again"
            )
        return await self._created(lane, part)

    async def _uploaded(self, lane: Lane, part: Part) -> Part:
        file = self._folder / part.file
        if not await asyncio.to_thread(file.exists):
            raise EndpointError(f"part {part.number}: its file {part.file} is missing from the run folder")
        file_id = await lane.door.upload(file, f"{part.tag}.jsonl")
        part = replace(part, state=State.UPLOADED, file_id=file_id)
        await self._book.put(part)
        return part

    async def _created(self, lane: Lane, part: Part) -> bool:
        """Asks for the batch, once; whether the next part may go."""
        told_at = self._wall()
        await self._book.put(replace(part, state=State.TOLD, told_at=told_at))
        try:
            told = await lane.door.create(self._folder / part.file, part.file_id, part.tag)
        except RateLimited as error:  # not made: there are too many already
            if about_room(str(error)) or self._made(lane):
                await self._no_room(lane, part, str(error))
                return False
            await self._book.put(part)
            self._watch(part).not_before = told_at + (error.retry_after or lane.pace.first)
            raise
        except TransientError as error:
            unsent = not error.paid and error.reason == "disconnected"
            if unsent:  # no connection, no batch
                await self._book.put(part)
                raise
            self._record(
                lane.door.name, "batch", f"part {part.number}: {error}; whether it was made is looked up"
            )
            return False
        except BadRequest as error:
            await self._book.put(part)
            await self._refused_at_once(lane, part, error, told_at)
            return False
        except FatalError:
            await self._book.put(part)
            raise
        await self._adopt(replace(part, told_at=told_at), told)
        return lane.name not in self._crowded

    async def _refused_at_once(self, lane: Lane, part: Part, error: BadRequest, now: float) -> None:
        if about_room(str(error)):
            await self._no_room(lane, part, str(error))
        elif (
            part.file_id
            and part.file_id in (error.told or str(error))
            and now < self._since(part) + _FILE_LAG_S
        ):
            self._watch(part).not_before = now + lane.pace.first  # the file is not there yet
        else:
            await self._void(part)
            raise EndpointError(f"{lane.door.name} takes no such batch: {error}")

    def _since(self, part: Part) -> float:
        return part.intent_at or 0.0

    async def _adopt(self, part: Part, told: Told) -> None:
        expires = told.expires
        await self._book.put(
            replace(
                part, state=State.CREATED, batch_id=told.id, expires_at=expires, counts=told.counts,
                told_at=told.created or part.told_at,
            )
        )  # fmt: skip

    async def _found(self, lane: Lane, part: Part) -> Told | None:
        """The batch that was made of a part although no reply came."""
        since = (part.told_at or 0.0) - _SKEW_S
        known = {each.batch_id for each in self._book.parts(*State) if each.batch_id}
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
                return bool(self._book.asked(part.number, [result.id]))
        return True

    # --- what a provider says of a batch ---

    async def _heard(self, lane: Lane, part: Part, told: Told | None) -> None:
        watched = self._watch(part)
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
                await self._book.put(replace(part, counts=told.counts))
            await self._not_for_ever(lane, part, watched)

    async def _not_for_ever(self, lane: Lane, part: Part, watched: _Watched) -> None:
        """Cancels a batch that takes too long; one that its provider lets expire, too, if it does not."""
        age = self._wall() - (part.told_at or self._wall())
        if age > self._wait_s + (_SLACK_S if self._wait_s >= WINDOW_S else 0) and not watched.cancelled:
            watched.cancelled = True
            self._record(
                lane.door.name,
                "batch",
                f"part {part.number}: cancelled after {age / 3600:.1f} h (limits.batch.wait)",
            )
            try:
                await lane.door.cancel(part.batch_id)
            except BadRequest:
                return  # it has ended meanwhile

    async def _ended(self, lane: Lane, part: Part, told: Told) -> None:
        if part.state is State.CREATED:
            part = replace(part, state=State.ENDED, counts=told.counts)
            await self._book.put(part)
        try:
            found = await Collector(lane, self._book, self._accounts).collect(part, told)
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
        await self._book.put(replace(part, state=State.TOLD, batch_id=""))

    async def _settle(self, lane: Lane, part: Part, told: Told, found: Collected) -> None:
        """The part is done with: by what was answered it is paid."""
        done = replace(
            part,
            state=State.COLLECTED,
            cost=found.cost,
            lost=found.lost,
            start=self._start,
            counts=told.counts,
        )
        await self._book.put(done)
        self._budget.take_back(part.worst, found.cost)
        (self._folder / part.file).unlink(missing_ok=True)
        if part.told_at is not None:
            self._took.append(max(0.0, self._wall() - part.told_at))
        if found.again or told.said not in ("completed", "ended", "success", "succeeded", "written"):
            self._record(
                lane.door.name, "batch",
                f"part {part.number} {told.said}: {found.again:,} of {part.calls:,} calls were not answered",
            )  # fmt: skip
        if said := found.said():
            self._record(lane.door.name, "batch", f"part {part.number} has results {said}")

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
            await self._book.relent(part.number, purpose)

    async def _refused(self, lane: Lane, part: Part, told: Told) -> None:
        """The whole batch was looked at and refused; nothing is charged. Raises FatalError."""
        said = "; ".join(dict.fromkeys(named(fault) for fault in told.faults)) or told.said
        if any(about_room(named(fault)) for fault in told.faults):
            await self._no_room(lane, part, said)
            return
        if any(about_money(named(fault)) for fault in told.faults):
            await self._book.put(replace(part, state=State.UPLOADED, batch_id=""))
            raise AuthError(f"the account has no credit left ({said[:300]})")
        lines = sorted({fault.line for fault in told.faults if fault.line})
        if not lines or lines[-1] > part.calls:
            await self._void(part)
            raise EndpointError(f"{lane.door.name} refuses the batch: {said[:300]}")
        at_fault = self._book.at(part.number, lines)
        if many(len(lines), part.calls):
            first = told.faults[0]
            otherwise = [
                changed(lane, part, purpose, _refusal(first))
                for purpose in {each.purpose for each in at_fault}
            ]
            await self._void(part)
            if not any(otherwise):
                raise EndpointError(
                    f"{lane.door.name} refuses {len(lines):,} of {part.calls:,} calls: {said[:300]}"
                )
            return
        await self._book.answered([Answer(each._replace(fate=Fate.ONLINE), None) for each in at_fault])
        await self._void(part)
        self._record(
            lane.door.name, "batch",
            f"part {part.number}: {len(lines):,} of {part.calls:,} calls were refused ({said[:300]}); they are made "
            "online, the others again",
        )  # fmt: skip

    async def _void(self, part: Part) -> None:
        await self._book.put(replace(part, state=State.VOID))
        self._budget.take_back(part.worst)
        (self._folder / part.file).unlink(missing_ok=True)

    # --- room at the provider ---

    def _waits_for_room(self, lane: Lane) -> bool:
        if lane.name in self._crowded and self._unjudged(lane):
            return True
        since, made = self._full.get(lane.name, (0.0, 0))
        if made and self._made(lane) == made and self._wall() < since + 2 * lane.pace.longest:
            return True
        self._full.pop(lane.name, None)
        return False

    def _unjudged(self, lane: Lane) -> bool:
        """Whether the provider has not looked at one of the batches yet: it may still have no room for it."""
        parts = self._book.parts(State.CREATED)
        return any(part.endpoint == lane.name and not part.counts.get("total") for part in parts)

    def _made(self, lane: Lane) -> int:
        """How many batches the provider works on."""
        return sum(part.endpoint == lane.name for part in self._book.parts(State.CREATED))

    async def _no_room(self, lane: Lane, part: Part, said: str) -> None:
        """Waits for room where other batches take it; without any, the part is too large and is halved."""
        self._crowded.add(lane.name)
        made = self._made(lane) - (part.state is State.CREATED)
        part = replace(part, state=State.UPLOADED, batch_id="")
        if made or part.calls == 1:
            await self._book.put(part)
            self._full[lane.name] = self._wall(), made
            self._watch(part).not_before = self._wall() + lane.pace.first
            return
        await self._halve(part)
        self._record(lane.door.name, "batch", f"part {part.number} is halved: {said[:300]}")

    async def _halve(self, part: Part) -> None:
        number, half = self._book.next_number(), (part.calls + 1) // 2
        names = [f"{Path(part.file).parent}/part-{each:05}.jsonl" for each in (number, number + 1)]
        sizes = await asyncio.to_thread(
            split_file, self._folder / part.file, [self._folder / name for name in names], half
        )
        share = part.worst * half // part.calls
        each = [
            replace(
                part, number=number + place, state=State.INTENT, file=names[place], bytes=size, sha=sha, file_id="",
                batch_id="", calls=(half, part.calls - half)[place], worst=(share, part.worst - share)[place],
                tag=f"{self._book.nonce}-{number + place}", told_at=None, counts={},
            )
            for place, (size, sha) in enumerate(sizes)
        ]  # fmt: skip
        await self._book.split(part, *each)
        (self._folder / part.file).unlink(missing_ok=True)

    def _watch(self, part: Part) -> _Watched:
        return self._watched.setdefault(part.number, _Watched())


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def _refusal(fault: Fault) -> BadRequest:
    return BadRequest(fault.message, fault.param, named(fault))


def split_file(file: Path, others: Sequence[Path], first: int) -> list[tuple[int, str]]:
    """Writes the first lines of a file into one and the rest into another; the size and SHA-256 of each.

    Raises StoreError.
    """
    made = []
    with translated(file), file.open("rb") as lines:
        for place, other in enumerate(others):
            digest, size = hashlib.sha256(), 0
            with other.open("wb") as out:
                for number, line in enumerate(lines, 1):
                    out.write(line)
                    digest.update(line)
                    size += len(line)
                    if place == 0 and number == first:
                        break
                out.flush()
                os.fsync(out.fileno())
            made.append((size, digest.hexdigest()))
    return made

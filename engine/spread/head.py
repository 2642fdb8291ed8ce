"""Gives batches to workers, serves their calls, and takes what they made: one step in place of the mode's stages.

Everything that must hold for the run as a whole stays here: calls are admitted, paid and journaled by the run's own
client, and fates are decided by its commit. A worker lends its processor and its connections, and can vanish at any
moment: what it had is given to others under another epoch, and what was paid is found in the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from engine.errors import ConfigError, Defect, Deferred, EngineError, WorkersLost, is_deferred
from engine.flow.halt import Halt
from engine.items import Batch, Completion, Item, Prompt, RateLimits, Verdict
from engine.protocols import Ask
from engine.spread.joining import TOKEN, Tokens
from engine.spread.lent import SERVED, Lent
from engine.spread.link import FIRST, LONGEST, Link
from engine.spread.messages import (
    Answered,
    Asked,
    Beat,
    Cut,
    Ending,
    Failed,
    Fetch,
    Forgotten,
    Go,
    Heard,
    Hello,
    Join,
    Leave,
    Leaving,
    Lost,
    Made,
    Message,
    Piece,
    Ready,
    Refused,
    SchemaKnown,
    Stop,
    TermsKnown,
    Told,
    Work,
)
from engine.spread.wire import (
    batch_out,
    bytes_in,
    bytes_out,
    completion_in,
    completion_out,
    error_in,
    error_out,
    item_in,
    item_out,
    prompt_in,
)

BEAT_S = 1.0
"""Seconds between two signs of life."""
_JOIN_S = 10.0
"""Seconds in which whoever connects must say who it is."""
SUSPECT = 2
"""Workers that are lost with a batch among others; from then on it is given to a worker alone."""
MOST_LOSSES = 3
"""Workers that are lost with a batch alone; then it is the reason, and is rejected."""
NAME = "workers"
"""The `rejected_by` of items whose workers were lost again and again."""


class Books(Protocol):
    """What the head keeps of workers, and finds of vectors, in the journal."""

    async def look_again(self) -> None:
        """What was recorded so far can be found by calls that are made once more."""
        ...

    def vectors_of(self, batch: int) -> Sequence[tuple[int, bytes, bytes]]:
        """(item, digest of its text, vector) that earlier starts have journaled."""
        ...

    def keep_vectors(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None: ...

    def joined(self, worker: Worker) -> None: ...

    def changed(self, worker: Worker) -> None: ...

    def late(self, worker: Worker, key: str, cost: int) -> None:
        """An answer came from a worker that had been given up: it is paid, and not used."""
        ...


class _Waiting(NamedTuple):
    """A unit that waits for a worker."""

    unit: _Unit
    given: asyncio.Future[Worker]


class _Again(Exception):
    """The worker that had the unit is lost."""


@dataclass(eq=False)
class _Unit:
    """A batch, or an item, for a worker. Mutable: what has come of it, how many workers were lost with it."""

    number: int
    value: Batch | Item
    batch: Batch
    done: asyncio.Future[None]
    items: list[Item] = field(default_factory=list)
    missing: int | None = None
    """Items that are still to come; None until the first has come."""
    let_go: bool = False
    losses: int = 0
    """Of workers that had others, too."""
    alone: int = 0
    """Of workers that had it alone."""
    worker: Worker | None = None

    @property
    def suspect(self) -> bool:
        return self.losses >= SUSPECT

    def clear(self) -> None:
        self.items.clear()
        self.missing, self.let_go = (1 if isinstance(self.value, Item) else None), False
        self.done = asyncio.get_running_loop().create_future()


@dataclass(eq=False)
class _Served:
    """A worker's call while it is served; a Borrower. Mutable: the attempts that are under way, the last answer."""

    head: Head
    worker: Worker
    call: int
    prompt: Prompt
    answer: tuple[int, str] | None = None
    """The attempt that was answered last, and its text."""

    async def attempt(self, endpoint: int, prompt: Prompt, heard: Callable[[], None] | None) -> Completion:
        worker, number = self.worker, self.head.next_attempt()
        under_way = _Attempt(self, endpoint, heard, asyncio.get_running_loop().create_future())
        worker.attempts[number] = under_way
        worker.link.send(Go(number, self.call, endpoint, prompt.max_tokens, heard is not None))
        try:
            completion = await under_way.answered
        except asyncio.CancelledError:
            worker.link.send(Leave(number))
            if worker.lost:
                worker.orphans[number] = under_way
            raise
        finally:
            del worker.attempts[number]
        self.answer = number, completion.text
        return completion


@dataclass(eq=False)
class _Attempt:
    served: _Served
    endpoint: int
    heard: Callable[[], None] | None
    answered: asyncio.Future[Completion]


@dataclass(eq=False)
class Worker:
    """One worker under one epoch. Mutable: all of it."""

    epoch: int
    link: Link
    join: Join
    where: str
    joined: float
    ready: bool = False
    leaving: bool = False
    told: str = ""
    """Why it was told to go; '' until it is."""
    lost: str = ""
    """Why it is given up; '' while it works."""
    units: dict[int, _Unit] = field(default_factory=dict)
    serving: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    attempts: dict[int, _Attempt] = field(default_factory=dict)
    orphans: dict[int, _Attempt] = field(default_factory=dict)
    """Attempts that were under way when it was given up."""
    schemas: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    kept_for: _Waiting | None = None
    """A suspect that it has, or gets as soon as it has nothing else."""
    items: int = 0
    calls: int = 0

    def silent(self) -> float:
        """Seconds since it was heard."""
        return max(0.0, asyncio.get_running_loop().time() - self.link.heard)

    @property
    def name(self) -> str:
        return self.join.name or f"worker {self.epoch}"


Price = Callable[[int, Completion], int]
"""Picodollars of a completion at the endpoint of that number."""


class Head:
    """Mutable state: the workers, the units that wait for one, the numbers given out, whether it ends.

    `connected` is called with each link that a worker has opened; see `local` and `joining` for where they come from.
    """

    def __init__(
        self,
        ask: Ask,
        endpoints: Sequence[Lent],
        books: Books,
        halt: Halt,
        about: Callable[[], Mapping[str, Any]],
        *,
        check: Callable[[Join], str],
        fits: Callable[[Ready], str] = lambda _: "",
        expects: int,
        in_flight: int,
        silence_s: float = 5.0,
        outage_s: float = 3600.0,
        drain_s: float = 120.0,
        first_epoch: int = 1,
        pieces: Callable[[int], Iterable[bytes]] = lambda _: (),
        price: Price = lambda *_: 0,
        record: Callable[[str, str, str], None] = lambda *_: None,
    ) -> None:
        """`about` is what a worker is told of the run; `check` says why one that asks is refused, `fits` why one that
        is ready. `expects` is how many there are to be, `in_flight` how many calls there may be at once, `pieces`
        the bytes of a file that a worker wants, by its number.
        """
        self._ask = ask
        self._endpoints = endpoints
        self._books = books
        self._halt = halt
        self._about = about
        self._check = check
        self._fits = fits
        self._expects = max(1, expects)
        self._in_flight = in_flight
        self.silence_s = silence_s
        self._outage_s = outage_s
        self._drain_s = drain_s
        self._pieces = pieces
        self._price = price
        self._record = record
        self._epoch = first_epoch - 1
        self._unit = self._attempt = 0
        self.workers: dict[int, Worker] = {}
        """Those that are ready, by epoch."""
        self.worked: set[int] = set()
        """The processes of all that have ever been ready."""
        self._others: set[Worker] = set()
        """Those that are not ready yet, or given up and still connected."""
        self._wanting: deque[_Waiting] = deque()
        self._suspects: deque[_Waiting] = deque()
        self._looking: asyncio.Task[None] | None = None
        self._first: asyncio.Future[Ready] | None = None
        self._alone_since: float | None = None
        self._is_cut = False
        self._ended = False
        self._serving: set[asyncio.Task[None]] = set()

    def next_attempt(self) -> int:
        self._attempt += 1
        return self._attempt

    # --- its life ---

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Workers may join while the block lasts. At its end they are told to go."""
        loop = asyncio.get_running_loop()
        self._first = loop.create_future()
        self._alone_since = loop.time()
        self._halt.on_set(self._ending)
        beats = asyncio.create_task(self._watch(), name="beats")
        cut = asyncio.create_task(self._until_cut(), name="cut")
        try:
            yield
        finally:
            self._ended = True
            for task in (beats, cut):
                task.cancel()
            await asyncio.gather(beats, cut, return_exceptions=True)
            await self._dismiss()

    async def first_ready(self) -> Ready:
        """What the first worker says that is ready. Raises what keeps workers from opening, and a halt's reason."""
        assert self._first is not None
        halted = asyncio.ensure_future(self._halt.wait())
        waited: set[asyncio.Future[Any]] = {self._first, halted}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            halted.cancel()
        self._halt.check()
        return self._first.result()

    async def _dismiss(self) -> None:
        """Tells all workers to go; whoever does not hang up is hung up on."""
        links = []
        for worker in [*self.workers.values(), *self._others]:
            worker.link.send(Stop("the run has ended"))
            worker.link.flush()
            links.append(worker.link)
            self._give_up(worker, "the run has ended")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self._drain_s, 5.0)):
                for link in links:
                    await link.closed.wait()
        for link in links:
            link.abort()
        if self._serving:
            await asyncio.gather(*self._serving, return_exceptions=True)

    def _ending(self, reason: EngineError) -> None:
        for worker in self.workers.values():
            worker.link.send(Ending(error_out(reason)))
        if not self.workers:
            self._send_home(reason)

    async def _until_cut(self) -> None:
        try:
            async with self._halt.step():
                await asyncio.Event().wait()
        except TimeoutError:
            self._is_cut = True
            for worker in self.workers.values():
                worker.link.send(Cut())
                for task in worker.serving.values():
                    task.cancel()

    async def _watch(self) -> None:
        """Signs of life, both ways. A head that was itself held up blames nobody for it."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(BEAT_S)
            now = loop.time()
            late, last = now - last - BEAT_S, now
            for worker in [*self.workers.values(), *self._others]:
                if worker.lost:
                    continue
                if late > BEAT_S:
                    worker.link.heard += late
                worker.link.send(Beat())
                silent = now - worker.link.heard
                if worker.ready and silent > self.silence_s:
                    worker.link.send(Stop("it was not heard for too long"))
                    self._give_up(worker, f"not heard for {silent:.1f} s")
                elif worker.ready:
                    self._books.changed(worker)
            self._check_outage(now)

    def _check_outage(self, now: float) -> None:
        if self.workers:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > self._outage_s:
            self._halt.set(
                WorkersLost(
                    f"no worker for {self._outage_s:.0f} s (limits.outage_s); resume when there are some"
                )
            )

    # --- workers come ---

    def link(self, where: str = "", tokens: Tokens | None = None) -> Link:
        """The head's end of a link to a worker that connects; `where` it is, unless the link itself tells.

        It must show one of the `tokens`, if there are any.
        """

        def received(link: Link, messages: Sequence[Message]) -> None:
            for message in messages:
                worker = known.get(link)
                if worker is None:
                    if isinstance(message, Join) and link not in known:
                        known[link] = self._join(link, message, where or link.peer, tokens)
                elif link.came_under == worker.epoch:
                    self._hear(worker, message)

        def ended(link: Link) -> None:
            worker = known.pop(link, None)
            if worker is not None:
                self._give_up(worker, link.why or "its connection is gone")
                self._others.discard(worker)

        def unknown() -> None:
            if link not in known:
                link.abort()

        known: dict[Link, Worker | None] = {}
        link = Link(received, ended, longest=FIRST)
        asyncio.get_running_loop().call_later(_JOIN_S, unknown)
        return link

    def _join(self, link: Link, join: Join, where: str, tokens: Tokens | None) -> Worker | None:
        if tokens is not None and not tokens.take(join.token):
            why = f"it does not show a token of this run ({TOKEN})"
        else:
            why = "the run has ended" if self._ended else self._check(join)
        if why:
            link.send(Refused(why))
            link.close()
            if not self._ended:
                self._record(join.name or "worker", "worker", f"a worker at {where} is refused: {why}")
            return None
        link.longest = LONGEST
        self._epoch += 1
        worker = Worker(self._epoch, link, join, where, time.time())
        self._others.add(worker)
        link.epoch = worker.epoch
        link.send(Hello(worker.epoch, self.silence_s, dict(self._about())))
        return worker

    def _ready(self, worker: Worker, ready: Ready) -> None:
        if why := self._fits(ready):
            worker.link.send(Refused(why))
            self._failed(worker, ConfigError(f"{worker.name} at {worker.where}: {why}"))
            return
        worker.ready = True
        self.worked.add(worker.join.pid)
        self._others.discard(worker)
        self.workers[worker.epoch] = worker
        self._alone_since = None
        self._books.joined(worker)
        for endpoint in self._endpoints:
            if terms := dict(endpoint.terms()):
                worker.link.send(TermsKnown({str(endpoint.number): terms}))
        if self._halt.reason is not None:
            worker.link.send(Ending(error_out(self._halt.reason)))
        if self._first is not None and not self._first.done():
            self._first.set_result(ready)
        self._wake()

    def _failed(self, worker: Worker, error: EngineError) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_exception(error)
        else:
            self._record(worker.name, "worker", f"{worker.name} at {worker.where} cannot begin: {error}")

    # --- workers go ---

    def _give_up(self, worker: Worker, why: str) -> None:
        """Its calls are charged at their worst, its units go to others, and what it still says is refused."""
        if worker.lost:
            return
        worker.lost = worker.told or why
        self.workers.pop(worker.epoch, None)
        self._others.add(worker)
        for task in list(worker.serving.values()):
            task.cancel()
        units, worker.units = list(worker.units.values()), {}
        if worker.ready:
            self._books.changed(worker)
        if self._ended:
            return
        if worker.ready and not (worker.leaving and not units):
            had = f"; {len(units)} batches go to others" if units else ""
            self._record(worker.name, "worker", f"{worker.name} at {worker.where} is lost: {why}{had}")
        if worker.kept_for is not None and worker.kept_for.unit.worker is None:
            self._suspects.appendleft(worker.kept_for)
        if units:
            self._looking = asyncio.create_task(self._books.look_again(), name="look again")
        for unit in units:
            unit.worker = None
            unit.alone += unit.suspect
            unit.losses += 1
            if not unit.done.done():
                unit.done.set_exception(_Again())
        if not self.workers:
            self._alone_since = self._alone_since or asyncio.get_running_loop().time()
            if self._halt.reason is not None:
                self._send_home(self._halt.reason)

    # --- one unit ---

    async def step(self, value: Batch | Item) -> Iterable[Item]:
        """The items of a batch, or an item with its verdicts, made and checked by a worker.

        Raises Deferred where a later pass brings it, StopRun and FatalError. When the run is cut short, what has come.
        """
        batch = value if isinstance(value, Batch) else value.batch
        self._unit += 1
        unit = _Unit(self._unit, value, batch, asyncio.get_running_loop().create_future())
        try:
            while True:
                unit.clear()
                try:
                    await self._give(unit)
                    await unit.done
                except _Again:
                    if unit.alone >= MOST_LOSSES:
                        return _rejected(value)
                    if self._looking is not None:
                        await asyncio.shield(self._looking)
                    continue
                break
        except asyncio.CancelledError:
            if not self._halt.is_cut:
                raise
            return tuple(unit.items)
        finally:
            self._take_back(unit)
        if unit.let_go:
            raise Deferred
        return unit.items

    async def _give(self, unit: _Unit) -> None:
        worker = None if unit.suspect else self._with_room()
        if worker is not None:
            _assign(unit, worker)
        else:
            worker = await self._until_room(unit)
        held = [
            (number, bytes_out(digest), bytes_out(vector))
            for number, digest, vector in self._books.vectors_of(unit.batch.number)
        ]
        item = item_out(unit.value, unit.batch, origin=True) if isinstance(unit.value, Item) else None
        worker.link.send(Work(unit.number, batch_out(unit.batch), item, held))
        await worker.link.room()

    async def _until_room(self, unit: _Unit) -> Worker:
        """Raises the reason of a halt where no worker is left to finish anything."""
        if not self.workers:
            self._halt.check()
        waiting: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        (self._suspects if unit.suspect else self._wanting).append(_Waiting(unit, waiting))
        self._wake()
        try:
            return await waiting
        finally:
            waiting.cancel()

    def _with_room(self) -> Worker | None:
        """The worker that has least to do, where it is not enough."""
        most = max(16, -(-2 * self._in_flight // max(self._expects, len(self.workers))))
        free = [worker for worker in self._free() if len(worker.units) < most]
        return min(free, key=lambda worker: len(worker.units), default=None)

    def _free(self) -> list[Worker]:
        return [each for each in self.workers.values() if not each.leaving and each.kept_for is None]

    def _wake(self) -> None:
        """Passes room on to the units that wait for it, the first one first; suspects get a worker of their own."""
        while self._suspects and (free := self._free()):
            worker = min(free, key=lambda each: len(each.units))
            worker.kept_for = self._suspects.popleft()
            self._give_alone(worker)
        while self._wanting and (room := self._with_room()) is not None:
            unit, given = self._wanting.popleft()
            if not given.done():
                _assign(unit, room)
                given.set_result(room)

    def _give_alone(self, worker: Worker) -> None:
        """Gives a worker the suspect that it is kept for, if it has nothing else."""
        if worker.kept_for is None or worker.units:
            return
        unit, given = worker.kept_for
        if given.done():
            worker.kept_for = None
        else:
            _assign(unit, worker)
            given.set_result(worker)

    def _send_home(self, reason: EngineError) -> None:
        """A halted run waits for no worker to come."""
        for waiting in (*self._wanting, *self._suspects):
            if not waiting.given.done():
                waiting.given.set_exception(reason)
        self._wanting.clear()
        self._suspects.clear()

    def _take_back(self, unit: _Unit) -> None:
        worker, unit.worker = unit.worker, None
        if worker is None:
            return
        worker.units.pop(unit.number, None)
        if worker.kept_for is not None and worker.kept_for.unit is unit:
            worker.kept_for = None
        if worker.leaving and not worker.units:
            self._send_off(worker, "it has finished what it had")
        self._give_alone(worker)
        self._wake()

    # --- what workers say ---

    def _hear(self, worker: Worker, message: Message) -> None:
        if worker.lost:
            self._hear_late(worker, message)
            return
        match message:
            case Asked():
                prompt = prompt_in(message.prompt, worker.schemas[message.schema])
                served = _Served(self, worker, message.call, prompt)
                task = asyncio.create_task(self._serve(served), name="served")
                worker.serving[message.call] = task
                self._serving.add(task)
                task.add_done_callback(self._serving.discard)
            case Answered():
                self._answered(worker, message)
            case Made():
                self._made(worker, message)
            case Heard():
                if (under_way := worker.attempts.get(message.attempt)) is not None and under_way.heard:
                    for _ in range(message.pieces):
                        under_way.heard()
            case Lost():
                self._lost(worker, message)
            case SchemaKnown():
                worker.schemas[message.number] = message.schema
            case Forgotten():
                if (task := worker.serving.get(message.call)) is not None:  # type: ignore[assignment]
                    task.cancel()
            case Ready():
                self._ready(worker, message)
            case Failed():
                self._failed(worker, error_in(message.error))
            case Fetch():
                task = asyncio.create_task(self._carry(worker, message.number), name="carry")
                self._serving.add(task)
                task.add_done_callback(self._serving.discard)
            case Leaving():
                worker.leaving = True
                if not worker.units:
                    self._send_off(worker, "it had nothing to do")
                else:
                    self._let_leave(worker)

    async def _carry(self, worker: Worker, number: int) -> None:
        """Sends a file of the run's. One that can no longer be read ends the worker, which says so."""
        pieces = iter(self._pieces(number))
        with contextlib.suppress(OSError, IndexError):
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                worker.link.send(Piece(number, bytes_out(piece) or ""))
                worker.link.flush()
                await worker.link.room()
        worker.link.send(Piece(number, ""))

    def _send_off(self, worker: Worker, why: str) -> None:
        worker.told = why
        worker.link.send(Stop(why))

    def _let_leave(self, worker: Worker) -> None:
        def late() -> None:
            worker.link.send(Stop("it took too long to finish"))
            self._give_up(worker, f"it had not finished {self._drain_s:.0f} s after it was asked to end")

        asyncio.get_running_loop().call_later(self._drain_s, late)

    def _made(self, worker: Worker, message: Made) -> None:
        unit = worker.units.get(message.unit)
        if unit is None:
            return
        origin = unit.value.origin if isinstance(unit.value, Item) else {}
        item = item_in(message.item, unit.batch, origin)
        if (digest := bytes_in(message.digest)) is not None:
            self._books.keep_vectors([(item.number, digest, bytes_in(message.item[-1]) or b"")])
        unit.items.append(item)
        worker.items += 1
        self._count(unit, item.batch_total)

    def _count(self, unit: _Unit, of: int) -> None:
        unit.missing = (of if unit.missing is None else unit.missing) - 1
        if unit.missing <= 0 and not unit.done.done():
            unit.done.set_result(None)

    def _lost(self, worker: Worker, message: Lost) -> None:
        unit = worker.units.get(message.unit)
        if unit is None or unit.done.done():
            return
        if message.error is not None:
            unit.done.set_exception(error_in(message.error))
            return
        unit.let_go = True
        if message.of:
            self._count(unit, message.of)
        else:
            unit.done.set_result(None)

    # --- calls ---

    async def _serve(self, served: _Served) -> None:
        """Asks for a worker as for anybody else, but that the worker makes the attempts."""
        worker, call = served.worker, served.call
        SERVED.set(served)
        told: Told
        try:
            completion = await self._ask(served.prompt)
            number, text = served.answer or (None, None)
            told = Told(call, completion_out(completion, text), number)
        except EngineError as error:
            told = Told(call, error=error_out(error))
        except Exception as error:
            told = Told(call, error=error_out(Defect.caused_by(error)))
        except (Deferred, BaseExceptionGroup) as error:
            if not is_deferred(error):
                raise
            told = Told(call)
        finally:
            worker.serving.pop(call, None)
        worker.calls += 1
        worker.link.send(told)

    def _answered(self, worker: Worker, message: Answered) -> None:
        under_way = worker.attempts.get(message.attempt)
        if under_way is None:
            return
        self._learn(worker, self._endpoints[under_way.endpoint], message)
        if under_way.answered.done():
            return
        if message.error is not None:
            under_way.answered.set_exception(error_in(message.error))
        else:
            under_way.answered.set_result(completion_in(message.completion))

    def _learn(self, worker: Worker, endpoint: Lent, message: Answered) -> None:
        """Takes in what the endpoint has told this worker; the others hear of the terms before their next attempt."""
        if message.limits is not None:
            endpoint.told(RateLimits(*message.limits))
        endpoint.notices.extend((kind, sentence) for kind, sentence in message.notices)
        if message.terms:
            endpoint.restore(message.terms)
            for other in self.workers.values():
                if other is not worker:
                    other.link.send(TermsKnown({str(endpoint.number): message.terms}))

    def _hear_late(self, worker: Worker, message: Message) -> None:
        """Of a worker that was given up only one thing counts: what an answer has cost."""
        if not isinstance(message, Answered) or message.completion is None:
            return
        under_way = worker.orphans.pop(message.attempt, None)
        if under_way is not None:
            cost = self._price(under_way.endpoint, completion_in(message.completion))
            self._books.late(worker, under_way.served.prompt.key, cost)


def _assign(unit: _Unit, worker: Worker) -> None:
    unit.worker = worker
    worker.units[unit.number] = unit


def _rejected(value: Batch | Item) -> Sequence[Item]:
    """One bad apple: what takes every worker with it is not given to another."""
    verdict = Verdict.rejected(
        NAME, "worker_lost", f"{MOST_LOSSES} workers were lost while they had it alone; see run.log"
    )
    if isinstance(value, Item):
        return [value.judged(verdict)]
    return [Item(value, place, value.size).judged(verdict) for place in range(value.size)]

"""Gives batches to workers, serves their calls, and takes what they made: one step in place of the mode's stages.

Everything that must hold for the run as a whole stays here: calls are admitted, paid and journaled by the run's own
client, and fates are decided by its commit. A worker lends its processor and its connections, and can vanish at any
moment: what it had is given to others under another epoch, and what was paid is found in the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from engine.errors import ConfigError, Deferred, EngineError, WorkersLost
from engine.flow.halt import Halt
from engine.items import Batch, Item, Verdict
from engine.protocols import Ask
from engine.spread.crew import Again, Books, Unit, Worker
from engine.spread.giving import Giving
from engine.spread.joining import TOKEN, Tokens
from engine.spread.lent import Lent
from engine.spread.link import BEAT_S, FIRST, LONGEST, Link
from engine.spread.messages import (
    Beat,
    Cut,
    Ending,
    Failed,
    Fetch,
    Hello,
    Join,
    Leaving,
    Lost,
    Made,
    Message,
    Piece,
    Ready,
    Refused,
    Stop,
    Work,
)
from engine.spread.serving import Price, Serving
from engine.spread.wire import batch_out, bytes_in, bytes_out, error_in, error_out, item_in, item_out

_JOIN_S = 10.0
"""Seconds in which whoever connects must say who it is."""
_ALONE_S = 30.0
"""Seconds without any worker that are told of."""
MOST_LOSSES = 3
"""Workers that are lost with a batch alone; then it is the reason, and is rejected."""
NAME = "workers"
"""The `rejected_by` of items whose workers were lost again and again."""


class Head:
    """Mutable state: the workers, the numbers given out, whether it ends.

    Where workers come from, see `local`, `joining` and `on_ray`: each opens a `link`.
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
        fits: Callable[[Ready], str],
        expects: int,
        in_flight: int,
        silence_s: float,
        outage_s: float,
        drain_s: float,
        first_epoch: int,
        pieces: Callable[[int], Iterable[bytes]],
        price: Price,
        record: Callable[[str, str, str], None],
    ) -> None:
        """`about` is what a worker is told of the run; `check` says why one that asks is refused, `fits` why one that
        is ready. `expects` is how many there are to be, `in_flight` how many calls there may be at once, `pieces`
        the bytes of a file that a worker wants, by its number.
        """
        self._books = books
        self._halt = halt
        self._about = about
        self._check = check
        self._fits = fits
        self.silence_s = silence_s
        self._outage_s = outage_s
        self._drain_s = drain_s
        self._pieces = pieces
        self._record = record
        self._epoch = first_epoch - 1
        self._unit = 0
        self.workers: dict[int, Worker] = {}
        """Those that are ready, by epoch."""
        self.worked: set[int] = set()
        """The processes of all that have ever been ready."""
        self._others: set[Worker] = set()
        """Those that are not ready yet, or given up and still connected."""
        self._giving = Giving(self.workers, halt, expects=expects, in_flight=in_flight)
        self._serving = Serving(ask, endpoints, self.workers, books, price)
        self._carrying: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._first: asyncio.Future[Ready] | None = None
        self._alone_since: float | None = None
        self._told_alone = False
        self._ended = False

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
        await self._serving.ended()

    def _ending(self, reason: EngineError) -> None:
        for worker in self.workers.values():
            worker.link.send(Ending(error_out(reason)))
        if not self.workers:
            self._giving.send_home(reason)

    async def _until_cut(self) -> None:
        try:
            async with self._halt.step():
                await asyncio.Event().wait()
        except TimeoutError:
            for worker in self.workers.values():
                worker.link.send(Cut())
                self._serving.leave(worker)

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
            self._alone_since, self._told_alone = None, False
        elif self._alone_since is None:
            self._alone_since = now
        elif not self._told_alone and now - self._alone_since > min(_ALONE_S, self._outage_s / 2):
            self._told_alone = True
            most = f"at most {self._outage_s:.0f} s (limits.outage_s)"
            self._record("workers", "worker", f"there is no worker: the run waits for one, {most}")
        elif now - self._alone_since > self._outage_s:
            self._halt.set(
                WorkersLost(
                    f"no worker for {self._outage_s:.0f} s (limits.outage_s); resume when there are some"
                )
            )

    # --- workers come ---

    def link(self, where: str = "", tokens: Tokens | None = None, join_s: float = _JOIN_S) -> Link:
        """The head's end of a link to a worker that connects; `where` it is, unless the link itself tells.

        It must show one of the `tokens`, if there are any, within `join_s` seconds.
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
        asyncio.get_running_loop().call_later(join_s, unknown)
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
        self._books.changed(worker)
        self._serving.greet(worker)
        if self._halt.reason is not None:
            worker.link.send(Ending(error_out(self._halt.reason)))
        if self._first is not None and not self._first.done():
            self._first.set_result(ready)
        self._giving.wake()

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
        self._serving.leave(worker)
        if worker.ready:
            self._books.changed(worker)
        if self._ended:
            return
        if worker.units:
            self._looking = asyncio.create_task(self._books.look_again(), name="look again")
        units = self._giving.lost(worker)
        if worker.ready and (units or not worker.leaving):
            had = f"; {units} batches go to others" if units else ""
            self._record(worker.name, "worker", f"{worker.name} at {worker.where} is lost: {why}{had}")
        if not self.workers:
            self._alone_since = self._alone_since or asyncio.get_running_loop().time()
            if self._halt.reason is not None:
                self._giving.send_home(self._halt.reason)

    # --- one unit ---

    async def step(self, value: Batch | Item) -> Iterable[Item]:
        """The items of a batch, or an item with its verdicts, made and checked by a worker.

        Raises Deferred where a later pass brings it, StopRun and FatalError. When the run is cut short, what has come.
        """
        batch = value if isinstance(value, Batch) else value.batch
        self._unit += 1
        unit = Unit(self._unit, value, batch, asyncio.get_running_loop().create_future())
        try:
            while True:
                unit.clear()
                try:
                    await self._give(unit)
                    await unit.done
                except Again:
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
            worker = unit.worker
            self._giving.take_back(unit)
            if worker is not None and worker.leaving and not worker.units:
                self._send_off(worker, "it has finished what it had")
        if unit.let_go:
            raise Deferred
        return unit.items

    async def _give(self, unit: Unit) -> None:
        worker = await self._giving.give(unit)
        held = [
            (number, bytes_out(digest), bytes_out(vector))
            for number, digest, vector in self._books.vectors_of(unit.batch.number)
        ]
        item = item_out(unit.value, unit.batch, origin=True) if isinstance(unit.value, Item) else None
        worker.link.send(Work(unit.number, batch_out(unit.batch), item, held))
        await worker.link.room()

    # --- what workers say ---

    def _hear(self, worker: Worker, message: Message) -> None:
        if worker.lost:
            self._serving.hear_late(worker, message)
            return
        if self._serving.hear(worker, message):
            return
        match message:
            case Made():
                self._made(worker, message)
            case Lost():
                self._lost(worker, message)
            case Ready():
                self._ready(worker, message)
            case Failed():
                self._failed(worker, error_in(message.error))
            case Fetch():
                task = asyncio.create_task(self._carry(worker, message.number), name="carry")
                self._carrying.add(task)
                task.add_done_callback(self._carrying.discard)
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

    def _count(self, unit: Unit, of: int) -> None:
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


def _rejected(value: Batch | Item) -> Sequence[Item]:
    """One bad apple: what takes every worker with it is not given to another."""
    verdict = Verdict.rejected(
        NAME, "worker_lost", f"{MOST_LOSSES} workers were lost while they had it alone; see run.log"
    )
    if isinstance(value, Item):
        return [value.judged(verdict)]
    return [Item(value, place, value.size).judged(verdict) for place in range(value.size)]

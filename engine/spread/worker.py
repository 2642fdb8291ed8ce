"""A worker's side: runs the unchanged stages on what the head sends, and makes the attempts that the head admits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import ConfigError, Defect, Deferred, EngineError, FatalError, StopRun, is_deferred
from engine.flow.channel import Channel
from engine.flow.halt import Halt
from engine.flow.stage import Stage
from engine.items import Batch, Completion, Item, Prompt
from engine.protocols import Announcing, Ask, Backend, Negotiating, Streaming
from engine.spread.head import BEAT_S
from engine.spread.link import Link
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
    batch_in,
    bytes_in,
    bytes_out,
    completion_in,
    completion_out,
    error_in,
    error_out,
    item_in,
    item_out,
    prompt_out,
)

_HEARD_S = 0.25
"""Seconds in which the pieces of a streamed answer are told of together."""


@dataclass(frozen=True)
class Opened:
    """A worker's part of the run, open."""

    stages: Sequence[Stage]
    backends: Sequence[Backend]
    """By the numbers that the head has for them."""
    described: Mapping[str, Any]
    """How its validators describe themselves."""
    vectors: str
    """What the vectors of its embedder depend on; '' without one."""
    finish: Callable[[Item], Item]
    """What is done to an item that is through, so that the head need not: the key of its text, its record."""


Fetching = Callable[[int], AsyncIterator[bytes]]
"""The bytes of one of the run's files, which the head sends."""


class Held:
    """The vectors of the items that are here: a KeptVectors. Mutable: those that are journaled; digests of new ones."""

    def __init__(self) -> None:
        self._there: dict[int, tuple[bytes, bytes]] = {}
        self._new: dict[int, bytes] = {}

    def add(self, number: int, digest: bytes, vector: bytes) -> None:
        self._there[number] = digest, vector

    def vector(self, item: int, text: bytes) -> bytes | None:
        digest, vector = self._there.get(item, (b"", b""))
        return vector if digest == text else None

    def keep_vectors(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        for number, digest, _ in rows:
            self._new[number] = digest

    def taken(self, item: int) -> bytes | None:
        """Forgets an item that is done; the digest of its text if its vector is new."""
        self._there.pop(item, None)
        return self._new.pop(item, None)


@dataclass(frozen=True)
class Lent:
    """What a worker's part of the run is opened with."""

    about: Mapping[str, Any]
    """What the head tells of the run."""
    ask: Ask
    halt: Halt
    held: Held
    fetch: Fetching


Open = Callable[[Lent], AbstractAsyncContextManager[Opened]]
"""Opens a worker's part of the run."""


@dataclass(eq=False)
class _Call:
    answered: asyncio.Future[Completion]
    prompt: Prompt
    texts: dict[int, str] = field(default_factory=dict)
    """Of its attempts, by their numbers: the head sends back which one counts, and not the text."""


class Calls:
    """Asks the head for what the stages ask, and makes the attempts that it lets go.

    Mutable state: the calls and attempts under way, the numbers given out, the schemas and limits that were sent.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._calls: dict[int, _Call] = {}
        self._attempts: dict[int, asyncio.Task[None]] = {}
        self._number = 0
        self._schemas: dict[int, tuple[int, Mapping[str, Any]]] = {}
        self._limits: dict[int, Any] = {}
        self._terms: dict[int, Mapping[str, Any]] = {}
        self.backends: Sequence[Backend] = ()

    def __len__(self) -> int:
        return len(self._attempts)

    async def ask(self, prompt: Prompt) -> Completion:
        """An Ask. Raises what the head's client raises, and Deferred."""
        await self._link.room()
        self._number += 1
        number = self._number
        call = self._calls[number] = _Call(asyncio.get_running_loop().create_future(), prompt)
        self._link.send(Asked(number, prompt_out(prompt), self._schema(prompt)))
        try:
            return await call.answered
        except asyncio.CancelledError:
            self._link.send(Forgotten(number))
            raise
        finally:
            del self._calls[number]

    def _schema(self, prompt: Prompt) -> int:
        """The number of its schema, which is sent once."""
        known = self._schemas.get(id(prompt.schema))
        if known is None or known[1] is not prompt.schema:
            known = self._schemas[id(prompt.schema)] = len(self._schemas) + 1, prompt.schema
            self._link.send(SchemaKnown(known[0], dict(prompt.schema)))
        return known[0]

    def told(self, message: Told) -> None:
        call = self._calls.get(message.call)
        if call is None or call.answered.done():
            return
        if message.error is not None:
            call.answered.set_exception(error_in(message.error))
        elif message.completion is None:
            call.answered.set_exception(Deferred())
        else:
            text = call.texts.get(message.of, "") if message.of is not None else ""
            call.answered.set_result(completion_in(message.completion, text))

    # --- attempts ---

    def go(self, message: Go) -> None:
        task = asyncio.create_task(self._attempt(message), name="attempt")
        self._attempts[message.attempt] = task
        task.add_done_callback(lambda _: self._attempts.pop(message.attempt, None))

    def leave(self, attempt: int) -> None:
        if (task := self._attempts.get(attempt)) is not None:
            task.cancel()

    def leave_all(self) -> None:
        """Sends nothing more, and waits for nothing that was sent."""
        for task in list(self._attempts.values()):
            task.cancel()

    async def _attempt(self, go: Go) -> None:
        call, backend = self._calls.get(go.call), self.backends[go.endpoint]
        if call is None:
            error = Defect("an attempt of a call that nobody waits for")
            self._link.send(Answered(go.attempt, error=error_out(error)))
            return
        prompt = call.prompt
        if go.max_tokens != prompt.max_tokens:
            prompt = replace(prompt, max_tokens=go.max_tokens)
        try:
            if go.streamed and isinstance(backend, Streaming):
                with _Pieces(self._link, go.attempt) as pieces:
                    completion = await backend.streamed(prompt, pieces.heard)
            else:
                completion = await backend.complete(prompt)
        except EngineError as error:
            self._link.send(Answered(go.attempt, error=error_out(error), **self._news(go.endpoint, backend)))
            return
        except Exception as error:
            told = error_out(Defect.caused_by(error))
            self._link.send(Answered(go.attempt, error=told, **self._news(go.endpoint, backend)))
            return
        call.texts = {go.attempt: completion.text}
        told = completion_out(completion)
        self._link.send(Answered(go.attempt, told, **self._news(go.endpoint, backend)))

    def _news(self, number: int, backend: Backend) -> dict[str, Any]:
        """What the endpoint has announced, settled and refused since the last time."""
        news: dict[str, Any] = {}
        limits = backend.announced if isinstance(backend, Announcing) else None
        if limits is not None and limits is not self._limits.get(number):
            self._limits[number] = limits
            news["limits"] = (limits.requests, limits.tokens)
        if isinstance(backend, Negotiating):
            if backend.notices:
                news["notices"] = list(backend.notices)
                backend.notices.clear()
            if (terms := backend.terms()) != self._terms.get(number, {}):
                self._terms[number] = dict(terms)
                news["terms"] = dict(terms)
        return news

    def restore(self, terms: Mapping[str, Mapping[str, Any]]) -> None:
        for number, each in terms.items():
            backend = self.backends[int(number)]
            if isinstance(backend, Negotiating):
                backend.restore(each)
                self._terms[int(number)] = dict(backend.terms())


class _Pieces:
    """Tells of the pieces of a streamed answer, a few times a second. Mutable: how many are not told yet."""

    def __init__(self, link: Link, attempt: int) -> None:
        self._link = link
        self._attempt = attempt
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def heard(self) -> None:
        self._count += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_HEARD_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._link.send(Heard(self._attempt, self._count))
        self._count = 0

    def __enter__(self) -> _Pieces:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._timer is not None:
            self._timer.cancel()


@dataclass(eq=False)
class _Unit:
    """A unit that is here. Mutable: how many of its items are; None until the first one shows how many there are."""

    number: int
    batch: Batch
    value: Batch | Item
    left: int | None = None


class Working:
    """The stages at work on units. Mutable state: the units that are here, by batch and item."""

    def __init__(self, link: Link, halt: Halt, held: Held, opened: Opened) -> None:
        self._link = link
        self._halt = halt
        self._held = held
        self._finish = opened.finish
        self._stages = [Stage(each.name, self._watched(each.step), each.workers) for each in opened.stages]
        self._channels = [Channel[Any](each.name, 256) for each in opened.stages]
        self._channels.append(Channel[Any]("made", 256))
        self._coming: asyncio.Queue[Batch | Item] = asyncio.Queue()
        self._units: dict[tuple[int, int], _Unit] = {}

    def __len__(self) -> int:
        return len(self._units)

    def take(self, work: Work) -> None:
        batch = batch_in(work.batch)
        value: Batch | Item = batch if work.item is None else item_in(work.item, batch)
        for number, digest, vector in work.held:
            self._held.add(number, bytes_in(digest) or b"", bytes_in(vector) or b"")
        self._units[_place(value)] = _Unit(work.unit, batch, value)
        self._coming.put_nowait(value)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed())
            for stage, inbox, outbox in zip(self._stages, self._channels, self._channels[1:], strict=False):
                group.create_task(stage.run(inbox, outbox, self._halt), name=stage.name)
            group.create_task(self._deliver())

    async def _feed(self) -> None:
        while True:
            await self._channels[0].put(await self._coming.get())

    async def _deliver(self) -> None:
        async for item in self._channels[-1]:
            if (unit := self._of(item)) is None:
                continue
            digest = self._held.taken(item.number)
            told = item_out(self._finish(item), unit.batch)
            self._link.send(Made(unit.number, told, bytes_out(digest)))
            self._done(unit, item.batch_total)
            await self._link.room()

    def _done(self, unit: _Unit, of: int) -> None:
        """One of the unit's items is no longer here; all, where `of` is 0."""
        if of and isinstance(unit.value, Batch):
            unit.left = (of if unit.left is None else unit.left) - 1
            if unit.left:
                return
        self._units.pop(_place(unit.value), None)

    def _of(self, value: Batch | Item) -> _Unit | None:
        """The unit that a value belongs to."""
        unit = self._units.get(_place(value))
        if unit is None and isinstance(value, Item):
            unit = self._units.get((value.batch.number, -1))
        return unit

    def _watched(self, step: Callable[[Any], Awaitable[Iterable[Any]]]) -> Callable[[Any], Any]:
        """The step, telling of each value that goes no further."""

        async def watched(value: Batch | Item) -> Iterable[Any]:
            try:
                return await step(value)
            except (StopRun, FatalError) as error:
                self._tell(value, error)
                raise
            except (Deferred, BaseExceptionGroup) as error:
                if is_deferred(error):
                    self._tell(value, None)
                raise

        return watched

    def _tell(self, value: Batch | Item, error: EngineError | None) -> None:
        unit = self._of(value)
        if unit is None:
            return
        of = value.batch_total if isinstance(value, Item) and isinstance(unit.value, Batch) else 0
        self._done(unit, of)
        self._link.send(Lost(unit.number, of, None if error is None else error_out(error)))


def _place(value: Batch | Item) -> tuple[int, int]:
    return (value.number, -1) if isinstance(value, Batch) else (value.batch.number, value.position)


class Worker:
    """One worker at one head, from its request to join to its end.

    Mutable state: the epoch it was given, the stages once they are open, whether and why it has ended.
    """

    def __init__(self, open_: Open, join: Join) -> None:
        self._open = open_
        self._join = join
        self._halt = Halt()
        self._held = Held()
        self._working: Working | None = None
        self._silence_s = 0.0
        loop = asyncio.get_running_loop()
        self._hello: asyncio.Future[Hello] = loop.create_future()
        self._over: asyncio.Future[str] = loop.create_future()
        self.link = Link(self._received, self._gone)
        self._calls = Calls(self.link)
        self._files: dict[int, asyncio.Queue[str]] = {}

    async def run(self) -> str:
        """Works over the open `link` until there is nothing more to do; why it has ended.

        Raises ConfigError where the head does not want it, FatalError where the head has gone without a word, and what
        keeps its part of the run from opening.
        """
        self.link.send(self._join)
        work = asyncio.create_task(self._work(), name="work")
        try:
            waited: set[asyncio.Future[Any]] = {work, self._over}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and (error := work.exception()) is not None:
                self._fail(error)
            return await self._over
        finally:
            self._calls.leave_all()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            self.link.close()

    def leave(self) -> None:
        """Finishes what is here, and takes no more."""
        if self._working is None:
            self._end("asked to end")
        else:
            self.link.send(Leaving())

    async def _work(self) -> None:
        hello = await self._hello
        self._silence_s = hello.silence_s
        async with self._open(
            Lent(hello.about, self._calls.ask, self._halt, self._held, self._fetch)
        ) as opened:
            self._calls.backends = opened.backends
            self._working = Working(self.link, self._halt, self._held, opened)
            self.link.send(Ready(dict(opened.described), opened.vectors))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(self._working), name="beats")
                group.create_task(self._working.run(), name="stages")

    async def _fetch(self, number: int) -> AsyncIterator[bytes]:
        pieces = self._files[number] = asyncio.Queue()
        self.link.send(Fetch(number))
        try:
            while piece := bytes_in(await pieces.get()):
                yield piece
        finally:
            del self._files[number]

    def _fail(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        known = error if isinstance(error, EngineError) else Defect.caused_by(error)
        self.link.send(Failed(error_out(known)))
        self._break_off(known)

    async def _watch(self, working: Working) -> None:
        """Signs of life. Who hears nothing of the head sends nothing more: the head has given the work to others."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            self.link.send(Beat(len(working), len(self._calls)))
            await asyncio.sleep(BEAT_S)
            now = loop.time()
            late, last = now - last - BEAT_S, now
            if max(late, now - self.link.heard) > self._silence_s:
                self._calls.leave_all()
                silent = max(late, now - self.link.heard)
                self._break_off(FatalError(f"the head was not heard for {silent:.1f} s"))

    def _end(self, why: str) -> None:
        if not self._over.done():
            self._over.set_result(why)

    def _break_off(self, error: EngineError) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    def _gone(self, link: Link) -> None:
        self._calls.leave_all()
        self._break_off(FatalError(f"the head is gone: {link.why or 'it has hung up'}"))

    def _received(self, _: Link, messages: Sequence[Message]) -> None:
        for message in messages:
            self._hear(message)

    def _hear(self, message: Message) -> None:
        match message:
            case Told():
                self._calls.told(message)
            case Go():
                self._calls.go(message)
            case Work():
                assert self._working is not None, "work before the worker was ready"
                self._working.take(message)
            case Piece():
                if (pieces := self._files.get(message.number)) is not None:
                    pieces.put_nowait(message.data)
            case Leave():
                self._calls.leave(message.attempt)
            case TermsKnown():
                self._calls.restore(message.terms)
            case Ending():
                self._halt.set(error_in(message.reason))
            case Cut():
                self._halt.cut()
            case Hello():
                self.link.epoch = message.epoch
                self._hello.set_result(message)
            case Refused():
                self._break_off(ConfigError(f"the head does not take this worker: {message.said}"))
            case Stop():
                self._calls.leave_all()
                self._end(message.said)

"""One worker at one head, from its request to join to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from engine.errors import ConfigError, Defect, EngineError, FatalError
from engine.flow.halt import Halt
from engine.protocols import Ask
from engine.spread.asking import Calls
from engine.spread.link import BEAT_S, Link
from engine.spread.messages import (
    Beat,
    Cut,
    Ending,
    Failed,
    Fetch,
    Go,
    Hello,
    Join,
    Leave,
    Leaving,
    Message,
    Piece,
    Ready,
    Refused,
    Stop,
    TermsKnown,
    Told,
    Work,
)
from engine.spread.wire import bytes_in, error_in, error_out
from engine.spread.working import Held, Opened, Working

Fetching = Callable[[int], AsyncIterator[bytes]]
"""The bytes of one of the run's files, which the head sends."""


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
        self._leaving = False
        self._silence_s = 0.0
        loop = asyncio.get_running_loop()
        self._hello: asyncio.Future[Hello] = loop.create_future()
        self._over: asyncio.Future[str] = loop.create_future()
        for each in (self._hello, self._over):  # of a worker that never runs, nobody asks how it went
            each.add_done_callback(lambda done: None if done.cancelled() else done.exception())
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
        """Finishes what is here, and takes no more; asked again, goes at once."""
        if self._working is None or self._leaving:
            self._end("asked to end")
        else:
            self._leaving = True
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

"""Who may send next: concurrency, requests and tokens, in one line behind one dispatcher."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from engine.llm.pacing import RequestPace, TokenPace
from engine.llm.waiting import Line


class LimiterStatistics(NamedTuple):
    in_flight: int
    peak_in_flight: int
    waiting: int
    admitted: int


class Lease:
    """The right to one attempt. `release` exactly once."""

    __slots__ = ("_entry", "_limiter")

    def __init__(self, limiter: Limiter, entry: list[float] | None) -> None:
        self._limiter = limiter
        self._entry = entry

    def release(self, used_tokens: int | None = None) -> None:
        """The attempt is over. `used_tokens` gives back what was estimated too high; None keeps it."""
        self._limiter._released(self._entry, used_tokens)


class Limiter:
    """First come, first served within a priority; the lowest priority number goes first.

    A place that becomes free is handed on in the same instant. Where time must pass first, one dispatcher
    task sleeps until the head of the line may go, or until something changes.
    Mutable state: the line of waiters, the count in flight, the two paces, the dispatcher.
    """

    def __init__(
        self,
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self.concurrency = concurrency
        self._requests = RequestPace(requests_per_minute) if requests_per_minute else None
        self._tokens = TokenPace(tokens_per_minute) if tokens_per_minute else None
        self._line: Line[Lease] = Line()
        self._in_flight = 0
        self._peak = 0
        self._admitted = 0
        self._changed = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None
        self._closed: BaseException | None = None

    async def acquire(self, tokens: int = 0, priority: int = 0) -> Lease:
        """Waits its turn. `tokens` is the estimate for the whole attempt. Raises the reason of `close`."""
        if self._closed is not None:
            raise self._closed
        if self._requests is None and self._line.head is None and self._wait(tokens) == 0:
            return self._grant(tokens)
        future = self._line.join(priority, tokens)
        self._advance()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().release(0)  # granted in the same instant as cancelled
            self._advance()  # the head of the line may be another now
            raise

    def close(self, reason: BaseException) -> None:
        """Nobody is admitted any more: those in line, and those who come, get the reason."""
        self._closed = reason
        self._line.dismiss(reason)
        self._changed.set()

    def _advance(self) -> None:
        """Let in whoever may go now; see to it that the next one is let in when time has passed."""
        if self._requests is None:
            while (head := self._line.head) is not None and (wait := self._wait(head.amount)) == 0:
                self._line.pop().future.set_result(self._grant(head.amount))
            if head is None or wait is None:
                return  # nobody waits, or for a place that a release hands on
        if self._dispatcher is None and self._line.head is not None:
            self._dispatcher = asyncio.create_task(self._dispatch(), name="limiter")
        self._changed.set()

    async def _dispatch(self) -> None:
        try:
            while (head := self._line.head) is not None:
                self._changed.clear()
                wait = self._wait(head.amount)
                if wait is None or wait > 0:
                    await self._pause(wait)
                    continue
                if self._requests is not None:
                    await self._requests.acquire()  # type: ignore[no-untyped-call] # has room: see _wait
                self._line.pop().future.set_result(self._grant(head.amount))
        finally:
            self._dispatcher = None

    def _wait(self, tokens: int) -> float | None:
        """Seconds until an attempt of so many tokens may go; None until another has ended."""
        if self._in_flight >= self.concurrency:
            return None
        requests = self._requests.wait() if self._requests is not None else 0.0
        return max(requests, self._tokens.wait(tokens)) if self._tokens is not None else requests

    async def _pause(self, seconds: float | None) -> None:
        if seconds is None:
            await self._changed.wait()
            return
        timer = asyncio.get_running_loop().call_later(seconds, self._changed.set)
        await self._changed.wait()
        timer.cancel()

    def _grant(self, tokens: int) -> Lease:
        self._in_flight += 1
        self._admitted += 1
        self._peak = max(self._peak, self._in_flight)
        return Lease(self, self._tokens.take(tokens) if self._tokens is not None else None)

    def _released(self, entry: list[float] | None, used: int | None) -> None:
        self._in_flight -= 1
        if entry is not None and used is not None and self._tokens is not None:
            self._tokens.give_back(entry, used)
        self._advance()

    def statistics(self) -> LimiterStatistics:
        return LimiterStatistics(self._in_flight, self._peak, len(self._line), self._admitted)

    def __repr__(self) -> str:
        return f"<Limiter {self._in_flight}/{self.concurrency} in flight, {len(self._line)} waiting>"

"""Many callers, one call: values that arrive while a call is under way share the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar, cast

from engine.errors import Deferred

A = TypeVar("A")
B = TypeVar("B")


class BatcherStatistics(NamedTuple):
    waiting: int
    under_way: int
    calls: int
    values: int


class Batcher(Generic[A, B]):
    """`call` is given up to `size` values and gives as many results, in order.

    Nobody waits for a batch to fill: a call begins as soon as one of the `at_once` places is free, with
    whatever has gathered. What `call` raises, each of its callers gets.
    Mutable state: the values that wait, the tasks that make calls. One event loop only.
    """

    def __init__(self, call: Callable[[Sequence[A]], Awaitable[Sequence[B]]], size: int, at_once: int = 1):
        self._call = call
        self._size = size
        self._at_once = at_once
        self._waiting: deque[tuple[A, asyncio.Future[B]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = 0
        self._values = 0

    async def __call__(self, value: A) -> B:
        future: asyncio.Future[B] = asyncio.get_running_loop().create_future()
        self._waiting.append((value, future))
        if len(self._tasks) < self._at_once:
            self._tasks.add(asyncio.create_task(self._work(), name="batcher"))
        return await future

    async def _work(self) -> None:
        """Gives its place back in the very step that finds nothing waiting, so that no value is left behind."""
        try:
            while self._waiting:
                count = min(self._size, len(self._waiting))
                taken = [
                    pair for pair in (self._waiting.popleft() for _ in range(count)) if not pair[1].done()
                ]
                if taken:
                    await self._answer(taken)
        finally:
            self._tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _answer(self, taken: Sequence[tuple[A, asyncio.Future[B]]]) -> None:
        self._calls += 1
        self._values += len(taken)
        try:
            results = await self._call([value for value, _ in taken])
            if len(results) != len(taken):
                raise RuntimeError(f"{len(taken)} values were given to a call, {len(results)} came back")
        except asyncio.CancelledError:
            for _, future in taken:
                future.cancel()
            raise
        except (Exception, Deferred) as error:  # the callers are the ones to hear of it
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(taken, results, strict=True):
            if not future.done():
                future.set_result(result)

    def statistics(self) -> BatcherStatistics:
        return BatcherStatistics(len(self._waiting), len(self._tasks), self._calls, self._values)

    def __repr__(self) -> str:
        return f"<Batcher {self.statistics()}>"

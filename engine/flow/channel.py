"""A bounded pipe between two stages."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class ChannelStatistics(NamedTuple):
    queued: int
    capacity: int
    passed: int
    """Values that have gone in since the start."""


class Channel(Generic[T]):
    """First in, first out; `put` waits while full, iteration ends once it is closed and empty.

    Mutable state: `_values`, the two queues of waiters, `_closed`, `_passed`. One event loop only.
    """

    def __init__(self, name: str, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a channel needs room for at least one value")
        self.name = name
        self._capacity = capacity
        self._values: deque[T] = deque()
        self._putters: deque[asyncio.Future[None]] = deque()
        self._getters: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._passed = 0

    async def put(self, value: T) -> None:
        """Waits for room. Raises RuntimeError on a closed channel."""
        while len(self._values) >= self._capacity and not self._closed:
            await _wait_in(self._putters)
        if self._closed:
            raise RuntimeError(f"channel {self.name} is closed")
        self._values.append(value)
        self._passed += 1
        _wake_one(self._getters)

    async def get(self) -> T:
        """The next value. Raises StopAsyncIteration once closed and empty."""
        while not self._values:
            if self._closed:
                raise StopAsyncIteration
            await _wait_in(self._getters)
        value = self._values.popleft()
        _wake_one(self._putters)
        if self._values:
            _wake_one(self._getters)
        return value

    async def get_all(self) -> list[T]:
        """All that is queued, at least one value. Raises StopAsyncIteration once closed and empty."""
        values = [await self.get()]
        values.extend(self._values)
        self._values.clear()
        while self._putters:
            _wake_one(self._putters)
        return values

    def close(self) -> None:
        """No more puts; what is queued can still be got."""
        self._closed = True
        for waiters in (self._getters, self._putters):
            while waiters:
                _wake_one(waiters)

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        return await self.get()

    def statistics(self) -> ChannelStatistics:
        return ChannelStatistics(len(self._values), self._capacity, self._passed)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Channel {self.name} {state} {len(self._values)}/{self._capacity}>"


async def _wait_in(waiters: deque[asyncio.Future[None]]) -> None:
    future = asyncio.get_running_loop().create_future()
    waiters.append(future)
    try:
        await future
    except asyncio.CancelledError:
        if future.done() and not future.cancelled():
            _wake_one(waiters)  # the wake-up was ours; hand it on
        elif future in waiters:
            waiters.remove(future)
        raise


def _wake_one(waiters: deque[asyncio.Future[None]]) -> None:
    while waiters:
        future = waiters.popleft()
        if not future.done():
            future.set_result(None)
            return

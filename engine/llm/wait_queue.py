"""Waiters in line: first come, first served within a priority."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from itertools import count
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Waiter(NamedTuple, Generic[T]):
    """Sorts by priority, then by when it first came; `amount` is what it waits for."""

    priority: int
    arrival: int
    amount: int
    future: asyncio.Future[T]
    avoid: object = None
    """The endpoint that it avoids if possible."""


class WaitQueue(Generic[T]):
    """Mutable state: the heap of waiters. Cancelled waiters are dropped when they reach the top."""

    def __init__(self, arrivals: Iterator[int] | None = None) -> None:
        """`arrivals` numbers the waiters; several queues may share it."""
        self._heap: list[Waiter[T]] = []
        self._arrivals = arrivals if arrivals is not None else count()

    def join(
        self, priority: int, amount: int, avoid: object = None, ticket: int | None = None
    ) -> asyncio.Future[T]:
        """`ticket` is that of a waiter who was in line before; a new one by default."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        arrival = next(self._arrivals) if ticket is None else ticket
        heapq.heappush(self._heap, Waiter(priority, arrival, amount, future, avoid))
        return future

    @property
    def head(self) -> Waiter[T] | None:
        while self._heap and self._heap[0].future.done():
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def pop(self) -> Waiter[T]:
        return heapq.heappop(self._heap)

    def dismiss(self, reason: BaseException) -> None:
        """Raises the reason in every waiter."""
        while self.head is not None:
            self.pop().future.set_exception(reason)

    def __len__(self) -> int:
        return sum(not waiter.future.done() for waiter in self._heap)

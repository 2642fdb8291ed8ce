"""A second attempt for a slow call: the first answer is used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from engine.errors import TransientError
from engine.llm.endpoint import KNOWN, Endpoint

T = TypeVar("T")


class Hedge:
    """Hedged requests (Dean and Barroso, The Tail at Scale, 2013), limited to a share of all calls."""

    def __init__(self, after: float, most: float) -> None:
        """`after`: the latency quantile at which to hedge. `most`: most second attempts, as a share of all calls."""
        self._after = after
        self._most = most

    def patience(self, endpoint: Endpoint, route: str, calls: int, hedged: int) -> float | None:
        """Seconds after which a second attempt is worthwhile; None if there should be no second attempt."""
        latencies = endpoint.latencies.get(route)
        if latencies is None or latencies.count < KNOWN or hedged > self._most * calls:
            return None
        return latencies.quantile(self._after)

    async def first_of(
        self, first: Coroutine[Any, Any, T], second: Callable[[], Awaitable[T | None]], patience: float
    ) -> T:
        """The first answer; the other attempt is cancelled but counted as paid. Raises as `first` does."""
        tasks: set[asyncio.Task[T | None]] = {asyncio.create_task(first, name="attempt")}
        [attempt] = tasks
        try:
            done, _ = await asyncio.wait(tasks, timeout=patience)
            if not done:
                tasks.add(asyncio.create_task(_or_none(second), name="hedge"))
            pending = set(tasks)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if task.exception() is None and (answer := task.result()) is not None:
                        return answer
            answer = await attempt  # raises, since neither attempt brought an answer
            assert answer is not None
            return answer
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _or_none(second: Callable[[], Awaitable[T | None]]) -> T | None:
    """Ignores a failed second attempt: the first one goes on."""
    try:
        return await second()
    except TransientError:
        return None

"""Looks at the endpoints now and then while calls are in flight: is one silent, do calls queue at a server?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from engine.llm.endpoint import Endpoint

LOOK_EVERY_S = 2.0

Waiting = Callable[[], Awaitable[int | None]]
"""Asks a server how many calls wait there; None where it does not say."""


class Lookout:
    """For servers of one's own that tell of their queue, and for all endpoints' silence.

    Mutable state: how many answers each endpoint had given at the last look.
    """

    def __init__(self, endpoints: Sequence[Endpoint], queues: Mapping[str, Waiting]) -> None:
        """`queues` are by the endpoint's name."""
        self._endpoints = endpoints
        self._queues = queues
        self._answered: dict[str, int] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block lasts."""
        task = asyncio.create_task(self._work(), name="lookout")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Asks a server for its queue only where it has answered since the last look."""
        for endpoint in self._endpoints:
            endpoint.check_silence()
            before = self._answered.get(endpoint.name, 0)
            self._answered[endpoint.name] = endpoint.answered
            waiting = self._queues.get(endpoint.name)
            if waiting is None or endpoint.answered == before or endpoint.in_flight < 2:
                continue
            if (count := await waiting()) is not None:
                endpoint.queued(count)

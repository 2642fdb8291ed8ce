"""A pool of workers that take a step with each value of a channel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from engine.errors import Deferred, FatalError, StopRun, is_deferred
from engine.flow.channel import Channel
from engine.flow.halt import Halt

Step = Callable[[Any], Awaitable[Iterable[Any]]]


@dataclass(frozen=True)
class Stage:
    """`step` turns one value into those that travel on: often one, sometimes several or none.

    A step that raises StopRun or FatalError halts the run and gives its value up: whatever was paid for
    it is in the journal, and the next start does it again from there. Values that are still queued then
    are given a step all the same, so that what needs no new call is finished. A step that takes too long when
    the run ends is given up in the same way. A value whose step raises Deferred is let go: a later pass makes it again.
    """

    name: str
    step: Step
    workers: int = 1

    async def run(
        self,
        inbox: Channel[Any],
        outbox: Channel[Any],
        halt: Halt,
        let_go: Callable[[Any], None] = lambda _: None,
    ) -> None:
        async def worker() -> None:
            async for value in inbox:
                try:
                    async with halt.step():
                        results = await self.step(value)
                except (StopRun, FatalError) as reason:
                    halt.set(reason)
                    continue
                except TimeoutError:
                    if not halt.is_cut:
                        raise
                    continue
                except (Deferred, BaseExceptionGroup) as error:
                    if not is_deferred(error):
                        raise
                    let_go(value)
                    continue
                for result in results:
                    await outbox.put(result)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.workers):
                group.create_task(worker(), name=self.name)
        outbox.close()

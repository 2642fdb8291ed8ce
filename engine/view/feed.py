"""Tells all who watch a run how it stands, whenever that has changed: one look a second, for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from engine.view.opening import OpenRun

_LOOK_S = 1.0
"""Seconds between two looks, while somebody watches; a look takes 3 microseconds where nothing has changed."""


class Feed:
    """The states of one run. Mutable state: how many watch, the last state with its number, the task that looks."""

    def __init__(self, run: OpenRun, state: Callable[[int], Awaitable[bytes]]) -> None:
        """`state` makes what is told, once for each change; it is given the number of the change, from 1."""
        self._run = run
        self._state = state
        self._watching = 0
        self._number = 0
        self._last = b""
        self._failure: Exception | None = None
        self._changed = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None

    async def states(self) -> AsyncGenerator[bytes, None]:
        """The present state, then each later one that this reader is quick enough for. Raises what a look raises."""
        self._watching += 1
        if self._looking is None or self._looking.done():
            self._failure = None
            self._looking = asyncio.create_task(self._look(), name="feed")
        known = 0
        try:
            while True:
                async with self._changed:
                    while self._number <= known and self._failure is None:
                        await self._changed.wait()
                    if self._failure is not None:
                        raise self._failure
                    known, last = self._number, self._last
                yield last
        finally:
            self._watching -= 1
            if not self._watching and self._looking is not None:
                self._looking.cancel()

    async def _look(self) -> None:
        try:
            with self._run.reading() as connection:
                before: tuple[int, bool] | None = None
                while True:
                    [version] = connection.execute("PRAGMA data_version").fetchone()
                    now = version, await asyncio.to_thread(self._run.folder.in_use)
                    if now != before:
                        before = now
                        await self._run.fill()
                        await self._tell(await self._state(self._number + 1))
                    await asyncio.sleep(_LOOK_S)
        except Exception as error:  # whatever it is, those who wait must hear of it
            self._failure = error
            async with self._changed:
                self._changed.notify_all()

    async def _tell(self, state: bytes) -> None:
        async with self._changed:
            self._number += 1
            self._last = state
            self._changed.notify_all()

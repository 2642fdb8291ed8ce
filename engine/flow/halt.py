"""The one signal that ends a run: set once, with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engine.errors import EngineError


class Halt:
    """Nothing new is begun after `set`; what is under way is finished.

    Mutable state: `reason`, set once (a later, different reason does not replace it).
    """

    def __init__(self) -> None:
        self.reason: EngineError | None = None
        self._event = asyncio.Event()
        self._callbacks: list[Callable[[EngineError], None]] = []

    def set(self, reason: EngineError) -> None:
        if self.reason is not None:
            return
        self.reason = reason
        self._event.set()
        for callback in self._callbacks:
            callback(reason)

    def on_set(self, callback: Callable[[EngineError], None]) -> None:
        """Call back once set; at once if it is set already."""
        self._callbacks.append(callback)
        if self.reason is not None:
            callback(self.reason)

    def check(self) -> None:
        """Raises the reason, where there is one."""
        if self.reason is not None:
            raise self.reason

    async def wait(self) -> EngineError:
        await self._event.wait()
        assert self.reason is not None
        return self.reason

    def __repr__(self) -> str:
        return f"<Halt {self.reason!r}>"

"""The one signal that ends a run: set once, with the reason; and the moment when it waits no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from engine.errors import EngineError

_GRACE_S = 1.0
"""Seconds for a step after the cut: enough for one that waits for nobody."""


class Step:
    """One step that may be given up. A class of its own, since each value takes one in every stage."""

    __slots__ = ("_halt", "_limit")

    def __init__(self, halt: Halt) -> None:
        self._halt = halt
        self._limit = asyncio.timeout(_GRACE_S if halt.is_cut else None)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        self._halt.under_way.add(self._limit)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._halt.under_way.discard(self._limit)
        await self._limit.__aexit__(kind, error, trace)


class Halt:
    """Nothing new is begun after `set`; what is under way is finished, until `cut`.

    Mutable state: `reason`, set once (a later, different reason does not replace it); the steps under way.
    """

    def __init__(self) -> None:
        self.reason: EngineError | None = None
        self._event = asyncio.Event()
        self._callbacks: list[Callable[[EngineError], None]] = []
        self.under_way: set[asyncio.Timeout] = set()
        self.is_cut = False

    def set(self, reason: EngineError) -> None:
        if self.reason is not None:
            return
        self.reason = reason
        self._event.set()
        for callback in self._callbacks:
            callback(reason)

    def cut(self) -> None:
        """Gives up the steps that are still under way; what needs no waiting is finished all the same."""
        self.is_cut = True
        now = asyncio.get_running_loop().time()
        for step in self.under_way:
            step.reschedule(now)

    def step(self) -> Step:
        """For a step that `cut` may give up: `async with` raises TimeoutError then."""
        return Step(self)

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

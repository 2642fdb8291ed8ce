"""An event loop whose clock jumps to the next timer when it is idle: hours pass in seconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")
_LOOK_S = 0.001


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc, unused-ignore] # the platform's own
    """Selects without waiting; if no event is ready and no thread is working, the clock jumps ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.grain = 1e-9
        self.outside: Callable[[], bool] = lambda: False

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if self.outside() or timeout is None:
            return super().select(_LOOK_S)  # a thread is working, or will call back
        self.now += max(timeout, self.grain)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """For programs that wait only for timers: no sockets, no subprocesses. Work in threads takes no time.

    Mutable state: the number of working threads, and the test for other work.
    """

    def __init__(
        self, outside: Callable[[], bool] = lambda: False, *, start: float = 0.0, grain: float = 1e-9
    ) -> None:
        """`outside` returns whether other work for this loop is going on: a thread that will call back.

        The clock begins at `start` and moves by at least `grain` seconds, so that close timers fire together.
        """
        self._jumping = _Jumping()
        self._threads = 0
        self.outside = outside
        self._jumping.now, self._jumping.grain = start, grain
        self._jumping.outside = lambda: self._threads > 0 or self.outside()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        """As in the base class; the clock stands still meanwhile."""
        self._threads += 1
        future = super().run_in_executor(executor, func, *args)

        def ended(_: asyncio.Future[Any]) -> None:
            self._threads -= 1

        future.add_done_callback(ended)
        return future


def in_virtual_time(work: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """The result of `work`, run in a loop of its own."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(loop))

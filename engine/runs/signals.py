"""Signals that end a run: the first lets calls in flight finish, the second stops at once; no other changes a thing."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


def ending_signals() -> list[signal.Signals]:
    """SIGINT (Ctrl-C), SIGTERM (service managers) and SIGHUP (closed terminal; not under nohup)."""
    signals = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        signals.append(hangup)
    return signals


class Interrupts:
    """The ending signals of one start, from its work to its last file.

    Mutable state: how many came during the work, the work's task while it goes on, what each signal did before.
    """

    def __init__(self) -> None:
        self._count = 0
        self._task: asyncio.Task[Any] | None = None
        self._first: Callable[[], None] = lambda: None
        self._before: dict[signal.Signals, Any] = {}

    async def interruptible(self, work: Coroutine[Any, Any, T], first: Callable[[], None]) -> T | None:
        """The result of the work. The first signal calls `first`; the second cancels the work; then None.

        Further signals are heard, and change nothing: what is left is to write what there is. Raises what the work
        raises, and CancelledError if the caller is cancelled.
        """
        task = asyncio.create_task(work, name="work")
        self._task, self._first = task, first
        self._listen()
        try:
            return await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if self._count < 2 or (this is not None and this.cancelling()):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                raise
            return None
        finally:
            self._task = None

    def _heard(self) -> None:
        if self._task is None:
            return
        self._count += 1
        if self._count == 1:
            self._first()
        elif self._count == 2:
            self._task.cancel()

    def _listen(self) -> None:
        """Not by the loop's own handlers: giving one up leaves the process, for a moment, to the system's."""
        loop = asyncio.get_running_loop()

        def signalled(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._heard)

        with contextlib.suppress(ValueError):  # not the main thread
            for number in ending_signals():
                if number not in self._before:
                    self._before[number] = signal.signal(number, signalled)

    def close(self) -> None:
        """Signals do again what they did before."""
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, signal.SIG_DFL if before is None else before)

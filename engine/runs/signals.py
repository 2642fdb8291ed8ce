"""Signals that end a run: the first lets calls in flight finish, the second stops immediately."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def ending_signals() -> list[signal.Signals]:
    """SIGINT (Ctrl-C), SIGTERM (service managers) and SIGHUP (closed terminal; not under nohup)."""
    signals = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        signals.append(hangup)
    return signals


async def interruptible(work: Coroutine[Any, Any, T], first: Callable[[], None]) -> T | None:
    """The result of the work. The first signal calls `first`; the second cancels the work; then None.

    Raises what the work raises, and CancelledError if the caller is cancelled.
    """
    task = asyncio.create_task(work, name="work")
    loop = asyncio.get_running_loop()
    interrupts = 0

    def interrupt() -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts == 1:
            first()
        elif interrupts == 2:
            task.cancel()

    signals = ending_signals()
    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # not the main thread
        for number in signals:
            loop.add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        this = asyncio.current_task()
        if interrupts < 2 or (this is not None and this.cancelling()):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        return None
    finally:
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            for number in signals:
                loop.remove_signal_handler(number)

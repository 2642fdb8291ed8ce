"""The signals that ask for an end: the first drains what is under way, the second stops it at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def ending_signals() -> list[signal.Signals]:
    """Ctrl-C, a service manager's, a closed terminal's (not under nohup)."""
    found = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        found.append(hangup)
    return found


async def interruptible(work: Coroutine[Any, Any, T], first: Callable[[], None]) -> T | None:
    """What the work returns. The first signal calls `first`, the second one cancels the work, and this returns None.

    Raises what the work raises, and CancelledError where it is the caller who is cancelled.
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

"""The event loop that everything runs on."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def rarer_collections() -> None:
    """For a process that is ours alone: neither modules nor items form cycles, so that looking for these less often
    saves a sixth of the CPU time. What is loaded by now stays, and is not scanned again.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def in_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end on uvloop, or on asyncio's own loop where uvloop is not installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = None  # type: ignore[assignment]
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work())

"""Runs for programs and notebooks that wait: each works also where an event loop is running already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from threading import Thread
from typing import Any, TextIO, TypeVar

from engine.config import RunConfig
from engine.flow.loop import in_loop
from engine.report.showing import Shown
from engine.runs import api
from engine.runs.preview import ITEMS, Preview
from engine.runs.preview import preview as previewed
from engine.runs.result import Result

T = TypeVar("T")
_LOOKS_S = 0.25
"""Seconds between two looks at whether whoever waits is to stop."""


def run(config: RunConfig, folder: Path | str, *, show: TextIO | Shown | None = None) -> Result:
    """Start a run, or continue it; returns when it ends. The same as `datagen run`.

    Works in a notebook, too, whose loop goes on: the run has a thread of its own. `show` receives the progress; where
    it is absent, a notebook's cell shows it. Raises ConfigError if the run cannot begin; every other end is in the
    result's `outcome`.
    """
    return finished(lambda: api.arun(config, folder, show=show))


def audit(config: RunConfig, folder: Path | str, *, show: TextIO | Shown | None = None) -> Result:
    """Check an existing dataset, `dataset.path`, with the config's validators. Raises as `run` does."""
    return finished(lambda: api.audit(config, folder, show=show))


def map(config: RunConfig, folder: Path | str, *, show: TextIO | Shown | None = None) -> Result:
    """Ask for new columns of each row of `dataset.path`. Raises as `run` does."""
    return finished(lambda: api.map(config, folder, show=show))


def evaluate(
    config: RunConfig,
    folder: Path | str,
    *,
    data: Sequence[Path | str] = (),
    against: Path | str | None = None,
    show: TextIO | Shown | None = None,
) -> Result:
    """Put the rows of datasets to models and score the answers. Raises as `run` does."""
    return finished(lambda: api.evaluate(config, folder, data=data, against=against, show=show))


def preview(config: RunConfig, n: int = ITEMS, *, show: TextIO | Shown | None = None) -> Preview:
    """About `n` items through the whole pipeline, with their prompts, verdicts and cost; nothing is kept.

    Makes real calls. Raises ConfigError.
    """
    return finished(lambda: previewed(config, n, show=show))


def finished(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What the work comes to: in a loop of its own, and in a thread of its own where a loop is running here.

    Ctrl-C, or a notebook's stop button, cancels it; what was paid for is kept, as after a kill.
    """
    try:
        caller = asyncio.current_task()
    except RuntimeError:
        return in_loop(work)
    found: Future[T] = Future()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def noted() -> T:
        task = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        return await work()

    def worked() -> None:
        try:
            found.set_result(in_loop(noted))
        except BaseException as error:
            found.set_exception(error)

    thread = Thread(target=worked, name="datagen", daemon=True)
    thread.start()
    try:
        while True:
            try:
                return found.result(_LOOKS_S)
            except FutureTimeout:
                if found.done():
                    raise
                if caller is not None and caller.cancelling():  # what Ctrl-C does under asyncio.run
                    raise KeyboardInterrupt from None
    except KeyboardInterrupt:
        for loop, task in running:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise

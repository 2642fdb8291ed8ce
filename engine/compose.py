"""The composition root: a config in, opened resources around a pipeline, a report out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TextIO, TypeVar

from engine.config import RunConfig
from engine.inputs import Inputs
from engine.report.summary import Report
from engine.start import RunStart
from engine.store.folder import RunFolder

T = TypeVar("T")


def run(config: RunConfig, folder: Path | str) -> Report:
    """Start a run, or continue it; returns when it ends. The same as `datagen run`, for a program.

    Raises ConfigError where nothing can be begun. Every other end is the report's `outcome`.
    """
    return in_loop(lambda: arun(config, folder))


def in_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end on uvloop, or on asyncio's own loop where uvloop is not installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = None  # type: ignore[assignment]
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work())


async def arun(config: RunConfig, folder: Path | str, *, show: TextIO | None = None) -> Report:
    """`run` for a program that has an event loop already. `show` is where progress goes, if anywhere."""
    return await _in_folder(lambda: Inputs.load(config), folder, show)


async def audit(config: RunConfig, folder: Path | str, *, show: TextIO | None = None) -> Report:
    """Check an existing dataset, `dataset.path`, with the config's validators; the same as `datagen audit`.

    What passes is in accepted.jsonl, row by row as it stands in the dataset, or as a validator corrected it.
    Raises as `run` does.
    """
    return await _in_folder(lambda: Inputs.of_existing(config), folder, show)


async def enhance(config: RunConfig, folder: Path | str, *, show: TextIO | None = None) -> Report:
    """Make the items of an existing dataset, `dataset.path`, harder; the same as `datagen enhance`.

    accepted.jsonl has every row: the harder item where its answer has survived, else the row as it was.
    Raises as `run` does.
    """
    return await _in_folder(lambda: Inputs.of_existing(config, "enhance"), folder, show)


async def _in_folder(load: Callable[[], Inputs], folder: Path | str, show: TextIO | None) -> Report:
    inputs = load()
    config = inputs.config
    runs = RunFolder(Path(folder))
    runs.refuse_foreign(config.dataset.path)
    with runs.locked():
        return await RunStart(inputs, runs).go(show)


MODES = {"run": arun, "audit": audit, "enhance": enhance}
"""What goes on in a run's folder, by the mode on record there."""

"""The composition root: a config in, opened resources around a pipeline, a report out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any, TextIO, TypeVar

import orjson

from engine.config import RunConfig
from engine.config.evaluate import EvaluatedData
from engine.runs.inputs import Inputs, Mode
from engine.report.summary import Report
from engine.runs.session import RunStart
from engine.store.folder import RunFolder
from engine.store.reading import connect, read_starts

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


async def evaluate(
    config: RunConfig,
    folder: Path | str,
    *,
    data: Sequence[Path] = (),
    against: Path | None = None,
    show: TextIO | None = None,
) -> Report:
    """Put the rows of datasets to models and score the answers; the same as `datagen evaluate`.

    `data` and `against` join `evaluate.datasets`; `against` is the original that the others are compared with. The
    results are in results.json. A folder whose answers have been judged goes on being judged. Raises as `run` does.
    """
    config = with_datasets(config, data, against)
    existing = RunFolder(Path(folder))
    mode: Mode = "judge" if existing.database.is_file() and existing.mode() == "judge" else "evaluate"
    return await _in_folder(lambda: Inputs.of_evaluation(config, mode), folder, show)


async def judge(config: RunConfig, folder: Path | str, *, show: TextIO | None = None) -> Report:
    """`evaluate`, and a judge for the answers that no rule can score; what was answered is not asked again.

    Where all is judged already, and some of it could not be read, the judge is asked about that once more.
    """
    again = _left_open(RunFolder(Path(folder)))
    return await _in_folder(lambda: Inputs.of_evaluation(config, "judge", again=again), folder, show)


def _left_open(folder: RunFolder) -> bool:
    """Whether a judgement has come to its end and answers are still without a word on them."""
    if not folder.database.is_file() or folder.mode() != "judge" or not folder.results.exists():
        return False
    with contextlib.closing(connect(folder.database)) as connection:
        ended = read_starts(connection)[-1].outcome == "target"
    found = orjson.loads(folder.results.read_bytes())
    return ended and any(result["pending"] for result in found["results"])


async def judging(config: RunConfig, folder: Path | str, *, show: TextIO | None = None) -> Report:
    """A judgement that was begun, to its end."""
    return await _in_folder(lambda: Inputs.of_evaluation(config, "judge"), folder, show)


def with_datasets(config: RunConfig, data: Sequence[Path], against: Path | None) -> RunConfig:
    """The config with further datasets to evaluate on, each called by its file's or folder's name."""
    spec = config.evaluate
    found = {each.name: each.path for each in spec.datasets}

    def called(path: Path) -> str:
        path = path.absolute()
        known = next((name for name, there in found.items() if there == path), None)
        stem = path.name if path.is_dir() else path.stem
        name = known or next(
            name for name in chain([stem], map(f"{stem}-{{}}".format, count(2))) if name not in found
        )
        found[name] = path
        return name

    for path in data:
        called(path)
    original = called(against) if against is not None else spec.against
    datasets = tuple(EvaluatedData(name=name, path=path) for name, path in found.items())
    return config.changed(evaluate=spec.model_copy(update={"datasets": datasets, "against": original}))


async def _in_folder(load: Callable[[], Inputs], folder: Path | str, show: TextIO | None) -> Report:
    inputs = load()
    config = inputs.config
    runs = RunFolder(Path(folder))
    runs.refuse_foreign(config.dataset.path)
    with runs.locked():
        return await RunStart(inputs, runs).go(show)


MODES: Mapping[str, Callable[..., Coroutine[Any, Any, Report]]] = {
    "run": arun,
    "audit": audit,
    "enhance": enhance,
    "evaluate": evaluate,
    "judge": judging,
}
"""What goes on in a run's folder, by the mode on record there."""

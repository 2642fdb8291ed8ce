"""The Python API for runs in a program that has an event loop: a config in, a result out."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import TextIO

import orjson

from engine.config import RunConfig
from engine.config.evaluate import EvaluatedData
from engine.config.paths import is_remote
from engine.report.showing import Shown
from engine.runs.decisions import take_in
from engine.runs.modes import (
    MODES,
    AuditMode,
    CalibrateMode,
    EnhanceMode,
    EvaluateMode,
    GenerateMode,
    JudgeMode,
    MapMode,
    MergeMode,
    Mode,
)
from engine.runs.modes.calibrate import ITEMS
from engine.runs.modes.merge import merging
from engine.runs.result import Result
from engine.runs.session import opened
from engine.store.folder import RunFolder
from engine.store.reading import connect, read_starts


async def arun(config: RunConfig, folder: Path | str, *, show: TextIO | Shown | None = None) -> Result:
    """Start a run, or continue it. `show` receives the progress; where absent, a notebook's cell shows it.

    Raises ConfigError if the run cannot begin. Every other end is in the result's `outcome`.
    """
    return await started(GenerateMode(), config, folder, show)


async def audit(config: RunConfig, folder: Path | str, *, show: TextIO | Shown | None = None) -> Result:
    """Check an existing dataset, `dataset.path`, with the config's validators; the same as `datagen audit`.

    The rows that pass are in accepted.jsonl, unchanged or as corrected by a validator. Raises as `run` does.
    """
    return await started(AuditMode(), config, folder, show)


async def enhance(config: RunConfig, folder: Path | str, *, show: TextIO | Shown | None = None) -> Result:
    """Make the items of an existing dataset, `dataset.path`, harder; the same as `datagen enhance`.

    accepted.jsonl has every row: the harder item if its answer is unchanged, else the original row.
    Raises as `run` does.
    """
    return await started(EnhanceMode(), config, folder, show)


async def calibrate(
    config: RunConfig, folder: Path | str, *, items: int | None = None, show: TextIO | Shown | None = None
) -> Result:
    """Measure the config's checks on rows with known labels; the same as `datagen calibrate`.

    The figures are in calibration.json. `items`: rows to try; 200 in a new folder where absent. Raises as `run` does.
    """
    there = RunFolder(Path(folder))
    continued = there.database.is_file()
    return await started(CalibrateMode(items or (None if continued else ITEMS)), config, folder, show)


async def evaluate(
    config: RunConfig,
    folder: Path | str,
    *,
    data: Sequence[Path | str] = (),
    against: Path | str | None = None,
    show: TextIO | Shown | None = None,
) -> Result:
    """Put the rows of datasets to models and score the answers; the same as `datagen evaluate`.

    `data` and `against` join `evaluate.datasets`; `against` is the original that the others are compared with. The
    results are in results.json. In a folder with judged answers, judging continues. Raises as `run` does.
    """
    config = with_datasets(config, data, against)
    there = RunFolder(Path(folder))
    judged = there.database.is_file() and there.mode() == JudgeMode.name
    return await started(JudgeMode() if judged else EvaluateMode(), config, folder, show)


async def judge(config: RunConfig, folder: Path | str, *, show: TextIO | Shown | None = None) -> Result:
    """`evaluate`, with a judge for answers that no rule can score; answered questions are not asked again.

    If all answers are judged and some judgements could not be parsed, the judge is asked for those once more.
    """
    again = _left_open(RunFolder(Path(folder)))
    return await started(JudgeMode(again=again), config, folder, show)


async def merge(
    config: RunConfig, runs: Sequence[Path | str], folder: Path | str, *, show: TextIO | Shown | None = None
) -> Result:
    """Put the accepted items of several runs into one, with one group check over all; the same as `datagen merge`.

    `config` is that of the first run, whose policy holds. Vectors that the runs have made are used again. Raises as
    `run` does.
    """
    return await started(MergeMode(), merging(config, [Path(run) for run in runs]), folder, show)


async def map(config: RunConfig, folder: Path | str, *, show: TextIO | Shown | None = None) -> Result:
    """Ask for new columns of each row of a dataset, `dataset.path`; the same as `datagen map`.

    accepted.jsonl has the rows in their order, each with its new columns. Raises as `run` does.
    """
    return await started(MapMode(), config, folder, show)


async def resumed(config: RunConfig, folder: Path | str, *, show: TextIO | Shown | None = None) -> Result:
    """Continue whatever kind of run the folder holds. Raises as `run` does."""
    return await started(MODES[RunFolder.existing(Path(folder)).mode()], config, folder, show)


async def started(mode: Mode, config: RunConfig, folder: Path | str, show: TextIO | Shown | None) -> Result:
    """A start of a run of that mode in its folder, and another where people turned items away while it went on."""
    there = RunFolder(Path(folder))
    inputs = mode.load(config, there.database if there.database.is_file() else None)
    there.refuse_foreign(inputs.config.dataset.local_files)
    with there.locked():
        while True:
            await asyncio.to_thread(take_in, there)
            async with opened(mode, inputs, there, show=show) as session:
                report = await session.run()
            if not session.goes_on:
                return Result(report.data, there.path)
            inputs = mode.load(config, there.database)


def _left_open(folder: RunFolder) -> bool:
    """Whether a judge run has ended and some answers still have no judgement."""
    if not folder.database.is_file() or folder.mode() != JudgeMode.name or not folder.results.exists():
        return False
    with contextlib.closing(connect(folder.database)) as connection:
        ended = read_starts(connection)[-1].outcome == "target"
    results = orjson.loads(folder.results.read_bytes())
    return ended and any(result["pending"] for result in results["results"])


def with_datasets(config: RunConfig, data: Sequence[Path | str], against: Path | str | None) -> RunConfig:
    """The config with further datasets to evaluate on, each named after its file or folder."""
    spec = config.evaluate
    paths = {each.name: each.path for each in spec.datasets}

    def name_of(given: Path | str) -> str:
        path = str(given) if is_remote(str(given)) else str(Path(given).absolute())
        known = next((name for name, there in paths.items() if there == path), None)
        stem = Path(path).name if Path(path).is_dir() else Path(path).stem
        numbered = chain([stem], builtins.map(f"{stem}-{{}}".format, count(2)))
        name = known or next(name for name in numbered if name not in paths)
        paths[name] = path
        return name

    for path in data:
        name_of(path)
    original = name_of(against) if against is not None else spec.against
    datasets = tuple(EvaluatedData(name=name, path=path) for name, path in paths.items())
    return config.changed(evaluate=spec.model_copy(update={"datasets": datasets, "against": original}))

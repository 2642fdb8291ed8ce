"""The commands that test models: `evaluate`, `judge`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.arguments import Cap, Code, Progress, Sets
from engine.cli.common import finish, in_loop_tuned, mistakes, overrides, report_of, shown

if TYPE_CHECKING:
    from engine.runs.modes import Mode


def evaluate(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA... CONFIG.yaml", help="Datasets, or folders of runs; then the settings."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where answers and results go.")],
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="DATA", help="The original, to compare the others with."),
    ] = None,
    judged: Annotated[
        bool, typer.Option("--judge", help="Have a judge score what no rule can, in the same go.")
    ] = False,
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
    progress: Progress = "auto",
) -> None:
    """Put the items of datasets to models, and score the answers by rule: accuracy, intervals, comparisons."""
    from engine.config import RunConfig
    from engine.errors import ConfigError
    from engine.files.writing import spooled
    from engine.runs.api import evaluate, judge, with_datasets

    with mistakes(), contextlib.ExitStack() as stack:
        *given, named = data
        config = Path(named)
        if config.suffix.lower() not in (".yaml", ".yml"):
            raise ConfigError(f"{config}: the last argument must be the settings, a YAML file")
        if given.count("-") > 1:
            raise ConfigError("-: standard input can be read once")
        datasets = [
            stack.enter_context(spooled(sys.stdin.buffer, out)) if place == "-" else place for place in given
        ]
        loaded = RunConfig.load(config, overrides(set_, None, budget), allow_code=code)
        loaded = with_datasets(loaded, datasets, against)
        begin = judge if judged else evaluate
        finish(in_loop_tuned(lambda: begin(loaded, out, show=shown(progress))), out)


def judge(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of an evaluation.")],
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
    progress: Progress = "auto",
) -> None:
    """Have a judge score the answers that no rule can; nothing that is answered is asked again."""
    from engine.config import RunConfig
    from engine.errors import ConfigError
    from engine.runs.api import judge
    from engine.runs.modes import MODES
    from engine.store.folder import RunFolder

    with mistakes():
        there = RunFolder.existing(folder)
        mode = MODES[there.mode()]
        if not mode.answers:
            raise ConfigError(
                f"{folder}: is not the folder of an evaluation, but of a run (mode {mode.name})"
            )
        _check_finished(folder, mode)
        loaded = RunConfig.load(there.config, overrides(set_, None, budget), allow_code=code)
        finish(in_loop_tuned(lambda: judge(loaded, folder, show=shown(progress))), folder)


def _check_finished(folder: Path, mode: Mode) -> None:
    """A judge needs all answers: raises ConfigError if questions have not been asked yet."""
    from engine.errors import ConfigError

    items = report_of(folder)[0].data["items"]
    asked = items["accepted"] + items["rejected"]
    if mode.name == "evaluate" and asked < items["target"]:
        raise ConfigError(
            f"{folder}: is not finished: {asked:,} of {items['target']:,} questions are asked; "
            f"go on first: datagen resume {folder}"
        )

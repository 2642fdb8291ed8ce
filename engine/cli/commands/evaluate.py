"""The commands that put models to the test: `evaluate`, `judge`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.common import EXITS, mistakes, overrides, report_of, show

if TYPE_CHECKING:
    from engine.report.summary import Report

Cap = Annotated[float | None, typer.Option("--budget", help="Ceiling in US dollars (limits.budget_usd).")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set any key of the config.")
]


def evaluate(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA... CONFIG.yaml", help="Datasets, or folders of runs; then the settings."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where answers and results go.")],
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="DATA", help="The original, to compare the others with."),
    ] = None,
    judged: Annotated[
        bool, typer.Option("--judge", help="Have a judge score what no rule can, in the same go.")
    ] = False,
    budget: Cap = None,
    set_: Sets = None,
) -> None:
    """Put the items of datasets to models, and score the answers by rule: accuracy, intervals, comparisons."""
    from engine.config import RunConfig
    from engine.errors import ConfigError
    from engine.runs.api import evaluate, judge, with_datasets
    from engine.store.files import spooled

    with mistakes():
        *datasets, config = data
        if config.suffix.lower() not in (".yaml", ".yml"):
            raise ConfigError(f"{config}: the last argument must be the settings, a YAML file")
        datasets = [spooled(sys.stdin.buffer, out) if str(path) == "-" else path for path in datasets]
        given = {**overrides(set_, None, budget), "generate.few_shot": 0, "generate.target": 1}
        loaded = with_datasets(RunConfig.load(config, given), datasets, against)
        begin = judge if judged else evaluate
        _finish(lambda: begin(loaded, out, show=sys.stderr), out)


def judge(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of an evaluation.")],
    budget: Cap = None,
    set_: Sets = None,
) -> None:
    """Have a judge score the answers that no rule can; nothing that is answered is asked again."""
    from engine.config import RunConfig
    from engine.errors import ConfigError
    from engine.runs.api import judge
    from engine.store.folder import RunFolder

    with mistakes():
        there = RunFolder.existing(folder)
        if there.mode() not in ("evaluate", "judge"):
            raise ConfigError(
                f"{folder}: is not the folder of an evaluation, but of a run (mode {there.mode()})"
            )
        _check_finished(folder, there.mode())
        loaded = RunConfig.load(there.config, overrides(set_, None, budget))
        _finish(lambda: judge(loaded, folder, show=sys.stderr), folder)


def _check_finished(folder: Path, mode: str) -> None:
    """A judge is asked about answers; raises ConfigError where questions are still to be asked."""
    from engine.errors import ConfigError

    items = report_of(folder)[0].data["items"]
    asked = items["accepted"] + items["rejected"]
    if mode == "evaluate" and asked < items["target"]:
        raise ConfigError(
            f"{folder}: is not finished: {asked:,} of {items['target']:,} questions are asked; "
            f"go on first: datagen resume {folder}"
        )


def _finish(work: Callable[[], Coroutine[Any, Any, Report]], folder: Path) -> None:
    from engine.runs.api import in_loop

    report = in_loop(work)
    tell_results(report, folder)
    raise typer.Exit(EXITS[report.outcome])


def tell_results(report: Report, folder: Path) -> None:
    """How an evaluation ended, and what it has found so far."""
    import orjson

    from engine.evaluation.tables import listings
    from engine.report.tables import evaluation_lines, listed
    from engine.store.folder import RunFolder

    there = RunFolder(folder)
    found = orjson.loads(there.results.read_bytes()) if there.results.exists() else None
    for listing in listings(found) if found is not None else ():
        show(listed(listing))
        typer.echo()
    for line in evaluation_lines(report, folder, found):
        typer.echo(line)

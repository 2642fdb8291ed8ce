"""Commands of a run itself: `run`, `resume`, `status`, and `convert` for configs of the paper's code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.arguments import (
    Cap,
    Code,
    Config,
    On,
    Progress,
    RayAddress,
    RunDir,
    Sets,
    Target,
    View,
    Workers,
)
from engine.cli.commands.view import viewed
from engine.cli.common import (
    finish,
    in_loop_tuned,
    mistakes,
    mode_of,
    overrides,
    report_of,
    say,
    say_json,
    show,
    shown,
    spread_overrides,
    tell,
)

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.report.live import Snapshots
    from engine.report.showing import Shown
    from engine.store.folder import RunFolder


def run(
    config: Config,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="RUN_DIR", help="Default: runs/ and the config's name."),
    ] = None,
    target: Target = None,
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
    progress: Progress = "auto",
    workers: Workers = None,
    on: On = None,
    ray_address: RayAddress = None,
    view: View = False,
) -> None:
    """Start a run, or continue it: the same line again is the resume."""
    from engine.config import RunConfig
    from engine.runs.api import arun

    with mistakes():
        folder = out or Path("runs") / config.stem
        given = overrides(set_, target, budget) | spread_overrides(workers, on, ray_address)
        loaded = RunConfig.load(config, given, allow_code=code)
        _tell_translation(loaded, config)
        with viewed(folder, wanted=view):
            report = in_loop_tuned(lambda: arun(loaded, folder, show=shown(progress)))
        finish(report, folder)


def resume(
    run_dir: RunDir,
    target: Target = None,
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
    progress: Progress = "auto",
    workers: Workers = None,
    on: On = None,
    ray_address: RayAddress = None,
    view: View = False,
) -> None:
    """Continue a run from its folder alone."""
    from engine.config import RunConfig
    from engine.runs.api import resumed
    from engine.store.folder import RunFolder

    with mistakes():
        folder = RunFolder.existing(run_dir)
        given = overrides(set_, target, budget) | spread_overrides(workers, on, ray_address)
        loaded = RunConfig.load(folder.config, given, allow_code=code)
        with viewed(run_dir, wanted=view):
            report = in_loop_tuned(lambda: resumed(loaded, run_dir, show=shown(progress)))
        finish(report, run_dir)


def status(
    run_dir: RunDir, json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False
) -> None:
    """Where a run stands, live or stopped."""
    from engine.report.tables import status_table
    from engine.report.workers import worker_line

    with mistakes():
        report, running = report_of(run_dir)
        if json:
            say_json({**report.data, "running": running})
        else:
            show(status_table(report, running, mode_of(report).summary(report.data)))
            for entry in report.data.get("workers", {}).get("workers", ()) if running else ():
                say(worker_line(entry))
            _say_batches(run_dir)


def watch(run_dir: RunDir, progress: Progress = "auto") -> None:
    """Watch a run that another process makes, until it ends; Ctrl-C leaves it alone."""
    from engine.flow.loop import in_loop
    from engine.report.tables import status_table
    from engine.runs.watching import snapshots_of
    from engine.store.folder import RunFolder

    with mistakes():
        folder = RunFolder.existing(run_dir)
        snapshots, display = snapshots_of(folder), shown(progress)
        if folder.in_use():
            in_loop(lambda: _watched(folder, snapshots, display))
        report, running = report_of(run_dir)
        show(status_table(report, running, mode_of(report).summary(report.data)))


async def _watched(folder: RunFolder, snapshots: Snapshots, display: Shown) -> None:
    import asyncio

    async with display.during(snapshots):
        while await asyncio.to_thread(folder.in_use):  # noqa: ASYNC110 - another process is waited for
            await asyncio.sleep(1.0)


def _say_batches(run_dir: Path) -> None:
    """What the providers say of batches that are under way."""
    from engine.config import RunConfig
    from engine.flow.loop import in_loop
    from engine.runs.batches import look, open_parts
    from engine.store.folder import RunFolder

    folder = RunFolder.existing(run_dir)
    parts = open_parts(folder)
    if not parts:
        return
    config = RunConfig.load(folder.config)
    told, why = in_loop(lambda: look(config, folder))
    for part in parts:
        each = told.get(part.number)
        said = f"{each.said}, {each.done:,} of {part.calls:,} done" if each is not None else f"{part.state}"
        say(f"part {part.number}, wave {part.wave}: {said}   {part.batch_id} at {part.endpoint}")
    if why:
        say(f"The provider could not be asked: {why}")


def convert(
    config: Annotated[Path, typer.Argument(metavar="THEIR.yaml", help="A config of the paper's own code.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="OURS.yaml", help="Standard output where absent.")
    ] = None,
) -> None:
    """Translate a config of the paper's own code, and say what became of its keys."""
    from engine.config import RunConfig
    from engine.errors import ConfigError
    from engine.files.writing import replacing
    from engine.planning.guidance import check_without_base

    with mistakes():
        theirs = RunConfig.load(config, lenient=True)
        translation = theirs.translation()
        if translation is None:
            raise ConfigError(f"{config}: is not a config of the paper's code; there is nothing to translate")
        check_without_base(theirs)
        settings, notes = translation
        for note in notes:
            tell(note)
        if out is None:
            say(_yaml(settings), nl=False)
        else:
            with replacing(out) as file:
                file.write(_yaml(settings))


def _tell_translation(config: RunConfig, path: Path) -> None:
    translation = config.translation()
    if translation is not None:
        settings, notes = translation
        tell(f"{path} is a config of the paper's own code; it is run as:\n\n{_yaml(settings)}")
        for note in notes:
            tell(note)


def _yaml(settings: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100)

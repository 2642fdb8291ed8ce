"""Commands over the rows of existing datasets: `map`, `audit`, `enhance`, `merge`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.arguments import Cap, Code, Config, Data, On, Progress, RayAddress, Sets, Workers
from engine.cli.common import finish, in_loop_tuned, mistakes, overrides, shown, spread_overrides

if TYPE_CHECKING:
    from engine.report.summary import Report


def map(
    data: Data,
    config: Config,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="RUN_DIR", help="Default: runs/, the config's name and -map."),
    ] = None,
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
    progress: Progress = "auto",
    workers: Workers = None,
    on: On = None,
    ray_address: RayAddress = None,
) -> None:
    """Ask for new columns of each row: answers, labels, translations, ratings; each row keeps its place."""
    from engine.runs.api import map

    folder, where = out or Path("runs") / f"{config.stem}-map", (workers, on, ray_address)
    _over_rows(map, data, config, folder, budget, set_, code, where, progress)


def audit(
    data: Data,
    config: Config,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="RUN_DIR", help="Default: runs/, the config's name and -audit."),
    ] = None,
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
    progress: Progress = "auto",
    workers: Workers = None,
    on: On = None,
    ray_address: RayAddress = None,
) -> None:
    """Run the configured validators over an existing dataset: which rows hold, which were corrected, which not."""
    from engine.runs.api import audit

    folder, where = out or Path("runs") / f"{config.stem}-audit", (workers, on, ray_address)
    _over_rows(audit, data, config, folder, budget, set_, code, where, progress)


def enhance(
    data: Data,
    config: Config,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="RUN_DIR", help="The run's folder.")],
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
    progress: Progress = "auto",
    workers: Workers = None,
    on: On = None,
    ray_address: RayAddress = None,
) -> None:
    """Make the items of an existing dataset harder where their answer survives it; the others stay as they are."""
    from engine.runs.api import enhance

    _over_rows(enhance, data, config, out, budget, set_, code, (workers, on, ray_address), progress)


def merge(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN_DIR...", help="The folders of two or more runs.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The merged run's folder.")],
    set_: Sets = None,
    code: Code = False,
    progress: Progress = "auto",
) -> None:
    """Put the accepted items of several runs into one, with one group check over all, by the policy of the first."""
    from engine.config import RunConfig
    from engine.runs.api import merge
    from engine.store.folder import RunFolder

    with mistakes():
        first = RunFolder.existing(runs[0]).config
        given = overrides(set_, None, None)
        lenient = RunConfig.load(first, given, lenient=True)
        asks = lenient.embedding.endpoint is not None  # only then a key is needed
        loaded = RunConfig.load(first, given, allow_code=code) if asks or any(lenient.code()) else lenient
        finish(in_loop_tuned(lambda: merge(loaded, runs, out, show=shown(progress))), out)


def _over_rows(
    work: Callable[..., Coroutine[Any, Any, Report]],
    data: str,
    config: Path,
    folder: Path,
    budget: float | None,
    sets: list[str] | None,
    code: bool,
    where: tuple[str | None, str | None, str | None],
    progress: Progress,
) -> None:
    """A run over the rows of an existing dataset."""
    from engine.config import RunConfig
    from engine.config.paths import is_remote
    from engine.files.writing import spooled

    with mistakes(), contextlib.ExitStack() as stack:
        given = str(stack.enter_context(spooled(sys.stdin.buffer, folder))) if data == "-" else data
        source = given if is_remote(given) else str(Path(given).absolute())
        settings = {**overrides(sets, None, budget), **spread_overrides(*where), "dataset.path": source}
        loaded = RunConfig.load(config, settings, allow_code=code)
        finish(in_loop_tuned(lambda: work(loaded, folder, show=shown(progress))), folder)

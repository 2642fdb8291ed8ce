"""Shared by the commands: errors as exit codes, config keys from the command line, output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from engine.cli.interrupts import over, unwinding
from engine.escaping import printable, printable_json
from engine.veil import veiled

if TYPE_CHECKING:
    from engine.report.showing import Kind, Shown
    from engine.report.summary import Report
    from engine.runs.modes import Mode
    from engine.runs.preflight import Finding
    from engine.store.folder import RunFolder

EXITS = {"target": 0, "budget": 3, "fatal": 4, "attempts": 5, "interrupted": 130}
T = TypeVar("T")
WRONG = 2
FATAL = 4


@contextlib.contextmanager
def mistakes() -> Iterator[None]:
    """Turns the engine's errors into one plain message each and an exit code."""
    import sqlite3

    from engine.errors import ConfigError, EngineError

    unwinding()
    try:
        try:
            yield
        finally:
            over()
    except ConfigError as error:
        say(f"datagen: {error}", err=True)
        raise typer.Exit(WRONG) from None
    except EngineError as error:
        say(f"datagen: {error}", err=True)
        raise typer.Exit(FATAL) from None
    except sqlite3.Error as error:
        say(
            f"datagen: run.db is damaged ({error}); rescue what is readable: datagen repair RUN_DIR", err=True
        )
        raise typer.Exit(FATAL) from None
    except OSError as error:
        raise typer.Exit(_said(error)) from None
    except KeyboardInterrupt:  # before a run has begun, or after it has ended: nothing to drain
        say("datagen: interrupted", err=True)
        raise typer.Exit(EXITS["interrupted"]) from None


def _said(error: OSError) -> int:
    """Says in a sentence what the system refuses; the exit code."""
    import errno
    import os

    if isinstance(error, BrokenPipeError):  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    where = f"{error.filename}: " if error.filename is not None else "the output cannot be written: "
    with contextlib.suppress(OSError):
        say(f"datagen: {where}{error.strerror or error}", err=True)
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more is tried at the exit
    return WRONG if error.errno in (errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EISDIR) else FATAL


def overrides(sets: list[str] | None, target: int | None, budget: float | None) -> dict[str, Any]:
    """Dotted keys and values from the command line. Raises ConfigError."""
    from engine.config.file import scalar
    from engine.errors import ConfigError

    given: dict[str, Any] = {}
    for entry in sets or ():
        key, equals, value = entry.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {entry}: must be KEY=VALUE, such as limits.concurrency=128")
        given[key.strip()] = scalar(value)
    if target is not None:
        given["generate.target"] = target
    if budget is not None:
        given["limits.budget_usd"] = budget
    return given


def spread_overrides(workers: str | None, on: str | None, address: str | None) -> dict[str, Any]:
    """The same of the options that say where the work is done. Raises ConfigError."""
    from engine.errors import ConfigError

    given: dict[str, Any] = {}
    if workers is not None:
        if workers != "auto" and not workers.isdecimal():
            raise ConfigError(f"--workers {workers}: must be a number of processes, or auto")
        given["spread.workers"] = workers if workers == "auto" else int(workers)
    if on is not None and on.startswith("ray://"):
        on, address = "ray", address or on
    if on is not None:
        given["spread.on"] = on
    if address is not None:
        given["spread.address"] = address
    return given


def say(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Prints a text that may hold anybody's words: no secret and nothing that controls a terminal is in it."""
    typer.echo(printable(veiled(text)), err=err, nl=nl)


def say_finding(finding: Finding) -> None:
    """Prints what was found in one line: whether it is well, and what to do."""
    mark = {True: "ok", False: "FAILED", None: "note"}[finding.ok]
    say(f"{finding.name:<20} {mark:<7} {finding.detail}")


def say_json(value: Any) -> None:
    """Prints a value as indented JSON, which reads back the same."""
    import orjson

    typer.echo(printable_json(veiled(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())))


def tell(sentence: str) -> None:
    """Prints progress to standard error."""
    say(sentence, err=True)


def show(table: Any) -> None:
    """Prints a rich table on standard output."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    Console(width=width, markup=False, highlight=False).print(table)


def report_of(run_dir: Path) -> tuple[Report, bool]:
    """A run's current report, and whether a process is using its folder. Raises ConfigError, StoreError."""
    from engine.runs.reports import read_report
    from engine.store.folder import RunFolder

    return read_report(RunFolder.existing(run_dir))


def existing_of_items(run_dir: Path) -> RunFolder:
    """The folder of a run whose items are a dataset. Raises ConfigError for one whose items are answers."""
    from engine.errors import ConfigError
    from engine.runs.modes import MODES
    from engine.store.folder import RunFolder

    folder = RunFolder.existing(run_dir)
    if MODES[folder.mode()].answers:
        raise ConfigError(f"{run_dir}: is the folder of an evaluation; its results are in {folder.results}")
    return folder


def mode_of(report: Report) -> Mode:
    """The kind of run that a report describes."""
    from engine.runs.modes import MODES

    return MODES[report.data["mode"]]


def in_loop_tuned(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `work` to the end, with process-wide settings that a command may change but a library may not."""
    from engine.flow.descriptors import raise_limit
    from engine.flow.loop import in_loop, rarer_collections

    async def whole() -> T:
        result = await work()
        over()
        return result

    raise_limit()
    rarer_collections()
    return in_loop(whole)


def shown(progress: Kind) -> Shown:
    """Where a start shows what it does."""
    from engine.report.showing import shown_on

    return shown_on(sys.stderr, progress)


def finish(report: Report, folder: Path) -> None:
    """Print how a run ended, and exit with the matching code."""
    mode = mode_of(report)
    with contextlib.suppress(OSError):  # a closed output does not change the outcome of the run
        if mode.answers:
            _say_results(report, folder, mode)
        else:
            from engine.report.tables import outcome_lines

            _show_tables(folder, mode)
            for line in outcome_lines(report, folder, mode.summary(report.data)):
                say(line)
    raise typer.Exit(EXITS[report.outcome])


def _show_tables(folder: Path, mode: Mode) -> None:
    """Prints the mode's own tables."""
    from engine.config import RunConfig
    from engine.report.tables import listed
    from engine.store.folder import RunFolder
    from engine.store.reading import connect

    there = RunFolder(folder)
    if not mode.tables:
        return
    with contextlib.closing(connect(there.database)) as connection:
        listings = mode.listings(connection, RunConfig.load(there.config, lenient=True), there)
    for listing in listings:
        show(listed(listing))
        if listing.said:
            say(listing.said)
        say()


def _say_results(report: Report, folder: Path, mode: Mode) -> None:
    """Prints how an evaluation ended, and its results so far."""
    import orjson

    from engine.evaluation.tables import listings
    from engine.report.tables import evaluation_lines, listed
    from engine.store.folder import RunFolder

    there = RunFolder(folder)
    results = orjson.loads(there.results.read_bytes()) if there.results.exists() else None
    for listing in listings(results) if results is not None else ():
        show(listed(listing))
        say()
    for line in evaluation_lines(report, folder, results, mode.completed, mode.unscored):
        say(line)


@contextlib.contextmanager
def with_standard_input(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """The paths; inside the block, a file with standard input replaces '-'. Raises ConfigError."""
    import shutil
    import tempfile

    from engine.errors import ConfigError

    named = [place for place, path in enumerate(paths) if str(path) == "-"]
    if len(named) > 1:
        raise ConfigError("-: standard input can be read once")
    if not named:
        yield list(paths)
        return
    with tempfile.TemporaryDirectory(prefix="datagen-") as folder:
        file = Path(folder) / "standard-input.jsonl"
        with file.open("wb") as taken:
            shutil.copyfileobj(sys.stdin.buffer, taken)
        yield [file if place in named else path for place, path in enumerate(paths)]

"""The command that shows runs in a browser: `view`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.common import mistakes, tell
from engine.cli.interrupts import Interrupted


def view(
    place: Annotated[
        Path, typer.Argument(metavar="[RUN_DIR]", help="A run's folder, or a folder with runs in it.")
    ] = Path(),
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Where to listen; a free port where absent."),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on. Other than loopback: with --token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            "--token", envvar="DATAGEN_VIEW_TOKEN", help="The token to ask for; a random one where absent."
        ),
    ] = None,
) -> None:
    """Look at runs in a browser: live, every item with what stands behind it, near-duplicates, batches, costs.

    Only reads, while a run goes on as well. Whoever has the address with its token can look.
    """
    with mistakes():
        from engine.errors import ConfigError
        from engine.flow.loop import in_loop
        from engine.view.serving import LOOPBACK, serve

        if host not in (LOOPBACK, "localhost") and token is None:
            raise ConfigError(
                f"--host {host}: lets other machines read every item over plain HTTP; give --token a secret of your own"
                " if that is meant, or leave --host out and use an SSH tunnel"
            )
        if token is not None and len(token) < 16:
            raise ConfigError("--token: must have at least 16 characters")
        in_loop(lambda: serve(place, tell, port=port, host=host, token=token, browser=not no_open))
        raise Interrupted  # nothing else ends it


@contextmanager
def viewed(folder: Path, *, wanted: bool) -> Iterator[None]:
    """Shows a run's folder for the block, in a process of its own: the run does not wait for whoever looks."""
    if not wanted:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "engine.cli", "view", str(folder)]
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - Ctrl-C is for the run
    try:
        yield
    finally:
        process.terminate()
        process.wait()
        with contextlib.suppress(OSError):
            folder.rmdir()  # where nothing was begun
        if folder.exists():
            tell(f"To look at it again: datagen view {folder}")

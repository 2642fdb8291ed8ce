"""`datagen worker`: lends this machine to a run whose head is elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli.common import in_loop_tuned, mistakes, tell


def worker(
    head: Annotated[
        str, typer.Option("--head", metavar="HOST:PORT", help="Where the run listens (spread.listen).")
    ],
) -> None:
    """Work for a run on another machine, until it ends. Its token is taken from DATAGEN_WORKER_TOKEN.

    SIGTERM and Ctrl-C let what is here be finished first. Exit codes: 0 the run needs no more,
    or this worker was asked to end; 2 the head does not take
    this worker, 4 the head is gone.
    """
    from engine.runs.worker import work_for

    with mistakes():
        tell(f"Ended: {in_loop_tuned(lambda: work_for(head, tell))}.")

"""The command that stops a run's batches at their providers: `cancel`."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli.arguments import RunDir
from engine.cli.common import mistakes, say, tell


def cancel(
    run_dir: RunDir,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="Give up batches that the provider does not know any more; they count at the most they may cost.",
        ),
    ] = False,
) -> None:
    """Stop a run's batches at their providers, and keep what they have answered."""
    from engine.config import RunConfig
    from engine.flow.loop import in_loop
    from engine.items import usd
    from engine.runs.batches import stop
    from engine.store.folder import RunFolder

    with mistakes():
        folder = RunFolder.existing(run_dir)
        config = RunConfig.load(folder.config)
        with folder.locked():
            stopped = in_loop(lambda: stop(config, folder, tell, forget=forget))
        if not stopped.parts:
            say("No batch of this run is under way.")
            return
        ended = stopped.parts - stopped.left - stopped.gone
        if ended:
            say(
                f"Batches stopped: {ended}; {stopped.answered:,} calls had been answered and are kept, for "
                f"${usd(stopped.spent):.6f}."
            )
        if stopped.gone:
            say(
                f"Given up: {stopped.gone}, at the most that they may have cost, ${usd(stopped.forgotten):.6f}."
            )
        if stopped.left:
            say(f"Not ended yet: {stopped.left}. The next start collects what they have answered.")
        say(f"The run continues with datagen resume {run_dir}")

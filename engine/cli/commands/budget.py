"""The command that shows what a run has spent, and takes the provider's own figure for it: `budget`."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli.arguments import RunDir
from engine.cli.common import mistakes, say


def budget(
    run_dir: RunDir,
    settled: Annotated[
        float | None,
        typer.Option(
            "--settle", metavar="USD", min=0, help="What the provider has billed for the run so far."
        ),
    ] = None,
) -> None:
    """What a run has spent, and what of it is not confirmed; --settle puts the provider's own figure in place."""
    from engine.items import usd
    from engine.store.folder import RunFolder
    from engine.store.settling import account_of, settle

    with mistakes():
        folder = RunFolder.existing(run_dir)
        if settled is None:
            account = account_of(folder.database)
        else:
            with folder.locked():
                account = settle(folder.database, settled)
        say(f"Spent: ${usd(account.spent):.6f}, which counts against the cap.")
        if account.aside:
            say(f"Set aside for batches that are under way: ${usd(account.aside):.6f}.")
        say(f"Not confirmed by a reply: ${usd(account.unconfirmed):.6f} of the run's own count.")
        if account.settled is not None:
            say(f"The provider's figure of ${usd(account.settled):.6f} stands for all that came before it.")

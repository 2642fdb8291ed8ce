"""The command that writes a run's page again: `report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.arguments import RunDir
from engine.cli.common import existing_of_items, mistakes, mode_of, report_of, tell

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.store.folder import RunFolder


def report(
    run_dir: RunDir,
    vectors: Annotated[
        bool,
        typer.Option(
            "--vectors", help="Make vectors of items and originals, for the map of a run without any."
        ),
    ] = False,
) -> None:
    """Write report.html again, from the run as it stands."""
    from engine.config import RunConfig
    from engine.runs.page import write_page
    from engine.store.folder import RunFolder

    with mistakes():
        folder = existing_of_items(run_dir) if vectors else RunFolder.existing(run_dir)
        config = RunConfig.load(folder.config, lenient=True)
        if vectors:
            _map(folder, config)
        report = report_of(run_dir)[0]
        write_page(folder, config, report, mode_of(report))
        tell(f"Written to {folder.page}")


def _map(folder: RunFolder, config: RunConfig) -> None:
    """Makes the map with the run's local embedding model and journals it. Raises ConfigError during a run."""
    from engine.analysis.maps import mapped
    from engine.flow.loop import in_loop

    with folder.locked():
        if not in_loop(lambda: mapped(folder, config, tell)):
            tell("There are too few items for a map.")

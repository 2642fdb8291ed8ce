"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from engine.cli.completing import configs, run_folders, settings

Config = Annotated[
    Path, typer.Argument(metavar="CONFIG.yaml", help="The run's settings.", autocompletion=configs)
]
RunDir = Annotated[
    Path, typer.Argument(metavar="RUN_DIR", help="The folder of a run.", autocompletion=run_folders)
]
Target = Annotated[int | None, typer.Option(min=1, help="Accepted items wanted (generate.target).")]
Cap = Annotated[float | None, typer.Option("--budget", help="Ceiling in US dollars (limits.budget_usd).")]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A file, a pattern, a folder (also a run's) or an address; '-' is JSON lines on standard input.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any key of the config, e.g. limits.concurrency=128.",
        autocompletion=settings,
    ),
]
Code = Annotated[
    bool, typer.Option("--allow-code", help="Run the code that the config names (embedding.function).")
]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Processes that do the work of checks and prompts (spread.workers); auto: one a core.",
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="local|ray", help="Where workers are started (spread.on); ray://HOST:PORT names a cluster."
    ),
]
View = Annotated[bool, typer.Option("--view", help="Show it in a browser as it goes on; see `datagen view`.")]
RayAddress = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="The Ray cluster (spread.address).")
]
Progress = Annotated[
    Literal["auto", "plain", "rich", "json", "none"],
    typer.Option(
        "--progress", help="On standard error: a panel on a terminal, else lines; json: an object a line."
    ),
]

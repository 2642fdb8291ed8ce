"""The command that exports a run's items: `export`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.common import existing_of_items, mistakes, report_of, tell

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.store.folder import RunFolder


def export(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The folder of a run.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="PATH", help="'-' is standard output.")],
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            help="jsonl, json, csv, parquet, hf, alpaca, sharegpt or openai; by the ending of PATH, else jsonl.",
        ),
    ] = None,
    meta: Annotated[bool, typer.Option("--meta", help="Keep _meta: how each item came to be.")] = False,
    test: Annotated[
        float,
        typer.Option("--test", metavar="SHARE", help="Hold out this share, near-duplicates together."),
    ] = 0.0,
    originals: Annotated[
        float,
        typer.Option(
            "--originals", metavar="SHARE", help="Mix in base rows until they are this share of all."
        ),
    ] = 0.0,
    apart: Annotated[
        str, typer.Option("--apart", help="For --test, how near-duplicates are told: auto, vectors or words.")
    ] = "auto",
    closeness: Annotated[
        float, typer.Option("--closeness", help="For --test: the cosine from which rows stay on one side.")
    ] = 0.9,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For what is drawn by chance.")] = 0,
    csv_raw: Annotated[
        bool,
        typer.Option("--csv-raw", help="In CSV, no quote before what a spreadsheet would run as a formula."),
    ] = False,
) -> None:
    """Write the accepted items of a run in another tool's format; mixed with originals, or cut in two, if wanted."""
    from engine.config import RunConfig
    from engine.errors import ConfigError
    from engine.export.card import dataset_card
    from engine.export.formats import export, form_of, parts
    from engine.export.mixture import Wanted, mixture_of

    with mistakes():
        folder = existing_of_items(run_dir)
        format = format or form_of(out)
        config = RunConfig.load(folder.config, lenient=True)
        wanted = Wanted(test, originals, apart, closeness, seed)
        places = parts(("train", "test") if test else ("",), format, out)
        _spare(places.values(), folder, config)
        with mixture_of(folder, config, wanted, tell) as ready:
            if not sum(ready.counts.values()):
                raise ConfigError(f"{run_dir}: holds no accepted item to export")
            card = ""
            if format == "hf":
                card = dataset_card(report_of(run_dir)[0], config, ready.counts, ready.originals)
            description = config.dataset.description
            count = export(
                ready.splits, format, out, ready.fields, description, meta=meta, card=card, raw_csv=csv_raw
            )
        tell(f"{count:,} items written to {' and '.join(dict.fromkeys(map(str, places.values())))}")


def _spare(places: Iterable[Path], folder: RunFolder, config: RunConfig) -> None:
    """Raises ConfigError if the run or its base dataset would be overwritten."""
    from engine.errors import ConfigError

    runs = [file.resolve() for file in (folder.path, *folder.files)]
    for place in places:
        if place.resolve() in runs:
            raise ConfigError(f"-o {place}: is a file of the run itself, or its folder; choose another place")
        if config.dataset.path is not None and place.resolve() == config.dataset.path.resolve():
            raise ConfigError(f"-o {place}: is the base dataset; choose another place")

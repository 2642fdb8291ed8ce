"""The command that hands a run's items on: `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.commands.common import mistakes, report_of, tell


def export(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The folder of a run.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="PATH", help="'-' is standard output.")],
    format: Annotated[
        str,
        typer.Option("-f", "--format", help="jsonl, json, csv, parquet, hf, alpaca, sharegpt or openai."),
    ] = "jsonl",
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
) -> None:
    """Write the accepted items of a run in another tool's format; mixed with originals, or cut in two, if wanted."""
    from engine.augmentation import Wanted, prepared
    from engine.config import RunConfig
    from engine.errors import ConfigError
    from engine.report.card import dataset_card
    from engine.store.export import export
    from engine.store.folder import RunFolder

    with mistakes():
        folder = RunFolder.existing(run_dir)
        if out.resolve() in [file.resolve() for file in (folder.path, *folder.files)]:
            raise ConfigError(f"-o {out}: is a file of the run itself, or its folder; choose another place")
        for name, share in (("--test", test), ("--originals", originals)):
            if not 0 <= share < 1:
                raise ConfigError(f"{name} {share:g}: must be a share from 0 up to, and without, 1")
        if apart not in ("auto", "vectors", "words"):
            raise ConfigError(f"--apart {apart}: there is no such way; allowed: auto, vectors, words")
        config = RunConfig.load(folder.config, lenient=True)
        wanted = Wanted(test, originals, apart, closeness, seed)  # type: ignore[arg-type]
        ready = prepared(folder, config, wanted, tell)
        card = ""
        if format == "hf":
            card = dataset_card(report_of(run_dir)[0], config, ready.counts, ready.originals)
        description = config.dataset.description
        count = export(ready.splits, format, out, ready.fields, description, meta=meta, card=card)
        tell(f"{count:,} items written to {out}")

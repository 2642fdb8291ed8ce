"""The commands on datasets that need no run: `metrics`, `groupcheck`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.common import mistakes, say, say_json, show, tell, with_standard_input

FieldsFrom = Annotated[
    Path | None,
    typer.Option("--config", metavar="CONFIG.yaml", help="Read the fields as this run's config does."),
]
Text = Annotated[str | None, typer.Option("--text", metavar="FIELD", help="Which field is the text.")]
Label = Annotated[str | None, typer.Option("--label", metavar="FIELD", help="Which field is the label.")]
Model = Annotated[
    str, typer.Option("--model", metavar="NAME", help="The sentence-transformers model, by name or by path.")
]
Against = Annotated[
    Path | None, typer.Option("--against", metavar="DATA", help="A base dataset to compare with.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="For what is sampled.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")]
MINILM = "all-MiniLM-L6-v2"


def metrics(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA...", help="Datasets, or folders of runs; '-' is JSON lines on standard input."
        ),
    ],
    against: Against = None,
    config: FieldsFrom = None,
    text: Text = None,
    label: Label = None,
    model: Model = MINILM,
    words_only: Annotated[bool, typer.Option("--words-only", help="No vectors: needs no model.")] = False,
    seed: Seed = 0,
    json: AsJson = False,
) -> None:
    """How diverse datasets are, side by side; at equal size where their sizes differ."""

    from engine.analysis.datasets import FieldNames
    from engine.analysis.measures import load
    from engine.analysis.tables import metrics_tables
    from engine.config.diversity import EmbeddingConfig
    from engine.flow.loop import in_loop

    with mistakes(), with_standard_input(data) as files:
        names = FieldNames(config, text, label)
        embedding = None if words_only else EmbeddingConfig(model=model)
        measured = in_loop(lambda: load(files, against, names, embedding, tell)).measured(seed)
        if json:
            say_json(measured)
        else:
            for table in metrics_tables(measured):
                show(table)


def groupcheck(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A .json, .jsonl, .csv or .parquet file; '-' is JSON lines on standard input.",
        ),
    ],
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Propose a threshold for this kind of data; check nothing.")
    ] = False,
    against: Against = None,
    same: Annotated[
        str, typer.Option("--same", help="auto, text, meaning, meaning+numbers or meaning+answer.")
    ] = "auto",
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Cosine, above 0 and up to 1.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="PATH", help="Write the rows that stay, as JSON lines."),
    ] = None,
    config: FieldsFrom = None,
    text: Text = None,
    label: Label = None,
    model: Model = MINILM,
    seed: Seed = 0,
    json: AsJson = False,
) -> None:
    """Find rows that say the same as an earlier one, or propose from which similarity on they do."""
    import orjson

    from engine.analysis.datasets import FieldNames
    from engine.analysis.duplicates import calibrate as calibrated
    from engine.analysis.duplicates import near_duplicates, write_kept
    from engine.analysis.tables import calibration_tables, duplicates_lines
    from engine.config.diversity import EmbeddingConfig
    from engine.flow.loop import in_loop

    with mistakes(), with_standard_input([data]) as [file]:
        _check_options(same, threshold)
        _check_output(out, (data, against))
        names, embedding = FieldNames(config, text, label), EmbeddingConfig(model=model)
        if calibrate:
            confusions = in_loop(lambda: calibrated(file, names, embedding, seed, tell))
            if json:
                say_json([confusion.as_dict() for confusion in confusions])
            for table in calibration_tables(confusions) if not json else ():
                show(table)
            return
        duplicates = in_loop(lambda: near_duplicates(file, against, names, same, threshold, embedding, tell))
        for line in [orjson.dumps(duplicates.as_dict()).decode()] if json else duplicates_lines(duplicates):
            say(line)
        if out is not None:
            say(f"{write_kept(file, duplicates, out):,} rows written to {out}", err=True)


def _check_options(same: str, threshold: float | None) -> None:
    """Raises ConfigError."""
    from engine.diversity.sameness import KEYS
    from engine.errors import ConfigError

    if same not in ("auto", *KEYS):
        raise ConfigError(f"--same {same}: there is no such kind; allowed: auto, {', '.join(KEYS)}")
    if threshold is not None and not 0 < threshold <= 1:
        raise ConfigError(f"--threshold {threshold:g}: must be above 0 and up to 1")
    if threshold is not None and same == "text":
        raise ConfigError("--threshold: --same text compares no vectors, so a threshold has no use")


def _check_output(out: Path | None, read: Sequence[Path | None]) -> None:
    """Raises ConfigError if an input file would be overwritten."""
    from engine.errors import ConfigError

    if out is not None and out.resolve() in [path.resolve() for path in read if path is not None]:
        raise ConfigError(f"-o {out}: is one of the datasets that are read; choose another")

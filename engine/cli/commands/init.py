"""The command that begins with a dataset: `init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.common import mistakes, overrides, say, tell


def init(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA]", help="Files, a folder, a pattern, or an address (hf://datasets/OWNER/NAME)."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="Begin with a recipe, over DATA or its own rows; 'list' names them all.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="CONFIG.yaml", help="Standard output where absent."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="How the files are read, e.g. encoding=cp1252, csv.header=false.",
        ),
    ] = None,
) -> None:
    """Look at a dataset, say what it is, and write a commented config that runs; or begin with a recipe."""
    if recipe is not None:
        _from_recipe(recipe, data or [], out)
        return
    from pydantic import ValidationError

    from engine.analysis.first_config import config_text, looked, told
    from engine.config.reading import ReadingConfig
    from engine.errors import ConfigError
    from engine.files.writing import replacing

    with mistakes():
        if not data:
            raise ConfigError("init: name a dataset, or --recipe NAME (--recipe list names them)")
        if out is not None and out.exists():
            raise ConfigError(f"-o {out}: is there already; choose another name")
        if out is not None and not out.absolute().parent.is_dir():
            raise ConfigError(f"-o {out}: there is no folder {out.parent}")
        try:
            how = ReadingConfig.model_validate(_nested(overrides(set_, None, None)))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise ConfigError(f"--set {name}: {first['msg'].removeprefix('Value error, ')}") from None
        look = looked(data, how)
        for topic, said in told(look):
            tell(f"{topic:<12} {said}")
        text = config_text(look, out.absolute().parent if out is not None else Path())
        if out is None:
            say(text, nl=False)
            return
        with replacing(out) as file:
            file.write(text)
        tell(f"\n{out} is written. See what a run would take: datagen plan {out}; run it: datagen run {out}")


def _from_recipe(name: str, data: list[str], out: Path | None) -> None:
    """Writes a recipe's config, and the rows written for it where no others are named."""
    from engine.analysis.recipes import adapted, recipes, written
    from engine.errors import ConfigError

    with mistakes():
        known = recipes()
        if name == "list":
            for each, said in known.items():
                say(f"{each:<12} {said}")
            return
        if name not in known:
            raise ConfigError(f"--recipe {name}: there is no such recipe; there are {', '.join(known)}")
        place = out or Path(f"{name}.yaml")
        if place.exists():
            raise ConfigError(f"-o {place}: is there already; choose another name")
        if len(data) > 1:
            raise ConfigError("--recipe: takes one DATA")
        text, notes = adapted(name, data[0] if data else None, place.absolute().parent)
        rows = written(name, text, place, own_rows=not data)
        for note in notes:
            tell(note)
        command = "map" if "\nmap:\n" in text else "run"
        told = f"datagen map {rows} {place}" if command == "map" else f"datagen run {place}"
        tell(f"{place} is written. See what it would take: datagen plan {place}; run it: {told}")


def _nested(given: dict[str, object]) -> dict[str, object]:
    """`csv.header` within `csv`; `dataset.` before it may stand or not."""
    nested: dict[str, object] = {}
    for key, value in given.items():
        name, _, rest = key.removeprefix("dataset.").partition(".")
        if rest:
            inner = nested.setdefault(name, {})
            assert isinstance(inner, dict)
            inner[rest] = value
        else:
            nested[name] = value
    return nested

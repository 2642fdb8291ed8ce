"""Recipes: configs for common kinds of datasets, with rows written for them; over somebody's own rows, if wanted."""

from __future__ import annotations

import os
import re
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from engine.config.paths import is_remote
from engine.config.reading import ReadingConfig
from engine.errors import ConfigError
from engine.files.rows import BadRow
from engine.files.source import source_of
from engine.files.writing import replacing

_FOLDER = resources.files("engine") / "recipes"
_PLACE = re.compile(r"(?m)^(  path: )(\S+)$")
_NAME = re.compile(r"(?m)^  fields: \{text: (\w+)|^    text: (\w+)$|\{\{ (\w+) \}\}")


def recipes() -> dict[str, str]:
    """By name, what each is for: the first line of its config."""
    names = sorted(each.name for each in _FOLDER.iterdir() if each.name.endswith(".yaml"))
    return {
        name.removesuffix(".yaml"): _text(name.removesuffix(".yaml")).split("\n", 1)[0][2:] for name in names
    }


def _text(name: str) -> str:
    return (_FOLDER / f"{name}.yaml").read_text("utf-8")


def adapted(name: str, data: str | None, folder: Path) -> tuple[str, list[str]]:
    """The recipe's config for rows of one's own, and what is still to be done, as sentences. Raises ConfigError.

    `folder` is where the config will stand: a path in it is relative to that.
    """
    text = _text(name)
    if data is None:
        return text, []
    place = data if is_remote(data) else os.path.relpath(Path(data).absolute(), folder)
    text = _PLACE.sub(lambda match: f"{match[1]}{place}", text, count=1)
    if "\ndocuments:\n" in text:
        return text, []
    source = source_of((data,), ReadingConfig())
    first = [row for _, row in islice(source.rows(), 50) if not isinstance(row, BadRow)]
    if not first:
        raise ConfigError(f"{data}: no row can be read")
    columns = list(dict.fromkeys(column for row in first for column in row if column != "_meta"))
    text, notes = _renamed(text, columns, first)
    if "\n  examples: " in text:
        text = re.sub(r"(?m)^  examples: .*\n", "", text)
        notes.append(
            "The recipe's examples are left out: name some of your own rows that are done (map.examples)."
        )
    if taken := sorted(_made(text) & set(columns)):
        notes.append(
            f"Your data has a column {taken[0]!r} already: give the new one another name (map.columns)."
        )
    return text, notes


def _made(text: str) -> set[str]:
    """The columns that the config fills."""
    spec = yaml.safe_load(text).get("map") or {}
    return {name for step in (spec, *spec.get("steps", ())) for name in step.get("columns", ())}


def _renamed(text: str, columns: list[str], rows: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """With the recipe's name for the text in place of the data's, where that can be told: its longest texts."""
    named = next((next(filter(None, match.groups())) for match in _NAME.finditer(text)), None)
    if named is None or named in columns:
        return text, []
    lengths = {
        column: sum(len(row[column]) for row in rows if isinstance(row.get(column), str))
        for column in columns
    }
    own = max(lengths, key=lambda column: lengths[column])
    if not lengths[own] or "'" in own or ": " in own or "." in own:
        return text, [
            f"The recipe speaks of {named!r}; your data has {', '.join(columns)}. Change it in the config."
        ]
    inner = own if own.isidentifier() else f"columns['{own}']"
    text = re.sub(rf"(?<=text: ){named}\b", own, text)
    text = re.sub(rf"(?<=\{{\{{ ){named}(?= \}}\}})", inner, text)
    others = [each for each in columns if each != own]
    beside = f"; it has also {', '.join(others)}" if others else ""
    return text, [
        f"Your data's text is taken to be {own!r}{beside}: see whether the config's fields are yours."
    ]


def written(name: str, text: str, place: Path, *, own_rows: bool) -> str:
    """Writes the config, and the recipe's own rows beside it, where these are used; the path of the data."""
    match = _PLACE.search(text)
    assert match is not None
    data = match[2]
    if own_rows:
        others = re.findall(r"data/[\w./]+", text)
        for each in dict.fromkeys(others):
            _copied(each.rstrip("/"), place.parent)
    with replacing(place) as file:
        file.write(text)
    return data if is_remote(data) or Path(data).is_absolute() else os.path.normpath(place.parent / data)


def _copied(path: str, folder: Path) -> None:
    """A file or folder of a recipe's rows. Raises ConfigError where another stands in its place."""
    source, target = _FOLDER / path, folder / path
    files = (
        [(each, target / each.name) for each in source.iterdir()] if source.is_dir() else [(source, target)]
    )
    for each, to in files:
        content = each.read_bytes()
        if to.exists() and to.read_bytes() != content:
            raise ConfigError(
                f"{to}: is there already, and is not the recipe's; write the config elsewhere (-o)"
            )
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(content)


__all__ = ["adapted", "recipes", "written"]

"""Writes a folder that Hugging Face's `datasets` and the Hub read: Parquet files by split, and a card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from engine.errors import ConfigError
from engine.exports.files import RowSource, write_parquet
from engine.files.writing import replacing
from engine.protocols import Row
from engine.schema.columns import Schema

MARK = "- datagen"
"""One of the tags of every card that is written here."""
_FILES = "*-00000-of-00001.parquet"


def write_folder(splits: Mapping[str, RowSource], path: Path, card: str, schema: Schema | None = None) -> int:
    """Writes `data/SPLIT-00000-of-00001.parquet` for each split and README.md; returns the number of rows.

    All files have the same columns. The folder must be empty or hold an earlier export; files of splits that
    no longer exist are deleted last.
    Raises ConfigError.
    """
    _check(path)

    def every() -> Iterator[Row]:
        return chain.from_iterable(rows() for rows in splits.values())

    folder = path / "data"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"-o {path}: cannot be made: {error.strerror or error}") from None
    count, names = 0, set[str]()
    for name, rows in splits.items():
        file = folder / _FILES.replace("*", name or "train")
        count += write_parquet(rows, file, like=every, schema=schema)
        names.add(file.name)
    with replacing(path / "README.md") as readme:
        readme.write(card)
    for old in folder.glob(_FILES):
        if old.name not in names:
            old.unlink()
    return count


def _check(path: Path) -> None:
    if str(path) == "-":
        raise ConfigError("-o -: a folder cannot be written to standard output; give a path")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"-o {path}: is a file; a folder is written")
    there = sorted(each.name for each in path.iterdir()) if path.is_dir() else []
    foreign = [name for name in there if name not in ("README.md", "data")]
    foreign += (
        [each.name for each in (path / "data").glob("*") if not each.match(_FILES)] if "data" in there else []
    )
    card = path / "README.md"
    if card.exists() and MARK not in card.read_text("utf-8", errors="replace").partition("\n---\n")[0]:
        foreign.append("a README.md of somebody else's")
    if foreign:
        raise ConfigError(f"-o {path}: holds {foreign[0]}, which is not of an export; choose another folder")

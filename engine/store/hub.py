"""A folder that Hugging Face's `datasets` loads, and the Hub shows: Parquet files by split, and a card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.errors import ConfigError
from engine.store.files import Rows, write_parquet
from engine.store.folder import replacing


def write_folder(splits: Mapping[str, Rows], path: Path, card: str) -> int:
    """`data/SPLIT-00000-of-00001.parquet` for each split, and README.md; how many rows. Raises ConfigError.

    Only a folder that is empty, or holds an earlier export, is written to.
    """
    if str(path) == "-":
        raise ConfigError("-o -: a folder cannot be written to standard output; give a path")
    there = sorted(each.name for each in path.iterdir()) if path.is_dir() else []
    if path.exists() and not path.is_dir():
        raise ConfigError(f"-o {path}: is a file; a folder is written")
    if foreign := [name for name in there if name not in ("README.md", "data")]:
        raise ConfigError(f"-o {path}: holds {foreign[0]}, which is not of an export; choose another folder")
    folder = path / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*-00000-of-00001.parquet"):
        old.unlink()
    count = 0
    for name, rows in splits.items():
        count += write_parquet(rows, folder / f"{name or 'train'}-00000-of-00001.parquet")
    with replacing(path / "README.md") as file:
        file.write(card)
    return count

"""Which files a dataset's path means: a file, several, a pattern, a folder of splits, an address."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import orjson
import yaml

from engine.config.reading import ReadingConfig
from engine.errors import ConfigError
from engine.files.fetch import fetched, is_remote
from engine.files.packed import bare_name

ENDINGS = ("json", "jsonl", "ndjson", "csv", "tsv", "txt", "parquet", "arrow", "feather", "xlsx")
_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
}
_SPLIT = re.compile(rf"(?:^|[-_./ ])({'|'.join(_SPLITS)})(?=$|[-_./ ]|\d)", re.IGNORECASE)
_OTHERS = frozenset(
    ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "package.json")
)


@dataclass(frozen=True)
class Found:
    """The files of a dataset, in order."""

    files: tuple[Path, ...]
    features: Any = None
    """The features that a repository's card states, as `datasets` writes them."""
    notes: tuple[str, ...] = ()
    """What was chosen, as sentences."""
    pinned: Mapping[str, str] | None = None
    """Addresses with the revision that was read, by the address that was given."""
    of: Mapping[str, tuple[Path, ...]] | None = None
    """The files by the place that was given."""


def found(places: Sequence[str], how: ReadingConfig) -> Found:
    """Raises ConfigError where there is none, or where it is open which are meant."""
    files: list[Path] = []
    notes: list[str] = []
    pinned: dict[str, str] = {}
    features = None
    of: dict[str, tuple[Path, ...]] = {}
    for place in places:
        begun = len(files)
        if is_remote(place):
            local = fetched(place)
            pinned[place] = local.pinned
            path = local.path
        else:
            path = Path(place)
        if path.is_dir():
            inside = _in_folder(path, how)
            files += inside.files
            notes += inside.notes
            features = features or inside.features
        elif path.exists():
            files.append(path)
        elif any(mark in place for mark in "*?["):
            matched = sorted(map(Path, glob.glob(place, recursive=True)), key=natural)  # noqa: PTH207 - also absolute
            if not matched:
                raise ConfigError(f"{place}: no file matches")
            files += [each for each in matched if each.is_file()]
        else:
            raise ConfigError(f"{place}: no such file")
        of[place] = tuple(files[begun:])
        if not path.is_dir() and (how.split or how.subset):
            notes.append(f"{path.name}: is no folder; dataset.split and dataset.subset have no effect on it")
    return Found(tuple(files), features, tuple(notes), pinned, of)


def natural(path: PurePath) -> list[Any]:
    """Sorts names with numbers as people do: shard 2 before shard 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def local_files(places: Iterable[str]) -> list[Path]:
    """The places that are paths on this machine."""
    return [Path(place) for place in places if not is_remote(place)]


# --- folders ---------------------------------------------------------------------------------------


def _in_folder(folder: Path, how: ReadingConfig) -> Found:
    if (folder / "accepted.jsonl").is_file():
        return Found((folder / "accepted.jsonl",))
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits", [])
        split, notes = _chosen(splits, how.split, folder, "split")
        return Found(_saved(folder / split), None, notes)
    if (folder / "state.json").is_file():
        return Found(_saved(folder))
    card = _card(folder / "README.md")
    info = card.get("dataset_info")
    listed = [each for each in card.get("configs") or () if isinstance(each, dict)]
    if listed:
        return _of_card(folder, listed, info, how)
    return _by_names(folder, info, how)


def _saved(folder: Path) -> tuple[Path, ...]:
    """The files of a dataset that `save_to_disk` wrote."""
    listed = _json(folder / "state.json").get("_data_files", [])
    return tuple(folder / PurePath(str(each["filename"])).name for each in listed)


def _of_card(folder: Path, listed: Sequence[Mapping[str, Any]], info: Any, how: ReadingConfig) -> Found:
    """The files that a card names for one configuration and one split."""
    names = [str(each.get("config_name", "default")) for each in listed]
    default = next((name for name, each in zip(names, listed, strict=True) if each.get("default")), None)
    subset, notes = _chosen(names, how.subset, folder, "subset", default or "default")
    files = listed[names.index(subset)].get("data_files")
    if files is None:
        return _by_names(folder, info, how)
    if isinstance(files, str) or (isinstance(files, list) and files and isinstance(files[0], str)):
        files = [{"split": "train", "path": files}]
    splits = {str(each["split"]): each["path"] for each in files}
    split, more = _chosen(list(splits), how.split, folder, "split")
    patterns = [splits[split]] if isinstance(splits[split], str) else splits[split]
    matched = [file for each in patterns for file in sorted(folder.glob(str(each).lstrip("/")), key=natural)]
    # A card is a stranger's: its patterns stay in the folder, whose files may be links into a cache.
    inside = [file for file in matched if ".." not in file.relative_to(folder).parts]
    if not inside:
        raise ConfigError(
            f"{folder}: README.md names {', '.join(patterns)} for {split}, and there is no such file"
        )
    features = _features(info, subset)
    return Found(tuple(inside), features, (*notes, *more))


def _by_names(folder: Path, info: Any, how: ReadingConfig) -> Found:
    """The files of one split, told by their names or folders."""
    known = [
        file
        for file in sorted(folder.rglob("*"), key=natural)
        if file.is_file()
        and bare_name(file).suffix.lower().lstrip(".") in ENDINGS
        and file.name not in _OTHERS
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    if not known:
        raise ConfigError(f"{folder}: holds no file that can be read; there may be {', '.join(ENDINGS)}")
    known, beside = _of_one_kind(known)
    by_split: dict[str, list[Path]] = {}
    for file in known:
        match = _SPLIT.search(str(bare_name(file.relative_to(folder)).with_suffix("")))
        by_split.setdefault(_SPLITS[match[1].lower()] if match else "train", []).append(file)
    split, notes = _chosen(list(by_split), how.split, folder, "split")
    if beside:
        notes = (*notes, f"not read, since they lie beside the data: {', '.join(beside)}")
    return Found(tuple(by_split[split]), _features(info, how.subset or "default"), notes)


def _of_one_kind(files: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """(the data, names of what lies beside it): Parquet before what it was made from, rows before a .json of notes."""
    kinds = {_kind(file) for file in files}
    wanted = {"parquet"} if "parquet" in kinds else kinds - {"json"} or kinds
    beside = [file.name for file in files if _kind(file) not in wanted]
    return [file for file in files if _kind(file) in wanted], beside[:5]


def _kind(file: Path) -> str:
    return bare_name(file).suffix.lower().lstrip(".")


def _chosen(
    names: Sequence[str], wanted: str | None, folder: Path, what: str, usual: str = "train"
) -> tuple[str, tuple[str, ...]]:
    """The split or subset that is wanted, or the usual one. Raises ConfigError where it is open which."""
    if wanted is not None:
        if wanted not in names:
            raise ConfigError(
                f"{folder}: dataset.{what}: there is no {wanted!r}; there are {', '.join(names)}"
            )
        return wanted, ()
    if not names:
        raise ConfigError(f"{folder}: names no {what}")
    if len(names) == 1:
        return names[0], ()
    if usual not in names:
        raise ConfigError(f"{folder}: set dataset.{what} to one of {', '.join(names)}")
    return usual, (f"the {what} {usual} is read; dataset.{what} names another: {', '.join(names)}",)


# --- cards -----------------------------------------------------------------------------------------


def _card(path: Path) -> dict[str, Any]:
    """The front matter of a dataset card; empty where there is none."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}
    match = re.match(r"---\s*\n(.*?)\n---\s*(?:\n|$)", text, re.DOTALL)
    try:
        front = yaml.safe_load(match[1]) if match else {}
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return front if isinstance(front, dict) else {}


def _features(info: Any, subset: str) -> Any:
    """The features of a configuration, as the card states them."""
    entries = info if isinstance(info, list) else [info]
    known = [each for each in entries if isinstance(each, dict) and "features" in each]
    named = [each for each in known if str(each.get("config_name", subset)) == subset]
    return named[0]["features"] if named else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return value if isinstance(value, dict) else {}

"""Carries the files that a run's settings name to workers on other machines: nothing needs a shared disk."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.config import RunConfig
from engine.config.paths import paths_in, user_cache
from engine.errors import FatalError
from engine.files.source import Source

PIECE = 1 << 19
"""Bytes of a file that travel at once."""
_UNREAD = ("evaluate", "observe")
_BESIDE = re.compile(
    r"README\.md|dataset_infos?\.json|dataset_dict\.json|state\.json|.*\.ya?ml", re.IGNORECASE
)
"""What in a dataset's folder says how its files are to be read."""

Fetch = Callable[[int], AsyncIterator[bytes]]
"""The bytes of a file, by its number, in pieces."""


class Carried:
    """The files of one run, by number. Immutable once made."""

    def __init__(self, settings: Mapping[str, Any], source: Source | None) -> None:
        """`settings` are the run's, as plain values; none, and nothing is carried. Reads every file once."""
        named = {name: value for name, value in settings.items() if name not in _UNREAD}
        if "embedding" in named:
            named["embedding"] = {**named["embedding"], "cache": None}
        self._files: list[Path] = []
        self.places: list[dict[str, Any]] = []
        """Plain values: each place with its root and its files, which are [number, relative path, bytes, digest]."""
        of_data = set(source.files) if source is not None else set()
        for place in paths_in(RunConfig, named):
            root, files = _files_of(place, of_data)
            if files:
                told = [self._told(root, path) for path in files]
                self.places.append({"place": place, "root": str(root), "files": told})

    def _told(self, root: Path, path: Path) -> list[Any]:
        self._files.append(path)
        relative = "" if path == root else path.relative_to(root).as_posix()
        return [len(self._files) - 1, relative, path.stat().st_size, _digest(path)]

    def pieces(self, number: int) -> Iterator[bytes]:
        """The bytes of a file. Raises IndexError for a number that was not given, OSError."""
        if number < 0:
            raise IndexError(number)
        with self._files[number].open("rb") as file:
            while piece := file.read(PIECE):
                yield piece


def _files_of(place: str, of_data: set[Path]) -> tuple[Path, Sequence[Path]]:
    """The root of a place and its files: itself; those of a folder; those that a pattern matches."""
    path = Path(place)
    if path.is_file():
        return path, [path]
    if path.is_dir():
        inside = sorted(each for each in path.rglob("*") if each.is_file())
        if of_data & set(inside):
            inside = [each for each in inside if each in of_data or _BESIDE.fullmatch(each.name)]
        return path, inside
    literal = Path(re.split(r"[*?\[]", place, maxsplit=1)[0])
    root = literal if place != str(literal) and literal.is_dir() else literal.parent
    found = sorted(Path(each) for each in glob.glob(place, recursive=True))  # noqa: PTH207 - an absolute pattern
    return root, [each for each in found if each.is_file()]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def placed(
    settings: dict[str, Any], carried: Sequence[Mapping[str, Any]], fetch: Fetch
) -> dict[str, Any]:
    """The settings with every place where this machine has it: the same file, or one that is fetched and kept.

    Raises FatalError where a file is not what the head said.
    """
    here: dict[str, str] = {}
    for place in carried:
        if all(_is_here(_joined(Path(place["root"]), each[1]), each) for each in place["files"]):
            continue
        names = "".join(f"{relative} {digest}\n" for _, relative, _, digest in place["files"])
        folder = user_cache() / "carried" / hashlib.sha256(names.encode()).hexdigest()[:32]
        root = folder / Path(place["root"]).name
        for each in place["files"]:
            await _fetched(_joined(root, each[1]), each, fetch)
        here[place["place"]] = str(root) + place["place"].removeprefix(place["root"])
    return dict(_replaced(settings, here))


def _joined(root: Path, relative: str) -> Path:
    if not relative:
        return root
    path = root / relative
    if not path.resolve().is_relative_to(root.resolve()):
        raise FatalError(f"the head names a file outside of its folder: {relative}")
    return path


def _is_here(path: Path, told: Sequence[Any]) -> bool:
    _, _, size, digest = told
    return path.is_file() and path.stat().st_size == size and _digest(path) == digest


async def _fetched(path: Path, told: Sequence[Any], fetch: Fetch) -> None:
    if _is_here(path, told):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent) as file:
        async for piece in fetch(told[0]):
            file.write(piece)
        file.flush()
        if not _is_here(Path(file.name), told):
            raise FatalError(f"{path.name}: what came of it is not what the head said")
        with contextlib.suppress(FileExistsError):  # another worker of this machine was quicker
            os.link(file.name, path)


def _replaced(value: Any, here: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _replaced(inner, here) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, here) for inner in value]
    return here.get(value, value) if isinstance(value, str) else value

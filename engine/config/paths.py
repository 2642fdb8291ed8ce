"""Resolves the relative paths of a config from its file's folder; finds the folder for caches."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from engine.config.markers import ANY, INDEX, PathFrom, Pattern, places


def user_cache() -> Path:
    """The user's cache folder, by the XDG rules; it need not exist yet."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "datagen"


def is_remote(place: str) -> bool:
    """Whether it is an address, such as `s3://…`, rather than a path."""
    return re.match(r"[a-z][a-z0-9+.-]+://", place) is not None


def name_of(place: str) -> str:
    """The file's or folder's own name; of an address without its query, which may hold a key of the holder's."""
    if is_remote(place):
        place = urlsplit(place).path.rstrip("/") or urlsplit(place).hostname or ""
    return PurePath(place).name


Change = Callable[[Any], Any]


def rooted(model: type[BaseModel], raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The settings as read, before validation, with absolute paths."""
    settings: Any = raw
    for pattern, marker in places(model, PathFrom):
        settings = _changed(settings, pattern, partial(_absolute, marker, folder))
    return dict(settings)


def paths_in(model: type[BaseModel], settings: dict[str, Any]) -> list[str]:
    """All paths of these settings, which are absolute by now."""
    there: list[str] = []

    def noted(value: str) -> str:
        there.append(value)
        return value

    def each(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: each(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [each(inner) for inner in value]
        return noted(value) if isinstance(value, str) and PurePath(value).is_absolute() else value

    for pattern, _ in places(model, PathFrom):
        _changed(settings, pattern, each)
    return list(dict.fromkeys(there))


def _changed(value: Any, pattern: Pattern, change: Change) -> Any:
    """A copy of the value with `change` applied where the pattern matches; unchanged without a match."""
    if not pattern:
        return change(value)
    key, *rest = pattern
    if isinstance(value, dict):
        wanted = value.keys() if key == ANY else value.keys() & {key}
        changed = {name: _changed(value[name], tuple(rest), change) for name in wanted}
        return {**value, **changed}
    if isinstance(value, list) and key in (ANY, INDEX):
        return [_changed(inner, tuple(rest), change) for inner in value]
    return value


def _absolute(marker: PathFrom, folder: Path, value: Any) -> Any:
    if marker.named is not None:
        return _named(marker.named, folder, value)
    each = partial(_one, marker, folder)
    if isinstance(value, dict):
        return {name: each(inner) for name, inner in value.items()}
    return [each(inner) for inner in value] if isinstance(value, list) else each(value)


def _one(marker: PathFrom, folder: Path, value: Any) -> Any:
    if not isinstance(value, str) or (marker.dotted and not value.startswith(".")) or is_remote(value):
        return value
    return str((folder / value).resolve())


def _named(name: str, folder: Path, value: Any) -> Any:
    """The settings with every text under the key `name` made an absolute path."""
    if isinstance(value, list):
        return [_named(name, folder, inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        key: str((folder / inner).resolve())
        if key == name and isinstance(inner, str)
        else _named(name, folder, inner)
        for key, inner in value.items()
    }

"""The files that pages bring along: our own, and those of others, unmodified (vendored.json names them)."""

from __future__ import annotations

from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

import orjson

_KINDS = {"css": "text/css", "js": "text/javascript", "woff2": "font/woff2", "svg": "image/svg+xml"}


class File(NamedTuple):
    """A file with its media type."""

    data: bytes
    kind: str


def file(name: str) -> File | None:
    """The file of this name, as pages call it; None for any other name."""
    found = _places().get(name)
    return None if found is None else File(found.read_bytes(), _KINDS[name.rpartition(".")[2]])


@cache
def _places() -> dict[str, Traversable]:
    root = resources.files("engine.view")
    places = {
        each.name: each for each in (root / "static").iterdir() if each.name.rpartition(".")[2] in _KINDS
    }
    places["chart.css"] = resources.files("engine.report.page") / "templates" / "chart.css"
    vendored = root / "vendored"
    for folder, about in orjson.loads((vendored / "vendored.json").read_bytes()).items():
        for name in about["files"]:
            if name.rpartition(".")[2] in _KINDS:
                places[name] = vendored.joinpath(folder, *name.split("/"))
    return places

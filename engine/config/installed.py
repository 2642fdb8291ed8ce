"""The validators that are installed, by the entry-point group in which anybody's are found."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

VALIDATORS = "datagen.validators"


def installed_validators() -> Mapping[str, EntryPoint]:
    """The entry points by name, in order of name.

    Reading what every installed package declares takes tens of milliseconds, so it is done again only after a
    package came or went: a folder that Python looks in has then changed.
    """
    return _installed(tuple((place, _changed(place)) for place in sys.path))


@lru_cache(maxsize=4)
def _installed(places: tuple[tuple[str, int], ...]) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=VALIDATORS), key=lambda each: each.name)}


def _changed(place: str) -> int:
    try:
        return Path(place).stat().st_mtime_ns
    except OSError:
        return 0

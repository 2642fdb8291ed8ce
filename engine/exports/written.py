"""What exports of a run have written, so that another one replaces that, and nothing else, without being told to."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path

import orjson

from engine.errors import ConfigError
from engine.files.writing import replacing
from engine.store.folder import RunFolder

_KEPT = 1000
"""Places that are remembered; older ones are forgotten."""


def refuse_foreign(folder: RunFolder, places: Iterable[Path]) -> None:
    """Raises ConfigError where something stands that no export of this run has written, or that was changed since."""
    known = _read(folder)
    for place in places:
        if not place.is_file():  # nothing, a pipe, or a folder, of which the export itself tells whose it is
            continue
        if known.get(str(place.resolve())) != _digest(place):
            raise ConfigError(
                f"-o {place}: is there already, and not as this run has written it; replace it: --force"
            )


def remember(folder: RunFolder, places: Iterable[Path]) -> None:
    """Keeps what stands at these places; a folder of a run that cannot be written remembers nothing."""
    now = {str(place.resolve()): _digest(place) for place in places if place.is_file()}
    if not now:
        return
    known = {path: said for path, said in _read(folder).items() if path not in now} | now
    with contextlib.suppress(OSError, ConfigError), replacing(folder.exports) as file:
        file.write(
            orjson.dumps(dict(list(known.items())[-_KEPT:]), option=orjson.OPT_INDENT_2).decode() + "\n"
        )


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(folder: RunFolder) -> dict[str, str]:
    try:
        known = orjson.loads(folder.exports.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return known if isinstance(known, dict) else {}

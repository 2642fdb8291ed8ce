"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from engine.errors import DiskFull, StoreError


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """Yields a text file that replaces `path` once the block ends without an error. Raises StoreError."""
    temporary = _beside(path)
    try:
        # Mode "x" gives the file the default permissions; reading the umask would change it for every
        # thread of the process.
        with temporary.open("x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def copied(source: Path, place: Path) -> None:
    """Copies `source` to `place`, whole or not at all, unless `place` exists. Raises StoreError."""
    if place.exists():
        return
    temporary = _beside(place)
    try:
        place.parent.mkdir(exist_ok=True)
        with source.open("rb") as stream:
            _save(stream, temporary)
        temporary.replace(place)
    except OSError as error:
        raise unwritable(place, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def spooled(stream: IO[bytes], folder: Path) -> Path:
    """Saves standard input as a file in the run folder, so that the run can be resumed. Raises StoreError.

    Its content is in its name, so that another input never replaces the one of the run that is in the folder.
    """
    temporary = _beside(folder / "input.jsonl")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _save(stream, temporary)
        with temporary.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        path = folder / f"input-{content[:16]}.jsonl"
        temporary.replace(path)
    except OSError as error:
        raise unwritable(temporary, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _save(stream: IO[bytes], path: Path) -> None:
    """Writes a new file; on disk when this returns."""
    with path.open("xb") as file:
        shutil.copyfileobj(stream, file)
        file.flush()
        os.fsync(file.fileno())


def unwritable(path: Path, error: OSError) -> StoreError:
    """The engine's error for a file that cannot be written."""
    kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
    return kind(f"{path}: cannot be written: {error.strerror or error}")


def _beside(path: Path) -> Path:
    """An unused name for a temporary file in the same folder."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")

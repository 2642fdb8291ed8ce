"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from engine.errors import ConfigError, DiskFull, StoreError
from engine.veil import veiled


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """Yields a text file that replaces `path` once the block ends without an error. Raises StoreError."""
    with temporary_beside(path) as temporary:
        # Mode "x" gives the file the default permissions; reading the umask would change it for every
        # thread of the process.
        with _Veiled(temporary.open("xb"), encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


class _Veiled(io.TextIOWrapper):
    """A text file in which no secret is written."""

    def write(self, text: str) -> int:
        return super().write(veiled(text))


def copied(source: Path, place: Path) -> None:
    """Copies `source` to `place`, whole or not at all, unless `place` exists. Raises StoreError."""
    if place.exists():
        return
    with temporary_beside(place) as temporary:
        place.parent.mkdir(exist_ok=True)
        with source.open("rb") as stream:
            _save(stream, temporary)
        temporary.replace(place)


@contextmanager
def spooled(stream: IO[bytes], folder: Path) -> Iterator[Path]:
    """Saves standard input as a file in the run folder, so that the run can be resumed. Raises StoreError.

    The file is named after its content, so that one input never replaces another. If the run cannot begin
    (the block raises ConfigError), a file that was not there before is removed.
    """
    with temporary_beside(folder / "input.jsonl") as temporary:
        folder.mkdir(parents=True, exist_ok=True)
        _save(stream, temporary)
        with temporary.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        path = folder / f"input-{content[:16]}.jsonl"
        new = not path.exists()
        temporary.replace(path)
    try:
        yield path
    except ConfigError:
        if new:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """An unused path in the same folder; a file that is left there is removed. Raises StoreError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        yield temporary
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # the first error counts: the folder is gone, or on a read-only file system
            temporary.unlink(missing_ok=True)


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

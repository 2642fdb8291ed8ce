"""Decisions that people make while a run goes on: a file beside the run, taken into its journal under its lock."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from filelock import FileLock

from engine.errors import ConfigError
from engine.schema.values import dumps, loads
from engine.store.folder import RunFolder

JUDGED: Mapping[str, bool | None] = {"right": True, "wrong": False, "unsure": None}
"""Judgements: they change no fate."""


@dataclass(frozen=True)
class Pending:
    """A decision, or a judgement, that waits; about one item or about many."""

    decision: str
    items: Sequence[int]
    person: str
    note: str = ""
    record: Mapping[str, Any] | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    at: float = field(default_factory=time.time)
    key: str = field(default_factory=lambda: secrets.token_hex(8))


def append(folder: RunFolder, decision: Pending) -> None:
    """Adds a decision; it is on disk when this returns. Raises ConfigError where the folder cannot be written."""
    try:
        with alone(folder), folder.pending.open("ab") as file:
            if file.tell() and not _ends_whole(folder):
                file.write(b"\n")  # a line that a crash has cut off stays one line
            file.write(dumps(asdict(decision)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"{folder.pending}: cannot be written: {error.strerror or error}") from None


def read_pending(folder: RunFolder) -> list[Pending]:
    """The decisions that wait, in the order in which they were made; a line that was cut off is none."""
    try:
        data = folder.pending.read_bytes()
    except FileNotFoundError:
        return []
    return list(_parsed(data))


@contextmanager
def taken_over(folder: RunFolder) -> Iterator[list[Pending]]:
    """The decisions that wait, for whoever holds the run's lock; after the block, without an error, none waits."""
    with alone(folder):
        yield read_pending(folder)
        folder.pending.unlink(missing_ok=True)


def _parsed(data: bytes) -> Iterator[Pending]:
    known = set(Pending.__dataclass_fields__)
    for line in data.splitlines():
        try:
            told = loads(line)
            if told.keys() == known and _is_sound(told):
                yield Pending(**told)
        except (ValueError, TypeError, AttributeError):
            continue


def _is_sound(told: Mapping[str, Any]) -> bool:
    """Whether every value is of its kind: a folder may come from anybody."""
    items, scores = told["items"], told["scores"]
    return (
        told["decision"] in (*JUDGED, *_DECISIONS)
        and all(isinstance(told[name], str) for name in ("person", "note", "key"))
        and isinstance(told["at"], int | float)
        and isinstance(told["record"], dict | None)
        and isinstance(items, list)
        and all(type(item) is int and 0 <= item < 1 << 62 for item in items)
        and isinstance(scores, dict)
        and all(isinstance(points, int | float) for points in scores.values())
    )


_DECISIONS = ("accept", "reject", "note", "edit", "undo")


@contextmanager
def alone(folder: RunFolder) -> Iterator[None]:
    """Holds the file of waiting decisions: one process adds, or takes in, at a time."""
    with FileLock(folder.path / "reviews.lock", timeout=60):
        yield


def _ends_whole(folder: RunFolder) -> bool:
    with folder.pending.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"

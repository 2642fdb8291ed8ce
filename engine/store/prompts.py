"""What each call was asked, and when: kept beside the journal's calls, packed against the first of its purpose."""

from __future__ import annotations

import sqlite3
import zlib
from typing import Any, NamedTuple

_BETWEEN = "\x1e"
"""Separates the two texts of a prompt; JSON and templates have no use for it."""
_LEVEL = 1
"""zlib's quickest; its own checksum tells a damaged text. Prompts of one purpose share most of their words, so that
against another one a prompt of 1,600 bytes takes 280; in 20 microseconds, in the journal's own thread."""


class Asked(NamedTuple):
    """A prompt's texts, and when its answer came, in seconds since the epoch."""

    at: float
    system: str
    user: str


class Packing:
    """Packs rows (key, at, purpose, system, user) into (key, at, after, packed).

    `after` is the key of the prompt that this one is packed against; '' for one that stands alone.
    Mutable state: the first prompt of each purpose.
    """

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, bytes]] = {}

    def packed(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        key, at, purpose, system, user = row
        text = f"{system}{_BETWEEN}{user}".encode("utf-8", "replace")
        first = self._first.get(purpose)
        if first is None:
            self._first[purpose] = key, text
            return key, at, "", _compressed(text, None)
        after, whole = first
        return key, at, after, _compressed(text, whole)


def read_prompt(connection: sqlite3.Connection, key: str) -> Asked | None:
    """What a call was asked; None where that was not kept, or can no longer be read."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'prompts'").fetchone():
        return None
    found = _row(connection, key)
    if found is None:
        return None
    at, after, packed = found
    whole = None
    if after:
        first = _row(connection, after)
        if first is None:
            return None
        whole = first[2]
    try:
        known = None if whole is None else _plain(whole, None)
        system, _, user = _plain(packed, known).decode("utf-8", "replace").partition(_BETWEEN)
    except zlib.error:
        return None
    return Asked(at, system, user)


def _row(connection: sqlite3.Connection, key: str) -> tuple[float, str, bytes] | None:
    found = connection.execute("SELECT at, after, packed FROM prompts WHERE key = ?", (key,)).fetchone()
    return None if found is None else (float(found[0]), str(found[1]), bytes(found[2]))


def _compressed(text: bytes, known: bytes | None) -> bytes:
    packer = zlib.compressobj(_LEVEL) if known is None else zlib.compressobj(_LEVEL, zdict=known)
    return packer.compress(text) + packer.flush()


def _plain(packed: bytes, known: bytes | None) -> bytes:
    """Raises zlib.error."""
    unpacker = zlib.decompressobj() if known is None else zlib.decompressobj(zdict=known)
    text = unpacker.decompress(packed)
    if not unpacker.eof:
        raise zlib.error("it ends early")
    return text

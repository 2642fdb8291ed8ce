"""Checksums of the journal's rows, for damage that SQLite does not notice: a bit flipped within a text."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any


def checksum(values: Sequence[Any]) -> int:
    """CRC-32 of the values of a row."""
    return zlib.crc32("\x1f".join(map(str, values)).encode("utf-8", "surrogatepass"))


def sealed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row with its checksum as its last value."""
    return (*row, checksum(row))


def intact(row: Sequence[Any]) -> bool:
    """Whether a row's values are those that were written. The last one is the checksum; None: written without."""
    return row[-1] is None or row[-1] == checksum(row[:-1])

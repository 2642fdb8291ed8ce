"""What reading yields: rows, and bad rows in their places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used. `number` is the line (JSON lines, CSV) or the element, from 1."""

    number: int
    reason: str
    """A stable slug, for counting."""
    detail: str


Numbered = tuple[int, Row | BadRow]


def too_long(number: int, size: int, limit: int) -> BadRow:
    return BadRow(number, "too_long", f"{size:,} bytes, more than dataset.max_row_bytes ({limit:,})")


def row_of(number: int, value: Any) -> Row | BadRow:
    """The value, if it is an object."""
    if isinstance(value, dict):
        return value
    return BadRow(
        number, "wrong_type", f"is {_KINDS.get(type(value), 'a number')}, not an object with fields"
    )


_KINDS = {str: "a text", list: "a list", bool: "true or false", type(None): "null"}

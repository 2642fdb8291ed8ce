"""What a row is once it is read: an example, with a text or parts of one, a label, choices, extras."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.items import Label, said

LETTERS = string.ascii_uppercase
SOLUTION_DIFFERS = "solution_differs"
"""The reason for an item whose worked solution arrives at another label: a label that is replaced does not mend it."""


@dataclass(frozen=True, slots=True)
class Example:
    """One usable row. For multiple choice the label is the right choice's letter."""

    number: int
    text: str
    label: Label | None = None
    choices: tuple[str, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)
    """What the text is made of, where it has several parts; see Content."""

    @property
    def answer(self) -> str:
        """The label as text; '' without one."""
        return said(self.label)


class Content(NamedTuple):
    """An item's own fields, in the order of Item's parameters."""

    text: str
    """What the item is known by: its text, all parts of it, or what the user says in it."""
    label: Label | None
    choices: tuple[str, ...]
    extras: dict[str, Any]
    parts: Mapping[str, Any]
    """By wire name, where there is more than one text: the texts, `messages`, `chosen` and `rejected`."""


class FieldProblem(ValueError):
    """A row or a reply that does not fit the mapping. `reason` is a stable slug."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def letter_of(value: Any, count: int) -> str | None:
    """The letter of one of `count` choices, however it is decorated: 'B', '(b)', 'B.'."""
    name = value.strip().strip("().").upper() if isinstance(value, str) else ""
    return name if len(name) == 1 and name in LETTERS[:count] else None


def place_of(value: Any, count: int, base: int = 0) -> int | None:
    """The place of one of `count` choices, from 0, by a number or its text that counts from `base`."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value - base if 0 <= value - base < count else None


def plain(value: Any) -> str:
    """A label as text: 3.0 and 3 are both '3', True is 'true'."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()

"""Two versions of a text, word by word: what stayed, what went, what came. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_PIECE = re.compile(r"\w+|\s+|[^\w\s]")
_MOST = 4_000
"""Pieces of a text beyond which it is compared line by line: comparing takes time by their square."""


class Piece(NamedTuple):
    """A stretch of text."""

    kind: Literal["same", "gone", "new"]
    text: str


def word_diff(before: str, after: str) -> list[Piece]:
    """The stretches that, without those that are new, give `before`, and without those that are gone, `after`."""
    one, other = _PIECE.findall(before), _PIECE.findall(after)
    if max(len(one), len(other)) > _MOST:
        one, other = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return list(_joined(_stretches(one, other)))


def _stretches(one: list[str], other: list[str]) -> Iterator[Piece]:
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    for what, start, end, first, last in matcher.get_opcodes():
        if what == "equal":
            yield Piece("same", "".join(one[start:end]))
            continue
        if start < end:
            yield Piece("gone", "".join(one[start:end]))
        if first < last:
            yield Piece("new", "".join(other[first:last]))


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Changes that only a blank separates are one change, which reads better than a word here and there."""
    gone, new, between = "", "", ""
    for piece in pieces:
        if piece.kind == "same" and piece.text.strip():
            yield from _change(gone, new)
            yield Piece("same", between + piece.text)
            gone = new = between = ""
        elif piece.kind == "same":
            if gone or new:
                gone, new = gone + piece.text, new + piece.text
            else:
                between = piece.text
        elif piece.kind == "gone":
            gone, new, between = gone + between + piece.text, new + between, ""
        else:
            gone, new, between = gone + between, new + between + piece.text, ""
    yield from _change(gone, new)
    if between:
        yield Piece("same", between)


def _change(gone: str, new: str) -> Iterator[Piece]:
    blank = ""
    while gone and new and gone[-1] == new[-1] and gone[-1].isspace():
        blank, gone, new = gone[-1] + blank, gone[:-1], new[:-1]
    if gone:
        yield Piece("gone", gone)
    if new:
        yield Piece("new", new)
    if blank:
        yield Piece("same", blank)

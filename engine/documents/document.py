"""A document as it was read: its text, where its pages, headings and indivisible parts lie; or why it was not."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Kind = Literal["heading", "text", "item", "row", "code"]


class Block(NamedTuple):
    """A piece of a document in reading order: a heading, a paragraph, an item of a list, a row of a table, code."""

    kind: Kind
    text: str
    level: int = 0
    """Of a heading, from 1; of an item of a list, how deep it is nested, from 0."""


class Heading(NamedTuple):
    """Where a heading stands in the text."""

    start: int
    level: int
    title: str


@dataclass(frozen=True)
class Document:
    """One file's text. All places are characters of `text`, from 0."""

    text: str
    pages: tuple[int, ...] = ()
    """Where each page begins; empty for a format without pages."""
    headings: tuple[Heading, ...] = ()
    rows: tuple[tuple[int, int], ...] = ()
    """Rows of tables, which are not cut."""
    code: tuple[tuple[int, int], ...] = ()
    """Blocks of code, which are cut at line ends only."""
    notes: tuple[str, ...] = ()
    """What a reader should know, as sentences: pages without text, tracked changes."""

    def page_of(self, place: int) -> int | None:
        """The page, from 1, on which a character stands; None where there are no pages."""
        return bisect_right(self.pages, place) or None if self.pages else None

    def as_json(self) -> dict[str, Any]:
        return {
            "text": self.text, "pages": self.pages, "headings": list(map(tuple, self.headings)), "rows": self.rows,
            "code": self.code, "notes": self.notes,
        }  # fmt: skip

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Document:
        return cls(
            told["text"],
            tuple(told["pages"]),
            tuple(Heading(*each) for each in told["headings"]),
            tuple((start, end) for start, end in told["rows"]),
            tuple((start, end) for start, end in told["code"]),
            tuple(told["notes"]),
        )


class Unreadable(Exception):
    """Why a file is no document. `reason` is a stable slug; the sentence says what to do."""

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(said)
        self.reason = reason
        self.said = said


_BETWEEN: Mapping[tuple[Kind, Kind], str] = {("item", "item"): "\n", ("row", "row"): "\n"}
"""What stands between two blocks; a blank line where nothing is said."""


def assembled(blocks: Iterable[Block], notes: Iterable[str] = ()) -> Document:
    """The document that consists of these blocks, in this order."""
    parts: list[str] = []
    headings: list[Heading] = []
    spans: dict[Kind, list[tuple[int, int]]] = {"row": [], "code": []}
    length, before = 0, None
    for block in blocks:
        if not block.text.strip():
            continue
        between = _BETWEEN.get((before, block.kind), "\n\n") if before is not None else ""
        text = f"{'  ' * block.level}- {block.text}" if block.kind == "item" else block.text
        start = length + len(between)
        parts += [between, text]
        length = start + len(text)
        if block.kind == "heading":
            headings.append(Heading(start, block.level, block.text))
        elif block.kind in spans:
            spans[block.kind].append((start, length))
        before = block.kind
    return Document(
        "".join(parts), (), tuple(headings), tuple(spans["row"]), tuple(spans["code"]), tuple(notes)
    )


def table_rows(rows: list[list[str]], header: bool) -> list[str]:
    """Each row as one line that says what its cells are: 'Part: P-12; Torque: 40 Nm'. Two columns without a header
    are names and values; more of them stand side by side.

    So a row can be read, and quoted, without the rows above it.
    """
    rows = [[" ".join(cell.split()) for cell in row] for row in rows]
    rows = [row for row in rows if any(row)]
    if not rows:
        return []
    if header and len(rows) > 1:
        names = rows[0]
        return [_named(names, row) for row in rows[1:]]
    return [_unnamed(row) for row in rows]


def _named(names: list[str], row: list[str]) -> str:
    cells = []
    for place, cell in enumerate(row):
        name = names[place] if place < len(names) else ""
        if cell:
            cells.append(f"{name.rstrip(':')}: {cell}" if name and name != cell else cell)
    return "; ".join(cells)


def _unnamed(row: list[str]) -> str:
    if len(row) == 2 and all(row):
        return f"{row[0].rstrip(':')}: {row[1]}"
    return " | ".join(cell for cell in row if cell)

"""What documents hold, for people and for scripts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from engine.documents.shelf import Shelf
from engine.files.writing import replacing
from engine.items import Passage
from engine.report.tables import text_table

if TYPE_CHECKING:
    from rich.table import Table

SAMPLED = 3
_MOST_ROWS = 40
"""Files that a table lists."""
LEFT_OUT = {
    "contents": "tables of contents",
    "index": "indexes and references",
    "legal": "licences and legal notices",
    "short": "too short to ask from",
    "symbols": "hardly any words",
    "repeats": "repeat another passage",
}
"""Why nothing is made from a passage, in words."""


def about(shelf: Shelf) -> dict[str, Any]:
    """Plain values for JSON: counts, and each file."""
    files, left_out, lengths = shelf.files(), shelf.left_out(), shelf.lengths()
    made = shelf.counts()
    return {
        "files": len(files),
        "read": sum(file.is_read for file in files),
        "pages": sum(file.pages or 0 for file in files),
        "characters": sum(file.characters for file in files),
        "passages": left_out.get("", 0),
        "left_out": {reason: count for reason, count in left_out.items() if reason},
        "unreadable": dict(Counter(file.reason for file in files if not file.is_read)),
        "lengths": {
            "shortest": lengths[0], "median": lengths[len(lengths) // 2], "longest": lengths[-1],
        } if lengths else None,
        "documents": [
            {
                "file": file.name, "sha256": file.sha256, "bytes": file.size, "pages": file.pages,
                "characters": file.characters, "passages": made.get(file.number, 0),
                "reason": file.reason or None, "said": file.said,
            }
            for file in files
        ],
    }  # fmt: skip


def overview_tables(shelf: Shelf) -> Iterator[Table]:
    """The documents; what became of their passages; what could not be read."""
    told = about(shelf)
    files = [(file, told["documents"][place]["passages"]) for place, file in enumerate(shelf.files())]
    read = [(file, passages) for file, passages in files if file.is_read]
    table = text_table("document", "pages", "characters", "passages", "note")
    for file, passages in read[:_MOST_ROWS]:
        pages = f"{file.pages:,}" if file.pages is not None else "-"
        table.add_row(file.name, pages, f"{file.characters:,}", f"{passages:,}", file.said)
    if len(read) > _MOST_ROWS:
        table.caption = f"and {len(read) - _MOST_ROWS:,} more"
    if read:
        yield table
    unread = [file for file, _ in files if not file.is_read]
    if unread:
        table = text_table("cannot be read", "why", "")
        for file in unread[:_MOST_ROWS]:
            table.add_row(file.name, file.reason, file.said)
        if len(unread) > _MOST_ROWS:
            table.caption = f"and {len(unread) - _MOST_ROWS:,} more"
        yield table
    table = text_table("passages", "")
    table.add_row("items can be made from", f"{told['passages']:,}")
    for reason, count in told["left_out"].items():
        table.add_row(f"left out: {LEFT_OUT.get(reason, reason)}", f"{count:,}")
    if (lengths := told["lengths"]) is not None:
        names = ("shortest", "median", "longest")
        table.add_row("characters: " + ", ".join(names), ", ".join(f"{lengths[name]:,}" for name in names))
    yield table


def sampled(shelf: Shelf, seed: int) -> list[Passage]:
    """Some of those that items can be made from."""
    numbers = [number for document in shelf.usable() for number in document]
    chosen = random.Random(seed).sample(numbers, min(SAMPLED, len(numbers)))
    return [shelf.passage(number) for number in sorted(chosen)]


def extremes(shelf: Shelf) -> list[Passage]:
    """The shortest and the longest."""
    return [shelf.passage(number) for number in shelf.extremes()]


def passage_lines(passage: Passage, left_out: str = "", same_as: int | None = None) -> Iterator[str]:
    """A passage with where it stands, for a terminal."""
    last = passage.page_at(len(passage.text))
    pages = (
        ""
        if passage.page is None
        else f", page {passage.page}" + (f"-{last}" if last != passage.page else "")
    )
    yield f"[{passage.number}] {passage.file}{pages}, characters {passage.start:,} to {passage.end:,}"
    if passage.heading:
        yield f"    {passage.heading}"
    if left_out:
        what = f" of passage {same_as}" if same_as is not None else ""
        yield f"    left out: {left_out}{what}"
    for line in passage.text.split("\n"):
        yield f"  | {line}"


def written(shelf: Shelf, path: Path) -> int:
    """Writes what items can be made from as JSON lines; how many. Raises StoreError."""
    count = 0
    with replacing(path) as file:
        for passage in shelf.passages():
            file.write(orjson.dumps(passage_row(passage)).decode() + "\n")
            count += 1
    return count


def passage_row(passage: Passage) -> dict[str, Any]:
    """A passage as a row of a corpus."""
    return {
        "id": passage_id(passage),
        "title": passage.heading.rpartition(" > ")[2] or passage.file,
        "text": passage.text,
        "file": passage.file,
        "heading": passage.heading,
        "page": passage.page,
        "start": passage.start,
        "end": passage.end,
        "sha256": passage.sha256,
    }


def passage_id(passage: Passage) -> str:
    """Its name in a corpus."""
    return f"p{passage.number}"

"""The page's tables and picture of documents: how much of each items were made from."""

from __future__ import annotations

from collections.abc import Iterator

from engine.report.page.charts import Strip, Strips
from engine.report.shape import DocumentsSection
from engine.report.tables import Listing

_MOST = 40
"""Rows of a table, and of the picture."""


def coverage_figure(section: DocumentsSection | None) -> Strips | None:
    """Each document from its beginning to its end: which parts items were made from."""
    if section is None:
        return None
    there = [each for each in section["documents"] if each["passages"]][:_MOST]
    rows = [
        Strip(
            each["file"],
            each["coverage"],
            f"{each['touched']:,} of {each['passages']:,} passages, {each['items']:,} items",
        )
        for each in there
    ]
    more = sum(bool(each["passages"]) for each in section["documents"]) - len(rows)
    note = f"And {more:,} more documents." if more else ""
    return Strips(rows, "from the beginning of each document to its end", note) if rows else None


def document_tables(section: DocumentsSection | None) -> Iterator[Listing]:
    """For the page."""
    if section is None:
        return
    per = ", ".join(f"{many:,} with {count}" for count, many in section["items_per_passage"].items())
    left = ", ".join(f"{count:,} {why}" for why, count in section["left_out"].items())
    said = f"{section['passages']:,} passages, by their items: {per}; {section['untouched']:,} untouched."
    said += f" Left out: {left}." if left else ""
    unread = [each for each in section["documents"] if each["reason"]]
    if unread:
        rows = [[each["file"], each["reason"], each["said"]] for each in unread[:_MOST]]
        yield Listing("Documents that could not be read", "", ["document", "why", ""], rows, wide=True)
    rows = [
        [each["file"], each["heading"], f"{each['passages']:,}", f"{each['items']:,}"]
        for each in section["headings"][:_MOST]
    ]
    yield Listing(
        "Documents by heading", said, ["document", "heading", "passages", "items"], rows, numbers=2, wide=True
    )

"""What the report says of documents: how much of them items were made from, and what could not be read."""

from __future__ import annotations

import sqlite3
from collections import Counter
from itertools import pairwise

from engine.report.shape import DocumentEntry, DocumentsSection

_MOST = 1_000
"""Documents, and headings, that are listed; those with the most passages."""
_LEVELS = 2
"""Headings by which passages are counted: the outermost is often the document's title."""
BINS = 60
"""Parts of a document of which each is shown as touched or not."""


def documents_section(connection: sqlite3.Connection) -> DocumentsSection | None:
    """None for a run that was made from no documents."""
    try:
        files = connection.execute(
            "SELECT document, file, pages, characters, reason, said FROM documents ORDER BY document"
        ).fetchall()
    except sqlite3.OperationalError:  # a run of an earlier release, which is only read
        return None
    if not files:
        return None
    used = dict(connection.execute(_USED).fetchall())
    there: dict[int, list[tuple[int, str]]] = {}
    left_out: Counter[str] = Counter()
    rows = "SELECT document, passage, heading, left_out FROM passages ORDER BY passage"
    for document, passage, heading, why in connection.execute(rows):
        if why:
            left_out[why] += 1
        else:
            there.setdefault(document, []).append((passage, heading))
    headings: dict[tuple[str, str], list[int]] = {}
    entries = []
    for document, file, pages, characters, reason, said in files:
        passages = there.get(document, [])
        entries.append(_entry(file, pages, characters, reason, said, [used.get(n, 0) for n, _ in passages]))
        for number, heading in passages:
            counts = headings.setdefault(
                (file, " > ".join(heading.split(" > ")[:_LEVELS]) or "(no heading)"), [0, 0]
            )
            counts[0] += 1
            counts[1] += used.get(number, 0)
    usable = [number for passages in there.values() for number, _ in passages]
    return {
        "files": len(files),
        "unreadable": dict(Counter(entry["reason"] for entry in entries if entry["reason"])),
        "passages": len(usable),
        "untouched": sum(number not in used for number in usable),
        "left_out": dict(left_out),
        "items_per_passage": {
            str(count): many
            for count, many in sorted(Counter(used.get(number, 0) for number in usable).items())
        },
        "documents": sorted(entries, key=lambda entry: (not entry["reason"], -entry["passages"]))[:_MOST],
        "headings": [
            {"file": file, "heading": heading, "passages": passages, "items": items}
            for (file, heading), (passages, items) in sorted(headings.items(), key=lambda each: -each[1][0])[
                :_MOST
            ]
        ],
    }


_USED = """
SELECT json_extract(s.value, '$.passage'), count(*) FROM items,
  json_each(CASE json_type(meta, '$.source') WHEN 'array' THEN json_extract(meta, '$.source')
                                             ELSE json_array(json(json_extract(meta, '$.source'))) END) AS s
WHERE state = 'accepted' AND json_type(meta, '$.source') IS NOT NULL GROUP BY 1
"""
"""Accepted items by the passage that they were made from; an item of several counts for each."""


def _entry(
    file: str, pages: int | None, characters: int, reason: str, said: str, items: list[int]
) -> DocumentEntry:
    bins = min(BINS, len(items))
    bounds = [len(items) * place // bins for place in range(bins + 1)] if bins else []
    return {
        "file": file,
        "pages": pages,
        "characters": characters,
        "passages": len(items),
        "touched": sum(count > 0 for count in items),
        "items": sum(items),
        "reason": reason,
        "said": said,
        "coverage": [
            round(sum(count > 0 for count in items[low:high]) / (high - low), 3)
            for low, high in pairwise(bounds)
        ],
    }

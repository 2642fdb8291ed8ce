"""What the report says of a run over rows: how many have an answer, how many were asked for, how many were spared."""

from __future__ import annotations

import sqlite3

from engine.report.shape import RowsSection
from engine.store.reading import read_fact

FACT = "rows"
"""The journal's fact about what is asked for each row: `samples`, `keep`, `reuse`, and the first step's `purpose`."""


def rows_section(connection: sqlite3.Connection) -> RowsSection | None:
    """None for a run that maps no rows."""
    asked_for = read_fact(connection, FACT)
    if not asked_for:
        return None
    rows, kept, without = connection.execute(_FATES).fetchone()
    calls = connection.execute(_CALLS, (asked_for["purpose"],)).fetchone()[0]
    asked, answers, most = connection.execute(_ANSWERS, (not asked_for["reuse"],)).fetchone()
    if not asked_for["reuse"]:
        answers = calls
    return {
        "decided": rows,
        "kept": (kept or 0) - (without or 0),
        "without": without or 0,
        "dropped": rows - (kept or 0),
        "answers": answers or 0,
        "most_answers": most or 0,
        "reused": max(0, (answers or 0) - calls),
        "spared": max(0, asked * asked_for["samples"] - (answers or 0))
        if asked_for["keep"] == "first"
        else 0,
    }


_FATES = """
SELECT count(*), sum(kept), sum(empty) FROM (
    SELECT max(state = 'accepted') AS kept, max(json_extract(meta, '$.null') IS NOT NULL) AS empty
    FROM items GROUP BY item >> 16
)
"""
_ANSWERS = """
SELECT count(*), sum(answers), max(answers) FROM (
    SELECT coalesce(json_extract(meta, '$.samples.of'), 1) AS answers FROM items
    WHERE item & 65535 = 0 AND (?1 OR json_extract(meta, '$.asked') IS NOT NULL)
)
"""
_CALLS = "SELECT count(*) FROM calls WHERE owner = 'map' AND purpose = ? AND key NOT LIKE '%.2'"

"""What the report and the status say of workers."""

from __future__ import annotations

import sqlite3
import time

from engine.items import usd
from engine.report.shape import WorkerEntry, WorkersSection
from engine.store.workers import WorkerRow, read_late, read_workers

SHOWN = 64
"""Workers of a start that are listed; those that are there come first, then the latest ones."""


def workers_section(connection: sqlite3.Connection, now: float | None = None) -> WorkersSection | None:
    """Of the last start that had any; None where no start had."""
    rows = read_workers(connection)
    if not rows:
        return None
    now = time.time() if now is None else now
    there = sorted(rows, key=lambda row: (row.left is not None, -row.epoch))
    late, cost = read_late(connection)
    return {
        "start": rows[0].start,
        "joined": len(rows),
        "late_calls": late,
        "late_usd": usd(cost),
        "workers": [entry_of(row, now) for row in sorted(there[:SHOWN])],
    }


def entry_of(row: WorkerRow, now: float) -> WorkerEntry:
    """The worker as people see it; `now` is in seconds since the epoch."""
    seconds = (row.left or row.heard) - row.joined
    return {
        "name": row.name,
        "where": row.place,
        "items": row.items,
        "calls": row.calls,
        "items_per_s": round(row.items / seconds, 2) if seconds > 0 else 0.0,
        "in_flight": row.in_flight if row.left is None else 0,
        "heard_s": round(max(0.0, now - row.heard), 1) if row.left is None else None,
        "left": row.why,
    }


def worker_line(entry: WorkerEntry) -> str:
    """'worker 1 at process 812: 5.2 items/s, 1,204 in all; 6 calls in flight, heard 0.4 s ago'"""
    did = f"{entry['items_per_s']:,.1f} items/s, {entry['items']:,} in all"
    if entry["heard_s"] is None:
        now = f"left: {entry['left']}"
    else:
        now = f"{entry['in_flight']} calls in flight, heard {entry['heard_s']:.1f} s ago"
    return f"{entry['name']} at {entry['where']}: {did}; {now}"

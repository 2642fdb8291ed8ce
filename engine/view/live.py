"""Where a run stands at this moment, from its small tables and its index: what the live page shows, once a second."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.items import item_id, usd
from engine.report.page.page_data import series
from engine.report.remaining import left
from engine.schema.values import loads
from engine.store.folder import RunFolder
from engine.store.reading import read_fact, read_starts
from engine.view.index import Index
from engine.view.totals import read_report, read_totals, read_wanted

_LAST = 8
"""Items of each fate that are shown as they come."""
_REASONS = 12
_WINDOW_S = 60.0
"""Seconds of which the pace is measured."""


@dataclass(frozen=True)
class Standing:
    """A run at one moment."""

    state: str
    """running, or how the last start ended."""
    message: str
    accepted: int
    rejected: int
    surplus: int
    target: int
    spent: float
    cap: float | None
    priced: bool
    calls: int
    in_flight: int
    calls_per_s: float
    items_per_s: float
    left: str
    """How long it may still take, in words."""
    ends_at_usd: float | None
    """What it will have cost, if it goes on as in the last minute."""
    reasons: Sequence[tuple[str, str, int]]
    """(by, reason, count) of rejections, most frequent first."""
    endpoints: Sequence[Mapping[str, Any]]
    workers: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]
    last: Mapping[str, Sequence[tuple[str, str, str]]] = field(default_factory=dict)
    """By fate, the latest items: id, text, reason."""
    began: float | None = None
    elapsed: float = 0.0


def standing(
    connection: sqlite3.Connection,
    index: Index,
    folder: RunFolder,
    text_of: Callable[[Any], str],
    *,
    running: bool,
) -> Standing:
    """`text_of` gives the text by which an item is known from its record."""
    last = read_starts(connection)[-1]
    target, cap = read_wanted(folder)
    states = index.states()
    samples = connection.execute(
        "SELECT at, accepted, rejected, calls, spent, in_flight FROM samples WHERE start = ?"
        " ORDER BY at DESC LIMIT 200",
        (last.number,),
    ).fetchall()
    now = _latest(samples)
    then = next((row for row in samples if now[0] - row[0] >= _WINDOW_S), samples[-1] if samples else now)
    span = max(1e-9, now[0] - then[0])
    pace = (now[1] - then[1]) / span if len(samples) > 1 else 0.0
    accepted = states["accepted"]
    missing = max(0, target - accepted)
    spent = read_totals(connection, last, read_report(folder), running=running).spent
    dollars = usd(now[4] - then[4]) / span if len(samples) > 1 else 0.0
    return Standing(
        state="running" if running else last.outcome or "killed",
        message=str(last.counts.get("message", "")),
        accepted=accepted,
        rejected=states["rejected"],
        surplus=states["surplus"],
        target=target,
        spent=spent,
        cap=cap,
        priced=bool(read_fact(connection, "priced")),
        calls=now[3],
        in_flight=now[5] if running else 0,
        calls_per_s=(now[3] - then[3]) / span if running and len(samples) > 1 else 0.0,
        items_per_s=pace if running else 0.0,
        left=_left(connection, last.number, missing) if running else "",
        ends_at_usd=spent + dollars * missing / pace if running and pace > 0 else None,
        reasons=index.reasons(_REASONS),
        endpoints=(last.counts.get("endpoints") or []) if running else [],
        workers=_workers(connection, last.number) if running else [],
        events=list(last.counts.get("events") or [])[-12:],
        last=_last(connection, text_of),
        began=last.began,
        elapsed=(time.time() if running else last.ended or last.began) - last.began,
    )


def _latest(samples: Sequence[Any]) -> Any:
    return samples[0] if samples else (0.0, 0, 0, 0, 0, 0)


def _left(connection: sqlite3.Connection, start: int, missing: int) -> str:
    marks = connection.execute(
        "SELECT at, accepted FROM samples WHERE start = ? ORDER BY at", (start,)
    ).fetchall()
    found = left(marks, missing)
    return found.words if found is not None else ""


def _last(
    connection: sqlite3.Connection, text_of: Callable[[Any], str]
) -> dict[str, list[tuple[str, str, str]]]:
    found: dict[str, list[tuple[str, str, str]]] = {}
    for state in ("accepted", "rejected"):
        rows = connection.execute(
            "SELECT item, record, coalesce(rejected_by, ''), coalesce(reason, '') FROM"
            " (SELECT * FROM items ORDER BY item DESC LIMIT 400) WHERE state = ? LIMIT ?",
            (state, _LAST),
        ).fetchall()
        found[state] = [
            (item_id(number), text_of(loads(record)), f"{by}: {reason}" if by else "")
            for number, record, by, reason in rows
        ]
    return found


def _workers(connection: sqlite3.Connection, start: int) -> list[dict[str, Any]]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'workers'").fetchone():
        return []
    rows = connection.execute(
        "SELECT name, place, heard, items, calls, in_flight FROM workers WHERE start = ? AND left IS NULL"
        " ORDER BY epoch",
        (start,),
    )
    names = ("name", "place", "heard", "items", "calls", "in_flight")
    return [dict(zip(names, row, strict=True)) for row in rows]


def lines(connection: sqlite3.Connection) -> bytes:
    """The run over time, as JSON for the curves: seconds, and the totals at them."""
    found = series(connection)
    return orjson.dumps(
        {
            "seconds": found.seconds,
            "accepted": found.accepted,
            "rejected": found.rejected,
            "calls": found.calls,
            "spent": found.spent,
            "in_flight": found.in_flight,
            "starts": found.starts,
        }
    )

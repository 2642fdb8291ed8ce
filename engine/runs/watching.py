"""A run that another process makes, as a snapshot from its folder: for whoever looks from another terminal."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from engine.config import RunConfig
from engine.items import usd
from engine.report.live import Snapshot
from engine.report.remaining import left
from engine.report.workers import worker_line, workers_section
from engine.store.folder import RunFolder
from engine.store.reading import connect, read_fact, read_starts

_PACE_S = 30.0
_REASONS_S = 5.0
"""Seconds between two counts of the rejections, which read all items."""


class Watch:
    """Reads a run's folder, again and again. Mutable state: the rejections as counted last, and when."""

    def __init__(self, folder: RunFolder) -> None:
        config = RunConfig.load(folder.config, lenient=True)
        self._folder = folder
        self._target = config.generate.target or 0
        self._cap = config.limits.budget_usd
        self._rejected_by: dict[str, int] = {}
        self._counted = 0.0

    def snapshot(self) -> Snapshot:
        """Where the run stands. Raises StoreError."""
        with contextlib.closing(connect(self._folder.database)) as connection:
            return self._read(connection)

    def _read(self, connection: sqlite3.Connection) -> Snapshot:
        last = read_starts(connection)[-1]
        samples = connection.execute(
            "SELECT at, accepted, rejected, calls, spent, in_flight FROM samples WHERE start = ? ORDER BY at",
            (last.number,),
        ).fetchall()
        now = samples[-1] if samples else (0.0, 0, 0, 0, 0, 0)
        first = samples[0] if samples else now
        then = next((row for row in samples if now[0] - row[0] <= _PACE_S), now)
        span = now[0] - then[0]
        if time.monotonic() - self._counted > _REASONS_S:
            self._counted = time.monotonic()
            self._rejected_by = dict(
                connection.execute(
                    "SELECT rejected_by, count(*) FROM items WHERE state = 'rejected' GROUP BY 1 ORDER BY 2 DESC"
                ).fetchall()
            )
        wanted = read_fact(connection, "rows") if not self._target else self._target
        target = int(wanted) if isinstance(wanted, int) else self._target
        counts = last.counts
        marks = [(row[0], row[1]) for row in samples]
        ended = last.outcome
        return Snapshot(
            target=target,
            accepted=now[1],
            rejected=now[2],
            surplus=0,
            spent_usd=usd(now[4]),
            cap_usd=self._cap,
            calls=now[3],
            calls_per_s=(now[3] - then[3]) / span if span > 0 else 0.0,
            in_flight=now[5],
            retried=int(counts.get("retried", 0)),
            rate_limited=int(counts.get("rate_limited", 0)),
            left=left(marks, target - now[1]),
            queues={},
            rejected_by=self._rejected_by,
            note=f"ended: {ended}" if ended else _note(counts),
            workers=_workers(connection),
            elapsed_s=(last.ended or time.time()) - last.began,
            here=(now[1] - first[1], now[2] - first[2], usd(now[4] - first[4])),
            folder=str(self._folder.path),
            priced=bool(read_fact(connection, "priced")),
        )


def _workers(connection: sqlite3.Connection) -> list[str]:
    section = workers_section(connection)
    return [worker_line(entry) for entry in section["workers"]] if section is not None else []


def _note(counts: dict[str, Any]) -> str:
    waits = "; ".join(each["waits"] for each in counts.get("endpoints") or () if each.get("waits"))
    events = counts.get("events") or ()
    return waits or (str(events[-1]["words"]) if events else "")


def snapshots_of(folder: RunFolder) -> Callable[[], Snapshot]:
    """For a display."""
    return Watch(folder).snapshot

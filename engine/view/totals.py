"""A run's totals without reading all of it: from its report where it has ended, else from its last sample."""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from engine.config import RunConfig
from engine.items import usd
from engine.store.folder import RunFolder
from engine.store.reading import Start, read_spent, read_tallies


class Totals(NamedTuple):
    """Over all starts."""

    accepted: int
    rejected: int
    spent: float
    """Dollars."""


class Wanted(NamedTuple):
    """What the config asks for."""

    target: int
    cap: float | None


def read_report(folder: RunFolder) -> dict[str, Any] | None:
    """What report.json holds; None where it is no report."""
    try:
        found = orjson.loads(folder.report.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"items", "cost"} <= found.keys() else None


def read_totals(
    connection: sqlite3.Connection, last: Start, report: dict[str, Any] | None, *, running: bool
) -> Totals:
    """`last` is the last start; `report` what report.json holds. A sample is two seconds old at most."""
    if not running and last.outcome is not None and report is not None:
        items = report["items"]
        return Totals(items["accepted"], items["rejected"], report["cost"]["spent_usd"])
    sample = connection.execute(
        "SELECT accepted, rejected, spent FROM samples WHERE start = ? ORDER BY rowid DESC LIMIT 1",
        (last.number,),
    ).fetchone()
    if sample is not None:
        return Totals(sample[0], sample[1], usd(sample[2]))
    tallies = read_tallies(connection)
    return Totals(tallies.accepted, tallies.rejected, usd(read_spent(connection, running=running)))


def read_wanted(folder: RunFolder) -> Wanted:
    """By the folder's config, which a resume may have changed. Raises ConfigError."""
    try:
        changed = folder.config.stat().st_mtime_ns
    except OSError:
        changed = 0
    return _wanted(folder.config, changed)


@lru_cache(maxsize=512)
def _wanted(path: Path, changed: int) -> Wanted:
    """Read again only where the file has changed: it is asked for every second, and by every run of a folder."""
    config = RunConfig.load(path, lenient=True)
    return Wanted(config.generate.target or 0, config.limits.budget_usd)

"""report.json: a run's outcome, counted from its journal."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from engine.items import usd
from engine.report.diversity import coverage, lessons, strategies
from engine.report.sections import counted, read_descriptions
from engine.store.reading import Start, read_fact, read_spent, read_starts, read_tallies, read_unconfirmed


@dataclass(frozen=True)
class Report:
    """The content of report.json."""

    data: Mapping[str, Any]

    @property
    def outcome(self) -> str:
        return str(self.data["outcome"])

    @property
    def accepted(self) -> int:
        return int(self.data["items"]["accepted"])

    def to_json(self) -> str:
        return orjson.dumps(self.data, option=orjson.OPT_INDENT_2).decode()


def summarize(
    connection: sqlite3.Connection, *, target: int, cap_usd: float | None, running: bool = False
) -> Report:
    """Counts and costs over all starts of the run; `time` is the last start's."""
    starts = read_starts(connection)
    last = starts[-1]
    calls = _calls(connection, starts)
    spent = read_spent(connection, running=running)
    items = _items(connection, target)
    wall = float(last.counts.get("wall_s", 0.0))
    accepted = items["accepted"]
    data: dict[str, Any] = {
        "outcome": last.outcome or "running",
        "mode": read_fact(connection, "mode") or "run",
        "message": last.counts.get("message", ""),
        "stopped_early": bool(last.counts.get("stopped_early")),
        "items": items,
        "validators": _validators(connection, read_fact(connection, "validators") or []),
        **counted(connection),
        "calls": calls,
        "usage": _usage(connection),
        "cost": {
            "spent_usd": usd(spent),
            "cap_usd": cap_usd,
            "per_accepted_usd": usd(spent) / accepted if accepted else 0.0,
            "by_purpose": _cost_by_purpose(connection),
            "unconfirmed_usd": usd(read_unconfirmed(connection, running=running)),
            "priced": bool(read_fact(connection, "priced")),
        },
        "time": {
            "wall_s": round(wall, 3),
            "items_per_s": round(last.counts.get("accepted", 0) / wall, 3) if wall else 0.0,
            "calls_per_s": round(last.counts.get("completed", 0) / wall, 3) if wall else 0.0,
        },
        "events": _events(starts),
        "lessons": _lessons(connection),
        "diversity": _diversity(connection),
        "dataset": read_fact(connection, "dataset"),
        "model": read_fact(connection, "model"),
        "seed": read_fact(connection, "seed"),
        "starts": len(starts),
        "engine_version": read_fact(connection, "engine_version"),
    }
    return Report(data)


def _events(starts: Sequence[Start]) -> list[dict[str, Any]]:
    """The events of all starts; a limit that several starts found is listed once."""
    events: dict[Any, dict[str, Any]] = {}
    for number, start in enumerate(starts):
        for event in start.counts.get("events", ()):
            again = "" if event["kind"] == "limits" else number
            events.setdefault((event["kind"], event["endpoint"], again), event)
    return list(events.values())


def _diversity(connection: sqlite3.Connection) -> dict[str, Any]:
    """The diversity settings and their results; `measures` date from the last end of the run."""
    about = read_fact(connection, "diversity") or {}
    section = {name: about[name] for name in ("embedding", "groupcheck") if name in about}
    if about.get("attributes"):
        section["attributes"] = {"asked_for": about["attributes"], **coverage(connection)}
    if read_fact(connection, "strategies"):
        section["strategies"] = strategies(connection)
    if (measures := read_fact(connection, "measures")) is not None:
        section["measures"] = measures
    return section


def _items(connection: sqlite3.Connection, target: int) -> dict[str, Any]:
    tallies = read_tallies(connection)
    reasons: dict[str, dict[str, int]] = {}
    for by, reason, count in connection.execute(
        "SELECT rejected_by, reason, count(*) FROM items WHERE state = 'rejected' GROUP BY 1, 2 ORDER BY 3 DESC"
    ):
        reasons.setdefault(by, {})[reason or ""] = count
    return {
        "target": target,
        "generated": tallies.accepted + tallies.rejected + tallies.surplus,
        "accepted": tallies.accepted,
        "rejected": tallies.rejected,
        "surplus": tallies.surplus,
        "rejected_by": {by: sum(counts.values()) for by, counts in reasons.items()},
        "reasons": reasons,
    }


def _validators(connection: sqlite3.Connection, names: Sequence[str]) -> dict[str, Any]:
    """Each validator's counts, time and cost. `usd_per_catch`: dollars per corrected or rejected item."""
    shown: dict[str, dict[str, Any]] = {
        name: {"seen": 0, "passed": 0, "revised": 0, "rejected": 0, "reasons": {}, "seconds": 0.0}
        for name in names
    }
    for by, verdict, reason, count, seconds in connection.execute(
        "SELECT json_extract(v.value, '$.by'), json_extract(v.value, '$.verdict'),"
        " json_extract(v.value, '$.reason'), count(*), sum(json_extract(v.value, '$.seconds'))"
        " FROM items, json_each(items.meta, '$.verdicts') AS v GROUP BY 1, 2, 3"
    ):
        if by in shown:
            entry = shown[by]
            entry["seen"] += count
            entry[_DONE.get(verdict, "rejected")] += count
            entry["seconds"] = round(entry["seconds"] + seconds, 6)
            if reason:
                entry["reasons"][reason] = entry["reasons"].get(reason, 0) + count
    described = read_descriptions(connection, names)
    owners = connection.execute("SELECT owner, count(*), sum(cost) FROM calls GROUP BY owner").fetchall()
    calls = {owner: (count, cost) for owner, count, cost in owners}
    for name, entry in shown.items():
        entry["calls"], cost = calls.get(name, (0, 0))
        caught = entry["revised"] + entry["rejected"]
        entry["cost_usd"] = usd(cost)
        entry["usd_per_catch"] = usd(cost) / caught if caught else None
        if name in described:
            entry["about"] = described[name]
    return shown


def _lessons(connection: sqlite3.Connection) -> dict[str, Any]:
    """The lessons that the generator was given, and their effect on acceptance."""
    state = read_fact(connection, "lessons")
    return {**state, "acceptance": lessons(connection)} if state else {}


_DONE = {"pass": "passed", "revise": "revised"}


def _calls(connection: sqlite3.Connection, starts: Sequence[Start]) -> dict[str, Any]:
    completed, failed, estimated = connection.execute(
        "SELECT coalesce(sum(error IS NULL), 0), coalesce(sum(error IS NOT NULL), 0),"
        " coalesce(sum(estimated), 0) FROM calls"
    ).fetchone()
    purposes = connection.execute("SELECT purpose, count(*) FROM calls WHERE error IS NULL GROUP BY purpose")
    errors: Counter[str] = Counter()
    for start in starts:
        errors.update(start.counts.get("errors", {}))
    return {
        "completed": completed,
        "retried": sum(start.counts.get("retried", 0) for start in starts),
        "rate_limited": sum(start.counts.get("rate_limited", 0) for start in starts),
        "failed": failed,
        "by_purpose": dict(purposes.fetchall()),
        "usage_estimated": estimated,
        "failed_attempts": dict(errors),
        "hedged": sum(start.counts.get("hedged", 0) for start in starts),
    }


def _usage(connection: sqlite3.Connection) -> dict[str, int]:
    prompt, completion, cached = connection.execute(
        "SELECT coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),"
        " coalesce(sum(cached_tokens), 0) FROM calls"
    ).fetchone()
    return {"prompt_tokens": prompt, "completion_tokens": completion, "cached_tokens": cached}


def _cost_by_purpose(connection: sqlite3.Connection) -> dict[str, float]:
    rows = connection.execute("SELECT purpose, sum(cost) FROM calls GROUP BY purpose")
    return {purpose: usd(cost) for purpose, cost in rows}

"""report.json: a run's outcome, counted from its journal."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import orjson

from engine.errors import PERMANENT_BY_REASON
from engine.items import POSITIONS, usd
from engine.llm.batches.part import OPEN, Fate, State
from engine.report.diversity import coverage, lessons, strategies
from engine.report.documents import documents_section
from engine.report.rows import rows_section
from engine.report.sections import counted, read_descriptions
from engine.report.shape import (
    BatchesSection,
    Calls,
    Cost,
    Diversity,
    EventEntry,
    Items,
    LessonsSection,
    QualitySection,
    ReportData,
    Time,
    Tokens,
    Undecided,
    ValidatorEntry,
)
from engine.report.workers import workers_section
from engine.store.opinions import people_of
from engine.store.parts import read_parts
from engine.store.reading import (
    RunFacts,
    Start,
    read_fact,
    read_facts,
    read_spent,
    read_starts,
    read_tallies,
    read_unconfirmed,
)


@dataclass(frozen=True)
class Report:
    """The content of report.json."""

    data: ReportData

    @property
    def outcome(self) -> str:
        return self.data["outcome"]

    @property
    def accepted(self) -> int:
        return self.data["items"]["accepted"]

    def to_json(self) -> str:
        return orjson.dumps(self.data, option=orjson.OPT_INDENT_2).decode()


def summarize(
    connection: sqlite3.Connection, *, target: int, cap_usd: float | None, running: bool = False
) -> Report:
    """Counts and costs over all starts of the run; `time` is the last start's."""
    starts, facts = read_starts(connection), read_facts(connection)
    last, items = starts[-1], _items(connection, target)
    data = {
        "outcome": last.outcome or "running",
        "mode": facts.mode,
        "message": last.counts.get("message", ""),
        "stopped_early": bool(last.counts.get("stopped_early")),
        "items": items,
        "validators": _validators(connection, facts.validators),
        **counted(connection),
        "calls": _calls(connection, starts),
        **({"batches": batches} if (batches := _batches(connection)) is not None else {}),
        **({"workers": workers} if (workers := workers_section(connection)) is not None else {}),
        **({"rows": rows} if (rows := rows_section(connection)) is not None else {}),
        **({"documents": documents} if (documents := documents_section(connection)) is not None else {}),
        "usage": _usage(connection),
        "cost": _cost(connection, cap_usd, items["accepted"], priced=facts.priced, running=running),
        "time": _time(last),
        "events": _events(starts),
        "lessons": _lessons(connection),
        "diversity": _diversity(connection, facts),
        "growth": read_fact(connection, "growth") or {},
        "quality": _quality(connection),
        "dataset": facts.dataset,
        "model": facts.model,
        "seed": facts.seed,
        "starts": len(starts),
        "engine_version": facts.engine_version,
    }
    return Report(cast(ReportData, data))


def _quality(connection: sqlite3.Connection) -> QualitySection:
    """What a calibration says of the labels, and what people who have judged some of the items say."""
    section = read_fact(connection, "quality") or {}
    people = people_of(connection)
    return cast(QualitySection, {**section, "people": people} if people else section)


def _cost(
    connection: sqlite3.Connection, cap_usd: float | None, accepted: int, *, priced: bool, running: bool
) -> Cost:
    spent = usd(read_spent(connection, running=running))
    by_purpose = connection.execute("SELECT purpose, sum(cost) FROM calls GROUP BY purpose")
    return {
        "spent_usd": spent,
        "cap_usd": cap_usd,
        "per_accepted_usd": spent / accepted if accepted else 0.0,
        "by_purpose": {purpose: usd(cost) for purpose, cost in by_purpose},
        "unconfirmed_usd": usd(read_unconfirmed(connection, running=running)),
        "priced": priced,
    }


def _time(start: Start) -> Time:
    wall = float(start.counts.get("wall_s", 0.0))

    def per_second(count: str) -> float:
        return round(start.counts.get(count, 0) / wall, 3) if wall else 0.0

    return {
        "wall_s": round(wall, 3),
        "items_per_s": per_second("accepted"),
        "calls_per_s": per_second("completed"),
    }


def _events(starts: Sequence[Start]) -> list[EventEntry]:
    """The events of all starts; a limit that several starts found is listed once."""
    events: dict[tuple[str, str, int], EventEntry] = {}
    for number, start in enumerate(starts):
        for event in start.counts.get("events", ()):
            again = -1 if event["kind"] == "limits" else number
            events.setdefault((event["kind"], event["endpoint"], again), event)
    return list(events.values())


def _diversity(connection: sqlite3.Connection, facts: RunFacts) -> Diversity:
    """The diversity settings and their results; `measures` date from the last end of the run."""
    about = read_fact(connection, "diversity") or {}
    section: Diversity = {}
    if "embedding" in about:
        section["embedding"] = about["embedding"]
    if "groupcheck" in about:
        section["groupcheck"] = about["groupcheck"]
    if about.get("attributes"):
        section["attributes"] = {"asked_for": about["attributes"], **coverage(connection)}
    if facts.strategies:
        section["strategies"] = strategies(connection)
    if (measures := read_fact(connection, "measures")) is not None:
        section["measures"] = measures
    return section


def _items(connection: sqlite3.Connection, target: int) -> Items:
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
        **_undecided(connection, tallies.accepted + tallies.rejected),
    }


def _undecided(connection: sqlite3.Connection, decided: int) -> Undecided:
    """Of the batches that a call has brought, the items without a fate; each at the mean cost of validating one."""
    committed = int(read_fact(connection, "committed") or 0)
    size = int((read_fact(connection, "identity") or {}).get("generate.batch_size") or 0)
    brought = connection.execute(
        "SELECT DISTINCT batch FROM calls WHERE purpose = 'items' AND error IS NULL AND batch >= ?",
        (committed,),
    ).fetchall()
    if not brought or not size:
        return {"undecided": 0, "finishing_usd": 0.0}
    fates = dict(
        connection.execute(
            f"SELECT item / {POSITIONS}, count(*) FROM items WHERE item >= ? AND state != 'surplus' GROUP BY 1",  # noqa: S608
            (committed * POSITIONS,),
        )
    )
    open_ = sum(max(0, size - fates.get(batch, 0)) for (batch,) in brought)
    [whole, begun, calls] = connection.execute(
        "SELECT coalesce(sum(cost) FILTER (WHERE batch < ?1), 0), coalesce(sum(cost) FILTER (WHERE batch >= ?1), 0),"
        " count(*) FROM calls WHERE purpose NOT IN ('items', 'embedding', 'attributes', 'lessons')",
        (committed,),
    ).fetchone()
    [through] = connection.execute(
        "SELECT count(*) FROM items WHERE item < ? AND state != 'surplus'", (committed * POSITIONS,)
    ).fetchone()
    # What is under way may have got far, and what it has taken is not paid again; but each has a call to come.
    least = (whole + begun) // calls * open_ if calls else 0
    left = max(least, (whole // through * open_ if through else 0) - begun)
    return {"undecided": open_, "finishing_usd": usd(left)}


def _validators(connection: sqlite3.Connection, names: Sequence[str]) -> dict[str, ValidatorEntry]:
    """Each validator's counts, time and cost, in the order of the config."""
    verdicts: dict[str, list[VerdictCount]] = {name: [] for name in names}
    for by, *counted_ in connection.execute(
        "SELECT json_extract(v.value, '$.by'), json_extract(v.value, '$.verdict'),"
        " json_extract(v.value, '$.reason'), count(*), sum(json_extract(v.value, '$.seconds'))"
        " FROM items, json_each(items.meta, '$.verdicts') AS v GROUP BY 1, 2, 3"
    ):
        if by in verdicts:
            verdicts[by].append(VerdictCount(*counted_))
    owners = connection.execute("SELECT owner, count(*), sum(cost) FROM calls GROUP BY owner").fetchall()
    calls = {owner: (count, cost) for owner, count, cost in owners}
    about = read_descriptions(connection, names)
    entries = {name: _validator(verdicts[name], *calls.get(name, (0, 0)), about.get(name)) for name in names}
    for by, better in connection.execute(
        "SELECT json_extract(v.value, '$.by'), avg(json_extract(v.value, '$.record.better'))"
        " FROM items, json_each(items.meta, '$.verdicts') AS v"
        " WHERE json_extract(v.value, '$.record.better') IS NOT NULL GROUP BY 1"
    ):
        if by in entries:
            entries[by]["better"] = round(better, 4)
    return entries


class VerdictCount(NamedTuple):
    """How often a validator decided so for that reason, and how long it took in all."""

    decision: str
    reason: str | None
    times: int
    seconds: float


_NO_DEFECT = frozenset(
    (*PERMANENT_BY_REASON, "validator_error", "unverifiable", "scattered", "no_label", "unstable")
)
"""Reasons of rejections that found no defect: a call failed, or nobody could tell."""


def _validator(
    verdicts: Sequence[VerdictCount], calls: int, cost: int, about: dict[str, Any] | None
) -> ValidatorEntry:
    by_decision: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for verdict in verdicts:
        by_decision[verdict.decision] += verdict.times
        if verdict.reason:
            reasons[verdict.reason] += verdict.times
    seen, passed, revised = by_decision.total(), by_decision["pass"], by_decision["revise"]
    no_defect = {*_NO_DEFECT, *((about or {}).get("edits") or ())}
    caught = sum(each.times for each in verdicts if each.decision != "pass" and each.reason not in no_defect)
    entry: ValidatorEntry = {
        "seen": seen,
        "passed": passed,
        "revised": revised,
        "rejected": seen - passed - revised,
        "reasons": dict(reasons),
        "seconds": round(sum(verdict.seconds for verdict in verdicts), 6),
        "calls": calls,
        "cost_usd": usd(cost),
        "caught": caught,
        "usd_per_catch": usd(cost) / caught if caught else None,
    }
    return entry if about is None else {**entry, "about": about}


def _lessons(connection: sqlite3.Connection) -> LessonsSection:
    """The lessons that the generator was given, and their effect on acceptance."""
    state = read_fact(connection, "lessons")
    return cast(LessonsSection, {**state, "acceptance": lessons(connection)}) if state else {}


def _calls(connection: sqlite3.Connection, starts: Sequence[Start]) -> Calls:
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


def _batches(connection: sqlite3.Connection) -> BatchesSection | None:
    parts = [part for part in read_parts(connection) if part.state not in (State.SPOOLED, State.VOID)]
    if not parts:
        return None
    collected = [part for part in parts if part.state is State.COLLECTED]
    open_ = [part for part in parts if part.state in OPEN]
    done = sum(part.counts.get("done", 0) + part.counts.get("failed", 0) for part in open_)
    [answered] = connection.execute("SELECT count(*) FROM asked WHERE fate = ?", (Fate.ANSWERED,)).fetchone()
    ends = [part.until for part in open_ if part.until is not None]
    return {
        "waves": len({part.wave for part in collected}),
        "parts": len(parts),
        "calls": answered,
        "cost_usd": usd(sum(part.cost for part in collected)),
        "open_parts": len(open_),
        "open_calls": sum(part.calls for part in open_),
        "done": done,
        "set_aside_usd": usd(sum(part.worst for part in open_)),
        "until": max(ends, default=None),
    }


def _usage(connection: sqlite3.Connection) -> Tokens:
    prompt, completion, cached, reasoning = connection.execute(
        "SELECT coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),"
        " coalesce(sum(cached_tokens), 0), coalesce(sum(reasoning_tokens), 0) FROM calls"
    ).fetchone()
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cached_tokens": cached,
        "reasoning_tokens": reasoning,
    }

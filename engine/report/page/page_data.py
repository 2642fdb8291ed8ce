"""What a run's page shows, read from its journal as plain values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.dataset.fields import Fields
from engine.dataset.forms import Example
from engine.items import item_id, item_number, usd
from engine.report.mapping import TEXT
from engine.report.profile import MOST, profile_of
from engine.report.sections import OwnedSection, read_sections
from engine.report.summary import Report
from engine.schema.values import dumps, loads
from engine.store.reading import REVIEW, read_fact, read_starts

EXAMPLES = 3
SHOWN = 24
"""Accepted items that can be read on the page."""
"""Rejected items shown for each reason."""
_REASONS = 12
_SAMPLES = 600
"""Maximum number of points of a line over time."""


@dataclass(frozen=True)
class FlowStep:
    """One step that decides items, and what it let through; steps are in the order that items pass them."""

    name: str
    passed: int
    revised: int
    rejected: int


@dataclass(frozen=True)
class Series:
    """A run over time: seconds of running, summed over all starts, and the totals at those times."""

    seconds: list[float] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    """When each later start began."""


@dataclass(frozen=True)
class PageData:
    """Everything that a run's page shows."""

    report: Report
    config: str
    flow: list[FlowStep]
    series: Series
    accepted: Mapping[str, Any]
    original: Mapping[str, Any] | None
    points: list[tuple[str, float, float, str]]
    """(kind, x, y, text) of the map."""
    about_map: Mapping[str, Any] | None
    rejected: list[dict[str, Any]]
    sections: Sequence[OwnedSection] = ()
    results: Mapping[str, Any] | None = None
    """The results of an evaluation."""
    completed: str = ""
    """The message for a run over rows that has reached the last row."""
    new: str = "generated"
    """What the items are called beside the original ones."""
    examples: Sequence[Mapping[str, Any]] = ()
    """Some accepted items: id, values by name."""


def read_page_data(
    connection: sqlite3.Connection,
    report: Report,
    fields: Fields,
    config: str,
    results: Mapping[str, Any] | None,
    completed: str,
) -> PageData:
    return PageData(
        report,
        config,
        flow(connection, report),
        series(connection),
        profile_of(_accepted(connection, fields)) if results is None else {},
        read_fact(connection, "base_profile") if results is None else None,
        list(_points(connection)),
        read_fact(connection, "map"),
        rejected(connection, fields),
        read_sections(connection),
        results,
        completed,
        "generated" if report.data["mode"] in ("run", "merge") else "accepted",
        list(_shown(connection)) if results is None else [],
    )


# --- the flow --------------------------------------------------------------------------------------


def flow(connection: sqlite3.Connection, report: Report) -> list[FlowStep]:
    """Counts each item at the step that rejected it, and as revised at the validators that changed it."""
    by = {str(name): int(count) for name, count in report.data["items"]["rejected_by"].items()}
    validators = list(report.data["validators"])
    ends = [name for name in ("label_ratio", "groupcheck", REVIEW) if name in by]
    first = [name for name in by if name not in validators and name not in ends]
    order = [*first, *validators, *ends]
    left = report.data["items"]["accepted"] + report.data["items"]["rejected"]
    changed = (
        _revised(connection) if any(each["revised"] for each in report.data["validators"].values()) else {}
    )
    steps, before = [], set[str]()
    for name in order:
        out = by.get(name, 0)
        before.add(name)
        went_on = sum(count for end, count in changed.get(name, {}).items() if end not in before)
        revised = min(went_on, left - out)
        left -= out
        steps.append(FlowStep(name, left - revised, revised, out))
    return steps


def _revised(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """By validator, how many items it changed, by what rejected them in the end ('' if accepted)."""
    changed: dict[str, dict[str, int]] = {}
    for by, end, count in connection.execute(
        "SELECT json_extract(v.value, '$.by'), coalesce(rejected_by, ''), count(DISTINCT items.item)"
        " FROM items, json_each(items.meta, '$.verdicts') AS v"
        " WHERE json_extract(v.value, '$.verdict') = 'revise' AND state != 'surplus' GROUP BY 1, 2"
    ):
        changed.setdefault(by, {})[end] = count
    return changed


# --- over time -------------------------------------------------------------------------------------


def series(connection: sqlite3.Connection) -> Series:
    """The samples of all starts, one start after another; thinned if there are many."""
    lines = Series()
    if not _has(connection, "samples"):
        return lines
    rows = connection.execute(
        "SELECT start, at, accepted, rejected, calls, spent, in_flight FROM samples ORDER BY start, at"
    ).fetchall()
    offsets = _offsets(connection, rows)
    for start in sorted({row[0] for row in rows})[1:]:
        lines.starts.append(round(offsets[start], 1))
    step = max(1, -(-len(rows) // _SAMPLES))
    for place, (start, at, accepted, away, calls, spent, in_flight) in enumerate(rows):
        if place % step and place != len(rows) - 1:
            continue
        lines.seconds.append(round(offsets[start] + at, 2))
        lines.accepted.append(accepted)
        lines.rejected.append(away)
        lines.calls.append(calls)
        lines.spent.append(round(usd(spent), 6))
        lines.in_flight.append(in_flight)
    return lines


def _offsets(connection: sqlite3.Connection, rows: list[Any]) -> dict[int, float]:
    """Seconds of running before each start."""
    last: dict[int, float] = {}
    for row in rows:
        last[row[0]] = max(last.get(row[0], 0.0), row[1])
    offsets, whole = {}, 0.0
    for start in read_starts(connection):
        offsets[start.number] = whole
        whole += max(last.get(start.number, 0.0), float(start.counts.get("wall_s", 0.0)))
    return offsets


# --- items -----------------------------------------------------------------------------------------


def _accepted(connection: sqlite3.Connection, fields: Fields) -> Iterator[Example]:
    rows = connection.execute(
        "SELECT record FROM items WHERE state = 'accepted' ORDER BY item LIMIT ?", (MOST,)
    )
    for (record,) in rows:
        yield fields.remembered(loads(record))


def _shown(connection: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """Accepted items at even distances, so that the early and the late are among them."""
    count = connection.execute("SELECT count(*) FROM items WHERE state = 'accepted'").fetchone()[0]
    if not count:
        return
    step = max(1, count // SHOWN)
    rows = connection.execute("SELECT item, record FROM items WHERE state = 'accepted' ORDER BY item")
    for place, (item, record) in enumerate(rows):
        if place % step == 0 and place // step < SHOWN:
            values = {str(name): _short(value) for name, value in loads(record).items()}
            yield {"id": item_id(item), "values": values}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else dumps(value)
    return text if len(text) <= 4 * TEXT else f"{text[: 4 * TEXT]} …"


def rejected(connection: sqlite3.Connection, fields: Fields) -> list[dict[str, Any]]:
    """Rejected items by validator and reason: how many, and some examples with their feedback."""
    groups = []
    for by, reason, count in connection.execute(
        "SELECT rejected_by, coalesce(reason, ''), count(*) FROM items WHERE state = 'rejected'"
        " GROUP BY 1, 2 ORDER BY 3 DESC LIMIT ?",
        (_REASONS,),
    ).fetchall():
        rows = connection.execute(
            "SELECT record, json_extract(meta, '$.verdicts[#-1].feedback'),"
            " json_extract(meta, '$.verdicts[#-1].record.item') FROM items"
            " WHERE state = 'rejected' AND rejected_by = ? AND coalesce(reason, '') = ? ORDER BY item LIMIT ?",
            (by, reason, EXAMPLES),
        )
        shown = []
        for record, said, other in rows:
            example = fields.remembered(loads(record))
            shown.append(
                {
                    "text": example.text[: 4 * TEXT],
                    "label": example.answer[:TEXT],
                    "said": (said or "")[: 3 * TEXT],
                    "other": _other(connection, fields, other),
                }
            )
        groups.append({"by": by, "reason": reason[:TEXT], "count": count, "examples": shown})
    return groups


def _other(connection: sqlite3.Connection, fields: Fields, shown: Any) -> str:
    """The text of the item that a rejection names; '' where it names none."""
    if not isinstance(shown, str) or not shown.partition("-")[0].isdecimal():
        return ""
    batch, _, position = shown.partition("-")
    if not position.isdecimal():
        return ""
    row = connection.execute(
        "SELECT record FROM items WHERE item = ?", (item_number(int(batch), int(position)),)
    ).fetchone()
    return fields.remembered(loads(row[0])).text[: 4 * TEXT] if row is not None else ""


def _points(connection: sqlite3.Connection) -> Iterator[tuple[str, float, float, str]]:
    if _has(connection, "points"):
        yield from connection.execute("SELECT kind, x, y, text FROM points ORDER BY kind DESC, ref")


def _has(connection: sqlite3.Connection, table: str) -> bool:
    """Whether the journal has this table; older versions lack some."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None

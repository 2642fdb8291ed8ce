"""The report sections that validators describe themselves, counted from their verdicts' records."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from engine.protocols import Compliance, RuleChecked, Section, Tally
from engine.store.migrations import CAVEATS_BEFORE, sections_before
from engine.store.reading import read_fact

STANDING: Mapping[str, Any] = {"difficulty": {}, "constraints": []}
"""Sections that every report has, even if empty: people's scripts rely on them."""


class OwnedSection(NamedTuple):
    """A section, and the validator whose verdicts it counts."""

    validator: str
    section: Section


def read_sections(connection: sqlite3.Connection) -> list[OwnedSection]:
    """The sections as the run's validators described them, in the validators' order."""
    told = read_fact(connection, "sections")
    if told is None:
        told = sections_before(read_fact(connection, "rules") or [])
    return [
        OwnedSection(validator, section_from(each))
        for validator, sections in told.items()
        for each in sections
    ]


def read_descriptions(connection: sqlite3.Connection, validators: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The descriptions that the run's validators gave of themselves, by name."""
    told: dict[str, dict[str, Any]] = read_fact(connection, "described") or {}
    if read_fact(connection, "sections") is None:
        for name in CAVEATS_BEFORE.keys() & set(validators):
            told[name] = {**told.get(name, {}), "caveat": CAVEATS_BEFORE[name]}
    return told


def section_from(kept: Mapping[str, Any]) -> Section:
    """The section from the form in which the journal stores it."""
    given = {name: value for name, value in kept.items() if name != "kind"}
    if kept["kind"] == "tally":
        return Tally(**given)
    rules = tuple(RuleChecked(**rule) for rule in given.pop("rules"))
    return Compliance(**given, rules=rules)


def counted(connection: sqlite3.Connection) -> dict[str, Any]:
    """The counted sections by their names in report.json."""
    sections = dict(STANDING)
    for validator, section in read_sections(connection):
        if isinstance(section, Tally):
            sections[section.name] = _tally(connection, validator, section)
        else:
            sections[section.name] = _compliance(connection, validator, section)
    return sections


def _tally(connection: sqlite3.Connection, validator: str, section: Tally) -> dict[str, dict[str, int]]:
    """By value: the number of verdicts that contain it, by decision."""
    tally: dict[str, dict[str, int]] = {}
    for value, decision, count in connection.execute(
        "SELECT p.value, json_extract(v.value, '$.verdict'), count(*) FROM items,"
        " json_each(items.meta, '$.verdicts') AS v, json_each(v.value, ?1) AS p"
        " WHERE json_extract(v.value, '$.by') = ?2 GROUP BY 1, 2 ORDER BY 1",
        (_path(section.counted), validator),
    ):
        counts = tally.setdefault(str(value), dict.fromkeys(section.columns, 0))
        for column, decisions in section.columns.items():
            counts[column] += count if decision in decisions else 0
    return tally


def _compliance(connection: sqlite3.Connection, validator: str, section: Compliance) -> list[dict[str, Any]]:
    """By rule and model: how many verdicts checked the rule, and how many of these found it broken."""
    flags = sorted({rule.checked_where for rule in section.rules if rule.checked_where is not None})
    seen: Counter[tuple[str, str | None]] = Counter()
    broken: Counter[tuple[str, int]] = Counter()
    for model, places, count, *set_flags in _verdicts(connection, validator, section.broken, flags):
        seen[model, None] += count
        for flag, is_set in zip(flags, set_flags, strict=True):
            seen[model, flag] += count if is_set else 0
        for place in orjson.loads(places or "[]"):
            broken[model, place] += count
    shown = []
    for place, rule in enumerate(section.rules):
        checked = {
            model: count for (model, flag), count in seen.items() if flag == rule.checked_where and count
        }
        by_model = {model: _kept(count, broken[model, place]) for model, count in checked.items()}
        shown.append({"rule": rule.rule, "by_model": by_model})
    return shown


def _kept(checked: int, broken: int) -> dict[str, Any]:
    return {"checked": checked, "broken": broken, "kept": 1 - broken / checked}


def _verdicts(
    connection: sqlite3.Connection, validator: str, broken: str, flags: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """(model, broken rules as JSON, count, then each flag) of the validator's verdicts."""
    extracts = "".join(f", json_extract(v.value, ?{place})" for place in range(3, 3 + len(flags)))
    groups = ", ".join(map(str, [1, 2, *range(4, 4 + len(flags))]))
    yield from connection.execute(
        "SELECT json_extract(items.meta, '$.model'), json_extract(v.value, ?1),"  # noqa: S608 - places, no values
        f" count(*){extracts} FROM items, json_each(items.meta, '$.verdicts') AS v"
        f" WHERE json_extract(v.value, '$.by') = ?2 GROUP BY {groups}",
        (_path(broken), validator, *map(_path, flags)),
    )


def _path(key: str) -> str:
    """The SQLite JSON path of a key of a verdict's record."""
    return f"$.record.{orjson.dumps(key).decode()}"

"""What a row records about the run that made it: whether its label was confirmed, which groups it is in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from engine.items import Decision, Item

HARDER, AS_IT_WAS = "harder", "as it was"


OPEN = ("unverifiable", "scattered")
"""The reasons of validators that could not tell whether a label is right; so named in their records, too."""


def open_question(reason: Any, record: Any) -> bool:
    """Whether a validator that checks labels could not verify this one: it is neither right nor wrong."""
    return reason in OPEN or (isinstance(record, Mapping) and any(record.get(name) for name in OPEN))


def meta_of(item: Item) -> Mapping[str, Any]:
    """The row's `_meta`; empty where it has none."""
    meta = item.origin.get("_meta")
    return meta if isinstance(meta, Mapping) else {}


def _verdicts(meta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    verdicts = meta.get("verdicts")
    return [each for each in verdicts if isinstance(each, Mapping)] if isinstance(verdicts, list) else []


def confirmed(item: Item, confirming: Collection[str]) -> bool | None:
    """Whether a validator of `confirming` has found the label right; None where no validator has decided.

    This run's verdicts count first, then those on the row's record. A corrected label is confirmed.
    """
    for verdict in reversed(item.verdicts):
        if verdict.by in confirming and "confirmed" in verdict.record:
            return bool(verdict.record["confirmed"])
    meta = meta_of(item)
    while True:
        verdicts = [
            each
            for each in _verdicts(meta)
            if each.get("by") in confirming and not open_question(each.get("reason"), each.get("record"))
        ]
        if verdicts:
            return all(
                each.get("verdict") in (Decision.PASS.value, Decision.REVISE.value) for each in verdicts
            )
        before = meta.get("before")
        if meta.get("revisions") or not isinstance(before, Mapping):
            return None
        meta = before  # that run left the row unchanged: earlier verdicts still hold


def groups(item: Item, by: Sequence[str]) -> dict[str, str]:
    """The groups for breaking down results: named fields of the row, requested attributes, difficulty."""
    values = {}
    for name in by:
        value = item.origin.get(name)
        value = value[0] if isinstance(value, list) and value else value
        values[name] = "" if value is None or isinstance(value, dict | list) else str(value)
    meta = meta_of(item)
    attributes = meta.get("attributes")
    for name, value in attributes.items() if isinstance(attributes, Mapping) else ():
        values.setdefault(str(name), str(value))
    for verdict in _verdicts(meta):
        if verdict.get("by") == "difficulty":
            values["difficulty"] = HARDER if verdict.get("verdict") == Decision.REVISE.value else AS_IT_WAS
    return values

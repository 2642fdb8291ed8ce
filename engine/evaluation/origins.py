"""What a row carries of the run that made it: whether its label was confirmed, what it is a case of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from engine.items import Decision, Item

HARDER, AS_IT_WAS = "harder", "as it was"


UNVERIFIABLE = "unverifiable"


def open_question(reason: Any, record: Any) -> bool:
    """Whether a validator that checks labels has found nothing to check this one by: neither right nor wrong."""
    return reason == UNVERIFIABLE or (isinstance(record, Mapping) and bool(record.get(UNVERIFIABLE)))


def meta_of(item: Item) -> Mapping[str, Any]:
    """The row's `_meta`; empty where it has none."""
    found = item.origin.get("_meta")
    return found if isinstance(found, Mapping) else {}


def _verdicts(meta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = meta.get("verdicts")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def confirmed(item: Item, confirming: Collection[str]) -> bool | None:
    """Whether a validator that checks labels, one of `confirming`, has found this one right; None where none looked.

    By this run's verdicts, else by those on the row's record. A label that a validator corrected is confirmed.
    """
    for verdict in reversed(item.verdicts):
        if verdict.by in confirming and "confirmed" in verdict.record:
            return bool(verdict.record["confirmed"])
    meta = meta_of(item)
    while True:
        found = [
            each
            for each in _verdicts(meta)
            if each.get("by") in confirming and not open_question(each.get("reason"), each.get("record"))
        ]
        if found:
            return all(each.get("verdict") in (Decision.PASS.value, Decision.REVISE.value) for each in found)
        before = meta.get("before")
        if meta.get("revisions") or not isinstance(before, Mapping):
            return None
        meta = before  # it left the row as it was: what was found earlier still holds


def groups(item: Item, by: Sequence[str]) -> dict[str, str]:
    """What results are broken down by: named fields of the row, attributes asked for, difficulty."""
    found = {}
    for name in by:
        value = item.origin.get(name)
        value = value[0] if isinstance(value, list) and value else value
        found[name] = "" if value is None or isinstance(value, dict | list) else str(value)
    meta = meta_of(item)
    attributes = meta.get("attributes")
    for name, value in attributes.items() if isinstance(attributes, Mapping) else ():
        found.setdefault(str(name), str(value))
    for verdict in _verdicts(meta):
        if verdict.get("by") == "difficulty":
            found["difficulty"] = HARDER if verdict.get("verdict") == Decision.REVISE.value else AS_IT_WAS
    return found

"""Items and objects out of a model's reply, however it is wrapped or broken."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

Found = list[dict[str, Any]]


def items_in(text: str) -> Found:
    """Every object in the reply that looks like an item: with a `text`.

    A clean reply is simply parsed. Any other reply is read in two ways, and the one that yields more items is
    used: the complete JSON values in it, and the output of json-repair. Both leave out an item that was cut
    off at the end.
    """
    try:
        return _items_of(orjson.loads(text))
    except orjson.JSONDecodeError:
        whole = [item for value in _whole_values(text) for item in _items_of(value)]
        repaired = _repaired(text)
        return repaired if len(repaired) > len(whole) else whole


def object_in(text: str) -> dict[str, Any] | None:
    """The JSON object that a reply is, or holds: the first whole one, or what json-repair makes of it.

    None for a reply that is a list: it answers more than was asked.
    """
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        whole = (value for value in _whole_values(text) if isinstance(value, dict))
        parsed = next(whole, None) or _repaired_object(text)
    return parsed if isinstance(parsed, dict) else None


def _repaired_object(text: str) -> Any:
    """None if the closing brace is missing: the reply was cut off, and half an answer is useless."""
    if _extent(text)[1] > _DEEPEST or not text.rstrip("`\n ").endswith("}"):
        return None
    import json_repair

    try:
        return json_repair.loads(text[max(0, text.find("{")) :])
    except (ValueError, RecursionError):
        return None


def _items_of(value: Any) -> Found:
    if isinstance(value, list):
        return [item for item in value if isinstance(item, dict) and "text" in item]
    if not isinstance(value, dict):
        return []
    for key in ("items", "item"):
        if isinstance(value.get(key), list | dict):
            inner = value[key]
            return _items_of(inner if isinstance(inner, list) else [inner])
    return [value] if "text" in value else []


def _whole_values(text: str) -> Iterator[Any]:
    """The JSON values in the text, from left to right; an unreadable outer one gives way to its inner ones."""
    decoder = json.JSONDecoder(strict=False)
    position = failures = 0
    while failures < _MOST_FAILURES and (opening := _OPENING.search(text, position)) is not None:
        try:
            value, position = decoder.raw_decode(text, opening.start())
            yield value
        except (json.JSONDecodeError, RecursionError):
            position = opening.start() + 1
            failures += 1


_OPENING = re.compile(r"[\[{]")
_MOST_FAILURES = 2_000
"""Openings looked at in vain before a reply is given up: a megabyte of brackets must not hold up the run."""


_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\]]', re.DOTALL)
_DEEPEST = 40
"""Levels of nesting beyond which a broken reply is given up: repairing it takes time that all calls share."""


def _repaired(text: str) -> Found:
    """Up to the last brace that closes something: what comes after it is prose, or an item cut short."""
    start = text.find("{")
    end, deepest = _extent(text, max(start, 0))
    if start < 0 or not end or deepest > _DEEPEST:
        return []
    import json_repair

    try:
        return _items_of(json_repair.loads(text[start:end]))
    except (ValueError, RecursionError):
        return []


def _extent(text: str, start: int = 0) -> tuple[int, int]:
    """(the end of the last closing brace or 0, the deepest level of nesting), outside strings."""
    end = depth = deepest = 0
    for match in _STRING_OR_BRACKET.finditer(text, start):
        depth += (match[0] in "{[") - (match[0] in "}]")
        deepest = max(deepest, depth)
        end = match.end() if match[0] == "}" else end
    return end, deepest

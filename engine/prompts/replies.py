"""Items and objects out of a model's reply, however it is wrapped or broken: what it says last counts."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import pairwise
from typing import Any, TypeVar

import orjson

from engine.llm.reasoning import separated, whole_values

Found = list[dict[str, Any]]
T = TypeVar("T")
_LARGE = 20_000
"""Characters of a reply that is read beside the event loop: mending a broken one takes milliseconds for each 1,000."""


async def beside_the_loop(text: str, read: Callable[[], T]) -> T:
    """What `read` makes of a reply with this text; in a thread where that may take long."""
    return read() if len(text) < _LARGE else await asyncio.to_thread(read)


def items_in(text: str, size: int | None = None, names: Collection[str] = ("text",)) -> Found:
    """Every object in the reply that looks like an item: one with a field of one of these `names`.

    A clean reply is simply parsed. Of any other reply, the last list of items counts, since those before it
    are drafts; of single items without a list, all count, or the last `size`. A part that is broken is read
    as json-repair would mend it. An item that was cut off at the end is left out.
    """
    said = separated(text).answer
    parsed = _parsed(said)
    if parsed is not None:
        return _items_of(parsed, names)
    return _last_items(_doubled(said), size, names)


def object_in(text: str, keys: Collection[str] = ()) -> dict[str, Any] | None:
    """The last whole JSON object in the reply that has these keys; None without one."""
    for candidate in objects_in(text):
        if all(key in candidate for key in keys) and not (keys and _is_schema(candidate, keys)):
            return candidate
    return None


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that the reply may mean, best first: the last one, what is wrapped in it, earlier ones.

    A reply that is a list of several objects has none: it answers more than was asked.
    """
    said = separated(text).answer
    parsed = _parsed(said)
    if parsed is not None:
        yield from _unwrapped(parsed)
        return
    values = [value for value, _ in whole_values(_doubled(said))]
    for value in reversed(values):
        yield from _unwrapped(value)
    if not values:
        yield from _unwrapped(_repaired_object(said))


# --- objects -----------------------------------------------------------------------------------------


def _unwrapped(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The object itself, then those within it: a schema echoed around the data, a tool call's arguments."""
    if isinstance(value, str) and value.lstrip()[:1] in _BRACKETS:
        value = _parsed(value)
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    if not isinstance(value, dict) or depth > _WRAPPINGS:
        return
    yield value
    for inner in value.values():
        if isinstance(inner, dict | str):
            yield from _unwrapped(inner, depth + 1)


_BRACKETS = ("{", "[")
_WRAPPINGS = 4


def _is_schema(value: Mapping[str, Any], keys: Collection[str]) -> bool:
    """Whether it only describes its fields instead of filling them."""
    return all(_describes(value[key]) for key in keys)


def _describes(value: Any) -> bool:
    return isinstance(value, dict) and not {"type", "$ref", "anyOf"}.isdisjoint(value)


def _repaired_object(text: str) -> Any:
    """None if the closing brace is missing: the reply was cut off, and half an answer is useless."""
    if _extent(text)[1] > _DEEPEST or not text.rstrip("`\n ").endswith("}"):
        return None
    import json_repair

    try:
        return json_repair.loads(_doubled(text[max(0, text.find("{")) :]))
    except (ValueError, RecursionError):
        return None


# --- items -------------------------------------------------------------------------------------------


def _items_of(value: Any, names: Collection[str], depth: int = 0) -> Found:
    """The items in a parsed value: in a list, in a mapping by number, under another name, encoded twice."""
    if isinstance(value, str):
        value = _parsed(value) if value.lstrip()[:1] in _BRACKETS else None
    if depth > _WRAPPINGS or not isinstance(value, dict | list):
        return []
    if isinstance(value, list):
        return [item for inner in value for item in _one(inner, names)]
    for key in ("items", "item"):
        if value.get(key):
            inner = value[key]
            return _one(inner, names) or _items_of(inner, names, depth + 1)
    if _like_an_item(value, names):
        return [value]
    direct = [item for inner in value.values() for item in _one(inner, names)]
    nested = (_items_of(inner, names, depth + 1) for inner in value.values())
    return direct or next((items for items in nested if items), [])


def _one(value: Any, names: Collection[str]) -> Found:
    """The value as an item, if it looks like one; text that holds JSON counts as what it holds."""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        value = _parsed(value)
    if isinstance(value, dict) and set(value) == {"item"}:
        value = value["item"]
    return [value] if isinstance(value, dict) and _like_an_item(value, names) else []


def _like_an_item(value: Mapping[str, Any], names: Collection[str]) -> bool:
    return any(name in value and not _describes(value[name]) for name in names)


def _last_items(text: str, size: int | None, names: Collection[str]) -> Found:
    """The last list of items, or all items that stand alone."""
    values = [(value, span) for value, span in whole_values(text) if _items_of(value, names)]
    lists = [place for place, (value, _) in enumerate(values) if not _like_an_item(value, names)]
    if not lists:
        return _loose(text, size, names)
    first = last = lists[-1]
    while first > 0 and _adjoin(text, values[first - 1][1], values[first][1]):
        first -= 1
    listed = [item for value, _ in values[first : last + 1] for item in _items_of(value, names)]
    end = values[last][1].stop
    after = _loose(text[end:], size, names)
    if after and all(_says_something(item, names) for item in after):
        opening = text[end:].find("{")
        return listed + after if not text[end : end + opening].strip(_BETWEEN) else after
    return listed if _extent(text[end:])[2] <= 0 or not _begins_items(text[end:], names) else []


def _loose(text: str, size: int | None, names: Collection[str]) -> Found:
    """Items that stand alone, or in a list that is broken: of the two ways to read them, the one with more."""
    whole = [item for value, _ in whole_values(text) for item in _items_of(value, names)]
    repaired = _repaired(text, names)
    found = repaired if len(repaired) > len(whole) else whole
    return found[-size:] if size is not None and len(found) > size and not _joined(text, names) else found


_BETWEEN = " \t\r\n,;"


def _joined(text: str, names: Collection[str]) -> bool:
    """Whether all items of the text follow one another without a word between them."""
    spans = [span for value, span in whole_values(text) if _items_of(value, names)]
    return all(_adjoin(text, one, other) for one, other in pairwise(spans))


def _adjoin(text: str, one: slice, other: slice) -> bool:
    return not text[one.stop : other.start].strip(_BETWEEN)


def _says_something(item: Mapping[str, Any], names: Collection[str]) -> bool:
    """Not only the dots of a form."""
    return any(any(c.isalnum() for c in str(item.get(name, ""))) for name in names)


def _begins_items(text: str, names: Collection[str]) -> bool:
    return any(re.search(rf"[\"']{re.escape(name)}[\"']\s*:", text) for name in ("items", *names))


def _repaired(text: str, names: Collection[str]) -> Found:
    """Up to the last brace that closes something: what comes after it is prose, or an item cut short."""
    start = min((place for place in map(text.find, _BRACKETS) if place >= 0), default=-1)
    end, deepest, _ = _extent(text, max(start, 0))
    if start < 0 or not end or deepest > _DEEPEST:
        return []
    import json_repair

    try:
        return _items_of(json_repair.loads(_doubled(text[start:end])), names)
    except (ValueError, RecursionError):
        return []


# --- JSON that is nearly right -----------------------------------------------------------------------


def _parsed(text: str) -> Any:
    """The text as one JSON object or array, where necessary with doubled backslashes; None if it is none."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        if (fenced := _FENCED.fullmatch(text)) is not None:
            return _parsed(fenced[1])
        if text.strip()[:1] not in _BRACKETS:
            return None
        try:
            value = json.loads(_doubled(text), strict=False)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, str) and value.lstrip()[:1] in _BRACKETS:  # encoded twice
        return _parsed(value)
    return value if isinstance(value, dict | list) else None


_FENCED = re.compile(r"\s*```\w*\s*([\[{\"].*?)\s*```\s*", re.DOTALL)
_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|)')


def _doubled(text: str) -> str:
    """The text with a second backslash before each that begins no escape of JSON, as in `\\sqrt` or `\\(`."""
    return _ESCAPE.sub(lambda match: match[0] if match[1] else "\\\\", text)


_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\]]', re.DOTALL)
_DEEPEST = 40
"""Levels of nesting beyond which a broken reply is given up: repairing it takes time that all calls share."""


def _extent(text: str, start: int = 0) -> tuple[int, int, int]:
    """(the end of the last closing brace or 0, the deepest level of nesting, the last one), outside strings."""
    end = depth = deepest = 0
    for match in _STRING_OR_BRACKET.finditer(text, start):
        depth += (match[0] in "{[") - (match[0] in "}]")
        deepest = max(deepest, depth)
        end = match.end() if match[0] == "}" else end
    return end, deepest, depth

"""Values of nested fields by a dotted path: `answers.text` of an object, or of a list of objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.schema.types import Type


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """The value; of a list of objects, a list of theirs. None where there is none."""
    if path in row or "." not in path:
        return row.get(path)
    value: Any = row
    for part in path.split("."):
        value = _inner(value, part)
    return value


def _inner(value: Any, part: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list):
        return [_inner(each, part) for each in value]
    return None


def put(row: dict[str, Any], path: str, value: Any, type: Type | None = None) -> None:
    """Sets the value in the row, which gets the objects on the way there.

    `type` is that of the path's column: of a list of objects, each gets its own value.
    """
    name, _, rest = path.partition(".")
    if not rest or path in row:
        row[path] = value
        return
    row[name] = _with(row.get(name), rest, value, type)


def _with(there: Any, path: str, value: Any, type: Type | None) -> Any:
    """What is there, with the value at this path within it."""
    name, _, rest = path.partition(".")
    if type is not None and type.kind == "array" and isinstance(value, list):
        known = there if isinstance(there, list) else []
        known = [*known, *({} for _ in value[len(known) :])][: len(value)]
        return [_with(one, path, each, type.inner) for one, each in zip(known, value, strict=True)]
    inner = dict(type.fields).get(name) if type is not None else None
    fields = dict(there) if isinstance(there, Mapping) else {}
    fields[name] = _with(fields.get(name), rest, value, inner) if rest else value
    known = [field for field, _ in type.fields if field in fields] if type is not None else []
    return {**{field: fields[field] for field in known}, **fields}

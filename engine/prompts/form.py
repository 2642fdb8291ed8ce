"""The form of an answer as a prompt states it: many servers hide the schema from the model, or ignore it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

Schema = Mapping[str, Any]

_TYPES = {
    "string": "text",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "null": "null",
}
_MOST_VALUES = 50
"""Values of an enumeration that are spelled out."""


def stating(form: str, user: str) -> str:
    """The user's message of a prompt with the form at its end, unless it states it already."""
    return user if form in user else f"{user}\n\nAnswer in this form:\n{form}"


def form_of(schema: Schema) -> str:
    """As in `{"good": true or false, "broken": [{"rule": whole number}, ...]}`.

    Types stand bare, so that none can be taken for a value.
    """
    values = schema.get("enum")
    if isinstance(values, Sequence) and 0 < len(values) <= _MOST_VALUES:
        return " or ".join(orjson.dumps(value).decode() for value in values)
    if "anyOf" in schema:
        return " or ".join(map(form_of, schema["anyOf"]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(form_of({**schema, "type": each}) for each in kind)
    if kind == "object":
        fields = schema.get("properties", {})
        inner = (f"{orjson.dumps(name).decode()}: {form_of(field)}" for name, field in fields.items())
        return f"{{{', '.join(inner) or '...'}}}"
    if kind == "array":
        more = "" if schema.get("maxItems") == 1 else ", ..."
        return f"[{form_of(schema.get('items', {}))}{more}]"
    return _TYPES.get(str(kind), "any value")

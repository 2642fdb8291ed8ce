"""The JSON schema of a reply: closed, every field required, as OpenAI's strict mode asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.protocols import Reply

Schema = Mapping[str, Any]


def reply_schema(
    reply: type[Reply], item: Schema | None = None, bounds: Mapping[str, Schema] | None = None
) -> dict[str, Any]:
    """A field of any object is an item of the dataset, and gets the schema of one.

    `bounds` adds keywords to single fields, named as in `broken[].rule`: the field of each entry of a list.
    """
    raw = reply.model_json_schema()
    schema = _closed(raw, raw.get("$defs", {}), item)
    for name, keywords in (bounds or {}).items():
        field = schema
        for part in name.split("."):
            field = field["properties"][part.removesuffix("[]")]
            field = field["items"] if part.endswith("[]") else field
        field.update(keywords)
    return schema


def _closed(schema: Schema, definitions: Schema, item: Schema | None) -> dict[str, Any]:
    if "$ref" in schema:
        return _closed(definitions[str(schema["$ref"]).rpartition("/")[2]], definitions, item)
    is_open = schema.get("additionalProperties") in (True, None) and "properties" not in schema
    if item is not None and schema.get("type") == "object" and is_open:
        return dict(item)
    kept = {name: value for name, value in schema.items() if name not in _DROPPED}
    if "const" in kept:
        kept["enum"] = [kept.pop("const")]
    if "properties" in kept:
        kept.pop("description", None)  # a class's docstring is not for models
        kept["properties"] = {
            name: _closed(inner, definitions, item) for name, inner in kept["properties"].items()
        }
        kept |= {"required": list(kept["properties"]), "additionalProperties": False}
    if "anyOf" in kept:
        kept["anyOf"] = [_closed(inner, definitions, item) for inner in kept["anyOf"]]
    if isinstance(kept.get("items"), Mapping):
        kept["items"] = _closed(kept["items"], definitions, item)
    return kept


_DROPPED = frozenset({"title", "default", "$defs"})

"""What each provider takes of a JSON schema; the rest is left out of it, and still checked on the reply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

_STRUCTURE = frozenset("type properties required additionalProperties items enum anyOf description".split())
_COUNTS, _LENGTHS = frozenset({"minItems", "maxItems"}), frozenset({"minLength", "maxLength"})
_VALUES = frozenset({"minimum", "maximum"})
_EVERYTHING = _STRUCTURE | _COUNTS | _LENGTHS | _VALUES | {"pattern"}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The keywords and sizes that a provider takes."""

    keywords: frozenset[str]
    depth: int = 100
    """Levels of nesting."""
    properties: int = 100_000
    enum: int = 100_000
    """Values of all enumerations together."""


PLAIN = Accepted(_STRUCTURE)
FULL = Accepted(_EVERYTHING)
#  host                            takes                                               source
BY_HOST: Mapping[str, Accepted] = {
    # strict mode: pattern, format, bounds of numbers and arrays; not minLength, maxLength; 10 levels, 5,000
    # properties, 1,000 values. platform.openai.com/docs/guides/structured-outputs#supported-schemas
    "openai.com": Accepted(_STRUCTURE | _COUNTS | _VALUES | {"pattern"}, 10, 5_000, 1_000),
    "azure.com": Accepted(_STRUCTURE | _COUNTS | _VALUES, 5, 100, 500),
    # ai.google.dev/gemini-api/docs/structured-output; several maxItems exhaust a budget (vercel/ai#21192)
    "googleapis.com": Accepted(_STRUCTURE | _VALUES | {"minItems"}),
    # console.groq.com/docs/structured-outputs
    "groq.com": PLAIN,
    # docs.x.ai/docs/guides/structured-outputs: lengths of strings and arrays are not supported
    "x.ai": Accepted(_STRUCTURE | _VALUES),
    # langchain-ai/langchain#29604: refuses a keyword that it does not know
    "mistral.ai": Accepted(_STRUCTURE | _COUNTS | _VALUES),
}


def accepted_by(host: str) -> Accepted:
    """By the end of the host's name; a host that is not known takes all, until it refuses."""
    return next((taken for end, taken in BY_HOST.items() if host == end or host.endswith(f".{end}")), FULL)


def fitted(schema: Schema, taken: Accepted) -> dict[str, Any] | None:
    """The schema with what is taken alone; None if it is too deep or too large."""
    whole = _fitted(schema, taken, schema.get("$defs", {}))
    sizes = list(_sizes(whole, 1))
    deepest = max((depth for depth, _, _ in sizes), default=0)
    if deepest > taken.depth or sum(count for _, count, _ in sizes) > taken.properties:
        return None
    if sum(values for _, _, values in sizes) > taken.enum:
        return _without_enum(whole)
    return whole


def _fitted(schema: Schema, taken: Accepted, definitions: Schema) -> dict[str, Any]:
    if "$ref" in schema:
        return _fitted(definitions[str(schema["$ref"]).rpartition("/")[2]], taken, definitions)
    kept: dict[str, Any] = {}
    for name, value in schema.items():
        if name not in taken.keywords:
            continue
        if name == "properties":
            kept[name] = {key: _fitted(inner, taken, definitions) for key, inner in value.items()}
        elif name == "anyOf":
            kept[name] = [_fitted(inner, taken, definitions) for inner in value]
        elif isinstance(value, Mapping):
            kept[name] = _fitted(value, taken, definitions)
        else:
            kept[name] = value
    return kept


def _inner(schema: Schema) -> Iterator[Schema]:
    yield from schema.get("properties", {}).values()
    yield from schema.get("anyOf", ())
    if isinstance(schema.get("items"), Mapping):
        yield schema["items"]


def _sizes(schema: Schema, depth: int) -> Iterator[tuple[int, int, int]]:
    """(level, properties, values of an enumeration) of each object and value within."""
    yield depth, len(schema.get("properties", {})), len(schema.get("enum", ()))
    for inner in _inner(schema):
        yield from _sizes(inner, depth + 1)


def _without_enum(schema: Schema) -> dict[str, Any]:
    return _fitted(schema, Accepted(_EVERYTHING - {"enum"}), {})


def strict(schema: Schema) -> bool:
    """Whether it keeps OpenAI's strict rules: each object closed, each of its properties required."""
    if schema.get("type") == "object" or "properties" in schema:
        closed = schema.get("additionalProperties") is False and "properties" in schema
        if not closed or set(schema.get("required", ())) != set(schema["properties"]):
            return False
    if schema.get("type") == "array" and "items" not in schema:
        return False
    return all(strict(inner) for inner in _inner(schema))

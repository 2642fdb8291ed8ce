"""Rules about requests, each in the words of whoever has it; the table says who that is."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from engine.simulator.dialects.dialect import INVALID, Asking, Body, Refusal, Rule

Words = Callable[[str], Refusal]
"""The refusal of a field, or a keyword, of this name."""


def field_unknown(names: Collection[str], words: Words) -> Rule:
    """Fields that it refuses whatever their value."""

    def rule(asking: Asking) -> Refusal | None:
        found = next((name for name in names if asking.body.get(name) is not None), None)
        return words(found) if found is not None else None

    return rule


def fields_known(names: Collection[str], words: Words) -> Rule:
    """All other fields are refused."""

    def rule(asking: Asking) -> Refusal | None:
        found = next((name for name in asking.body if name not in names), None)
        return words(found) if found is not None else None

    return rule


def temperature_fixed(words: Words) -> Rule:
    """Only 1 is taken; `words` are about the value that was sent."""

    def rule(asking: Asking) -> Refusal | None:
        sent = asking.body.get("temperature")
        return words(f"{sent:g}") if isinstance(sent, int | float) and sent != 1 else None

    return rule


def forms_refused(names: Collection[str], words: Words) -> Rule:
    def rule(asking: Asking) -> Refusal | None:
        return words(asking.form) if asking.form in names else None

    return rule


def json_mentioned(words: str) -> Rule:
    """JSON mode needs the word in the prompt."""

    def rule(asking: Asking) -> Refusal | None:
        said = str(asking.body.get("messages")).casefold()
        return Refusal(words) if asking.form == "json_object" and "json" not in said else None

    return rule


def keywords_refused(names: Collection[str], words: Words, *, strict_only: bool = False) -> Rule:
    """Keywords of a JSON schema; `strict_only`: only where the schema is sent as strict."""

    def rule(asking: Asking) -> Refusal | None:
        if strict_only and not _is_strict(asking):
            return None
        found = next((name for _, each in _schemas(asking.schema) for name in each if name in names), None)
        return words(found) if found is not None else None

    return rule


def _is_strict(asking: Asking) -> bool:
    part = (asking.body.get("response_format") or {}).get("json_schema") or {}
    return part.get("strict") is True


def strict_schema(asking: Asking) -> Refusal | None:
    """OpenAI's strict mode: closed objects, every field required, ten levels, no keyword that is not listed."""
    if not _is_strict(asking):
        return None
    for place, schema in _schemas(asking.schema):
        if (said := _not_strict(place, schema)) is not None:
            head = "Invalid schema for response_format 'json_schema': "
            return Refusal(f"{head}In context={place}, {said}", param="response_format")
    return None


_STRICT = frozenset(
    "type properties required additionalProperties items enum const anyOf description title $defs $ref pattern"
    " format multipleOf maximum exclusiveMaximum minimum exclusiveMinimum minItems maxItems".split()
)
_LEVELS = 10


def _not_strict(place: tuple[str, ...], schema: Body) -> str | None:
    if unknown := next((name for name in schema if name not in _STRICT), None):
        return f"'{unknown}' is not permitted."
    if place.count("properties") > _LEVELS:
        return f"the schema exceeds {_LEVELS} levels of nesting."
    if schema.get("type") != "object":
        return None
    if schema.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    missing = next(
        (name for name in schema.get("properties", {}) if name not in schema.get("required", ())), None
    )
    if missing is not None:
        wanted = "is required to be supplied and to be an array including every key in properties."
        return f"'required' {wanted} Missing '{missing}'."
    return None


def _schemas(schema: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Body]]:
    """A schema and those within it, each with its place."""
    if not isinstance(schema, dict) or not schema:
        return
    yield place, schema
    for name, inner in (schema.get("properties") or {}).items():
        yield from _schemas(inner, (*place, "properties", name))
    yield from _schemas(schema.get("items"), (*place, "items"))
    for each in schema.get("anyOf") or ():
        yield from _schemas(each, place)


def grammar_bounded(asking: Asking) -> Refusal | None:
    """llama.cpp (common/json-schema.cpp, src/llama-grammar.cpp): valid expressions, at most 2,000 repetitions."""
    for _, schema in _schemas(asking.schema):
        if isinstance(schema.get("pattern"), str):
            try:
                re.compile(schema["pattern"])
            except re.error as error:
                return Refusal(
                    f"JSON schema conversion failed:\nInvalid pattern {error}", kind=INVALID, code=400
                )
        counts = (schema.get(name, 0) for name in ("maxLength", "minLength", "maxItems", "minItems"))
        if "pattern" not in schema and max(counts) > _REPETITIONS:
            said = "number of repetitions exceeds sane defaults, please reduce the number of repetitions"
            return Refusal(f"Failed to initialize samplers: failed to parse grammar: {said}", code=400)
    return None


_REPETITIONS = 2_000


def stream_needed(words: str, **more: Any) -> Rule:
    def rule(asking: Asking) -> Refusal | None:
        return None if asking.body.get("stream") is True else Refusal(words, **more)

    return rule


def longest_answer(most: int, words: Callable[[int], Refusal]) -> Rule:
    """`words` are about the tokens that were asked for."""

    def rule(asking: Asking) -> Refusal | None:
        asked = asking.most_tokens
        return words(asked) if asked is not None and asked > most else None

    return rule


def context(words: Callable[[int, int, int], Refusal], *, with_answer: bool = True) -> Rule:
    """`words` are about (context, prompt, answer) in tokens; `with_answer`: the answer counts, too."""

    def rule(asking: Asking) -> Refusal | None:
        size, asked = asking.knobs.context, asking.most_tokens or 0
        if size is None or asking.prompt_tokens + (asked if with_answer else 0) <= size:
            return None
        return words(size, asking.prompt_tokens, asked)

    return rule


def system_refused(words: Refusal) -> Rule:
    """Where the knob says that the model's template has no system role."""

    def rule(asking: Asking) -> Refusal | None:
        messages = asking.body.get("messages") or ()
        first = messages[0] if isinstance(messages, list) and messages else {}
        has = isinstance(first, dict) and first.get("role") == "system"
        return words if has and not asking.knobs.system_role else None

    return rule


def tool_not_forced(words: Refusal) -> Rule:
    """Anthropic's models, while they think."""

    def rule(asking: Asking) -> Refusal | None:
        forced = (asking.body.get("tool_choice") or {}).get("type") in ("tool", "any")
        return words if forced and asking.thinks else None

    return rule


def bounded_pattern_refused(words: Words) -> Rule:
    """xgrammar: an expression together with bounds of length."""

    def rule(asking: Asking) -> Refusal | None:
        both = (each for _, each in _schemas(asking.schema) if "pattern" in each)
        found = next((name for each in both for name in ("minLength", "maxLength") if name in each), None)
        return words(found) if found is not None else None

    return rule


def answer_beyond_context(words: Callable[[int, int, int], Refusal]) -> Rule:
    """An answer that alone is longer than the context; a shorter one is cut to what is left."""

    def rule(asking: Asking) -> Refusal | None:
        size, asked = asking.knobs.context, asking.most_tokens or 0
        return words(size, asking.prompt_tokens, asked) if size is not None and asked > size else None

    return rule


def grammar_anchored(words: Refusal) -> Rule:
    """Older llama.cpp, as in Ollama: an expression must begin with ^ and end with $."""

    def rule(asking: Asking) -> Refusal | None:
        patterns = (str(each["pattern"]) for _, each in _schemas(asking.schema) if "pattern" in each)
        open_ = any(not (each.startswith("^") and each.endswith("$")) for each in patterns)
        return words if open_ else None

    return rule

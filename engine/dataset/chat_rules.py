"""What a conversation must be: roles in turn, results after calls, arguments that the tools take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from engine.dataset.chats import Message, function_of


def complaint(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] = (),
    turns: tuple[int, int] | None = None,
    system: str = "keep",
    *,
    prompt: bool = False,
) -> tuple[str, str] | None:
    """(reason, sentence) of the first fault of a conversation; None where there is none.

    `prompt`: it is one that waits for an answer, so that a user is last. What trainers refuse: roles that do not
    alternate (unsloth#334, LLaMA-Factory#2962).
    """
    begins = bool(messages) and messages[0]["role"] == "system"
    if system == "require" and not begins:
        return "no_system", "there is no system message first"
    spoken = messages[1:] if begins else messages
    if not spoken:
        return "no_turns", "the conversation has no message"
    if turns is not None and not turns[0] <= len(spoken) <= turns[1]:
        return "turns", f"the conversation has {len(spoken)} messages, not {turns[0]} to {turns[1]}"
    if spoken[0]["role"] != "user":
        return "roles", f"the first message is of the {spoken[0]['role']}, not of the user"
    found = next(_order(spoken), None) or next(_calls(spoken, tools), None)
    if found is not None:
        return found
    last = "user" if prompt else "assistant"
    if spoken[-1]["role"] != last and not (prompt and spoken[-1]["role"] == "tool"):
        return "roles", f"the last message is of the {spoken[-1]['role']}, not of the {last}"
    return None


_AFTER: Mapping[str, tuple[str, ...]] = {
    "user": ("assistant",),
    "assistant": ("user",),
    "calls": ("tool",),
    "tool": ("tool", "assistant"),
}


def _order(spoken: Sequence[Message]) -> Iterator[tuple[str, str]]:
    before = ""
    for place, message in enumerate(spoken, 1):
        role = message["role"]
        if before and role not in _AFTER[before]:
            if role == "tool":
                yield "tool_without_call", f"message {place} is a tool's result, and no call stands before it"
            else:
                said = {"calls": "a tool call"}.get(before, f"a message of the {before}")
                yield "roles", f"message {place} is of the {role}, after {said}"
        silent = not message["content"].strip() and not message.get("tool_calls")
        if silent and role in ("user", "assistant"):
            yield "empty_message", f"message {place} is empty"
        before = "calls" if role == "assistant" and message.get("tool_calls") else role


def _calls(spoken: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Faults of tool calls: an unknown name, arguments that are not what the tool's schema says."""
    known = {str(function_of(tool)["name"]): function_of(tool) for tool in tools}
    for place, message in enumerate(spoken, 1):
        for call in message.get("tool_calls") or ():
            function = call["function"]
            try:
                arguments = orjson.loads(function["arguments"])
            except orjson.JSONDecodeError:
                yield "bad_tool_call", f"message {place}: the arguments of {function['name']} are not JSON"
                continue
            if tools and function["name"] not in known:
                yield (
                    "unknown_tool",
                    f"message {place} calls {function['name']!r}; there are {', '.join(known)}",
                )
            elif tools and (fault := _misfit(arguments, known[function["name"]])) is not None:
                yield "bad_tool_call", f"message {place}: the arguments of {function['name']}: {fault}"


def _misfit(arguments: Any, tool: Mapping[str, Any]) -> str | None:
    """Why arguments do not fit the tool's schema; None where they do, or the schema is none."""
    import jsonschema_rs

    try:
        validator = jsonschema_rs.validator_for(
            _plain_schema(tool.get("parameters") or {}),
            retriever=_retrieved,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS),
        )
        fault = next(validator.iter_errors(arguments), None)
    except (jsonschema_rs.ValidationError, RecursionError, ValueError, TypeError):
        return None
    return fault.message[:200] if fault is not None else None


_BACKTRACKS = 100_000
"""Steps back within one match (some milliseconds): a dataset's own pattern does not stop a run."""


def _retrieved(address: str) -> Any:
    """Schemas come with datasets: what they refer to outside of themselves is not fetched."""
    raise LookupError(address)


_SCHEMA_TYPES: Mapping[str, str] = {"dict": "object", "float": "number", "tuple": "array", "any": ""}


def _plain_schema(schema: Any) -> Any:
    """The schema with the type names that function-calling benchmarks use (dict, float, tuple) as JSON's."""
    if isinstance(schema, list):
        return [_plain_schema(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    plain = {key: _plain_schema(inner) for key, inner in schema.items() if inner is not None}
    if isinstance(kind := plain.get("type"), str) and kind in _SCHEMA_TYPES:
        plain["type"] = _SCHEMA_TYPES[kind]
        if not plain["type"]:
            del plain["type"]
    return plain

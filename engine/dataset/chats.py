"""Conversations: read in OpenAI's or ShareGPT's form, and written back in the dataset's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import orjson

from engine.dataset.forms import FieldProblem

Message = dict[str, Any]
"""role, content; and of an assistant `tool_calls` and its thoughts, of a tool `tool_call_id` and `name`."""

_ROLES: Mapping[str, str] = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    "ipython": "tool",
    "function_call": "function_call",
}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Fields of a message in which datasets keep what a model thought before it answered."""


@dataclass(frozen=True, slots=True)
class ChatStyle:
    """How a dataset spells its conversations."""

    role: str = "role"
    content: str = "content"
    roles: Mapping[str, str] = field(default_factory=dict)
    """The dataset's names of the roles, by ours."""
    arguments: str = "string"
    """Whether the arguments of a tool call are a JSON string or an object."""
    nested: bool = False
    """Whether a conversation is a list of turns, each a list of messages."""
    bare_tools: bool = False
    """Whether a tool is the function itself, without a type beside it."""
    keys: tuple[str, ...] = ()
    """The fields that every message has, in order; none where they differ."""
    no_content: str | None = ""
    """The content of a message that only calls a tool."""

    @classmethod
    def of(cls, messages: Any, tools: Any = None) -> ChatStyle:
        """As one conversation shows it."""
        nested = isinstance(messages, list) and bool(messages) and isinstance(messages[0], list)
        messages = list(chain.from_iterable(messages)) if nested else messages
        listed = (
            [each for each in messages if isinstance(each, Mapping)] if isinstance(messages, list) else []
        )
        shared = any("from" in each and "value" in each for each in listed)
        role, content = ("from", "value") if shared else ("role", "content")
        roles = {_ROLES[str(each[role])]: str(each[role]) for each in listed if str(each.get(role)) in _ROLES}
        calls = [call for each in listed for call in each.get("tool_calls") or ()]
        objects = any(isinstance(function_of(call).get("arguments"), Mapping) for call in calls)
        tools = _parsed(tools)
        bare = isinstance(tools, list) and any(
            isinstance(each, Mapping) and "function" not in each for each in tools
        )
        keys = {tuple(each) for each in listed}
        silent = any(each.get("tool_calls") and each.get(content, "") is None for each in listed)
        return cls(
            role,
            content,
            roles,
            "object" if objects else "string",
            nested,
            bare,
            keys.pop() if len(keys) == 1 else (),
            None if silent else "",
        )

    def joined(self, other: ChatStyle) -> ChatStyle:
        """With the names of roles that another conversation shows."""
        objects = "object" in (self.arguments, other.arguments)
        return ChatStyle(
            self.role,
            self.content,
            {**other.roles, **self.roles},
            "object" if objects else "string",
            self.nested or other.nested,
            self.bare_tools or other.bare_tools,
            self.keys if self.keys == other.keys else (),
            None if None in (self.no_content, other.no_content) else "",
        )

    @classmethod
    def from_json(cls, shown: Mapping[str, Any]) -> ChatStyle:
        return cls(**{**shown, "keys": tuple(shown.get("keys", ()))})


@dataclass(frozen=True, slots=True)
class ChatShape:
    """What all conversations of a dataset have in common."""

    turns: tuple[int, int] = (0, 0)
    """The fewest and the most messages besides the system's; zero without conversations."""
    system: tuple[bool, bool] = (False, False)
    """Whether some, and whether all, begin with a system message."""
    calls: bool = False
    """Whether tools are called in some."""
    thoughts: str = ""
    """The field of a message with what was thought."""

    @staticmethod
    def gathering() -> GatheredChats:
        return GatheredChats()


class GatheredChats:
    """Mutable: what the conversations so far have in common."""

    def __init__(self) -> None:
        self._turns: set[int] = set()
        self._system: set[bool] = set()
        self._calls = False
        self._thoughts = ""

    def add(self, parts: Mapping[str, Any]) -> None:
        messages = parts.get("messages")
        if not isinstance(messages, list | tuple):
            return
        begins = bool(messages) and messages[0]["role"] == "system"
        self._system.add(begins)
        self._turns.add(len(messages) - begins)
        self._calls = self._calls or any(each.get("tool_calls") for each in messages)
        self._thoughts = self._thoughts or next((n for each in messages for n in _THOUGHTS if n in each), "")

    def shape(self) -> ChatShape:
        if not self._turns:
            return ChatShape()
        system = True in self._system, False not in self._system
        return ChatShape((min(self._turns), max(self._turns)), system, self._calls, self._thoughts)


# --- reading ---------------------------------------------------------------------------------------


def messages_in(value: Any, name: str = "messages") -> list[Message]:
    """The conversation in our form. Raises FieldProblem where the value is none."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise FieldProblem("wrong_type", f"the {name} are a text, not a list of messages") from None
    if isinstance(value, list) and value and all(isinstance(each, list) for each in value):
        value = list(chain.from_iterable(value))
    if not isinstance(value, list | tuple):
        raise FieldProblem("wrong_type", f"the {name} are a {type(value).__name__}, not a list of messages")
    return [_message(each, name) for each in value]


def _message(value: Any, name: str) -> Message:
    if not isinstance(value, Mapping):
        raise FieldProblem("wrong_type", f"the {name} hold a {type(value).__name__}, not a message")
    role = value.get("role", value.get("from"))
    content = value.get("content", value.get("value"))
    known = _ROLES.get(str(role))
    if known is None:
        raise FieldProblem(
            "unknown_role", f"the {name} hold a message of {role!r}; known: {', '.join(_ROLES)}"
        )
    if isinstance(content, list):  # parts of text, as some servers take them
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        if not all(isinstance(text, str) for text in texts):
            raise FieldProblem("wrong_type", f"the {name} hold a message that is not text alone")
        content = "".join(map(str, texts))
    if content is not None and not isinstance(content, str):
        raise FieldProblem(
            "wrong_type", f"the {name} hold a message whose content is a {type(content).__name__}"
        )
    others = {
        key: inner
        for key, inner in value.items()
        if key not in ("role", "from", "content", "value") and inner not in (None, [])
    }
    if known == "function_call":
        return {"role": "assistant", "content": "", "tool_calls": _called(content or "", name), **others}
    if isinstance(others.get("tool_calls"), list):
        others["tool_calls"] = [_call(each, name) for each in others["tool_calls"]]
    return {"role": known, "content": content or "", **others}


def _called(text: str, name: str) -> list[Any]:
    """The calls in ShareGPT's `function_call`: one or a list, as JSON."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise FieldProblem("bad_tool_call", f"the {name} hold a function call that is not JSON") from None
    return [_call(each, name) for each in (value if isinstance(value, list) else [value])]


def function_of(call: Any) -> Mapping[str, Any]:
    """What a tool, or a call of one, holds: a function's name, and what it takes or is given."""
    inner = call.get("function", call) if isinstance(call, Mapping) else {}
    return inner if isinstance(inner, Mapping) else {}


def _call(value: Any, name: str) -> dict[str, Any]:
    """A tool call in OpenAI's form, its arguments as JSON text. Raises FieldProblem."""
    function = function_of(value)
    arguments = function.get("arguments", function.get("parameters"))
    if not isinstance(function.get("name"), str):
        raise FieldProblem("bad_tool_call", f"the {name} hold a tool call without a name")
    if not isinstance(arguments, str):
        arguments = orjson.dumps(arguments if arguments is not None else {}, default=str).decode()
    call = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    known = value.get("id") if isinstance(value, Mapping) else None
    return {"id": known, **call} if isinstance(known, str) else call


def _parsed(value: Any) -> Any:
    """The value of a JSON text; any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def tools_in(value: Any) -> list[dict[str, Any]]:
    """The tools in OpenAI's form: `{"type": "function", "function": {"name", "parameters"}}`. Raises FieldProblem."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value or "[]")
        except orjson.JSONDecodeError:
            raise FieldProblem("wrong_type", "the tools are a text that is not JSON") from None
    if value is None:
        return []
    if not isinstance(value, list) or not all(
        isinstance(function_of(each).get("name"), str) for each in value
    ):
        raise FieldProblem("wrong_type", "the tools are no list of functions with names")
    return [{"type": "function", "function": dict(function_of(each))} for each in value]


# --- writing ---------------------------------------------------------------------------------------


def written(messages: Sequence[Message], style: ChatStyle) -> list[Any]:
    """The conversation in the dataset's own form."""
    shown = _spelled(messages, style)
    return [[each] for each in shown] if style.nested else shown


def tools_written(tools: Sequence[Mapping[str, Any]], style: ChatStyle) -> list[Any]:
    """The tools in the dataset's own form."""
    return [dict(function_of(each)) for each in tools] if style.bare_tools else list(tools)


def _spelled(messages: Sequence[Message], style: ChatStyle) -> list[dict[str, Any]]:
    usual = {"user": "human", "assistant": "gpt"} if style.role == "from" else {}
    shown = []
    for message in messages:
        role = style.roles.get(message["role"]) or usual.get(message["role"], message["role"])
        others = {key: value for key, value in message.items() if key not in ("role", "content")}
        content: str | None = message["content"]
        if calls := others.get("tool_calls"):
            if style.role == "from":
                role = style.roles.get("function_call", "function_call")
                listed = [_as_object(call)["function"] for call in calls]
                content = orjson.dumps(listed[0] if len(listed) == 1 else listed).decode()
                del others["tool_calls"]
            elif style.arguments == "object":
                others["tool_calls"] = [_as_object(call) for call in calls]
        if message.get("tool_calls") and not content:
            content = style.no_content
        spelled = {style.role: role, style.content: content, **others}
        shown.append({**{key: spelled.get(key) for key in style.keys}, **spelled} if style.keys else spelled)
    return shown


def _as_object(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": orjson.loads(function["arguments"])}}


def spoken_by_user(messages: Sequence[Message]) -> str:
    """What the users say, which is what a conversation is known by."""
    return "\n\n".join(each["content"] for each in messages if each["role"] == "user")

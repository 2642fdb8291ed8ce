"""Items in the shapes that trainers read: the keys and values of one row of each format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.dataset import chats
from engine.dataset.chats import ChatStyle, Message
from engine.exports.training import Training
from engine.protocols import Row
from engine.schema.values import dumps

# --- messages --------------------------------------------------------------------------------------


_OPENAI = ChatStyle()
_OBJECTS = ChatStyle(arguments="object")
_SHAREGPT = ChatStyle("from", "value", {"tool": "observation"})
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def _openai_messages(messages: Sequence[Message]) -> list[Row]:
    """Messages as OpenAI takes them: no thoughts, which are no part of an answer there."""
    spoken = [{key: value for key, value in each.items() if key not in _THOUGHTS} for each in messages]
    return chats.written(_with_ids(spoken), _OPENAI)


def _with_ids(messages: Sequence[Message]) -> list[Message]:
    """Every call with an id, and every result with that of its call, which OpenAI wants."""
    known: list[Message] = []
    waiting: list[str] = []
    for place, message in enumerate(messages):
        if calls := message.get("tool_calls"):
            named = [{"id": f"call_{place}_{number}", **call} for number, call in enumerate(calls)]
            waiting = [call["id"] for call in named]
            message = {**message, "tool_calls": named}
        elif message["role"] == "tool" and "tool_call_id" not in message and waiting:
            message = {**message, "tool_call_id": waiting.pop(0)}
        known.append(message)
    return known


def _trl_messages(messages: Sequence[Message]) -> list[Row]:
    """Messages as chat templates take them: the arguments of a call as an object."""
    return chats.written(messages, _OBJECTS)


def _thinking(messages: Sequence[Message]) -> list[Message]:
    """Thoughts within the answer, as LLaMA-Factory reads them: <think> before it."""
    shown = []
    for message in messages:
        thought = next((message[name] for name in _THOUGHTS if message.get(name)), None)
        plain = {key: value for key, value in message.items() if key not in _THOUGHTS}
        if thought and "<think>" not in plain["content"]:
            plain["content"] = f"<think>\n{thought}\n</think>\n\n{plain['content']}"
        shown.append(plain)
    return shown


def _shared(messages: Sequence[Message]) -> list[Row]:
    turns: list[Row] = []
    for turn in chats.written(_thinking(messages), _SHAREGPT):
        value = {"from": turn["from"], "value": turn["value"]}
        if turns and turn["from"] == turns[-1]["from"] == "observation":  # turns alternate there
            turns[-1]["value"] = f"{turns[-1]['value']}\n{value['value']}"
        else:
            turns.append(value)
    return turns


def _text(messages: Sequence[Message]) -> str:
    return "\n\n".join(str(each["content"]) for each in _thinking(messages))


# --- shapes ----------------------------------------------------------------------------------------


def alpaca(item: Training) -> Row:
    answer = _text(item.messages[-1:])
    if item.instruction:
        return _with_system({"instruction": item.instruction, "input": item.input, "output": answer}, item)
    spoken = _thinking(item.spoken)
    history = [
        [one["content"], other["content"]] for one, other in zip(spoken[:-2:2], spoken[1:-2:2], strict=False)
    ]
    shown = _with_system({"instruction": spoken[-2]["content"], "input": "", "output": answer}, item)
    return {**shown, "history": history} if history else shown


def _with_system(row: Row, item: Training) -> Row:
    return {**row, "system": item.system} if item.system else row


def alpaca_preference(item: Training) -> Row:
    spoken = item.spoken
    history = [
        [one["content"], other["content"]] for one, other in zip(spoken[:-1:2], spoken[1:-1:2], strict=False)
    ]
    shown: Row = {
        "instruction": _text(spoken[-1:]),
        "input": "",
        "chosen": _text(item.chosen),
        "rejected": _text(item.rejected),
    }
    return _with_system({**shown, "history": history} if history else shown, item)


def openai(item: Training) -> Row:
    shown: Row = {"messages": _openai_messages(item.messages)}
    return {**shown, "tools": item.tools} if item.tools else shown


def openai_preference(item: Training) -> Row:
    asked: Row = {"messages": _openai_messages(item.messages)}
    if item.tools:
        asked |= {"tools": item.tools, "parallel_tool_calls": True}
    return {
        "input": asked,
        "preferred_output": _openai_messages(item.chosen),
        "non_preferred_output": _openai_messages(item.rejected),
    }


def sharegpt(item: Training) -> Row:
    shown: Row = {"conversations": _shared(item.spoken)}
    if item.tools:
        shown["tools"] = _tools_text(item.tools)
    return _with_system(shown, item)


def sharegpt_preference(item: Training) -> Row:
    chosen, rejected = _shared(item.chosen), _shared(item.rejected)
    shown: Row = {"conversations": _shared(item.spoken), "chosen": chosen[-1], "rejected": rejected[-1]}
    return _with_system(shown, item)


def sharegpt_kto(item: Training) -> Row:
    return {**sharegpt(item), "label": bool(item.label)}


def _tools_text(tools: Sequence[Any]) -> str:
    return dumps([tool["function"] for tool in tools])


def trl(item: Training) -> Row:
    return _with_tools(
        {"prompt": _trl_messages(item.prompt), "completion": _trl_messages(item.messages[-1:])}, item
    )


def trl_messages_only(item: Training) -> Row:
    return _with_tools({"messages": _trl_messages(item.messages)}, item)


def trl_preference(item: Training) -> Row:
    answers = {"chosen": _trl_messages(item.chosen), "rejected": _trl_messages(item.rejected)}
    prompt: Row = {"prompt": _trl_messages(item.messages)} if item.messages else {}
    told: Row = {"margin": item.margin, "reason": item.reason} if item.margin is not None else {}
    return _with_tools({**prompt, **answers, **told}, item)


def trl_kto(item: Training) -> Row:
    return _with_tools({**trl(item), "label": bool(item.label)}, item)


def trl_prompt(item: Training) -> Row:
    return _with_tools({"prompt": _trl_messages(item.messages)}, item)


def _with_tools(row: Row, item: Training) -> Row:
    return {**row, "tools": item.tools} if item.tools else row


def axolotl(item: Training) -> Row:
    return _with_tools({"messages": _openai_messages_with_thoughts(item.messages)}, item)


def axolotl_preference(item: Training) -> Row:
    return {
        "messages": chats.written(item.messages, _OPENAI),
        "chosen": chats.written(item.chosen[-1:], _OPENAI)[0],
        "rejected": chats.written(item.rejected[-1:], _OPENAI)[0],
    }


def _openai_messages_with_thoughts(messages: Sequence[Message]) -> list[Row]:
    """Messages in OpenAI's form, with thoughts under the name that chat templates know."""
    shown = []
    for message in messages:
        thought = next((message[name] for name in _THOUGHTS if message.get(name)), None)
        plain = {key: value for key, value in message.items() if key not in _THOUGHTS}
        shown.append({**plain, "reasoning_content": thought} if thought else plain)
    return chats.written(shown, _OPENAI)

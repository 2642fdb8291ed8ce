"""Anthropic's Messages API around the simulated model: the request as a chat's, the reply as content blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same request to chat completions: a tool is a response format, the system prompt a message."""
    messages = body.get("messages")
    chat = {"model": body.get("model"), "max_tokens": body.get("max_tokens"), "stream": body.get("stream")}
    chat["messages"] = [{"role": "system", "content": body.get("system", "")}, *(messages or ())]
    tools = body.get("tools") or ()
    for tool in tools[:1]:
        schema = {"name": tool.get("name"), "schema": tool.get("input_schema")}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    return chat


def as_message(chat: Mapping[str, Any], tool: str | None) -> dict[str, Any]:
    """A chat completion as a message; where `tool` names one, a whole answer is its input."""
    [choice] = chat["choices"]
    said = choice["message"]
    blocks = []
    if thought := said.get("reasoning_content"):
        blocks.append({"type": "thinking", "thinking": thought, "signature": ""})
    content = said["content"]
    if isinstance(content, list):
        thoughts = [part["thinking"][0]["text"] for part in content if part["type"] == "thinking"]
        blocks += [{"type": "thinking", "thinking": each, "signature": ""} for each in thoughts]
        content = "".join(part["text"] for part in content if part["type"] == "text")
    blocks += _answer(content or "", tool)
    stop = {
        "length": "max_tokens",
        "stop": "tool_use" if blocks[-1:] and blocks[-1]["type"] == "tool_use" else "end_turn",
    }
    return {
        "id": chat["id"].replace("chatcmpl-", "msg_"),
        "type": "message",
        "role": "assistant",
        "model": chat["model"],
        "content": blocks,
        "stop_reason": stop[choice["finish_reason"]],
        "stop_sequence": None,
        "usage": chat.get("usage"),
    }


def _answer(text: str, tool: str | None) -> list[dict[str, Any]]:
    """The tool's input if the text ends with it; what precedes it, and what is none, is a text block."""
    start = (
        text.rfind("\n\n{") + 2
        if "\n\n{" in text
        else text.find("<|message|>{") + 11
        if "<|message|>{" in text
        else 0
    )
    try:
        called = orjson.loads(text[start:].removesuffix("<|return|>")) if tool is not None else None
    except orjson.JSONDecodeError:
        called = None
    if not isinstance(called, dict):
        return [{"type": "text", "text": text}] if text else []
    before = [{"type": "text", "text": text[:start]}] if start else []
    return [*before, {"type": "tool_use", "id": "toolu_0", "name": tool, "input": called}]


def events(message: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The message as the events of a stream: their names and data."""
    told: list[tuple[str, dict[str, Any]]] = []
    start = {**message, "content": [], "stop_reason": None}
    told.append(("message_start", {"type": "message_start", "message": start}))
    for index, block in enumerate(message["content"]):
        empty, delta = _pieces(block)
        told.append(
            ("content_block_start", {"type": "content_block_start", "index": index, "content_block": empty})
        )
        told.append(("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}))
        told.append(("content_block_stop", {"type": "content_block_stop", "index": index}))
    output = {"output_tokens": message["usage"]["output_tokens"]} if message.get("usage") else {}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    told.append(("message_delta", {"type": "message_delta", "delta": end, "usage": output}))
    told.append(("message_stop", {"type": "message_stop"}))
    return told


def _pieces(block: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A content block without its content, and its content as one delta."""
    if block["type"] == "tool_use":
        given = orjson.dumps(block["input"]).decode()
        return {**block, "input": {}}, {"type": "input_json_delta", "partial_json": given}
    name = str(block["type"])
    return {**block, name: ""}, {"type": f"{name}_delta", name: block[name]}

"""How a reply travels: whole, streamed, in small pieces, not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from aiohttp import web

from engine.simulator.dialects.messages import events
from engine.simulator.dialects.thinking import deltas

FIRST_TOKEN = 0.2
"""The share of a streamed answer's time that passes before its first token."""
_PIECES = 8
_MARK = {"x-simulation": "true"}


def json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    """Text is sent as it is."""
    told = {**_MARK, **(headers or {})}
    if isinstance(value, str):
        return web.Response(status=status, text=value, headers=told)
    return web.Response(
        status=status, body=orjson.dumps(value), content_type="application/json", headers=told
    )


def reset(request: web.Request) -> web.StreamResponse:
    """Cut the connection without a reply."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def slowly(request: web.Request, payload: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
    """In tenths, over about a second."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", **_MARK, **headers})
    response.content_length = len(payload)
    await response.prepare(request)
    for start in range(0, len(payload), max(1, len(payload) // 10)):
        await response.write(payload[start : start + max(1, len(payload) // 10)])
        await asyncio.sleep(0.1)
    await response.write_eof()
    return response


async def streamed(
    request: web.Request, chunks: list[bytes], seconds: float, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Server-sent events, spread over `seconds`."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_MARK, **headers})
    await response.prepare(request)
    for chunk in chunks:
        await response.write(chunk)
        if seconds > 0:
            await asyncio.sleep(seconds / len(chunks))
    await response.write_eof()
    return response


def chat_events(whole: dict[str, Any], asked: Mapping[str, Any], comment: str) -> Iterator[bytes]:
    """A chat completion as events; usage comes last, where it was asked for."""
    if comment:
        yield f": {comment}\n\n".encode()
    [choice] = whole["choices"]
    usage = whole.pop("usage", None)

    def event(choices: list[Any], **more: Any) -> bytes:
        chunk = {**whole, "object": "chat.completion.chunk", "choices": choices, **more}
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    for delta in deltas(choice["message"], _PIECES):
        yield event([{"index": 0, "delta": delta, "finish_reason": None}])
    yield event([{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}])
    if usage is not None and (asked.get("stream_options") or {}).get("include_usage"):
        yield event([], usage=usage)
    yield b"data: [DONE]\n\n"


def message_events(message: Mapping[str, Any]) -> Iterator[bytes]:
    """A message of Anthropic's API as events."""
    for name, data in events(message):
        yield f"event: {name}\ndata: ".encode() + orjson.dumps(data) + b"\n\n"

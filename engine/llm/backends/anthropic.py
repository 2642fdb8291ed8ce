"""Anthropic's Messages API: the schema as the one tool that the model must use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import orjson

from engine.config import ModelConfig
from engine.errors import (
    BadRequest,
    ContentFiltered,
    MalformedReply,
    Renegotiated,
    Unparseable,
)
from engine.items import Completion, Prompt, Usage
from engine.llm.backends.connection import HttpBackend
from engine.llm.backends.openai_compatible import charged, token_count

FINISH = {"max_tokens": "length", "model_context_window_exceeded": "length", "refusal": "content_filter"}
"""Anthropic's stop reasons in OpenAI's terms; all others become 'stop'."""
_HOTTEST = 1.0


class AnthropicMessages(HttpBackend):
    """A Backend. `complete` is one HTTP request.

    Mutable state: whether the tool and the temperature are sent; not after the endpoint has refused them.
    """

    def __init__(self, model: ModelConfig, *, concurrency: int) -> None:
        super().__init__(model, "v1/messages", concurrency=concurrency)
        self._tool = model.response_format in ("auto", "json_schema")
        self._tool_fixed = model.response_format != "auto"
        self._temperature = True

    async def complete(self, prompt: Prompt) -> Completion:
        """Raises TransientError or FatalError, by status and body."""
        settings = self._settings
        try:
            return completion_of(await self._http.post(orjson.dumps(self._fields(prompt))), self._model.name)
        except BadRequest as refusal:
            if settings != self._settings or self._adapt(str(refusal).lower()):
                raise Renegotiated(str(refusal)) from None
            raise

    async def streamed(self, prompt: Prompt, first: Callable[[], None]) -> Completion:
        """Like `complete`, but the endpoint streams the answer; `first` is called at its first token."""
        whole = StreamedMessage(first)
        body = orjson.dumps({**self._fields(prompt), "stream": True})
        async with contextlib.aclosing(self._http.stream(body)) as events:
            async for event in events:
                whole.add(event)
        return completion_of(whole.body(), self._model.name)

    def _fields(self, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model.name,
            "max_tokens": prompt.max_tokens,
            "system": prompt.system,
            "messages": ({"role": "user", "content": prompt.user},),
        }
        if self._temperature:
            body["temperature"] = min(prompt.temperature, _HOTTEST)
        if self._tool:
            tool = {"name": prompt.purpose, "description": "Takes the answer.", "input_schema": prompt.schema}
            body["tools"] = (tool,)
            body["tool_choice"] = {"type": "tool", "name": prompt.purpose}
        return {**body, **self._model.extra_body}

    @property
    def _settings(self) -> tuple[bool, bool]:
        return self._tool, self._temperature

    def _adapt(self, said: str) -> bool:
        """Leaves out what was refused. Only the first of several simultaneous refusals changes anything."""
        if "temperature" in said and self._temperature:
            self._temperature = False
            return True
        if ("tool" in said or "input_schema" in said) and self._tool and not self._tool_fixed:
            self._tool = False
            return True
        return False


class StreamedMessage:
    """Joins the events of a streamed message. Mutable state: what has arrived so far."""

    def __init__(self, first: Callable[[], None]) -> None:
        self._first: Callable[[], None] | None = first
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._parts: list[str] = []
        self._tool = False

    def add(self, event: bytes) -> None:
        """Raises MalformedReply."""
        try:
            told = orjson.loads(event)
            if told["type"] == "message_start":
                self._message = dict(told["message"])
                self._usage.update(self._message.get("usage") or {})
            elif told["type"] == "content_block_start":
                self._tool = self._tool or told["content_block"]["type"] == "tool_use"
            elif told["type"] == "content_block_delta":
                self._add(told["delta"].get("text") or told["delta"].get("partial_json") or "")
            elif told["type"] == "message_delta":
                self._message["stop_reason"] = told["delta"].get("stop_reason")
                self._usage.update(told.get("usage") or {})
        except (ValueError, AttributeError, TypeError, KeyError):
            raise MalformedReply("an event of the stream does not belong to a message") from None

    def _add(self, part: str) -> None:
        if part and self._first is not None:
            self._first()
            self._first = None
        self._parts.append(part)

    def body(self) -> bytes:
        """The body of the same reply without streaming. Tool input that is cut short becomes a text block."""
        whole = "".join(self._parts)
        block: dict[str, Any] = {"type": "text", "text": whole}
        if self._tool:
            with contextlib.suppress(ValueError):
                block = {"type": "tool_use", "input": orjson.loads(whole)}
        return orjson.dumps({**self._message, "usage": self._usage, "content": [block] if whole else []})


# --- what a reply holds: pure functions -------------------------------------------------------------


def completion_of(body: bytes, model: str) -> Completion:
    """Raises MalformedReply, ContentFiltered, Unparseable."""
    try:
        reply = orjson.loads(body)
        blocks = [dict(block) for block in reply["content"]]
        finish = FINISH.get(reply.get("stop_reason") or "", "stop")
    except orjson.JSONDecodeError:
        raise MalformedReply("the body is not whole JSON") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise MalformedReply("the body holds no content blocks") from None
    usage = usage_of(reply.get("usage"))
    if finish == "content_filter":
        raise charged(ContentFiltered("the model declined to answer"), usage)
    text = _text(blocks)
    if not text.strip():
        raise charged(Unparseable("the answer is empty"), usage)
    return Completion(text, str(reply.get("model") or model), finish, usage)


def _text(blocks: list[dict[str, Any]]) -> str:
    """The tool's input as JSON; without a tool call, the text blocks."""
    for block in blocks:
        if block.get("type") == "tool_use":
            return orjson.dumps(block.get("input")).decode()
    return "".join(str(block.get("text") or "") for block in blocks if block.get("type") == "text")


def usage_of(usage: Any) -> Usage:
    """The usage; `input_tokens` excludes the tokens read from the prompt cache and written to it."""
    reported = usage if isinstance(usage, dict) else {}
    fresh, completion = token_count(reported.get("input_tokens")), token_count(reported.get("output_tokens"))
    if fresh is None or completion is None:
        return Usage(estimated=True)
    read = token_count(reported.get("cache_read_input_tokens")) or 0
    written = token_count(reported.get("cache_creation_input_tokens")) or 0
    return Usage(fresh + read + written, completion, read, written_tokens=written)

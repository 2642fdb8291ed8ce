"""Anthropic's Messages API: the schema as the one tool that the model must use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from engine.config import ModelConfig
from engine.errors import ContentFiltered, MalformedReply, Truncated, Unparseable
from engine.items import Completion, Prompt, Usage
from engine.llm.backends.chat_reply import with_usage
from engine.llm.backends.connection import NegotiatingBackend
from engine.llm.backends.failures import failure_within
from engine.llm.backends.negotiation import Negotiations, forms, without
from engine.llm.backends.schemas import FULL, fitted
from engine.llm.backends.terms import Terms, sampling_of
from engine.llm.backends.usage import token_count
from engine.llm.reasoning import Habit

FINISH = {"max_tokens": "length", "model_context_window_exceeded": "length", "refusal": "content_filter"}
"""Anthropic's stop reasons in OpenAI's terms; all others become 'stop'."""
_HOTTEST = 1.0
_LEAST_THINKING = 1_024
"""Tokens; Anthropic refuses a smaller budget."""
_SERVICE = {"default": "standard_only", "priority": "auto"}
"""Its names of the service tiers: a priority that was bought is used unless it is told otherwise."""


_TOOL_CHOICE = without("tool_choice", ladder=False)
"""Newer models, and all while they think, refuse to be forced to use a tool."""
_SAMPLING = (without("top_p", ladder=False), without("top_k", ladder=False), without("temperature"))
_STEPS = (_TOOL_CHOICE, *forms(("schema", "none")), *_SAMPLING)


class AnthropicMessages(NegotiatingBackend):
    """A Backend. `complete` is one HTTP request. The form `schema` is a tool that the model must use.

    Mutable state: the terms, the model's habit.
    """

    def __init__(self, model: ModelConfig, *, concurrency: int) -> None:
        super().__init__(model, "v1/messages", concurrency=concurrency)
        tool = model.response_format in ("auto", "json_schema")
        steps = _STEPS if model.response_format == "auto" else (_TOOL_CHOICE, *_SAMPLING)
        self._habit = Habit()
        self.negotiations = Negotiations(Terms(form="schema" if tool else "none"), steps)

    async def _asked(self, prompt: Prompt, terms: Terms, heard: Callable[[], None] | None) -> Completion:
        body = self.fields(prompt, terms)
        if heard is None:
            reply = await self._http.post(orjson.dumps(body), self._most_bytes(body["max_tokens"]))
        else:
            reply = await self._streamed(body, heard)
        completion = self.read(reply)
        otherwise = self.otherwise(prompt, terms)
        return replace(completion, sent=otherwise) if otherwise else completion

    def read(self, body: bytes) -> Completion:
        return completion_of(body, self._model.name, self._habit)

    def otherwise(self, prompt: Prompt, terms: Terms) -> dict[str, Any]:
        body, asked = self.fields(prompt, terms), {"temperature": prompt.temperature, **sampling_of(prompt)}
        return {name: body.get(name) for name, value in asked.items() if body.get(name) != value}

    async def _streamed(self, body: dict[str, Any], heard: Callable[[], None]) -> bytes:
        whole = StreamedMessage(heard)
        data = orjson.dumps({**body, "stream": True})
        tokens = body["max_tokens"]
        async with contextlib.aclosing(self._http.stream(data, tokens)) as events:
            async for event in events:
                whole.add(event)
                self._check_length(whole.length, tokens)
        return whole.body()

    def fields(self, prompt: Prompt, terms: Terms) -> dict[str, Any]:
        """The request's body on these terms."""
        most = prompt.max_tokens if terms.most_tokens is None else min(prompt.max_tokens, terms.most_tokens)
        body: dict[str, Any] = {
            "model": self._model.name,
            "max_tokens": most,
            "system": prompt.system,
            "messages": ({"role": "user", "content": prompt.user},),
        }
        thinks = self._thinking(most)
        if thinks:
            body["thinking"] = {"type": "enabled", "budget_tokens": thinks}
        elif "temperature" not in terms.without:  # while it thinks, only the default is allowed
            body["temperature"] = min(prompt.temperature, _HOTTEST)
        if not thinks:
            body |= {name: value for name, value in sampling_of(prompt).items() if name not in terms.without}
        if self._model.service_tier is not None:
            body["service_tier"] = _SERVICE.get(self._model.service_tier, self._model.service_tier)
        if terms.form == "schema":
            schema = fitted(prompt.schema, FULL)
            tool = {"name": prompt.purpose, "description": "Takes the answer.", "input_schema": schema}
            forced = "tool_choice" not in terms.without and not thinks
            body["tools"] = (tool,)
            body["tool_choice"] = {"type": "tool", "name": prompt.purpose} if forced else {"type": "auto"}
        return {**body, **self._extra(terms)}

    def _thinking(self, most: int) -> int:
        """The budget for thinking within `most` tokens; 0 without any."""
        budget = self._model.reasoning.tokens or 0
        return min(budget, most - 1) if budget >= _LEAST_THINKING and most > _LEAST_THINKING else 0


class StreamedMessage:
    """Joins the events of a streamed message. Mutable state: what has arrived so far."""

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = heard
        self.length = 0
        """Characters so far."""
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._parts: dict[str, list[str]] = {"text": [], "partial_json": [], "thinking": []}

    def add(self, event: bytes) -> None:
        """Raises MalformedReply, and the error that an event tells of."""
        try:
            told = orjson.loads(event)
            failure = failure_within(told) if told["type"] == "error" else None
            if told["type"] == "message_start":
                self._message = dict(told["message"])
                self._usage.update(self._message.get("usage") or {})
            elif told["type"] == "content_block_delta":
                for kind in self._parts:
                    self._add(kind, str(told["delta"].get(kind) or ""))
            elif told["type"] == "message_delta":
                self._message["stop_reason"] = told["delta"].get("stop_reason")
                self._usage.update(told.get("usage") or {})
        except (ValueError, AttributeError, TypeError, KeyError):
            raise MalformedReply("an event of the stream does not belong to a message") from None
        if failure is not None:
            raise failure

    def _add(self, kind: str, part: str) -> None:
        if part:
            self._heard()
        self._parts[kind].append(part)
        self.length += len(part)

    def body(self) -> bytes:
        """The body of the same reply without streaming. Tool input that is cut short becomes a text block."""
        text, called, thought = ("".join(self._parts[kind]) for kind in ("text", "partial_json", "thinking"))
        blocks: list[dict[str, Any]] = [
            {"type": "thinking", "thinking": thought},
            {"type": "text", "text": text or called},
        ]
        if called:
            with contextlib.suppress(ValueError):
                blocks.append({"type": "tool_use", "input": orjson.loads(called)})
        return orjson.dumps({**self._message, "usage": self._usage, "content": blocks})


# --- what a reply holds: pure functions -------------------------------------------------------------


def completion_of(body: bytes, model: str, habit: Habit | None = None) -> Completion:
    """Raises MalformedReply, ContentFiltered, Unparseable, Truncated, and what an error in the body means."""
    try:
        reply = orjson.loads(body)
        if (failure := failure_within(reply)) is not None:
            raise failure
        blocks = [dict(block) for block in reply["content"]]
        finish = FINISH.get(reply.get("stop_reason") or "", "stop")
    except orjson.JSONDecodeError:
        raise MalformedReply("the body is not whole JSON") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise MalformedReply("the body holds no content blocks") from None
    told = reply.get("usage")
    usage = usage_of(told, str(told.get("service_tier") or "") if isinstance(told, dict) else "")
    if finish == "content_filter":
        raise with_usage(ContentFiltered("the model declined to answer"), usage)
    said = (habit or Habit()).separated(_text(blocks), cut=finish == "length")
    if not said.answer.strip():
        cut = Truncated(
            f"all {usage.completion_tokens:,} tokens went into reasoning, and no answer was begun"
        )
        raise with_usage(cut if finish == "length" else Unparseable("the answer is empty"), usage)
    thought = "\n".join(filter(None, (_thought(blocks), said.reasoning)))
    return Completion(said.answer, str(reply.get("model") or model), finish, usage, reasoning=thought)


def _text(blocks: list[dict[str, Any]]) -> str:
    """The tool's input as JSON; without a tool call, the text blocks."""
    for block in blocks:
        if block.get("type") == "tool_use":
            return orjson.dumps(block.get("input")).decode()
    return "".join(str(block.get("text") or "") for block in blocks if block.get("type") == "text")


def _thought(blocks: list[dict[str, Any]]) -> str:
    return "\n".join(str(block.get("thinking") or "") for block in blocks if block.get("type") == "thinking")


def usage_of(usage: Any, tier: str = "") -> Usage:
    """The usage; `input_tokens` excludes the tokens read from the prompt cache and written to it."""
    reported = usage if isinstance(usage, dict) else {}
    fresh, completion = token_count(reported.get("input_tokens")), token_count(reported.get("output_tokens"))
    if fresh is None or completion is None:
        return Usage(estimated=True)
    read = token_count(reported.get("cache_read_input_tokens")) or 0
    written = token_count(reported.get("cache_creation_input_tokens")) or 0
    kinds = reported.get("cache_creation")
    hour = token_count(kinds.get("ephemeral_1h_input_tokens")) or 0 if isinstance(kinds, dict) else 0
    # Five minutes in the cache cost a quarter more than other input, an hour as much again: four quarters.
    return Usage(
        fresh + read + written,
        completion,
        read,
        written_tokens=written + 3 * min(hour, written),
        reasoning_tokens=_reasoning(reported),
        tier=tier,
    )


def _reasoning(reported: dict[str, Any]) -> int:
    details = reported.get("output_tokens_details")
    return (token_count(details.get("thinking_tokens")) or 0) if isinstance(details, dict) else 0

"""Any endpoint with OpenAI's chat completions API, including Azure deployments."""

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
    PermanentError,
    Renegotiated,
    Unparseable,
)
from engine.items import Completion, Prompt, Usage
from engine.llm.backends.connection import HttpBackend
from engine.llm.backends.dialect import Dialect
from engine.llm.backends.http import shown

_MOST_TOKENS = 100_000_000


class OpenAICompatible(HttpBackend):
    """A Backend. `complete` is one HTTP request."""

    def __init__(self, model: ModelConfig, *, concurrency: int) -> None:
        super().__init__(model, "chat/completions", concurrency=concurrency)
        self.dialect = Dialect(model)

    async def complete(self, prompt: Prompt) -> Completion:
        """Raises TransientError, PermanentError or FatalError, by status and body."""
        version = self.dialect.version
        try:
            return _completion(await self._http.post(orjson.dumps(self._fields(prompt))), self._model.name)
        except BadRequest as refusal:
            if self.dialect.adapt(refusal, version):
                raise Renegotiated(str(refusal)) from None
            raise

    async def streamed(self, prompt: Prompt, first: Callable[[], None]) -> Completion:
        """Like `complete`, but the endpoint streams the answer; `first` is called at its first token."""
        body = {**self._fields(prompt), "stream": True, "stream_options": {"include_usage": True}}
        version = self.dialect.version
        whole = StreamedAnswer(first)
        try:
            async with contextlib.aclosing(self._http.stream(orjson.dumps(body))) as events:
                async for event in events:
                    if event == b"[DONE]":
                        break
                    whole.add(event)
        except BadRequest as refusal:
            if self.dialect.adapt(refusal, version):
                raise Renegotiated(str(refusal)) from None
            raise
        return _completion(whole.body(), self._model.name)

    def _fields(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "model": self._model.name,
            "messages": (
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ),
            **self.dialect.fields(prompt),
            **self._model.extra_body,
        }


class StreamedAnswer:
    """Joins the events of a streamed answer. Mutable state: what has arrived so far."""

    def __init__(self, first: Callable[[], None]) -> None:
        self._first: Callable[[], None] | None = first
        self._text: list[str] = []
        self._reply: dict[str, Any] = {"model": None, "usage": None}
        self._finish: str | None = None

    def add(self, event: bytes) -> None:
        """Raises MalformedReply."""
        try:
            chunk = orjson.loads(event)
            self._reply["model"] = chunk.get("model") or self._reply["model"]
            self._reply["usage"] = chunk.get("usage") or self._reply["usage"]
            for choice in chunk.get("choices") or ():
                self._finish = choice.get("finish_reason") or self._finish
                self._add(str((choice.get("delta") or {}).get("content") or ""))
        except (ValueError, AttributeError, TypeError):
            raise MalformedReply("an event of the stream is not a chunk of an answer") from None

    def _add(self, text: str) -> None:
        if text and self._first is not None:
            self._first()
            self._first = None
        self._text.append(text)

    def body(self) -> bytes:
        """The body of the same reply without streaming."""
        message = {"content": "".join(self._text)}
        return orjson.dumps({**self._reply, "choices": [{"message": message, "finish_reason": self._finish}]})


# --- what a reply holds: pure functions -------------------------------------------------------------


def _completion(body: bytes, model: str) -> Completion:
    try:
        reply = orjson.loads(body)
        choice = reply["choices"][0]
        message, finish = dict(choice["message"]), choice.get("finish_reason") or "stop"
    except orjson.JSONDecodeError:
        raise MalformedReply("the body is not whole JSON") from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise MalformedReply("the body holds no choices with a message") from None
    usage = usage_of(reply.get("usage"))
    text = message.get("content")
    if finish == "content_filter":
        raise charged(ContentFiltered("the endpoint's content filter withheld the answer"), usage)
    if not isinstance(text, str) or not text.strip():
        refusal = message.get("refusal")
        said = f"the model refused: {shown(refusal)}" if refusal else "the answer is empty"
        raise charged(Unparseable(said), usage)
    return Completion(text, str(reply.get("model") or model), str(finish), usage)


def charged(error: PermanentError, usage: Usage) -> PermanentError:
    """The error, with the usage of the useless answer."""
    error.usage = usage
    return error


def usage_of(usage: Any) -> Usage:
    """Reads OpenAI's usage object; empty and marked as estimated if it is missing or implausible."""
    reported = usage if isinstance(usage, dict) else {}
    prompt, completion = (
        token_count(reported.get("prompt_tokens")),
        token_count(reported.get("completion_tokens")),
    )
    if prompt is None or completion is None:
        return Usage(estimated=True)
    details = reported.get("prompt_tokens_details")
    cached = token_count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Usage(prompt, completion, min(prompt, cached or 0))


def token_count(value: Any) -> int | None:
    """The value if it is a plausible number of tokens for one call, otherwise None."""
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if sound else None

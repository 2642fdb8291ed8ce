"""Any endpoint with OpenAI's chat completions API, including Azure deployments."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import orjson

from engine.config import ModelConfig
from engine.errors import BadRequest, Renegotiated
from engine.items import Completion, Prompt
from engine.llm.backends.chat_reply import StreamedAnswer, completion_of
from engine.llm.backends.connection import HttpBackend
from engine.llm.backends.dialect import Dialect


class OpenAICompatible(HttpBackend):
    """A Backend. `complete` is one HTTP request."""

    def __init__(self, model: ModelConfig, *, concurrency: int) -> None:
        super().__init__(model, "chat/completions", concurrency=concurrency)
        self.dialect = Dialect(model)

    async def complete(self, prompt: Prompt) -> Completion:
        """Raises TransientError, PermanentError or FatalError, by status and body."""
        version = self.dialect.version
        try:
            return self._completion(await self._http.post(orjson.dumps(self._fields(prompt))))
        except BadRequest as refusal:
            if self.dialect.adapt(refusal, version):
                raise Renegotiated(str(refusal)) from None
            raise

    async def streamed(self, prompt: Prompt, first: Callable[[], None]) -> Completion:
        """Like `complete`, but the endpoint streams the answer; `first` is called at its first token."""
        body = {**self._fields(prompt), "stream": True, "stream_options": {"include_usage": True}}
        version = self.dialect.version
        whole = StreamedAnswer(first, self._http.redacted)
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
        return self._completion(orjson.dumps(whole.reply()))

    def _completion(self, body: bytes) -> Completion:
        return completion_of(body, self._model.name, self._http.redacted, self._http.host)

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

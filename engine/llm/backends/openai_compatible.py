"""Any endpoint with OpenAI's chat completions API, including Azure deployments."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from engine.config import ModelConfig
from engine.errors import NoCapacity
from engine.items import Completion, Prompt
from engine.llm.backends.chat_reply import StreamedAnswer, completion_of
from engine.llm.backends.connection import NegotiatingBackend
from engine.llm.backends.negotiation import CHAT_STEPS, Negotiations, forms
from engine.llm.backends.schemas import PLAIN, accepted_by, fitted, strict
from engine.llm.backends.terms import FORMS, Form, Terms, sampling_of
from engine.llm.reasoning import Habit

_COMPLETION_LIMIT = ("openai.com", "azure.com")
"""Hosts whose newer models know `max_completion_tokens` alone."""
_FIXED: Mapping[str, tuple[Form, ...]] = {
    "auto": FORMS,
    "json_schema": ("schema", "plain"),
    "json_object": ("json_object",),
    "none": ("none",),
}
_FORMS_KEPT = 256
_JSON: dict[str, Any] = {"type": "json_object"}


class OpenAICompatible(NegotiatingBackend):
    """A Backend. `complete` is one HTTP request.

    Mutable state: the terms, the model's habit, the response formats.
    """

    def __init__(self, model: ModelConfig, *, concurrency: int) -> None:
        allowed = _FIXED[model.response_format]
        super().__init__(model, "chat/completions", concurrency=concurrency)
        host = self._http.host
        newer = any(host == end or host.endswith(f".{end}") for end in _COMPLETION_LIMIT)
        first = Terms(
            form=allowed[0],
            limit="max_completion_tokens" if newer else "max_tokens",
            without=frozenset() if model.send_seed else frozenset({"seed"}),
        )
        self.negotiations = Negotiations(first, [*forms(allowed), *CHAT_STEPS])
        self._accepted = {"schema": accepted_by(host), "plain": PLAIN}
        self._habit = Habit()
        self._forms: dict[tuple[int, str, str], tuple[Any, dict[str, Any]]] = {}

    async def _asked(self, prompt: Prompt, terms: Terms, heard: Callable[[], None] | None) -> Completion:
        body = self.fields(prompt, terms)
        try:
            return await self._sent(body, prompt, terms, heard)
        except NoCapacity:
            if not self._model.flex_fallback:
                raise
        dearer = {"service_tier": "default"}  # what was refused was neither charged nor counted
        completion = await self._sent({**body, **dearer}, prompt, terms, heard)
        return replace(completion, sent={**completion.sent, **dearer})

    async def _sent(
        self, body: dict[str, Any], prompt: Prompt, terms: Terms, heard: Callable[[], None] | None
    ) -> Completion:
        if terms.streamed or (heard is not None and "stream" not in terms.without):
            reply = await self._streamed(body, terms, heard or (lambda: None))
        else:
            reply = await self._http.post(orjson.dumps(body), self._most_bytes(body[terms.limit]))
        completion = self.read(reply)
        left_out = self.otherwise(prompt, terms)
        return replace(completion, sent=left_out) if left_out else completion

    def read(self, body: bytes) -> Completion:
        return completion_of(body, self._model.name, self._http.host, self._habit)

    def otherwise(self, prompt: Prompt, terms: Terms) -> dict[str, Any]:
        return {name: None for name in ("temperature", *sampling_of(prompt)) if name in terms.without}

    async def _streamed(self, body: dict[str, Any], terms: Terms, heard: Callable[[], None]) -> bytes:
        body = {**body, "stream": True}
        if "stream_options" not in terms.without:
            body["stream_options"] = {"include_usage": True}
        whole = StreamedAnswer(heard)
        tokens = body[terms.limit]
        async with contextlib.aclosing(self._http.stream(orjson.dumps(body), tokens)) as events:
            async for event in events:
                if event == b"[DONE]":
                    break
                whole.add(event)
                self._check_length(whole.length, tokens)
        return orjson.dumps(whole.reply())

    def fields(self, prompt: Prompt, terms: Terms) -> dict[str, Any]:
        """The request's body on these terms."""
        most = prompt.max_tokens if terms.most_tokens is None else min(prompt.max_tokens, terms.most_tokens)
        optional: dict[str, Any] = {
            "temperature": prompt.temperature,
            "seed": prompt.seed,
            **sampling_of(prompt),
        }
        if self._model.reasoning.effort is not None:
            optional["reasoning_effort"] = self._model.reasoning.effort
        if self._model.service_tier is not None:
            optional["service_tier"] = self._model.service_tier
        if (form := self._response_format(prompt, terms)) is not None:
            optional["response_format"] = form
        kept = {name: value for name, value in optional.items() if name not in terms.without}
        return {
            "model": self._model.name,
            "messages": _messages(prompt, merged=terms.merged),
            terms.limit: most,
            **kept,
            **self._extra(terms),
        }

    def _response_format(self, prompt: Prompt, terms: Terms) -> dict[str, Any] | None:
        if terms.form == "none":
            return None
        return _JSON if terms.form == "json_object" else self._with_schema(prompt, terms.form)

    def _with_schema(self, prompt: Prompt, form: Form) -> dict[str, Any]:
        """With the prompt's schema as this endpoint takes it; prompts of one kind share theirs."""
        key = id(prompt.schema), prompt.purpose, form
        kept = self._forms.get(key)
        if kept is None or kept[0] is not prompt.schema:
            if len(self._forms) >= _FORMS_KEPT:
                self._forms.clear()
            schema, asked = fitted(prompt.schema, self._accepted[form]), _JSON
            if schema is not None:
                named = {"name": prompt.purpose, "strict": strict(schema), "schema": schema}
                asked = {"type": "json_schema", "json_schema": named}
            kept = self._forms[key] = prompt.schema, asked
        return kept[1]


def _messages(prompt: Prompt, *, merged: bool) -> list[dict[str, str]]:
    if merged:
        return [{"role": "user", "content": f"{prompt.system}\n\n{prompt.user}"}]
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]

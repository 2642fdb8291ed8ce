"""An OpenAI-compatible `/embeddings` endpoint as a Backend: its calls are paced, budgeted and journaled."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from engine.config import ModelConfig
from engine.errors import MalformedReply
from engine.items import Completion, Prompt, Usage
from engine.llm.backends.connection import NegotiatingBackend
from engine.llm.backends.failures import failure_within
from engine.llm.backends.negotiation import Negotiations, without
from engine.llm.backends.terms import Terms
from engine.llm.backends.usage import usage_of
from engine.llm.vectors import encoded

if TYPE_CHECKING:
    from engine.protocols import Vectors


_STEPS = (without("encoding_format"), without("dimensions"))
_BESIDE = 64 * 1024
_A_VECTOR = 16_384 * 24
"""Bytes of the longest vector in decimals; the largest models have 4,096 to 8,192 dimensions."""
_SMALL = 100_000
"""Bytes below which a reply is parsed in the event loop, in less than a millisecond."""


class EmbeddingsEndpoint(NegotiatingBackend):
    """A Backend for prompts whose `user` is a JSON array of texts; the completion's text holds their vectors.

    Requests base64, a third of the size of decimals; accepts both, since some servers only send decimals.
    """

    def __init__(self, model: ModelConfig, *, concurrency: int) -> None:
        super().__init__(model, "embeddings", concurrency=concurrency)
        self.negotiations = Negotiations(Terms(form="none"), _STEPS)

    async def _asked(self, prompt: Prompt, terms: Terms, heard: Callable[[], None] | None) -> Completion:
        fields = self.fields(prompt, terms)
        body = await self._http.post(orjson.dumps(fields), _BESIDE + _A_VECTOR * len(fields["input"]))
        if len(body) < _SMALL:
            return self._read(body, prompt)
        return await asyncio.to_thread(self._read, body, prompt)  # megabytes of numbers block the loop

    def fields(self, prompt: Prompt, terms: Terms) -> dict[str, Any]:
        """The request's body on these terms."""
        texts = orjson.loads(prompt.user)
        form = {} if "encoding_format" in terms.without else {"encoding_format": "base64"}
        return {"model": self._model.name, "input": texts, **form, **self._extra(terms)}

    def _read(self, body: bytes, prompt: Prompt) -> Completion:
        try:
            reply = orjson.loads(body)
            if (failure := failure_within(reply)) is not None:
                raise failure
            vectors = _vectors(reply["data"], len(orjson.loads(prompt.user)))
        except (ValueError, KeyError, TypeError, IndexError):
            raise MalformedReply("the body holds no vector for each text") from None
        model = str(reply.get("model") or self._model.name)
        return Completion(encoded(vectors), model, "stop", _usage(reply.get("usage")))


def _vectors(data: Sequence[Any], count: int) -> Vectors:
    """The vectors in the order of the texts. Raises ValueError, KeyError or TypeError if malformed."""
    places = [int(entry["index"]) for entry in data]
    if sorted(places) != list(range(count)):
        raise ValueError("not one vector for each text")
    rows: list[Any] = [None] * count
    for place, entry in zip(places, data, strict=True):
        vector = entry["embedding"]
        rows[place] = np.frombuffer(base64.b64decode(vector), "<f4") if isinstance(vector, str) else vector
    return np.asarray(rows, np.float32)


def _usage(usage: Any) -> Usage:
    """An embedding has no completion tokens; endpoints leave them out."""
    return usage_of({"completion_tokens": 0, **usage} if isinstance(usage, dict) else usage)

"""An OpenAI-compatible `/embeddings` endpoint as a Backend, so that its calls are paced, paid and journaled."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from engine.config import ModelConfig
from engine.errors import MalformedReply
from engine.items import Completion, Prompt, Usage
from engine.llm.backends.http import HttpEndpoint
from engine.llm.backends.openai_compatible import usage_of
from engine.llm.vectors import encoded

if TYPE_CHECKING:
    from engine.protocols import Vectors


class EmbeddingsEndpoint:
    """A Backend for prompts whose `user` is a JSON array of texts; the completion's text holds their vectors."""

    def __init__(self, model: ModelConfig, *, concurrency: int, timeout: float) -> None:
        self.name = f"{model.name} at {model.base_url}"
        self._model = model
        self._http = HttpEndpoint(model, "embeddings", concurrency=concurrency, timeout=timeout)

    async def complete(self, prompt: Prompt) -> Completion:
        """Raises TransientError, PermanentError or FatalError, by status and body."""
        texts = orjson.loads(prompt.user)
        fields = {
            "model": self._model.name,
            "input": texts,
            "encoding_format": "float",
            **self._model.extra_body,
        }
        body = await self._http.post(orjson.dumps(fields))
        try:
            reply = orjson.loads(body)
            vectors = _vectors(reply["data"], len(texts))
        except (ValueError, KeyError, TypeError, IndexError):
            raise MalformedReply("the body holds no vector for each text") from None
        return Completion(
            encoded(vectors), str(reply.get("model") or self._model.name), "stop", _usage(reply.get("usage"))
        )

    async def close(self) -> None:
        await self._http.close()


def _vectors(data: Sequence[Any], count: int) -> Vectors:
    """In the order of the texts, whatever the order of the reply. Raises ValueError and the like."""
    places = [int(entry["index"]) for entry in data]
    if sorted(places) != list(range(count)):
        raise ValueError("not one vector for each text")
    rows: list[Any] = [None] * count
    for place, entry in zip(places, data, strict=True):
        found = entry["embedding"]
        rows[place] = np.frombuffer(base64.b64decode(found), "<f4") if isinstance(found, str) else found
    return np.asarray(rows, np.float32)


def _usage(usage: Any) -> Usage:
    """An embedding has no completion tokens; endpoints leave them out."""
    return usage_of({"completion_tokens": 0, **usage} if isinstance(usage, dict) else usage)

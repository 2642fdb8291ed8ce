"""Embeds a dataset with a local model and the user's cache."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING

from engine.analysis.datasets import Data
from engine.config.diversity import EmbeddingConfig
from engine.diversity.embedding import Embedding, embedder_of
from engine.diversity.sameness import compared
from engine.diversity.vector_cache import VectorCache
from engine.errors import ConfigError, EmbedderUnavailable
from engine.protocols import Notify

if TYPE_CHECKING:
    from engine.protocols import Vectors


class Vectoriser:
    """An open embedder with the user's cache. Raises ConfigError where no model is available."""

    def __init__(self, config: EmbeddingConfig, notify: Notify) -> None:
        if config.endpoint is not None:
            raise ConfigError("embedding.endpoint: this command spends nothing; give a local model (--model)")
        try:
            self._embedder = embedder_of(config)
        except EmbedderUnavailable as error:
            raise ConfigError(str(error)) from None
        self._cache = VectorCache(config.cache)
        self._notify = notify
        self._stack = AsyncExitStack()
        self.embedding = Embedding(self._embedder)

    async def __aenter__(self) -> Vectoriser:
        if isinstance(self._embedder, AbstractAsyncContextManager):
            await self._stack.enter_async_context(self._embedder)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def vectors(self, data: Data) -> Vectors:
        def told(done: int, whole: int) -> None:
            if whole > done:
                self._notify(f"{data.path}: {done:,} of {whole:,} rows embedded.")

        return await self._cache.vectors(
            [compared(example) for example in data.examples], self.embedding, told
        )

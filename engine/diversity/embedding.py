"""Builds the configured Embedder and prepares its vectors for comparison and storage."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import orjson

from engine.config.diversity import EmbeddingConfig, EmbeddingEndpoint
from engine.diversity.local_model import LocalModel
from engine.errors import ConfigError, EmbedderUnavailable, PermanentError, RetriesExhausted, Unembeddable
from engine.flow.batcher import Batcher
from engine.items import SETUP_BATCH, Prompt
from engine.llm.vectors import decoded
from engine.protocols import Ask, Embedder

if TYPE_CHECKING:
    from engine.protocols import Vectors

PURPOSE = "embedding"
KEPT_AS = np.dtype("<f2")
"""Vectors are rounded to this type before they are used in decisions, so a resumed run decides the same."""
_PRIORITY = -100
"""The priority of embedding calls: items that are nearly done go first."""


def embedder_of(config: EmbeddingConfig, base_url: str = "") -> Embedder:
    """The configured Embedder, not yet open; `base_url` is for an endpoint that has none of its own.

    Raises ConfigError, EmbedderUnavailable.
    """
    if config.endpoint is not None:
        return EndpointModel(config.endpoint, config.endpoint.base_url or base_url)
    if config.function is not None:
        return Function(config.function)
    return LocalModel(config.model, config.revision, config.precision)


class EndpointModel:
    """An Embedder behind `/embeddings`: calls go through the run's limiter, budget and journal."""

    def __init__(self, config: EmbeddingEndpoint, base_url: str = "") -> None:
        self.name = config.name
        self.fingerprint = f"endpoint {config.name} {config.dimensions or ''}".strip()
        self.version = f"{self.fingerprint} at {base_url}"
        self.inputs = config.inputs
        self.at_once = config.in_flight
        self._ask: Ask | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    def asking(self, ask: Ask) -> Self:
        """This embedder, with a way to make calls."""
        self._ask = ask
        return self

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """A call that fails permanently is repeated in halves, so that a bad text costs only its own row."""
        assert self._ask is not None, "an endpoint's embedder needs a way to ask"
        try:
            return decoded((await self._ask(_prompt(texts))).text)
        except (
            RetriesExhausted
        ) as error:  # no text is at fault: whatever needs vectors waits for the next start
            raise EmbedderUnavailable(f"embedding.endpoint: {error}") from error
        except PermanentError:
            if len(texts) == 1:
                return np.full((1, 1), np.nan, np.float32)
            middle = len(texts) // 2
            return joined([await self.embed(texts[:middle]), await self.embed(texts[middle:])])


def stacked(vectors: Sequence[Vectors | None]) -> Vectors | None:
    """Shape [texts, dimensions], with a row of NaN for a text without a vector; None where no text has one."""
    width = next((len(vector) for vector in vectors if vector is not None), None)
    if width is None:
        return None
    nothing = np.full(width, np.nan, np.float32)
    return np.stack([nothing if vector is None else vector for vector in vectors])


def joined(parts: Sequence[Vectors]) -> Vectors:
    """All parts as one array; rows without a vector are widened to match the others."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate(
        [
            part if part.shape[1] == width else np.full((len(part), width), np.nan, np.float32)
            for part in parts
        ]
    )


def _prompt(texts: Sequence[str]) -> Prompt:
    """The texts as one call; the same texts give the same call."""
    given = orjson.dumps([text.encode("utf-8", "replace").decode() for text in texts]).decode()
    key = hashlib.blake2b(given.encode(), digest_size=16).hexdigest()
    return Prompt(
        key=f"embedding/{key}",
        purpose=PURPOSE,
        batch=SETUP_BATCH,
        system="",
        user=given,
        schema={},
        temperature=0.0,
        max_tokens=0,
        seed=0,
        priority=_PRIORITY,
        owner=PURPOSE,
    )


class Function:
    """A user's function as an Embedder; one that is not async runs in a thread, one call at a time."""

    at_once = 1
    inputs = 128

    def __init__(self, place: str) -> None:
        """Raises ConfigError where there is no such function."""
        self.name = place
        module, _, name = place.partition(":")
        try:
            imported = import_module(module)
            function = getattr(imported, name)
        except (ImportError, AttributeError) as error:
            said = f"embedding.function: {place} cannot be imported: {error}"
            raise ConfigError(f"{said}; is the folder of its module in PYTHONPATH?") from None
        if not callable(function):
            raise ConfigError(f"embedding.function: {place} is no function")
        self._function: Callable[..., Any] = function
        self.fingerprint = self.version = f"function {place} {_digest_of(imported)}".strip()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        try:
            if inspect.iscoroutinefunction(self._function):
                vectors = await self._function(list(texts))
            else:
                vectors = await asyncio.to_thread(self._function, list(texts))
            with np.errstate(over="ignore"):  # a value that is too large becomes infinite and is reported so
                return np.asarray(vectors, np.float32)
        except (Exception, SystemExit) as error:  # a user's code may fail in any way
            raise EmbedderUnavailable(
                f"embedding.function: {self.name}: {type(error).__name__}: {error}"
            ) from error


def _digest_of(module: ModuleType) -> str:
    """A digest of the module's source, so that a changed function counts as another model."""
    source = Path(module.__file__ or "")
    return hashlib.sha256(source.read_bytes()).hexdigest()[:12] if source.is_file() else ""


class Embedding:
    """Turns texts into vectors for all parts of a run: shares calls, checks and rounds the vectors.

    Mutable state: the batcher, and the dimensions, once the first vector is seen.
    """

    def __init__(self, embedder: Embedder, dimensions: int | None = None) -> None:
        """`dimensions` are those of the vectors that the run already has."""
        self.embedder = embedder
        self.dimensions = dimensions
        self._one: Batcher[str, Vectors] = Batcher(self._rows, embedder.inputs, embedder.at_once)

    async def one(self, text: str) -> Vectors:
        """Shape [dimensions]. Raises Unembeddable if this text has no vector, EmbedderUnavailable."""
        vector = await self._one(text)
        if not np.isfinite(vector).all():
            raise Unembeddable(f"{self.embedder.name} gives no vector for this text (zero, or not a number)")
        return vector

    async def _rows(self, texts: Sequence[str]) -> Sequence[Vectors]:
        return list(await self.all(texts))

    async def all(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape [texts, dimensions]; a row of NaN where a text has no vector."""
        vectors = np.asarray(await self.embedder.embed(texts), np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise EmbedderUnavailable(
                f"{self.embedder.name} was given {len(texts)} texts and gave an array of shape {vectors.shape}"
            )
        if np.isfinite(vectors).any():
            self.compare(vectors.shape[1])
        return as_kept(vectors)

    def compare(self, dimensions: int) -> None:
        """Raises EmbedderUnavailable where the dimensions differ from those of earlier vectors."""
        if self.dimensions is None:
            self.dimensions = dimensions
        if dimensions != self.dimensions:
            raise EmbedderUnavailable(
                f"{self.embedder.name} gave vectors of {self.dimensions} dimensions before and of {dimensions} now: "
                "they cannot be compared; is another model behind the same name?"
            )


def as_kept(vectors: Vectors) -> Vectors:
    """Unit vectors, rounded as they are stored; rows of NaN where the length is zero or not finite."""
    with np.errstate(all="ignore"):
        unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        unit[~np.isfinite(unit).all(axis=-1)] = np.nan
        rounded: Vectors = unit.astype(KEPT_AS).astype(np.float32)
    return rounded


def kept(vector: Vectors) -> bytes:
    """A rounded vector as bytes for the journal."""
    return vector.astype(KEPT_AS).tobytes()


def restored(data: bytes) -> Vectors:
    return np.frombuffer(data, KEPT_AS).astype(np.float32)

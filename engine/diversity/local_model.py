"""A sentence-transformers model in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from engine.diversity.model_files import WAYS_OUT, fingerprint, located
from engine.errors import EmbedderUnavailable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from engine.protocols import Vectors

CHUNK = 32
"""Texts in one pass, sorted by length first: larger passes are slower because of their padding."""
GATHERED = 512
"""The most texts in one call to the thread, about a second's work: sorting more together reduces padding."""
_FASTER = 1.2
"""How much faster bfloat16 must be to be worth its rounding."""
_PROBES = (
    "A short text.",
    "How many apples are left when she gives three of the twelve to her brother?",
) * 16


class LocalModel:
    """An Embedder on this machine's processors.

    A thread, not a process: the library releases the interpreter lock while it computes, so the event loop
    waits a few milliseconds at most; a process would be a fifth faster but can outlive its parent.
    Mutable state: the model, once loaded.
    """

    at_once = 1
    inputs = GATHERED

    def __init__(self, name: str, revision: str | None = None, precision: str = "auto") -> None:
        """Finds the model's files; loads nothing yet. Raises EmbedderUnavailable."""
        self.name = name
        self._folder = located(name, revision)
        self._weights = fingerprint(self._folder)
        self.fingerprint = f"{self._weights} {precision}"
        self.precision = precision
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedding")
        self._model: SentenceTransformer | None = None

    @property
    def version(self) -> str:
        return f"{self._weights} {self.precision}"

    async def __aenter__(self) -> Self:
        await self._in_thread(self._load)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._model = None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        vectors: Vectors = await self._in_thread(lambda: self._encode(texts))
        return vectors

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # --- in the thread ---

    def _load(self) -> None:
        self._model = _loaded(self._folder)
        if self._model.device.type != "cpu" and self.precision == "auto":
            self.precision = "float32"
        if self.precision == "auto":
            self.precision = "bfloat16" if self._halves_pay() else "float32"
        if self.precision == "bfloat16":
            self._model.bfloat16()

    def _halves_pay(self) -> bool:
        """Whether bfloat16 is clearly faster here: processors without it compute it in software."""
        assert self._model is not None
        whole = self._seconds()
        self._model.bfloat16()
        halved = self._seconds()
        self._model = _loaded(self._folder)
        return whole > _FASTER * halved

    def _seconds(self) -> float:
        """The time of the faster of two passes, after a warm-up pass."""
        taken = []
        for _ in range(3):
            began = time.perf_counter()
            self._encode(_PROBES)
            taken.append(time.perf_counter() - began)
        return min(taken[1:])

    def _encode(self, texts: Sequence[str]) -> Vectors:
        assert self._model is not None, "the embedder is not open"
        encoded = self._model.encode(
            list(texts),
            batch_size=CHUNK,
            show_progress_bar=False,
            convert_to_tensor=True,
            normalize_embeddings=True,
        )
        return encoded.float().cpu().numpy()


def _loaded(folder: Path) -> SentenceTransformer:
    """Raises EmbedderUnavailable."""
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as loading
    except ImportError as error:
        said = f'sentence-transformers cannot be imported ({error}): pip install "datagen-engine[embedding]"'
        raise EmbedderUnavailable(f"embedding.model: {said}; {WAYS_OUT}") from None
    loading.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    try:
        return SentenceTransformer(str(folder), local_files_only=True)
    except Exception as error:  # a folder that is not a model can fail in any way
        raise EmbedderUnavailable(
            f"embedding.model: {folder} cannot be loaded: {type(error).__name__}: {error}"
        ) from error

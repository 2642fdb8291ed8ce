"""Embeds whole datasets once and keeps their vectors by content in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.config.paths import user_cache
from engine.diversity.embedding import KEPT_AS, Embedding, joined
from engine.errors import EmbedderUnavailable

if TYPE_CHECKING:
    from engine.protocols import Vectors

SHARD = 512
"""Texts in one file: an interruption loses at most this many, and a grown dataset reuses its first files."""

OnProgress = Callable[[int, int], None]
"""Called with (texts done, texts in all)."""


class VectorCache:
    """A folder of vectors, one file per SHARD texts, named by model and content; may be deleted anytime."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = (folder or user_cache()) / "vectors"

    async def vectors(
        self, texts: Sequence[str], embedding: Embedding, tell: OnProgress | None = None
    ) -> Vectors:
        """Shape [texts, dimensions]; rows of NaN for texts that have no vector.

        Raises what Embedding.all raises, what `tell` raises (it is called after each embedded file), and
        EmbedderUnavailable where no text has a vector.
        """
        parts: list[Vectors] = []
        for start in range(0, len(texts), SHARD):
            shard = texts[start : start + SHARD]
            place = self._place(embedding.embedder.version, shard)
            made = _read(place, len(shard))
            if made is not None:
                embedding.compare(made.shape[1])
            else:
                made = await embedded(shard, embedding)
                if np.isfinite(made).all():  # a text without a vector today may have one tomorrow
                    _write(place, made)
                if tell is not None:
                    tell(start + len(shard), len(texts))
            parts.append(made)
        made = joined(parts) if parts else np.empty((0, 0), np.float32)
        if texts and not np.isfinite(made).any():
            raise EmbedderUnavailable(
                f"{embedding.embedder.name} gives no vector for any of {len(texts):,} texts"
            )
        return made

    def _place(self, version: str, texts: Sequence[str]) -> Path:
        digest = hashlib.blake2b(version.encode() + b"\0", digest_size=20)
        for text in texts:
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        name = digest.hexdigest()
        return self._folder / name[:2] / f"{name[2:]}.npy"


async def embedded(texts: Sequence[str], embedding: Embedding) -> Vectors:
    """Vectors of all texts, in calls of the embedder's preferred size, sorted by length for less padding."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    size = embedding.embedder.inputs
    parts = [
        await embedding.all([texts[place] for place in order[start : start + size]])
        for start in range(0, len(texts), size)
    ]
    found = joined(parts)
    vectors = np.empty_like(found)
    vectors[order] = found
    return vectors


def _read(place: Path, rows: int) -> Vectors | None:
    """None where the file is missing or incomplete."""
    try:
        vectors = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    sound = vectors.dtype == KEPT_AS and vectors.ndim == 2 and len(vectors) == rows
    return vectors.astype(np.float32) if sound else None


def _write(place: Path, vectors: Vectors) -> None:
    """Errors are ignored: a cache that cannot be written costs only time."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            try:
                np.save(file, vectors.astype(KEPT_AS), allow_pickle=False)
                file.close()
                Path(file.name).replace(place)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

"""The simulated `/embeddings`: hashed words and word pairs, so that texts with the same words are close."""

from __future__ import annotations

import base64
import math
import re
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

DIMENSIONS = 256


def embedding(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A unit vector (feature hashing, Weinberger et al., 2009); the same text has the same vector."""
    words = re.findall(r"\w+", text.casefold()) or [""]
    features = Counter([*words, *(f"{one} {other}" for one, other in pairwise(words))])
    vector = [0.0] * dimensions
    for feature, count in features.items():
        place = zlib.crc32(feature.encode("utf-8", "replace"))
        vector[place % dimensions] += (1.0 if place & 1 << 31 else -1.0) * math.sqrt(count)
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [round(value / length, 7) for value in vector]


def _written(vector: list[float], form: str) -> object:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if form == "base64" else vector


def embedding_reply(
    texts: Sequence[str], model: str, dimensions: int, form: str = "float"
) -> dict[str, object]:
    """In the shape of openai.types.CreateEmbeddingResponse; `form` is float or base64 (little-endian floats)."""
    tokens = sum(len(text) // 4 + 1 for text in texts)
    return {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _written(embedding(text, dimensions), form)}
            for index, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }

"""Embedding functions of a user's, for configs that name them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence

from engine.simulator.embeddings import embedding

CALLS: list[int] = []


def hashed(texts: Sequence[str]) -> list[list[float]]:
    CALLS.append(len(texts))
    return [embedding(text, 64) for text in texts]


async def hashed_later(texts: Sequence[str]) -> list[list[float]]:
    return hashed(texts)


def flawed(texts: Sequence[str]) -> list[list[float]]:
    """No vector for some texts: zeros, or not numbers."""
    found = hashed(texts)
    for place, text in enumerate(texts):
        if len(text) % 5 == 0:
            found[place] = [0.0] * 64
        elif len(text) % 5 == 1:
            found[place] = [float("nan")] * 64
    return found


def failing(texts: Sequence[str]) -> list[list[float]]:
    raise ValueError("no vectors today")


def leaving(texts: Sequence[str]) -> list[list[float]]:
    raise SystemExit(3)


def empty(texts: Sequence[str]) -> list[list[float]]:
    return [[0.0] * 64 for _ in texts]


def short(texts: Sequence[str]) -> list[list[float]]:
    return hashed(texts)[1:]


def changing(texts: Sequence[str]) -> list[list[float]]:
    """Other dimensions from the fourth call on."""
    CALLS.append(len(texts))
    return [embedding(text, 64 if len(CALLS) < 4 else 32) for text in texts]


def slow(texts: Sequence[str]) -> list[list[float]]:
    time.sleep(0.05)
    return hashed(texts)


NOT_A_FUNCTION = 1


def deadly(texts: Sequence[str]) -> list[list[float]]:
    """Some texts take the whole process with them, as a defect in somebody's C library does."""
    if any(is_deadly(text) for text in texts):
        os._exit(9)
    return hashed(texts)


def is_deadly(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % 19 == 0

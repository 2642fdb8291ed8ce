"""Vectors as text, so that a Completion can carry them and a journal can hold them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from engine.protocols import Vectors


def encoded(vectors: Vectors) -> str:
    """Shape [rows, columns]: 'ROWSxCOLUMNS', a space, the numbers in single precision as base64."""
    rows, columns = vectors.shape
    return f"{rows}x{columns} {base64.b64encode(vectors.astype('<f4').tobytes()).decode()}"


def decoded(text: str) -> Vectors:
    shape, _, data = text.partition(" ")
    rows, columns = map(int, shape.split("x"))
    return np.frombuffer(base64.b64decode(data), "<f4").reshape(rows, columns).astype(np.float32)

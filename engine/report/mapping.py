"""A run's map: its items and the originals in two dimensions, and the nearest pairs."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.dataset.fields import Fields
from engine.dataset.forms import Example
from engine.diversity.sameness import compared
from engine.schema.values import loads

if TYPE_CHECKING:
    from engine.protocols import Vectors

MOST_ITEMS, MOST_ORIGINALS = 20_000, 5_000
"""Most points of each kind; if there are more, a random sample of this size."""
PAIRS = 6
"""Nearest pairs of each kind that are kept."""
TEXT = 160
"""Most characters of a text that are shown."""
_BLOCK = 1024


class Point(NamedTuple):
    """One item or original. `ref` is an item's number in the journal, or an original's row."""

    kind: str
    ref: int
    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Map:
    """Points, and facts about them: shares of the variance, nearest pairs, numbers of texts."""

    points: list[Point]
    about: dict[str, Any]


class Some(NamedTuple):
    """Texts of one kind with their references and vectors, shape [texts, dimensions], all finite."""

    refs: list[int]
    texts: list[str]
    vectors: Vectors


def accepted_with_vectors(connection: sqlite3.Connection, fields: Fields, seed: int) -> Some | None:
    """At most MOST_ITEMS accepted items that have vectors; None where no item has one."""
    import numpy as np

    from engine.diversity.embedding import restored

    numbers = [
        item
        for (item,) in connection.execute(
            "SELECT item FROM vectors JOIN items USING (item) WHERE state = 'accepted' ORDER BY item"
        )
    ]
    chosen = _some(numbers, MOST_ITEMS, seed)
    texts, vectors = [], []
    for number in chosen:
        record, vector = connection.execute(
            "SELECT record, vector FROM items JOIN vectors USING (item) WHERE item = ?", (number,)
        ).fetchone()
        texts.append(compared(fields.remembered(loads(record))))
        vectors.append(restored(vector))
    return finite(chosen, texts, np.stack(vectors)) if chosen else None


def originals_of(examples: Sequence[Example], vectors: Vectors | None, seed: int) -> Some | None:
    """At most MOST_ORIGINALS rows of the base dataset; None where it has no vectors."""
    if vectors is None or not len(examples):
        return None
    rows = _some(range(len(examples)), MOST_ORIGINALS, seed)
    return finite(
        [examples[row].number for row in rows], [compared(examples[row]) for row in rows], vectors[rows]
    )


def _some(numbers: Sequence[int], most: int, seed: int) -> list[int]:
    if len(numbers) <= most:
        return list(numbers)
    return sorted(random.Random(f"{seed}/map").sample(list(numbers), most))


def finite(refs: list[int], texts: list[str], vectors: Vectors) -> Some:
    """Only the texts whose vectors are finite."""
    import numpy as np

    kept = np.flatnonzero(np.isfinite(vectors).all(axis=1)).tolist()
    return Some([refs[row] for row in kept], [texts[row] for row in kept], vectors[kept])


def mapped(accepted: Some | None, originals: Some | None) -> Map | None:
    """Projects both kinds onto the first two principal components of all; None for fewer than three texts."""
    import numpy as np

    originals = originals if originals is not None and originals.refs else None
    there = [
        (kind, some) for kind, some in (("original", originals), ("accepted", accepted)) if some is not None
    ]
    if accepted is None or not accepted.refs or sum(len(some.refs) for _, some in there) < 3:
        return None
    whole = np.concatenate([some.vectors for _, some in there]).astype(np.float64)
    centred = whole - whole.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    plane = centred @ axes[:, [-1, -2]]
    total = float(values.sum()) or 1.0
    points, row = [], 0
    for kind, some in there:
        for ref, text in zip(some.refs, some.texts, strict=True):
            x, y = plane[row]
            points.append(Point(kind, ref, round(float(x), 4), round(float(y), 4), text[:TEXT]))
            row += 1
    about = {
        "explained": [round(float(values[-1]) / total, 4), round(float(values[-2]) / total, 4)],
        "accepted": len(accepted.refs),
        "originals": len(originals.refs) if originals is not None else 0,
        "within": _pairs(accepted, None),
        "against": _pairs(accepted, originals) if originals is not None else [],
    }
    return Map(points, about)


def _pairs(some: Some, others: Some | None) -> list[dict[str, Any]]:
    """The nearest pairs among items, or between items and originals; each item is in one pair at most."""
    import numpy as np

    against = others if others is not None else some
    best: list[tuple[float, int, int]] = []
    for start in range(0, len(some.refs), _BLOCK):
        near = some.vectors[start : start + _BLOCK] @ against.vectors.T
        if others is None:  # each pair once: compare only with earlier items
            near[np.arange(len(near))[:, None] + start <= np.arange(near.shape[1])[None, :]] = -2
        columns = near.argmax(axis=1)
        values = near[np.arange(len(near)), columns]
        best += [
            (float(v), start + row, int(c)) for row, (v, c) in enumerate(zip(values, columns, strict=True))
        ]
    pairs: list[dict[str, Any]] = []
    used: set[int] = set()
    for similarity, row, column in sorted(best, reverse=True):
        if len(pairs) == PAIRS or similarity < -1:
            break
        if row in used or (others is None and column in used):
            continue
        used |= {row, column} if others is None else {row}
        pairs.append(
            {
                "similarity": round(min(similarity, 1.0), 4),
                "texts": [some.texts[row][: 2 * TEXT], against.texts[column][: 2 * TEXT]],
            }
        )
    return pairs

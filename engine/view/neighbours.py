"""Near-duplicates: an item's nearest neighbours, pairs that the group check caught, and the nearest kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.dataset.fields import Fields
from engine.diversity.embedding import restored
from engine.diversity.sameness import KEYS
from engine.items import item_id
from engine.schema.values import loads
from engine.store.reading import read_fact
from engine.view.filters import number_of

_NEAREST = 6
_TOGETHER = 8_192
"""Vectors that are compared at a time."""
_CAUGHT = 60
_GROUP_CHECK = "groupcheck"


@dataclass(frozen=True)
class Neighbour:
    """An item near another one."""

    id: str
    similarity: float
    text: str
    state: str
    why: str
    """Why the two count as the same, or do not."""


@dataclass(frozen=True)
class Near:
    """The neighbours of one item; `problem` says why there are none."""

    neighbours: Sequence[Neighbour] = ()
    problem: str = ""


@dataclass(frozen=True)
class Caught:
    """A rejected item and the one that it is too near to."""

    id: str
    text: str
    other: str
    """The id of the other; '' for a row of the base dataset."""
    other_text: str
    similarity: float | None
    reason: str


@dataclass(frozen=True)
class Pairs:
    """What the group check caught, and the nearest pairs among what it kept."""

    policy: str
    threshold: float | None
    caught: Sequence[Caught]
    kept: Sequence[tuple[float, str, str]]
    tried: float | None = None
    """Another threshold that is tried out."""
    would: str = ""
    """What it would do, in words."""
    counts: Sequence[tuple[float, int]] = ()
    """How many of the caught have at least this similarity."""


def read_neighbours(connection: sqlite3.Connection, fields: Fields, number: int) -> Near:
    row = connection.execute("SELECT vector FROM vectors WHERE item = ?", (number,)).fetchone()
    if row is None:
        return Near(
            problem="No vector of this item is stored: the run has no group check by meaning, or it ended before."
        )
    own = _unit(restored(row[0]).astype(np.float32))
    best: list[tuple[float, int]] = []
    for numbers, vectors in _vectors(connection, len(own)):
        similar = vectors @ own
        places = np.argpartition(-similar, min(_NEAREST, len(similar) - 1))[: _NEAREST + 1]
        near = [(float(similar[place]), int(numbers[place])) for place in places if numbers[place] != number]
        best = sorted([*best, *near], reverse=True)[:_NEAREST]
    me = _example(connection, fields, number)
    policy = _policy(connection)
    found = []
    for similarity, other in best:
        state, example = _example(connection, fields, other)
        found.append(
            Neighbour(
                item_id(other),
                similarity,
                example.text[:400],
                state,
                _why(policy, similarity, me[1], example),
            )
        )
    return Near(found)


def _vectors(
    connection: sqlite3.Connection, dimensions: int
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """(numbers, unit vectors) of accepted items."""
    cursor = connection.execute(
        "SELECT item, vector FROM vectors JOIN items USING (item) WHERE state = 'accepted' ORDER BY item"
    )
    while rows := cursor.fetchmany(_TOGETHER):
        fitting = [(number, vector) for number, vector in rows if len(vector) == 2 * dimensions]
        if fitting:
            whole = np.frombuffer(b"".join(vector for _, vector in fitting), np.float16).astype(np.float32)
            yield np.array([number for number, _ in fitting]), _unit(whole.reshape(-1, dimensions))


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.nan_to_num(vectors / np.where(lengths == 0, 1, lengths))


def _example(connection: sqlite3.Connection, fields: Fields, number: int) -> tuple[str, Any]:
    state, record = connection.execute("SELECT state, record FROM items WHERE item = ?", (number,)).fetchone()
    return state, fields.remembered(loads(record))


@dataclass(frozen=True)
class _Policy:
    same: str = ""
    threshold: float | None = None


def _policy(connection: sqlite3.Connection) -> _Policy:
    about = (read_fact(connection, "diversity") or {}).get("groupcheck") or {}
    return _Policy(str(about.get("same", "")), about.get("threshold"))


def _why(policy: _Policy, similarity: float, one: Any, other: Any) -> str:
    if policy.threshold is None:
        return ""
    if similarity < policy.threshold:
        return f"not the same: {similarity:.3f} is below the threshold of {policy.threshold:g}"
    if policy.same in KEYS and KEYS[policy.same](one) != KEYS[policy.same](other):
        what = {"meaning+numbers": "their numbers differ", "meaning+answer": "their answers differ"}
        return f"not the same: {what.get(policy.same, 'what must be equal differs')}"
    return f"the same by {policy.same}, from {policy.threshold:g} on"


def read_pairs(connection: sqlite3.Connection, fields: Fields, tried: float | None) -> Pairs:
    policy = _policy(connection)
    rows = connection.execute(
        "SELECT item, record, reason, json_extract(meta, '$.verdicts[#-1].record.item'),"
        " json_extract(meta, '$.verdicts[#-1].record.similarity'), json_extract(meta, '$.verdicts[#-1].feedback')"
        " FROM items WHERE rejected_by = ? ORDER BY 5 DESC",
        (_GROUP_CHECK,),
    ).fetchall()
    similarities = [float(row[4]) for row in rows if isinstance(row[4], float)]
    caught = [_caught(connection, fields, row) for row in rows[:_CAUGHT]]
    about = read_fact(connection, "map") or {}
    kept = [(float(pair["similarity"]), *_two(pair["texts"])) for pair in about.get("within") or ()]
    would = ""
    if tried is not None and policy.threshold is not None:
        fewer = sum(each < tried for each in similarities)
        more = sum(similarity >= tried for similarity, *_ in kept)
        would = (
            f"With {tried:.3f}, {fewer:,} of the {len(similarities):,} caught by their similarity would have been kept"
            + (f", and at least {more:,} of the nearest pairs kept would have been caught." if more else ".")
        )
    return Pairs(policy.same, policy.threshold, caught, kept, tried, would)


def _two(texts: Sequence[Any]) -> tuple[str, str]:
    return str(texts[0]), str(texts[1])


def _caught(connection: sqlite3.Connection, fields: Fields, row: Sequence[Any]) -> Caught:
    number, record, reason, other, similarity, said = row
    other_text, other_id = "", ""
    if isinstance(other, str) and (there := number_of(other)) is not None:
        found = connection.execute("SELECT record FROM items WHERE item = ?", (there,)).fetchone()
        if found is not None:
            other_id, other_text = other, fields.remembered(loads(found[0])).text[:400]
    text = fields.remembered(loads(record)).text[:400]
    close = float(similarity) if isinstance(similarity, int | float) else None
    return Caught(item_id(number), text, other_id, other_text or str(said or ""), close, str(reason or ""))

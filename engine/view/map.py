"""Where a run's texts lie: the map that it drew of accepted and original ones, with the rejected put into it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from engine.diversity.embedding import restored
from engine.view.index import STATES, Index

COLOURS = {"fate": "fate", "label": "label", "strategy": "strategy", "model": "model", "by": "rejected by"}
_MOST_REJECTED = 8_000
_FITTED = 2_000
_KINDS = 8
"""Values of a property that have a colour of their own."""


@dataclass(frozen=True)
class Drawn:
    """Points of items (number, x, y) and of originals (x, y)."""

    numbers: npt.NDArray[np.int64]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    originals: npt.NDArray[np.float64]
    """Shape [originals, 2]."""

    def inside(self, area: Sequence[tuple[float, float]]) -> list[int]:
        """The numbers of the items within a polygon, by the rule of even crossings."""
        within = np.zeros(len(self.x), bool)
        for (x0, y0), (x1, y1) in zip(area, [*area[1:], area[0]], strict=True):
            if y0 == y1:
                continue
            crosses = (y0 > self.y) != (y1 > self.y)
            at = x0 + (self.y - y0) / (y1 - y0) * (x1 - x0)
            within ^= crosses & (self.x < at)
        return [int(number) for number in self.numbers[within]]


def read_map(connection: sqlite3.Connection) -> Drawn | None:
    """None where the run has drawn no map.

    A map is a linear picture of the vectors: what takes the accepted items' vectors to their places (least squares)
    takes those of rejected items to theirs.
    """
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'points'").fetchone():
        return None
    rows = connection.execute("SELECT ref, x, y FROM points WHERE kind = 'accepted' ORDER BY ref").fetchall()
    if not rows:
        return None
    numbers = np.array([row[0] for row in rows], np.int64)
    places = np.array([row[1:] for row in rows], np.float64)
    originals = np.array(
        connection.execute("SELECT x, y FROM points WHERE kind = 'original' ORDER BY ref").fetchall(),
        np.float64,
    ).reshape(-1, 2)
    more, away = _rejected(connection, numbers, places)
    return Drawn(
        np.concatenate([numbers, more]), np.concatenate([places[:, 0], away[:, 0]]),
        np.concatenate([places[:, 1], away[:, 1]]), originals,
    )  # fmt: skip


def _rejected(
    connection: sqlite3.Connection, numbers: npt.NDArray[np.int64], places: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    nothing = np.empty(0, np.int64), np.empty((0, 2))
    step = max(1, len(numbers) // _FITTED)
    vectors, known = [], []
    for number, place in zip(numbers[::step].tolist(), places[::step], strict=True):
        row = connection.execute("SELECT vector FROM vectors WHERE item = ?", (number,)).fetchone()
        if row is not None:
            vectors.append(restored(row[0]))
            known.append(place)
    if len(vectors) < 8:
        return nothing
    fitted, *_ = np.linalg.lstsq(_with_one(np.stack(vectors)), np.stack(known), rcond=None)
    rows = connection.execute(
        "SELECT item, vector FROM vectors JOIN items USING (item) WHERE state = 'rejected' ORDER BY item LIMIT ?",
        (_MOST_REJECTED,),
    ).fetchall()
    fitting = [(number, vector) for number, vector in rows if len(vector) == 2 * len(vectors[0])]
    if not fitting:
        return nothing
    away = _with_one(np.stack([restored(vector) for _, vector in fitting])) @ fitted
    return np.array([number for number, _ in fitting], np.int64), away


def _with_one(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.hstack([vectors.astype(np.float64), np.ones((len(vectors), 1))])


def points_json(drawn: Drawn, index: Index, colour: str) -> bytes:
    """For the page's script: places, ids and the value that each is coloured by."""
    kinds, names = _values(drawn, index, colour)
    return orjson.dumps(
        {
            "x": np.round(drawn.x, 4).tolist(),
            "y": np.round(drawn.y, 4).tolist(),
            "numbers": drawn.numbers.tolist(),
            "kinds": kinds,
            "names": names,
            "originals": np.round(drawn.originals, 4).tolist(),
        }
    )


def _values(drawn: Drawn, index: Index, colour: str) -> tuple[list[int], list[str]]:
    """By item, which of the names; the rarer values are one."""
    columns = index.columns
    places = np.searchsorted(columns["item"], drawn.numbers)
    known = places < len(columns["item"])
    codes = np.zeros(len(drawn.numbers), np.int64)
    column = "state" if colour == "fate" else colour
    codes[known] = columns[column][places[known]]
    words: Sequence[str] = STATES if colour == "fate" else index.words[column]
    values, counts = np.unique(codes, return_counts=True)
    frequent = values[np.argsort(-counts, kind="stable")][:_KINDS].tolist()
    names = [(words[code] if code < len(words) else "") or "(none)" for code in frequent]
    rest = len(frequent) < len(values)
    place: Mapping[int, int] = {code: number for number, code in enumerate(frequent)}
    kinds = [place.get(int(code), len(frequent)) for code in codes]
    return kinds, [*names, *(["all others"] if rest else [])]


def area_of(said: str) -> list[tuple[float, float]] | None:
    """A polygon from `x,y,x,y,...`; None where it is none."""
    try:
        values = [float(each) for each in said.split(",")]
    except ValueError:
        return None
    sound = len(values) % 2 == 0 and 6 <= len(values) <= 400 and all(abs(value) < 1e9 for value in values)
    return list(zip(values[::2], values[1::2], strict=True)) if sound else None

"""Batches: what each was asked, and what came of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from engine.dataset.fields import Fields
from engine.items import POSITIONS
from engine.view.index import Index
from engine.view.item import CallShown, call_shown, calls_of
from engine.view.items import Row, read_rows

ON_A_PAGE = 100


@dataclass(frozen=True)
class BatchRow:
    """One batch in the list."""

    number: int
    accepted: int
    rejected: int
    surplus: int
    cost: float

    @property
    def share(self) -> float | None:
        """The accepted of those that were decided."""
        decided = self.accepted + self.rejected
        return self.accepted / decided if decided else None


@dataclass(frozen=True)
class BatchShown:
    """One batch with its prompt."""

    number: int
    calls: Sequence[CallShown]
    items: Sequence[Row]
    plan: Mapping[str, Any]
    """What earlier outcomes decided for it, where they did."""
    about: Mapping[str, Any]
    """What its items say of how they were asked for."""


ORDERS = {"plan": "as planned", "-yield": "best yield first", "yield": "worst yield first"}


def ranked_batches(index: Index, order: str, page: int) -> list[BatchRow]:
    """A page of all batches by the share of their decided items that was accepted; among equals, by how many."""
    columns = index.columns
    numbers, place = np.unique(columns["item"] // POSITIONS, return_inverse=True)
    counts = [np.bincount(place, columns["state"] == state, len(numbers)) for state in (1, 2, 3)]
    costs = np.bincount(place, columns["cost"], len(numbers))
    decided = np.maximum(counts[0] + counts[1], 1)
    sign = -1 if order.startswith("-") else 1
    ranking = np.lexsort((-decided, sign * counts[0] / decided))[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]
    accepted, rejected, surplus = counts
    return [
        BatchRow(int(numbers[at]), int(accepted[at]), int(rejected[at]), int(surplus[at]), float(costs[at]))
        for at in ranking
    ]


def read_batches(index: Index, begin: int) -> list[BatchRow]:
    """The batches from this one on, a page of them."""
    columns = index.columns
    first = int(np.searchsorted(columns["item"], begin * POSITIONS))
    batches = columns["item"][first:] // POSITIONS
    numbers = np.unique(batches)[:ON_A_PAGE]
    rows = []
    for number in numbers:
        low, high = np.searchsorted(batches, [number, number + 1]) + first
        states = np.bincount(columns["state"][low:high], minlength=4)
        cost = float(columns["cost"][low:high].sum())
        rows.append(BatchRow(int(number), int(states[1]), int(states[2]), int(states[3]), cost))
    return rows


def read_batch(connection: sqlite3.Connection, fields: Fields, number: int) -> BatchShown:
    numbers = [
        item
        for (item,) in connection.execute(
            "SELECT item FROM items WHERE item >= ? AND item < ? ORDER BY item",
            (number * POSITIONS, (number + 1) * POSITIONS),
        )
    ]
    plan = connection.execute("SELECT state FROM plans WHERE batch = ?", (number,)).fetchone()
    about: dict[str, Any] = {}
    if numbers:
        [meta] = connection.execute("SELECT meta FROM items WHERE item = ?", (numbers[0],)).fetchone()
        told = orjson.loads(meta)
        about = {
            name: told[name]
            for name in ("model", "temperature", "attributes", "strategy", "examples")
            if told.get(name)
        }
    calls = [call_shown(connection, row) for row in calls_of(connection, number)]
    return BatchShown(
        number, calls, read_rows(connection, fields, numbers), orjson.loads(plan[0]) if plan else {}, about
    )

"""Puts the provider's own figure in place of what a run has counted, where the two differ."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

import orjson

from engine.items import PICO
from engine.store.parts import read_open_parts
from engine.store.reading import SETTLED, connect, read_counted, read_fact, read_spent, read_unconfirmed
from engine.store.writer import translated


class Account(NamedTuple):
    """Picodollars of a run."""

    spent: int
    """What counts against the cap."""
    unconfirmed: int
    """Part of the run's own count: attempts without a usage, and calls that a kill has cut off."""
    settled: int | None
    """The provider's figure, where one was put in place."""
    aside: int = 0
    """The most that batches under way may cost, beside that."""


def account_of(database: Path) -> Account:
    """Raises StoreError."""
    with contextlib.closing(connect(database)) as connection:
        told = read_fact(connection, SETTLED) or {}
        aside = sum(part.worst for part in read_open_parts(connection))
        return Account(read_spent(connection), read_unconfirmed(connection), told.get("told"), aside)


def settle(database: Path, dollars: float) -> Account:
    """From now on, all that was spent so far counts as so many dollars. The folder is locked by the caller.

    Raises StoreError.
    """
    with contextlib.closing(connect(database)) as connection:
        counted = read_counted(connection)
    told = round(dollars * PICO)
    fact = {"told": told, "correction": told - counted, "at": time.time()}
    sql = "INSERT INTO facts VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    with translated(database), contextlib.closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute(sql, (SETTLED, orjson.dumps(fact).decode()))
    return account_of(database)

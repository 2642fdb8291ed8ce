"""Workers and what they have, as the head knows them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from engine.items import Batch, Completion, Item
from engine.spread.link import Link
from engine.spread.messages import Join

SUSPECT = 2
"""Workers that are lost with a batch among others; from then on it is given to a worker alone."""


class Waiting(NamedTuple):
    """A unit that waits for a worker."""

    unit: Unit
    given: asyncio.Future[Worker]


class Again(Exception):
    """The worker that had the unit is lost."""


@dataclass(eq=False)
class Unit:
    """A batch, or an item, for a worker. Mutable: what has come of it, how many workers were lost with it."""

    number: int
    value: Batch | Item
    batch: Batch
    done: asyncio.Future[None]
    items: list[Item] = field(default_factory=list)
    missing: int | None = None
    """Items that are still to come; None until the first has come."""
    let_go: bool = False
    losses: int = 0
    """Of workers that had others, too."""
    alone: int = 0
    """Of workers that had it alone."""
    worker: Worker | None = None

    @property
    def suspect(self) -> bool:
        return self.losses >= SUSPECT

    def clear(self) -> None:
        self.items.clear()
        self.missing, self.let_go = (1 if isinstance(self.value, Item) else None), False
        self.done = asyncio.get_running_loop().create_future()


@dataclass(eq=False)
class Attempt:
    """An attempt that a worker makes of one of its calls."""

    key: str
    """The call's."""
    endpoint: int
    heard: Callable[[], None] | None
    answered: asyncio.Future[Completion]


@dataclass(eq=False)
class Worker:
    """One worker under one epoch. Mutable: all of it."""

    epoch: int
    link: Link
    join: Join
    where: str
    joined: float
    ready: bool = False
    leaving: bool = False
    told: str = ""
    """Why it was told to go; '' until it is."""
    lost: str = ""
    """Why it is given up; '' while it works."""
    units: dict[int, Unit] = field(default_factory=dict)
    serving: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    attempts: dict[int, Attempt] = field(default_factory=dict)
    orphans: dict[int, Attempt] = field(default_factory=dict)
    """Attempts that were under way when it was given up."""
    schemas: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    kept_for: Waiting | None = None
    """A suspect that it has, or gets as soon as it has nothing else."""
    items: int = 0
    calls: int = 0

    def silent(self) -> float:
        """Seconds since it was heard."""
        return max(0.0, asyncio.get_running_loop().time() - self.link.heard)

    @property
    def name(self) -> str:
        return self.join.name or f"worker {self.epoch}"


class Books(Protocol):
    """What the head keeps of workers, and finds of vectors, in the journal."""

    async def look_again(self) -> None:
        """What was recorded so far can be found by calls that are made once more."""
        ...

    def vectors_of(self, batch: int) -> Sequence[tuple[int, bytes, bytes]]:
        """(item, digest of its text, vector) that earlier starts have journaled."""
        ...

    def keep_vectors(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None: ...

    def changed(self, worker: Worker) -> None:
        """It has come, done something, or gone."""
        ...

    def late(self, worker: Worker, key: str, cost: int) -> None:
        """An answer came from a worker that had been given up: it is paid, and not used."""
        ...

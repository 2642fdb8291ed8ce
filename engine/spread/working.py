"""A worker's stages at work: the unchanged ones of the mode, on what the head sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import Deferred, EngineError, FatalError, StopRun, is_deferred
from engine.flow.channel import Channel
from engine.flow.halt import Halt
from engine.flow.stage import Stage
from engine.items import Batch, Item
from engine.protocols import Backend
from engine.spread.link import Link
from engine.spread.messages import Lost, Made, Work
from engine.spread.wire import batch_in, bytes_in, bytes_out, error_out, item_in, item_out


@dataclass(frozen=True)
class Opened:
    """A worker's part of the run, open."""

    stages: Sequence[Stage]
    backends: Sequence[Backend]
    """By the numbers that the head has for them."""
    described: Mapping[str, Any]
    """How its validators describe themselves."""
    vectors: str
    """What the vectors of its embedder depend on; '' without one."""
    finish: Callable[[Item], Item]
    """What is done to an item that is through, so that the head need not: the key of its text, its record."""


class Held:
    """The vectors of the items that are here: a KeptVectors. Mutable: those that are journaled; digests of new ones."""

    def __init__(self) -> None:
        self._there: dict[int, tuple[bytes, bytes]] = {}
        self._new: dict[int, bytes] = {}

    def add(self, number: int, digest: bytes, vector: bytes) -> None:
        self._there[number] = digest, vector

    def vector(self, item: int, text: bytes) -> bytes | None:
        digest, vector = self._there.get(item, (b"", b""))
        return vector if digest == text else None

    def keep_vectors(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        for number, digest, _ in rows:
            self._new[number] = digest

    def taken(self, item: int) -> bytes | None:
        """Forgets an item that is done; the digest of its text if its vector is new."""
        self._there.pop(item, None)
        return self._new.pop(item, None)


@dataclass(eq=False)
class _Unit:
    """A unit that is here. Mutable: how many of its items are; None until the first one shows how many there are."""

    number: int
    batch: Batch
    value: Batch | Item
    left: int | None = None


class Working:
    """The stages at work on units. Mutable state: the units that are here, by batch and item."""

    def __init__(self, link: Link, halt: Halt, held: Held, opened: Opened) -> None:
        self._link = link
        self._halt = halt
        self._held = held
        self._finish = opened.finish
        self._stages = [Stage(each.name, self._watched(each.step), each.workers) for each in opened.stages]
        self._channels = [Channel[Any](each.name, 256) for each in opened.stages]
        self._channels.append(Channel[Any]("made", 256))
        self._coming: asyncio.Queue[Batch | Item] = asyncio.Queue()
        self._units: dict[tuple[int, int], _Unit] = {}

    def __len__(self) -> int:
        return len(self._units)

    def take(self, work: Work) -> None:
        batch = batch_in(work.batch)
        value: Batch | Item = batch if work.item is None else item_in(work.item, batch)
        for number, digest, vector in work.held:
            self._held.add(number, bytes_in(digest) or b"", bytes_in(vector) or b"")
        self._units[_place(value)] = _Unit(work.unit, batch, value)
        self._coming.put_nowait(value)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed())
            for stage, inbox, outbox in zip(self._stages, self._channels, self._channels[1:], strict=False):
                group.create_task(stage.run(inbox, outbox, self._halt), name=stage.name)
            group.create_task(self._deliver())

    async def _feed(self) -> None:
        while True:
            await self._channels[0].put(await self._coming.get())

    async def _deliver(self) -> None:
        async for item in self._channels[-1]:
            if (unit := self._of(item)) is None:
                continue
            digest = self._held.taken(item.number)
            told = item_out(self._finish(item), unit.batch)
            self._link.send(Made(unit.number, told, bytes_out(digest)))
            self._done(unit, item.batch_total)
            await self._link.room()

    def _done(self, unit: _Unit, of: int) -> None:
        """One of the unit's items is no longer here; all, where `of` is 0."""
        if of and isinstance(unit.value, Batch):
            unit.left = (of if unit.left is None else unit.left) - 1
            if unit.left:
                return
        self._units.pop(_place(unit.value), None)

    def _of(self, value: Batch | Item) -> _Unit | None:
        """The unit that a value belongs to."""
        unit = self._units.get(_place(value))
        if unit is None and isinstance(value, Item):
            unit = self._units.get((value.batch.number, -1))
        return unit

    def _watched(self, step: Callable[[Any], Awaitable[Iterable[Any]]]) -> Callable[[Any], Any]:
        """The step, telling of each value that goes no further."""

        async def watched(value: Batch | Item) -> Iterable[Any]:
            try:
                return await step(value)
            except (StopRun, FatalError) as error:
                self._tell(value, error)
                raise
            except (Deferred, BaseExceptionGroup) as error:
                if is_deferred(error):
                    self._tell(value, None)
                raise

        return watched

    def _tell(self, value: Batch | Item, error: EngineError | None) -> None:
        unit = self._of(value)
        if unit is None:
            return
        of = value.batch_total if isinstance(value, Item) and isinstance(unit.value, Batch) else 0
        self._done(unit, of)
        self._link.send(Lost(unit.number, of, None if error is None else error_out(error)))


def _place(value: Batch | Item) -> tuple[int, int]:
    return (value.number, -1) if isinstance(value, Batch) else (value.batch.number, value.position)

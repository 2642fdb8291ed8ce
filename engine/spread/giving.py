"""Decides which worker gets which unit: the one that has least to do; a suspect, one that has nothing else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from engine.errors import EngineError
from engine.flow.halt import Halt
from engine.spread.crew import Again, Unit, Waiting, Worker

_LEAST = 16
"""Units that a worker is given in any case, so that none waits for the next one."""


class Giving:
    """Mutable state: the units that wait for a worker. Which units each has is in the workers themselves."""

    def __init__(self, workers: Mapping[int, Worker], halt: Halt, *, expects: int, in_flight: int) -> None:
        """`workers` are those that are ready, at any time. `expects` is how many there are to be, `in_flight` how many
        calls there may be at once.
        """
        self._workers = workers
        self._halt = halt
        self._expects = max(1, expects)
        self._in_flight = in_flight
        self._wanting: deque[Waiting] = deque()
        self._suspects: deque[Waiting] = deque()

    async def give(self, unit: Unit) -> Worker:
        """The worker that has the unit from now on. Raises a halt's reason where no worker is left."""
        worker = None if unit.suspect else self._with_room()
        if worker is None:
            return await self._until_room(unit)
        _assign(unit, worker)
        return worker

    def take_back(self, unit: Unit) -> None:
        """The unit is done, or given up: its worker has room."""
        worker, unit.worker = unit.worker, None
        if worker is None:
            return
        worker.units.pop(unit.number, None)
        if worker.kept_for is not None and worker.kept_for.unit is unit:
            worker.kept_for = None
        self._give_alone(worker)
        self.wake()

    def lost(self, worker: Worker) -> int:
        """Gives what a lost worker had to others; how many units that were."""
        units, worker.units = list(worker.units.values()), {}
        if worker.kept_for is not None and worker.kept_for.unit.worker is None:
            self._suspects.appendleft(worker.kept_for)
        for unit in units:
            unit.worker = None
            unit.alone += unit.suspect
            unit.losses += 1
            if not unit.done.done():
                unit.done.set_exception(Again())
        self.wake()
        return len(units)

    async def _until_room(self, unit: Unit) -> Worker:
        """Raises the reason of a halt where no worker is left to finish anything."""
        if not self._workers:
            self._halt.check()
        waiting: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        (self._suspects if unit.suspect else self._wanting).append(Waiting(unit, waiting))
        self.wake()
        try:
            return await waiting
        finally:
            waiting.cancel()

    def _with_room(self) -> Worker | None:
        """The worker that has least to do, where it is not enough."""
        most = max(_LEAST, -(-2 * self._in_flight // max(self._expects, len(self._workers))))
        free = [worker for worker in self._free() if len(worker.units) < most]
        return min(free, key=lambda worker: len(worker.units), default=None)

    def _free(self) -> list[Worker]:
        return [each for each in self._workers.values() if not each.leaving and each.kept_for is None]

    def wake(self) -> None:
        """Passes room on to the units that wait for it, the first one first; suspects get a worker of their own."""
        while self._suspects and (free := self._free()):
            worker = min(free, key=lambda each: len(each.units))
            worker.kept_for = self._suspects.popleft()
            self._give_alone(worker)
        while self._wanting and (room := self._with_room()) is not None:
            unit, given = self._wanting.popleft()
            if not given.done():
                _assign(unit, room)
                given.set_result(room)

    def _give_alone(self, worker: Worker) -> None:
        """Gives a worker the suspect that it is kept for, if it has nothing else."""
        if worker.kept_for is None or worker.units:
            return
        unit, given = worker.kept_for
        if given.done():
            worker.kept_for = None
        else:
            _assign(unit, worker)
            given.set_result(worker)

    def send_home(self, reason: EngineError) -> None:
        """A halted run waits for no worker to come."""
        for waiting in (*self._wanting, *self._suspects):
            if not waiting.given.done():
                waiting.given.set_exception(reason)
        self._wanting.clear()
        self._suspects.clear()


def _assign(unit: Unit, worker: Worker) -> None:
    unit.worker = worker
    worker.units[unit.number] = unit

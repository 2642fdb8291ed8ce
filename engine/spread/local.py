"""Workers on this machine: processes of a session of their own, each with one end of a pair of sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import IO, Any

from engine.errors import WorkersLost
from engine.spread.link import Link

MOST_USELESS = 5
"""Workers in a row that end before they were ready; then no more are started."""
_GO_S = 5.0
"""Seconds that a worker is given to go when the run has ended."""
_WORDS = 2000

Command = Sequence[str]
Record = Callable[[str, str, str], None]


@asynccontextmanager
async def kept(count: int, keep: Callable[[int], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """So many tasks of `keep`, each with its place from 1, while the block lasts."""
    tasks = [asyncio.create_task(keep(place), name=f"worker {place}") for place in range(1, count + 1)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Local:
    """Keeps so many workers running. Mutable state: their processes, how many of them in a row were of no use."""

    def __init__(
        self,
        count: int,
        command: Command,
        link: Callable[[str], Link],
        *,
        worked: Callable[[int], bool],
        record: Record,
        hopeless: Callable[[WorkersLost], None],
    ) -> None:
        """`command` starts one; the number of its socket is added. `worked` says whether a process has ever been ready,
        `hopeless` is told why none can be started.
        """
        self._count = count
        self._command = command
        self._link = link
        self._worked = worked
        self._record = record
        self._hopeless = hopeless
        self._useless = 0
        self.processes: dict[int, asyncio.subprocess.Process] = {}
        """Those that run, by their place from 1."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block lasts, one that ends is replaced. At the end they are given time to go, then killed."""
        try:
            async with kept(self._count, self._keep):
                yield
        finally:
            await self._gone()

    async def _keep(self, place: int) -> None:
        while True:
            with tempfile.TemporaryFile() as words:
                pid, status = await self._one(place, words)
                said = _last(words)
            self._useless = 0 if self._worked(pid) else self._useless + 1
            if self._useless >= MOST_USELESS:
                self._hopeless(WorkersLost(f"workers end as soon as they begin (exit {status}): {said}"))
                return
            if status not in (0, -signal.SIGKILL, -signal.SIGTERM):
                self._record(f"worker {place}", "worker", f"a worker ended with status {status}: {said}")
            await asyncio.sleep(min(0.1 * 2**self._useless, 5.0))

    async def _one(self, place: int, words: IO[bytes]) -> tuple[int, int]:
        """Starts one; its number and its exit status, once it has ended."""
        here, there = socket.socketpair()
        here.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(there.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                pass_fds=[there.fileno()],
                start_new_session=True,  # Ctrl-C is for the head alone: it drains, and tells them
                env=_environment(self._count),
            )
        finally:
            there.close()
        self.processes[place] = process
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self._link(f"process {process.pid}"), sock=here)
        status = await process.wait()
        del self.processes[place]
        return process.pid, status

    async def _gone(self) -> None:
        there = list(self.processes.values())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GO_S):
                await asyncio.gather(*(process.wait() for process in there))
        for process in there:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _environment(count: int) -> dict[str, str]:
    """Libraries that use every core in every process would be in each other's way."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **os.environ}


def _last(words: IO[bytes]) -> str:
    words.seek(0, os.SEEK_END)
    words.seek(max(0, words.tell() - _WORDS))
    lines = words.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"

"""One zygote's process, seen from the front end: starts it, exchanges messages with it, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from engine.errors import SandboxUnavailable
from validators.code.jail import wire
from validators.code.settings import SandboxOptions

SLOTS = 2
"""Concurrent programs in one zygote: one runs while the next is being started."""
START_S = 60.0


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """How a program ended: `ok error cpu timeout memory output blocked crash`, or `too_long` (never run)."""

    status: str
    code: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    stdout: str = ""
    stderr: str = ""

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def last_line(self) -> str:
        """The last line printed that is not blank."""
        return next((line.strip() for line in reversed(self.stdout.splitlines()) if line.strip()), "")


class Died(Exception):
    """A zygote has ended while programs ran in it."""


async def started(step: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(START_S):
            return await step
    except (TimeoutError, Died):
        raise SandboxUnavailable("the sandbox's process does not start, or ends at once") from None


class ZygoteProcess(asyncio.SubprocessProtocol):
    """One zygote's process, seen from the front end. Mutable state: its transport, the programs in it."""

    _transport: asyncio.SubprocessTransport
    _stdin: asyncio.WriteTransport

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._incoming = bytearray()
        self._said = bytearray()
        self._first: asyncio.Future[bytes] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._waiting: dict[int, asyncio.Future[ProgramResult]] = {}
        self._numbers = 0
        self.layers: dict[str, Any] = {}
        self.dead = False

    @classmethod
    async def begun(cls, argv: Sequence[str]) -> ZygoteProcess:
        """Starts a zygote. Raises SandboxUnavailable if it does not start."""
        loop = asyncio.get_running_loop()
        try:
            transport, zygote = await loop.subprocess_exec(
                cls, *argv, env=_environment(argv), cwd="/", start_new_session=True
            )
        except OSError as error:
            raise SandboxUnavailable(f"{argv[0]} cannot be started: {error}") from None
        zygote._transport = transport
        zygote._stdin = cast(asyncio.WriteTransport, transport.get_pipe_transport(0))
        try:
            zygote.layers = json.loads(wire.content(await started(zygote._first)))
        except SandboxUnavailable as error:
            await zygote.close()
            last = zygote._said.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise SandboxUnavailable(f"{error}{f': {last[0]}' if last else ''}") from None
        return zygote

    def ask(self, ask: wire.Ask) -> asyncio.Future[ProgramResult]:
        """A future for the program's outcome; fails with Died if the zygote ends first."""
        self._numbers = (self._numbers + 1) & 0xFFFFFFFF
        answer: asyncio.Future[ProgramResult] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may not be awaited
        self._waiting[self._numbers] = answer
        self._stdin.write(ask._replace(number=self._numbers).packed())
        return answer

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._transport.kill()
        self._die()

    async def close(self) -> None:
        """Returns when the process and all its programs have ended."""
        self._stdin.close()
        try:
            async with asyncio.timeout(5):
                await asyncio.shield(self._gone)
        except TimeoutError:
            self.kill()
            await self._gone
        self._transport.close()

    # --- callbacks from asyncio ---

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._said += data
            del self._said[:-4096]
            return
        self._incoming += data
        while (frame := wire.take(self._incoming)) is not None:
            if not self._first.done():
                self._first.set_result(frame)
            else:
                self._answer(wire.told(frame))

    def pipe_connection_lost(self, fd: int, error: Exception | None) -> None:
        if fd == 1:
            self._die()

    def process_exited(self) -> None:
        self._die()

    def connection_lost(self, error: Exception | None) -> None:
        self._die()
        if not self._gone.done():
            self._gone.set_result(None)

    def _answer(self, told: wire.Told) -> None:
        answer = self._waiting.pop(told.number, None)
        if answer is not None and not answer.done():
            answer.set_result(
                ProgramResult(
                    wire.STATUSES[told.status],
                    told.code,
                    told.cpu_s,
                    told.wall_s,
                    told.stdout.decode("utf-8", "replace"),
                    told.stderr.decode("utf-8", "replace"),
                )
            )

    def _die(self) -> None:
        self.dead = True
        waiting, self._waiting = list(self._waiting.values()), {}
        pending: list[asyncio.Future[Any]] = [self._first, *waiting]
        for answer in pending:
            if not answer.done():
                answer.set_exception(Died())
                answer.exception()  # marks it as retrieved: whoever awaits it still gets it


# --- the command -----------------------------------------------------------------------------------

_BOOT = (
    "import sys, json; sys.path[:] = [sys.argv[1], *filter(None, sys.path)];"
    "from validators.code.jail.zygote import main; sys.path.pop(0); options = json.loads(sys.argv[2]);"
    "sys.path += options['readable']; main(options)"
)
PACKAGES = Path(__file__).resolve().parents[2]
"""The folder that contains the package `validators`."""
_CLEAN = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUTF8": "1",
    "PYTHONIOENCODING": "utf-8:backslashreplace",
    "LC_ALL": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "HOME": "/",
    "TZ": "UTC",
}
"""The complete environment of a zygote."""


def command(options: SandboxOptions, given: dict[str, Any]) -> list[str]:
    """The command line that starts a zygote, here or in a container."""
    python = ["-S", "-s", "-P", "-c", _BOOT]  # not -I: it would ignore PYTHONHASHSEED
    if options.backend == "native":
        return [sys.executable, *python, str(PACKAGES), json.dumps(given)]
    inside = "/datagen"
    given = {**given, "readable": [], "preload": given["preload"]}
    limits = ["--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    limits += ["--pids-limit=64", f"--memory={options.memory_mb * SLOTS + 512}m", "--user=65534:65534"]
    code = Path(__file__).resolve().parent / "jail"
    mounts = [f"--volume={code}:{inside}/validators/code/jail:ro"]
    environment = [f"--env={name}={value}" for name, value in _CLEAN.items()]
    head = [options.backend, "run", "--rm", "--interactive", *limits, *mounts, *environment]
    return [*head, "--entrypoint=python3", options.image, *python, inside, json.dumps(given)]


def _environment(argv: Sequence[str]) -> dict[str, str]:
    """A container client needs our environment to find its daemon; a zygote gets none of it."""
    return dict(_CLEAN) if argv[0] == sys.executable else dict(os.environ)

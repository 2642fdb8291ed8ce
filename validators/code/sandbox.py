"""Runs untrusted programs by the thousand: the front end of a few zygotes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field

from engine.errors import SandboxUnavailable
from validators.code.jail import wire
from validators.code.levels import BREACH, CANARIES, MISSING, WAYS_OUT, Level, level_of, tight_enough

PRELOAD = (
    "math cmath fractions decimal itertools statistics datetime calendar functools collections random re json"
    " string operator heapq bisect typing dataclasses enum copy numbers"
).split()
MOST_SOURCE = 1 << 20
"""Bytes of a program; a longer one is not run."""
SLOTS = 2
"""Programs under way in one zygote: one runs while the next is being started."""
START_S = 60.0
TRIES = 3
"""Times that a program is run when its zygote dies under it."""
HANG_S = 10.0
"""Beyond a program's wall time, after which its zygote itself is taken to hang."""
SEED = 0

log = logging.getLogger(__name__)


class SandboxOptions(BaseModel):
    """What the config may say of the sandbox."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    require: Level = "no-files"
    """The loosest level that will do; below it the run does not start."""
    backend: Literal["native", "docker", "podman"] = "native"
    image: str = "docker.io/library/python:3.12-slim"
    """For docker and podman: any image with Python 3.11 or newer."""
    preload: tuple[str, ...] = ()
    """Modules imported beforehand, on top of the usual ones: numpy, sympy, or your own."""
    zygotes: int | None = Field(default=None, ge=1, le=256)
    """Processes that fork programs; one for each core where absent."""
    cpu_s: float = Field(default=2.0, gt=0, le=3600)
    """CPU seconds of one program, rounded up to whole ones."""
    wall_s: float = Field(default=10.0, gt=0, le=3600)
    memory_mb: int = Field(default=256, ge=16, le=1 << 20)
    output_bytes: int = Field(default=65_536, ge=1, le=1 << 26)


@dataclass(frozen=True, slots=True)
class Outcome:
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


class _Died(Exception):
    """A zygote has ended with programs in it."""


class Sandbox:
    """`async with Sandbox(options) as sandbox: outcome = await sandbox.run(source)`.

    Programs that import a third-party module which is preloaded go to zygotes of their own, started when
    the first such program comes: forking costs by the memory that a zygote has touched.
    Mutable state: the pools.
    """

    def __init__(self, options: SandboxOptions | None = None, *, without: Sequence[str] = ()) -> None:
        """`without` leaves layers out (namespaces, landlock, seccomp), for tests. Raises ValueError for a
        module to preload that is not installed."""
        self.options = options or SandboxOptions()
        self._without = tuple(without)
        if self.options.require == "limits-only" and not sys.platform.startswith("linux"):
            self._without = ("namespaces", "landlock", "seccomp")
        heavy = {name for name in self.options.preload if _third_party(name)}
        light = [name for name in self.options.preload if name not in heavy]
        self._light = _Pool(self, [*PRELOAD, *light], ())
        self._heavy = _Pool(self, [*PRELOAD, *light, *sorted(heavy)], _folders(heavy)) if heavy else None
        self._imports_heavy = re.compile(rf"\b(?:import|from)\b[^\n]*\b(?:{'|'.join(heavy)})\b".encode())

    async def __aenter__(self) -> Self:
        """Raises SandboxUnavailable."""
        await self._light.start()
        if self.level != "full":
            log.warning("the sandbox is at the level %r: %s", self.described, MISSING[self.level])
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in (self._light, self._heavy):
            if pool is not None:
                await pool.close()

    @property
    def level(self) -> Level:
        """What was found at the start."""
        return self._light.level

    @property
    def described(self) -> str:
        """The level as it stands on every record; with the container's kind before it, where there is one."""
        kind = self.options.backend
        return self.level if kind == "native" else f"{kind}:{self.level}"

    @property
    def layers(self) -> dict[str, Any]:
        return self._light.layers

    async def run(self, source: str | bytes) -> Outcome:
        """Raises SandboxUnavailable where the zygotes cannot be kept alive; a bad program is an Outcome."""
        program = source.encode("utf-8", "replace") if isinstance(source, str) else source
        if len(program) > MOST_SOURCE:
            return Outcome("too_long", stderr=f"the program is longer than {MOST_SOURCE} bytes")
        heavy = self._heavy is not None and self._imports_heavy.search(program) is not None
        pool = self._heavy if heavy and self._heavy is not None else self._light
        outcome = await pool.run(program)
        if outcome.status == "timeout" and outcome.cpu_s > 0.05 * outcome.wall_s:
            # It was computing, and did not get the processor: on a loaded machine the clock proves nothing.
            outcome = await pool.run(program, patience=3.0)
        return outcome


def _third_party(name: str) -> bool:
    """Raises ValueError where there is no such module."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return False
    if not top.isidentifier() or find_spec(top) is None:
        raise ValueError(f"sandbox.preload: {name!r} is not installed")
    return True


def _folders(names: set[str]) -> tuple[str, ...]:
    """Where these modules, and what they import in turn, are installed."""
    found = set()
    for name in names:
        spec = find_spec(name.partition(".")[0])
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            found.add(str(Path(place).parent))
    return tuple(sorted(found))


# --- zygotes ---------------------------------------------------------------------------------------


class _Pool:
    """Zygotes of one kind. Mutable state: the zygotes, and which of them have a free slot."""

    def __init__(self, owner: Sandbox, preload: Sequence[str], readable: Sequence[str]) -> None:
        self._options = owner.options
        self._without = owner._without
        self._preload, self._readable = list(preload), list(readable)
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
        self._count = owner.options.zygotes or len(cores)
        self._cores = cores
        self._zygotes: list[_Zygote | None] = [None] * self._count
        self._mending = [asyncio.Lock() for _ in range(self._count)]
        self._free: asyncio.Queue[int] | None = None
        self.level: Level = "limits-only"
        self.layers: dict[str, Any] = {}

    async def start(self) -> None:
        """Raises SandboxUnavailable."""
        if self._free is None:
            self._free = asyncio.Queue()
            for _ in range(SLOTS):
                for index in range(self._count):
                    self._free.put_nowait(index)
            begun = (self._alive(index) for index in range(self._count))
            found = await asyncio.gather(*begun, return_exceptions=True)
            failures = [each for each in found if isinstance(each, BaseException)]
            if failures:
                await self.close()
                raise failures[0]

    async def close(self) -> None:
        zygotes, self._zygotes = self._zygotes, [None] * self._count
        await asyncio.gather(*(zygote.close() for zygote in zygotes if zygote is not None))

    async def run(self, program: bytes, patience: float = 1.0) -> Outcome:
        await self.start()
        assert self._free is not None
        for _ in range(TRIES):
            index = await self._free.get()
            try:
                zygote = await self._alive(index)
                answer = zygote.ask(self._ask(program, patience))
            except BaseException:
                self._free.put_nowait(index)
                raise
            # The slot is free when the program is dead, not when its caller has lost interest.
            answer.add_done_callback(partial(self._release, index))
            try:
                return await self._awaited(zygote, answer, patience)
            except _Died:
                continue  # a neighbour may have taken the zygote down
        return Outcome(
            "crash", stderr="the sandbox's own process ended each time while this program ran in it"
        )

    def _release(self, index: int, _: object) -> None:
        assert self._free is not None
        self._free.put_nowait(index)

    async def _awaited(self, zygote: _Zygote, answer: asyncio.Future[Outcome], patience: float) -> Outcome:
        try:
            async with asyncio.timeout(self._options.wall_s * patience + HANG_S):
                return await asyncio.shield(answer)
        except TimeoutError:
            zygote.kill()
            raise _Died from None

    def _ask(self, program: bytes, patience: float) -> wire.Ask:
        o = self._options
        return wire.Ask(0, o.cpu_s, o.wall_s * patience, o.memory_mb, o.output_bytes, program)

    async def _alive(self, index: int) -> _Zygote:
        """The zygote in this place; a new one where it has died. Raises SandboxUnavailable."""
        async with self._mending[index]:
            zygote = self._zygotes[index]
            if zygote is None or zygote.dead:
                if zygote is not None:
                    await zygote.close()
                zygote = self._zygotes[index] = await self._begun(index)
            return zygote

    async def _begun(self, index: int) -> _Zygote:
        core = self._cores[index % len(self._cores)] if self._options.backend == "native" else None
        given = {
            "preload": self._preload,
            "readable": self._readable,
            "without": self._without,
            "seed": SEED,
            "core": core,
        }
        zygote = await _Zygote.begun(command(self._options, given))
        try:
            await self._proved(zygote)
        except BaseException:
            await zygote.close()
            raise
        return zygote

    async def _proved(self, zygote: _Zygote) -> None:
        """Raises SandboxUnavailable where the level is too low, or a canary gets through."""
        level, required = level_of(zygote.layers), self._options.require
        if not tight_enough(level, required):
            raise SandboxUnavailable(
                f"programs can only be locked in at the level {level!r} here ({MISSING[level]}), and "
                f"{required!r} is required: {WAYS_OUT}"
            )
        if level != "limits-only":
            await self._try_canaries(zygote, level)
        self.level, self.layers = level, zygote.layers

    async def _try_canaries(self, zygote: _Zygote, level: Level) -> None:
        for attempt, source in CANARIES.items():
            outcome = await _started(zygote.ask(self._ask(source.encode(), 1.0)))
            if BREACH in outcome.stdout or outcome.status == "internal":
                raise SandboxUnavailable(
                    f"the sandbox (level {level!r}) does not hold: a program could {attempt}"
                    f"{f' ({outcome.stderr})' if outcome.stderr else ''}; run the programs in a container "
                    "(sandbox.backend: docker or podman)"
                )


async def _started(step: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(START_S):
            return await step
    except (TimeoutError, _Died):
        raise SandboxUnavailable("the sandbox's process does not start, or ends at once") from None


class _Zygote(asyncio.SubprocessProtocol):
    """One zygote's process, seen from outside. Mutable state: its transport, the programs in it."""

    _transport: asyncio.SubprocessTransport
    _stdin: asyncio.WriteTransport

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._incoming = bytearray()
        self._said = bytearray()
        self._first: asyncio.Future[bytes] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._numbers = 0
        self.layers: dict[str, Any] = {}
        self.dead = False

    @classmethod
    async def begun(cls, argv: Sequence[str]) -> _Zygote:
        """Raises SandboxUnavailable where it does not come up."""
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
            zygote.layers = json.loads(wire.content(await _started(zygote._first)))
        except SandboxUnavailable as error:
            await zygote.close()
            last = zygote._said.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise SandboxUnavailable(f"{error}{f': {last[0]}' if last else ''}") from None
        return zygote

    def ask(self, ask: wire.Ask) -> asyncio.Future[Outcome]:
        """The future of a program's outcome; fails with _Died where the zygote ends first."""
        self._numbers = (self._numbers + 1) & 0xFFFFFFFF
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # may be nobody's by then
        self._waiting[self._numbers] = answer
        self._stdin.write(ask._replace(number=self._numbers).packed())
        return answer

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._transport.kill()
        self._die()

    async def close(self) -> None:
        """Returns when the process is gone, and with it every program."""
        self._stdin.close()
        try:
            async with asyncio.timeout(5):
                await asyncio.shield(self._gone)
        except TimeoutError:
            self.kill()
            await self._gone
        self._transport.close()

    # --- what asyncio tells ---

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
                Outcome(
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
                answer.set_exception(_Died())
                answer.exception()  # whoever still waits is told; nobody else need be


# --- the command -----------------------------------------------------------------------------------

_BOOT = (
    "import sys, json; sys.path[:] = [sys.argv[1], *filter(None, sys.path)];"
    "from validators.code.jail.zygote import main; sys.path.pop(0); options = json.loads(sys.argv[2]);"
    "sys.path += options['readable']; main(options)"
)
_PACKAGES = Path(__file__).resolve().parents[2]
"""Where the package `validators` lies."""
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
"""All the environment that a zygote has."""


def command(options: SandboxOptions, given: dict[str, Any]) -> list[str]:
    """The command line that starts a zygote, here or in a container."""
    python = ["-S", "-s", "-P", "-c", _BOOT]  # not -I: it would ignore PYTHONHASHSEED
    if options.backend == "native":
        return [sys.executable, *python, str(_PACKAGES), json.dumps(given)]
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
    """A container's client needs to find its daemon; a zygote gets nothing of ours."""
    return dict(_CLEAN) if argv[0] == sys.executable else dict(os.environ)

"""Runs thousands of untrusted programs: the front end of a few zygotes."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from engine.errors import SandboxUnavailable
from validators.code.jail import wire
from validators.code.levels import BREACH, CANARIES, MISSING, WAYS_OUT, Level, level_of, tight_enough
from validators.code.process import SLOTS, Died, ProgramResult, ZygoteProcess, command, started
from validators.code.settings import SandboxOptions

PRELOAD = (
    "math cmath fractions decimal itertools statistics datetime calendar functools collections random re json"
    " string operator heapq bisect typing dataclasses enum copy numbers"
).split()
MOST_SOURCE = 1 << 20
"""Maximum size of a program in bytes; a longer one is not run."""
TRIES = 3
"""How often a program is tried if its zygote dies while running it."""
HANG_S = 10.0
"""Seconds beyond a program's wall time after which its zygote is assumed to hang."""
SEED = 0


class Sandbox:
    """`async with Sandbox(options) as sandbox: outcome = await sandbox.run(source)`.

    Programs that import a preloaded third-party module run in separate zygotes, started for the first such
    program: the cost of forking grows with the memory that a zygote has touched.
    Mutable state: the pools.
    """

    def __init__(self, options: SandboxOptions | None = None, *, without: Sequence[str] = ()) -> None:
        """`without`: layers to leave out (namespaces, landlock, seccomp), for tests. Raises ValueError for a
        module to preload that is not installed."""
        self.options = options or SandboxOptions()
        self._without = tuple(without)
        heavy = {name for name in self.options.preload if _third_party(name)}
        light = [name for name in self.options.preload if name not in heavy]
        self._light = _Pool(self, [*PRELOAD, *light], ())
        self._heavy = _Pool(self, [*PRELOAD, *light, *sorted(heavy)], _folders(heavy)) if heavy else None
        self._imports_heavy = re.compile(rf"\b(?:import|from)\b[^\n]*\b(?:{'|'.join(heavy)})\b".encode())

    async def __aenter__(self) -> Self:
        """Raises SandboxUnavailable."""
        if self.options.backend == "native" and not sys.platform.startswith("linux"):
            raise SandboxUnavailable(
                "programs can only be locked in on Linux; run them in a container (sandbox.backend: docker or podman)"
            )
        await self._light.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in (self._light, self._heavy):
            if pool is not None:
                await pool.close()

    @property
    def level(self) -> Level:
        """The level that was found at the start."""
        return self._light.level

    @property
    def described(self) -> str:
        """The level as written in every record, preceded by the kind of container if there is one."""
        kind = self.options.backend
        return self.level if kind == "native" else f"{kind}:{self.level}"

    @property
    def layers(self) -> dict[str, Any]:
        return self._light.layers

    async def run(self, source: str | bytes) -> ProgramResult:
        """Raises SandboxUnavailable if the zygotes cannot be kept alive; a failed program is a result."""
        program = source.encode("utf-8", "replace") if isinstance(source, str) else source
        if len(program) > MOST_SOURCE:
            return ProgramResult("too_long", stderr=f"the program is longer than {MOST_SOURCE} bytes")
        heavy = self._heavy is not None and self._imports_heavy.search(program) is not None
        pool = self._heavy if heavy and self._heavy is not None else self._light
        outcome = await pool.run(program)
        if outcome.status == "timeout" and outcome.cpu_s > 0.05 * outcome.wall_s:
            # It was computing but did not get enough CPU: on a loaded machine wall time proves nothing.
            outcome = await pool.run(program, patience=3.0)
        return outcome


def _third_party(name: str) -> bool:
    """Whether a module is third-party. Raises ValueError if it is not installed."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return False
    if not top.isidentifier() or find_spec(top) is None:
        raise ValueError(f"sandbox.preload: {name!r} is not installed")
    return True


def _folders(names: set[str]) -> tuple[str, ...]:
    """The folders where these modules, and what they import in turn, are installed."""
    folders = set()
    for name in names:
        spec = find_spec(name.partition(".")[0])
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            folders.add(str(Path(place).parent))
    return tuple(sorted(folders))


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
        self._zygotes: list[ZygoteProcess | None] = [None] * self._count
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
            results = await asyncio.gather(*begun, return_exceptions=True)
            failures = [each for each in results if isinstance(each, BaseException)]
            if failures:
                await self.close()
                raise failures[0]

    async def close(self) -> None:
        zygotes, self._zygotes = self._zygotes, [None] * self._count
        await asyncio.gather(*(zygote.close() for zygote in zygotes if zygote is not None))

    async def run(self, program: bytes, patience: float = 1.0) -> ProgramResult:
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
            # The slot is free when the program has ended, not when its caller stops waiting.
            answer.add_done_callback(partial(self._release, index))
            try:
                return await self._awaited(zygote, answer, patience)
            except Died:
                continue  # another program may have killed the zygote
        return ProgramResult(
            "crash", stderr="the sandbox's own process ended each time while this program ran in it"
        )

    def _release(self, index: int, _: object) -> None:
        assert self._free is not None
        self._free.put_nowait(index)

    async def _awaited(
        self, zygote: ZygoteProcess, answer: asyncio.Future[ProgramResult], patience: float
    ) -> ProgramResult:
        try:
            async with asyncio.timeout(self._options.wall_s * patience + HANG_S):
                return await asyncio.shield(answer)
        except TimeoutError:
            zygote.kill()
            raise Died from None

    def _ask(self, program: bytes, patience: float) -> wire.Ask:
        o = self._options
        return wire.Ask(0, o.cpu_s, o.wall_s * patience, o.memory_mb, o.output_bytes, program)

    async def _alive(self, index: int) -> ZygoteProcess:
        """The zygote with this index; a new one if it has died. Raises SandboxUnavailable."""
        async with self._mending[index]:
            zygote = self._zygotes[index]
            if zygote is None or zygote.dead:
                if zygote is not None:
                    await zygote.close()
                zygote = self._zygotes[index] = await self._begun(index)
            return zygote

    async def _begun(self, index: int) -> ZygoteProcess:
        core = self._cores[index % len(self._cores)] if self._options.backend == "native" else None
        given = {
            "preload": self._preload,
            "readable": self._readable,
            "without": self._without,
            "seed": SEED,
            "core": core,
        }
        zygote = await ZygoteProcess.begun(command(self._options, given))
        try:
            await self._proved(zygote)
        except BaseException:
            await zygote.close()
            raise
        return zygote

    async def _proved(self, zygote: ZygoteProcess) -> None:
        """Raises SandboxUnavailable if the level is too low, or a canary breaks out."""
        level, required = level_of(zygote.layers), self._options.require
        if not tight_enough(level, required):
            raise SandboxUnavailable(
                f"programs can only be locked in at the level {level!r} here ({MISSING[level]}), and "
                f"{required!r} is required: {WAYS_OUT}"
            )
        if level != "limits-only":
            await self._try_canaries(zygote, level)
        self.level, self.layers = level, zygote.layers

    async def _try_canaries(self, zygote: ZygoteProcess, level: Level) -> None:
        for attempt, source in CANARIES.items():
            outcome = await started(zygote.ask(self._ask(source.encode(), 1.0)))
            if BREACH in outcome.stdout or outcome.status == "internal":
                raise SandboxUnavailable(
                    f"the sandbox (level {level!r}) does not hold: a program could {attempt}"
                    f"{f' ({outcome.stderr})' if outcome.stderr else ''}; run the programs in a container "
                    "(sandbox.backend: docker or podman)"
                )


__all__ = ["ProgramResult", "Sandbox", "SandboxOptions"]

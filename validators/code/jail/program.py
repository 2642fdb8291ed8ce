"""The forked process of one program: it gives up what it has left, then becomes the program."""

from __future__ import annotations

import atexit
import gc
import math
import os
import random
import resource
import signal
import sys
from dataclasses import dataclass
from types import ModuleType

from .kernel import NUMBERS, PR_SET_PDEATHSIG, libc, prctl, syscall
from .wire import Ask

SETUP_FAILED = signal.SIGUSR2
"""How a child says that it could not be locked in. No filtered program can send itself a signal."""
OUT_OF_MEMORY = 251
_OPEN_FILES = 64
_MB = 1 << 20


@dataclass(frozen=True)
class Cell:
    """What every child of a zygote is locked into. `filter` is the address of the seccomp filter, or 0."""

    zygote: int
    stdin: int
    base_mb: int
    """Address space of the zygote itself, MiB; a program's own bound comes on top."""
    seed: int
    filter: int


def become(ask: Ask, stdout: int, stderr: int, cell: Cell) -> None:
    """Run the program in this process. Does not return."""
    try:
        _lock_in(ask, stdout, stderr, cell)
        main = _fresh_main()
        if cell.filter:
            _install(cell.filter)
    except BaseException as error:  # whatever it was: without all its locks no program may start
        os.write(2, f"the sandbox could not be set up: {error!r}".encode())
        os.kill(os.getpid(), SETUP_FAILED)
        os._exit(250)
    os._exit(_executed(ask.source, main) & 255)


def _lock_in(ask: Ask, stdout: int, stderr: int, cell: Cell) -> None:
    for source, number in ((cell.stdin, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, number)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != cell.zygote:
        os._exit(250)  # the zygote died before the line above
    _limit(ask, cell.base_mb)
    os.closerange(3, 1 << 30)
    random.seed(cell.seed)  # the same in every run
    atexit._clear()


def _limit(ask: Ask, base_mb: int) -> None:
    seconds = max(1, math.ceil(ask.cpu_s))
    size = (base_mb + ask.memory_mb) * _MB
    limits = (
        (resource.RLIMIT_CPU, seconds, seconds + 1),  # the soft one can be ignored, the hard one not
        (resource.RLIMIT_AS, size, size),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    )
    for kind, soft, hard in limits:
        resource.setrlimit(kind, (soft, hard))


def _fresh_main() -> ModuleType:
    main = ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    sys.argv = ["program.py"]
    gc.enable()
    return main


def _install(address: int) -> None:
    syscall("seccomp", 1, 0, address)  # SECCOMP_SET_MODE_FILTER


def can_filter(address: int) -> bool:
    """Whether this kernel takes the filter; tried in a child, since it cannot be taken off again."""
    if "seccomp" not in NUMBERS:
        return False
    child = os.fork()
    if child == 0:
        try:
            _install(address)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _executed(source: bytes, main: ModuleType) -> int:
    """The exit code, as `python program.py` would have it."""
    code = 0
    try:
        exec(compile(source, "program.py", "exec", dont_inherit=True), main.__dict__)
    except SystemExit as end:
        code = _exit_code(end.code)
    except MemoryError:
        code = OUT_OF_MEMORY
        os.write(2, b"MemoryError")
    except BaseException:
        code = 1
        _shown()
    for last in (atexit._run_exitfuncs, _flush):
        try:
            last()
        except BaseException:
            code = code or 120
    return code


def _exit_code(given: object) -> int:
    if given is None or isinstance(given, int):
        return given or 0
    print(given, file=sys.stderr)
    return 1


def _shown() -> None:
    """The traceback on standard error, without the frame of this file."""
    kind, error, trace = sys.exc_info()
    try:
        assert kind is not None
        assert error is not None
        assert trace is not None
        sys.excepthook(kind, error.with_traceback(trace.tb_next), trace.tb_next)
    except BaseException:
        os.write(2, repr(kind).encode())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def forked() -> int:
    """fork(2) without Python's hooks around it. Right only in a process that has a single thread."""
    return int(libc.fork())

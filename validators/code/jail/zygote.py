"""The launcher and the zygote: from an ordinary process to a locked one that forks a child per program."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

from . import landlock, namespaces
from .kernel import (
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    SUPPORTED,
    drop_capabilities,
    prctl,
    unshare,
)
from .program import OUT_OF_MEMORY, SETUP_FAILED, Cell, become, can_filter, forked
from .seccomp import Filter
from .wire import (
    BLOCKED,
    CPU,
    CRASH,
    ERROR,
    INTERNAL,
    MEMORY,
    OK,
    OUTPUT,
    TIMEOUT,
    Ask,
    Told,
    asked,
    framed,
    take,
)

_WITHOUT_FILES = (
    "abc array ast base64 binascii calendar cmath colorsys contextlib csv fnmatch getpass glob graphlib hashlib"
    " inspect io keyword locale mmap pathlib pickle platform pprint queue secrets selectors shutil signal socket"
    " struct subprocess tempfile textwrap threading timeit tokenize types unicodedata uuid warnings zlib zoneinfo"
).split()
"""Imported beforehand where programs will not be able to open any file."""
_ALWAYS = (
    "traceback linecache encodings.utf_8 encodings.latin_1 encodings.idna _strptime _posixsubprocess".split()
)
"""What Python loads by itself on the way."""
_WARM = {
    "sympy": """
import sympy
x, y = sympy.symbols("x y")
sympy.solve(x**2 - 3 * x + 2, x)
sympy.solve([x + y - 3, x - y - 1], [x, y])
sympy.expand((x + 1) ** 3)
sympy.factor(x**2 - 1)
sympy.simplify((x**2 - 1) / (x - 1))
sympy.diff(sympy.sin(x), x)
sympy.integrate(x**2, (x, 0, 1))
sympy.limit(sympy.sin(x) / x, x, 0)
sympy.Matrix([[1, 2], [3, 4]]).inv()
sympy.factorint(360)
str(sympy.sqrt(8) + sympy.pi + sympy.Rational(1, 3).evalf())
"""
}
"""What a module does only when it is first used: done once, before any program comes."""
_CHUNK = 1 << 16


def main(options: dict[str, Any]) -> None:
    """Standard input and output are the front end's; they are moved away from programs' reach at once.

    `options`: preload (modules), readable (further folders), without (layers to leave out), seed, core.
    """
    control_in, control_out = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    base_mb = _preloaded(options["preload"])
    if options["core"] is not None:
        os.sched_setaffinity(0, {options["core"]})
    layers, filter_ = _locked(options, (control_in, control_out))
    stdin, write_end = os.pipe()
    os.close(write_end)  # every program finds the end of its input at once
    address = filter_.address if filter_ is not None else 0
    cell = Cell(os.getpid(), stdin, base_mb, options["seed"], address)
    gc.collect()
    gc.freeze()  # a collection in a child must not touch, and so copy, what all share
    gc.disable()
    os.write(control_out, framed(json.dumps(layers).encode()))
    Zygote(control_in, control_out, cell).serve()


def _preloaded(modules: list[str]) -> int:
    """Imports them. The address space taken then, in MiB."""
    _import_all(modules)
    _import_all(_ALWAYS)
    for name in {*modules} & {*_WARM} & {*sys.modules}:
        exec(_WARM[name], {})
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    return int(pages * resource.getpagesize() >> 20)


def _import_all(modules: list[str]) -> None:
    """Those that this Python was built with."""
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


# --- locking oneself in ----------------------------------------------------------------------------


def _locked(options: dict[str, Any], control: tuple[int, int]) -> tuple[dict[str, Any], Filter | None]:
    """Every layer that this system has, outermost first. Returns in the zygote: what holds, and the filter."""
    readable = [
        folder
        for folder in sorted({os.path.dirname(os.__file__), "/usr/share/zoneinfo", *options["readable"]})
        if os.path.isdir(folder)
    ]
    without = set(options["without"])
    root = os.geteuid() == 0
    layers: dict[str, Any] = {"root_user": root, "python": sys.version.split()[0], "refused": {}}
    _single_threaded()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    layers["namespaces"] = "namespaces" not in without and _tried(layers, "namespaces", namespaces.separate)
    if layers["namespaces"]:
        _into_pid_namespace(control)
    layers["private_root"] = layers["namespaces"] and _tried(
        layers, "private_root", lambda: namespaces.private_root(readable)
    )
    confinable = "landlock" not in without and landlock.abi() > 0
    if not layers["private_root"] and (root or not confinable):
        _import_all(_WITHOUT_FILES)  # programs will open nothing; nor will nobody, where Python is root's
    layers["landlock"] = landlock.restrict(readable) if confinable else 0
    files = bool(layers["private_root"] or layers["landlock"] or "seccomp" in without)
    layers["files"] = files
    if root:
        _leave_root()
        if layers["namespaces"]:
            _tried(layers, "user_namespace", lambda: unshare("user"))
    drop_capabilities()
    prctl(PR_SET_DUMPABLE, 0)  # processes of the same user cannot look into this one
    if layers["namespaces"]:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # set after leaving root, which clears it
    found = None
    if SUPPORTED and "seccomp" not in without:
        found = Filter(files=files)
        found = found if can_filter(found.address) else None
    layers["seccomp"] = found is not None
    return layers, found


def _single_threaded() -> None:
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        sys.exit(f"a preloaded module has started threads ({threads - 1}); forking would break them")


def _tried(layers: dict[str, Any], name: str, step: Any) -> bool:
    try:
        step()
    except (OSError, StopIteration) as error:
        layers["refused"][name] = str(error)
        return False
    return True


def _into_pid_namespace(control: tuple[int, int]) -> None:
    """Returns in PID 1 of the new namespace. This process stays outside and hands on how that one ends."""
    child = os.fork()
    if child == 0:
        return
    for descriptor in control:
        os.close(descriptor)
    _, status = os.waitpid(child, 0)
    os._exit(0 if status == 0 else 1)


def _leave_root() -> None:
    os.setgroups([])
    os.setresgid(namespaces.NOBODY, namespaces.NOBODY, namespaces.NOBODY)
    os.setresuid(namespaces.NOBODY, namespaces.NOBODY, namespaces.NOBODY)


# --- serving ---------------------------------------------------------------------------------------


class Job:
    """One program under way."""

    __slots__ = ("ask", "began", "deadline", "outputs", "pid", "pidfd", "why")

    def __init__(self, ask: Ask, pid: int, stdout: int, stderr: int) -> None:
        self.ask = ask
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.began = time.monotonic()
        self.deadline = self.began + ask.wall_s
        self.outputs = {stdout: bytearray(), stderr: bytearray()}
        self.why: int | None = None
        """Why it was killed, if it was."""


def fate(why: int | None, code: int, cpu_s: float, limit_s: float) -> int:
    """The status for how a process ended: `code` is its exit code, or minus the signal that ended it."""
    if why is not None:
        return why
    if code == 0:
        return OK
    if code > 0:
        return MEMORY if code == OUT_OF_MEMORY else ERROR
    match -code:
        case signal.SIGXCPU:
            return CPU
        case signal.SIGKILL:
            return CPU if cpu_s >= limit_s else MEMORY
        case signal.SIGSYS:
            return BLOCKED
        case number if number == SETUP_FAILED:
            return INTERNAL
    return CRASH


class Zygote:
    """Forks a child for each Ask, reads what it prints, kills it when its time is up, tells how it ended.

    Mutable state: the jobs under way, and what is still to be read from or written to the front end.
    """

    def __init__(self, control_in: int, control_out: int, cell: Cell) -> None:
        self._in, self._out, self._cell = control_in, control_out, cell
        self._jobs: dict[int, Job] = {}
        """By each of their descriptors: the pidfd and the pipes still open."""
        self._running: dict[int, Job] = {}
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._poll = select.epoll()
        for descriptor in (control_in, control_out):
            os.set_blocking(descriptor, False)
        self._poll.register(control_in, select.EPOLLIN)
        self._out_watched = False

    def serve(self) -> None:
        """Until the front end is gone. As PID 1 this process takes every program with it."""
        while True:
            for descriptor, _ in self._poll.poll(self._patience()):
                if descriptor == self._in:
                    self._receive()
                elif descriptor == self._out:
                    self._send(b"")
                elif (job := self._jobs.get(descriptor)) is not None:
                    if descriptor == job.pidfd:
                        self._finish(job)
                    else:
                        self._read(job, descriptor)
            self._kill_overdue()

    def _patience(self) -> float | None:
        """Seconds until the next deadline."""
        if not self._running:
            return None
        nearest = min(job.deadline for job in self._running.values())
        return max(0.0, nearest - time.monotonic()) + 0.001

    def _receive(self) -> None:
        try:
            data = os.read(self._in, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._end()
        self._incoming += data
        while (frame := take(self._incoming)) is not None:
            self._start(asked(frame))

    def _end(self) -> None:
        for job in self._running.values():
            self._kill(job, INTERNAL)
        os._exit(0)

    def _start(self, ask: Ask) -> None:
        try:
            out_read, out_write = os.pipe2(os.O_CLOEXEC)
            err_read, err_write = os.pipe2(os.O_CLOEXEC)
            pid = forked()
            if pid == 0:
                self._forget_others()
                become(ask, out_write, err_write, self._cell)
            if pid < 0:
                raise OSError("no process could be made")
            os.close(out_write)
            os.close(err_write)
            job = Job(ask, pid, out_read, err_read)
        except OSError as error:
            self._send(Told(ask.number, INTERNAL, 0, 0.0, 0.0, b"", str(error).encode()).packed())
            return
        self._running[pid] = job
        for descriptor in (job.pidfd, out_read, err_read):
            os.set_blocking(descriptor, False)
            self._jobs[descriptor] = job
            self._poll.register(descriptor, select.EPOLLIN)

    def _forget_others(self) -> None:
        """In the child: what other programs are and print is not this one's to see."""
        self._jobs.clear()
        self._running.clear()
        self._incoming.clear()
        self._outgoing.clear()

    def _read(self, job: Job, descriptor: int) -> bool:
        """Reads one piece of output; False if there is no more for now."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        kept = job.outputs[descriptor]
        room = job.ask.output_bytes - len(kept)
        kept += data[: max(0, room)]
        if data and len(data) <= room:
            return True
        if data:
            self._kill(job, OUTPUT)
        self._forget(descriptor)
        return False

    def _forget(self, descriptor: int) -> None:
        del self._jobs[descriptor]
        os.close(descriptor)  # which takes it out of the epoll set as well

    def _kill(self, job: Job, why: int) -> None:
        if job.why is None:
            job.why = why
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(job.pidfd, signal.SIGKILL)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for job in self._running.values():
            if job.deadline <= now:
                self._kill(job, TIMEOUT)
                job.deadline = now + 1.0

    def _finish(self, job: Job) -> None:
        pid, status, used = os.wait4(job.pid, os.WNOHANG)
        if pid == 0:
            return  # an event of an earlier descriptor with this number
        wall = time.monotonic() - job.began
        for descriptor in job.outputs:
            # By now the number may be another job's, if this one had closed its end before.
            while self._jobs.get(descriptor) is job and self._read(job, descriptor):
                pass
            if self._jobs.get(descriptor) is job:
                self._forget(descriptor)
        self._forget(job.pidfd)
        del self._running[job.pid]
        code = os.waitstatus_to_exitcode(status)
        cpu = used.ru_utime + used.ru_stime
        stdout, stderr = map(bytes, job.outputs.values())
        ended = fate(job.why, code, cpu, job.ask.cpu_s)
        self._send(Told(job.ask.number, ended, code, cpu, wall, stdout, stderr).packed())

    def _send(self, data: bytes) -> None:
        """Never waits: a slow front end must not stop the programs' clocks."""
        self._outgoing += data
        try:
            while self._outgoing:
                del self._outgoing[: os.write(self._out, self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._end()
        if bool(self._outgoing) != self._out_watched:
            self._watch_out(bool(self._outgoing))

    def _watch_out(self, wanted: bool) -> None:
        self._out_watched = wanted
        if wanted:
            self._poll.register(self._out, select.EPOLLOUT)
        else:
            self._poll.unregister(self._out)

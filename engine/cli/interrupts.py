"""Signals of a command while no run listens itself: exit code 130 and one sentence, however early they come."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
ENDING = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal that a command is unwound by. CPython ends a process by SIGINT once a KeyboardInterrupt of exactly that
    class has left an exec(), which dataclasses use, even where it was caught; it does not so for another class.
    """


def leaving() -> None:
    """While modules are loaded, a signal ends the process: nothing is open, and a module could swallow an exception."""
    _heard_by(_leave, instead_of=None)


def unwinding() -> None:
    """From here on a signal is Interrupted, raised wherever the command is; not in a process that others started."""
    _heard_by(_interrupt, instead_of=_leave)


def over() -> None:
    """From here on no signal changes a thing: what is left is to say how it went, and to exit with that code.

    CPython gives a handler of ours up before the process has ended, but not that a signal is ignored.
    """
    if any(signal.getsignal(number) in (_leave, _interrupt) for number in ENDING):
        for number in (*ENDING, getattr(signal, "SIGHUP", signal.SIGTERM)):
            signal.signal(number, signal.SIG_IGN)


def _heard_by(heard: Callable[[int, FrameType | None], NoReturn], instead_of: object) -> None:
    for number in ENDING:
        before = signal.getsignal(number)
        if before is not signal.SIG_IGN and instead_of in (
            None,
            before,
        ):  # ignored: whoever started us wants it so
            signal.signal(number, heard)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, b"datagen: interrupted\n")
    os._exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted

"""The frames between the front end and a zygote: length first, then a fixed head, then bytes."""

from __future__ import annotations

import struct
from typing import NamedTuple

_ASK = struct.Struct("<IIffII")
_TOLD = struct.Struct("<IIBiffII")
_LENGTH = struct.Struct("<I")

STATUSES = ("ok", "error", "cpu", "timeout", "memory", "output", "blocked", "crash", "internal")
OK, ERROR, CPU, TIMEOUT, MEMORY, OUTPUT, BLOCKED, CRASH, INTERNAL = range(9)


class Ask(NamedTuple):
    """A program to run: CPU and wall seconds, MiB beyond the zygote's own, bytes of each output."""

    number: int
    cpu_s: float
    wall_s: float
    memory_mb: int
    output_bytes: int
    source: bytes

    def packed(self) -> bytes:
        head = _ASK.pack(
            _ASK.size + len(self.source), self.number, self.cpu_s, self.wall_s, self.memory_mb, self.output_bytes
        )  # fmt: skip
        return head + self.source


class Told(NamedTuple):
    """How it ended. `code` is the exit code, or minus the signal."""

    number: int
    status: int
    code: int
    cpu_s: float
    wall_s: float
    stdout: bytes
    stderr: bytes

    def packed(self) -> bytes:
        size = _TOLD.size + len(self.stdout) + len(self.stderr)
        head = _TOLD.pack(
            size, self.number, self.status, self.code, self.cpu_s, self.wall_s,
            len(self.stdout), len(self.stderr),
        )  # fmt: skip
        return head + self.stdout + self.stderr


def framed(content: bytes) -> bytes:
    """A frame of plain bytes: a zygote's first word."""
    return _LENGTH.pack(_LENGTH.size + len(content)) + content


def take(buffer: bytearray) -> bytes | None:
    """The first whole frame, taken out of the buffer."""
    if len(buffer) < _LENGTH.size:
        return None
    [size] = _LENGTH.unpack_from(buffer)
    if len(buffer) < size:
        return None
    frame = bytes(buffer[:size])
    del buffer[:size]
    return frame


def content(frame: bytes) -> bytes:
    return frame[_LENGTH.size :]


def asked(frame: bytes) -> Ask:
    _, number, cpu, wall, memory, output = _ASK.unpack_from(frame)
    return Ask(number, cpu, wall, memory, output, frame[_ASK.size :])


def told(frame: bytes) -> Told:
    _, number, status, code, cpu, wall, out, err = _TOLD.unpack_from(frame)
    middle = _TOLD.size + out
    return Told(number, status, code, cpu, wall, frame[_TOLD.size : middle], frame[middle : middle + err])

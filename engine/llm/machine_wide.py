"""The Coordinator of one machine: runs of the same user share each endpoint's rate through a small file."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from engine.errors import StoreError
from engine.llm.pacing import CATCH_UP_S, PERIOD, Clock

#  The file: a head of three doubles (magic, earned, held), then a ring of 601 pairs of doubles (slot number, amount).
#  Slot n holds what left between n and n + 1 tenths of a second of the machine's monotonic clock, so a minute is
#  600 slots and the one that has begun. All runs read and write it under an advisory lock; nobody owns it, so
#  nothing is lost with a run that is killed.

_SLOT_S = 0.1
_SLOTS = round(PERIOD / _SLOT_S) + 1
_HEAD = struct.Struct("<3d")
_PAIR = struct.Struct("<2d")
_SIZE = _HEAD.size + _SLOTS * _PAIR.size
_MAGIC = 20260.1
_BUSY_S = 0.002
"""To wait where another run holds the lock, which it does for some microseconds."""


def runtime_folder() -> Path:
    """Where this user's programs leave what lives as long as the machine is up; nobody else can look in.

    Raises StoreError where somebody else has made it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "datagen" if base else Path(tempfile.gettempdir()) / f"datagen-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made: {error.strerror or error}") from error
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise StoreError(f"{folder}: belongs to somebody else, or others may write there; remove it")
    return folder


class MachineWide:
    """A Coordinator: all runs of this user that name it keep one rate for each endpoint and key."""

    def __init__(self, folder: Path | None = None, clock: Clock = time.monotonic) -> None:
        """Raises StoreError. `clock` must be the same for all processes: the machine's monotonic one is."""
        self._folder = folder or runtime_folder()
        self._clock = clock

    def rate(self, endpoint: str, kind: str, per_minute: float) -> SharedPace:
        """Raises StoreError where the file cannot be had."""
        return SharedPace(self._folder / f"{endpoint}.{kind}", per_minute, self._clock)


class SharedPace:
    """A Rate: the log of the last minute and the even spread of `Pace`, kept where other runs see them.

    Each run keeps to the limit that it was told, counting what all of them sent. A limit below one a minute is
    one a minute here. Mutable state: the file.
    """

    def __init__(self, path: Path, per_minute: float, clock: Clock = time.monotonic) -> None:
        self._limit = max(1, int(per_minute))
        self._rate = self._limit / PERIOD
        self._clock = clock
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            self._file = os.open(path, flags, 0o600)
            if os.fstat(self._file).st_size != _SIZE:
                os.ftruncate(self._file, _SIZE)
            self._map = mmap.mmap(self._file, _SIZE)
        except OSError as error:
            raise StoreError(f"{path}: cannot be shared: {error.strerror or error}") from error

    def wait(self, amount: int = 1) -> float:
        """Seconds until so much may go; 0 for now."""
        with self._locked() as free:
            return self._wait(min(amount, self._limit)) if free else _BUSY_S

    def take(self, amount: int = 1) -> tuple[float, int]:
        """(slot, amount). Waits for the lock, which others hold for some microseconds."""
        amount = min(amount, self._limit)
        with self._locked(wait=True):
            now = self._clock()
            earned, held = self._read(now)
            slot = float(int(now / _SLOT_S))
            self._add(slot, amount)
            self._write(max(earned, now) + amount / self._rate, held + amount)
        return slot, amount

    def give_back(self, entry: tuple[float, int], taken: int, used: int) -> None:
        """Correct what was entered to what was really used."""
        slot, amount = entry
        with self._locked(wait=True):
            now = self._clock()
            earned, held = self._read(now)
            if self._add(slot, used - amount, only=True):
                held += used - amount
            self._write(earned - (amount - used) / self._rate, held)

    def close(self) -> None:
        self._map.close()
        os.close(self._file)

    def _wait(self, amount: int) -> float:
        now = self._clock()
        earned, held = self._read(now)
        until = 0.0
        if (excess := held + amount - self._limit) > 0:
            for slot, gone in self._oldest_first(now):
                excess -= gone
                until = (slot + _SLOTS) * _SLOT_S
                if excess <= 0:
                    break
        return max(earned - CATCH_UP_S - now, until - now, 0.0)

    # --- the file; only under the lock ---

    @contextlib.contextmanager
    def _locked(self, *, wait: bool = False) -> Iterator[bool]:
        """True while the lock is ours; without `wait`, False where another has it."""
        import fcntl  # the other systems have no such lock, and need no such file

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _read(self, now: float) -> tuple[float, float]:
        """(when all that has left is earned, what the last minute holds), the older forgotten."""
        magic, earned, _ = _HEAD.unpack_from(self._map, 0)
        if magic != _MAGIC or earned > now + 2 * PERIOD:  # new, or of before the machine was started anew
            self._map[:] = bytes(_SIZE)
            return 0.0, 0.0
        return earned, sum(amount for _, amount in self._oldest_first(now))

    def _write(self, earned: float, held: float) -> None:
        _HEAD.pack_into(self._map, 0, _MAGIC, earned, held)

    def _oldest_first(self, now: float) -> list[tuple[float, float]]:
        least = int(now / _SLOT_S) - _SLOTS + 1
        pairs = _PAIR.iter_unpack(self._map[_HEAD.size : _SIZE])
        return sorted((slot, amount) for slot, amount in pairs if slot >= least and amount)

    def _add(self, slot: float, amount: int, *, only: bool = False) -> bool:
        """`only` where the slot still stands."""
        at = _HEAD.size + int(slot) % _SLOTS * _PAIR.size
        found, held = _PAIR.unpack_from(self._map, at)
        if found == slot:
            _PAIR.pack_into(self._map, at, slot, held + amount)
        elif not only:
            _PAIR.pack_into(self._map, at, slot, float(amount))
        return bool(found == slot)

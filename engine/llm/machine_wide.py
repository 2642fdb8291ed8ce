"""The Coordinator of one machine: runs of the same user share each endpoint's rate through a small file."""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from engine.errors import StoreError
from engine.llm.pacing import CATCH_UP_S, PERIOD, Clock

#  The file: doubles. Four in front (magic, earned, held, newest), then a ring of 601 amounts. Slot n of the ring holds
#  what left in the tenth of a second n of the machine's monotonic clock, so a minute is 600 slots and the one that
#  has begun; `newest` is the last that was written, `held` the sum. All runs read and write it under an advisory
#  lock; nobody owns it, so nothing is lost with a run that is killed.

_SLOT_S = 0.1
_SLOTS = round(PERIOD / _SLOT_S) + 1
_MAGIC_AT, _EARNED, _HELD, _NEWEST, _RING = range(5)
_SIZE = (_RING + _SLOTS) * 8
_MAGIC = 20260.2
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
        self._at = memoryview(self._map).cast("d")

    def wait(self, amount: int = 1) -> float:
        """Seconds until so much may go; 0 for now."""
        with self._locked() as free:
            return self._wait(min(amount, self._limit)) if free else _BUSY_S

    def take(self, amount: int = 1) -> int | None:
        """The slot; None where another run was quicker. Waits for the lock, which is held for microseconds."""
        amount = min(amount, self._limit)
        with self._locked(wait=True):
            if self._wait(amount) > 0:
                return None
            now = self._clock()
            slot = self._forget(now)
            self._at[_EARNED] = max(self._at[_EARNED], now) + amount / self._rate
            self._at[_RING + slot % _SLOTS] += amount
            self._at[_HELD] += amount
        return slot

    def give_back(self, entry: int, taken: int, used: int) -> None:
        """Correct what `take(taken)` entered to what was really used."""
        difference = min(taken, self._limit) - used
        with self._locked(wait=True):
            if self._forget(self._clock()) - entry < _SLOTS:
                self._at[_RING + entry % _SLOTS] -= difference
                self._at[_HELD] -= difference
            self._at[_EARNED] -= difference / self._rate

    def close(self) -> None:
        self._at.release()
        self._map.close()
        os.close(self._file)

    def _wait(self, amount: int) -> float:
        now = self._clock()
        slot = self._forget(now)
        until = 0.0
        if (excess := self._at[_HELD] + amount - self._limit) > 1e-9:
            for past in range(slot - _SLOTS + 1, slot + 1):
                excess -= self._at[_RING + past % _SLOTS]
                until = (past + _SLOTS) * _SLOT_S
                if excess <= 1e-9:
                    break
        return max(self._at[_EARNED] - CATCH_UP_S - now, until - now, 0.0)

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

    def _forget(self, now: float) -> int:
        """The slot of now; those of more than a minute ago are emptied."""
        at, slot = self._at, int(now / _SLOT_S)
        newest = int(at[_NEWEST])
        old = at[_MAGIC_AT] != _MAGIC or newest > slot
        if old or slot - newest >= _SLOTS:  # new, of before the machine was started anew, or long ago
            earned = 0.0 if old else at[_EARNED]
            self._map[:] = bytes(_SIZE)
            at[_MAGIC_AT], at[_EARNED], at[_NEWEST] = _MAGIC, earned, slot
            return slot
        for gone in range(newest + 1, slot + 1):
            at[_HELD] -= at[_RING + gone % _SLOTS]
            at[_RING + gone % _SLOTS] = 0.0
        at[_NEWEST] = slot
        return slot

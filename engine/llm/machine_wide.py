"""The Coordinator for one machine: runs of the same user share each endpoint's rate through a small file."""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from engine.errors import StoreError
from engine.llm.pacing import CATCH_UP_S, PERIOD, Clock

#  The file holds doubles: four at the front (magic, earned, held, newest), then a ring of 601 amounts. Slot n
#  holds what was sent in tenth of a second n of the machine's monotonic clock. A minute is 600 slots and the
#  one that has begun; `newest` is the last slot written, `held` the sum. All runs read and write the file
#  under an advisory lock; no run owns it, so nothing is lost when a run is killed.
#
#  No run waits for the lock: it is held for microseconds, and a run's event loop has other work. A process
#  that is stopped while it holds the lock would keep it, so after STALE_S another process replaces the file by a
#  copy, and all runs switch to that; the stopped one too, once it continues.

_SLOT_S = 0.1
_SLOTS = round(PERIOD / _SLOT_S) + 1
_MAGIC_AT, _EARNED, _HELD, _NEWEST, _RING = range(5)
_SIZE = (_RING + _SLOTS) * 8
_MAGIC = 20260.2
_BUSY_S = 0.002
"""Seconds to wait while another run holds the lock, which takes some microseconds."""
STALE_S = 1.0
"""Seconds after which the holder of the lock is assumed to be stopped."""
_GAP_S = 0.25
"""Seconds without a refusal after which the lock may have been free in between."""
_CHECK_S = 0.5
"""Seconds between two checks whether the file has been replaced."""


def runtime_folder() -> Path:
    """The private folder for this user's files that need not survive a reboot.

    Raises StoreError if it cannot be made, belongs to another user, or is open to others.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "datagen" if base else Path(tempfile.gettempdir()) / f"datagen-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made: {error.strerror or error}") from error
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or folder.is_symlink():
        raise StoreError(f"{folder}: belongs to somebody else, or others may write there; remove it")
    return folder


class MachineWide:
    """A Coordinator: all runs of this user that use it share one rate for each endpoint and key.

    Mutable state: the rates whose files are open.
    """

    def __init__(self, folder: Path | None = None, clock: Clock = time.monotonic) -> None:
        """Raises StoreError. `clock` must be the same in all processes, as the monotonic clock is."""
        self._folder = folder or runtime_folder()
        self._clock = clock
        self._rates: list[SharedGcra] = []

    def rate(self, endpoint: str, kind: str, per_minute: float) -> SharedGcra:
        """The shared rate. Raises StoreError if its file cannot be opened."""
        rate = SharedGcra(self._folder / f"{endpoint}.{kind}", per_minute, self._clock)
        self._rates.append(rate)
        return rate

    def close(self) -> None:
        """Closes the rates' files."""
        for rate in self._rates:
            rate.close()
        self._rates.clear()


class SharedGcra:
    """A Rate: the log of the last minute and the even spread of `Gcra`, in a file that other runs share.

    Each run keeps to its own limit, counting what all runs sent. A limit below one per minute is one per
    minute here. Mutable state: the file; the limit; corrections that wait for the lock; since when another
    holds it.
    """

    def __init__(self, path: Path, per_minute: float, clock: Clock = time.monotonic) -> None:
        """Raises StoreError."""
        self._path = path
        self._limit, self._rate = _spread(per_minute)
        self._clock = clock
        self._file = _Mapped(path)
        self._corrections: list[tuple[int, int]] = []
        self._busy_since: float | None = None
        self._refused = 0.0
        self._checked = time.monotonic()

    def change(self, per_minute: float) -> None:
        """Keeps to another limit from now on; what all runs sent in the last minute still counts."""
        self._limit, self._rate = _spread(per_minute)

    def wait(self, amount: int = 1) -> float:
        """Seconds until `amount` may be sent; 0 if now."""
        with self._locked() as at:
            return self._wait(at, min(amount, self._limit)) if at is not None else _BUSY_S

    def take(self, amount: int = 1) -> tuple[int, int] | None:
        """The slot and the amount; None if another run was quicker or holds the lock."""
        amount = min(amount, self._limit)
        with self._locked() as at:
            if at is None or self._wait(at, amount) > 0:
                return None
            now = self._clock()
            slot = self._forget(at, now)
            at[_EARNED] = max(at[_EARNED], now) + amount / self._rate
            at[_RING + slot % _SLOTS] += amount
            at[_HELD] += amount
            return slot, amount

    def give_back(self, entry: tuple[int, int], used: int) -> None:
        """Corrects an entry to the amount really used: now, or with the next lock."""
        slot, amount = entry
        self._corrections.append((slot, amount - used))
        with self._locked():
            pass

    def close(self) -> None:
        self._file.close()

    def _wait(self, at: memoryview[float], amount: int) -> float:
        now = self._clock()
        slot = self._forget(at, now)
        until = 0.0
        if (excess := at[_HELD] + amount - self._limit) > 1e-9:
            for past in range(slot - _SLOTS + 1, slot + 1):
                excess -= at[_RING + past % _SLOTS]
                until = (past + _SLOTS) * _SLOT_S
                if excess <= 1e-9:
                    break
        return max(at[_EARNED] - CATCH_UP_S - now, until - now, 0.0)

    def _correct(self, at: memoryview[float]) -> None:
        for slot, difference in self._corrections:
            if self._forget(at, self._clock()) - slot < _SLOTS:
                at[_RING + slot % _SLOTS] -= difference
                at[_HELD] -= difference
            at[_EARNED] -= difference / self._rate
        self._corrections.clear()

    # --- the file ---

    @contextlib.contextmanager
    def _locked(self) -> Iterator[memoryview[float] | None]:
        """The file's doubles while this run holds the lock; None if another run holds it."""
        now = time.monotonic()
        if now - self._checked > _CHECK_S:
            self._checked = now
            self._follow()
        if not self._file.lock():
            self._busy(now)
            yield None
            return
        try:
            self._busy_since = None
            if self._corrections:
                self._correct(self._file.at)
            yield self._file.at
        finally:
            self._file.unlock()

    def _busy(self, now: float) -> None:
        # A run that asks rarely may meet the lock twice by chance; only one that keeps asking knows it is stuck.
        seldom, self._refused = now - self._refused > _GAP_S, now
        if self._busy_since is None or seldom:
            self._busy_since = now
        elif now - self._busy_since > STALE_S:
            self._busy_since = None
            self._take_over()

    def _follow(self) -> None:
        """Switches to the new file if another run has replaced this one."""
        if self._file.replaced():
            self._file.close()
            self._file = _Mapped(self._path)

    def _take_over(self) -> None:
        """Replaces the file by a copy, since the holder of its lock is stopped. Raises StoreError."""
        if self._file.replaced():
            self._follow()
            return
        own = self._path.with_name(f"{self._path.name}.{secrets.token_hex(6)}")
        copy = _Mapped(own)
        copy.fill(self._file)
        copy.renamed(self._path)
        self._file.close()
        self._file = copy
        self._checked = 0.0  # another run may have done the same at the same time: the last one's file counts

    def _forget(self, at: memoryview[float], now: float) -> int:
        """The present slot; empties the slots of more than a minute ago."""
        slot = int(now / _SLOT_S)
        newest = int(at[_NEWEST])
        old = at[_MAGIC_AT] != _MAGIC or newest > slot
        if old or slot - newest >= _SLOTS:  # a new file, one from before a reboot, or an old one
            earned = 0.0 if old else at[_EARNED]
            self._file.clear()
            at[_MAGIC_AT], at[_EARNED], at[_NEWEST] = _MAGIC, earned, slot
            return slot
        for gone in range(newest + 1, slot + 1):
            at[_HELD] -= at[_RING + gone % _SLOTS]
            at[_RING + gone % _SLOTS] = 0.0
        at[_NEWEST] = slot
        return slot


def _spread(per_minute: float) -> tuple[int, float]:
    """(amount in a minute, amount per second)."""
    limit = max(1, int(per_minute))
    return limit, limit / PERIOD


class _Mapped:
    """The file, open and mapped into memory, with its lock."""

    def __init__(self, path: Path) -> None:
        """Creates the file if it does not exist. Raises StoreError."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            self._file = os.open(path, flags, 0o600)
            if os.fstat(self._file).st_size != _SIZE:
                os.ftruncate(self._file, _SIZE)
            self._map = mmap.mmap(self._file, _SIZE)
        except OSError as error:
            raise StoreError(f"{path}: cannot be shared: {error.strerror or error}") from error
        self._path = path
        self.at = memoryview(self._map).cast("d")

    def lock(self) -> bool:
        """Takes the lock. False if another process holds it."""
        import fcntl  # exists only on POSIX; other systems do not use this file

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        import fcntl

        fcntl.flock(self._file, fcntl.LOCK_UN)

    def replaced(self) -> bool:
        """Whether another file has this one's path; False if no file has it."""
        try:
            there = self._path.stat()
        except OSError:
            return False
        here = os.fstat(self._file)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def renamed(self, path: Path) -> None:
        """Moves it to `path`, in place of the file there."""
        self._path.replace(path)
        self._path = path

    def fill(self, other: _Mapped) -> None:
        """Copies another file and recomputes its sum: the lock's holder may have stopped half-way."""
        self._map[:] = other._map[:]
        self.at[_HELD] = sum(self.at[_RING:])

    def clear(self) -> None:
        self._map[:] = bytes(_SIZE)

    def close(self) -> None:
        self.at.release()
        self._map.close()
        os.close(self._file)

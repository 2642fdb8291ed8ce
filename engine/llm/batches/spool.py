"""Writes calls whose answers come later into the files of parts, while a pass goes over the journal."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import orjson

from engine.errors import DiskFull, StoreError
from engine.items import Prompt
from engine.llm.batches.door import Door, Request
from engine.llm.batches.part import Asked, Book, Part, State
from engine.llm.charges import Sizes
from engine.llm.endpoint import Endpoint
from engine.llm.prices import Price

RESULTS = ".results.jsonl"
"""In place of a part's `.jsonl`: where a program of one's own writes its answers."""
UNFINISHED = ".unfinished"
"""In place of a part's `.jsonl` while it is written."""
FOLDER = "batches"
"""Of the run folder, for the files of parts."""
_TOGETHER = 256
"""Rows of calls in one submission to the journal."""


class Pace(NamedTuple):
    """How a provider is waited for, in seconds."""

    first: float = 10.0
    """Between two looks, at first ..."""
    longest: float = 300.0
    """... and where nothing has changed for long."""
    grace: float = 60.0
    """After a batch was asked for and no reply came, until it is looked for: so long it may take to be listed."""


@dataclass(frozen=True)
class Lane:
    """One endpoint whose calls can travel in batches."""

    name: str
    """The same in every start."""
    door: Door
    endpoint: Endpoint
    price: Price
    """Of calls in a batch."""
    pace: Pace
    lasting: bool = True
    """Whether its batches outlive this process; a simulated endpoint's end with it."""


class Spool:
    """The part that is being written for one lane.

    Mutable state: the file, what is in it, the rows that the journal has not been given yet.
    """

    def __init__(self, run: Path, lane: Lane, book: Book, wave: int, number: int) -> None:
        """Raises StoreError."""
        self._book = book
        self._lane = lane
        name = f"part-{number:05}.jsonl"
        self._path = run / FOLDER / name
        with translated(self._path):
            self._path.parent.mkdir(exist_ok=True)
            self._file = self._path.with_suffix(UNFINISHED).open("wb")
        self._digest = hashlib.sha256()
        self._rows: list[Asked] = []
        self.part = Part(
            number, wave, lane.name, State.SPOOLED, f"{FOLDER}/{name}", "", 0, 0, 0, f"{book.nonce}-{number}"
        )
        book.begin(self.part)

    def room(self, line: int, most_calls: int) -> bool:
        """Whether a further line of so many bytes belongs to this part."""
        most = self._lane.door.capacity
        return self.part.calls < min(most.calls, most_calls) and self.part.bytes + line <= most.bytes

    @property
    def next_id(self) -> str:
        """Of the next call; longer ids, or other characters, are refused by some providers."""
        return f"{self.part.tag}-{self.part.calls}"

    def add(self, call: Asked, line: bytes, worst: int) -> None:
        """Raises StoreError."""
        whole = line + b"\n"
        with translated(self._path):
            self._file.write(whole)
        self._digest.update(whole)
        self._rows.append(call)
        part = self.part
        self.part = replace(
            part,
            calls=part.calls + 1,
            bytes=part.bytes + len(whole),
            worst=part.worst + worst,
            terms=part.terms
            if call.purpose in part.terms
            else {**part.terms, call.purpose: self._lane.door.terms(call.purpose)},
        )
        if len(self._rows) >= _TOGETHER:
            self._submit()

    def _submit(self) -> None:
        self._book.append(self._rows)
        self._rows = []

    async def close(self) -> Part:
        """The part, whose file and calls are on disk. Raises StoreError."""
        self._submit()
        with translated(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._path.with_suffix(UNFINISHED).rename(self._path)  # whoever finds it there finds all of it
        self.part = replace(self.part, sha=self._digest.hexdigest())
        await self._book.put(self.part)
        return self.part

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


def asked(
    id: str, part: int, n: int, prompt: Prompt, request: Request, bound: int, tries: int, *, shortened: bool
) -> Asked:
    """A call as the journal knows it."""
    text = prompt.system + prompt.user
    least, upper = Sizes.of(text)
    sent = orjson.dumps(request.sent).decode() if request.sent else ""
    return Asked(
        id, part, n, prompt.key, prompt.purpose, prompt.batch, prompt.owner, prompt.model, len(text), bound,
        request.limit, prompt.max_tokens, least, upper, sent, tries, shortened,
    )  # fmt: skip


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """The system's errors about a file as the engine's. Raises StoreError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{path}: no space left for the calls of a batch; free some and resume") from error
        raise StoreError(f"{path}: {error.strerror or error}") from error

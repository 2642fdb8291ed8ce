"""What those who bring batches through share: the book, the money, the files, the clock, the events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.llm.accounts import Accounts
from engine.llm.batches.part import Book, Part, State
from engine.llm.batches.spool import Lane
from engine.llm.budget import Budget
from engine.llm.pacing import Clock

Record = Callable[[str, str, str], None]
"""Called with (endpoint, kind, sentence) for events that users should know."""


@dataclass
class Watched:
    """What a start knows of a part besides what is on disk. Mutable."""

    missed: int = 0
    """Looks in a row at which its provider did not know its batch."""
    not_before: float = 0.0
    """Seconds since the epoch before which nothing more is tried."""
    cancelled: bool = False


@dataclass
class Keeping:
    """Mutable state: what is watched."""

    book: Book
    budget: Budget
    accounts: Accounts
    folder: Path
    """The run's."""
    start: int
    record: Record
    wall: Clock
    """Seconds since the epoch."""
    watched: dict[int, Watched] = field(default_factory=dict)

    def watch(self, part: Part) -> Watched:
        return self.watched.setdefault(part.number, Watched())

    def tell(self, lane: Lane, sentence: str) -> None:
        self.record(lane.door.name, "batch", sentence)

    async def void(self, part: Part) -> None:
        """Nothing of it was answered, and nothing is owed."""
        await self.book.put(replace(part, state=State.VOID))
        self.budget.take_back(part.worst)
        self.forget(part)

    def forget(self, part: Part) -> None:
        """Its file is not needed any more."""
        (self.folder / part.file).unlink(missing_ok=True)

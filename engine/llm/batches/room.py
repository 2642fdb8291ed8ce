"""Room at a provider: a part waits for others to end, or is halved where it is too large by itself."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.llm.batches.keeping import Keeping
from engine.llm.batches.part import Part, State
from engine.llm.batches.spool import Lane, translated


class Room:
    """Mutable state: lanes that are full, and since when; lanes that have been."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._full: dict[str, tuple[float, int]] = {}
        self._crowded: set[str] = set()

    def is_crowded(self, lane: Lane) -> bool:
        """Whether there was none once: then parts go one at a time, or all of them are refused together for ever."""
        return lane.name in self._crowded

    def waits(self, lane: Lane) -> bool:
        """Whether a part is not worth trying now."""
        if self.is_crowded(lane) and self._unjudged(lane):
            return True
        since, made = self._full.get(lane.name, (0.0, 0))
        if made and self.made(lane) == made and self._keeping.wall() < since + 2 * lane.pace.longest:
            return True
        self._full.pop(lane.name, None)
        return False

    def made(self, lane: Lane) -> int:
        """How many batches the provider works on."""
        return len(self._batches(lane))

    def _unjudged(self, lane: Lane) -> bool:
        """Whether the provider has not looked at one of the batches yet: it may still have no room for it."""
        return any(not part.counts.get("total") for part in self._batches(lane))

    def _batches(self, lane: Lane) -> list[Part]:
        return [part for part in self._keeping.book.parts(State.CREATED) if part.endpoint == lane.name]

    async def refused(self, lane: Lane, part: Part, said: str) -> None:
        """A part found no room: it waits where others take it; without any, it is too large. Raises StoreError."""
        self._crowded.add(lane.name)
        made = self.made(lane) - (part.state is State.CREATED)
        part = replace(part, state=State.UPLOADED, batch_id="")
        now = self._keeping.wall()
        if made or part.calls == 1:
            await self._keeping.book.put(part)
            self._full[lane.name] = now, made
            self._keeping.watch(part).not_before = now + lane.pace.first
            return
        await self._halve(part)
        self._keeping.tell(lane, f"part {part.number} is halved: {said[:300]}")

    async def _halve(self, part: Part) -> None:
        book, folder = self._keeping.book, self._keeping.folder
        number, half = book.next_number(), (part.calls + 1) // 2
        names = [f"{Path(part.file).parent}/part-{each:05}.jsonl" for each in (number, number + 1)]
        sizes = await asyncio.to_thread(
            split_file, folder / part.file, [folder / name for name in names], half
        )
        share = part.worst * half // part.calls
        each = [
            replace(
                part, number=number + place, state=State.INTENT, file=names[place], bytes=size, sha=sha, file_id="",
                batch_id="", calls=(half, part.calls - half)[place], worst=(share, part.worst - share)[place],
                tag=f"{book.nonce}-{number + place}", told_at=None, counts={},
            )
            for place, (size, sha) in enumerate(sizes)
        ]  # fmt: skip
        await book.split(part, *each)
        self._keeping.forget(part)


def split_file(file: Path, others: Sequence[Path], first: int) -> list[tuple[int, str]]:
    """Writes the first lines of a file into one and the rest into another; the size and SHA-256 of each.

    Raises StoreError.
    """
    made = []
    with translated(file), file.open("rb") as lines:
        for place, other in enumerate(others):
            digest, size = hashlib.sha256(), 0
            with other.open("wb") as out:
                for number, line in enumerate(lines, 1):
                    out.write(line)
                    digest.update(line)
                    size += len(line)
                    if place == 0 and number == first:
                        break
                out.flush()
                os.fsync(out.fileno())
            made.append((size, digest.hexdigest()))
    return made

"""A run's batches from outside of it: how they stand at their providers, and their end before its time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.config import RunConfig
from engine.errors import EngineError
from engine.flow.halt import Halt
from engine.llm.accounts import Accounts
from engine.llm.batches.door import Told
from engine.llm.batches.part import OPEN, Part, State
from engine.llm.batches.spool import Lane
from engine.llm.batches.waves import Waves
from engine.llm.budget import Budget
from engine.llm.call import CallCounts
from engine.llm.tokens import TokenEstimator
from engine.protocols import Notify
from engine.runs.endpoints import coordinator_of, limiter_of, opened_backends
from engine.runs.lanes import opened_lanes
from engine.store.folder import RunFolder
from engine.store.journal import Journal
from engine.store.parts import PartBook, read_open_parts
from engine.store.reading import connect

ASKED_S = 20.0
"""Seconds for which a provider is asked how its batches stand."""
STOPPED_S = 900.0
"""Seconds for which the end of a cancelled batch is waited for; providers say ten minutes at most."""


@dataclass(frozen=True)
class Stopped:
    """What came of stopping a run's batches."""

    parts: int
    answered: int
    """Calls that were answered before, and are kept."""
    left: int
    """Parts that have not ended yet."""
    gone: int
    """Parts that were given up."""
    spent: int
    """Picodollars of all answers."""
    forgotten: int
    """Picodollars that those given up may have cost."""


def open_parts(folder: RunFolder) -> list[Part]:
    """Those that a provider may be working on. Raises StoreError."""
    with contextlib.closing(connect(folder.database)) as connection:
        return read_open_parts(connection)


async def look(config: RunConfig, folder: RunFolder) -> tuple[Mapping[int, Told], str]:
    """What the providers say of a run's open parts, by number; and why they could not be asked, or ''."""
    parts = [part for part in open_parts(folder) if part.batch_id]
    found: dict[int, Told] = {}
    if not parts:
        return found, ""
    try:
        async with asyncio.timeout(ASKED_S), _lanes(config, folder.path) as lanes:
            for part in parts:
                if (lane := lanes.get(part.endpoint)) is not None:
                    told = await lane.door.poll([part.batch_id])
                    found.update((part.number, each) for each in told.values())
    except TimeoutError:
        return found, f"no answer within {ASKED_S:.0f} s"
    except EngineError as error:
        return found, str(error)
    return found, ""


async def stop(config: RunConfig, folder: RunFolder, notify: Notify, *, forget: bool = False) -> Stopped:
    """Cancels a run's batches and collects what they have answered. The folder is locked by the caller.

    `forget`: those that the provider does not know any more are given up, at the most that they may have cost.
    Raises FatalError.
    """
    journal, halt = Journal(folder.database), Halt()
    try:
        journal.stay()
        async with _lanes(config, folder.path) as lanes:
            book = await PartBook.opened(journal)
            before = book.parts(*OPEN)
            waves = Waves(
                lanes, book, Budget(None), Accounts(TokenEstimator(), CallCounts()), halt, folder.path,
                wait_s=0.0, outage_s=60.0, start=journal.start, notify=notify,
            )  # fmt: skip
            await waves.take_over()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOPPED_S):
                    await waves.stop(forget=forget)
            after = {part.number: part for part in book.parts(*State)}
        ours = [after[part.number] for part in before]
        [[answered]] = journal.rows(
            f"SELECT count(*) FROM asked WHERE fate = 'answered' AND part IN ({_numbers(ours)})"  # noqa: S608 - numbers
        )
        left = sum(part.state in OPEN for part in ours)
        gone = sum(part.state is State.GONE for part in ours)
        forgotten = sum(part.lost for part in ours if part.state is State.GONE)
        spent = sum(part.cost for part in ours) - forgotten
        return Stopped(len(before), int(answered), left, gone, spent, forgotten)
    finally:
        await journal.close()


def _numbers(parts: Sequence[Part]) -> str:
    return ", ".join(str(part.number) for part in parts) or "0"


@asynccontextmanager
async def _lanes(config: RunConfig, folder: Path) -> AsyncIterator[Mapping[str, Lane]]:
    async with opened_backends(config) as backends:
        with contextlib.closing(coordinator_of(config)) as coordinator:
            limiter = limiter_of(config, backends, coordinator)
            async with opened_lanes(backends, limiter, folder) as lanes:
                yield lanes

"""Opens one run for viewing: its config, how its items are written, its index, filled beside the pages."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from engine.config import RunConfig
from engine.dataset.fields import Fields
from engine.store.folder import RunFolder
from engine.store.reading import connect
from engine.view.deciding import Decisions
from engine.view.folders import key_of
from engine.view.index import Index

T = TypeVar("T")


class OpenRun:
    """One run that is being looked at. Mutable state: the index, once it is open; whether it is being filled."""

    def __init__(self, path: Path, name: str) -> None:
        """Raises ConfigError where its config cannot be read, StoreError where run.db cannot."""
        self.path = path
        self.key = key_of(path)
        self.name = name
        self.folder = RunFolder.existing(path)
        self.config = RunConfig.load(self.folder.config, lenient=True)
        self.fields: Fields = self.folder.form(self.config.item_fields)
        label = self.config.dataset.fields.label
        self.index = Index(self.folder.database, cache_folder(), label.field if label is not None else None)
        self.decisions = Decisions(self.folder)
        self._filling: asyncio.Task[bool] | None = None

    def close(self) -> None:
        """Leaves the index to others."""
        self.index.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that only reads. Raises StoreError."""
        with contextlib.closing(connect(self.folder.database)) as connection:
            yield connection

    async def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """What the question finds, in a thread: a page never waits for another one's reading."""

        def asked() -> T:
            with self.reading() as connection:
                return question(connection)

        return await asyncio.to_thread(asked)

    def fill(self) -> asyncio.Task[bool]:
        """Brings the index up to date in a thread of its own; pages go on with what there is."""
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(asyncio.to_thread(self.index.catch_up), name="index")
        return self._filling

    async def filled(self, seconds: float) -> bool:
        """Brings the index up to date; False where that takes longer than so many seconds, and goes on.

        Where it surely does, nothing is waited for.
        """
        if await asyncio.to_thread(self.index.is_far_behind):
            self.fill()
            return False
        done, _ = await asyncio.wait([self.fill()], timeout=seconds)
        for task in done:
            task.result()
        return bool(done)


def cache_folder() -> Path:
    """Where indexes stand: never in a run's folder, which may be read-only, copied or published."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "datagen" / "view"

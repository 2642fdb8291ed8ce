"""The end of a start: journals measures and map; writes items, report, results and page as files."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import StoreError
from engine.files.writing import replacing
from engine.protocols import Notify
from engine.report.diversity import RunMeasures
from engine.report.formatting import counted
from engine.report.growth import Growth
from engine.report.mapping import Map
from engine.report.profile import profile_of
from engine.report.summary import Report, summarize
from engine.runs.decisions import take_in
from engine.runs.inputs import Inputs
from engine.runs.modes import Mode
from engine.runs.page import write_page
from engine.store.folder import RunFolder, write_items
from engine.store.journal import Journal
from engine.store.reading import connect

if TYPE_CHECKING:
    from engine.protocols import Vectors


@dataclass(frozen=True)
class Finish:
    """The end of one start."""

    mode: Mode
    inputs: Inputs
    folder: RunFolder
    notify: Notify = lambda _: None

    async def measure(self, journal: Journal, base_vectors: Vectors | None) -> None:
        """Journals the base dataset's profile; if the run controls diversity, also the result's measures and map."""
        inputs, config = self.inputs, self.inputs.config
        if self.mode.answers:
            return
        examples = inputs.dataset.examples
        if examples and journal.fact("base_profile") is None:
            await journal.remember("base_profile", profile_of(examples))
        if self.mode.generates:
            await self._journaled(journal, "growth", self._grown)
        if config.groupcheck is None and not config.generate.attributes:
            return
        look = RunMeasures(inputs.dataset.fields, examples, base_vectors, config.seed)
        drawn: list[Map | None] = []

        def measured(connection: sqlite3.Connection) -> Mapping[str, Any] | None:
            drawn.append(look.mapped(connection))
            return look.measured(connection)

        await self._journaled(journal, "measures", measured)
        if drawn and drawn[0] is not None:
            await journal.keep_map(drawn[0].points, drawn[0].about)

    def _grown(self, connection: sqlite3.Connection) -> dict[str, Any]:
        growth = Growth(self.inputs.dataset.fields, self.inputs.config.seed)
        return {"richness": growth.richness(connection).as_dict(), "points": growth.grown(connection)}

    async def _journaled(
        self, journal: Journal, name: str, work: Callable[[sqlite3.Connection], Any]
    ) -> None:
        """Keeps what `work` makes of the journal, which takes seconds. Raises StoreError."""

        def read() -> Any:
            with contextlib.closing(connect(self.folder.database)) as connection:
                return work(connection)

        try:
            found = await asyncio.to_thread(read)
        except StoreError:
            raise
        except Exception as error:  # statistics about the items are no reason to lose the items
            self.notify(f"The result could not be measured ({type(error).__name__}: {error})")
            return
        await journal.remember(name, found)

    async def take_in(self) -> None:
        """Takes in what people have decided meanwhile. Raises StoreError."""
        if taken := await asyncio.to_thread(take_in, self.folder, self.notify):
            self.notify(f"Taken in what people have decided: {counted(taken, 'decision')}.")

    def write(self) -> Report:
        """Writes all files from the journal. Raises StoreError."""
        write_items(self.folder)
        with contextlib.closing(connect(self.folder.database)) as connection:
            report = self._report(connection)
            self.mode.write(connection, self.inputs, self.folder)
        with replacing(self.folder.report) as file:
            file.write(report.to_json() + "\n")
        if self.inputs.config.observe.page:
            self._write_page(report)
        return report

    def without_files(self, reason: StoreError) -> Report:
        """The report if the files cannot be written; the journal is intact, and a resume writes them.

        Raises StoreError if the journal cannot be read either.
        """
        with contextlib.closing(connect(self.folder.database)) as connection:
            report = self._report(connection)
        return Report({**report.data, "outcome": "fatal", "message": str(reason)})

    def _report(self, connection: sqlite3.Connection) -> Report:
        cap = self.inputs.config.limits.budget_usd
        return summarize(connection, target=self.inputs.target, cap_usd=cap)

    def _write_page(self, report: Report) -> None:
        """Writes report.html; a failure does not change the outcome of the run."""
        try:
            write_page(self.folder, self.inputs.config, report, self.mode)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            self.notify(
                f"report.html could not be written ({said}); datagen report {self.folder.path} tries again"
            )

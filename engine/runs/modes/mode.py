"""What a kind of run defines: its inputs, its pipeline, its outputs, what it needs from the config."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

from engine.config import RunConfig
from engine.config.paths import is_remote
from engine.evaluation.shape import Results
from engine.flow.pipeline import Pipeline
from engine.flow.stage import Stage
from engine.report.shape import ReportData
from engine.report.tables import Listing
from engine.runs.inputs import Inputs
from engine.runs.pipeline import Making, Parts
from engine.runs.setup import Preparing, Setup, prepared
from engine.stages.progress import Progress
from engine.store.folder import RunFolder
from engine.store.journal import Journal


class Mode(ABC):
    """One kind of run. Immutable, so that one object can serve any number of runs."""

    name: ClassVar[str]
    """The name in the journal and in report.json."""
    family: ClassVar[str]
    """Modes of one family can continue in the same folder."""
    generates: ClassVar[bool] = False
    """Whether new items are made until a target is reached; otherwise all existing rows are processed."""
    answers: ClassVar[bool] = False
    """Whether its items are the answers of tested models rather than a dataset."""
    tables: ClassVar[bool] = False
    """Whether its own tables are shown on the terminal, too."""
    completed: ClassVar[str] = ""
    """The message when all rows have been processed."""
    unscored: ClassVar[str] = ""
    """The message if some answers have no score; a format string with `pending` and `folder`."""
    waits: ClassVar[bool] = True
    """Whether its calls may travel in batches, whose answers come hours later."""
    spreads: ClassVar[bool] = False
    """Whether its items can be made and checked by workers."""
    unread: ClassVar[tuple[str, ...]] = ()
    """Sections of the config that it does not use, and that may therefore differ between two starts."""

    def summary(self, data: ReportData) -> str:
        """What came of a run that has processed all rows, as a sentence; '' for one that generates."""
        return self.completed

    def fell_short(self, progress: Progress, config: RunConfig) -> str:
        """Why a run that has processed all rows has all the same not come to anything, as a sentence; '' if it has."""
        return ""

    @abstractmethod
    def load(self, config: RunConfig, kept: Path | None = None) -> Inputs:
        """Loads and checks its inputs. `kept`: the run.db of the run that is continued. Raises ConfigError."""

    @abstractmethod
    def pipeline(self, parts: Parts) -> Pipeline: ...

    def stages(self, parts: Making) -> list[Stage]:
        """The stages that make and check items, where workers can do that; see `spreads`."""
        raise NotImplementedError

    def made(self, parts: Parts) -> list[Stage]:
        """The same stages, here; or what stands in place of them."""
        return [parts.lent] if parts.lent is not None else self.stages(parts)

    def identity(self, inputs: Inputs) -> dict[str, Any]:
        """What is part of the run's identity besides the settings."""
        return {} if self.generates else {"mode": self.family}

    def kept(self, inputs: Inputs, folder: RunFolder) -> RunConfig:
        """The config with which the run can continue from its folder alone. Raises StoreError.

        What was read from elsewhere is pinned: a repository to its commit, any other address to a copy in the folder.
        """
        config, source = inputs.config, inputs.dataset.source
        if source is None or not source.pinned or config.dataset.path is None:
            return config
        places = []
        for number, place in enumerate(config.dataset.path, 1):
            pinned = source.pinned.get(place, place)
            copied = is_remote(place) and not pinned.startswith("hf://")
            places.append(folder.keep_all(source.files_of(place), f"base-{number}") if copied else pinned)
        return config.changed(dataset=config.dataset.model_copy(update={"path": tuple(places)}))

    async def begin(self, journal: Journal, inputs: Inputs) -> None:  # noqa: B027 - most have nothing to do
        """Called before the journal's content is used."""

    def announced(self, inputs: Inputs, folder: RunFolder) -> Iterable[str]:
        """What is to be known before a start, as sentences."""
        return ()

    def prepared(self, preparing: Preparing) -> AbstractAsyncContextManager[Setup]:
        """Prepares what is needed before the first batch; open while the block lasts."""
        return prepared(preparing)

    def write(  # noqa: B027 - most have none
        self, connection: sqlite3.Connection, inputs: Inputs, folder: RunFolder
    ) -> None:
        """Writes files of its own, besides the items and the report. Raises StoreError."""

    def listings(
        self, connection: sqlite3.Connection, config: RunConfig, folder: RunFolder
    ) -> Sequence[Listing]:
        """Tables of its own, for the page and the terminal."""
        return ()

    def results(self, connection: sqlite3.Connection, config: RunConfig) -> Results | None:
        """The results about models; None for a mode that does not test models."""
        return None

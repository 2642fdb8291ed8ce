"""What one kind of run decides: what it reads, its pipeline, what it writes, what it needs of the config."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from engine.config import RunConfig
from engine.flow.pipeline import Pipeline
from engine.runs.inputs import Inputs
from engine.runs.pipeline import Parts
from engine.runs.setup import Preparing, Setup, prepared
from engine.store.folder import RunFolder
from engine.store.journal import Journal


class Mode(ABC):
    """Without state of a run: one object serves all runs of its kind."""

    name: ClassVar[str]
    """On record in the journal and in report.json."""
    family: ClassVar[str]
    """Modes of one family go on in the same folder."""
    generates: ClassVar[bool] = False
    """Whether new items are made, towards a target; else the rows that are there are worked on, to their end."""
    answers: ClassVar[bool] = False
    """Whether its items are answers of models that are put to the test, rather than a dataset."""
    completed: ClassVar[str] = ""
    """What is said when the rows' end is reached."""
    unscored: ClassVar[str] = ""
    """What is said where answers are without a score; with places for `pending` and `folder`."""
    unread: ClassVar[tuple[str, ...]] = ()
    """Sections of the config that make no difference to it, and so may differ between two starts."""

    @abstractmethod
    def load(self, config: RunConfig) -> Inputs:
        """Whatever it reads, loaded and checked. Raises ConfigError."""

    @abstractmethod
    def pipeline(self, parts: Parts) -> Pipeline: ...

    def identity(self, inputs: Inputs) -> dict[str, Any]:
        """What belongs to the run's identity besides the settings."""
        return {} if self.generates else {"mode": self.family}

    def kept(self, inputs: Inputs, folder: RunFolder) -> RunConfig:
        """The config with which the run can go on from its folder alone. Raises StoreError."""
        return inputs.config

    async def begin(self, journal: Journal) -> None:  # noqa: B027 - most have nothing to do
        """Called before anything of the journal counts."""

    def prepared(self, preparing: Preparing) -> AbstractAsyncContextManager[Setup]:
        """What is made ready before the first batch, open while the block lasts."""
        return prepared(preparing)

    def write(  # noqa: B027 - most have none
        self, connection: sqlite3.Connection, inputs: Inputs, folder: RunFolder
    ) -> None:
        """Files of its own, besides the items and the report. Raises StoreError."""

    def results(self, connection: sqlite3.Connection, config: RunConfig) -> Mapping[str, Any] | None:
        """What was found out about models, where that is what it is for."""
        return None

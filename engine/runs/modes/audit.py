"""`datagen audit`: checks the rows of an existing dataset with the validators and the group check."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from engine.config import RunConfig
from engine.dataset.base import BaseDataset
from engine.flow.pipeline import Pipeline
from engine.flow.stage import Stage
from engine.items import Batch
from engine.runs.inputs import Inputs, loaded
from engine.runs.modes.mode import Mode
from engine.runs.pipeline import Making, Parts, commit, embedding, refining, window
from engine.stages.dataset_rows import DatasetRows


class AuditMode(Mode):
    """Sorts rows into passed, corrected and rejected ones."""

    name = family = "audit"
    completed = "Every row is checked."
    spreads = True
    unread = ("generate", "evaluate")

    def load(self, config: RunConfig, kept: Path | None = None) -> Inputs:
        dataset = rows_of(config, self.name)
        return loaded(config, dataset, dataset.rows)

    def stages(self, parts: Making) -> list[Stage]:
        return [*refining(parts), *embedding(parts)]

    def pipeline(self, parts: Parts) -> Pipeline:
        batches, read = dataset_rows(parts)
        return Pipeline.joined(batches, [read, *self.made(parts)], commit(parts), parts.halt)


def rows_of(config: RunConfig, mode: str) -> BaseDataset:
    """The dataset to work on. Raises ConfigError."""
    if config.dataset.path is None:
        raise config.wrong("dataset.path", f"is missing; it is the dataset to {mode}")
    return BaseDataset.streamed(config.dataset)


def dataset_rows(parts: Parts) -> tuple[AsyncIterator[Batch], Stage]:
    """Batches of existing rows, and the stage that turns them into items."""
    dataset = parts.inputs.dataset
    rows = dataset.numbered()
    read = DatasetRows(rows, dataset.fields, parts.progress, parts.halt, window(parts))
    return read.batches(), Stage("read", read, 1)

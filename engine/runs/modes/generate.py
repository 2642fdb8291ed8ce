"""`datagen run`: asks a model for new items until enough are accepted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.config import RunConfig
from engine.dataset.base import BaseDataset
from engine.documents.collection import digest_of, digest_of_files
from engine.flow.pipeline import Pipeline
from engine.flow.stage import Stage
from engine.items import Batch
from engine.planning.guidance import check_guidance, check_without_base, selectors_of, selects_by_vectors
from engine.planning.plan import Planner
from engine.planning.strategies import Choice
from engine.runs.documents import check_documents, shelf_of, without_keys
from engine.runs.inputs import Inputs, check_affordable, loaded
from engine.runs.modes.mode import Mode
from engine.runs.pipeline import Making, Parts, Pass, commit, embedding, refining, window
from engine.runs.setup import Preparing, Setup, guided
from engine.stages.generate import Generate
from engine.stages.schedule import Schedule
from engine.stages.source import LabelRounds, Source
from engine.store.folder import RunFolder
from engine.store.journal import Journal


class GenerateMode(Mode):
    """Generates new items, the engine's main task."""

    name = family = "run"
    generates = True
    spreads = True
    unread = ("evaluate",)

    def load(self, config: RunConfig, kept: Path | None = None) -> Inputs:
        target = config.generate.target
        if target is None:
            raise config.wrong("generate.target", "is missing: how many accepted items are wanted")
        check_without_base(config)
        check_documents(config)
        dataset = BaseDataset.load(config.dataset)
        check_guidance(config, dataset)
        shelf = shelf_of(config, kept)
        inputs = loaded(config, dataset, target, vectors=selects_by_vectors(config.generate), shelf=shelf)
        check_affordable(config, inputs.prices, inputs.prompts.render(sample_batch(inputs)))
        return inputs

    def prepared(self, preparing: Preparing) -> AbstractAsyncContextManager[Setup]:
        return guided(preparing)

    async def begin(self, journal: Journal, inputs: Inputs) -> None:
        """Keeps the documents' passages in the run: it needs no file from here on."""
        if inputs.shelf is not None and not inputs.shelf.kept:
            await asyncio.to_thread(inputs.shelf.write, journal.path)

    def kept(self, inputs: Inputs, folder: RunFolder) -> RunConfig:
        return without_keys(super().kept(inputs, folder))

    def identity(self, inputs: Inputs) -> dict[str, Any]:
        documents = inputs.config.documents
        if documents is None or inputs.shelf is None:
            return {}
        digest = digest_of_files if inputs.shelf.kept else digest_of
        return {"documents.path": digest(inputs.shelf, documents)}

    def stages(self, parts: Making) -> list[Stage]:
        config = parts.inputs.config
        is_set = config.generate.max_tokens is not None
        room = parts.context // 2 if parts.context is not None and not is_set else None
        make = Generate(parts.ask, parts.inputs.prompts, parts.inputs.dataset.fields, room)
        # A few more workers than calls in flight: while one waits for the disk, another makes its call.
        workers = config.limits.most_in_flight * 5 // 4 + 1
        return [Stage("generate", make, workers), *refining(parts), *embedding(parts)]

    def pipeline(self, parts: Parts) -> Pipeline:
        setup, ratio = parts.setup, parts.inputs.config.dataset.ratio
        sink = commit(
            parts,
            weights=ratio.weights if ratio is not None else None,
            observers=[each.observe for each in (setup.mix, setup.adviser) if each is not None],
            early_stopping=setup.early_stopping,
        )
        return Pipeline.joined(_source(parts), self.made(parts), sink, parts.halt)


def _source(parts: Parts) -> AsyncIterator[Batch]:
    config, progress, setup = parts.inputs.config, parts.progress, parts.setup
    size, ratio = config.generate.batch_size, config.dataset.ratio
    rounds = LabelRounds(ratio.weights, size, progress, parts.journal) if ratio is not None else None
    waits = parts.turn is Pass.ONLINE
    spread = waits and config.limits.mode == "online"
    finish_by = config.limits.finish_by if spread else None
    source = Source(
        Planner(config.generate, config.seed, setup.selectors, setup.rows, parts.inputs.turns),
        progress,
        parts.halt,
        asked=rounds.asked if rounds is not None else progress.committed * size,
        most_items=round(config.limits.attempts * parts.inputs.target),
        window=window(parts),
        rounds=rounds,
        mix=setup.mix,
        adviser=setup.adviser,
        keep=parts.journal.keep_plan,
        schedule=Schedule(finish_by, size) if finish_by is not None else None,
        waits=waits,
    )
    return source.batches()


def sample_batch(inputs: Inputs) -> Batch:
    """A batch with every value that a template may use."""
    config, dataset = inputs.config, inputs.dataset
    ratio, spec = config.dataset.ratio, config.generate
    labels = tuple((label, 1) for label in ratio.weights) if ratio is not None else ()
    selectors = selectors_of(spec, dataset, config.seed, None)
    choice = Choice(next(iter(spec.ways)), tuple((name, "a value") for name in spec.attributes))
    batch = Planner(spec, config.seed, selectors, turns=inputs.turns).batch(0, labels, choice)
    batch = replace(batch, notes=("a note",), lessons=("a lesson",))
    return replace(batch, unlike=("a text",)) if config.groupcheck is not None else batch

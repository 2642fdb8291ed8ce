"""The pipeline of a run, put together: where its items come from, the validators, the commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.config.run import UNTOLD_CONCURRENCY
from engine.dataset.rows import read_rows
from engine.evaluation.answering import ANSWER, JUDGE, Answering, Confirming, Judging
from engine.evaluation.rows import Rows
from engine.flow.halt import Halt
from engine.flow.pipeline import Pipeline
from engine.flow.stage import Stage
from engine.prompts.ask import Asker
from engine.runs.inputs import Inputs
from engine.runs.plugins import asker_of, confirming
from engine.items import Batch
from engine.runs.setup import Prepared
from engine.protocols import Ask, Validator
from engine.stages.commit import Commit
from engine.stages.dataset_rows import Existing
from engine.stages.generate import Generate
from engine.stages.early_stopping import EarlyStopping
from engine.planning.plan import Planner
from engine.stages.progress import Progress
from engine.stages.meter import Meter
from engine.stages.refine import Refine
from engine.stages.schedule import Schedule
from engine.stages.source import LabelRounds, Source
from engine.store.journal import Journal

if TYPE_CHECKING:
    from engine.stages.groupcheck import GroupCheck

WINDOW = 16
"""Batches under way for each call in flight: how far ahead of the slowest call the others may get."""

Head = tuple[AsyncIterator[Batch], Stage]
"""A pipeline's beginning: batches, and the stage that makes items of them."""


@dataclass(frozen=True)
class Assembly:
    """What all parts of a pipeline are made from."""

    inputs: Inputs
    ask: Ask
    progress: Progress
    journal: Journal
    halt: Halt
    prepared: Prepared
    meter: Meter

    def pipeline(self, validators: Sequence[Validator]) -> Pipeline:
        if self.inputs.evaluates:
            return self._evaluation(validators)
        batches, first = self._existing() if self.inputs.existing else self._generated()
        ratio = self.inputs.config.dataset.ratio if not self.inputs.existing else None
        weights = ratio.weights if ratio is not None else None
        group, mix, adviser = self.prepared.group, self.prepared.mix, self.prepared.adviser
        observers = [each.observe for each in (mix, adviser) if each is not None]
        limits = self.inputs.config.limits
        early_stopping = EarlyStopping(limits.least_acceptance, limits.acceptance_window)
        commit = Commit(
            self.journal,
            self.progress,
            self.inputs.dataset,
            self.halt,
            weights,
            group,
            observers,
            None if self.inputs.existing else early_stopping,
        )
        stages = [first, *self._refining(validators), *self._embedding(group)]
        return Pipeline.of(batches, stages, commit.run, self.halt)

    @property
    def _window(self) -> int:
        return max(64, WINDOW * (self.inputs.config.limits.concurrency or UNTOLD_CONCURRENCY))

    def _generated(self) -> Head:
        """Batches that a model is asked for."""
        config, dataset, progress = self.inputs.config, self.inputs.dataset, self.progress
        ratio = config.dataset.ratio
        rounds = None
        if ratio is not None:
            rounds = LabelRounds(ratio.weights, config.generate.batch_size, progress, self.journal)
        asked = rounds.asked if rounds is not None else progress.committed * config.generate.batch_size
        source = Source(
            Planner(config.generate, config.seed, self.prepared.selectors),
            progress,
            self.halt,
            asked=asked,
            most_items=round(config.limits.attempts * config.generate.target),
            window=self._window,
            rounds=rounds,
            mix=self.prepared.mix,
            adviser=self.prepared.adviser,
            keep=self.journal.keep_plan,
            schedule=Schedule(by, config.generate.batch_size) if (by := config.limits.finish_by) else None,
        )
        generate = Generate(self.ask, self.inputs.prompts, dataset.fields)
        # A few more workers than calls in flight: while one waits for the disk, another has its place.
        return source.batches(), Stage("generate", generate, config.limits.most_in_flight * 5 // 4 + 1)

    def _existing(self) -> Head:
        """Batches of rows that are there already."""
        spec = self.inputs.config.dataset
        assert spec.path is not None
        rows = read_rows(spec.path, spec.format, spec.max_row_bytes)
        fields = self.inputs.dataset.fields
        existing = Existing(rows, fields, self.progress, self.halt, self._window)
        return existing.batches(), Stage("read", existing, 1)

    def _evaluation(self, validators: Sequence[Validator]) -> Pipeline:
        """Rows put to models; labels confirmed by the validators that can; open answers judged, if wanted."""
        config, names = self.inputs.config, confirming(validators)
        models, workers = config.tested, config.limits.most_in_flight
        rows = Rows(self.inputs.evaluated, models, self.progress, self.halt, self._window)
        steps: list[Validator] = [
            Confirming(each, models[0], names) for each in validators if getattr(each, "confirms", False)
        ]
        steps.append(Answering(self._metered_asker(ANSWER), config, names))
        if self.inputs.mode == "judge":
            steps.append(Judging(self._metered_asker(JUDGE, priority=-1), int(self.journal.fact("judge_rounds") or 1)))
        refining = [Stage(step.name, Refine(step, self.halt, lambda _: None, meter=self.meter), workers) for step in steps]
        commit = Commit(self.journal, self.progress, self.inputs.dataset, self.halt)
        return Pipeline.of(rows.batches(), [Stage("read", rows, 1), *refining], commit.run, self.halt)

    def _metered_asker(self, owner: str, *, priority: int = 0) -> Asker:
        ask = self.meter.metered(self.ask, owner)
        return asker_of(self.inputs.config, ask, owner, priority=priority)

    def _refining(self, validators: Sequence[Validator]) -> list[Stage]:
        """A worker pool each, in the order of the config."""
        config, verify = self.inputs.config, self.inputs.dataset.fields.verify
        stages = []
        for place, (spec, validator) in enumerate(zip(config.validators, validators, strict=True)):
            if self.inputs.mode == "enhance" and place < len(validators) - 1:
                continue  # these check what the last one makes, and leave the rows themselves alone
            workers = spec.workers or config.limits.most_in_flight
            refine = Refine(validator, self.halt, verify, validators[:place], self.meter)
            stages.append(Stage(spec.name, refine, workers))
        return stages

    def _embedding(self, group: GroupCheck | None) -> list[Stage]:
        """As many items wait as make a full call, and as many again gather meanwhile."""
        if group is None:
            return []
        from engine.stages.embed import Embed  # loads numpy: for runs that need it

        embedding = self.prepared.embedding if group.duplicates.needs_vectors else None
        workers = 1 if embedding is None else 2 * embedding.embedder.inputs * embedding.embedder.at_once
        return [Stage("embed", Embed(embedding, group, self.journal, self.halt), min(workers, 512))]

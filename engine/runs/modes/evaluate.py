"""`datagen evaluate`: asks models the questions of datasets and scores the answers by rule."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from engine.config import GenerateConfig, RunConfig
from engine.config.evaluate import EvaluatedData
from engine.dataset.base import BaseDataset
from engine.evaluation.answering import ANSWER, Answering, Confirming
from engine.evaluation.results import results_of, write_csv
from engine.evaluation.rows import Evaluated, EvaluatedRows
from engine.evaluation.shape import Results
from engine.evaluation.tables import listings
from engine.files.writing import replacing
from engine.flow.pipeline import Pipeline
from engine.flow.stage import Stage
from engine.protocols import Validator
from engine.report.tables import Listing
from engine.runs.inputs import Inputs, loaded
from engine.runs.modes.mode import Mode
from engine.runs.pipeline import Parts, asker, commit, window
from engine.runs.plugins import confirming
from engine.stages.refine import Refine
from engine.store.folder import RunFolder


class EvaluateMode(Mode):
    """Its items are answers, one for each row and model."""

    name = family = "evaluate"
    answers = True
    completed = "Every question is asked."
    unread = ("generate",)
    unscored = "{pending:,} answers no rule can score. Have them judged: datagen judge {folder}"

    def load(self, config: RunConfig, kept: Path | None = None) -> Inputs:
        spec = config.evaluate
        if not spec.datasets:
            raise config.wrong("evaluate.datasets", "names no dataset; give one on the command line, or here")
        if config.dataset.fields.label is None:
            several = "names several; give the one to score" if config.dataset.fields.labels else "is missing"
            raise config.wrong("dataset.fields.label", f"{several}; without labels no answer can be scored")
        evaluated = tuple(_evaluated(config, each) for each in spec.datasets)
        _check_breakdown(config, evaluated)
        total = sum(each.base.rows for each in evaluated) * len(config.tested)
        config = config.changed(generate=GenerateConfig(few_shot=0), groupcheck=None)
        first = evaluated[0].base
        return loaded(config, first, max(total, 1), evaluated=evaluated, tested=spec.models)

    def pipeline(self, parts: Parts) -> Pipeline:
        """Asks models about the rows; validators that can do so confirm the labels."""
        config, models = parts.inputs.config, parts.inputs.config.tested
        rows = EvaluatedRows(parts.inputs.evaluated, models, parts.progress, parts.halt, window(parts))
        workers = config.limits.most_in_flight
        refining = [
            Stage(step.name, Refine(step, parts.halt, lambda _: None, meter=parts.meter), workers)
            for step in self.steps(parts)
        ]
        return Pipeline.joined(rows.batches(), [Stage("read", rows, 1), *refining], commit(parts), parts.halt)

    def steps(self, parts: Parts) -> list[Validator]:
        """The steps of each answer, in order."""
        config, names = parts.inputs.config, confirming(parts.validators)
        confirm = [each for each in parts.validators if getattr(each, "confirms", False)]
        fields = {each.name: each.base.fields for each in parts.inputs.evaluated}
        answer = Answering(asker(parts, ANSWER), config, names, fields)
        return [*(Confirming(each, config.tested[0], names) for each in confirm), answer]

    def identity(self, inputs: Inputs) -> dict[str, Any]:
        contents = {f"evaluate.datasets.{each.name}": each.base.sha256 for each in inputs.evaluated}
        return {**contents, **super().identity(inputs)}

    def kept(self, inputs: Inputs, folder: RunFolder) -> RunConfig:
        """With copies of the datasets, so that the run can continue if the originals change or disappear."""
        kept = []
        for number, each in enumerate(inputs.evaluated, 1):
            assert each.base.source is not None
            name = f"{number}-{re.sub(r'[^A-Za-z0-9._-]', '_', each.name)}"
            kept.append(EvaluatedData(name=each.name, path=folder.keep_all(each.base.source.files, name)))
        evaluate = inputs.config.evaluate.model_copy(update={"datasets": tuple(kept)})
        return inputs.config.changed(evaluate=evaluate)

    def write(self, connection: sqlite3.Connection, inputs: Inputs, folder: RunFolder) -> None:
        """Writes results.json and results.csv."""
        results = self.results(connection, inputs.config)
        with replacing(folder.results) as file:
            file.write(orjson.dumps(results, option=orjson.OPT_INDENT_2).decode() + "\n")
        with replacing(folder.results_csv) as file:
            write_csv(results, file)

    def listings(
        self, connection: sqlite3.Connection, config: RunConfig, folder: RunFolder
    ) -> Sequence[Listing]:
        return list(listings(self.results(connection, config)))

    def results(self, connection: sqlite3.Connection, config: RunConfig) -> Results:
        names = [each.name for each in config.evaluate.datasets]
        return results_of(connection, names, config.tested, config.evaluate.against)


def _evaluated(config: RunConfig, data: EvaluatedData) -> Evaluated:
    """A dataset from a file, or from a run's accepted items. Raises ConfigError."""
    spec = config.dataset.model_copy(update={"path": (data.path,), "format": None})
    return Evaluated(data.name, spec, BaseDataset.streamed(spec))


def _check_breakdown(config: RunConfig, evaluated: Sequence[Evaluated]) -> None:
    """Raises ConfigError for a field that no dataset has."""
    rows = [row for each in evaluated for _, row in islice(each.rows(), 200) if isinstance(row, dict)]
    there = dict.fromkeys(name for row in rows for name in row if name != "_meta")
    for name in config.evaluate.by:
        if name not in there:
            raise config.wrong(
                "evaluate.by", f"no row has a field {name!r}; the fields are {', '.join(there)}"
            )

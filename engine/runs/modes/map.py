"""`datagen map`: one answer, or several, for each row of a dataset; the new columns join the row in its place."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from engine.config import FieldsConfig, RunConfig
from engine.config.dataset import RESERVED, ExtraField, LabelField
from engine.config.mapping import CHOSEN, REJECTED, MapConfig
from engine.dataset.base import BaseDataset
from engine.errors import ConfigError
from engine.files.rows import BadRow
from engine.files.source import Source, source_of
from engine.flow.pipeline import Pipeline
from engine.flow.stage import Stage
from engine.items import Batch, Item
from engine.prompts.rows import OWNER, RowPrompts, made_by
from engine.report.rows import FACT, rows_section
from engine.report.shape import ReportData
from engine.report.tables import Listing, rows_listing
from engine.runs.finished_rows import FinishedRows, growth, readable_rows
from engine.runs.inputs import Inputs, check_affordable, loaded
from engine.runs.modes.mode import Mode
from engine.runs.pipeline import Making, Parts, asker, commit, embedding, window
from engine.schema.columns import Column, Schema
from engine.schema.types import Type
from engine.stages.choosing import Choosing
from engine.stages.early_stopping import EarlyStopping
from engine.stages.progress import Progress
from engine.stages.refine import Refine
from engine.stages.rows import Check, MapRows, Rows
from engine.store.folder import RunFolder
from engine.store.journal import Journal

_TRIED = 20
"""Rows on which the prompts are tried beforehand."""
_LABELS = ("answer", "label")
_EXAMPLES = 1_000
"""Rows that are done, of which prompts show some: so many are read."""


class MapMode(Mode):
    """Its items are the rows, with what was asked for them."""

    name = family = "map"
    completed = "Every row has its fate."
    spreads = True
    tables = True
    unread = ("generate", "evaluate")

    def __init__(self, rows: int | None = None) -> None:
        """`rows`: only the first so many; all where None."""
        self._rows = rows

    def summary(self, data: ReportData) -> str:
        rows = data.get("rows")
        if rows is None:
            return self.completed
        said = f"Every row has its fate: {rows['kept']:,} with an answer"
        for name, words in (("without", "kept without one"), ("dropped", "left out")):
            said += f", {rows[name]:,} {words}" if rows[name] else ""  # type: ignore[literal-required]
        return f"{said}."

    def load(self, config: RunConfig, kept: Path | None = None) -> Inputs:
        spec = config.map
        if spec is None:
            raise config.wrong(
                "map", "is missing: what is asked for each row, and which columns its reply fills"
            )
        if config.dataset.path is None:
            raise config.wrong("dataset.path", "is missing; it is the dataset to map")
        if config.groupcheck is not None and spec.on_reject == "keep_null":
            raise config.wrong(
                "map.on_reject",
                "keep_null keeps every row, and a group check leaves out those that are alike",
            )
        _check_needs(config, spec)
        dataset = BaseDataset.surveyed(config.dataset)
        there = columns_of(dataset.fields.schema)
        made = made_by(spec)
        output = (CHOSEN, REJECTED) if spec.keep == "pair" else tuple(made)
        if taken := [name for name in (*output, *made) if name in there]:
            raise config.wrong(
                "map.columns", f"the data has a column {taken[0]!r} already; give the new one another name"
            )
        if not there:
            first = next((row for _, row in dataset.numbered() if isinstance(row, BadRow)), None)
            said = f"no row can be read; {first.detail}" if first is not None else "the file is empty"
            raise config.wrong("dataset.path", f"{dataset.name}: {said}")
        prompts = RowPrompts(config, there, examples_of(config, there))
        if "fields" not in config.dataset.model_fields_set:
            fields = fields_of(prompts, dataset.fields.schema)
            config = config.changed(dataset=config.dataset.model_copy(update={"fields": fields}))
        generate = config.generate.model_copy(update={"few_shot": 0, "allow_repeats": True})
        config = config.changed(generate=generate)
        columns = (
            {**made, **{name: Column(Type("string")) for name in output}} if spec.keep == "pair" else made
        )
        dataset = dataset.with_columns(config.dataset, columns)
        rows = dataset.rows if self._rows is None else min(self._rows, dataset.rows)
        inputs = loaded(config, dataset, rows * spec.most_items)
        inputs = replace(inputs, row_prompts=prompts)
        self._check_prompts(inputs, prompts)
        return inputs

    def _check_prompts(self, inputs: Inputs, prompts: RowPrompts) -> None:
        """Raises ConfigError where none of the first rows can be asked for, or no such call can ever be sent."""
        failed: ConfigError | None = None
        for row in islice(readable_rows(inputs), _TRIED):
            filled = {**row, **{name: "" for name in prompts.spec.made if name not in row}}
            try:
                asked = [prompts.prompt(Batch(0, 1, 0, 0.0), step, filled, 0, "") for step in prompts.steps]
            except ConfigError as error:
                failed = error
                continue
            for step, prompt in zip(prompts.steps, asked, strict=True):
                check_affordable(inputs.config, inputs.prices, prompt, f"{step.where}.max_tokens")
            return
        if failed is not None:
            raise inputs.config.wrong(prompts.steps[0].where, str(failed))

    def fell_short(self, progress: Progress, config: RunConfig) -> str:
        decided, least = progress.accepted + progress.rejected, config.limits.least_acceptance
        if not decided or progress.accepted >= least * decided:
            return ""
        return (
            f"of {decided:,} rows {progress.accepted:,} have an answer; see rejected.jsonl, mend the config, and start "
            "again in another folder (-o), or set limits.least_acceptance lower"
        )

    def identity(self, inputs: Inputs) -> dict[str, Any]:
        spec = inputs.config.map
        assert spec is not None
        examples = source_of(spec.examples, inputs.config.dataset).sha256() if spec.examples else None
        return {**super().identity(inputs), "map.examples": examples}

    def stages(self, parts: Making) -> list[Stage]:
        config, fields, prompts = parts.inputs.config, parts.inputs.dataset.fields, parts.inputs.row_prompts
        assert config.map is not None
        assert prompts is not None
        checks = []
        for place, (spec, validator) in enumerate(zip(config.validators, parts.validators, strict=True)):
            refine = Refine(validator, parts.halt, fields.verify, parts.validators[:place], parts.meter)
            checks.append(Check(refine, asyncio.Semaphore(spec.workers or config.limits.most_in_flight)))
        choosing = Choosing.of(config.map, fields, asker(parts, OWNER, priority=-1))
        step = MapRows(parts.ask, prompts, fields, checks, choosing)
        # A few more workers than calls in flight: while one waits for the disk, another makes its call.
        workers = config.limits.most_in_flight * 5 // 4 + 1
        return [Stage("map", step, workers), *embedding(parts)]

    def pipeline(self, parts: Parts) -> Pipeline:
        limits = parts.inputs.config.limits
        stopping = EarlyStopping(limits.least_acceptance, limits.acceptance_window)
        spec = parts.inputs.config.map
        assert spec is not None
        folder = RunFolder(parts.journal.path.parent)
        moved = (
            FinishedRows(folder, spec.part, parts.journal.settled).moved if spec.part is not None else None
        )
        sink = commit(parts, early_stopping=stopping, moved=moved)
        return Pipeline.joined(self._source(parts), self.made(parts), sink, parts.halt)

    async def begin(self, journal: Journal, inputs: Inputs) -> None:
        prompts = inputs.row_prompts
        assert prompts is not None
        spec = prompts.spec
        asked = {
            "samples": spec.samples,
            "keep": spec.keep,
            "reuse": spec.reuse,
            "purpose": prompts.steps[0].purpose,
        }
        if spec.part is not None and journal.fact("part") not in (None, spec.part):
            FinishedRows(RunFolder(journal.path.parent), spec.part).forget()
        await journal.remember("part", spec.part)
        await journal.remember(FACT, asked)

    def listings(self, connection: sqlite3.Connection, config: RunConfig, folder: RunFolder) -> list[Listing]:
        section = rows_section(connection)
        return [rows_listing(section)] if section is not None else []

    def announced(self, inputs: Inputs, folder: RunFolder) -> Iterator[str]:
        if said := growth(inputs, folder.path):
            yield said

    def write(self, connection: sqlite3.Connection, inputs: Inputs, folder: RunFolder) -> None:
        """Writes the files of finished rows that are not there yet; the last one may have fewer rows."""
        spec = inputs.config.map
        if spec is not None and spec.part is not None:
            FinishedRows(folder, spec.part).finish(connection, inputs.target // spec.most_items)

    def _source(self, parts: Parts) -> AsyncIterator[Batch | Item]:
        rows = parts.inputs.dataset.numbered()
        rows = rows if self._rows is None else islice(rows, self._rows)
        return Rows(rows, parts.progress, parts.halt, window(parts)).batches()


def columns_of(schema: Schema) -> list[str]:
    """The columns of rows, without what an earlier run has written about them."""
    return [name for name in schema.columns if name != "_meta"]


def _check_needs(config: RunConfig, spec: MapConfig) -> None:
    """Raises ConfigError where the best answer is told by a check that is not configured."""
    models = config.purpose_models()
    for step in spec.chain:
        asked = [models[step.purpose]] if step.purpose in models else config.endpoints
        if step.reasoning is not None and not all(model.reasoning.keep for model in asked):
            said = (
                f"{step.reasoning!r} would stay empty: thoughts are kept with model.reasoning: {{keep: true}}"
            )
            raise config.wrong("map.reasoning" if not spec.steps else "map.steps", said)
    names = {validator.name for validator in config.validators}
    if spec.keep in ("best", "pair") and spec.by in ("agree", "tests") and spec.by not in names:
        raise config.wrong(
            "map.by", f"{spec.by} tells the best answer by the validator of that name; add it to validators"
        )


def fields_of(prompts: RowPrompts, schema: Schema) -> FieldsConfig:
    """How items are known where the config does not say: by the texts that prompts speak of; labelled with the new
    column called answer or label, else with the first one that holds a single value.
    """
    spec, there = prompts.spec, columns_of(schema)
    used = [name for name in there if any(name in step.used for step in prompts.steps)]
    plainly = [name for name in used or there if "." not in name]
    texts = [name for name in plainly if schema.column(name).type.kind == "string"] or plainly or there[:1]
    if len(texts) > 1 and RESERVED & set(
        texts
    ):  # several parts are known by their names, which these are not
        texts = (
            ["text"] if "text" in texts else [name for name in texts if name not in RESERVED][:1] or texts[:1]
        )
    columns = made_by(spec)
    plain = ("string", "integer", "number", "boolean")
    able = [name for name, column in columns.items() if column.type.kind in plain]
    label = next((name for name in able if name in _LABELS), able[0] if able else None)
    taken = {*RESERVED, *texts, label}
    extras = {name: ExtraField(required=False) for name in columns if name not in taken and "." not in name}
    return FieldsConfig(
        text=texts[0] if len(texts) == 1 else tuple(texts),
        label=LabelField(field=label) if label is not None else None,
        extras=extras,
    )


def examples_of(config: RunConfig, there: list[str]) -> list[dict[str, Any]]:
    """The rows that are done. Raises ConfigError where they have not all columns."""
    spec = config.map
    if spec is None or not spec.examples or not spec.few_shot:
        return []
    source: Source = source_of(spec.examples, config.dataset)
    rows = [row for _, row in islice(source.rows(), _EXAMPLES) if not isinstance(row, BadRow)]
    wanted = [name for name in spec.made if name not in {step.reasoning for step in spec.chain}]
    for place, row in enumerate(rows, 1):
        if missing := [name for name in wanted if row.get(name) is None]:
            raise config.wrong(
                "map.examples", f"{source.name}: row {place} has no {missing[0]!r}; examples have all columns"
            )
    if not rows:
        raise config.wrong("map.examples", f"{source.name}: holds no row")
    return rows

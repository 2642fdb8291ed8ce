"""`datagen calibrate`: what the checks catch, pass and cost, on rows whose label is known."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from engine.config import RunConfig
from engine.dataset.base import BaseDataset
from engine.dataset.examples import Chosen
from engine.dataset.forms import Example
from engine.diversity import GROUP_CHECK
from engine.files.writing import replacing
from engine.flow.pipeline import Pipeline
from engine.flow.stage import Stage
from engine.planning.guidance import check_guidance, selectors_of, selects_by_vectors
from engine.planning.plan import Planner
from engine.protocols import Graded, Validator
from engine.quality.calibration import calibration
from engine.quality.cases import Case, Tried
from engine.quality.rewriting import rewritten
from engine.quality.taken_up import Calibrated
from engine.report.calibration import calibration_tables
from engine.report.shape import ReportData
from engine.report.tables import Listing
from engine.runs.inputs import Inputs, loaded
from engine.runs.modes.mode import Mode
from engine.runs.pipeline import Parts, asker, commit, embedding, refining, window
from engine.runs.plugins import confirming
from engine.runs.setup import Preparing, Setup, prepared
from engine.stages.cases import NAME, SIZE, Cases, Labelling
from engine.stages.refine import Refine
from engine.stages.trial import Policy, Trial
from engine.store.folder import RunFolder
from engine.store.reading import read_items

ITEMS = 200
"""Rows with known labels, where the command line does not say how many."""
LEAST = 10


class CalibrateMode(Mode):
    """Its items are cases: rows as the generator labels them, with planted defects, and as they are."""

    name = family = "calibrate"
    tables = True
    completed = "Every case is tried."
    unread = ("evaluate",)
    waits = False

    def __init__(self, items: int | None = None) -> None:
        """`items`: rows to try; where absent, as many as the run that is continued has."""
        self._items = items

    def load(self, config: RunConfig, kept: Path | None = None) -> Inputs:
        if config.dataset.path is None:
            raise config.wrong("dataset.path", "is missing; a calibration needs rows whose labels are known")
        base = BaseDataset.load(config.dataset)
        shown = max([config.generate.few_shot_of(way) for way in config.generate.ways.values()])
        wanted = self._items or (config.generate.target or SIZE * ITEMS) // SIZE
        rows = min(wanted, len(base.examples) - max(shown, 1))
        if rows < min(LEAST, wanted):
            raise config.wrong(
                "dataset.path",
                f"has {len(base.examples):,} usable rows; a calibration takes {LEAST} at least, besides the {shown} "
                "that a prompt shows as examples",
            )
        dataset = replace(base, examples=Chosen(base.examples, _order(base.examples, config.seed)[rows:]))
        check_guidance(config, dataset)
        return loaded(config, dataset, SIZE * rows, vectors=selects_by_vectors(config.generate))

    @asynccontextmanager
    async def _prepared(self, preparing: Preparing) -> AsyncIterator[Setup]:
        config, dataset = preparing.inputs.config, preparing.inputs.dataset
        async with prepared(preparing) as setup:
            selectors = selectors_of(config.generate, dataset, config.seed, setup.base_vectors)
            yield replace(setup, selectors=selectors)

    def prepared(self, preparing: Preparing) -> AbstractAsyncContextManager[Setup]:
        return self._prepared(preparing)

    def pipeline(self, parts: Parts) -> Pipeline:
        inputs, config, fields = parts.inputs, parts.inputs.config, parts.inputs.dataset.fields
        held = held_rows(inputs)
        asking, workers = asker(parts, NAME), config.limits.most_in_flight
        labelling = Labelling(config, fields, inputs.dataset.examples, asker(parts, "generate"))
        planner = Planner(config.generate, config.seed, parts.setup.selectors)
        cases = Cases(
            held, inputs.dataset.examples, fields, config, planner, labelling, parts.progress, parts.halt, window(parts)
        )  # fmt: skip
        refine = (
            Refine(parts.validators[0], parts.halt, fields.verify, meter=parts.meter)
            if parts.validators
            else None
        )
        policies = {each.name: list(policies_of(each)) for each in parts.validators}
        trial = Trial(policies, refine, parts.setup.group, fields, held, asking)
        stages = [
            Stage("cases", cases, workers),
            *embedding(parts),
            Stage("trial", trial, workers),
            *refining(parts),
            Stage("result", trial.result, workers),
        ]
        # Cases of one row are near-duplicates of one another: the group check has its say in `trial`.
        sink = commit(replace(parts, setup=replace(parts.setup, group=None)))
        return Pipeline.joined(cases.batches(), stages, sink, parts.halt)

    def write(self, connection: sqlite3.Connection, inputs: Inputs, folder: RunFolder) -> None:
        config = inputs.config
        names = [spec.name for spec in config.validators]
        if config.groupcheck is not None:
            names.append(GROUP_CHECK)
        wish = config.quality
        found = calibration(
            list(cases_of(connection)),
            names,
            confirming=confirming(()),
            precision=wish.precision,
            least_yield=wish.least_yield,
        )
        about = Calibrated.about(config, inputs.same if config.groupcheck is not None else None)
        if wish.rewritten:
            about["rewritten"] = rewritten_of(inputs)
        with replacing(folder.calibration) as file:
            file.write(orjson.dumps({**about, **found}, option=orjson.OPT_INDENT_2).decode() + "\n")

    def listings(self, connection: sqlite3.Connection, config: RunConfig, folder: RunFolder) -> list[Listing]:
        if not folder.calibration.exists():
            return []
        return list(calibration_tables(orjson.loads(folder.calibration.read_bytes())))

    def summary(self, data: ReportData) -> str:
        return self.completed


def _order(examples: Sequence[Example], seed: int) -> list[int]:
    """All rows by chance: the first ones are tried, so that more of them include those tried before."""
    places = list(range(len(examples)))
    random.Random(f"{seed}/{NAME}").shuffle(places)
    return places


def held_rows(inputs: Inputs) -> Sequence[Example]:
    """The rows that are tried."""
    shown = inputs.dataset.examples
    assert isinstance(shown, Chosen)
    config, rows = inputs.config, inputs.target // SIZE
    held = Chosen(shown.whole, _order(shown.whole, config.seed)[:rows])
    if not config.quality.rewritten:
        return held
    solution = inputs.dataset.fields.solution_name
    return [
        rewritten(example, solution, random.Random(f"{config.seed}/rewritten/{example.number}")) or example
        for example in held
    ]


def rewritten_of(inputs: Inputs) -> dict[str, int]:
    """How many rows are tried in other names alone, and in other numbers, too."""
    shown, held = inputs.dataset.examples, held_rows(inputs)
    assert isinstance(shown, Chosen)
    before = Chosen(shown.whole, _order(shown.whole, inputs.config.seed)[: len(held)])
    changed = [(one, other) for one, other in zip(before, held, strict=True) if one.text != other.text]
    numbers = sum(_digits(one.text) != _digits(other.text) for one, other in changed)
    return {"names": len(changed) - numbers, "numbers": numbers}


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def policies_of(validator: Validator) -> Iterator[Policy]:
    """The validator as it is configured, and as it could be."""
    yield Policy({}, validator)
    if isinstance(validator, Graded):
        for options, other in validator.policies():
            yield Policy(options, other)


def cases_of(connection: sqlite3.Connection) -> Iterator[Case]:
    """The cases that are decided, out of the journal."""
    for state in ("accepted", "rejected"):
        for row in read_items(connection, state):
            meta = row["_meta"]
            first, *later = meta["verdicts"]
            record: dict[str, Any] = first["record"]
            if "checks" not in record:
                continue  # it could not be labelled: no check has seen it
            result: dict[str, Any] = next((each["record"] for each in later if each["by"] == NAME), {})
            yield Case(
                record["row"],
                record["kind"],
                record["right"],
                record["label"],
                {
                    name: {policy: Tried.read(each) for policy, each in tried.items()}
                    for name, tried in record["checks"].items()
                },
                state == "accepted",
                str(meta.get("rejected_by", "")),
                result.get("right"),
                meta["cost_usd"] - record["labelled_usd"],
            )

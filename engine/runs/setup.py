"""What a run makes ready before its first batch: vectors of the base dataset, attributes, the group check."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from engine.config.run import UNTOLD_CONCURRENCY
from engine.diversity.sameness import compared
from engine.flow.halt import Halt
from engine.planning.guidance import attributes_of, selectors_of, selects_by_vectors
from engine.runs.inputs import Inputs
from engine.runs.plugins import asker_of
from engine.planning.attributes import Attribute, Cells
from engine.planning.few_shot import Selector
from engine.dataset.forms import Example
from engine.protocols import Ask, Row
from engine.planning.feedback import Adviser, Lessons
from engine.planning.delayed import LABEL_GATE, BatchOutcome, Fate, batch_outcome
from engine.planning.extract import extracted
from engine.planning.lessons import Drawing
from engine.planning.strategies import Mix
from engine.store.journal import Journal
from engine.store.reading import (
    POSITIONS,
    REVIEW,
    FateRow,
    connect,
    read_accepted,
    read_dimensions,
    read_fates,
    read_notes,
    read_plans,
)

if TYPE_CHECKING:  # what loads numpy is loaded by the runs that need it
    from engine.diversity.embedding import Embedding
    from engine.protocols import Vectors
    from engine.stages.groupcheck import GroupCheck

LAG = 4
"""Batches for each call in flight that lie between an outcome and the choices that rest on it."""
_LEAST_LAG = 16
_PARTS = 8
"""Of a run that learns from its mistakes, the outcome of each eighth at the latest counts in the next."""
_MANY = 50_000
"""Accepted items from which reading them back is worth a word."""

Tell = Callable[[str], None]
"""Called with a sentence on what takes long."""
T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """What the pipeline is made with."""

    selectors: Mapping[str, Selector]
    mix: Mix | None = None
    adviser: Adviser | None = None
    base_vectors: Vectors | None = None
    """Of the base dataset's examples, where the run made them."""
    group: GroupCheck | None = None
    embedding: Embedding | None = None
    about: Mapping[str, Any] | None = None
    """What the report says of it."""


@asynccontextmanager
async def prepared(
    inputs: Inputs, ask: Ask, journal: Journal, halt: Halt, tell: Tell
) -> AsyncIterator[Prepared]:
    """What takes long runs in a thread, and ends between two steps once the run is halted.

    Raises FatalError where there are no vectors to be had, StopRun where the run is halted here.
    """
    async with contextlib.AsyncExitStack() as stack:
        embedding = await _opened(inputs, ask, journal, stack, tell)
        vectors = await _base_vectors(inputs, embedding, halt, tell)
        attributes = [] if inputs.existing else await _attributes(inputs, ask, journal)
        config, dataset = inputs.config, inputs.dataset
        selectors = await asyncio.to_thread(selectors_of, config.generate, dataset, config.seed, vectors)
        halt.check()
        group = await _group(inputs, vectors, journal, halt, tell)
        mix = None if inputs.existing else await _mix(inputs, attributes, journal)
        adviser = None if inputs.existing else await _adviser(inputs, ask, journal)
        halt.check()
        about = {"attributes": [each.to_json() for each in attributes], **_about(group, embedding)}
        yield Prepared(selectors, mix, adviser, vectors, group, embedding, about)


async def _reading(journal: Journal, work: Callable[[sqlite3.Connection], T]) -> T:
    """What `work` makes of the journal, in a thread with a connection of its own."""

    def reading() -> T:
        with contextlib.closing(connect(journal.path)) as connection:
            return work(connection)

    return await asyncio.to_thread(reading)


# --- vectors ---------------------------------------------------------------------------------------


async def _opened(
    inputs: Inputs, ask: Ask, journal: Journal, stack: contextlib.AsyncExitStack, tell: Tell
) -> Embedding | None:
    embedder = inputs.embedder
    if embedder is None:
        return None
    from engine.diversity.embedding import Embedding, EndpointModel
    from engine.diversity.local_model import LocalModel

    if isinstance(embedder, EndpointModel):
        embedder.asking(ask)
    local = embedder if isinstance(embedder, LocalModel) else None
    if local is not None:
        # The first start measures which precision is the faster; all starts of a run then use the same.
        local.precision = journal.fact("precision") or local.precision
        tell(f"Loading the embedding model {embedder.name}.")
    if isinstance(embedder, AbstractAsyncContextManager):
        await stack.enter_async_context(embedder)
    if local is not None:
        await journal.remember("precision", local.precision)
    return Embedding(embedder, await _reading(journal, read_dimensions))


async def _base_vectors(
    inputs: Inputs, embedding: Embedding | None, halt: Halt, tell: Tell
) -> Vectors | None:
    """Of the base dataset's examples, from the cache as far as it has them."""
    config, examples = inputs.config, inputs.dataset.examples
    wanted = config.groupcheck is not None and config.groupcheck.against_base
    if embedding is None or not examples or not (wanted or selects_by_vectors(config.generate)):
        return None
    from engine.diversity.vector_cache import VectorCache

    def told(done: int, whole: int) -> None:
        halt.check()
        if whole > done:
            tell(f"Embedding the base dataset, once: {done:,} of {whole:,} rows.")

    texts = [compared(example) for example in examples]
    return await VectorCache(config.embedding.cache).vectors(texts, embedding, told)


# --- guidance --------------------------------------------------------------------------------------


async def _attributes(inputs: Inputs, ask: Ask, journal: Journal) -> list[Attribute]:
    """Found once; a resumed run reads them from its journal."""
    generate = inputs.config.generate
    if not generate.attributes:
        return []
    if (held := journal.fact("attributes")) is not None:
        return [Attribute.from_json(each) for each in held]
    found = attributes_of(generate, inputs.dataset, await extracted(inputs.config, inputs.dataset, asker_of(inputs.config, ask, "attributes")))
    await journal.remember("attributes", [each.to_json() for each in found])
    return found


async def _mix(inputs: Inputs, attributes: list[Attribute], journal: Journal) -> Mix | None:
    """None where every batch is asked for alike."""
    config, prices = inputs.config, inputs.prices
    retry = config.groupcheck is not None and config.groupcheck.on_duplicate == "retry"
    learns = retry or config.generate.strategy == "adaptive"
    cells = Cells(attributes, config.seed) if attributes else None
    priced = prices is not None and prices.of("items").worst(1000, 1000) > 0
    lag = await _lag(config.limits.concurrency or UNTOLD_CONCURRENCY, journal) if learns else None
    mix = Mix(config.generate, config.seed, cells, lag, retry=retry, priced=priced)
    if mix.trivial:
        return None
    committed = journal.committed

    def restored(connection: sqlite3.Connection) -> None:
        plans = read_plans(connection)
        chosen = {batch: plan for batch, plan in plans.items() if "strategy" in plan}
        outcomes = _outcomes(inputs, connection, plans) if learns else []
        partial = next((each for each in outcomes if each.batch == committed), None)
        mix.restore(chosen.items(), [each for each in outcomes if each.batch < committed], partial)
        mix.skip(committed)

    await _reading(journal, restored)
    return mix


async def _adviser(inputs: Inputs, ask: Ask, journal: Journal) -> Adviser | None:
    """None where there is nothing to advise of. Lessons of earlier starts come out of the journal."""
    config, prices = inputs.config, inputs.prices
    generate, spec = config.generate, config.generate.learn_from_mistakes
    notes = await _reading(journal, read_notes) if generate.feedback == "human" else []
    plans = await _reading(journal, read_plans)
    if (
        not notes
        and spec is None
        and not any(plan.get("notes") or plan.get("lesson") for plan in plans.values())
    ):
        return None
    lessons = None
    if spec is not None:
        priced = prices is not None and prices.of("items").worst(1000, 1000) > 0
        lag = await _lag_of_lessons(inputs, journal)
        lessons = Lessons(spec, lag, Drawing(config, asker_of(config, ask, "lessons", priority=-1)), priced=priced)
    adviser = Adviser(notes, generate.most_notes, lessons)
    committed = journal.committed
    outcomes = (
        await _reading(journal, lambda connection: _outcomes(inputs, connection, plans)) if lessons else []
    )
    partial = next((each for each in outcomes if each.batch == committed), None)
    await adviser.restore(
        plans.items(), [each for each in outcomes if each.batch < committed], committed, partial
    )
    return adviser


async def _lag_of_lessons(inputs: Inputs, journal: Journal) -> int:
    """As `_lag`, but short enough for a small run to learn something before it ends; kept, too."""
    held = journal.fact("lessons_lag")
    if held is None:
        generate, limits = inputs.config.generate, inputs.config.limits
        batches = generate.target // generate.batch_size
        most = LAG * (limits.concurrency or UNTOLD_CONCURRENCY)
        held = max(_LEAST_LAG, min(most, batches // _PARTS))
        await journal.remember("lessons_lag", held)
    return int(held)


async def _lag(concurrency: int, journal: Journal) -> int:
    """By the first start's concurrency, and kept: the choices rest on it."""
    held = journal.fact("lag")
    if held is None:
        held = max(_LEAST_LAG, LAG * concurrency)
        await journal.remember("lag", held)
    return int(held)


def _outcomes(
    inputs: Inputs, connection: sqlite3.Connection, plans: Mapping[int, Mapping[str, Any]]
) -> list[BatchOutcome]:
    """Those of earlier starts, made of the journal as the commit stage makes them of its items."""
    remembered, several = inputs.dataset.fields.remembered, len(inputs.config.generate.ways) > 1
    found = []
    for batch, rows in groupby(read_fates(connection), key=lambda row: row.item // POSITIONS):
        plan = plans.get(batch, {})
        strategy = str(plan.get("strategy", "")) if several else ""
        attributes = tuple(plan.get("attributes", {}).items())
        fates = [_fate(row, remembered) for row in rows]
        found.append(
            batch_outcome(batch, strategy, attributes, replaces=bool(plan.get("unlike")), fates=fates)
        )
    return found


def _fate(row: FateRow, remembered: Callable[[Row], Example]) -> Fate:
    accepted = row.state == "accepted"
    text = "" if accepted else remembered(orjson.loads(row.record)).text
    said = "" if accepted else row.said
    return Fate(accepted, row.by, row.reason, said, text, row.cost, withdrawn=row.by == REVIEW)


# --- the group check -------------------------------------------------------------------------------


async def _group(
    inputs: Inputs, vectors: Vectors | None, journal: Journal, halt: Halt, tell: Tell
) -> GroupCheck | None:
    spec = inputs.config.groupcheck
    if spec is None:
        return None
    from engine.diversity.duplicates import Duplicates
    from engine.stages.groupcheck import GroupCheck

    group = GroupCheck(Duplicates(inputs.same, spec.threshold, spec.index), inputs.dataset)
    if (accepted := journal.tallies().accepted) > _MANY:
        tell(f"Reading {accepted:,} accepted items back into the group check.")

    def filled(connection: sqlite3.Connection) -> None:
        if spec.against_base:
            group.remember_base(vectors if group.duplicates.needs_vectors else None)
        group.remember_accepted(read_accepted(connection), halt.check)

    await _reading(journal, filled)
    return group


def _about(group: GroupCheck | None, embedding: Embedding | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if embedding is not None:
        embedder = embedding.embedder
        found["embedding"] = {"model": embedder.name, "version": embedder.version}
    if group is not None:
        duplicates = group.duplicates
        found["groupcheck"] = {"same": duplicates.same, "threshold": duplicates.threshold}
    return found

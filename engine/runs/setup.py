"""Prepares a run before its first batch: vectors of the base dataset, group check, guidance."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from engine.config.run import ASSUMED_CONCURRENCY
from engine.dataset.forms import Example
from engine.diversity.sameness import compared
from engine.flow.halt import Halt
from engine.items import POSITIONS
from engine.planning.attributes import Attribute, Cells
from engine.planning.delayed import BatchOutcome, Fate, batch_outcome
from engine.planning.extract import extracted
from engine.planning.feedback import Adviser, Lessons
from engine.planning.few_shot import Selector
from engine.planning.guidance import attributes_of, rows_by_value, selectors_of, selects_by_vectors
from engine.planning.lessons import Drawing
from engine.planning.strategies import Mix
from engine.protocols import Ask, Embedder, Notify, Row
from engine.runs.inputs import Inputs
from engine.runs.plugins import asker_of
from engine.schema.values import loads
from engine.stages.early_stopping import EarlyStopping
from engine.stages.repeats import Repeats
from engine.store.journal import Journal
from engine.store.reading import (
    REVIEW,
    FateRow,
    connect,
    read_accepted,
    read_dimensions,
    read_fates,
    read_notes,
    read_plans,
)

if TYPE_CHECKING:  # only runs that need it import what loads numpy
    from engine.diversity.embedding import Embedding
    from engine.protocols import Vectors
    from engine.stages.groupcheck import GroupCheck

LAG = 4
"""Batches, for each call in flight, between an outcome and the choices that depend on it."""
_LEAST_LAG = 16
_PARTS = 8
"""In a run that learns from its mistakes, the outcomes of each eighth count at the latest in the next."""
_MANY = 50_000
"""Number of accepted items above which reading them back is announced to the user."""

T = TypeVar("T")


@dataclass(frozen=True)
class Preparing:
    """What the preparation needs."""

    inputs: Inputs
    ask: Ask
    journal: Journal
    halt: Halt
    notify: Notify


@dataclass(frozen=True)
class Setup:
    """The prepared parts of a pipeline."""

    base_vectors: Vectors | None = None
    """The vectors of the base dataset's examples, if the run made them."""
    group: GroupCheck | None = None
    embedding: Embedding | None = None
    selectors: Mapping[str, Selector] = field(default_factory=dict)
    """The selectors by strategy; this and the following fields are only for a run that generates."""
    repeats: Repeats | None = None
    mix: Mix | None = None
    adviser: Adviser | None = None
    early_stopping: EarlyStopping | None = None
    attributes: Sequence[Attribute] = ()
    rows: Mapping[tuple[str, str], Sequence[int]] = field(default_factory=dict)
    """The base dataset's rows by their attributes' values; see Planner."""

    def about(self) -> dict[str, Any]:
        """Its description for the report."""
        about: dict[str, Any] = {"attributes": [each.as_dict() for each in self.attributes]}
        if self.embedding is not None:
            embedder = self.embedding.embedder
            about["embedding"] = {"model": embedder.name, "version": embedder.version}
        if self.group is not None:
            duplicates = self.group.duplicates
            about["groupcheck"] = {"same": duplicates.same, "threshold": duplicates.threshold}
        return about


@asynccontextmanager
async def prepared(preparing: Preparing) -> AsyncIterator[Setup]:
    """Vectors and group check. Long steps run in a thread, and stop between two steps once the run is halted.

    Raises FatalError if vectors cannot be made, StopRun if the run is halted here.
    """
    async with _opened(preparing) as embedding:
        vectors = await _base_vectors(preparing, embedding)
        preparing.halt.check()
        group = await _group(preparing, vectors)
        preparing.halt.check()
        yield Setup(vectors, group, embedding)


@asynccontextmanager
async def guided(preparing: Preparing) -> AsyncIterator[Setup]:
    """`prepared`, and the guidance for requests: examples, attributes, strategies, feedback."""
    config, dataset = preparing.inputs.config, preparing.inputs.dataset
    async with prepared(preparing) as setup:
        attributes = await _attributes(preparing)
        vectors = setup.base_vectors
        selectors = await asyncio.to_thread(selectors_of, config.generate, dataset, config.seed, vectors)
        rows = await asyncio.to_thread(rows_by_value, config.generate, dataset)
        mix = await _mix(preparing, attributes)
        adviser = await _adviser(preparing)
        repeats = await _repeats(preparing)
        preparing.halt.check()
        yield replace(
            setup,
            selectors=selectors,
            mix=mix,
            adviser=adviser,
            attributes=attributes,
            repeats=repeats,
            early_stopping=EarlyStopping(config.limits.least_acceptance, config.limits.acceptance_window),
            rows=rows,
        )


async def _from_journal(journal: Journal, work: Callable[[sqlite3.Connection], T]) -> T:
    """The result of `work` on the journal, run in a thread with its own connection."""

    def read() -> T:
        with contextlib.closing(connect(journal.path)) as connection:
            return work(connection)

    return await asyncio.to_thread(read)


# --- vectors ---------------------------------------------------------------------------------------


@asynccontextmanager
async def _opened(preparing: Preparing) -> AsyncIterator[Embedding | None]:
    """The embedder, open while the block lasts; None if the run needs no vectors."""
    embedder, journal = preparing.inputs.embedder, preparing.journal
    if embedder is None:
        yield None
        return
    from engine.diversity.local_model import LocalModel

    local = embedder if isinstance(embedder, LocalModel) else None
    if local is not None:
        preparing.notify(f"Loading the embedding model {embedder.name}.")
    dimensions = await _from_journal(journal, read_dimensions)
    # The first start measures which precision is faster; all later starts of a run, and its workers, use the same.
    precision = journal.fact("precision")
    async with opened_embedding(embedder, preparing.ask, precision, dimensions) as embedding:
        if local is not None:
            await journal.remember("precision", local.precision)
        yield embedding


@asynccontextmanager
async def opened_embedding(
    embedder: Embedder, ask: Ask, precision: Any, dimensions: int | None
) -> AsyncIterator[Embedding]:
    """The embedder, open while the block lasts. `precision` is that of a local model, where it is known already.

    Raises EmbedderUnavailable.
    """
    from engine.diversity.embedding import Embedding, EndpointModel
    from engine.diversity.local_model import LocalModel

    if isinstance(embedder, EndpointModel):
        embedder.asking(ask)
    if isinstance(embedder, LocalModel):
        embedder.precision = precision or embedder.precision
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(embedder, AbstractAsyncContextManager):
            await stack.enter_async_context(embedder)
        yield Embedding(embedder, dimensions)


async def _base_vectors(preparing: Preparing, embedding: Embedding | None) -> Vectors | None:
    """The vectors of the base dataset's examples, from the cache where possible."""
    config, examples = preparing.inputs.config, preparing.inputs.dataset.examples
    wanted = config.groupcheck is not None and config.groupcheck.against_base
    if embedding is None or not examples or not (wanted or selects_by_vectors(config.generate)):
        return None
    from engine.diversity.vector_cache import VectorCache

    def progress(done: int, whole: int) -> None:
        preparing.halt.check()
        if whole > done:
            preparing.notify(f"Embedding the base dataset, once: {done:,} of {whole:,} rows.")

    texts = [compared(example) for example in examples]
    return await VectorCache(config.embedding.cache).vectors(texts, embedding, progress)


# --- guidance --------------------------------------------------------------------------------------


async def _attributes(preparing: Preparing) -> list[Attribute]:
    """The attributes, determined once; a resumed run reads them from its journal."""
    inputs, journal, generate = preparing.inputs, preparing.journal, preparing.inputs.config.generate
    if not generate.attributes:
        return []
    if (held := journal.fact("attributes")) is not None:
        return [Attribute.from_dict(each) for each in held]
    asker = asker_of(inputs.config, preparing.ask, "attributes")
    keywords = await extracted(inputs.config, inputs.dataset, asker)
    attributes = attributes_of(generate, inputs.dataset, keywords)
    await journal.remember("attributes", [each.as_dict() for each in attributes])
    return attributes


async def _mix(preparing: Preparing, attributes: Sequence[Attribute]) -> Mix | None:
    """The mix of strategies and attributes; None if all batches are requested alike."""
    inputs, journal, config = preparing.inputs, preparing.journal, preparing.inputs.config
    retry = config.groupcheck is not None and config.groupcheck.on_duplicate == "retry"
    learns = retry or config.generate.strategy == "adaptive"
    cells = Cells(attributes, config.seed) if attributes else None
    lag = await _lag(config.limits.concurrency or ASSUMED_CONCURRENCY, journal) if learns else None
    mix = Mix(config.generate, config.seed, cells, lag, retry=retry, priced=_costs_something(inputs))
    if mix.trivial:
        return None
    committed = journal.committed

    def restored(connection: sqlite3.Connection) -> None:
        plans = read_plans(connection)
        chosen = {batch: plan for batch, plan in plans.items() if "strategy" in plan}
        earlier = Earlier.split(_outcomes(inputs, connection, plans) if learns else [], committed)
        mix.restore(chosen.items(), earlier.whole, earlier.partial)
        mix.skip(committed)

    await _from_journal(journal, restored)
    return mix


async def _adviser(preparing: Preparing) -> Adviser | None:
    """The adviser; None if there is no advice to give. Lessons of earlier starts come from the journal."""
    inputs, journal, generate = preparing.inputs, preparing.journal, preparing.inputs.config.generate
    notes = await _from_journal(journal, read_notes) if generate.feedback == "human" else []
    plans = await _from_journal(journal, read_plans)
    lessons = await _lessons(preparing)
    advised_before = any(plan.get("notes") or plan.get("lesson") for plan in plans.values())
    if not notes and lessons is None and not advised_before:
        return None
    adviser, committed = Adviser(notes, generate.most_notes, lessons), journal.committed
    outcomes: Sequence[BatchOutcome] = ()
    if lessons is not None:
        outcomes = await _from_journal(journal, lambda connection: _outcomes(inputs, connection, plans))
    earlier = Earlier.split(outcomes, committed)
    await adviser.restore(plans.items(), earlier.whole, committed, earlier.partial)
    return adviser


async def _lessons(preparing: Preparing) -> Lessons | None:
    inputs, config = preparing.inputs, preparing.inputs.config
    spec = config.generate.learn_from_mistakes
    if spec is None:
        return None
    lag = await _lag_of_lessons(inputs, preparing.journal)
    drawing = Drawing(config, asker_of(config, preparing.ask, "lessons", priority=-1))
    return Lessons(spec, lag, drawing, priced=_costs_something(inputs))


def _costs_something(inputs: Inputs) -> bool:
    """Whether calls for items have a price above zero."""
    return inputs.prices is not None and inputs.prices.for_route("items").worst(1000, 1000) > 0


async def _lag_of_lessons(inputs: Inputs, journal: Journal) -> int:
    """Like `_lag`, but short enough for a small run to learn before it ends; also journaled."""
    held = journal.fact("lessons_lag")
    if held is None:
        generate, limits = inputs.config.generate, inputs.config.limits
        batches = inputs.target // generate.batch_size
        most = LAG * (limits.concurrency or ASSUMED_CONCURRENCY)
        held = max(_LEAST_LAG, min(most, batches // _PARTS))
        await journal.remember("lessons_lag", held)
    return int(held)


async def _lag(concurrency: int, journal: Journal) -> int:
    """The lag from the first start's concurrency; journaled, since the choices depend on it."""
    held = journal.fact("lag")
    if held is None:
        held = max(_LEAST_LAG, LAG * concurrency)
        await journal.remember("lag", held)
    return int(held)


class Earlier(NamedTuple):
    """Outcomes of earlier starts: of the batches before the first one that is not decided, and of later ones."""

    whole: Sequence[BatchOutcome]
    partial: Sequence[BatchOutcome]

    @classmethod
    def split(cls, outcomes: Sequence[BatchOutcome], committed: int) -> Earlier:
        """`committed`: every batch below this number is completely decided."""
        whole = [each for each in outcomes if each.batch < committed]
        return cls(whole, [each for each in outcomes if each.batch >= committed])


def _outcomes(
    inputs: Inputs, connection: sqlite3.Connection, plans: Mapping[int, Mapping[str, Any]]
) -> list[BatchOutcome]:
    """The outcomes of earlier starts, rebuilt from the journal as the commit stage builds them from items."""
    remembered, several = inputs.dataset.fields.remembered, len(inputs.config.generate.ways) > 1
    outcomes = []
    for batch, rows in groupby(read_fates(connection), key=lambda row: row.item // POSITIONS):
        plan = plans.get(batch, {})
        strategy = str(plan.get("strategy", "")) if several else ""
        attributes = tuple(plan.get("attributes", {}).items())
        fates = [_fate(row, remembered) for row in rows]
        outcomes.append(
            batch_outcome(batch, strategy, attributes, replaces=bool(plan.get("unlike")), fates=fates)
        )
    return outcomes


def _fate(row: FateRow, remembered: Callable[[Row], Example]) -> Fate:
    accepted = row.state == "accepted"
    text = "" if accepted else remembered(loads(row.record)).text
    said = "" if accepted else row.said
    return Fate(accepted, row.by, row.reason, said, text, row.cost, withdrawn=row.by == REVIEW)


async def _repeats(preparing: Preparing) -> Repeats | None:
    """None where repeats are allowed, or where a group check finds them all."""
    config, dataset = preparing.inputs.config, preparing.inputs.dataset
    group = config.groupcheck
    if config.generate.allow_repeats or (group is not None and group.against_base):
        return None
    remembered = dataset.fields.remembered

    def made(connection: sqlite3.Connection) -> Repeats:
        accepted = (remembered(loads(record)) for _, record, _ in read_accepted(connection))
        return Repeats(dataset.examples, accepted)

    return await _from_journal(preparing.journal, made)


# --- the group check -------------------------------------------------------------------------------


async def _group(preparing: Preparing, vectors: Vectors | None) -> GroupCheck | None:
    inputs, journal, spec = preparing.inputs, preparing.journal, preparing.inputs.config.groupcheck
    if spec is None:
        return None
    from engine.diversity.duplicates import Duplicates
    from engine.stages.groupcheck import GroupCheck

    group = GroupCheck(Duplicates(inputs.same, spec.threshold, spec.index), inputs.dataset)
    if (accepted := journal.tallies().accepted) > _MANY:
        preparing.notify(f"Reading {accepted:,} accepted items back into the group check.")

    def filled(connection: sqlite3.Connection) -> None:
        if spec.against_base:
            group.remember_base(vectors if group.duplicates.needs_vectors else None)
        group.remember_accepted(read_accepted(connection), preparing.halt.check)

    await _from_journal(journal, filled)
    return group

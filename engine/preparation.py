"""What a run makes ready before its first batch: vectors of the base dataset, attributes, the group check."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from engine.dataset.fields import FieldProblem
from engine.diversity import GROUP_CHECK
from engine.diversity.sameness import compared
from engine.guidance import attributes_of, selectors_of, selects_by_vectors
from engine.inputs import Inputs
from engine.prompts.attributes import Attribute, Cells
from engine.prompts.selection import Selector
from engine.protocols import Ask
from engine.stages.extract import extracted
from engine.stages.mix import Mix, Outcome
from engine.store.journal import POSITIONS, Journal

if TYPE_CHECKING:  # what loads numpy is loaded by the runs that need it
    from engine.diversity.embedding import Embedding
    from engine.protocols import Vectors
    from engine.stages.groupcheck import GroupCheck

LAG = 4
"""Batches for each call in flight that lie between an outcome and the choices that rest on it."""
_LEAST_LAG = 16

Tell = Callable[[str], None]
"""Called with a sentence on what takes long."""


@dataclass(frozen=True)
class Prepared:
    """What the pipeline is made with."""

    selectors: Mapping[str, Selector]
    mix: Mix | None = None
    group: GroupCheck | None = None
    embedding: Embedding | None = None
    about: Mapping[str, Any] | None = None
    """What the report says of it."""


@asynccontextmanager
async def prepared(inputs: Inputs, ask: Ask, journal: Journal, tell: Tell) -> AsyncIterator[Prepared]:
    """Raises FatalError where there are no vectors to be had, StopRun where the budget ends here."""
    async with contextlib.AsyncExitStack() as stack:
        embedding = await _opened(inputs, ask, stack, tell)
        vectors = await _base_vectors(inputs, embedding, tell)
        config, dataset = inputs.config, inputs.dataset
        selectors = selectors_of(config.generate, dataset, config.seed, vectors)
        attributes = [] if inputs.audited else await _attributes(inputs, ask, journal)
        group = _group(inputs, vectors, journal, tell)
        mix = None if inputs.audited else _mix(inputs, attributes, journal)
        about = {"attributes": [each.to_json() for each in attributes], **_about(group, embedding)}
        yield Prepared(selectors, mix, group, embedding, about)


async def _opened(inputs: Inputs, ask: Ask, stack: contextlib.AsyncExitStack, tell: Tell) -> Embedding | None:
    embedder = inputs.embedder
    if embedder is None:
        return None
    from engine.diversity.embedding import Embedding, EndpointModel

    if isinstance(embedder, EndpointModel):
        embedder.asking(ask)
    tell(f"Loading the embedding model {embedder.name}.")
    if isinstance(embedder, AbstractAsyncContextManager):
        await stack.enter_async_context(embedder)
    return Embedding(embedder)


async def _base_vectors(inputs: Inputs, embedding: Embedding | None, tell: Tell) -> Vectors | None:
    """Of the base dataset's examples, from the cache as far as it has them."""
    config, examples = inputs.config, inputs.dataset.examples
    wanted = config.groupcheck is not None and config.groupcheck.against_base
    if embedding is None or not examples or not (wanted or selects_by_vectors(config.generate)):
        return None
    from engine.diversity.vector_cache import VectorCache

    cache = VectorCache(config.embedding.cache)
    texts = [compared(example) for example in examples]

    def told(done: int, whole: int) -> None:
        if whole > done:
            tell(f"Embedding the base dataset, once: {done:,} of {whole:,} rows.")

    return await cache.vectors(texts, embedding, told)


async def _attributes(inputs: Inputs, ask: Ask, journal: Journal) -> list[Attribute]:
    """Found once; a resumed run reads them from its journal."""
    generate = inputs.config.generate
    if not generate.attributes:
        return []
    if (held := journal.fact("attributes")) is not None:
        return [Attribute.from_json(each) for each in held]
    found = attributes_of(generate, inputs.dataset, await extracted(inputs.config, inputs.dataset, ask))
    await journal.remember("attributes", [each.to_json() for each in found])
    return found


def _group(inputs: Inputs, vectors: Vectors | None, journal: Journal, tell: Tell) -> GroupCheck | None:
    spec = inputs.config.groupcheck
    if spec is None:
        return None
    from engine.diversity.duplicates import Duplicates
    from engine.stages.groupcheck import GroupCheck

    duplicates = Duplicates(inputs.same, spec.threshold, spec.index)
    group = GroupCheck(duplicates, inputs.dataset)
    if spec.against_base:
        group.remember_base(vectors if duplicates.needs_vectors else None)
    if (accepted := journal.tallies().accepted) > 100_000:
        tell(f"Reading {accepted:,} accepted items back into the group check.")
    group.remember_accepted(journal.accepted())
    return group


def _mix(inputs: Inputs, attributes: list[Attribute], journal: Journal) -> Mix | None:
    """None where every batch is asked for alike."""
    config = inputs.config
    retry = config.groupcheck is not None and config.groupcheck.on_duplicate == "retry"
    learns = retry or config.generate.strategy == "adaptive"
    lag = max(_LEAST_LAG, LAG * config.limits.concurrency) if learns else None
    cells = Cells(attributes, config.seed) if attributes else None
    mix = Mix(config.generate, config.seed, cells, lag, retry=retry)
    if mix.trivial:
        return None
    plans = dict(journal.plans())
    mix.restore(plans.items(), _outcomes(inputs, journal, plans) if learns else ())
    mix.skip(journal.committed)
    return mix


def _outcomes(inputs: Inputs, journal: Journal, plans: Mapping[int, Mapping[str, Any]]) -> list[Outcome]:
    """Of earlier starts, as the commit stage told them then."""
    away: dict[int, list[str]] = {}
    for item, record in journal.turned_away(GROUP_CHECK):
        with contextlib.suppress(FieldProblem):
            text = inputs.dataset.fields.read(0, orjson.loads(record)).text
            away.setdefault(item // POSITIONS, []).append(text)
    found = []
    for batch, accepted, cost in journal.outcomes():
        plan = plans.get(batch, {})
        attributes = tuple(plan.get("attributes", {}).items())
        texts = () if plan.get("unlike") else away.get(batch, ())
        duplicates = tuple((attributes, text) for text in texts)
        found.append(Outcome(batch, str(plan.get("strategy", "")), accepted, cost, duplicates))
    return found


def _about(group: GroupCheck | None, embedding: Embedding | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if embedding is not None:
        embedder = embedding.embedder
        found["embedding"] = {"model": embedder.name, "fingerprint": embedder.fingerprint}
        if (precision := getattr(embedder, "precision", None)) is not None:
            found["embedding"]["precision"] = precision
    if group is not None:
        duplicates = group.duplicates
        found["groupcheck"] = {"same": duplicates.same, "threshold": duplicates.threshold}
    return found

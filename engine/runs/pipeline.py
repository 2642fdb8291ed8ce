"""The parts from which modes build pipelines: validators, vectors, the commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from engine.config import RunConfig
from engine.config.run import ASSUMED_CONCURRENCY
from engine.flow.halt import Halt
from engine.flow.stage import Stage
from engine.planning.delayed import BatchOutcome
from engine.prompts.ask import ModelAsker
from engine.protocols import Ask, Validator
from engine.runs.inputs import Inputs
from engine.runs.plugins import asker_of
from engine.runs.setup import Setup
from engine.stages.commit import Commit
from engine.stages.early_stopping import EarlyStopping
from engine.stages.meter import Meter
from engine.stages.progress import Progress
from engine.stages.refine import Refine
from engine.store.journal import Journal

if TYPE_CHECKING:  # only runs that need it import what loads numpy
    from engine.diversity.embedding import Embedding
    from engine.stages.embed import KeptVectors

WINDOW = 16
"""Open batches for each call in flight: how far the others may get ahead of the slowest call."""
_MOST_EMBEDDING = 512
_ALL = 1 << 40


class Pass(Enum):
    """How a pipeline goes over the journal."""

    ONLINE = "online"
    """Every call is answered while it is waited for."""
    WAVE = "wave"
    """What the journal does not hold is let go, and made again by a later pass."""
    LAST = "last"
    """The same, but no pass follows: what is complete is decided without what is let go."""


@dataclass(frozen=True)
class Making:
    """What the stages that make and check items are built from: all that a worker has of a run."""

    inputs: Inputs
    ask: Ask
    halt: Halt
    validators: Sequence[Validator]
    """Open, in the order of the config."""
    meter: Meter
    embedding: Embedding | None
    """Open; None if the run makes no vectors."""
    vectors: KeptVectors
    context: int | None
    """Tokens of the model's context, where its server says."""


@dataclass(frozen=True)
class Parts(Making):
    """What a whole pipeline is built from."""

    progress: Progress
    journal: Journal
    setup: Setup
    turn: Pass = Pass.ONLINE
    lent: Stage | None = None
    """Stands in place of the stages that make and check items, where workers do that."""


def window(parts: Parts) -> int:
    """How many batches may be open at once; without end where what waits is let go."""
    return window_of(parts.inputs.config) if parts.turn is Pass.ONLINE else _ALL


def window_of(config: RunConfig) -> int:
    return max(64, WINDOW * (config.limits.concurrency or ASSUMED_CONCURRENCY))


def asker(parts: Making, owner: str, *, priority: int = 0) -> ModelAsker:
    """An ModelAsker for a step of the engine whose calls belong to items."""
    ask = parts.meter.metered(parts.ask, owner)
    return asker_of(parts.inputs.config, ask, owner, priority=priority)


def refining(parts: Making) -> list[Stage]:
    """A worker pool for each validator, in the order of the config."""
    config, verify = parts.inputs.config, parts.inputs.dataset.fields.verify
    stages = []
    for place, (spec, validator) in enumerate(zip(config.validators, parts.validators, strict=True)):
        workers = spec.workers or config.limits.most_in_flight
        refine = Refine(validator, parts.halt, verify, parts.validators[:place], parts.meter)
        stages.append(Stage(spec.name, refine, workers))
    return stages


def embedding(parts: Making) -> list[Stage]:
    """The embedding stage: enough workers to fill the calls, and as many again to gather meanwhile."""
    if parts.inputs.config.groupcheck is None:
        return []
    from engine.stages.embed import Embed  # loads numpy: for runs that need it

    made = parts.embedding if parts.inputs.same != "text" else None
    workers = 1 if made is None else 2 * made.embedder.inputs * made.embedder.at_once
    group = parts.setup.group if isinstance(parts, Parts) else None
    known = {"same_text": group.same_text} if group is not None else {}
    return [Stage("embed", Embed(made, parts.vectors, parts.halt, **known), min(workers, _MOST_EMBEDDING))]


def commit(
    parts: Parts,
    *,
    weights: Mapping[str, float] | None = None,
    observers: Sequence[Callable[[BatchOutcome], None]] = (),
    early_stopping: EarlyStopping | None = None,
    moved: Callable[[int], None] | None = None,
) -> Commit:
    """The pipeline's end; see Commit."""
    return Commit(
        parts.journal,
        parts.progress,
        parts.inputs.dataset,
        parts.halt,
        weights,
        parts.setup.group,
        observers,
        early_stopping,
        parts.setup.repeats,
        patience=3 * window_of(parts.inputs.config) // 4,
        holes=parts.turn is Pass.WAVE,
        moved=moved,
    )

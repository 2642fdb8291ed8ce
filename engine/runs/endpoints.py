"""Opens the model endpoints of a run, each with its limits and price, behind one limiter."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from engine.config import ModelConfig, RunConfig
from engine.config.evaluate import EvaluatedModel
from engine.config.run import LimitsConfig
from engine.items import NO_LIMITS, RateLimits
from engine.llm.backends.anthropic import AnthropicMessages
from engine.llm.backends.openai_compatible import OpenAICompatible
from engine.llm.concurrency import FIRST, Concurrency
from engine.llm.coordination import InProcess
from engine.llm.endpoint import Endpoint, EndpointSpec, RecordEvent
from engine.llm.limiter import Limiter
from engine.llm.machine_wide import MachineWide
from engine.llm.pacing import Clock
from engine.llm.prices import FREE, price_of
from engine.protocols import Backend, Coordinator
from engine.simulator.process import simulated_endpoint

BEGINNING = 0.6
"""Share of the configured concurrency to begin with; the first answers show whether more is possible."""
_SMALL = 8

Open = Callable[..., Backend]
M = TypeVar("M", bound=ModelConfig)


@dataclass(frozen=True)
class Opened:
    """A backend and its section of the config."""

    backend: Backend
    model: ModelConfig


@dataclass(frozen=True)
class Backends:
    """All backends of a run: the main ones, and those for single purposes."""

    main: Sequence[Opened]
    others: Mapping[str, Opened]


@asynccontextmanager
async def opened_backends(
    config: RunConfig, tested: Sequence[EvaluatedModel] = ()
) -> AsyncIterator[Backends]:
    """Backends, open while the block lasts; simulated endpoints run as long. `tested` models are evaluated.

    Raises ConfigError, or EndpointError if a simulated endpoint does not start.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def addressed(model: M) -> M:
            if model.simulator is None:
                return model
            base_url = await stack.enter_async_context(simulated_endpoint(model.simulator))
            return model.model_copy(update={"base_url": base_url, "api_key": model.simulator.api_key})

        def opened(model: ModelConfig, purpose: str = "") -> Opened:
            concurrency = model.limits.concurrency or config.limits.most_in_flight
            backend = backend_for(model, purpose)(model, concurrency=concurrency)
            stack.push_async_callback(backend.close)
            return Opened(backend, model)

        models = [await addressed(model) for model in config.endpoints]
        others = config.changed(model=tuple(models)).purpose_models()
        others |= {f"answer@{model.called}": await addressed(model) for model in tested}
        yield Backends(
            [opened(model) for model in models],
            {purpose: opened(model, purpose) for purpose, model in others.items()},
        )


def backend_for(model: ModelConfig, purpose: str) -> Open:
    """The adapter for an endpoint's API."""
    if purpose == "embedding":
        from engine.llm.backends.embeddings import EmbeddingsEndpoint  # loads numpy: for runs that need it

        return EmbeddingsEndpoint
    return AnthropicMessages if model.api == "anthropic" else OpenAICompatible


def limiter_of(
    config: RunConfig,
    backends: Backends,
    record: RecordEvent = lambda *_: None,
    clock: Clock = time.monotonic,
) -> Limiter:
    """All endpoints behind one limiter, as configured. `record` is called for pauses, outages and limits."""
    limits = config.limits
    coordinator: Coordinator = MachineWide(clock=clock) if limits.share == "machine" else InProcess(clock)
    alone = len(backends.main) == 1 and not backends.others
    names = Counter[str]()

    def endpoint(opened: Opened) -> Endpoint:
        names[opened.backend.name] += 1  # two keys of one endpoint are distinguished by number
        number = names[opened.backend.name]
        name = opened.backend.name if number == 1 else f"{opened.backend.name} ({number})"
        spec = _spec(limits, opened, name, alone=alone)
        concurrency = _concurrency(
            opened.model.limits.concurrency or limits.concurrency, limits.most_in_flight
        )
        return Endpoint(
            opened.backend, concurrency, spec, coordinator=coordinator, clock=clock, record=record
        )

    return Limiter(
        [endpoint(opened) for opened in backends.main],
        limits.most_in_flight,
        NO_LIMITS if alone else RateLimits(limits.requests_per_minute, limits.tokens_per_minute),
        others={purpose: [endpoint(opened)] for purpose, opened in backends.others.items()},
        coordinator=coordinator,
        key=_digest(*(opened.model for opened in backends.main)),
        clock=clock,
    )


def _spec(limits: LimitsConfig, opened: Opened, name: str, *, alone: bool) -> EndpointSpec:
    """What the config says of an endpoint. One that is alone has the run's rates, so that runs can share them."""
    own = opened.model.limits
    requests = own.requests_per_minute or (limits.requests_per_minute if alone else None)
    tokens = own.tokens_per_minute or (limits.tokens_per_minute if alone else None)
    return EndpointSpec(
        name=name,
        price=price_of(opened.model) or FREE.main,
        weight=opened.model.weight,
        key=_digest(opened.model),
        limits=RateLimits(requests, tokens),
        patience=limits.outage_s,
        first_patience=limits.first_answer_s,
    )


def _concurrency(told: int | None, most: int) -> Concurrency:
    if told is None:
        return Concurrency(most, first=FIRST)
    return Concurrency(told, first=told if told <= _SMALL else math.ceil(BEGINNING * told))


def _digest(*models: ModelConfig) -> str:
    """Identifies endpoints and their keys to other runs without revealing the keys."""
    told = [
        (model.base_url, model.deployment or model.name, model.api_key or "", sorted(model.headers.items()))
        for model in models
    ]
    return hashlib.blake2b(str(told).encode(), digest_size=16).hexdigest()

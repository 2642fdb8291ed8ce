"""Opens the model endpoints of a run, each with its limits and price, behind one limiter."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from engine.config import ModelConfig, RunConfig
from engine.config.evaluate import EvaluatedModel
from engine.config.run import LimitsConfig
from engine.items import NO_LIMITS, RateLimits
from engine.llm.backends.anthropic import AnthropicMessages
from engine.llm.backends.openai_compatible import OpenAICompatible
from engine.llm.backends.server import UNKNOWN, ServerFacts, asked, is_hosted, waiting_at
from engine.llm.concurrency import FIRST, FIRST_HOSTED, STEEP, STEEP_HOSTED, Concurrency
from engine.llm.coordination import InProcess
from engine.llm.endpoint import Endpoint, EndpointSpec, RecordEvent
from engine.llm.limiter import Limiter
from engine.llm.machine_wide import MachineWide
from engine.llm.pacing import Clock
from engine.llm.prices import FREE, price_of
from engine.protocols import Backend, Coordinator, Negotiating
from engine.runs.lookout import Waiting
from engine.simulator.process import simulated_endpoint

FLEX_S = 900.0
"""Seconds for one attempt at the flex tier (platform.openai.com/docs/guides/flex-processing), unless set."""

MakeBackend = Callable[..., Backend]
M = TypeVar("M", bound=ModelConfig)


@dataclass(frozen=True)
class OpenBackend:
    """A backend and its section of the config."""

    backend: Backend
    model: ModelConfig
    facts: ServerFacts = UNKNOWN
    """What the server says of itself."""


@dataclass(frozen=True)
class Backends:
    """All backends of a run: the main ones, and those for single purposes."""

    main: Sequence[OpenBackend]
    others: Mapping[str, OpenBackend]

    def terms(self) -> dict[str, Any]:
        """What was settled with each endpoint, to be kept for later starts."""
        return {place: terms for place, each in self._negotiating() if (terms := dict(each.terms()))}

    def queues(self) -> dict[str, Waiting]:
        """How to ask the servers that say how many calls wait there, by the backend's name."""
        opened = [*self.main, *self.others.values()]
        return {
            each.backend.name: partial(waiting_at, each.model, each.facts.metrics)
            for each in opened
            if each.facts.metrics is not None
        }

    @property
    def context(self) -> int | None:
        """The smallest context of the main servers, in tokens; None where none tells."""
        return min((each.facts.context for each in self.main if each.facts.context is not None), default=None)

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Takes over what `terms` returned in an earlier start, for endpoints that are still the same."""
        for place, each in self._negotiating():
            each.restore(kept.get(place, {}))

    def _negotiating(self) -> Iterator[tuple[str, Negotiating]]:
        opened = [("", each) for each in self.main] + list(self.others.items())
        for purpose, each in opened:
            model = each.model
            address = "a simulated endpoint" if model.simulated else model.base_url
            if isinstance(each.backend, Negotiating):
                form = f"{model.response_format} {model.send_seed}"
                yield f"{purpose} {model.name} at {address} ({model.api}, {form})".strip(), each.backend


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

        def open_(model: ModelConfig, purpose: str = "") -> OpenBackend:
            concurrency = model.limits.concurrency or config.limits.most_in_flight
            backend = backend_for(model, purpose)(model, concurrency=concurrency)
            stack.push_async_callback(backend.close)
            return OpenBackend(backend, model, facts.get((model.base_url, model.name), UNKNOWN))

        models = [await addressed(model) for model in config.endpoints]
        others = config.changed(model=tuple(models)).purpose_models()
        others |= {f"answer@{model.called}": await addressed(model) for model in tested}
        facts = await _facts([*models, *others.values()])
        yield Backends(
            [open_(model) for model in models],
            {purpose: open_(model, purpose) for purpose, model in others.items()},
        )


async def _facts(models: Sequence[ModelConfig]) -> dict[tuple[str, str], ServerFacts]:
    """What the servers say of themselves, by address and model; each is asked once."""
    each = {(model.base_url, model.name): model for model in models}
    told = await asyncio.gather(*(asked(model) for model in each.values()))
    return dict(zip(each, told, strict=True))


def backend_for(model: ModelConfig, purpose: str) -> MakeBackend:
    """The adapter for an endpoint's API."""
    if purpose == "embedding":
        from engine.llm.backends.embeddings import EmbeddingsEndpoint  # loads numpy: for runs that need it

        return EmbeddingsEndpoint
    return AnthropicMessages if model.api == "anthropic" else OpenAICompatible


def coordinator_of(config: RunConfig, clock: Clock = time.monotonic) -> Coordinator:
    """The owner of the rates, to be closed after the last call. Raises StoreError."""
    return MachineWide(clock=clock) if config.limits.share == "machine" else InProcess(clock)


def limiter_of(
    config: RunConfig,
    backends: Backends,
    coordinator: Coordinator,
    record: RecordEvent = lambda *_: None,
    clock: Clock = time.monotonic,
) -> Limiter:
    """All endpoints behind one limiter, as configured. `record` is called for pauses, outages and limits."""
    limits = config.limits
    alone = len(backends.main) == 1 and not backends.others
    names = Counter[str]()

    def endpoint(each: OpenBackend) -> Endpoint:
        names[each.backend.name] += 1  # two keys of one endpoint are distinguished by number
        number = names[each.backend.name]
        name = each.backend.name if number == 1 else f"{each.backend.name} ({number})"
        spec = _spec(limits, each, name, alone=alone)
        most = each.model.limits.concurrency or limits.most_in_flight
        if (at_once := each.facts.at_once) is not None and at_once < most:
            most = at_once
            record(
                name,
                "server",
                f"{name}: {each.facts}; so many calls are sent at once, since more would only wait",
            )
        first, steep = (FIRST_HOSTED, STEEP_HOSTED) if is_hosted(each.model) else (FIRST, STEEP)
        concurrency = Concurrency(most, first=min(first, most), steep=steep)
        return Endpoint(each.backend, concurrency, spec, coordinator=coordinator, clock=clock, record=record)

    return Limiter(
        [endpoint(each) for each in backends.main],
        limits.most_in_flight,
        NO_LIMITS if alone else RateLimits(limits.requests_per_minute, limits.tokens_per_minute),
        others={purpose: [endpoint(each)] for purpose, each in backends.others.items()},
        coordinator=coordinator,
        key=_digest(*(each.model for each in backends.main)),
        clock=clock,
    )


def _spec(limits: LimitsConfig, each: OpenBackend, name: str, *, alone: bool) -> EndpointSpec:
    """What the config says of an endpoint. One that is alone has the run's rates, so that runs can share them."""
    own = each.model.limits
    requests = own.requests_per_minute or (limits.requests_per_minute if alone else None)
    tokens = own.tokens_per_minute or (limits.tokens_per_minute if alone else None)
    flex = each.model.pinned_tier == "flex"
    return EndpointSpec(
        name=name,
        price=price_of(each.model) or FREE.main,
        weight=each.model.weight,
        key=_digest(each.model),
        limits=RateLimits(requests, tokens),
        patience=limits.outage_s,
        first_patience=limits.first_answer_s,
        reasoning=each.model.reasoning.tokens,
        keeps_reasoning=each.model.reasoning.keep,
        charges_failures=_charges_failures(limits, each.model),
        least_timeout=FLEX_S if flex and "attempt_timeout_s" not in limits.model_fields_set else 0.0,
    )


def _charges_failures(limits: LimitsConfig, model: ModelConfig) -> bool:
    """What is not known of an endpoint's bill is counted as the worst."""
    known_free = is_hosted(model) or model.simulated
    return limits.failed_calls == "charged" or (limits.failed_calls is None and not known_free)


def _digest(*models: ModelConfig) -> str:
    """Identifies endpoints and their keys to other runs without revealing the keys."""
    told = [
        (model.base_url, model.deployment or model.name, model.api_key or "", sorted(model.headers.items()))
        for model in models
    ]
    return hashlib.blake2b(str(told).encode(), digest_size=16).hexdigest()

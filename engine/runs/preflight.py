"""Checks whether a config, its endpoints and this machine are ready for a run, and says what to fix."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from engine.config import RunConfig
from engine.dataset.base import BaseDataset
from engine.errors import ConfigError, EngineError, Renegotiated, TransientError
from engine.items import Completion, Prompt
from engine.protocols import Backend, Embedder
from engine.runs.endpoints import OpenBackend, opened_backends
from engine.runs.inputs import Inputs, loaded
from engine.runs.modes import GenerateMode
from engine.runs.plugins import described, load_validators, no_calls, opened_validators

_SCHEMA = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": {"type": "string"}}},
    "required": ["items"],
    "additionalProperties": False,
}
_TRIES = 5


@dataclass(frozen=True)
class Finding:
    """`ok` is None for a plain fact."""

    name: str
    ok: bool | None
    detail: str


async def check(path: Path, overrides: dict[str, object]) -> AsyncIterator[Finding]:
    """Tries everything that `run` needs. Makes one tiny call to each endpoint."""
    try:
        config = RunConfig.load(path, overrides)
        inputs = _inputs(config)
    except ConfigError as error:
        yield Finding("config", False, str(error))
        return
    yield Finding("config", True, f"{path} is valid")
    yield _dataset(inputs)
    async for finding in _validators(inputs):
        yield finding
    if inputs.embedder is not None:
        yield await _embedder(inputs, inputs.embedder)
    yield _price(inputs)
    async for finding in _endpoints(inputs):
        yield finding


def _inputs(config: RunConfig) -> Inputs:
    """What the config's run would load; if it only tests models, the command line may name the datasets.

    Raises ConfigError.
    """
    if config.generate.target is None and "evaluate" in config.model_fields_set:
        return loaded(config, BaseDataset.load(config.dataset), 1, tested=config.evaluate.models)
    return replace(GenerateMode().load(config), tested=config.evaluate.models)


async def _validators(inputs: Inputs) -> AsyncIterator[Finding]:
    """Opens and closes each configured validator."""
    for validator in load_validators(inputs.config, no_calls, inputs.dataset.fields):
        name = f"validator {validator.name}"
        try:
            async with opened_validators([validator]):
                description = described([validator]).get(validator.name)
        except EngineError as error:
            yield Finding(name, False, str(error))
            continue
        warning, about = (description.warning, description.about) if description is not None else ("", {})
        yield Finding(name, None if warning else True, warning or _in_short(about) or "ready")


def _in_short(facts: Mapping[str, object]) -> str:
    """A validator's description of itself, in short."""
    flat = (
        (key, value)
        for key, value in facts.items()
        if isinstance(value, str | int | float) and key != "caveat"
    )
    inner = facts.get("sandbox")
    level = [f"sandbox at the level {inner['level']!r}"] if isinstance(inner, Mapping) else []
    return ", ".join([*level, *(f"{key} {value}" for key, value in flat)])


async def _embedder(inputs: Inputs, embedder: Embedder) -> Finding:
    """Opens the embedder and tries it with one text; an endpoint gets one more tiny call."""
    from engine.diversity.embedding import Embedding, EndpointModel

    try:
        async with contextlib.AsyncExitStack() as stack:
            if isinstance(embedder, EndpointModel):
                backends = await stack.enter_async_context(opened_backends(inputs.config))
                embedder.asking(backends.others["embedding"].backend.complete)
            if isinstance(embedder, AbstractAsyncContextManager):
                await stack.enter_async_context(embedder)
            vector = await Embedding(embedder).one("How many apples are left?")
    except EngineError as error:
        return Finding("embedder", False, str(error))
    spec = inputs.config.groupcheck
    use = f"; group check: same {inputs.same}" if spec is not None else ""
    return Finding("embedder", True, f"{embedder.name}, {len(vector)} dimensions ({embedder.version}){use}")


def _dataset(inputs: Inputs) -> Finding:
    if inputs.config.dataset.path is None:
        return Finding("dataset", True, "none; zero-shot")
    usable = f"{len(inputs.dataset.examples):,} usable rows"
    complaint = inputs.dataset.complaint()
    return Finding("dataset", True, f"{usable}; {complaint} (skipped)" if complaint else usable)


def _price(inputs: Inputs) -> Finding:
    if inputs.prices is None:
        return Finding(
            "price", None, "not known: costs are not counted; set model.price to count and cap them"
        )
    tier = inputs.prices.main.tiers[0]
    return Finding("price", True, f"${tier.input / 1e6:g} in, ${tier.output / 1e6:g} out, per million tokens")


async def _endpoints(inputs: Inputs) -> AsyncIterator[Finding]:
    """Makes one tiny call to each endpoint."""
    config = inputs.config
    try:
        async with opened_backends(config, inputs.tested) as backends:
            facts = config.seed, config.limits.attempt_timeout_s
            several = len(backends.main) > 1
            for place, opened in enumerate(backends.main):
                yield await _endpoint(f"endpoint {place}" if several else "endpoint", opened, *facts)
            for purpose, opened in backends.others.items():
                if purpose != "embedding":
                    yield await _endpoint(f"endpoint {purpose}", opened, *facts)
    except EngineError as error:
        yield Finding("endpoint", False, str(error))


async def _endpoint(name: str, opened: OpenBackend, seed: int, patience: float) -> Finding:
    prompt = Prompt(
        key="check",
        purpose="items",
        batch=0,
        system="You answer with one JSON object and nothing else.",
        user='Answer with {"items": []}',
        schema=_SCHEMA,
        temperature=0.0,
        max_tokens=32,
        seed=seed,
    )
    try:
        async with asyncio.timeout(patience):
            reply = await _answered(opened.backend, prompt)
    except TimeoutError:
        return Finding(name, False, f"no answer within {patience:g} s (limits.attempt_timeout_s)")
    except EngineError as error:
        return Finding(name, False, str(error))
    usage = "no usage; costs will be estimated" if reply.usage.estimated else "usage is reported"
    limits = getattr(opened.backend, "announced", None)
    told = [
        f"{value:,.0f} {kind} per minute"
        for kind, value in (("requests", limits.requests), ("tokens", limits.tokens))
        if value is not None
    ] if limits is not None else []  # fmt: skip
    announces = f"; announces {', '.join(told)}" if told else ""
    return Finding(name, True, f"{reply.model} answers; {usage}{announces}")


async def _answered(backend: Backend, prompt: Prompt) -> Completion:
    tries = 0
    while True:
        try:
            return await backend.complete(prompt)
        except Renegotiated:
            continue
        except TransientError:
            tries += 1
            if tries == _TRIES:
                raise

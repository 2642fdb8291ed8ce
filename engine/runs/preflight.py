"""Checks whether a config, its endpoints and this machine are ready for a run, and says what to fix."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from engine.config import RunConfig
from engine.dataset.base import BaseDataset
from engine.dataset.findings import findings
from engine.errors import (
    ConfigError,
    ContextExceeded,
    EngineError,
    PermanentError,
    Renegotiated,
    TransientError,
    Truncated,
)
from engine.items import Completion, Prompt, Usage
from engine.protocols import Backend, Embedder
from engine.runs.endpoints import Backends, OpenBackend, coordinator_of, limiter_of, opened_backends
from engine.runs.inputs import Inputs, loaded, without_effect
from engine.runs.lanes import opened_lanes
from engine.runs.modes import GenerateMode, mode_for
from engine.runs.modes.generate import sample_batch
from engine.runs.plugins import described, load_validators, no_calls, opened_validators

_SCHEMA = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": {"type": "string"}}},
    "required": ["items"],
    "additionalProperties": False,
}
_FEW, _FEW_SHARE = 3, 0.1
"""Bad rows that are let pass: so many, or this share of all."""
_TRIES = 5
_TINY = 256
"""Tokens: enough for the answer, and for a model to think a little before it."""


@dataclass(frozen=True)
class Finding:
    """`ok` is None for a plain fact."""

    name: str
    ok: bool | None
    detail: str


async def check(
    path: Path, overrides: dict[str, object], *, allow_code: bool = False
) -> AsyncIterator[Finding]:
    """Tries everything that `run` needs. Makes one tiny call to each endpoint.

    `allow_code`: see `RunConfig.load`.
    """
    try:
        config = RunConfig.load(path, overrides, allow_code=allow_code)
    except ConfigError as error:
        for mistake in str(error).splitlines():
            yield Finding("config", False, mistake)
        return
    inputs, wrong = _inputs(config)
    yield (
        wrong if wrong is not None and wrong.name == "config" else Finding("config", True, f"{path} is valid")
    )
    if wrong is not None and wrong.name != "config":
        yield wrong
    for key, code in config.code():
        yield Finding("code", None, f"{key} runs {code}, as you allow")
    if inputs is not None:
        for key, why in without_effect(inputs):
            yield Finding(key, None, why)
        for finding in _dataset(inputs):
            yield finding
        for finding in _documents(inputs):
            yield finding
        async for finding in _validators(inputs):
            yield finding
        if inputs.embedder is not None:
            yield await _embedder(inputs, inputs.embedder)
        yield _price(inputs)
    async for finding in _endpoints(config, inputs):
        yield finding


def _inputs(config: RunConfig) -> tuple[Inputs | None, Finding | None]:
    """What the config's run would load, or the stage at which that fails, and why.

    Of a config that only tests models, the command line may name the datasets.
    """
    if config.map is not None:
        try:
            return mode_for(config).load(config), None
        except ConfigError as error:
            return None, Finding("config", False, str(error))
    try:
        dataset = BaseDataset.load(config.dataset)
    except ConfigError as error:
        return None, Finding("dataset", False, str(error))
    try:
        if config.generate.target is None and "evaluate" in config.model_fields_set:
            return loaded(config, dataset, 1, tested=config.evaluate.models), None
        return replace(GenerateMode().load(config), tested=config.evaluate.models), None
    except ConfigError as error:
        return None, Finding("config", False, str(error))


async def _validators(inputs: Inputs) -> AsyncIterator[Finding]:
    """Opens and closes each configured validator."""
    for validator in load_validators(inputs.config, no_calls, inputs.dataset.fields, shelf=inputs.shelf):
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


def _dataset(inputs: Inputs) -> Iterator[Finding]:
    dataset = inputs.dataset
    if inputs.config.dataset.path is None:
        yield Finding("dataset", True, "none; zero-shot")
        return
    if inputs.row_prompts is not None:
        yield Finding("dataset", True, f"{dataset.rows:,} rows to map")
        return
    usable, bad = len(dataset.examples), dataset.bad_counts.total()
    said = f"{usable:,} usable rows"
    unread = bad - dataset.bad_counts.get("duplicate", 0)
    if unread > max(_FEW, _FEW_SHARE * (usable + bad)):
        yield Finding(
            "dataset", False, f"{said}; {dataset.complaint()}. Mend them, or leave them out of the files"
        )
    else:
        yield Finding("dataset", True, f"{said}; {dataset.complaint()} (skipped)" if bad else said)
    for topic, sentence in findings(dataset):
        yield Finding(topic, None, sentence)


def _documents(inputs: Inputs) -> Iterator[Finding]:
    """What can be made of the documents, and each that cannot be read."""
    shelf, turns = inputs.shelf, inputs.turns
    if shelf is None or turns is None:
        return
    files = shelf.files()
    read = [file for file in files if file.is_read]
    pages = sum(file.pages or 0 for file in read)
    said = f"{len(read):,} of {len(files):,} files{f', {pages:,} pages' if pages else ''}, {turns.passages:,} passages"
    left = ", ".join(f"{count:,} {why}" for why, count in shelf.left_out().items() if why)
    yield Finding("documents", True, f"{said}{f'; left out: {left}' if left else ''}")
    for file in files:
        if file.said:
            yield Finding("documents", None, f"{file.name} {file.said}")
    if turns.items < inputs.target:
        yield Finding(
            "documents",
            None,
            f"{turns.items:,} items can be asked for (documents.per_passage), and generate.target is "
            f"{inputs.target:,}: the run will end before it",
        )


def _price(inputs: Inputs) -> Finding:
    if inputs.prices is None:
        return Finding(
            "price", None, "not known: costs are not counted; set model.price to count and cap them"
        )
    tier = inputs.prices.main.tiers[0]
    return Finding("price", True, f"${tier.input / 1e6:g} in, ${tier.output / 1e6:g} out, per million tokens")


async def _endpoints(config: RunConfig, inputs: Inputs | None) -> AsyncIterator[Finding]:
    """Makes one tiny call to each endpoint; also where the dataset cannot be read, so that all is told at once."""
    generates = inputs is not None and config.generate.target is not None and bool(inputs.dataset.examples)
    try:
        async with opened_backends(config, config.evaluate.models) as backends:
            facts = config.seed, config.limits.attempt_timeout_s
            several = len(backends.main) > 1
            for place, opened in enumerate(backends.main):
                name = f"endpoint {place}" if several else "endpoint"
                finding = await _endpoint(name, opened, *facts)
                yield finding
                if opened.facts:
                    yield Finding(f"{name}'s server", None, str(opened.facts))
                if finding.ok and generates and inputs is not None:
                    yield await _first_prompt(f"{name}'s context", opened, inputs, facts[1])
                for _, sentence in getattr(opened.backend, "notices", ()):
                    yield Finding(f"{name}'s terms", None, sentence)
            for purpose, opened in backends.others.items():
                if purpose != "embedding":
                    yield await _endpoint(f"endpoint {purpose}", opened, *facts)
            if config.limits.mode != "online":
                async for finding in _batches(config, backends):
                    yield finding
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
        max_tokens=_TINY + (opened.model.reasoning.tokens or 0),
        seed=seed,
    )
    try:
        async with asyncio.timeout(patience):
            reply = await _answered(opened.backend, prompt)
    except TimeoutError:
        return Finding(name, False, f"no answer within {patience:g} s (limits.attempt_timeout_s)")
    except Truncated as error:
        return Finding(name, True, f"{opened.model.name} answers, and reasons before it does: {error}")
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


async def _batches(config: RunConfig, backends: Backends) -> AsyncIterator[Finding]:
    """Asks each endpoint that has batches for those of the last minute: the key may not be allowed to."""
    with contextlib.closing(coordinator_of(config)) as coordinator:
        limiter = limiter_of(config, backends, coordinator)
        async with opened_lanes(backends, limiter, Path()) as lanes:
            for lane in lanes.values():
                tier = lane.price.tiers[0]
                price = f"${tier.input / 1e6:g} in, ${tier.output / 1e6:g} out, per million tokens"
                known = price if tier.input or tier.output else "their price is not known"
                try:
                    async with asyncio.timeout(config.limits.attempt_timeout_s):
                        await lane.door.made(time.time() - 60)
                except (EngineError, TimeoutError) as error:
                    yield Finding("batches", False, f"{lane.name}: {error or 'no answer in time'}")
                else:
                    yield Finding("batches", True, f"{lane.name} takes them; {known}")


async def _first_prompt(name: str, opened: OpenBackend, inputs: Inputs, patience: float) -> Finding:
    """Sends the first prompt for items, asking for one token: does it fit, with the answer that it asks for?"""
    prompt = inputs.prompts.render(sample_batch(inputs))
    answer, context = prompt.max_tokens, opened.facts.context
    if context is not None and inputs.config.generate.max_tokens is None:
        answer = min(answer, context // 2)  # as the run will
    try:
        async with asyncio.timeout(patience):
            usage = (await _answered(opened.backend, replace(prompt, max_tokens=1))).usage
    except TimeoutError:
        return Finding(name, None, f"no answer to a prompt as long as the run's within {patience:g} s")
    except ContextExceeded as error:
        return Finding(
            name, False,
            f"a prompt for items exceeds the context of {error.context:,} tokens ({error}); lower generate.few_shot or "
            "generate.batch_size",
        )  # fmt: skip
    except PermanentError as error:  # one token is no answer
        usage = error.usage or Usage(estimated=True)
    except EngineError as error:
        return Finding(name, None, f"not tried: {error}")
    if usage.estimated:
        return Finding(name, None, "not known: the endpoint reports no usage")
    whole = usage.prompt_tokens + answer
    told = f"a prompt for items has {usage.prompt_tokens:,} tokens and asks for {answer:,} at most"
    if context is None:
        return Finding(name, True, told)
    ok = None if whole > context else True
    cut = f"; {context - usage.prompt_tokens:,} are left: set generate.max_tokens, or fewer few_shot or batch_size"
    return Finding(name, ok, f"{told}; the context is {context:,}{cut if ok is None else ''}")


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

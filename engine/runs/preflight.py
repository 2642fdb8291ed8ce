"""Whether a config, its endpoint and this machine are fit for a run: each ok, or what to do."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata as metadata
import importlib.util
import platform
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from engine.config import RunConfig
from engine.runs.endpoints import Opened, opened_backends
from engine.errors import ConfigError, EngineError, TransientError
from engine.runs.inputs import VALIDATORS, Inputs, described, load_validators, opened_validators
from engine.items import Completion, Prompt
from engine.protocols import Backend, Embedder, Examined

DISTRIBUTION = "datagen-engine"
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
    """Everything that `run` needs, tried. One tiny model call is made."""
    try:
        config = RunConfig.load(path, overrides)
        config = config.evaluating() if config.evaluate.models else config
        yield Finding("config", True, f"{path} is valid")
        inputs = Inputs.load(config)
    except ConfigError as error:
        yield Finding("config", False, str(error))
        return
    yield _dataset(inputs)
    async for finding in _validators(inputs):
        yield finding
    if inputs.embedder is not None:
        yield await _embedder(inputs, inputs.embedder)
    yield _price(inputs)
    async for finding in _endpoints(config):
        yield finding


async def _validators(inputs: Inputs) -> AsyncIterator[Finding]:
    """Each configured one, opened and closed again."""
    for validator in load_validators(inputs.config, _no_calls, inputs.dataset.fields):
        name = f"validator {validator.name}"
        try:
            async with opened_validators([validator]):
                facts = described([validator]).get(validator.name, {})
        except EngineError as error:
            yield Finding(name, False, str(error))
            continue
        warning = facts.pop("warning", None)
        yield Finding(name, None if warning else True, warning or _told(facts) or "ready")


def _told(facts: Mapping[str, object]) -> str:
    """What a validator says of itself, in short."""
    flat = ((key, value) for key, value in facts.items() if isinstance(value, str | int | float))
    inner = facts.get("sandbox")
    level = [f"sandbox at the level {inner['level']!r}"] if isinstance(inner, Mapping) else []
    return ", ".join([*level, *(f"{key} {value}" for key, value in flat)])


async def _no_calls(prompt: Prompt) -> Completion:
    raise AssertionError("a validator asked a model while it was being opened")


async def _embedder(inputs: Inputs, embedder: Embedder) -> Finding:
    """Opened and tried with one text: of an endpoint, one more tiny call."""
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


async def _endpoints(config: RunConfig) -> AsyncIterator[Finding]:
    """One tiny call to each."""
    try:
        async with opened_backends(config) as backends:
            facts = config.seed, config.limits.attempt_timeout_s
            several = len(backends.main) > 1
            for place, opened in enumerate(backends.main):
                yield await _endpoint(f"endpoint {place}" if several else "endpoint", opened, *facts)
            for purpose, opened in backends.others.items():
                if purpose != "embedding":
                    yield await _endpoint(f"endpoint {purpose}", opened, *facts)
    except EngineError as error:
        yield Finding("endpoint", False, str(error))


async def _endpoint(name: str, opened: Opened, seed: int, patience: float) -> Finding:
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
    for _ in range(_TRIES - 1):
        try:
            return await backend.complete(prompt)
        except TransientError:
            continue
    return await backend.complete(prompt)


def doctor() -> Iterator[Finding]:
    """What this machine can do."""
    yield Finding(
        "python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}"
    )
    yield _event_loop()
    yield Finding("sqlite", sqlite3.sqlite_version_info >= (3, 24), sqlite3.sqlite_version)
    yield _open_files()
    for package in (
        "aiohttp",
        "orjson",
        "pydantic",
        "tenacity",
        "genai-prices",
        "pyarrow",
        "numpy",
        "faiss-cpu",
    ):
        yield _version(package)
    yield _local_embedder()
    for name in ("engine", "validators"):
        yield _clash(name)
    for point in sorted(metadata.entry_points(group=VALIDATORS), key=lambda point: point.name):
        yield from _examined(point)


def _event_loop() -> Finding:
    if importlib.util.find_spec("uvloop") is None:
        return Finding("event loop", None, "asyncio's own; uvloop is faster where it can be installed")
    return Finding("event loop", True, f"uvloop {metadata.version('uvloop')}")


def _open_files() -> Finding:
    try:
        import resource
    except ImportError:
        return Finding("open files", None, "no limit known on this system")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft >= 1024
    advice = "" if enough else "; raise it (ulimit -n) above the concurrency you want"
    return Finding("open files", enough, f"{soft} at once{advice}")


def _local_embedder() -> Finding:
    """Whether vectors can be made on this machine, without a network."""
    from engine.diversity.model_files import DEFAULT, WAYS_OUT, on_this_machine

    if importlib.util.find_spec("sentence_transformers") is None:
        return Finding(
            "embedder", None, f"no sentence-transformers; for the group check by meaning, {WAYS_OUT}"
        )
    version = metadata.version("sentence-transformers")
    found = on_this_machine(DEFAULT)
    if found is None:
        return Finding(
            "embedder", None, f"sentence-transformers {version}; {DEFAULT} is to be fetched, or {WAYS_OUT}"
        )
    return Finding("embedder", True, f"sentence-transformers {version}; {DEFAULT} at {found}")


def _version(package: str) -> Finding:
    try:
        return Finding(package, True, metadata.version(package))
    except metadata.PackageNotFoundError:
        return Finding(package, False, f"is not installed: pip install {package}")


def _clash(name: str) -> Finding:
    """Whether the import name is this project's: PyPI has another `validators`."""
    owners = set(metadata.packages_distributions().get(name, ())) - {DISTRIBUTION}
    spec = importlib.util.find_spec(name)
    found = Path(spec.origin).parent if spec is not None and spec.origin else None
    ours = Path(__file__).parent.parent / name
    if found != ours:
        return Finding(
            f"import {name}", False, f"comes from {found}, not from this project ({ours}); remove the other"
        )
    if owners:
        return Finding(
            f"import {name}", False, f"is also claimed by {', '.join(sorted(owners))}; uninstall that package"
        )
    return Finding(f"import {name}", True, str(ours))


def _examined(point: metadata.EntryPoint) -> Iterator[Finding]:
    """Whether a validator can be loaded, and what it finds on this machine."""
    try:
        factory = point.load()
        yield Finding(f"validator {point.name}", True, point.value)
        if isinstance(factory, Examined):
            yield from (Finding(*found) for found in factory.examine())
    except Exception as error:  # a plugin may fail in any way; the others are still told
        yield Finding(f"validator {point.name}", False, f"cannot be loaded: {error}")

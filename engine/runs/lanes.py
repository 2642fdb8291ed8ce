"""Which endpoints' calls can travel in batches, and by whose API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from yarl import URL

from engine.config import ModelConfig, RunConfig
from engine.errors import ConfigError
from engine.items import Prompt
from engine.llm.backends.connection import NegotiatingBackend
from engine.llm.batches.door import Door
from engine.llm.batches.part import Part
from engine.llm.batches.spool import FOLDER, Lane, Pace
from engine.llm.endpoint import Endpoint
from engine.llm.limiter import Limiter
from engine.llm.prices import FREE, Price, price_of
from engine.runs.endpoints import Backends, OpenBackend
from engine.spread.lent import Lent

_HOSTS = {
    "openai.com": "openai",
    "azure.com": "azure",
    "anthropic.com": "anthropic",
    "googleapis.com": "gemini",
    "groq.com": "groq",
    "mistral.ai": "mistral",
    "together.xyz": "together",
    "together.ai": "together",
}
"""Providers that sell batches, by the ends of their hosts."""
_NEAR = Pace(first=0.05, longest=2.0, grace=1.0)
"""For a server on this machine, where nobody is spared."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def batch_api(model: ModelConfig) -> str:
    """Whose batch API an endpoint has; 'none' where it has none that is known."""
    if model.batch is not None:
        return model.batch
    if model.api == "azure":
        return "azure"
    if model.simulator is not None:
        played = model.simulator.dialect
        return played if played in ("anthropic", "gemini", "mistral", "groq", "together") else "openai"
    return _of(model) or "none"


def _of(model: ModelConfig) -> str:
    host = URL(model.base_url).host or ""
    return next((api for end, api in _HOSTS.items() if host == end or host.endswith(f".{end}")), "")


def batch_price(model: ModelConfig) -> Price | None:
    """What its calls cost in a batch; None where that is not known."""
    price = price_of(model)
    return price.in_batches() if price is not None else None


def check_batches(config: RunConfig) -> None:
    """Raises ConfigError where no call could travel in a batch, or a cap could not be kept for one that does."""
    if config.limits.mode == "online":
        return
    models = {"": config.main, **{p: m for p, m in config.purpose_models().items() if p != "embedding"}}
    able = {purpose: model for purpose, model in models.items() if batch_api(model) != "none"}
    if not able:
        raise config.wrong(
            "limits.mode",
            f"{config.limits.mode} needs an endpoint with a batch API, and none is known of {config.main.base_url}; "
            "set model.batch to the API that it speaks (openai, anthropic, files ...), or mode: online",
        )
    for purpose, model in able.items():
        if config.limits.budget_usd is not None and batch_price(model) is None:
            key = f"model.purposes.{purpose}.price" if purpose else "model.price"
            raise config.wrong(
                "limits.budget_usd",
                f"what {model.name!r} costs in a batch is not known, so a cap cannot be kept; set {key} with its "
                "share `batch`, such as {input: 0.15, output: 0.60, batch: 0.5}, or use limits.mode: online",
            )


def check_lanes(
    config: RunConfig, tested: Sequence[ModelConfig], parts: Sequence[Part], folder: Path
) -> None:
    """Raises ConfigError where a batch waits at an endpoint that the config does not name, or not with its batches."""
    models = [*config.endpoints, *config.purpose_models().values(), *tested]
    names = {lane_name(model) for model in models if batch_api(model) != "none"}
    for part in parts:
        if part.endpoint not in names:
            raise ConfigError(
                f"{folder}: {part.calls:,} calls wait in a batch at {part.endpoint}, and this config does not name "
                f"that endpoint with its batch API. Collect them first (datagen resume {folder}), or stop them "
                f"(datagen cancel {folder})"
            )


def lane_name(model: ModelConfig) -> str:
    """The same in every start, whatever port a simulated endpoint has."""
    address = "a simulated endpoint" if model.simulated else model.base_url
    return f"{model.deployment or model.name} at {address}"


@asynccontextmanager
async def opened_lanes(
    backends: Backends, limiter: Limiter, folder: Path
) -> AsyncIterator[Mapping[str, Lane]]:
    """The lanes by name, open while the block lasts."""
    lanes: dict[str, Lane] = {}
    by_backend = {id(endpoint.backend): endpoint for endpoint in limiter.endpoints}
    async with AsyncExitStack() as stack:
        for each in (*backends.main, *backends.others.values()):
            endpoint, name = by_backend.get(id(each.backend)), lane_name(each.model)
            if endpoint is None or name in lanes or (door := door_of(each, folder / FOLDER)) is None:
                continue
            stack.push_async_callback(door.close)
            near = URL(each.model.base_url).host in _LOOPBACK
            lanes[name] = Lane(
                name,
                door,
                endpoint,
                batch_price(each.model) or FREE.main,
                _NEAR if near else Pace(),
                lasting=not each.model.simulated,
            )
        yield lanes


def door_of(opened: OpenBackend, folder: Path) -> Door | None:
    """The door to an endpoint's batches; None where it has none. `folder` is for an exchange of files."""
    model, api = opened.model, batch_api(opened.model)
    backend = opened.backend.own if isinstance(opened.backend, Lent) else opened.backend
    if api == "none" or not isinstance(backend, NegotiatingBackend) or _embeds(backend):
        return None
    if api == "anthropic":
        from engine.llm.batches.anthropic import MessageBatches

        return MessageBatches(model, backend)
    if api == "gemini":
        from engine.llm.batches.gemini import GeminiBatches

        return GeminiBatches(model, backend.name)
    if api == "files":
        from engine.llm.batches.files import FileExchange

        return FileExchange(model, backend, folder)
    from engine.llm.batches.openai import FileBatches

    return FileBatches(model, backend, api)


def _embeds(backend: NegotiatingBackend) -> bool:
    return type(backend).__name__ == "EmbeddingsEndpoint"


def finding(lanes: Mapping[str, Lane], limiter: Limiter) -> Callable[[Prompt], Lane | None]:
    """Finds the lane on which a call can travel: that of the first endpoint of its route that has one."""
    by_endpoint = {id(lane.endpoint): lane for lane in lanes.values()}

    def lane_of(prompt: Prompt) -> Lane | None:
        there: Sequence[Endpoint] = limiter.endpoints_of(prompt.route)
        found = (by_endpoint.get(id(each)) for each in there if each.retired is None)
        return next((lane for lane in found if lane is not None), None)

    return lane_of

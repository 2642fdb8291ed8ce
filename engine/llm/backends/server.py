"""What a server of one's own says of itself: how many calls it works on at once, and how long a prompt may be."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import orjson
from yarl import URL

from engine.config import ModelConfig
from engine.llm.backends.connection import secret_headers
from engine.llm.backends.http import proxy_of

#  server       at once                          context
#  llama.cpp    /props total_slots               /props default_generation_settings.n_ctx (of one slot)
#  vLLM                                          /v1/models max_model_len
#  SGLang       /server_info max_running_requests  /v1/models max_model_len
#  TGI          /info max_concurrent_requests    /info max_total_tokens
#  Ollama                                        /api/ps context_length
#  LM Studio                                     /api/v0/models loaded_context_length

_SECONDS = 3.0
_MOST_BYTES = 4_000_000
_HOSTED = (
    "openai.com azure.com anthropic.com googleapis.com mistral.ai deepseek.com groq.com together.xyz together.ai"
    " openrouter.ai aliyuncs.com x.ai amazonaws.com fireworks.ai cerebras.ai perplexity.ai moonshot.ai moonshot.cn"
    " z.ai bigmodel.cn siliconflow.cn huggingface.co cohere.ai cohere.com nvidia.com deepinfra.com"
).split()
"""Providers' own hosts have nothing of this kind to say."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """None where the server does not say."""

    software: str = ""
    at_once: int | None = None
    """Calls that it works on at the same time; more only wait."""
    context: int | None = None
    """Tokens of one call, prompt and answer together."""
    metrics: URL | None = None
    """Where it says how many calls wait; see `waiting_at`."""

    def __bool__(self) -> bool:
        return self.at_once is not None or self.context is not None

    def __str__(self) -> str:
        parts = [
            f"{self.at_once} calls at once" if self.at_once is not None else "",
            f"a context of {self.context:,} tokens" if self.context is not None else "",
        ]
        return f"{self.software or 'the server'} has {' and '.join(filter(None, parts))}"


UNKNOWN = ServerFacts()


def is_hosted(model: ModelConfig) -> bool:
    """Whether a provider answers, and not a server of one's own."""
    host = URL(model.base_url).host or ""
    return any(host == end or host.endswith(f".{end}") for end in _HOSTED)


async def asked(model: ModelConfig) -> ServerFacts:
    """What the server says; nothing where it is a provider's, silent, or says nothing of the kind."""
    url, hosted = URL(model.base_url), is_hosted(model)
    if model.api != "openai" or hosted:
        return UNKNOWN
    root = url.with_query(None)
    above = root.with_path(root.path.rstrip("/").removesuffix("/v1") or "/")
    headers = {**secret_headers(model), "Accept": "application/json"}
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, proxy=proxy_of(url)) as session:
        paths = {
            "models": root / "models", "props": above / "props", "info": above / "info",
            "server_info": above / "server_info", "ps": above / "api/ps", "studio": above / "api/v0/models",
        }  # fmt: skip
        *replies, waiting = await asyncio.gather(
            *(_got(session, path) for path in paths.values()), _waiting(session, above / "metrics")
        )
    facts = read(dict(zip(paths, replies, strict=True)), model.name)
    return replace(facts, metrics=above / "metrics") if waiting is not None else facts


async def waiting_at(model: ModelConfig, metrics: URL) -> int | None:
    """Calls that wait at the server at this moment; None where it does not say."""
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(
        headers=secret_headers(model), timeout=timeout, proxy=proxy_of(metrics)
    ) as session:
        return await _waiting(session, metrics)


async def _waiting(session: aiohttp.ClientSession, metrics: URL) -> int | None:
    body = await _body(session, metrics)
    return waiting_in(body.decode(errors="replace")) if body is not None else None


async def _got(session: aiohttp.ClientSession, url: URL) -> Any:
    """The JSON at an address; None where there is none."""
    body = await _body(session, url)
    try:
        return orjson.loads(body) if body is not None else None
    except ValueError:
        return None


async def _body(session: aiohttp.ClientSession, url: URL) -> bytes | None:
    """What is at an address; None where nothing is."""
    try:
        async with session.get(url, allow_redirects=False) as response:
            return await response.content.read(_MOST_BYTES) if response.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None


def read(told: Mapping[str, Any], model: str) -> ServerFacts:
    """The facts in the replies to `models`, `props`, `info`, `server_info`, `ps`, `studio`."""
    card = _card(told.get("models"), model)
    props, info, studio = told.get("props"), told.get("info"), _card(told.get("studio"), model)
    if (slots := _count(props, "total_slots")) is not None:
        settings = props.get("default_generation_settings") if isinstance(props, dict) else None
        context = _count(settings, "n_ctx") or _count(props, "n_ctx") or _count(card.get("meta"), "n_ctx")
        return ServerFacts("llama.cpp", slots, context)
    if (total := _count(info, "max_total_tokens")) is not None:
        return ServerFacts("TGI", _count(info, "max_concurrent_requests"), total)
    if (length := _count(card, "max_model_len")) is not None:
        running = _count(told.get("server_info"), "max_running_requests")
        owner = str(card.get("owned_by") or "")
        return ServerFacts({"vllm": "vLLM", "sglang": "SGLang"}.get(owner, owner), running, length)
    if (loaded := _count(studio, "loaded_context_length")) is not None:
        return ServerFacts("LM Studio", None, loaded)
    running_models = told.get("ps").get("models") if isinstance(told.get("ps"), dict) else None  # type: ignore[union-attr]
    for each in running_models if isinstance(running_models, list) else ():
        if isinstance(each, dict) and model in (each.get("name"), each.get("model")):
            return ServerFacts("Ollama", None, _count(each, "context_length"))
    return UNKNOWN


def _card(models: Any, model: str) -> dict[str, Any]:
    """The entry of this model in a list of models; the only one, whatever it is called."""
    listed = models.get("data") if isinstance(models, dict) else None
    cards = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    named = [card for card in cards if card.get("id") == model]
    return (named or (cards if len(cards) == 1 else []) or [{}])[0]


def _count(told: Any, name: str) -> int | None:
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def waiting_in(metrics: str) -> int | None:
    """Calls that wait at the server, from its `/metrics`; None where these do not tell.

    The names are those of llama.cpp, vLLM, SGLang and TGI; with several engines, all together.
    """
    counts = re.findall(_WAITING, metrics)
    return int(sum(map(float, counts))) if counts else None


_WAITING = re.compile(
    r"^(?:llamacpp:requests_deferred|vllm:num_requests_waiting|sglang:num_queue_reqs|tgi_queue_size)"
    r"(?:\{[^}]*\})? ([0-9.eE+]+)$",
    re.MULTILINE,
)

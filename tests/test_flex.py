"""The flex tier: half the price while one waits, refusals that cost nothing, the standard price only where allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from endpoints import client_with, endpoint
from engine.config import ModelConfig
from engine.errors import NoCapacity
from engine.items import Prompt, RateLimits
from engine.llm.backends.failures import failure_of
from engine.llm.backends.openai_compatible import OpenAICompatible
from engine.llm.prices import price_of
from engine.runs.endpoints import FLEX_S

BUSY = {
    "error": {"message": "Resource Unavailable", "type": "resource_unavailable", "code": "flex_unavailable"}
}


class Provider:
    """Refuses flex calls so many times, and serves what it is asked for. Mutable state: what was asked."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.tiers: list[Any] = []

    async def chat(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.tiers.append(tier := asked.get("service_tier"))
        if tier == "flex" and self.refusals > 0:
            self.refusals -= 1
            return web.json_response(BUSY, status=429)
        message = {"role": "assistant", "content": "{}"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        reply = {"model": "gpt-5", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
        return web.json_response({**reply, "service_tier": tier})


@pytest.fixture
async def served() -> AsyncIterator[tuple[Provider, str]]:
    provider, app = Provider(3), web.Application()
    app.router.add_post("/v1/chat/completions", provider.chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield provider, f"http://127.0.0.1:{port}/v1"
    await runner.cleanup()


def flex(url: str, **more: Any) -> ModelConfig:
    return ModelConfig.model_validate({"name": "gpt-5", "base_url": url, "service_tier": "flex", **more})


def prompt() -> Prompt:
    return Prompt("1/items", "items", 1, "system", "user", {}, 1.0, 100, 0)


async def test_a_refusal_costs_nothing_and_counts_against_no_rate(served: tuple[Provider, str]) -> None:
    provider, url = served
    model = flex(url)
    price = price_of(model)
    assert price is not None
    backend = OpenAICompatible(model, concurrency=4)
    one = endpoint(backend, price=price, limits=RateLimits(1000, 100_000))
    client = client_with(one)
    completion = await client.ask(prompt())
    assert provider.tiers == ["flex"] * 4
    assert completion.usage.cost == price.cost(10, 5, service="flex")
    assert price.cost(10, 5, service="flex") * 2 == price.cost(10, 5)
    assert (client.counts.retried, client.counts.unconfirmed) == (0, 0)
    assert client.counts.errors == {"no_capacity": 3}
    await backend.close()


async def test_the_standard_price_where_the_user_says_so(served: tuple[Provider, str]) -> None:
    provider, url = served
    model = flex(url, flex_fallback=True)
    price, cautious = price_of(model), price_of(flex(url))
    assert price is not None
    assert cautious is not None
    assert price.worst(1000, 1000) == 2 * cautious.worst(1000, 1000), "so much is set aside for it"
    backend = OpenAICompatible(model, concurrency=4)
    client = client_with(endpoint(backend, price=price))
    completion = await client.ask(prompt())
    assert provider.tiers == ["flex", "default"]
    assert completion.sent == {"service_tier": "default"}
    assert completion.usage.cost == price.cost(10, 5)
    provider.refusals = 0
    served_flex = await client.ask(Prompt("2/items", "items", 2, "system", "user", {}, 1.0, 100, 0))
    assert served_flex.usage.cost * 2 == completion.usage.cost
    await backend.close()


@pytest.mark.parametrize("code", ["flex_unavailable", "resource_unavailable"])
def test_what_a_refusal_says(code: str) -> None:
    import orjson

    error = failure_of(429, {}, orjson.dumps({"error": {"message": "no", "code": code}}))
    assert isinstance(error, NoCapacity)
    assert not isinstance(failure_of(429, {}, b'{"error": {"code": "rate_limit_exceeded"}}'), NoCapacity)


def test_a_fallback_is_of_flex() -> None:
    with pytest.raises(ValueError, match="flex_fallback is for service_tier: flex"):
        ModelConfig(name="gpt-5", flex_fallback=True)
    assert FLEX_S == 900.0

"""The Backend conformance suite: the same promises for OpenAI's, Azure's and Anthropic's language."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from aiohttp import web

from engine.config import ModelConfig
from engine.config.model import elsewhere
from engine.errors import (
    AuthError,
    BadRequest,
    ContentFiltered,
    Disconnected,
    EndpointError,
    EngineError,
    MalformedReply,
    RateLimited,
    Renegotiated,
    TooLong,
    Unavailable,
    Unparseable,
)
from engine.items import PICO, Prompt, RateLimits
from engine.llm.backends.rate_headers import announced
from engine.llm.prices import price_of
from engine.protocols import Announcing, Backend
from engine.runs.endpoints import backend_for
from stand_ins import KEY, Anthropic, Azure, OpenAI, StandIn, aborted, served

SCHEMA = {"type": "object", "properties": {"items": {"type": "array"}}}
PROMPT = Prompt("1/items", "items", 1, "S", "U", SCHEMA, 1.2, 77, 5)

Rig = tuple[StandIn, Backend]


async def opened(stack: AsyncExitStack, stand_in: StandIn, **model: Any) -> Backend:
    root = await stack.enter_async_context(served(stand_in))
    settings = {"name": "m", "base_url": root + stand_in.base, **stand_in.settings, **model}  # type: ignore[attr-defined]
    config = ModelConfig.model_validate(settings)
    backend = backend_for(config, "items")(config, concurrency=4)
    stack.push_async_callback(backend.close)
    return backend


@pytest.fixture(params=[OpenAI, Azure, Anthropic])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        stand_in = request.param()
        yield stand_in, await opened(stack, stand_in)


async def test_a_good_reply(rig: Rig) -> None:
    stand_in, backend = rig
    found = await backend.complete(PROMPT)
    assert orjson.loads(found.text) == {"items": []}
    assert (found.model, found.finish_reason) == ("m-2026", "stop")
    usage = found.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (11, 7, 3)
    assert (usage.estimated, usage.cost) == (False, 0)
    [asked] = stand_in.asked
    assert b'"items"' in orjson.dumps(asked), "the schema goes along"
    assert asked.get("max_tokens") == 77


async def test_a_cut_answer_says_so(rig: Rig) -> None:
    stand_in, backend = rig
    stand_in.finish = "length"
    assert (await backend.complete(PROMPT)).finish_reason == "length"


@pytest.mark.parametrize(
    ("content", "finish", "expected"),
    [("", "stop", Unparseable), ("x", "filtered", ContentFiltered)],
)
async def test_a_useless_answer_is_charged(
    rig: Rig, content: str, finish: str, expected: type[EngineError]
) -> None:
    stand_in, backend = rig
    stand_in.content, stand_in.finish = content, finish
    with pytest.raises(expected) as caught:
        await backend.complete(PROMPT)
    assert caught.value.usage is not None  # type: ignore[attr-defined]
    assert caught.value.usage.prompt_tokens == 11  # type: ignore[attr-defined]


CASES: list[tuple[int, str, type[EngineError]]] = [
    (400, "invalid_request_error", BadRequest),
    (401, "authentication_error", AuthError),
    (402, "billing_error", AuthError),
    (403, "permission_error", AuthError),
    (404, "not_found_error", EndpointError),
    (408, "timeout", Unavailable),
    (413, "request_too_large", BadRequest),
    (422, "unprocessable", BadRequest),
    (429, "rate_limit_error", RateLimited),
    (429, "insufficient_quota", AuthError),
    (429, "credit_balance_exhausted", AuthError),
    (500, "api_error", Unavailable),
    (502, "bad_gateway", Unavailable),
    (503, "unavailable", Unavailable),
    (529, "overloaded_error", Unavailable),
    (301, "moved", EndpointError),
]


@pytest.mark.parametrize(("status", "kind", "expected"), CASES)
async def test_each_failure_has_its_class(
    rig: Rig, status: int, kind: str, expected: type[EngineError]
) -> None:
    stand_in, backend = rig
    await backend.complete(PROMPT)  # the terms are settled: what is refused now is the request's own fault
    headers = {"Location": "http://127.0.0.1:9/elsewhere"} if status == 301 else {}
    stand_in.faults = [(status, stand_in.error(status, f"no {KEY} \x1b[31m", kind), headers)]
    with pytest.raises(expected) as caught:
        await backend.complete(PROMPT)
    assert type(caught.value) is expected
    assert len(stand_in.asked) == 2, "one attempt, no redirect followed"
    assert KEY not in str(caught.value)
    assert str(caught.value).isprintable()
    if isinstance(caught.value, Unavailable):
        assert caught.value.overloaded is (status in (503, 529))


async def test_a_wrong_key_is_refused(request: pytest.FixtureRequest) -> None:
    for kind in (OpenAI, Azure, Anthropic):
        async with AsyncExitStack() as stack:
            backend = await opened(stack, kind(), api_key="sk-other")
            with pytest.raises(AuthError):
                await backend.complete(PROMPT)


@pytest.mark.parametrize("body", [b"", b"<htm", b"[]", b"null", b'{"a": ', b'{"content": 3}', b"\xff\xfe{}"])
async def test_a_body_that_is_none_is_malformed(rig: Rig, body: bytes) -> None:
    """Not JSON, not whole, not an answer, not UTF-8."""
    stand_in, backend = rig
    stand_in.faults = [(200, body, {})]
    with pytest.raises(MalformedReply):
        await backend.complete(PROMPT)


async def test_invalid_utf_8_inside_an_answer_is_malformed(rig: Rig) -> None:
    stand_in, backend = rig
    body = orjson.dumps(stand_in.reply({})).replace(b"items", b"\xc3\x28\xa0")
    stand_in.faults = [(200, body, {})]
    with pytest.raises(MalformedReply):
        await backend.complete(PROMPT)


async def test_a_reset_may_have_been_charged(rig: Rig) -> None:
    stand_in, backend = rig
    stand_in.faults = [aborted]
    with pytest.raises(Disconnected) as caught:
        await backend.complete(PROMPT)
    assert caught.value.paid


async def test_a_keep_alive_that_the_server_has_closed_is_replaced(rig: Rig) -> None:
    """Idle connections are closed by the other side all the time: the next call must not notice."""
    stand_in, backend = rig
    transports = []

    async def kept(request: web.Request) -> web.StreamResponse:
        transports.append(request.transport)
        return web.json_response(stand_in.reply({}))

    stand_in.faults = [kept]
    await backend.complete(PROMPT)
    transports[0].close()
    await asyncio.sleep(0.02)
    await backend.complete(PROMPT)


async def test_an_endless_reply_is_cut_off(rig: Rig) -> None:
    stand_in, backend = rig
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 50_000_000:
            await response.write(b" " * 65536)
            sent += 65536
        return response

    stand_in.faults = [endless]
    with pytest.raises(TooLong, match="longer than"):
        await backend.complete(PROMPT)
    assert sent < 20_000_000


async def test_a_gzip_bomb_does_not_fill_the_memory(rig: Rig) -> None:
    stand_in, backend = rig
    bomb = gzip.compress(b" " * 100_000_000, 9)
    assert len(bomb) < 200_000
    stand_in.faults = [(200, bomb, {"Content-Encoding": "gzip"})]
    with pytest.raises(TooLong, match="longer than"):
        await backend.complete(PROMPT)
    assert (await backend.complete(PROMPT)).text


async def test_announced_limits_are_passed_on(rig: Rig) -> None:
    stand_in, backend = rig
    assert isinstance(backend, Announcing)
    assert backend.announced is None
    stand_in.headers = stand_in.rate_headers
    await backend.complete(PROMPT)
    first = backend.announced
    assert first == RateLimits(500, 30_000)
    stand_in.faults = [
        (429, stand_in.error(429, "slow down", "x"), {**stand_in.rate_headers, "retry-after": "7"})
    ]
    with pytest.raises(RateLimited) as caught:
        await backend.complete(PROMPT)
    assert caught.value.retry_after == 7
    assert backend.announced is first, "the same object until they change"


# --- what only one of them has ----------------------------------------------------------------------


async def test_azure_is_addressed_by_deployment_and_version() -> None:
    async with AsyncExitStack() as stack:
        stand_in = Azure()
        backend = await opened(stack, stand_in, api_version="2025-01-01-preview")
        await backend.complete(PROMPT)
        assert stand_in.request_headers[0]["api-key"] == KEY
        assert "Authorization" not in stand_in.request_headers[0]


async def test_azure_takes_a_token_of_entra(monkeypatch: pytest.MonkeyPatch) -> None:
    """By azure-identity's own managed-identity client, against a stand-in of the token service."""
    pytest.importorskip("azure.identity")
    given = []

    async def token(request: web.Request) -> web.StreamResponse:
        given.append(dict(request.query))
        return web.json_response(
            {
                "access_token": "entra-token",
                "expires_on": "4102444800",
                "token_type": "Bearer",
                "resource": "x",
            }
        )

    app = web.Application()
    app.router.add_get("/token", token)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "x")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        stand_in = Azure()
        stand_in.token = "entra-token"  # noqa: S105 - no secret
        backend = await opened(stack, stand_in, api_key=None, entra=True)
        for _ in range(3):
            await backend.complete(PROMPT)
    assert len(given) == 1, "a token is kept while it holds"
    assert given[0]["resource"] == "https://cognitiveservices.azure.com"


async def test_anthropic_is_told_the_schema_as_a_tool() -> None:
    async with AsyncExitStack() as stack:
        stand_in = Anthropic()
        backend = await opened(stack, stand_in)
        usage = (await backend.complete(PROMPT)).usage
        [asked] = stand_in.asked
        assert asked["tools"][0]["input_schema"] == SCHEMA
        assert asked["tool_choice"] == {"type": "tool", "name": "items"}
        assert (asked["system"], asked["temperature"]) == ("S", 1.0)
        assert usage.written_tokens == 2
        price = price_of(ModelConfig.model_validate({"name": "m", "price": {
            "input": 3, "output": 15, "cached_input": 0.3, "cache_write": 3.75}}))  # fmt: skip
        assert price is not None
        cost = price.cost(
            usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.written_tokens
        )
        assert cost / PICO == pytest.approx((6 * 3 + 3 * 0.3 + 2 * 3.75 + 7 * 15) / 1e6)


async def test_what_anthropic_refuses_is_left_out() -> None:
    async with AsyncExitStack() as stack:
        stand_in = Anthropic()
        backend = await opened(stack, stand_in)
        for said in (
            "`temperature` is deprecated for this model.",
            "Thinking may not be enabled when tool_choice forces tool use.",
            "tools: not available to this model",
        ):
            stand_in.faults = [(400, stand_in.error(400, said, "invalid_request_error"), {})]
            with pytest.raises(Renegotiated):
                await backend.complete(PROMPT)
        found = await backend.complete(PROMPT)
        assert found.text == stand_in.content
        assert not {"temperature", "tools", "tool_choice"} & set(stand_in.asked[-1])


@pytest.mark.parametrize(
    ("headers", "host", "expected"),
    [
        ({}, "", None),
        (
            {"x-ratelimit-limit-requests": "14400", "x-ratelimit-limit-tokens": "6000"},
            "api.groq.com",
            (10, 6000),
        ),
        ({"x-ratelimit-limit-requests": "600"}, "h", (600, None)),
        (
            {"x-ratelimit-limit-requests-day": "14400", "x-ratelimit-limit-requests-minute": "30"},
            "h",
            (10, None),
        ),
        ({"x-ratelimit-limit-tokens-minute": "60000"}, "h", (None, 60000)),
        ({"x-ratelimit-limit-requests": "0"}, "h", None),
        ({"x-ratelimit-limit-requests": "-1", "x-ratelimit-limit-tokens": "many"}, "h", None),
        ({"anthropic-ratelimit-requests-limit": "50"}, "h", (50, None)),
    ],
)
def test_spellings_of_limits(headers: dict[str, str], host: str, expected: tuple[Any, Any] | None) -> None:
    assert announced(headers, host) == (RateLimits(*expected) if expected else None)


def test_each_language_has_its_address() -> None:
    made: Callable[..., ModelConfig] = lambda **given: ModelConfig.model_validate({"name": "m", **given})  # noqa: E731
    assert made().base_url == "https://api.openai.com/v1"
    assert made(api="anthropic").base_url == "https://api.anthropic.com"
    assert made(api="anthropic", base_url="https://own.example/v1").base_url == "https://own.example/v1"
    with pytest.raises(ValueError, match="base_url must be the resource's"):
        made(api="azure")
    with pytest.raises(ValueError, match="in place of an api_key"):
        made(api="azure", base_url="https://x.openai.azure.com", entra=True, api_key="k")


def test_a_purposes_own_host_is_not_sent_the_main_key() -> None:
    main = ModelConfig.model_validate(
        {
            "name": "m",
            "api_key": "sk-main",
            "headers": {"X-Own": "secret"},
            "purposes": {
                "review": {"name": "cheap", "base_url": "http://localhost:8000/v1"},
                "program": {"name": "strong"},
                "fact_check": {"api": "anthropic", "name": "claude", "api_key": "sk-ant"},
            },
        }
    )
    assert elsewhere("http://api.example/v1", "https://api.example/v1"), "not in the clear either"
    models = main.for_purposes()
    review, program, facts = (models[name] for name in ("review", "program", "fact_check"))
    assert (review.api_key, review.headers) == (None, {})
    assert (program.api_key, program.headers) == ("sk-main", {"X-Own": "secret"})
    assert (facts.base_url, facts.api_key, facts.headers) == ("https://api.anthropic.com", "sk-ant", {})

"""The Backend door: what every reply, and every failure, of an endpoint means. Run on each implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from aiohttp import web

from engine.config import ModelConfig
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
    Unavailable,
    Unparseable,
)
from engine.items import Prompt
from engine.llm.backends import http
from engine.llm.backends.chat_reply import completion_of
from engine.llm.backends.openai_compatible import OpenAICompatible
from engine.protocols import Backend

PROMPT = Prompt(
    key="1/items",
    purpose="items",
    batch=1,
    system="S",
    user="U",
    schema={"type": "object"},
    temperature=0.5,
    max_tokens=77,
    seed=5,
)
GOOD: dict[str, Any] = {
    "model": "m-1",
    "choices": [{"message": {"content": '{"items": []}'}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 3}},
}


def good(**changes: Any) -> bytes:
    return orjson.dumps({**GOOD, **changes})


def message(**changes: Any) -> bytes:
    finish = changes.pop("finish_reason", "stop")
    return good(choices=[{"message": changes, "finish_reason": finish}])


def error(message: str = "no", code: str | None = None, param: str | None = None) -> bytes:
    return orjson.dumps({"error": {"message": message, "code": code, "param": param}})


class Stub:
    """A real HTTP server that answers as told and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[web.Request], Any] = lambda _: (200, good(), {})
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(orjson.loads(await request.read()))
        self.headers.append(dict(request.headers))
        found = self.answer(request)
        if asyncio.iscoroutine(found):
            found = await found
        if isinstance(found, web.StreamResponse):
            return found
        status, body, headers = found
        return web.Response(status=status, body=body, headers=headers)

    def says(self, status: int, body: bytes, **headers: str) -> None:
        self.answer = lambda _: (
            status,
            body,
            {name.replace("_", "-"): value for name, value in headers.items()},
        )


@pytest.fixture
async def stub() -> AsyncIterator[tuple[Stub, str]]:
    found = Stub()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield found, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


Make = Callable[..., Backend]


@pytest.fixture(params=["openai_compatible"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Makes a backend for a base URL; one case for each implementation."""
    async with AsyncExitStack() as stack:

        def one(url: str, **model: Any) -> Backend:
            config = ModelConfig.model_validate(
                {"name": "m", "base_url": url, "api_key": "sk-key-of-tests", **model}
            )
            backend = OpenAICompatible(config, concurrency=4)
            stack.push_async_callback(backend.close)
            return backend

        yield one


async def test_a_good_reply(stub: tuple[Stub, str], make: Make) -> None:
    server, url = stub
    completion = await make(url).complete(PROMPT)
    assert (completion.text, completion.model, completion.finish_reason) == ('{"items": []}', "m-1", "stop")
    usage = completion.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.estimated) == (
        11,
        7,
        3,
        False,
    )
    [asked] = server.requests
    assert asked["messages"] == [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    assert (asked["model"], asked["max_tokens"], asked["seed"], asked["temperature"]) == ("m", 77, 5, 0.5)
    assert asked["response_format"]["json_schema"]["name"] == "items"
    assert server.headers[0]["Authorization"] == "Bearer sk-key-of-tests"


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": None},
        "free",
        {"prompt_tokens": 5, "completion_tokens": "many"},
        {"prompt_tokens": -5, "completion_tokens": 5},
        {"prompt_tokens": 10**19, "completion_tokens": 5},
        {"prompt_tokens": 5},
    ],
)
async def test_a_reply_without_usage_is_marked(stub: tuple[Stub, str], make: Make, usage: Any) -> None:
    stub[0].says(200, good(usage=usage))
    assert (await make(stub[1]).complete(PROMPT)).usage.estimated


CASES: list[tuple[int, bytes, dict[str, str], type[EngineError]]] = [
    (429, error(), {}, RateLimited),
    (429, error(code="insufficient_quota"), {}, AuthError),
    (500, error(), {}, Unavailable),
    (502, b"<html>bad gateway</html>", {}, Unavailable),
    (503, b"", {}, Unavailable),
    (408, error(), {}, Unavailable),
    (409, error(), {}, Unavailable),
    (400, error(), {}, BadRequest),
    (413, error(), {}, BadRequest),
    (422, orjson.dumps({"detail": [{"msg": "bad"}]}), {}, BadRequest),
    (400, error(code="content_filter"), {}, ContentFiltered),
    (401, error(), {}, AuthError),
    (403, error(), {}, AuthError),
    (404, error(), {}, EndpointError),
    (302, b"", {"Location": "http://127.0.0.1:9/stolen"}, EndpointError),
    (200, good()[:-9], {}, MalformedReply),
    (200, b"<html>", {}, Unavailable),
    (200, b"[]", {}, MalformedReply),
    (200, good(choices=[]), {}, MalformedReply),
    (200, good(choices=[{"message": None}]), {}, MalformedReply),
    (200, good(choices=[{"message": "text"}]), {}, MalformedReply),
    (200, good(choices=[None]), {}, MalformedReply),
    (200, message(content=""), {}, Unparseable),
    (200, message(content=None, refusal="I will not."), {}, Unparseable),
    (200, message(content="x", finish_reason="content_filter"), {}, ContentFiltered),
]


@pytest.mark.parametrize(("status", "body", "headers", "expected"), CASES)
async def test_each_failure_has_its_class(
    stub: tuple[Stub, str],
    make: Make,
    status: int,
    body: bytes,
    headers: dict[str, str],
    expected: type[EngineError],
) -> None:
    backend = make(stub[1])
    await backend.complete(PROMPT)  # the terms are settled: what is refused now is the request's own fault
    stub[0].says(status, body, **headers)
    with pytest.raises(expected) as caught:
        await backend.complete(PROMPT)
    assert type(caught.value) is expected
    assert len(stub[0].requests) == 2  # one attempt, no redirect followed


async def test_what_a_useless_answer_took_is_known(stub: tuple[Stub, str], make: Make) -> None:
    stub[0].says(200, message(content="x", finish_reason="content_filter"))
    with pytest.raises(ContentFiltered) as caught:
        await make(stub[1]).complete(PROMPT)
    assert caught.value.usage is not None
    assert caught.value.usage.prompt_tokens == 11


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "7", "retry_after_ms": "1500"}, 1.5),
        ({"retry_after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after_ms": "inf"}, None),
        ({"retry_after": "Thu, 01 Jan 1970 00:00:00 -0000"}, 0.0),
    ],
)
async def test_retry_after(
    stub: tuple[Stub, str], make: Make, headers: dict[str, str], seconds: float | None
) -> None:
    stub[0].says(429, error(), **headers)
    with pytest.raises(RateLimited) as caught:
        await make(stub[1]).complete(PROMPT)
    assert caught.value.retry_after == seconds


async def test_an_endpoints_words_hold_no_secret_and_no_escapes(stub: tuple[Stub, str], make: Make) -> None:
    stub[0].says(401, error("bad key Bearer sk-key-of-tests \x1b]0;pwned\x07"))
    with pytest.raises(AuthError) as caught:
        await make(stub[1]).complete(PROMPT)
    assert "sk-key-of-tests" not in str(caught.value)
    assert str(caught.value).isprintable()


async def test_a_mute_host_is_not_paid(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepts connections, never speaks TLS: nothing has been sent, so nothing can be charged."""
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.1)
    gone = asyncio.Event()

    class Mute(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            gone.set()

    server = await asyncio.get_running_loop().create_server(Mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Disconnected) as caught:
        await make(f"https://127.0.0.1:{port}/v1").complete(PROMPT)
    assert not caught.value.paid
    await gone.wait()
    server.close()
    await server.wait_closed()


async def test_words_about_a_seed_are_not_about_the_seed(stub: tuple[Stub, str], make: Make) -> None:
    backend = make(stub[1])
    await backend.complete(PROMPT)
    stub[0].says(400, error("a farmer plants a seed at a low temperature"))
    with pytest.raises(BadRequest):
        await backend.complete(PROMPT)


async def test_a_reset_may_have_been_charged(stub: tuple[Stub, str], make: Make) -> None:
    def reset(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    stub[0].answer = reset
    with pytest.raises(Disconnected) as caught:
        await make(stub[1]).complete(PROMPT)
    assert caught.value.paid


async def test_a_proxy_of_the_environment_is_used(
    stub: tuple[Stub, str], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(head.splitlines()[0])
        body = good()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for name in ("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        assert (await make("http://model.invalid/v1?version=1").complete(PROMPT)).usage.prompt_tokens == 11
        assert seen == ["POST http://model.invalid/v1/chat/completions?version=1 HTTP/1.1"]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        await make(stub[1]).complete(PROMPT)
        assert len(seen) == 1


async def test_nobody_there(make: Make, unused_tcp_port: int) -> None:
    with pytest.raises(Disconnected, match="cannot connect") as caught:
        await make(f"http://127.0.0.1:{unused_tcp_port}/v1").complete(PROMPT)
    assert not caught.value.paid


async def test_what_an_endpoint_refuses_is_left_out(stub: tuple[Stub, str], make: Make) -> None:
    """json_schema, then json_object, then the prompt alone; and the other optional fields likewise."""
    server, url = stub
    backend = make(url)
    refusals = iter(
        [
            error(
                "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
                param="max_tokens",
            ),
            error("json_schema is not supported", param="response_format"),
            error("response_format is not supported"),
            error("seed: extra inputs are not permitted", param="seed"),
            error("'temperature' does not support 0.5", param="temperature"),
        ]
    )
    server.answer = lambda _: (400, body, {}) if (body := next(refusals, None)) else (200, good(), {})
    for _ in range(5):
        with pytest.raises(Renegotiated):
            await backend.complete(PROMPT)
    await backend.complete(PROMPT)
    last = server.requests[-1]
    assert last["max_completion_tokens"] == 77
    assert not {"max_tokens", "response_format", "seed", "temperature"} & set(last)


async def test_many_refused_at_once_step_down_once(stub: tuple[Stub, str], make: Make) -> None:
    server, url = stub
    backend = make(url)
    server.answer = lambda _: (
        (400, error("response_format json_schema is not supported"), {})
        if server.requests[-1]["response_format"]["type"] == "json_schema"
        else (200, good(), {})
    )
    first = await asyncio.gather(*(backend.complete(PROMPT) for _ in range(4)), return_exceptions=True)
    assert {type(found) for found in first} == {Renegotiated}
    await backend.complete(PROMPT)
    assert server.requests[-1]["response_format"] == {"type": "json_object"}


async def test_a_fixed_format_is_not_stepped_down(stub: tuple[Stub, str], make: Make) -> None:
    stub[0].says(400, error("response_format is not supported", param="response_format"))
    with pytest.raises(BadRequest):
        await make(stub[1], response_format="json_schema").complete(PROMPT)


async def test_a_header_of_ones_own_replaces_the_engines_however_it_is_spelled(
    stub: tuple[Stub, str], make: Make
) -> None:
    server, url = stub
    await make(url, headers={"accept": "text/plain", "USER-AGENT": "mine", "X-Own": "1"}).complete(PROMPT)
    sent = {name.lower(): value for name, value in server.headers[0].items()}
    assert (sent["accept"], sent["user-agent"], sent["x-own"]) == ("text/plain", "mine", "1")
    assert [name.lower() for name in server.headers[0]].count("accept") == 1


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ("/home/ada/models/SmolLM2.Q4_1.gguf", "SmolLM2.Q4_1.gguf"),
        ("C:\\Users\\ada\\m.gguf", "m.gguf"),
        ("org/name", "org/name"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18"),
        ("models/", "models/"),
        ("/", "/"),
    ],
)
def test_folders_of_the_server_are_nobodys_business(told: str, named: str) -> None:
    reply = {"model": told, "choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]}
    assert completion_of(orjson.dumps(reply), "m").model == named

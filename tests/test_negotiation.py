"""What a provider refuses is settled once, for each model and purpose, in whatever words it is refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web

from engine.config import ModelConfig
from engine.errors import BadRequest, ContextExceeded, MalformedReply, Renegotiated
from engine.flow.halt import Halt
from engine.items import Completion, Prompt
from engine.llm.backends.anthropic import AnthropicMessages
from engine.llm.backends.embeddings import EmbeddingsEndpoint
from engine.llm.backends.limits_told import longest_answer, overrun
from engine.llm.backends.openai_compatible import OpenAICompatible
from engine.llm.backends.schemas import BY_HOST, FULL, PLAIN, accepted_by, fitted, strict
from engine.llm.backends.terms import SWAPPED, Terms
from engine.llm.budget import Budget
from engine.llm.client import Client
from engine.llm.concurrency import Concurrency
from engine.llm.endpoint import Endpoint
from engine.llm.limiter import Limiter
from test_client import Memory

Rule = Callable[[dict[str, Any]], str | dict[str, Any] | None]
"""What the server says against a request, or nothing."""

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 3}},
    "required": ["text"],
    "additionalProperties": False,
}


def prompt(purpose: str = "items", number: int = 1, **fields: Any) -> Prompt:
    values: dict[str, Any] = {
        "key": f"{number}/{purpose}",
        "purpose": purpose,
        "batch": 0,
        "system": "S",
        "user": "U",
        "schema": SCHEMA,
        "temperature": 0.5,
        "max_tokens": 2560,
        "seed": 1,
    }
    return Prompt(**{**values, **fields})


class Server:
    """A real HTTP server that refuses what its rules refuse. Mutable state: what was asked."""

    def __init__(self, *rules: Rule, status: int = 400) -> None:
        self.rules, self.status = rules, status
        self.asked: list[dict[str, Any]] = []
        self.refused = 0
        self.at_once = self.most_at_once = 0

    async def chat(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        self.asked.append(body)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.002)
        self.at_once -= 1
        for rule in self.rules:
            if (said := rule(body)) is not None:
                self.refused += 1
                told = said if isinstance(said, dict) else {"error": {"message": said}}
                return web.Response(status=self.status, body=orjson.dumps(told))
        if body.get("stream"):
            chunk = {"choices": [{"delta": {"content": "{}"}, "finish_reason": "stop"}]}
            return web.Response(body=b"data: " + orjson.dumps(chunk) + b"\n\ndata: [DONE]\n\n")
        if "input" in body:
            return web.Response(body=orjson.dumps({"data": [{"index": 0, "embedding": [0.6, 0.8]}]}))
        choice = {"message": {"content": "{}"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        return web.Response(body=orjson.dumps({"choices": [choice], "usage": usage}))


@asynccontextmanager
async def serving(server: Server, cls: Any = OpenAICompatible, **model: Any) -> AsyncIterator[Any]:
    app = web.Application()
    app.router.add_post("/v1/{_:.*}", server.chat)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    backend = cls(ModelConfig.model_validate({"name": "m", "base_url": url, **model}), concurrency=64)
    try:
        yield backend
    finally:
        await backend.close()
        await runner.cleanup()


async def settle(backend: Any, asked: Prompt) -> tuple[Completion, int]:
    """The completion, and how many requests were refused before."""
    for refused in range(40):
        try:
            return await backend.complete(asked), refused
        except Renegotiated:
            continue
    raise AssertionError("never settled")


def has(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda body: name in body


def form(body: dict[str, Any]) -> str:
    return str(body.get("response_format", {}).get("type"))


def roles(body: dict[str, Any]) -> list[str]:
    return [message["role"] for message in body["messages"]]


NAMED: list[tuple[str, Rule, Callable[[dict[str, Any]], bool]]] = [
    (
        "OpenAI: temperature",
        lambda b: (
            "Unsupported value: 'temperature' does not support 0.5 with this model. Only the "
            "default (1) value is supported."
            if "temperature" in b
            else None
        ),
        lambda b: "temperature" not in b,
    ),
    (
        "Mistral: seed",
        lambda b: (
            {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]}}
            if "seed" in b
            else None
        ),
        lambda b: "seed" not in b,
    ),
    (
        "Gemini: seed",
        lambda b: (
            [{"error": {"code": 400, "message": 'Unknown name "seed": Cannot find field.'}}]  # type: ignore[return-value]
            if "seed" in b
            else None
        ),
        lambda b: "seed" not in b,
    ),
    ("in Chinese: seed", lambda b: "不支持参数 seed" if "seed" in b else None, lambda b: "seed" not in b),
    (
        "max_tokens",
        lambda b: "'max_tokens' is not supported with this model" if "max_tokens" in b else None,
        lambda b: b["max_completion_tokens"] == 2560,
    ),
    (
        "DeepSeek: json_schema",
        lambda b: "This response_format type is unavailable now" if form(b) == "json_schema" else None,
        lambda b: form(b) == "json_object",
    ),
    (
        "Groq: a keyword",
        lambda b: (
            "invalid JSON schema for response_format: 'minLength' is not supported"
            if "minLength" in str(b)
            else None
        ),
        lambda b: form(b) == "json_schema" and "minLength" not in str(b),
    ),
    (
        "LM Studio: json_object",
        lambda b: {"error": "'response_format.type' must be 'text'"} if form(b) != "None" else None,
        lambda b: "response_format" not in b,
    ),
    (
        "a system message",
        lambda b: "System role not supported" if roles(b) != ["user"] else None,
        lambda b: roles(b) == ["user"],
    ),
    (
        "a system message's place",
        lambda b: (
            "'messages[0].role' does not support 'system' with this model."
            if roles(b)[0] == "system"
            else None
        ),
        lambda b: roles(b) == ["user"],
    ),
    (
        "DashScope: stream",
        lambda b: (
            "This model only support stream mode, please enable the stream parameter to access the model. "
            if not b.get("stream")
            else None
        ),
        lambda b: b["stream"] is True,
    ),
    (
        "stream_options",
        lambda b: (
            "unknown field stream_options"
            if "stream_options" in b
            else "only support stream mode"
            if not b.get("stream")
            else None
        ),
        lambda b: b["stream"] is True,
    ),
    (
        "OpenAI: the longest answer",
        lambda b: (
            "max_tokens is too large: 2560. This model supports at most 1000 completion "
            "tokens, whereas you provided 2560."
            if b["max_tokens"] > 1000
            else None
        ),
        lambda b: b["max_tokens"] == 1000,
    ),
    (
        "Anthropic's words",
        lambda b: "max_tokens: 2560 > 1024, which is the maximum" if b["max_tokens"] > 1024 else None,
        lambda b: b["max_tokens"] == 1024,
    ),
    (
        "DeepSeek: the longest answer",
        lambda b: (
            "Invalid max_tokens value, the valid range of max_tokens is [1, 2048]"
            if b["max_tokens"] > 2048
            else None
        ),
        lambda b: b["max_tokens"] == 2048,
    ),
]


@pytest.mark.parametrize(("who", "rule", "expected"), NAMED, ids=[case[0] for case in NAMED])
async def test_what_is_named_is_settled_by_few_refusals(
    who: str, rule: Rule, expected: Callable[[dict[str, Any]], bool]
) -> None:
    server = Server(rule)
    async with serving(server) as backend:
        _, refused = await settle(backend, prompt())
        assert expected(server.asked[-1])
        assert refused <= 3
        await backend.complete(prompt(number=2))
        assert server.refused == refused, "it is settled"
        others = {name for name in ("temperature", "seed") if name in server.asked[-1]}
        assert len(others) >= 1, "what was not refused is still sent"


SAMPLING: list[tuple[str, Any, set[str]]] = [
    ("OpenAI: top_k", "Unrecognized request argument supplied: top_k", {"top_k"}),
    (
        "OpenAI, reasoning: top_p",
        "Unsupported parameter: 'top_p' is not supported with this model.",
        {"top_p"},
    ),
    ("Mistral: top_k", {"detail": [{"type": "extra_forbidden", "loc": ["body", "top_k"]}]}, {"top_k"}),
    ("Anthropic: both", "`temperature` and `top_p` cannot both be specified for this model.", {"top_p"}),
]


@pytest.mark.parametrize(("who", "said", "gone"), SAMPLING, ids=[case[0] for case in SAMPLING])
@pytest.mark.parametrize("api", ["openai", "anthropic"])
async def test_a_sampling_that_is_refused_is_left_out_and_told(
    who: str, said: Any, gone: set[str], api: str
) -> None:
    server = Server(lambda body: said if gone & body.keys() else None)
    cls = AnthropicMessages if api == "anthropic" else OpenAICompatible
    async with serving(server, cls, **({"api": "anthropic"} if api == "anthropic" else {})) as backend:
        asked = prompt(top_p=0.9, top_k=40)
        with contextlib.suppress(MalformedReply):  # an answer in another form than Anthropic's
            completion, refused = await settle(backend, asked)
            assert refused == 1
            assert completion.sent == dict.fromkeys(gone)
        last = server.asked[-1]
        assert {name for name in ("top_p", "top_k", "temperature") if name in last} == {
            "top_p",
            "top_k",
            "temperature",
        } - gone


async def test_no_sampling_is_sent_that_is_not_set() -> None:
    server = Server()
    async with serving(server) as backend:
        await backend.complete(prompt())
        assert not {"top_p", "top_k"} & server.asked[-1].keys()
        await backend.complete(prompt(number=2, top_p=0.8))
        assert server.asked[-1]["top_p"] == 0.8


UNNAMED: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
    ("schema", lambda b: form(b) == "json_schema"),
    ("any format", has("response_format")),
    ("seed", has("seed")),
    ("temperature", has("temperature")),
    ("system", lambda b: roles(b) != ["user"]),
    ("max_tokens", has("max_tokens")),
    ("no stream", lambda b: not b.get("stream")),
    ("seed and temperature", lambda b: "seed" in b or "temperature" in b),
    (
        "all at once",
        lambda b: (
            any(name in b for name in ("seed", "temperature", "response_format")) or roles(b) != ["user"]
        ),
    ),
]


@pytest.mark.parametrize(("what", "wrong"), UNNAMED, ids=[case[0] for case in UNNAMED])
async def test_what_is_not_named_is_found_by_the_ladder(
    what: str, wrong: Callable[[dict[str, Any]], bool]
) -> None:
    server = Server(lambda body: "Request contains an invalid argument." if wrong(body) else None)
    async with serving(server) as backend:
        await settle(backend, prompt())
        before = server.refused
        assert before <= 20
        await settle(backend, prompt("review"))
        assert server.refused - before <= 3, "what was found for one purpose is not tried again for the next"


async def test_a_request_that_nothing_helps_is_refused_and_nothing_is_lost_by_it() -> None:
    server = Server(lambda body: "No." if "worse" in body["messages"][-1]["content"] else None)
    async with serving(server) as backend:
        with pytest.raises(BadRequest, match="No"):
            await settle(backend, prompt(user="worse"))
        tried = len(server.asked)
        assert tried <= 20
        with pytest.raises(BadRequest):
            await backend.complete(prompt(user="worse", number=2))
        assert len(server.asked) == tried + 1
        await backend.complete(prompt(number=3))
        assert {"seed", "temperature", "response_format", "max_tokens"} <= set(server.asked[-1])


async def test_what_the_user_has_fixed_stays() -> None:
    server = Server(lambda b: "response_format is not supported" if "response_format" in b else None)
    async with serving(server, response_format="json_object") as backend:
        with pytest.raises(BadRequest):
            await settle(backend, prompt())


async def test_each_purpose_has_its_own_form() -> None:
    """One purpose's refusal does not demote the others."""
    server = Server(lambda b: "Invalid schema" if form(b) == "json_schema" and "review" in str(b) else None)
    async with serving(server) as backend:
        await settle(backend, prompt("review"))
        assert form(server.asked[-1]) == "json_object"
        await settle(backend, prompt("items"))
        assert form(server.asked[-1]) == "json_schema"


async def test_embeddings_are_negotiated_too() -> None:
    server = Server(
        lambda b: "encoding_format 'base64' is not supported" if "encoding_format" in b else None,
        lambda b: "This model does not support dimensions" if "dimensions" in b else None,
    )
    asked = prompt("embedding", user='["a"]')
    async with serving(server, EmbeddingsEndpoint, extra_body={"dimensions": 8}) as backend:
        await settle(backend, asked)
        assert set(server.asked[-1]) == {"model", "input"}


async def test_terms_are_told_in_words_kept_and_restored() -> None:
    rule: Rule = lambda b: "'temperature' is not supported" if "temperature" in b else None  # noqa: E731
    server = Server(rule)
    async with serving(server) as backend:
        completion, _ = await settle(backend, prompt())
        assert completion.sent == {"temperature": None}
        [(kind, sentence)] = backend.notices
        assert (kind, "no temperature" in sentence, "items" in sentence) == ("negotiated", True, True)
        kept = orjson.loads(orjson.dumps(backend.terms()))
    again = Server(rule)
    async with serving(again) as backend:
        backend.restore(kept)
        assert backend.settled("items")
        await backend.complete(prompt())
        assert again.refused == 0


async def test_one_call_settles_while_the_others_wait() -> None:
    server = Server(
        lambda b: "seed is not supported" if "seed" in b else None,
        lambda b: "temperature is not supported" if "temperature" in b else None,
    )
    async with serving(server) as backend:
        client = Client(Memory(), Limiter([Endpoint(backend, Concurrency(16))], 16), Budget(None), Halt())
        await asyncio.gather(*(client.ask(prompt(number=n)) for n in range(40)))
        assert (server.refused, len(server.asked)) == (2, 42)
        assert server.most_at_once == 16, "once it is settled, they go at once"
        assert client.counts.retried == 0


async def test_a_purpose_that_is_not_settled_holds_no_other_up() -> None:
    release = asyncio.Event()

    class Slow(Server):
        async def chat(self, request: web.Request) -> web.Response:
            if "review" in str(await request.read()):
                await release.wait()
            return await super().chat(request)

    async with serving(Slow()) as backend:
        client = Client(Memory(), Limiter([Endpoint(backend, Concurrency(2))], 2), Budget(None), Halt())
        reviews = [asyncio.create_task(client.ask(prompt("review", n))) for n in range(5)]
        await asyncio.gather(*(client.ask(prompt("items", n)) for n in range(5)))
        assert not any(task.done() for task in reviews)
        release.set()
        await asyncio.gather(*reviews)


@pytest.mark.parametrize(
    ("said", "context", "tokens"),
    [
        (
            "This model's maximum context length is 4096 tokens. However, you requested 5120 tokens (2560 in the "
            "messages, "
            "2560 in the completion).",
            4096,
            2560,
        ),
        (
            "maximum context length is 128000 tokens. However, your messages resulted in 173172 tokens.",
            128000,
            173172,
        ),
        (
            '{"error":{"code":400,"message":"request (9012 tokens) exceeds the available context size (4096 tokens), '
            "try "
            'increasing it","type":"exceed_context_size_error","n_prompt_tokens":9012,"n_ctx":4096}}',
            4096,
            9012,
        ),
        (
            "input length and `max_tokens` exceed context limit: 143653 + 64000 > 200000",
            200000,
            143653,
        ),
        (
            "`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2019 `inputs` tokens and 30 `max_new_tokens`",
            2048,
            2019,
        ),
        ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096, 5000),
        (
            "This model's maximum prompt length is 131072 but the request contains 136973 tokens.",
            131072,
            136973,
        ),
        (
            "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
            1048576,
            1200293,
        ),
        ("Range of input length should be [1, 30720]", 30720, None),
        (
            "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of "
            "5000 "
            "tokens: 1000 tokens from the input messages and 4000 tokens for the completion.",
            4096,
            1000,
        ),
    ],
)
async def test_a_prompt_beyond_the_context_is_told_as_such(
    said: str, context: int, tokens: int | None
) -> None:
    assert overrun(said) == (context, tokens)
    told = orjson.loads(said) if said.startswith("{") else {"error": {"message": said}}
    async with serving(Server(lambda _: told)) as backend:
        with pytest.raises(ContextExceeded) as caught:
            await settle(backend, prompt())
        assert (caught.value.context, caught.value.prompt) == (context, tokens)


def test_numbers_that_are_no_limit() -> None:
    assert overrun("the seed must be below 1000") is None
    assert longest_answer("the seed must be below 1000", 2560) is None
    assert longest_answer("max_tokens must be at least 1", 2560) is None


DEEP: dict[str, Any] = {"type": "string"}
for _ in range(12):
    DEEP = {"type": "object", "properties": {"a": DEEP}, "required": ["a"], "additionalProperties": False}


def test_schemas_hold_only_what_is_taken() -> None:
    schema = {"$defs": {"X": {"type": "string", "pattern": "^a$", "title": "X"}}, **SCHEMA, "title": "T"}
    schema["properties"] = {
        "x": {"$ref": "#/$defs/X"},
        "xs": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    }
    assert fitted(schema, FULL) == {
        "type": "object",
        "properties": {
            "x": {"type": "string", "pattern": "^a$"},
            "xs": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        },
        "required": ["text"],
        "additionalProperties": False,
    }
    plain = fitted(schema, PLAIN)
    assert plain is not None
    assert plain["properties"] == {
        "x": {"type": "string"},
        "xs": {"type": "array", "items": {"type": "string"}},
    }
    assert fitted(DEEP, accepted_by("api.openai.com")) is None
    assert accepted_by("api.groq.com") is BY_HOST["groq.com"]
    assert accepted_by("notgroq.com") is FULL
    many = {"type": "string", "enum": [str(n) for n in range(2000)]}
    assert fitted(many, accepted_by("api.openai.com")) == {"type": "string"}


def test_strict_rules() -> None:
    assert strict(SCHEMA)
    assert strict(DEEP)
    assert not strict({"type": "object"})
    assert not strict({**SCHEMA, "additionalProperties": True})
    assert not strict({**SCHEMA, "required": []})
    assert not strict({**SCHEMA, "properties": {"text": {"type": "object", "additionalProperties": True}}})


def test_terms_survive_being_kept() -> None:
    terms = Terms(
        "plain", "max_completion_tokens", frozenset({"seed", "b"}), merged=True, streamed=True, most_tokens=7
    )
    assert Terms.from_dict(orjson.loads(orjson.dumps(terms.as_dict()))) == terms
    assert Terms.from_dict({"of a later release": 1}) == Terms()


def test_only_fields_of_a_request_are_told_of() -> None:
    tried = Terms(limit="max_completion_tokens").dropping(SWAPPED).dropping("seed")
    assert tried.differences(Terms()) == "no seed; max_completion_tokens in place of max_tokens"

"""Error bodies as providers send them, each with where it was seen: what the engine takes them for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.errors import (
    AuthError,
    BadRequest,
    ContentFiltered,
    EndpointError,
    EngineError,
    MalformedReply,
    PermanentError,
    RateLimited,
    SamplingFailed,
    TransientError,
    Truncated,
    Unavailable,
    Unparseable,
)
from engine.llm.backends.chat_reply import completion_of
from engine.llm.backends.failures import failure_of, failure_within
from engine.prompts.replies import object_in
from engine.veil import hide


def error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


QUOTA = "You exceeded your current quota, please check your plan and billing details."
CASES: list[tuple[str, int, Any, type[EngineError]]] = [
    ("OpenAI", 429, error(QUOTA, type="insufficient_quota", code="insufficient_quota"), AuthError),
    ("OpenAI 2026", 429, error("No balance.", code="credit_balance_exhausted"), AuthError),
    (
        "OpenAI TPM",
        429,
        error("Rate limit reached for gpt-4o on tokens per min (TPM). Please try again in 1.5s.", code="x"),
        RateLimited,
    ),
    ("OpenAI too large", 429, error("Request too large for gpt-4o on tokens per min (TPM)"), BadRequest),
    (
        "OpenAI thinking",
        400,
        error("Could not finish the message because max_tokens or model output limit was reached"),
        Truncated,
    ),
    ("OpenAI prompt", 400, error("Invalid prompt: flagged", code="invalid_prompt"), ContentFiltered),
    (
        "Gemini, in a list; it is a rate limit",
        429,
        [
            error(
                f"{QUOTA}\n* Quota exceeded for metric: x\nPlease retry in 45.578569677s.",
                code=429,
                status="RESOURCE_EXHAUSTED",
            )
        ],
        RateLimited,
    ),
    (
        "Gemini, an unknown name",
        400,
        [error('Unknown name "seed": Cannot find field.', code=400)],
        BadRequest,
    ),
    ("Vertex", 501, [error("response schemas specified unsupported field min_length", code=501)], BadRequest),
    (
        "DeepSeek",
        402,
        error("Insufficient Balance", type="unknown_error", code="invalid_request_error"),
        AuthError,
    ),
    (
        "OpenRouter",
        402,
        error("This request requires more credits, or fewer max_tokens.", code=402),
        AuthError,
    ),
    (
        "OpenRouter parameters",
        404,
        error("No endpoints found that can handle the requested parameters.", code=404),
        BadRequest,
    ),
    ("OpenRouter flagged", 403, error("Your input was flagged", code=403), ContentFiltered),
    ("Together", 402, error("Credit limit exceeded.", type="credit_limit"), AuthError),
    (
        "Together, a rate",
        429,
        error("You have been rate limited. Your rate limit is 60 queries per minute.", type="credit_limit"),
        RateLimited,
    ),
    (
        "xAI",
        403,
        {"code": "personal-team-blocked:spending-limit", "error": "You have run out of credits"},
        AuthError,
    ),
    (
        "xAI 2026",
        429,
        {"code": "x", "error": "Your team has either used all available credits or reached its limit."},
        AuthError,
    ),
    (
        "xAI parameter",
        400,
        {"code": "Client specified an invalid argument", "error": "Argument not supported: stop"},
        BadRequest,
    ),
    (
        "Groq sampling",
        400,
        error("Failed to generate JSON.", code="json_validate_failed", failed_generation="{"),
        SamplingFailed,
    ),
    (
        "Groq size",
        413,
        error("Request too large for model: Limit 6000, Requested 10338", code="rate_limit_exceeded"),
        BadRequest,
    ),
    ("Groq flex", 498, error("capacity exceeded", code="capacity_exceeded"), Unavailable),
    (
        "Mistral key",
        422,
        {
            "object": "error",
            "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"]}]},
        },
        BadRequest,
    ),
    (
        "Mistral rate",
        429,
        {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "code": "1300"},
        RateLimited,
    ),
    (
        "Mistral capacity",
        503,
        {"object": "error", "message": "Service tier capacity exceeded", "type": "invalid_request_error"},
        Unavailable,
    ),
    (
        "DashScope",
        400,
        error("Access denied, please make sure your account is in good standing.", code="Arrearage"),
        AuthError,
    ),
    (
        "Azure",
        429,
        error("exceeded token rate limit. Please retry after 20 seconds.", code="429"),
        RateLimited,
    ),
    ("Azure filter", 400, error("The response was filtered", code="content_filter"), ContentFiltered),
    (
        "Anthropic",
        400,
        {"type": "error", **error("Your credit balance is too low to access the Anthropic API.")},
        AuthError,
    ),
    ("Anthropic load", 529, {"type": "error", **error("Overloaded", type="overloaded_error")}, Unavailable),
    (
        "LiteLLM",
        429,
        error("Budget has been exceeded! Current cost: 1", type="budget_exceeded", code="429"),
        AuthError,
    ),
    ("llama.cpp template", 500, error("Jinja Exception: System role not supported", code=500), BadRequest),
    ("llama.cpp loading", 503, error("Loading model", type="unavailable_error", code=503), Unavailable),
    ("vLLM key", 401, {"error": "Unauthorized"}, AuthError),
    (
        "SGLang queue",
        503,
        {"object": "error", "message": "The request queue is full.", "type": "503", "code": 503},
        Unavailable,
    ),
    ("a gateway's text", 400, b"validation failed: seed", BadRequest),
    ("an empty body", 400, b"", BadRequest),
    ("Gemini's key", 400, [error("API key not valid. Please pass a valid API key.", code=400)], AuthError),
    ("a month's limit", 429, error("You have reached your monthly usage limit for this key"), AuthError),
    ("OpenRouter's key", 403, error("Key limit exceeded (total limit).", code=403), AuthError),
]


@pytest.mark.parametrize(("who", "status", "body", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_an_error_means(who: str, status: int, body: Any, expected: type[EngineError]) -> None:
    failure = failure_of(status, {}, body if isinstance(body, bytes) else orjson.dumps(body))
    assert type(failure) is expected


def test_words_say_when_to_come_back() -> None:
    said = [
        ("try again in 6m0s", 360.0),
        ("Please try again in 120ms.", 0.12),
        ("Please retry in 45.5s.", 45.5),
        ("later", None),
    ]
    for words, seconds in said:
        failure = failure_of(429, {}, orjson.dumps(error(f"Rate limit. {words}")))
        assert isinstance(failure, RateLimited)
        assert failure.retry_after == seconds


def test_a_402_with_a_time_is_a_pause() -> None:
    body = orjson.dumps(error("in-flight budget", code=402))
    assert isinstance(failure_of(402, {"retry-after": "3"}, body), RateLimited)


def test_an_error_is_understood_before_it_is_veiled() -> None:
    body = orjson.dumps(error("'max_tokens' is not supported with this model", param="max_tokens"))
    hide("max_tokens")
    failure = failure_of(400, {}, body)
    assert isinstance(failure, BadRequest)
    assert (failure.param, "max_tokens" in failure.told) == ("max_tokens", True)
    assert "max_tokens" not in str(failure)


USED = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def success(message: dict[str, Any] | None, finish: str | None = "stop", **fields: Any) -> dict[str, Any]:
    choices = [{"index": 0, "message": message, "finish_reason": finish}] if message is not None else []
    return {"model": "m", "choices": choices, "usage": USED, **fields}


JSON = '{"items": []}'
READ: list[tuple[str, Any]] = [
    (
        "parts (Mistral)",
        success(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "{}"}]},
                    {"type": "text", "text": JSON},
                ]
            }
        ),
    ),
    ("a parser that took all for thinking", success({"content": None, "reasoning_content": f"so: {JSON}"})),
    ("the same under vLLM's name", success({"content": "", "reasoning": JSON})),
    ("thinking beside it", success({"content": JSON, "reasoning_content": '{"items": [1]}'})),
    (
        "a tool call",
        success(
            {"content": None, "tool_calls": [{"function": {"name": "items", "arguments": JSON}}]},
            "tool_calls",
        ),
    ),
    (
        "a tool call with an object",
        success({"content": "", "tool_calls": [{"function": {"arguments": {"items": []}}}]}),
    ),
    ("a function call", success({"content": None, "function_call": {"name": "items", "arguments": JSON}})),
    ("content that a gateway has parsed", success({"content": {"items": []}})),
    ("a tag", success({"content": f'<think>{{"items": [1]}}</think>{JSON}'})),
    ("no finish reason", success({"content": JSON}, None)),
    ("blank lines first (DeepSeek)", b"\n\n\n\n" + orjson.dumps(success({"content": JSON}))),
    (
        "server-sent events though none were asked for",
        b': OPENROUTER PROCESSING\n\ndata: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"{\\"items\\": "}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"[]}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,'
        b'"completion_tokens":7}}\n\ndata: [DONE]\n\n',
    ),
]


@pytest.mark.parametrize(("what", "body"), READ, ids=[case[0] for case in READ])
def test_the_answer_is_found(what: str, body: Any) -> None:
    completion = completion_of(body if isinstance(body, bytes) else orjson.dumps(body), "m")
    assert object_in(completion.text) == {"items": []}
    assert completion.usage.completion_tokens == 7


WITHIN: list[tuple[str, Any, type[EngineError]]] = [
    ("a rate limit", error("Rate limit exceeded", code=429), RateLimited),
    ("no credits", error("Insufficient credits. Add more", code=402), AuthError),
    ("a string as code", error("Provider disconnected", code="502"), Unavailable),
    ("no code", error("Provider disconnected unexpectedly", code="server_error"), Unavailable),
    ("LM Studio", {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, EndpointError),
    ("a parameter", {"error": "'response_format.type' must be 'json_schema' or 'text'"}, BadRequest),
    ("vLLM's flat form", {"object": "error", "message": "too long", "code": 400}, BadRequest),
    ("FastAPI's form", {"detail": "Model overloaded"}, Unavailable),
    (
        "in a choice",
        success(
            {"content": ""},
            "error",
            choices=[{"error": {"code": 502, "message": "Upstream"}, "message": {"content": ""}}],
        ),
        Unavailable,
    ),
    ("finish_reason error", success({"content": ""}, "error"), Unavailable),
    ("half an answer", success({"content": '{"items": ['}, "error"), Unavailable),
    ("DeepSeek's load", success({"content": ""}, "insufficient_system_resource"), Unavailable),
    ("a filter by another name", success({"content": "x"}, "SAFETY"), ContentFiltered),
    ("thought away", success({"content": "", "reasoning_content": "{ and so on"}, "length"), Truncated),
    (
        "thought away, parts",
        success({"content": [{"type": "thinking", "thinking": "x"}]}, "MAX_TOKENS"),
        Truncated,
    ),
    ("only a tag", success({"content": "<think>" + JSON}, "length"), Truncated),
    ("nothing", success({"content": None}), Unparseable),
    ("a web page", b"<!DOCTYPE html><html>Sign in</html>", Unavailable),
    ("a stream that breaks off", b'data: {"choices":[{"delta":{"content":"{"}}]}\n\n', MalformedReply),
    ("an error in a stream", b'data: {"error":{"message":"Overloaded","code":503}}\n\n', Unavailable),
]


@pytest.mark.parametrize(("what", "body", "expected"), WITHIN, ids=[case[0] for case in WITHIN])
def test_an_error_with_status_200(what: str, body: Any, expected: type[EngineError]) -> None:
    with pytest.raises(expected) as caught:
        completion_of(body if isinstance(body, bytes) else orjson.dumps(body), "m")
    assert type(caught.value) is expected
    if isinstance(caught.value, PermanentError | TransientError) and b"usage" in orjson.dumps(str(body)):
        assert caught.value.usage is not None
        assert caught.value.usage.completion_tokens == 7
    elif isinstance(caught.value, TransientError) and expected is not MalformedReply:
        assert not caught.value.paid


@pytest.mark.parametrize(
    ("status", "paid"), [(502, True), (504, True), (524, True), (500, False), (503, False)]
)
def test_a_gateway_may_have_passed_the_request_on(status: int, paid: bool) -> None:
    """Then the attempt counts at its worst case; an error within a 200 is charged as nothing."""
    assert failure_of(status, {}, b"Bad Gateway").paid is paid  # type: ignore[attr-defined]
    within = failure_within({"error": {"message": "no answer", "code": status}})
    assert within is not None
    assert within.paid is False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, error("Your account is suspended, please check", type="exceeded_current_quota_error")),
        (429, error("Your account has an overdue balance.", code="AccountOverdueError", type="Forbidden")),
        (403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}),
        (412, error("Account x is suspended, possibly due to reaching the monthly spending limit")),
    ],
    ids=["Moonshot", "Volcengine", "SiliconFlow", "Fireworks"],
)
def test_an_empty_account_in_further_words(status: int, body: object) -> None:
    failure = failure_of(status, {}, orjson.dumps(body))
    assert isinstance(failure, AuthError)
    assert "no credit" in str(failure)


def test_an_error_beside_no_answer() -> None:
    """MiniMax's place for errors, with status 200."""
    reply = {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}
    assert "no credit" in str(failure_within(reply))
    assert failure_within({"base_resp": {"status_code": 0, "status_msg": ""}, "choices": []}) is None


def test_a_refusal_may_be_a_part() -> None:
    parts = [{"type": "refusal", "refusal": "I may not."}]
    body = {"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}
    with pytest.raises(Unparseable, match="the model refused: I may not"):
        completion_of(orjson.dumps(body), "m")

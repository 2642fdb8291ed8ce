"""The simulated endpoint over HTTP: chat completions, embeddings, faults, statistics."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from engine.config.simulator import SimulatorConfig
from engine.simulator.answers import answer
from engine.simulator.embeddings import DIMENSIONS, embedding_reply
from engine.simulator.limits import Limits
from engine.simulator.request import Asked

MODEL = "simulated"
CHARACTERS_PER_TOKEN = 4


@dataclass
class Statistics:
    """The content of /stats. Mutable; used from one event loop."""

    began: float = field(default_factory=time.monotonic)
    served: int = 0
    in_flight: int = 0
    in_flight_peak: int = 0
    limit_violations: int = 0
    refused: int = 0
    repeated: int = 0
    """Served requests that repeat an earlier one byte for byte."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    embedded: int = 0
    """Texts sent to /embeddings."""
    purposes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    seen: set[bytes] = field(default_factory=set)

    def shown(self) -> dict[str, Any]:
        seconds = time.monotonic() - self.began
        return {
            "simulation": "a program that plays a language model; it is none",
            "served": self.served,
            "in_flight": self.in_flight,
            "in_flight_peak": self.in_flight_peak,
            "per_second": round(self.served / seconds, 2) if seconds > 0 else 0.0,
            "limit_violations": self.limit_violations,
            "refused": self.refused,
            "repeated": self.repeated,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "embedded": self.embedded,
            "purposes": dict(self.purposes),
            "faults": dict(self.faults),
        }


class Simulator:
    """One endpoint. The same seed and request body give the same reply; faults use a separate generator.

    Mutable state: `statistics`, the limits, the random generator of faults and latency.
    """

    def __init__(self, knobs: SimulatorConfig) -> None:
        self.knobs = knobs
        self.statistics = Statistics()
        self._limits = Limits(knobs.requests_per_minute, knobs.tokens_per_minute)
        self._dice = random.Random(f"faults/{knobs.seed}")

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/embeddings", self.embeddings)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/stats", self.stats)
        return app

    async def models(self, request: web.Request) -> web.Response:
        return _json(
            200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "simulation"}]}
        )

    async def stats(self, request: web.Request) -> web.Response:
        return _json(200, self.statistics.shown())

    async def embeddings(self, request: web.Request) -> web.Response:
        asked = self._read(request, await request.read(), "input")
        if isinstance(asked, web.Response):
            self.statistics.refused += 1
            return asked
        if (seconds := self._latency()) > 0:
            await asyncio.sleep(seconds)
        body = asked.body
        texts = [body["input"]] if isinstance(body["input"], str) else [str(text) for text in body["input"]]
        limited = self._limits.admit(sum(map(len, texts)) // CHARACTERS_PER_TOKEN)
        if limited is not None:
            return self._too_fast(*limited)
        self.statistics.purposes["embedding"] += 1
        self.statistics.embedded += len(texts)
        dimensions = body.get("dimensions")
        wanted = dimensions if isinstance(dimensions, int) and dimensions > 0 else DIMENSIONS
        form = str(body.get("encoding_format", "float"))
        return _json(200, embedding_reply(texts, str(body.get("model", MODEL)), wanted, form))

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = self._read(request, body, "messages")
        if isinstance(asked, web.Response):
            self.statistics.refused += 1
            return asked
        prompt_tokens = len(asked.text) // CHARACTERS_PER_TOKEN + 1
        limited = self._limits.admit(prompt_tokens + 200)
        if limited is not None:
            return self._too_fast(*limited)
        statistics = self.statistics
        statistics.in_flight += 1
        statistics.in_flight_peak = max(statistics.in_flight_peak, statistics.in_flight)
        try:
            return await self._reply(request, body, asked, prompt_tokens)
        finally:
            statistics.in_flight -= 1

    def _read(self, request: web.Request, body: bytes, needed: str) -> Asked | web.Response:
        key = self.knobs.api_key
        if key is not None and request.headers.get("Authorization") != f"Bearer {key}":
            return _error(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
        try:
            parsed = orjson.loads(body)
        except orjson.JSONDecodeError:
            return _error(400, "The body is not JSON.", "invalid_request_error", None)
        if not isinstance(parsed, dict) or not isinstance(parsed.get(needed), list | str):
            return _error(400, f"'{needed}' is missing.", "invalid_request_error", None, needed)
        form = str((parsed.get("response_format") or {}).get("type"))
        taken = {"json_schema": self.knobs.json_schema, "json_object": self.knobs.json_object}
        if not taken.get(form, True):
            said = f"'response_format' of type '{form}' is not supported with this model."
            return _error(400, said, "invalid_request_error", None, "response_format")
        return Asked(parsed)

    def _too_fast(self, what: str, seconds: float) -> web.Response:
        self.statistics.limit_violations += 1
        said = f"Rate limit reached for {MODEL} on {what} per min. Please try again in {math.ceil(seconds * 1000)}ms."
        response = _error(429, said, what, "rate_limit_exceeded")
        response.headers.update(self._limits.headers())
        response.headers["retry-after"] = str(max(1, math.ceil(seconds)))
        response.headers["retry-after-ms"] = str(math.ceil(seconds * 1000))
        return response

    async def _reply(
        self, request: web.Request, body: bytes, asked: Asked, prompt_tokens: int
    ) -> web.StreamResponse:
        if (seconds := self._latency()) > 0:
            if asked.body.get("stream") is True:
                seconds *= _FIRST_TOKEN  # the rest passes while the answer is sent
            await asyncio.sleep(seconds)
        fault = self._fault()
        if fault is not None:
            self.statistics.faults[fault] += 1
        if fault == "errors":
            return _error(500, "The simulated server had an error.", "server_error", None)
        if fault == "stalls":
            await asyncio.sleep(24 * 3600)
        if fault == "resets":
            return _reset(request)
        payload = self._completion(body, asked, prompt_tokens)
        if asked.body.get("stream") is True and fault is None:
            rest = seconds * (1 / _FIRST_TOKEN - 1)
            return await _streamed(request, payload, asked.body, rest, self._limits.headers())
        if fault == "cut_bodies":
            payload = payload[: len(payload) // 2]
        headers = {"Content-Type": "application/json", "x-simulation": "true", **self._limits.headers()}
        if fault == "slow_bodies":
            return await _slowly(request, payload, headers)
        return web.Response(body=payload, headers=headers)

    def _completion(self, body: bytes, asked: Asked, prompt_tokens: int) -> bytes:
        statistics = self.statistics
        digest = hashlib.blake2b(body, digest_size=16).digest()
        statistics.repeated += digest in statistics.seen
        statistics.seen.add(digest)
        chance = random.Random(f"{self.knobs.seed}/".encode() + digest)
        text = answer(asked, self.knobs, chance)
        completion_tokens = len(text) // CHARACTERS_PER_TOKEN + 1
        most = asked.body.get("max_tokens") or asked.body.get("max_completion_tokens")
        finish = "stop"
        if isinstance(most, int) and completion_tokens > most:
            text, completion_tokens, finish = text[: most * CHARACTERS_PER_TOKEN], most, "length"
        statistics.served += 1
        statistics.purposes[asked.purpose] += 1
        statistics.prompt_tokens += prompt_tokens
        statistics.completion_tokens += completion_tokens
        reply = _chat_completion(text, finish, str(asked.body.get("model", MODEL)), digest.hex())
        if self._dice.random() >= self.knobs.no_usage:
            reply["usage"] = _usage(prompt_tokens, completion_tokens)
        return orjson.dumps(reply)

    def _latency(self) -> float:
        median, p99 = self.knobs.latency_s, self.knobs.latency_p99_s
        if p99 is None:
            return median
        sigma = math.log(p99 / median) / 2.3263478740408408  # the normal distribution's 99th percentile
        return median * math.exp(self._dice.gauss(0, sigma))

    def _fault(self) -> str | None:
        point = self._dice.random()
        for name in ("errors", "resets", "cut_bodies", "stalls", "slow_bodies"):
            point -= getattr(self.knobs, name)
            if point < 0:
                return name
        return None


def _chat_completion(text: str, finish: str, model: str, name: str) -> dict[str, Any]:
    """A reply in the shape of openai.types.chat.ChatCompletion."""
    reply: dict[str, Any] = {
        "id": f"chatcmpl-{name[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "logprobs": None,
                "message": {"role": "assistant", "content": text, "refusal": None},
            }
        ],
    }
    return reply


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """Usage in the shape of openai.types.CompletionUsage."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _json(status: int, value: Any) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(value),
        content_type="application/json",
        headers={"x-simulation": "true"},
    )


def _error(status: int, message: str, type: str, code: str | None, param: str | None = None) -> web.Response:
    return _json(status, {"error": {"message": message, "type": type, "param": param, "code": code}})


def _reset(request: web.Request) -> web.StreamResponse:
    """Cut the connection without a reply."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


_FIRST_TOKEN = 0.2
"""The share of a streamed answer's time that passes before its first token."""
_PIECES = 8


async def _streamed(
    request: web.Request, payload: bytes, asked: Mapping[str, Any], seconds: float, limits: dict[str, str]
) -> web.StreamResponse:
    """Sends the answer as server-sent events, spread over `seconds`."""
    whole = orjson.loads(payload)
    [choice] = whole["choices"]
    text, usage = choice["message"]["content"], whole.pop("usage", None)
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "x-simulation": "true", **limits}
    )
    await response.prepare(request)

    async def send(delta: dict[str, Any], finish: str | None = None) -> None:
        piece = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {**whole, "object": "chat.completion.chunk", "choices": [piece]}
        await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")

    size = max(1, -(-len(text) // _PIECES))
    for start in range(0, len(text), size):
        await send({"content": text[start : start + size]})
        if seconds > 0:
            await asyncio.sleep(seconds / _PIECES)
    await send({}, choice["finish_reason"])
    if usage is not None and (asked.get("stream_options") or {}).get("include_usage"):
        told = {**whole, "object": "chat.completion.chunk", "choices": [], "usage": usage}
        await response.write(b"data: " + orjson.dumps(told) + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _slowly(request: web.Request, payload: bytes, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.content_length = len(payload)
    await response.prepare(request)
    for start in range(0, len(payload), max(1, len(payload) // 10)):
        await response.write(payload[start : start + max(1, len(payload) // 10)])
        await asyncio.sleep(0.1)
    await response.write_eof()
    return response

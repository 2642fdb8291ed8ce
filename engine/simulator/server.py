"""The simulated endpoint over HTTP: chat completions or messages, embeddings, faults, statistics."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import random
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from engine.config.simulator import SimulatorConfig
from engine.simulator.answers import answer
from engine.simulator.batches.anthropic import MessageDesk
from engine.simulator.batches.desk import Desk
from engine.simulator.batches.gemini import OperationDesk
from engine.simulator.batches.gemini import as_chat as as_gemini_chat
from engine.simulator.batches.openai import FileDesk
from engine.simulator.delivery import FIRST_TOKEN, chat_events, json, message_events, reset, slowly, streamed
from engine.simulator.dialects.dialect import Asking, Refusal, Tokens
from engine.simulator.dialects.messages import as_chat, as_message
from engine.simulator.dialects.table import DIALECTS
from engine.simulator.dialects.thinking import CHARACTERS_PER_TOKEN, message, thought_of, tokens_of, within
from engine.simulator.embeddings import DIMENSIONS, embedding_reply
from engine.simulator.limits import Limits
from engine.simulator.request import Asked
from engine.simulator.statistics import Statistics

MODEL = "simulated"
_LIMIT = re.compile(rb'"max_(?:completion_)?tokens":\d+,?')
"""How long an answer may be changes nothing about one that is shorter."""
_TICKS = 100
"""Picodollars of one of xAI's ticks."""


class Simulator:
    """One endpoint. The same seed and request body give the same reply; faults use a separate generator.

    Mutable state: `statistics`, the limits, the free slots, the random generator of faults and latency.
    """

    def __init__(self, knobs: SimulatorConfig) -> None:
        self.knobs = knobs
        self.statistics = Statistics()
        self._dialect = DIALECTS[knobs.dialect]
        self._thinking = self._dialect.thinking if knobs.thinking == "own" else knobs.thinking
        self._limits = Limits(knobs.requests_per_minute, knobs.tokens_per_minute)
        self._dice = random.Random(f"faults/{knobs.seed}")
        slots = knobs.slots or self._dialect.slots
        self.desk = Desk(knobs.batches, knobs.seed, self._in_a_batch)
        self._slots = asyncio.Semaphore(slots) if slots is not None else contextlib.nullcontext()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=512 * 1024 * 1024)
        self._add_batches(app)
        if self._dialect.messages_api:
            app.router.add_post("/v1/messages", self.chat)
        else:
            app.router.add_post("/v1/chat/completions", self.chat)
            app.router.add_post("/v1/openai/deployments/{name}/chat/completions", self.chat)
            app.router.add_post("/v1/embeddings", self.embeddings)
        pages = self._dialect.pages(self.knobs, MODEL)
        if "/v1/models" not in pages:
            app.router.add_get("/v1/models", self.models)
        for path, page in pages.items():
            app.router.add_get(path, partial(_shown, page))
        if self._dialect.waiting:
            app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/stats", self.stats)
        if self._dialect.stray is not None:
            app.router.add_route("*", "/{path:.*}", self.stray)
        return app

    def _add_batches(self, app: web.Application) -> None:
        if self._dialect.messages_api:
            MessageDesk(self.desk).add_to(app)
        elif self.knobs.dialect == "gemini":
            OperationDesk(self.desk).add_to(app)
        else:
            FileDesk(self.desk, self.knobs.dialect).add_to(app)

    async def _in_a_batch(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        """(status, body) of a call in a batch, which is answered at half the price."""
        sent = as_gemini_chat(body) if "contents" in body else body
        data = orjson.dumps(sent)
        parsed = as_chat(sent) if self._dialect.messages_api else dict(sent)
        if not isinstance(parsed.get("messages"), list):
            return 400, self._dialect.envelope(Refusal("'messages' is missing.", param="messages"))
        asked = Asked(parsed)
        prompt_tokens = len(asked.text) // CHARACTERS_PER_TOKEN + 1
        refusal = None if "contents" in body else self._refusal(data, asked, prompt_tokens)
        if refusal is not None:
            self.statistics.refused += 1
            return refusal.status, self._dialect.envelope(refusal)
        before = self.statistics.billed
        reply = orjson.loads(self._completion(data, asked, prompt_tokens))
        self.statistics.billed -= (self.statistics.billed - before) // 2
        return 200, reply

    async def models(self, request: web.Request) -> web.Response:
        return json(
            200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "simulation"}]}
        )

    async def stats(self, request: web.Request) -> web.Response:
        return json(200, {**self.statistics.shown(), "batches": self.desk.shown()})

    async def metrics(self, request: web.Request) -> web.Response:
        """How many calls wait for a slot, as Prometheus reads it."""
        free = self.knobs.slots or self._dialect.slots or self.statistics.in_flight
        waiting = max(0, self.statistics.in_flight - free)
        return web.Response(text=f"# TYPE {self._dialect.waiting} gauge\n{self._dialect.waiting} {waiting}\n")

    async def stray(self, request: web.Request) -> web.Response:
        return json(200, self._dialect.stray)

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
        reply = embedding_reply(texts, str(body.get("model", MODEL)), wanted, form)
        used = reply["usage"]["prompt_tokens"]  # type: ignore[index]
        self.statistics.billed += Tokens(used, 0, 0, 0, 0).bill(self.knobs.price)
        return json(200, reply)

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
        if (refusal := self._refusal(body, asked, prompt_tokens)) is not None:
            self.statistics.refused += 1
            self.statistics.refusals[refusal.message[:80]] += 1
            return self._error(refusal)
        statistics = self.statistics
        statistics.in_flight += 1
        statistics.in_flight_peak = max(statistics.in_flight_peak, statistics.in_flight)
        try:
            async with self._slots:
                return await self._reply(request, body, asked, prompt_tokens)
        finally:
            statistics.in_flight -= 1

    def _read(self, request: web.Request, body: bytes, needed: str) -> Asked | web.Response:
        """The request, or the reply to one that is malformed, has no key, or wants what the knobs refuse."""
        if not self._has_key(request):
            return self._error(Refusal("Incorrect API key provided.", 401, code="invalid_api_key"))
        try:
            parsed = orjson.loads(body)
        except orjson.JSONDecodeError:
            return self._error(Refusal("The body is not JSON."))
        if not isinstance(parsed, dict) or not isinstance(parsed.get(needed), list | str):
            return self._error(Refusal(f"'{needed}' is missing.", param=needed))
        form = str((parsed.get("response_format") or {}).get("type"))
        taken = {"json_schema": self.knobs.json_schema, "json_object": self.knobs.json_object}
        if not taken.get(form, True):
            said = f"'response_format' of type '{form}' is not supported with this model."
            return self._error(Refusal(said, param="response_format"))
        if self._dialect.messages_api:
            parsed = as_chat(parsed)
        elif not self._dialect.takes_schema:
            parsed = {name: value for name, value in parsed.items() if name != "response_format"}
        return Asked(parsed)

    def _has_key(self, request: web.Request) -> bool:
        key = self.knobs.api_key
        given = {request.headers.get(name) for name in ("Authorization", "api-key", "x-api-key")}
        return key is None or bool(given & {f"Bearer {key}", key})

    def _refusal(self, body: bytes, asked: Asked, prompt_tokens: int) -> Refusal | None:
        """What the dialect's rules, or an empty account, say against the request."""
        dialect, knobs = self._dialect, self.knobs
        if knobs.credit is not None and self.statistics.billed >= knobs.credit * 10**12:
            return dialect.no_credit
        if not dialect.rules:
            return None
        sent = orjson.loads(body) if dialect.messages_api or not dialect.takes_schema else asked.body
        asking = Asking(sent, prompt_tokens, knobs, self._thinking != "none")
        said = (rule(asking) for rule in dialect.rules)
        return next((refusal for refusal in said if refusal is not None), None)

    def _error(self, refusal: Refusal, headers: Mapping[str, str] | None = None) -> web.Response:
        status = 200 if refusal.served else refusal.status
        return json(status, self._dialect.envelope(refusal), headers)

    def _too_fast(self, what: str, seconds: float) -> web.Response:
        self.statistics.limit_violations += 1
        refusal, told = self._dialect.too_fast, dict(self._dialect.rate_headers(self._limits.left()))
        if self.knobs.dialect == "plain":
            wait = math.ceil(seconds * 1000)
            said = f"{refusal.message} for {MODEL} on {what} per min. Please try again in {wait}ms."
            refusal = replace(refusal, message=said, kind=what)
        told["retry-after"] = str(max(1, math.ceil(seconds)))
        told["retry-after-ms"] = str(math.ceil(seconds * 1000))
        return self._error(refusal, told)

    async def _reply(
        self, request: web.Request, body: bytes, asked: Asked, prompt_tokens: int
    ) -> web.StreamResponse:
        is_stream = asked.body.get("stream") is True
        if (seconds := self._latency()) > 0:
            if is_stream:
                seconds *= FIRST_TOKEN  # the rest passes while the answer is sent
            await asyncio.sleep(seconds)
        fault = self._fault()
        if fault is not None:
            self.statistics.faults[fault] += 1
        if fault == "errors":
            return self._error(self._dice.choice(self._dialect.server_errors))
        if fault == "stalls":
            await asyncio.sleep(24 * 3600)
        if fault == "resets":
            return reset(request)
        payload = self._completion(body, asked, prompt_tokens)
        headers = self._dialect.rate_headers(self._limits.left())
        if is_stream and fault is None:
            chunks = list(self._events(payload, asked))
            return await streamed(request, chunks, seconds * (1 / FIRST_TOKEN - 1), headers)
        if fault == "cut_bodies":
            payload = payload[: len(payload) // 2]
        if fault == "slow_bodies":
            return await slowly(request, payload, headers)
        told = {"Content-Type": "application/json", "x-simulation": "true", **headers}
        return web.Response(body=self._dialect.lead + payload, headers=told)

    def _events(self, payload: bytes, asked: Asked) -> Any:
        whole = orjson.loads(payload)
        if self._dialect.messages_api:
            return message_events(whole)
        return chat_events(whole, asked.body, self._dialect.comment)

    def _completion(self, body: bytes, asked: Asked, prompt_tokens: int) -> bytes:
        """The body of the reply."""
        digest = hashlib.blake2b(body, digest_size=16).digest()
        chance = random.Random(f"{self.knobs.seed}/".encode() + digest)
        text = answer(asked, self.knobs, chance)
        thinks = self._thinking != "none"
        thought = thought_of(text, self.knobs.thinking_tokens, chance) if thinks else ""
        most = asked.body.get("max_tokens") or asked.body.get("max_completion_tokens")
        written = within(thought, text, most if isinstance(most, int) else None)
        cached, fresh = (
            int(prompt_tokens * share) for share in (self._dialect.cached, self._dialect.written)
        )
        thought_tokens = tokens_of(written.thought)
        tokens = Tokens(prompt_tokens, cached, fresh, thought_tokens, tokens_of(written.answer))
        self._count(digest, asked.purpose, tokens)
        finish = "length" if written.cut else "stop"
        said = message(written, self._thinking, self._dialect.field)
        reply = _chat_completion(said, finish, str(asked.body.get("model", MODEL)), digest.hex())
        if self._dice.random() >= self.knobs.no_usage:
            reply["usage"] = self._usage(tokens)
        if self._dialect.messages_api:
            reply = as_message(reply, asked.purpose if "response_format" in asked.body else None)
        return orjson.dumps(reply)

    def _count(self, digest: bytes, purpose: str, tokens: Tokens) -> None:
        statistics = self.statistics
        statistics.repeated += digest in statistics.seen
        statistics.seen.add(digest)
        statistics.served += 1
        statistics.purposes[purpose] += 1
        statistics.prompt_tokens += tokens.prompt
        statistics.completion_tokens += tokens.output
        statistics.billed += tokens.bill(self.knobs.price)

    def _usage(self, tokens: Tokens) -> dict[str, Any]:
        usage, bill = self._dialect.usage(tokens), tokens.bill(self.knobs.price)
        if self._dialect.bill == "dollars":
            usage |= {"cost": bill / 10**12, "cost_details": {"upstream_inference_cost": None}}
        elif self._dialect.bill == "ticks":
            usage["cost_in_usd_ticks"] = bill // _TICKS
        return usage

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


async def _shown(page: Any, request: web.Request) -> web.Response:
    return json(200, page)


def _chat_completion(said: Mapping[str, Any], finish: str, model: str, name: str) -> dict[str, Any]:
    """A reply in the shape of openai.types.chat.ChatCompletion."""
    return {
        "id": f"chatcmpl-{name[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {"index": 0, "finish_reason": finish, "logprobs": None, "message": {**said, "refusal": None}}
        ],
    }

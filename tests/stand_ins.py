"""Stand-ins for providers' endpoints, written from their API references: strict about what they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import orjson
from aiohttp import web

Fault = tuple[int, Any, dict[str, str]]
"""(status, body, headers)"""
KEY = "sk-stand-in"


class StandIn:
    """A real HTTP server. `faults` are answered first, one each; then `content` is, with `finish` and usage.

    Mutable state: the faults that are left, and what was asked.
    """

    path: ClassVar[str]
    content: str = '{"items": []}'
    finish = "stop"
    cached = 3

    def __init__(self) -> None:
        self.faults: list[Fault | Callable[[web.Request], Any]] = []
        self.headers: dict[str, str] = {}
        self.asked: list[dict[str, Any]] = []
        self.request_headers: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.asked.append(body)
        self.request_headers.append(dict(request.headers))
        if self.faults:
            fault = self.faults.pop(0)
            if callable(fault):
                return await fault(request)
            status, told, headers = fault
            return web.Response(status=status, body=_bytes(told), headers=headers)
        if (wrong := self.mistake(request, body)) is not None:
            return web.Response(status=wrong[0], body=_bytes(wrong[1]), content_type="application/json")
        return web.Response(
            body=orjson.dumps(self.reply(body)), content_type="application/json", headers=self.headers
        )

    def mistake(self, request: web.Request, body: dict[str, Any]) -> tuple[int, Any] | None:
        """What the provider would refuse of this request."""
        raise NotImplementedError

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def error(self, status: int, message: str, kind: str) -> Any:
        """An error body in the provider's shape."""
        raise NotImplementedError

    @property
    def rate_headers(self) -> dict[str, str]:
        """What it sends with a limit of 500 requests and 30,000 tokens a minute."""
        raise NotImplementedError


def _bytes(told: Any) -> bytes:
    return told if isinstance(told, bytes) else orjson.dumps(told)


class OpenAI(StandIn):
    """POST /v1/chat/completions; platform.openai.com/docs/api-reference/chat/create."""

    path = "/v1/chat/completions"
    settings: ClassVar[dict[str, Any]] = {"api_key": KEY}
    base = "/v1"

    def mistake(self, request: web.Request, body: dict[str, Any]) -> tuple[int, Any] | None:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return 401, self.error(401, "Incorrect API key provided", "invalid_api_key")
        roles = [message.get("role") for message in body.get("messages", ())]
        if roles != ["system", "user"] or not isinstance(body.get("model"), str):
            return 400, self.error(400, "messages", "invalid_request_error")
        form = body.get("response_format")
        if form is not None and form["type"] == "json_schema" and "name" not in form["json_schema"]:
            return 400, self.error(400, "Missing required parameter: 'response_format.json_schema.name'", "x")
        return None

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": self.content, "refusal": None}
        finish = {"filtered": "content_filter"}.get(self.finish, self.finish)
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m-2026",
            "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
            "usage": {
                "prompt_tokens": 11,
                "completion_tokens": 7,
                "total_tokens": 18,
                "prompt_tokens_details": {"cached_tokens": self.cached, "audio_tokens": 0},
            },
        }

    def error(self, status: int, message: str, kind: str) -> Any:
        return {"error": {"message": message, "type": "x", "param": None, "code": kind}}

    @property
    def rate_headers(self) -> dict[str, str]:
        return {
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-limit-tokens": "30000",
            "x-ratelimit-remaining-requests": "499",
            "x-ratelimit-remaining-tokens": "29000",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-reset-tokens": "2s",
        }


class Azure(OpenAI):
    """POST /openai/deployments/{deployment}/chat/completions?api-version=…, with api-key or a bearer token."""

    path = "/openai/deployments/{deployment}/chat/completions"
    settings: ClassVar[dict[str, Any]] = {"api": "azure", "api_key": KEY, "deployment": "my deployment"}
    base = ""
    token = ""

    def mistake(self, request: web.Request, body: dict[str, Any]) -> tuple[int, Any] | None:
        if "api-version" not in request.query or request.match_info["deployment"] != "my deployment":
            return 404, self.error(
                404, "The API deployment for this resource does not exist", "DeploymentNotFound"
            )
        bearer = request.headers.get("Authorization")
        if request.headers.get("api-key") != KEY and (not self.token or bearer != f"Bearer {self.token}"):
            return 401, {"statusCode": 401, "message": "Unauthorized. Access token is missing or invalid."}
        return None


class Anthropic(StandIn):
    """POST /v1/messages; docs.anthropic.com/en/api/messages and /en/api/errors."""

    path = "/v1/messages"
    settings: ClassVar[dict[str, Any]] = {"api": "anthropic", "api_key": KEY}
    base = ""
    written = 2

    def mistake(self, request: web.Request, body: dict[str, Any]) -> tuple[int, Any] | None:
        if request.headers.get("x-api-key") != KEY:
            return 401, self.error(401, "invalid x-api-key", "authentication_error")
        if "anthropic-version" not in request.headers:
            return 400, self.error(400, "anthropic-version: header is required", "invalid_request_error")
        allowed = {
            "model",
            "max_tokens",
            "system",
            "messages",
            "temperature",
            "tools",
            "tool_choice",
            "metadata",
        }
        if unknown := set(body) - allowed:
            return 400, self.error(400, f"{unknown}: Extra inputs are not permitted", "invalid_request_error")
        if not isinstance(body.get("max_tokens"), int) or not 0 <= body.get("temperature", 0) <= 1:
            return 400, self.error(400, "temperature: range: 0..1", "invalid_request_error")
        if [message["role"] for message in body["messages"]] != ["user"]:
            return 400, self.error(400, "messages: roles", "invalid_request_error")
        names = [tool["name"] for tool in body.get("tools", ()) if tool["input_schema"]["type"] == "object"]
        if "tool_choice" in body and body["tool_choice"].get("name") not in names:
            return 400, self.error(400, "tool_choice: no such tool", "invalid_request_error")
        return None

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        finish = {"stop": "end_turn", "length": "max_tokens", "filtered": "refusal"}[self.finish]
        block: dict[str, Any] = {"type": "text", "text": self.content}
        if "tool_choice" in body and self.content.startswith("{"):
            finish = "tool_use" if finish == "end_turn" else finish
            name = body["tool_choice"]["name"]
            block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": orjson.loads(self.content)}
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m-2026",
            "content": [block] if self.content else [],
            "stop_reason": finish,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 11 - self.cached - self.written,
                "cache_read_input_tokens": self.cached,
                "cache_creation_input_tokens": self.written,
                "output_tokens": 7,
            },
        }

    def error(self, status: int, message: str, kind: str) -> Any:
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}

    @property
    def rate_headers(self) -> dict[str, str]:
        return {
            "anthropic-ratelimit-requests-limit": "500",
            "anthropic-ratelimit-requests-remaining": "499",
            "anthropic-ratelimit-requests-reset": "2026-11-25T10:00:00Z",
            "anthropic-ratelimit-tokens-limit": "30000",
            "anthropic-ratelimit-tokens-remaining": "29000",
            "anthropic-ratelimit-tokens-reset": "2026-11-25T10:00:00Z",
        }


@asynccontextmanager
async def served(stand_in: StandIn) -> AsyncIterator[str]:
    """Its root address while the block lasts."""
    app = web.Application(client_max_size=2**26)
    app.router.add_post(stand_in.path, stand_in.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def aborted(request: web.Request) -> web.StreamResponse:
    """The connection is reset after the request has come."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def stalled(never: asyncio.Event) -> Callable[[web.Request], Any]:
    """Nothing comes until `never` is set."""

    async def handle(request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    return handle

"""One HTTP endpoint of a model: a pooled session, one POST at a time, failures by their class."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from yarl import URL

from engine.config import ModelConfig
from engine.errors import (
    AuthError,
    BadRequest,
    CallTimeout,
    ContentFiltered,
    Disconnected,
    EndpointError,
    EngineError,
    MalformedReply,
    RateLimited,
    Unavailable,
)

CONNECT_SECONDS = 30.0
MAX_BODY = 32 * 1024 * 1024
"""Bytes; a longer reply is malformed."""


class HttpEndpoint:
    """Redirects are never followed, least of all with the key."""

    def __init__(self, model: ModelConfig, path: str, *, concurrency: int, timeout: float) -> None:
        self._url = URL(f"{model.base_url}/{path}")
        self._secrets = [secret for secret in (model.api_key, *model.headers.values()) if secret]
        headers = {"Content-Type": "application/json", **model.headers}
        if model.api_key:
            headers["Authorization"] = f"Bearer {model.api_key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout / 2, CONNECT_SECONDS)),
            headers=headers,
        )

    async def post(self, data: bytes) -> bytes:
        """The body of a success. Raises TransientError, PermanentError or FatalError, by status and body."""
        try:
            async with self._session.post(self._url, data=data, allow_redirects=False) as response:
                body = await _read(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Disconnected(f"cannot connect: {error or 'no answer'}") from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Disconnected(f"connection lost: {type(error).__name__}", paid=True) from None
        except TimeoutError:
            raise CallTimeout("no whole reply within limits.attempt_timeout_s") from None
        if response.status != 200:
            raise failure_of(response.status, response.headers, self._redacted(body))
        return body

    def _redacted(self, body: bytes) -> bytes:
        """An error body without our secrets, which some endpoints repeat in it."""
        for secret in self._secrets:
            body = body.replace(secret.encode(), b"(secret)")
        return body

    async def close(self) -> None:
        await self._session.close()
        await asyncio.sleep(0)  # lets the transports close before the loop does


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if (response.content_length or MAX_BODY) < MAX_BODY and "Content-Encoding" not in response.headers:
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            response.close()
            raise MalformedReply(f"the reply is longer than {MAX_BODY:,} bytes")
    return bytes(body)


# --- what a reply means: pure functions ------------------------------------------------------------

#  status                      becomes
#  400, 413, 422, other 4xx    BadRequest, or ContentFiltered where the error code says so
#  401, 402, 403               AuthError; so is 429 with the code insufficient_quota
#  404, 405, 3xx               EndpointError
#  408, 409, 425, 5xx          Unavailable
#  429                         RateLimited


def failure_of(status: int, headers: Mapping[str, str], body: bytes) -> EngineError:
    """The error class of a reply that is no success."""
    code, message, param = _error_of(body)
    said = f"{status}: {message}"
    if status == 429:
        if code == "insufficient_quota":
            return AuthError(f"the account has no credit left ({said})")
        return RateLimited(said, retry_after(headers))
    if status in (408, 409, 425) or status >= 500:
        return Unavailable(said, retry_after(headers))
    if status in (401, 402, 403):
        return AuthError(f"the endpoint refuses the key ({said})")
    if 300 <= status < 400:
        where = headers.get("Location", "elsewhere")
        return EndpointError(f"redirects to {where}; set model.base_url to the address itself")
    if status in (404, 405):
        return EndpointError(f"no such model or address ({said}); see model.name and model.base_url")
    if code in ("content_filter", "content_policy_violation"):
        return ContentFiltered(said)
    return BadRequest(said, param)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from retry-after-ms or retry-after (seconds or an HTTP date), if the server sent one."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return _sensible(float(milliseconds) / 1000)
        if (value := headers.get("retry-after")) is not None:
            return _sensible(float(value) if value.strip()[:1].isdigit() else _until(value))
    except (ValueError, TypeError, OverflowError):
        pass
    return None


def _sensible(seconds: float) -> float | None:
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(date: str) -> float:
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    when = parsedate_to_datetime(date)
    when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return (when - datetime.now(UTC)).total_seconds()


def _error_of(body: bytes) -> tuple[str | None, str, str | None]:
    """(code, message, param) of an error body in OpenAI's shape, or what can be shown of another."""
    try:
        error = orjson.loads(body)
        error = error.get("error", error) if isinstance(error, dict) else error
    except orjson.JSONDecodeError:
        error = body[:200].decode(errors="replace").strip()
    if not isinstance(error, dict):
        return None, shown(error) or "no explanation", None
    message = error.get("message") or error.get("detail") or error
    code, param = error.get("code"), error.get("param")
    return code if isinstance(code, str) else None, shown(message), param if isinstance(param, str) else None


def shown(text: Any) -> str:
    """An endpoint's words, fit for a terminal: no control characters, not too many."""
    return "".join(c if c.isprintable() else " " for c in str(text)[:300]).strip()

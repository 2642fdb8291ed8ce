"""One HTTP endpoint of a model: a pooled session that sends POSTs and classifies failures."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from engine import veil
from engine._version import __version__
from engine.errors import Disconnected, EndpointError, EngineError, MalformedReply
from engine.items import RateLimits
from engine.llm.backends.bodies import EVENT_BYTES, body_of, connector, too_long
from engine.llm.backends.failures import failure_of, shown
from engine.llm.backends.rate_headers import announced

CONNECT_SECONDS = 10.0
_PUBLIC_HEADERS = frozenset(
    "accept content-type http-referer referer user-agent x-title x-app-name anthropic-beta openai-beta".split()
)
"""Headers whose values say who asks or how: words that items may hold, too."""
_MOST_OF_ERROR = 1024 * 1024
"""Bytes of the body of a refusal."""
_LOOK_S = 1.0
"""Seconds between two reads of the limits in the headers, if no request is refused with 429."""

_OWN = {
    "Content-Type": "application/json",
    "Accept": "application/json",  # of streams, too, as OpenAI's own client says
    "Accept-Encoding": "identity",  # replies are small: decompressing them would cost more than the transfer
    "User-Agent": f"DataGen/{__version__}",
}


class Token(Protocol):
    """A source of valid bearer tokens."""

    async def fresh(self) -> str: ...

    async def close(self) -> None: ...


class HttpEndpoint:
    """Sends POST requests. It never follows redirects, so the key reaches no other host.

    Mutable state: the session, and the last announced limits.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        secrets: Mapping[str, str],
        concurrency: int,
        token: Token | None = None,
        direct: bool = False,
    ) -> None:
        """`secrets` are headers whose values are never shown; `token` provides the Authorization header.

        The proxy that the environment names (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) is used unless `direct`.
        """
        self._url = URL(url)
        self.host = self._url.host or ""
        for name, value in secrets.items():
            if name.lower() not in _PUBLIC_HEADERS:
                veil.hide(value.removeprefix("Bearer "))
        self._token = token
        self._looked = 0.0
        self.announced: RateLimits | None = None
        """As read from the endpoint's headers."""
        sent = CIMultiDict(_OWN)
        sent.update(headers)
        sent.update(secrets)  # a header of the user's own replaces ours, however it is spelled
        self._session = aiohttp.ClientSession(
            connector=connector(concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            headers=sent,
            proxy=None if direct else proxy_of(self._url),
        )

    async def post(self, data: bytes, most: int) -> bytes:
        """The body of a success. Raises TransientError, PermanentError or FatalError, by status and body.

        `most` is the longest body that is read, in bytes; TooLong for a longer one. The caller sets the timeout,
        with `asyncio.timeout`.
        """
        try:
            async with self._session.post(
                self._url, data=data, headers=await self._fresh(), allow_redirects=False
            ) as response:
                body = await body_of(response, most if response.status == 200 else _MOST_OF_ERROR)
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise self._translated(error) from None
        self._read_headers(response)
        if response.status != 200:
            raise self._failure(response, body)
        return body

    async def stream(self, data: bytes, tokens: int) -> AsyncGenerator[bytes, None]:
        """The data of each server-sent event of a success. Raises the same errors as `post`.

        `tokens` is the longest answer that was asked for, with reasoning.
        """
        most, came = _MOST_OF_ERROR + EVENT_BYTES * tokens, 0
        try:
            async with self._session.post(
                self._url, data=data, headers=await self._fresh(), allow_redirects=False
            ) as response:
                self._read_headers(response)
                if response.status != 200:
                    raise self._failure(response, await body_of(response, _MOST_OF_ERROR))
                if (
                    response.content_type == "application/json"
                ):  # it does not stream, and answers all the same
                    yield await body_of(response, most)
                    return
                async for line in response.content:
                    came += len(line)
                    if came > most:
                        raise too_long(most)
                    if line.startswith(b"data:"):
                        yield line[5:].strip()
        except (ValueError, HttpProcessingError):  # a line that is longer than aiohttp's buffer
            raise MalformedReply("an event of the stream is too long") from None
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise self._translated(error) from None

    async def _fresh(self) -> Mapping[str, str] | None:
        """The Authorization header with a valid token; None without a token source."""
        if self._token is None:
            return None
        token = await self._token.fresh()
        veil.hide(token)
        return {"Authorization": f"Bearer {token}"}

    def _translated(self, error: Exception) -> EngineError:
        """The engine's error for a connection failure; it states whether the call may have been charged."""
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return EndpointError(f"no secure connection to {self._url.host}: {shown(error)}")
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return Disconnected(f"cannot connect: {shown(error) or 'no answer'}")
        return Disconnected(f"connection lost: {type(error).__name__}", paid=True)

    def _read_headers(self, response: aiohttp.ClientResponse) -> None:
        """Reads the limits in the headers, from time to time and whenever one is exceeded."""
        now = time.monotonic()
        if now - self._looked < _LOOK_S and response.status != 429:
            return
        self._looked = now
        limits = announced(response.headers, self.host)
        if limits is not None and limits != self.announced:
            self.announced = limits

    def _failure(self, response: aiohttp.ClientResponse, body: bytes) -> EngineError:
        return failure_of(response.status, response.headers, body)

    async def close(self) -> None:
        if self._token is not None:
            await self._token.close()
        await self._session.close()
        await asyncio.sleep(0)  # lets the transports close before the loop does


def proxy_of(url: URL) -> str | None:
    """The proxy for this address by the environment, which urllib reads as curl and most programs do."""
    proxy = urllib.request.getproxies().get(url.scheme)
    host = url.host or ""
    if (
        proxy is None
        or urllib.request.proxy_bypass(f"{host}:{url.port}")
        or urllib.request.proxy_bypass(host)
    ):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"

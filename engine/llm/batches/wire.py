"""HTTP for batch APIs: JSON there and back, files up, lines down. No request is repeated here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from yarl import URL

from engine._version import __version__
from engine.config import ModelConfig
from engine.errors import CallTimeout, Disconnected, EndpointError, MalformedReply
from engine.llm.backends.bodies import connector
from engine.llm.backends.connection import EntraToken, secret_headers
from engine.llm.backends.failures import failure_of, shown
from engine.llm.backends.http import proxy_of
from engine.veil import hide

_ANSWER_S = 120.0
_UPLOAD_S = 3_600.0
_LINE = 64 * 1024 * 1024
"""Bytes of one line of results; an answer has at most 32 bytes a token."""
_CHUNK = 1 << 18
_MOVED = (301, 302, 303, 307, 308)
_HOPS = 3


class Wire:
    """One provider's address. Mutable state: the session."""

    def __init__(self, model: ModelConfig, headers: Mapping[str, str] | None = None) -> None:
        """`headers` stand in place of the model's own key."""
        self._secrets = dict(headers) if headers is not None else secret_headers(model)
        for value in self._secrets.values():
            hide(value.removeprefix("Bearer "))
        self._token = EntraToken() if model.entra else None
        self._session = aiohttp.ClientSession(
            connector=connector(8),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=_ANSWER_S),
            headers={"User-Agent": f"DataGen/{__version__}"},
            proxy=None if model.simulated else proxy_of(URL(model.base_url)),
        )

    async def get(self, url: str, **params: str) -> Any:
        """The JSON at this address."""
        body, _ = await self._asked("GET", url, params=params)
        return _parsed(body)

    async def post(self, url: str, value: Any = None) -> Any:
        """The JSON that comes back for this one."""
        data = orjson.dumps(value) if value is not None else b""
        body, _ = await self._asked("POST", url, data=data, headers={"Content-Type": "application/json"})
        return _parsed(body)

    async def send(
        self, url: str, data: Any, headers: Mapping[str, str] | None = None, *, moves: bool = False
    ) -> tuple[Any, Mapping[str, str]]:
        """Passes a form or a stream of bytes on; what comes back, and its headers.

        `moves`: another place may be named for it, which is in the headers then.
        """
        timeout = aiohttp.ClientTimeout(total=_UPLOAD_S, sock_connect=10.0)
        sent = dict(headers or {})
        body, told = await self._asked("POST", url, data=data, headers=sent, timeout=timeout, moves=moves)
        if moves and "Location" in told:
            return None, told
        return (_parsed(body) if body.strip() else None), told

    async def put(self, url: str, file: Path) -> None:
        """Puts a file at a place that its provider has named; it is not sent the key."""
        with file.open("rb") as opened:
            try:
                async with self._session.put(url, data=opened, allow_redirects=False) as response:
                    body = await response.read()
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                raise Disconnected(f"connection lost: {type(error).__name__}") from None
        if not 200 <= response.status < 300:
            raise failure_of(response.status, response.headers, body)

    async def lines(self, url: str) -> AsyncIterator[bytes]:
        """The lines at this address as they come, without holding them.

        Where it only names another place, that is read, and is not sent the key.
        """
        rest, place, headers = b"", URL(url), await self._fresh()
        try:
            for _ in range(_HOPS):
                async with self._session.get(place, headers=headers, allow_redirects=False) as response:
                    if response.status in _MOVED and "Location" in response.headers:
                        place, headers = place.join(URL(response.headers["Location"])), {}
                        continue
                    if response.status != 200:
                        raise failure_of(
                            response.status, response.headers, await response.content.read(_CHUNK)
                        )
                    async for chunk in response.content.iter_chunked(_CHUNK):
                        *whole, rest = (rest + chunk).split(b"\n")
                        for line in whole:
                            yield line
                        if len(rest) > _LINE:
                            raise MalformedReply("a line of a batch's results is too long")
                    break
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Disconnected(f"connection lost: {type(error).__name__}") from None
        except TimeoutError:
            raise CallTimeout(f"nothing of a batch's results within {_ANSWER_S:.0f} s") from None
        if rest:
            yield rest

    async def _asked(
        self, method: str, url: str, *, moves: bool = False, **more: Any
    ) -> tuple[bytes, Mapping[str, str]]:
        more["headers"] = {**(more.get("headers") or {}), **(await self._fresh())}
        try:
            async with self._session.request(method, url, allow_redirects=False, **more) as response:
                body = await response.read()
        except aiohttp.ClientConnectorCertificateError as error:
            raise EndpointError(f"no secure connection: {shown(error)}") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Disconnected(f"cannot connect: {shown(error) or 'no answer'}") from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Disconnected(f"connection lost: {type(error).__name__}", paid=True) from None
        except TimeoutError:
            raise CallTimeout("no answer about batches in time") from None
        if not (200 <= response.status < 300 or (moves and response.status in _MOVED)):
            raise failure_of(response.status, response.headers, body)
        return body, response.headers

    async def _fresh(self) -> dict[str, str]:
        if self._token is None:
            return self._secrets
        token = await self._token.fresh()
        hide(token)
        return {**self._secrets, "Authorization": f"Bearer {token}"}

    async def close(self) -> None:
        if self._token is not None:
            await self._token.close()
        await self._session.close()
        await asyncio.sleep(0)  # lets the transports close before the loop does


def _parsed(body: bytes) -> Any:
    """Raises MalformedReply."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedReply("what came back about a batch is not whole JSON") from None

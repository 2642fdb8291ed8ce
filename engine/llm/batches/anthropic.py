"""Anthropic's Message Batches: the requests travel in the creation itself, and a batch has no name of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from engine.config import ModelConfig
from engine.errors import MalformedReply
from engine.llm.backends.connection import ANTHROPIC_VERSION, NegotiatingBackend, secret_headers
from engine.llm.batches.backed import Listed
from engine.llm.batches.door import Capacity, Request, Result, Told, size_of
from engine.llm.batches.moments import moment
from engine.llm.batches.wire import Wire

_PATH = "v1/messages/batches"
_PAGE = 100
_PAGES = 20
_MEGABYTE = 1_000_000
_CHUNK = 1 << 20
_BESIDE = 64
"""Bytes around the requests of a batch."""


class MessageBatches(Listed):
    """A Door. What a line holds is looked at while the batch runs: a request that cannot be taken is a line's error.

    Mutable state: the connection.
    """

    capacity = Capacity(100_000, 256 * _MEGABYTE - _BESIDE)
    names_requests_only = True

    def __init__(self, model: ModelConfig, backend: NegotiatingBackend) -> None:
        super().__init__(backend)
        version = model.api_version or ANTHROPIC_VERSION
        self._wire = Wire(model, {**secret_headers(model), "anthropic-version": version})
        base = urlsplit(model.base_url)
        self._base = base._replace(path=f"{base.path.rstrip('/').removesuffix('/v1')}/{_PATH}")

    def line(self, id: str, request: Request) -> bytes:
        return orjson.dumps({"custom_id": id, "params": request.body})

    async def upload(self, file: Path, name: str) -> str:
        return ""

    async def create(self, file: Path, file_id: str, tag: str) -> Told:
        size = size_of(file)
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(size + len(_HEAD) + len(_TAIL) - 1),
        }
        told, _ = await self._wire.send(self._at(), _requests(file, size), headers)
        return told_of(told)

    async def _one(self, id: str) -> Told:
        return told_of(await self._wire.get(self._at(id)))

    async def _listed(self) -> AsyncIterator[Told]:
        """The account's batches, newest first."""
        more: dict[str, str] = {}
        for _ in range(_PAGES):
            told = await self._wire.get(self._at(), limit=str(_PAGE), **more)
            if not isinstance(told, dict):
                raise MalformedReply("what came back is no list of batches")
            for each in told.get("data") or ():
                yield told_of(each)
            if not told.get("has_more") or not told.get("last_id"):
                return
            more = {"after_id": str(told["last_id"])}

    async def results(self, told: Told) -> AsyncIterator[Result | None]:
        async for line in self._wire.lines(self._at(told.id, "results")):
            if line.strip():
                yield result_of(line)

    async def cancel(self, id: str) -> None:
        await self._wire.post(self._at(id, "cancel"))

    async def close(self) -> None:
        await self._wire.close()

    def _at(self, *more: str) -> str:
        # The address that a reply names for its results is not used: the key goes to the configured host alone.
        return self._base._replace(path="/".join((self._base.path, *more))).geturl()


_HEAD, _TAIL = b'{"requests":[', b"]}"


async def _requests(file: Path, size: int) -> AsyncIterator[bytes]:
    """The body of a creation: the file's lines with commas in place of their ends."""
    yield _HEAD
    with file.open("rb") as lines:
        left = size - 1  # the last line's end
        while left > 0:
            chunk = lines.read(min(_CHUNK, left))
            left -= len(chunk)
            yield chunk.replace(b"\n", b",")
    yield _TAIL


# --- what it says: pure functions -------------------------------------------------------------------


def told_of(raw: Any) -> Told:
    """Raises MalformedReply."""
    if not isinstance(raw, dict) or not isinstance(raw.get("id"), str):
        raise MalformedReply("what came back is no batch of messages")
    counts = {
        name: value for name, value in (raw.get("request_counts") or {}).items() if isinstance(value, int)
    }
    failed = sum(counts.get(name, 0) for name in ("errored", "canceled", "expired"))
    said = str(raw.get("processing_status") or "")
    return Told(
        raw["id"],
        "ended" if said == "ended" else "running",
        said,
        sum(counts.values()),
        counts.get("succeeded", 0),
        failed,
        moment(raw.get("created_at")),
        moment(raw.get("expires_at")),
    )


def result_of(line: bytes) -> Result | None:
    """One line of the results; None where it cannot be read."""
    try:
        raw = orjson.loads(line)
        id, result = str(raw["custom_id"]), raw["result"]
        kind = str(result["type"])
        if kind == "succeeded":
            return Result(id, 200, orjson.dumps(result["message"]))
        if kind == "errored":
            error = result.get("error") or {}
            inner: dict[str, Any] = error["error"] if isinstance(error.get("error"), dict) else error
            return Result(id, _STATUS.get(str(inner.get("type")), 400), orjson.dumps({"error": inner}))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    return Result(id, None, b"", kind)


_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Of the online API, by the type of an error (docs.anthropic.com/en/api/errors)."""

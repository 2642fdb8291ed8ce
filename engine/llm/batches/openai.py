"""OpenAI's Batch API, and those that are modelled on it: a file of requests goes up, files of replies come down."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from engine.config import ModelConfig
from engine.errors import BadRequest, MalformedReply
from engine.llm.backends.connection import AZURE_VERSION, NegotiatingBackend
from engine.llm.batches.backed import Listed
from engine.llm.batches.door import Capacity, Fault, Request, Result, Told
from engine.llm.batches.moments import moment
from engine.llm.batches.wire import Wire

MEGABYTE = 1_000_000
_PAGE = 100
_PAGES = 20
"""Of the list, at most; a batch that is not on them is asked for by its id."""


@dataclass(frozen=True)
class Ways:
    """How a provider's API differs from OpenAI's."""

    calls: int = 50_000
    bytes: int = 200 * MEGABYTE
    purpose: str = "batch"
    """Of the file."""
    batches: str = "batches"
    url: str = "/v1/chat/completions"
    """The endpoint of a batch."""
    bare: bool = False
    """Whether a line has an id and a body alone."""
    tagged: bool = True
    """Whether a batch takes metadata, and tells them again."""
    paged: bool = False
    """Whether the list is read by the page's number, not from the last batch on."""
    expiry: int | None = None
    """Seconds after which the file may be deleted, where files that are to stay are few."""


_WAYS: Mapping[str, Ways] = {
    "openai": Ways(),
    "azure": Ways(calls=100_000, url="/chat/completions", expiry=14 * 86_400),
    "groq": Ways(bytes=100 * MEGABYTE),
    "together": Ways(bytes=100 * MEGABYTE, purpose="batch-api", tagged=False),
    "mistral": Ways(calls=1_000_000, bytes=500 * MEGABYTE, batches="batch/jobs", bare=True, paged=True),
}
"""developers.openai.com/api/docs/guides/batch; learn.microsoft.com, how-to/batch; console.groq.com/docs/batch;
docs.together.ai, inference/batch; docs.mistral.ai, capabilities/batch."""

_ENDED = frozenset("completed expired cancelled canceled success timeout_exceeded".split())
_MISMATCH = re.compile(r"url_mismatch|invalid_url|does not match the batch endpoint", re.IGNORECASE)
_OTHER_URL = {"/chat/completions": "/v1/chat/completions", "/v1/chat/completions": "/chat/completions"}


class FileBatches(Listed):
    """A Door to OpenAI's Batch API, or to one of its likes.

    Mutable state: the connection, the address in the lines.
    """

    names_requests_only = False

    def __init__(self, model: ModelConfig, backend: NegotiatingBackend, dialect: str) -> None:
        super().__init__(backend)
        self._model = model
        self._ways = _WAYS[dialect]
        self._dialect = dialect
        self._wire = Wire(model)
        self._line_url = self._ways.url
        self.capacity = Capacity(self._ways.calls, self._ways.bytes)

    def line(self, id: str, request: Request) -> bytes:
        body = {**request.body, "model": self._model.deployment or self._model.name}
        if self._ways.bare:
            return orjson.dumps({"custom_id": id, "body": body})
        return orjson.dumps({"custom_id": id, "method": "POST", "url": self._line_url, "body": body})

    async def upload(self, file: Path, name: str) -> str:
        with file.open("rb") as opened:
            form = aiohttp.FormData()
            form.add_field("purpose", self._ways.purpose)
            if self._dialect == "together":
                form.add_field("file_name", name)
                form.add_field("file_type", "jsonl")
            if self._ways.expiry is not None:
                form.add_field("expires_after[anchor]", "created_at")
                form.add_field("expires_after[seconds]", str(self._ways.expiry))
            form.add_field("file", opened, filename=name, content_type="application/jsonl")
            told, headers = await self._wire.send(self._at("files"), form, moves=True)
        if told is not None or (place := headers.get("Location")) is None:
            return _text(told, "id")
        id = headers.get("X-Together-File-Id", "")  # Together names a place elsewhere for the file itself
        await self._wire.put(place, file)
        await self._wire.post(self._at(f"files/{id}/preprocess"))
        return id

    async def create(self, file: Path, file_id: str, tag: str) -> Told:
        asked: dict[str, Any] = {"endpoint": self._ways.url}
        if self._dialect == "mistral":
            asked |= {"input_files": [file_id], "model": self._model.name}
        else:
            asked |= {"input_file_id": file_id, "completion_window": "24h"}
        if self._ways.tagged:
            asked["metadata"] = {"datagen": tag}
        return told_of(await self._wire.post(self._at(self._ways.batches), asked))

    def terms(self, purpose: str) -> Mapping[str, Any]:
        return {**super().terms(purpose), "url": self._line_url}

    def refused(self, purpose: str, refusal: BadRequest, terms: Mapping[str, Any]) -> bool:
        """As in its base; Azure's documents disagree on the address in a line, and its refusal tells."""
        if not _MISMATCH.search(refusal.told or str(refusal)):
            return super().refused(purpose, refusal, terms)
        if terms.get("url", self._line_url) != self._line_url:
            return True
        if self._line_url != self._ways.url:
            return False  # both were refused
        self._line_url = _OTHER_URL[self._line_url]
        return True

    async def _one(self, id: str) -> Told:
        return told_of(await self._wire.get(self._at(f"{self._ways.batches}/{id}")))

    async def _listed(self) -> AsyncIterator[Told]:
        """The account's batches, newest first."""
        after = ""
        for page in range(_PAGES):
            if self._ways.paged:
                told = await self._wire.get(
                    self._at(self._ways.batches), page=str(page), page_size=str(_PAGE)
                )
            else:
                more = {"after": after} if after else {}
                told = await self._wire.get(self._at(self._ways.batches), limit=str(_PAGE), **more)
            listed = told if isinstance(told, list) else (told.get("data") or [])
            for each in listed:
                yield told_of(each)
            whole = isinstance(told, list) or (
                len(listed) < _PAGE if self._ways.paged else not told.get("has_more")
            )
            if whole or not listed:
                return
            after = str(listed[-1].get("id"))

    async def results(self, told: Told) -> AsyncIterator[Result | None]:
        for file_id in told.outputs:
            async for line in self._wire.lines(self._at(f"files/{file_id}/content")):
                if line.strip():
                    yield result_of(line)

    async def cancel(self, id: str) -> None:
        await self._wire.post(self._at(f"{self._ways.batches}/{id}/cancel"))

    async def close(self) -> None:
        await self._wire.close()

    def _at(self, path: str) -> str:
        base = urlsplit(self._model.base_url)
        root, query = base.path.rstrip("/"), base.query
        if self._model.api == "azure":
            root = f"{root}/openai"
            version = f"api-version={self._model.api_version or AZURE_VERSION}"
            query = query if "api-version=" in query else "&".join(filter(None, (query, version)))
        return base._replace(path=f"{root}/{path}", query=query).geturl()


# --- what a provider says: pure functions -----------------------------------------------------------


def told_of(raw: Any) -> Told:
    """A batch in anybody's spelling. Raises MalformedReply."""
    if isinstance(raw, dict) and isinstance(raw.get("job"), dict):  # Together's answer to a create
        raw = raw["job"]
    said = str(_of(raw, "status") or "").lower()
    counts = raw.get("request_counts") or {}
    total = _count(counts, "total") or _count(raw, "total_requests")
    faults = tuple(_faults(raw))
    outputs = tuple(
        raw[name]
        for name in ("output_file_id", "error_file_id", "output_file", "error_file")
        if raw.get(name) and isinstance(raw[name], str)  # Groq's is {} where there is none
    )
    if said in _ENDED:
        stage = "ended"
    elif said == "failed":  # Mistral's word for a job of which all, or too many, requests have failed
        stage = "ended" if outputs else "refused"
    else:
        stage = "running"
    return Told(
        _text(raw, "id"),
        stage,  # type: ignore[arg-type]
        said,
        total,
        _count(counts, "completed") or _count(raw, "succeeded_requests"),
        _count(counts, "failed") or _count(raw, "failed_requests"),
        moment(raw.get("created_at")),
        moment(raw.get("expires_at")),
        str((raw.get("metadata") or {}).get("datagen") or ""),
        str(raw.get("input_file_id") or next(iter(raw.get("input_files") or ()), "")),
        faults,
        outputs,
    )


def _faults(raw: Mapping[str, Any]) -> list[Fault]:
    errors = raw.get("errors") or ()
    listed = errors.get("data") or () if isinstance(errors, dict) else errors
    found = []
    for each in listed if isinstance(listed, list | tuple) else ():
        if isinstance(each, dict):
            line = each.get("line")
            found.append(
                Fault(
                    line if isinstance(line, int) else None,
                    str(each.get("code") or ""),
                    str(each.get("message") or ""),
                    str(each["param"]) if each.get("param") else None,
                )
            )
    if not found and raw.get("error"):  # Together's
        found.append(Fault(None, "", str(raw["error"])))
    return found


def result_of(line: bytes) -> Result | None:
    """One line of an output or error file; None where it cannot be read."""
    try:
        raw = orjson.loads(line)
        id, response, error = str(raw["custom_id"]), raw.get("response"), raw.get("error")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    status = response.get("status_code") if isinstance(response, dict) else None
    status = (
        status if isinstance(status, int) and status > 0 else None
    )  # 0: seen where the call was never made
    if isinstance(response, dict) and response.get("body") is not None:
        untold = error is None and "status_code" not in response
        return Result(id, status or (200 if untold else None), orjson.dumps(response["body"]))
    if isinstance(error, dict) and not str(error.get("code") or "").startswith("batch_"):
        return Result(id, status or _status(error), orjson.dumps({"error": error}))
    if isinstance(error, str):
        return Result(id, status or 400, orjson.dumps({"error": {"message": error}}))
    why = str(error.get("code") or "") if isinstance(error, dict) else ""
    return Result(id, None, b"", why)


def _status(error: Mapping[str, Any]) -> int | None:
    code = error.get("status") or error.get("code")
    text = str(code)
    return int(text) if text.isdigit() and 400 <= int(text) < 600 else 400


def _of(raw: Any, name: str) -> Any:
    if not isinstance(raw, dict):
        raise MalformedReply("what came back is no batch")
    return raw.get(name)


def _text(raw: Any, name: str) -> str:
    value = _of(raw, name)
    if not isinstance(value, str) or not value:
        raise MalformedReply(f"what came back has no {name}")
    return value


def _count(raw: Mapping[str, Any], name: str) -> int:
    value = raw.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

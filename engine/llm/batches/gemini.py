"""Gemini's batch mode: requests of its own form in a file, answers in another, and a display name to know it by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from engine.config import ModelConfig
from engine.errors import (
    AuthError,
    BadRequest,
    ContentFiltered,
    EndpointError,
    MalformedReply,
    RateLimited,
    Truncated,
    Unparseable,
)
from engine.items import Completion, Prompt, Usage
from engine.llm.backends.chat_reply import with_usage
from engine.llm.backends.schemas import PLAIN, fitted
from engine.llm.backends.terms import sampling_of
from engine.llm.backends.usage import token_count
from engine.llm.batches.door import Capacity, Fault, Request, Result, Told, size_of
from engine.llm.batches.moments import moment
from engine.llm.batches.wire import Wire

_CHUNK = 1 << 20
_PAGES = 20
_STATES = {"SUCCEEDED": "ended", "FAILED": "ended", "CANCELLED": "ended", "EXPIRED": "ended"}
_HTTP = {1: None, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 13: 500, 14: 503, 16: 401}
"""The status online, by google.rpc.Code; 1 is a call that was cancelled."""
_FILTERED = frozenset("SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII LANGUAGE IMAGE_SAFETY".split())


class GeminiBatches:
    """A Door for models whose online calls go to Gemini's OpenAI mode. Mutable state: the connection."""

    capacity = Capacity(200_000, 2_000_000_000)
    names_requests_only = False

    def __init__(self, model: ModelConfig, name: str) -> None:
        self.name = name
        self._model = model
        key = model.api_key or ""
        self._wire = Wire(model, {"x-goog-api-key": key, **model.headers})
        base = urlsplit(model.base_url)
        self._root = base._replace(path="", query="").geturl()

    def request(self, prompt: Prompt) -> Request:
        model = self._model
        settings: dict[str, Any] = {
            "temperature": prompt.temperature,
            "maxOutputTokens": prompt.max_tokens,
            "responseMimeType": "application/json",
        }
        named = {"top_p": "topP", "top_k": "topK"}
        settings |= {named[name]: value for name, value in sampling_of(prompt).items()}
        if model.send_seed:
            settings["seed"] = prompt.seed
        if (
            model.response_format in ("auto", "json_schema")
            and (schema := fitted(prompt.schema, PLAIN)) is not None
        ):
            # `responseJsonSchema` makes broken JSON in batches (crmne/ruby_llm#894); this form has no such report.
            settings["responseSchema"] = {"title": prompt.purpose, **openapi(schema)}
        if model.reasoning.tokens is not None:
            settings["thinkingConfig"] = {"thinkingBudget": model.reasoning.tokens}
        body = {
            "systemInstruction": {"parts": [{"text": prompt.system}]},
            "contents": [{"role": "user", "parts": [{"text": prompt.user}]}],
            "generationConfig": settings,
        }
        return Request(body, prompt.max_tokens, {})

    def line(self, id: str, request: Request) -> bytes:
        return orjson.dumps({"key": id, "request": request.body})

    async def upload(self, file: Path, name: str) -> str:
        size = size_of(file)
        headers = {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(size),
            "X-Goog-Upload-Header-Content-Type": "application/jsonl",
            "Content-Type": "application/json",
        }
        begun = orjson.dumps({"file": {"display_name": name}})
        _, told = await self._wire.send(f"{self._root}/upload/v1beta/files", begun, headers)
        place = told.get("x-goog-upload-url", "")
        if urlsplit(place).netloc != urlsplit(self._root).netloc:
            raise MalformedReply("the upload is to go to another host, which is not sent the key")
        headers = {
            "Content-Length": str(size),
            "X-Goog-Upload-Offset": "0",
            "X-Goog-Upload-Command": "upload, finalize",
        }
        value, _ = await self._wire.send(place, _read(file), headers)
        try:
            return str(value["file"]["name"])
        except (KeyError, TypeError):
            raise MalformedReply("what came back for an upload names no file") from None

    async def create(self, file: Path, file_id: str, tag: str) -> Told:
        body = {"batch": {"display_name": tag, "input_config": {"file_name": file_id}}}
        model = quote(self._model.name.removeprefix("models/"), safe="")
        try:
            told = await self._wire.post(f"{self._root}/v1beta/models/{model}:batchGenerateContent", body)
        except AuthError as error:
            if "429" not in str(error):
                raise
            # A full queue and an empty quota are told in the same words (langchain4j/langchain4j#3942).
            raise RateLimited(str(error)) from None
        return told_of(told)

    async def made(self, since: float) -> Sequence[Told]:
        # In which order they are listed is nowhere said: all of them are looked at.
        return [each async for each in self._listed() if each.created is None or each.created >= since]

    async def poll(self, ids: Sequence[str]) -> Mapping[str, Told]:
        # The list may be in no order at all, and its batches may lack their stats: each is asked for.
        found: dict[str, Told] = {}
        for id in ids:
            try:
                found[id] = told_of(await self._wire.get(f"{self._root}/v1beta/{id}"))
            except (EndpointError, BadRequest):
                continue
        return found

    async def _listed(self) -> AsyncIterator[Told]:
        more: dict[str, str] = {}
        for _ in range(_PAGES):
            told = await self._wire.get(f"{self._root}/v1beta/batches", pageSize="100", **more)
            for each in (told.get("operations") or ()) if isinstance(told, dict) else ():
                yield told_of(each)
            if not isinstance(told, dict) or not told.get("nextPageToken"):
                return
            more = {"pageToken": str(told["nextPageToken"])}

    async def results(self, told: Told) -> AsyncIterator[Result | None]:
        for output in told.outputs:
            if isinstance(output, str):
                async for line in self._wire.lines(
                    f"{self._root}/download/v1beta/{output}:download?alt=media"
                ):
                    if line.strip():
                        yield result_of(_parsed(line))
            else:  # a small batch may come back within the operation
                yield result_of(output)

    def read(self, body: bytes) -> Completion:
        return completion_of(_parsed(body), self._model.name)

    def settled(self, purpose: str) -> bool:
        return True  # it asks in another form than online

    def terms(self, purpose: str) -> Mapping[str, Any]:
        return {}

    def answered(self, purpose: str, terms: Mapping[str, Any]) -> None: ...

    def refused(self, purpose: str, refusal: BadRequest, terms: Mapping[str, Any]) -> bool:
        return False

    async def cancel(self, id: str) -> None:
        await self._wire.post(f"{self._root}/v1beta/{id}:cancel")

    async def close(self) -> None:
        await self._wire.close()


async def _read(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            yield chunk


# --- what it says: pure functions -------------------------------------------------------------------

_TYPES = frozenset("object array string number integer boolean".split())
_KEPT = frozenset("description enum format minItems maxItems nullable required".split())


def openapi(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema in the subset of OpenAPI 3.0 that `responseSchema` takes (ai.google.dev/api/caching#Schema)."""
    made: dict[str, Any] = {name: value for name, value in schema.items() if name in _KEPT}
    if "enum" in made:
        made["enum"] = [str(value) for value in made["enum"]]
    kinds = schema.get("type")
    if isinstance(kinds, list):
        made["nullable"] = "null" in kinds
        kinds = next((kind for kind in kinds if kind != "null"), "string")
    options = [each for name in ("anyOf", "oneOf") for each in schema.get(name) or ()]
    if options:
        real = [openapi(each) for each in options if each.get("type") != "null"]
        if len(real) < len(options):
            made["nullable"] = True
        if len(real) == 1:
            return {**real[0], **made}
        made["anyOf"] = real
    if kinds in _TYPES:
        made["type"] = str(kinds).upper()
    if properties := schema.get("properties"):
        made["properties"] = {name: openapi(each) for name, each in properties.items()}
        made["propertyOrdering"] = list(properties)
    if isinstance(schema.get("items"), dict):
        made["items"] = openapi(schema["items"])
    return made


def told_of(raw: Any) -> Told:
    """An operation as the API gives it; the words of its SDK's states are read, too. Raises MalformedReply."""
    about = raw.get("metadata") if isinstance(raw, dict) else None
    if not isinstance(about, dict) or not isinstance(raw.get("name") or about.get("name"), str):
        raise MalformedReply("what came back is no batch")
    state = str(about.get("state") or "").removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
    stats = about.get("batchStats") or {}
    outputs = _outputs(raw.get("response")) or _outputs(about.get("output"))
    error = raw.get("error") if isinstance(raw.get("error"), dict) else None
    faults = (Fault(None, str(error.get("code") or ""), str(error.get("message") or "")),) if error else ()
    stage = _STATES.get(state, "running")
    if state == "FAILED" and not outputs:
        stage = "refused"
    return Told(
        str(raw.get("name") or about["name"]),
        stage,  # type: ignore[arg-type]
        state.lower(),
        _number(stats, "requestCount"),
        _number(stats, "successfulRequestCount"),
        _number(stats, "failedRequestCount"),
        moment(about.get("createTime")),
        None,
        str(about.get("displayName") or ""),
        "",
        faults,
        outputs,
    )


def _outputs(told: Any) -> tuple[Any, ...]:
    if not isinstance(told, dict):
        return ()
    if isinstance(told.get("responsesFile"), str):
        return (told["responsesFile"],)
    within = told.get("inlinedResponses")
    within = within.get("inlinedResponses") if isinstance(within, dict) else within
    return tuple(within) if isinstance(within, list) else ()


def result_of(raw: Any) -> Result | None:
    """One result, of a file or within the operation; None where it cannot be read."""
    if not isinstance(raw, dict):
        return None
    id = raw.get("key") or (raw.get("metadata") or {}).get("key")
    if not isinstance(id, str):
        return None
    if isinstance(raw.get("response"), dict):
        return Result(id, 200, orjson.dumps(raw["response"]))
    error = raw.get("error") or raw.get("status")
    code = error.get("code") if isinstance(error, dict) else None
    status = _HTTP.get(code, 400) if isinstance(code, int) else 400
    return Result(id, status, orjson.dumps({"error": error}), "cancelled" if status is None else "")


def completion_of(reply: Any, model: str) -> Completion:
    """Raises MalformedReply, ContentFiltered, Unparseable, Truncated."""
    if not isinstance(reply, dict):
        raise MalformedReply("the reply is no JSON object")
    usage = usage_of(reply.get("usageMetadata"))
    blocked = (reply.get("promptFeedback") or {}).get("blockReason")
    candidates = reply.get("candidates") or ()
    first = candidates[0] if isinstance(candidates, list) and candidates else {}
    finish = str(first.get("finishReason") or "STOP")
    if blocked or finish in _FILTERED:
        raise with_usage(ContentFiltered(f"the endpoint's content filter: {blocked or finish}"), usage)
    parts = (first.get("content") or {}).get("parts") or ()
    text = "".join(str(part.get("text") or "") for part in parts if not part.get("thought"))
    thought = "".join(str(part.get("text") or "") for part in parts if part.get("thought"))
    if not text.strip():
        if finish == "MAX_TOKENS":
            said = f"all {usage.completion_tokens:,} tokens went into reasoning, and no answer was begun"
            raise with_usage(Truncated(said), usage)
        raise with_usage(Unparseable("the answer is empty"), usage)
    how = "length" if finish == "MAX_TOKENS" else "stop"
    return Completion(text, str(reply.get("modelVersion") or model), how, usage, reasoning=thought)


def usage_of(told: Any) -> Usage:
    """Gemini counts thoughts beside the answer, and bills both as output."""
    counts = {name: token_count(value) or 0 for name, value in told.items()} if isinstance(told, dict) else {}
    if not counts.get("promptTokenCount"):
        return Usage(estimated=True)
    thought = counts.get("thoughtsTokenCount", 0)
    return Usage(
        counts["promptTokenCount"] + counts.get("toolUsePromptTokenCount", 0),
        counts.get("candidatesTokenCount", 0) + thought,
        counts.get("cachedContentTokenCount", 0),
        reasoning_tokens=thought,
    )


def _number(told: Mapping[str, Any], name: str) -> int:
    """Counts are written as texts, and left out where they are 0."""
    try:
        return max(0, int(told.get(name) or 0))
    except (TypeError, ValueError):
        return 0


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None

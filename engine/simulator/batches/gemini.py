"""Gemini's batch mode around the simulated model: resumable uploads, operations, answers in files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from engine.simulator.batches.desk import Batch, Desk

_STATES = {
    "validating": "PENDING",
    "in_progress": "RUNNING",
    "finalizing": "RUNNING",
    "completed": "SUCCEEDED",
    "failed": "FAILED",
    "expired": "EXPIRED",
    "cancelled": "CANCELLED",
}
_CODES = {400: 3, 404: 5, 403: 7, 429: 8, 500: 13, 503: 14}


class OperationDesk:
    """Routes and shapes of the REST API, as python-genai#1323 and bifrost#4904 show them. Mutable state: the desk's."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, app: web.Application) -> None:
        router = app.router
        router.add_post("/upload/v1beta/files", self.begin)
        router.add_post("/upload/v1beta/files/{id}", self.upload)
        router.add_post("/v1beta/models/{name}:batchGenerateContent", self.create)
        router.add_get("/v1beta/batches", self.listed)
        router.add_get("/v1beta/batches/{id}", self.retrieve)
        router.add_post("/v1beta/batches/{id}:cancel", self.cancel)
        router.add_get("/download/v1beta/files/{id}:download", self.download)

    async def begin(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Goog-Upload-Command") != "start":
            return _refused("the upload is not begun", 400)
        place = request.url.with_path(f"/upload/v1beta/files/{self._desk.new_id('up')}").with_query(None)
        return web.Response(headers={"x-goog-upload-url": str(place)})

    async def upload(self, request: web.Request) -> web.Response:
        self._desk.calls["upload"] += 1
        if request.headers.get("X-Goog-Upload-Command") != "upload, finalize":
            return _refused("the upload is not finished", 400)
        id = self._desk.keep(await request.read())
        return web.json_response({"file": {"name": f"files/{id}", "mimeType": "application/jsonl"}})

    async def create(self, request: web.Request) -> web.StreamResponse:
        desk = self._desk
        desk.calls["create"] += 1
        asked = (await request.json())["batch"]
        file = str(asked["input_config"]["file_name"]).removeprefix("files/")
        if (data := desk.file(file)) is None:
            return _refused(f"File {file} not found.", 400)
        if desk.fails():
            return _refused("The model is overloaded.", 503)
        lines = [orjson.loads(line) for line in data.splitlines()]
        calls = [(str(line["key"]), line["request"]) for line in lines]
        batch = desk.create("batches/", calls, tag=str(asked.get("display_name") or ""))
        if desk.loses():
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(self._shown(batch))

    async def listed(self, request: web.Request) -> web.Response:
        self._desk.calls["list"] += 1
        return web.json_response({"operations": [self._shown(each) for each in self._desk.newest()]})

    async def retrieve(self, request: web.Request) -> web.Response:
        self._desk.calls["retrieve"] += 1
        batch = self._desk.batches.get(f"batches/{request.match_info['id']}")
        return (
            web.json_response(self._shown(batch))
            if batch
            else _refused("Requested entity was not found.", 404)
        )

    async def cancel(self, request: web.Request) -> web.Response:
        batch = self._desk.batches.get(f"batches/{request.match_info['id']}")
        if batch is not None:
            batch.cancelled.set()
        return web.json_response({})

    async def download(self, request: web.Request) -> web.Response:
        data = self._desk.file(request.match_info["id"])
        return (
            web.Response(body=data) if data is not None else _refused("Requested entity was not found.", 404)
        )

    def _shown(self, batch: Batch) -> dict[str, Any]:
        if batch.ended and batch.results and not batch.outputs:
            made = [orjson.dumps({"key": id, **_result(*told)}) for id, told in batch.results.items()]
            made = self._desk.lines(made, batch.id)
            batch.outputs["responses"] = self._desk.keep(b"".join(line + b"\n" for line in made))
        counts = {
            "requestCount": len(batch.calls),
            "successfulRequestCount": batch.succeeded,
            "failedRequestCount": len(batch.results) - batch.succeeded,
            "pendingRequestCount": len(batch.calls) - len(batch.results),
        }
        about: dict[str, Any] = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "model": "models/simulated", "displayName": batch.tag, "name": batch.id,
            "createTime": datetime.fromtimestamp(batch.made, UTC).isoformat().replace("+00:00", "Z"),
            "batchStats": {name: str(count) for name, count in counts.items() if count},
            "state": f"BATCH_STATE_{_STATES.get(batch.state, 'RUNNING')}",
        }  # fmt: skip
        shown: dict[str, Any] = {"name": batch.id, "metadata": about}
        if batch.ended:
            shown["done"] = True
        if responses := batch.outputs.get("responses"):
            about["output"] = {"responsesFile": f"files/{responses}"}
            if batch.state == "completed":
                shown["response"] = about["output"]
        return shown


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same request to chat completions."""
    settings = body.get("generationConfig") or {}
    system = "".join(part.get("text", "") for part in (body.get("systemInstruction") or {}).get("parts", ()))
    user = "".join(part.get("text", "") for turn in body.get("contents", ()) for part in turn["parts"])
    chat: dict[str, Any] = {
        "model": "simulated",
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        "max_tokens": settings.get("maxOutputTokens"),
        "temperature": settings.get("temperature"),
    }
    if (schema := settings.get("responseSchema")) is not None:
        named = {"name": schema.get("title"), "schema": schema}
        chat["response_format"] = {"type": "json_schema", "json_schema": named}
    return chat


def as_content(chat: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion as a GenerateContentResponse."""
    [choice] = chat["choices"]
    usage = chat.get("usage") or {}
    return {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": choice["message"]["content"]}]},
                "finishReason": "MAX_TOKENS" if choice["finish_reason"] == "length" else "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": usage.get("prompt_tokens", 0),
            "candidatesTokenCount": usage.get("completion_tokens", 0),
            "thoughtsTokenCount": max(
                0,
                usage.get("total_tokens", 0)
                - usage.get("prompt_tokens", 0)
                - usage.get("completion_tokens", 0),
            ),
            "totalTokenCount": usage.get("total_tokens", 0),
        },
        "modelVersion": chat.get("model"),
    }


def _result(status: int, body: Any) -> dict[str, Any]:
    if status == 200:
        return {"response": as_content(body)}
    error = body[0] if isinstance(body, list) else body
    return {
        "error": {"code": _CODES.get(status, 3), "message": str((error.get("error") or {}).get("message"))}
    }


def _refused(message: str, status: int) -> web.Response:
    return web.json_response({"error": {"code": status, "message": message}}, status=status)

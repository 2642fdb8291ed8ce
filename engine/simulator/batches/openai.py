"""OpenAI's Batch API around the simulated model, with Azure's and Mistral's ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from engine.simulator.batches.desk import Batch, Desk

URLS = ("/v1/chat/completions", "/chat/completions")
_TEMPORARY = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
_WORDS = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This request could not be executed because the batch was cancelled.",
}
_MISTRAL = {
    "validating": "QUEUED",
    "in_progress": "RUNNING",
    "finalizing": "RUNNING",
    "completed": "SUCCESS",
    "failed": "FAILED",
    "expired": "TIMEOUT_EXCEEDED",
    "cancelling": "CANCELLATION_REQUESTED",
    "cancelled": "CANCELLED",
}


class FileDesk:
    """Routes and shapes; see openai.types.Batch and openai.types.FileObject. Mutable state: the desk's."""

    def __init__(self, desk: Desk, dialect: str) -> None:
        self._desk = desk
        self._azure = dialect == "azure"
        self._mistral = dialect == "mistral"

    def add_to(self, app: web.Application) -> None:
        router = app.router
        root = "/v1/openai" if self._azure else "/v1"
        batches = f"{root}/batch/jobs" if self._mistral else f"{root}/batches"
        router.add_post(f"{root}/files", self.upload)
        router.add_get(f"{root}/files/{{id}}/content", self.content)
        router.add_delete(f"{root}/files/{{id}}", self.delete)
        router.add_post(batches, self.create)
        router.add_get(batches, self.listed)
        router.add_get(f"{batches}/{{id}}", self.retrieve)
        router.add_post(f"{batches}/{{id}}/cancel", self.cancel)

    async def upload(self, request: web.Request) -> web.Response:
        self._desk.calls["upload"] += 1
        form = await request.post()
        part = form.get("file")
        if not isinstance(part, web.FileField) or form.get("purpose") not in ("batch", "batch-api"):
            return _refused("Missing required parameter: 'file'.", "file")
        data = part.file.read()
        id = self._desk.keep(data, at_once=False)
        return web.json_response(
            {
                "id": id, "object": "file", "bytes": len(data), "created_at": 0, "filename": part.filename,
                "purpose": "batch", "status": "processed", "status_details": None, "expires_at": None,
            }
        )  # fmt: skip

    async def content(self, request: web.Request) -> web.Response:
        data = self._desk.file(request.match_info["id"])
        if data is None:
            return _refused(f"No such File object: {request.match_info['id']}", "id", status=404)
        return web.Response(body=data, content_type="application/octet-stream")

    async def delete(self, request: web.Request) -> web.Response:
        self._desk.forget(request.match_info["id"])
        return web.json_response({"object": "file", "deleted": True, "id": request.match_info["id"]})

    async def create(self, request: web.Request) -> web.StreamResponse:
        desk = self._desk
        desk.calls["create"] += 1
        asked = await request.json()
        file = str((asked.get("input_files") or [""])[0] if self._mistral else asked.get("input_file_id"))
        if (data := desk.file(file)) is None:
            return _refused(
                f"Cannot find file {file}, or project proj_0 does not have access to it.", "file_id"
            )
        if asked.get("endpoint") not in URLS or (
            not self._mistral and asked.get("completion_window") != "24h"
        ):
            return _refused("Invalid value for 'endpoint' or 'completion_window'.", "endpoint")
        if desk.fails():
            return _refused("The engine is currently overloaded, please try again later", None, status=503)
        calls, errors = checked(data, str(asked["endpoint"]), desk.knobs.refused_field, bare=self._mistral)
        tag = str((asked.get("metadata") or {}).get("datagen") or "")
        batch = desk.create("batch_", calls, errors=errors, tag=tag, file=file, endpoint=asked["endpoint"])
        if desk.loses():
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(self._shown(batch))

    async def listed(self, request: web.Request) -> web.Response:
        self._desk.calls["list"] += 1
        batches = self._desk.newest()
        limit = int(request.query.get("limit") or request.query.get("page_size") or 20)
        if self._mistral:
            start = int(request.query.get("page", 0)) * limit
        else:
            after = request.query.get("after")
            start = next((place + 1 for place, each in enumerate(batches) if each.id == after), 0)
        shown = [self._shown(each) for each in batches[start : start + limit]]
        more = len(batches) > start + limit
        if self._mistral:
            return web.json_response({"object": "list", "data": shown, "total": len(batches)})
        ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {}
        return web.json_response({"object": "list", "data": shown, "has_more": more, **ends})

    async def retrieve(self, request: web.Request) -> web.Response:
        self._desk.calls["retrieve"] += 1
        batch = self._desk.batches.get(request.match_info["id"])
        if batch is None:
            return _refused(f"No batch found with id '{request.match_info['id']}'.", "batch_id", status=404)
        return web.json_response(self._shown(batch))

    async def cancel(self, request: web.Request) -> web.Response:
        batch = self._desk.batches.get(request.match_info["id"])
        if batch is None:
            return _refused(f"No batch found with id '{request.match_info['id']}'.", "batch_id", status=404)
        if batch.ended:
            return _refused(f"Cannot cancel a batch with status '{batch.state}'.", None, status=409)
        batch.enter("cancelling")
        batch.cancelled.set()
        return web.json_response(self._shown(batch))

    def _shown(self, batch: Batch) -> dict[str, Any]:
        self._write(batch)
        none = "" if self._azure else None
        good, bad = batch.outputs.get("output") or none, batch.outputs.get("error") or none
        begun = "in_progress" in batch.at
        counts = {
            "total": len(batch.calls) if begun else 0,
            "completed": batch.succeeded,
            "failed": len(batch.results) - batch.succeeded,
        }
        if self._mistral:
            return {
                "id": batch.id, "object": "batch", "input_files": [batch.file], "endpoint": batch.endpoint,
                "metadata": {"datagen": batch.tag}, "model": "simulated", "status": _MISTRAL[batch.state],
                "created_at": int(batch.made), "output_file": good, "error_file": bad, "errors": [],
                "total_requests": counts["total"], "completed_requests": len(batch.results),
                "succeeded_requests": counts["completed"], "failed_requests": counts["failed"],
                "started_at": None, "completed_at": None,
            }  # fmt: skip
        return {
            "id": batch.id, "object": "batch", "endpoint": batch.endpoint, "input_file_id": batch.file,
            "completion_window": "24h", "status": batch.state, "output_file_id": good, "error_file_id": bad,
            "errors": {"object": "list", "data": list(batch.errors)} if batch.state == "failed" else None,
            "created_at": int(batch.made), "expires_at": None if self._azure else int(self._desk.expires(batch)),
            **{f"{name}_at": int(batch.at[name]) if name in batch.at else None for name in _TEMPORARY},
            "request_counts": counts, "metadata": {"datagen": batch.tag} if batch.tag else None, "model": "simulated",
        }  # fmt: skip

    def _write(self, batch: Batch) -> None:
        """Successes go to the output file, all else to the error file; without any, there is no such file."""
        if batch.outputs or batch.state not in ("completed", "expired", "cancelled"):
            return
        good: list[bytes] = []
        bad: list[bytes] = []
        for id, (status, body) in batch.results.items():
            rest = {"status_code": status, "request_id": f"req_{id}", "body": body}
            line = orjson.dumps({"id": f"batch_req_{id}", "custom_id": id, "response": rest, "error": None})
            (good if status == 200 else bad).append(line)
        code = f"batch_{batch.state}"
        for id, _ in batch.calls:
            if id not in batch.results:
                error = {"code": code, "message": _WORDS.get(code, "")}
                bad.append(
                    orjson.dumps({"id": f"batch_req_{id}", "custom_id": id, "response": None, "error": error})
                )
        for name, made in (("output", self._desk.lines(good, batch.id)), ("error", bad)):
            if made or self._azure:
                batch.outputs[name] = self._desk.keep(b"".join(line + b"\n" for line in made))
        batch.outputs.setdefault("written", "yes")


def checked(
    data: bytes, endpoint: str, refused_field: str = "", *, bare: bool = False
) -> tuple[list[tuple[str, Mapping[str, Any]]], list[dict[str, Any]]]:
    """The calls of a file, and its errors: any fails the whole batch, and nothing is charged."""
    calls: list[tuple[str, Mapping[str, Any]]] = []
    errors: list[dict[str, Any]] = []
    seen: set[str] = set()

    def wrong(line: int, code: str, message: str, param: str | None = None) -> None:
        errors.append({"code": code, "message": message, "param": param, "line": line})

    for number, raw in enumerate(data.splitlines(), 1):
        try:
            told = orjson.loads(raw)
            id, body = told["custom_id"], told["body"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            wrong(number, "invalid_json_line", "This line is not parseable as valid JSON.")
            continue
        if not bare and (told.get("url") != endpoint or told.get("method") != "POST"):
            wrong(
                number,
                "invalid_url",
                "The URL provided for this request does not match the batch endpoint.",
                "url",
            )
        if id in seen:
            wrong(
                number, "duplicate_custom_id", "The custom_id for this request is a duplicate.", "custom_id"
            )
        if refused_field and refused_field in body:
            said = f"Unsupported parameter: '{refused_field}' is not supported with this model."
            wrong(number, "unsupported_parameter", said, f"body.{refused_field}")
        seen.add(id)
        calls.append((id, body))
    if not calls and not errors:
        wrong(
            1,
            "empty_file",
            "The input file is empty. Please ensure that the batch contains at least one request.",
        )
    return calls, errors[:1000]


def _refused(message: str, param: str | None, *, status: int = 400) -> web.Response:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return web.json_response(
        {"error": {"message": message, "type": kind, "param": param, "code": None}}, status=status
    )

"""Anthropic's Message Batches around the simulated model."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from engine.simulator.batches.desk import Batch, Desk

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PATH = "/v1/messages/batches"


class MessageDesk:
    """Routes and shapes; see anthropic.types.messages.MessageBatch. Mutable state: the desk's."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, app: web.Application) -> None:
        router = app.router
        router.add_post(_PATH, self.create)
        router.add_get(_PATH, self.listed)
        router.add_get(f"{_PATH}/{{id}}", self.retrieve)
        router.add_post(f"{_PATH}/{{id}}/cancel", self.cancel)
        router.add_get(f"{_PATH}/{{id}}/results", self.results)

    async def create(self, request: web.Request) -> web.StreamResponse:
        desk = self._desk
        desk.calls["create"] += 1
        if not request.headers.get("anthropic-version"):
            return _refused("anthropic-version: header is required")
        requests = orjson.loads(await request.read()).get("requests") or []
        ids = [str(each.get("custom_id", "")) for each in requests]
        for place, id in enumerate(ids):  # what `params` hold is looked at while the batch runs
            if not _ID.fullmatch(id):
                return _refused(
                    f"requests.{place}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
                )
        if not ids or len(set(ids)) < len(ids):
            return _refused("requests: custom_id's must be unique within a batch.")
        if desk.knobs.queue and sum(len(each.calls) for each in desk.waiting()) + len(ids) > desk.knobs.queue:
            said = "This request would exceed the limit of batch requests in the processing queue."
            return _refused(said, 429, "rate_limit_error")
        if desk.fails():
            return _refused("Overloaded", 529, "overloaded_error")
        calls = [(each["custom_id"], each.get("params") or {}) for each in requests]
        batch = desk.create("msgbatch_", calls)
        if desk.loses():
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(_shown(batch, desk))

    async def listed(self, request: web.Request) -> web.Response:
        self._desk.calls["list"] += 1
        batches, after = self._desk.newest(), request.query.get("after_id")
        start = next((place + 1 for place, each in enumerate(batches) if each.id == after), 0)
        limit = int(request.query.get("limit", 20))
        shown = [_shown(each, self._desk) for each in batches[start : start + limit]]
        ends = {"first_id": shown[0]["id"] if shown else None, "last_id": shown[-1]["id"] if shown else None}
        return web.json_response({"data": shown, "has_more": len(batches) > start + limit, **ends})

    async def retrieve(self, request: web.Request) -> web.Response:
        self._desk.calls["retrieve"] += 1
        batch = self._desk.batches.get(request.match_info["id"])
        if batch is None:
            return _unknown(request)
        headers = {} if batch.ended else {"retry-after": "10"}
        return web.json_response(_shown(batch, self._desk), headers=headers)

    async def cancel(self, request: web.Request) -> web.Response:
        batch = self._desk.batches.get(request.match_info["id"])
        if batch is None:
            return _unknown(request)
        if batch.ended:
            return _refused(f"Batch {batch.id} cannot be canceled: processing has ended")
        batch.cancelled.set()
        return web.json_response(_shown(batch, self._desk))

    async def results(self, request: web.Request) -> web.Response:
        batch = self._desk.batches.get(request.match_info["id"])
        if batch is None or not batch.ended:
            said = f"Message Batch {request.match_info['id']} has no available results."
            return _refused(said, 404, "not_found_error")
        made = [
            orjson.dumps({"custom_id": id, "result": _result(*told)}) for id, told in batch.results.items()
        ]
        made = self._desk.lines(made, batch.id)
        left = {"type": "canceled" if batch.is_cancelled else "expired"}
        made += [
            orjson.dumps({"custom_id": id, "result": left})
            for id, _ in batch.calls
            if id not in batch.results
        ]
        return web.Response(body=b"".join(line + b"\n" for line in made), content_type="application/x-jsonl")


def _result(status: int, body: Any) -> dict[str, Any]:
    if status == 200:
        return {"type": "succeeded", "message": body}
    error = body.get("error") or {}
    kind = "api_error" if status >= 500 else str(error.get("type") or "invalid_request_error")
    return {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {"type": kind, "message": error.get("message")},
            "request_id": None,
        },
    }


def _shown(batch: Batch, desk: Desk) -> dict[str, Any]:
    """Counts stay with `processing` until the end; there is no name and no metadata."""
    total = len(batch.calls)
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    if batch.ended:
        counts["succeeded"] = batch.succeeded
        counts["errored"] = len(batch.results) - batch.succeeded
        counts["canceled" if batch.is_cancelled else "expired"] = total - len(batch.results)
    else:
        counts["processing"] = total
    ended = max(batch.at.values()) if batch.ended else None
    return {
        "id": batch.id, "type": "message_batch", "request_counts": counts,
        "processing_status": "ended" if batch.ended else "canceling" if batch.is_cancelled else "in_progress",
        "created_at": _iso(batch.made), "expires_at": _iso(desk.expires(batch)), "ended_at": _iso(ended),
        "archived_at": None, "cancel_initiated_at": _iso(batch.made) if batch.is_cancelled else None,
        "results_url": f"https://elsewhere.invalid{_PATH}/{batch.id}/results" if batch.ended else None,
    }  # fmt: skip


def _iso(at: float | None) -> str | None:
    return datetime.fromtimestamp(at, UTC).isoformat() if at is not None else None


def _unknown(request: web.Request) -> web.Response:
    return _refused(f"Message Batch {request.match_info['id']} not found.", 404, "not_found_error")


def _refused(message: str, status: int = 400, kind: str = "invalid_request_error") -> web.Response:
    return web.json_response({"type": "error", "error": {"type": kind, "message": message}}, status=status)

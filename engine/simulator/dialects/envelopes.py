"""The bodies of errors, by provider; docs/endpoints.md has the sources."""

from __future__ import annotations

from typing import Any

import orjson

from engine.simulator.dialects.dialect import Refusal


def flat(refusal: Refusal) -> Any:
    """Mistral: no `error` around it."""
    told = {"object": "error", "message": refusal.message, "type": refusal.kind}
    return {**told, "param": refusal.param, "code": refusal.code, **refusal.more}


def in_list(refusal: Refusal) -> Any:
    """Gemini and Vertex AI."""
    state = _GOOGLE.get(refusal.status, "INVALID_ARGUMENT")
    return [{"error": {"code": refusal.status, "message": refusal.message, "status": state, **refusal.more}}]


_GOOGLE = {
    401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}  # fmt: skip


def text_beside_code(refusal: Refusal) -> Any:
    """xAI: the words themselves are `error`."""
    return {"code": refusal.code or "Client specified an invalid argument", "error": refusal.message}


def typed(refusal: Refusal) -> Any:
    """Anthropic."""
    return {
        "type": "error",
        "error": {"type": refusal.kind, "message": refusal.message},
        "request_id": "req_0",
    }


def status_as_code(refusal: Refusal) -> Any:
    """vLLM, llama.cpp: the code is the status."""
    error = {"message": refusal.message, "type": refusal.kind, "param": refusal.param, "code": refusal.status}
    return {"error": {**error, **refusal.more}}


def words_alone(refusal: Refusal) -> Any:
    """LM Studio."""
    return {"error": refusal.message}


def detail(refusal: Refusal) -> Any:
    """The gateway before Bedrock: text for what it does not understand, else FastAPI's form."""
    return refusal.message if refusal.code == "text" else {"detail": refusal.message}


def with_request(refusal: Refusal) -> Any:
    """DashScope."""
    error = {"code": refusal.code or "invalid_parameter_error", "param": refusal.param}
    error |= {"message": refusal.message, "type": refusal.kind}
    return {"error": error, "id": "chatcmpl-0", "request_id": "0"}


def routed(refusal: Refusal) -> Any:
    """OpenRouter: what the provider behind it said stands within, as text."""
    if refusal.param is None:
        told = {"message": refusal.message, "code": refusal.status, **refusal.more}
        return {"error": told, "user_id": "user_0"}
    raw = orjson.dumps({"error": {"message": refusal.message, "type": refusal.kind, "param": refusal.param}})
    behind = {"raw": raw.decode(), "provider_name": "Azure"}
    return {
        "error": {"message": "Provider returned error", "code": refusal.status, "metadata": behind},
        "user_id": "user_0",
    }

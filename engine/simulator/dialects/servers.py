"""Servers of one's own. docs/endpoints.md has the sources of what stands here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config.simulator import SimulatorConfig
from engine.simulator.dialects import envelopes, rate_headers, rules, usage
from engine.simulator.dialects.dialect import Dialect, Refusal

_TEMPLATE = Refusal("System role not supported", kind="BadRequestError")


def _vllm_long(size: int, prompt: int, asked: int) -> Refusal:
    if asked > size:
        said = f"max_tokens={asked} cannot be greater than max_model_len=max_total_tokens={size}."
        return Refusal(
            f"{said} Please request fewer output tokens. (parameter=max_tokens, value={asked})",
            kind="BadRequestError",
            param="max_tokens",
        )
    said = (
        f"This model's maximum context length is {size} tokens. However, your prompt contains {prompt} input tokens,"
        " which exceeds this limit even without any output tokens. Please reduce the length of the input prompt."
    )
    return Refusal(
        f"{said} (parameter=input_tokens, value={prompt})", kind="BadRequestError", param="input_tokens"
    )


def _grammar(name: str) -> Refusal:
    said = "The provided JSON schema contains features not supported by xgrammar."
    return Refusal(said, kind="BadRequestError")


def _vllm_pages(knobs: SimulatorConfig, model: str) -> Mapping[str, Any]:
    card = {"id": model, "object": "model", "owned_by": "vllm", "max_model_len": knobs.context or 32_768}
    return {"/v1/models": {"object": "list", "data": [card]}, "/version": {"version": "0.33.0"}}


VLLM = Dialect(
    rules=(
        rules.bounded_pattern_refused(_grammar),
        rules.system_refused(_TEMPLATE),
        rules.context(_vllm_long, with_answer=False),
        rules.answer_beyond_context(_vllm_long),
    ),
    envelope=envelopes.status_as_code,
    usage=usage.without_details,
    rate_headers=rate_headers.none,
    thinking="field",
    field="reasoning",
    server_errors=(
        Refusal("Request failed; please retry", 503, "ServiceUnavailableError"),
        Refusal(
            "The engine is currently busy and cannot accept new requests. Please try again later or on a different"
            " instance.",
            503,
            "Service Unavailable",
        ),
    ),
    pages=_vllm_pages,
    waiting="vllm:num_requests_waiting",
)


def _llama_long(size: int, prompt: int, asked: int) -> Refusal:
    said = f"request ({prompt} tokens) exceeds the available context size ({size} tokens), try increasing it"
    more = {"n_prompt_tokens": prompt, "n_ctx": size}
    return Refusal(said, kind="exceed_context_size_error", more=more)


_LLAMA_CONTEXT, _LLAMA_SLOTS = 8192, 4


def _llama_pages(knobs: SimulatorConfig, model: str) -> Mapping[str, Any]:
    context = knobs.context or _LLAMA_CONTEXT
    meta = {"n_ctx": context, "n_ctx_train": 131_072}
    card = {"id": model, "object": "model", "owned_by": "llamacpp", "meta": meta}
    slots = {"total_slots": knobs.slots or _LLAMA_SLOTS, "default_generation_settings": {"n_ctx": context}}
    return {"/v1/models": {"object": "list", "data": [card]}, "/props": slots}


LLAMA = Dialect(
    rules=(
        rules.grammar_bounded,
        rules.system_refused(Refusal("Jinja Exception: System role not supported", 500, "server_error")),
        rules.context(_llama_long, with_answer=False),
    ),
    envelope=envelopes.status_as_code,
    usage=usage.cache_read,
    rate_headers=rate_headers.none,
    cached=0.25,
    thinking="field",
    server_errors=(Refusal("Loading model", 503, "unavailable_error"),),
    pages=_llama_pages,
    waiting="llamacpp:requests_deferred",
    slots=_LLAMA_SLOTS,
)


def _ollama_pages(knobs: SimulatorConfig, model: str) -> Mapping[str, Any]:
    card = {"id": model, "object": "model", "owned_by": "library"}
    loaded = {"name": model, "model": model, "context_length": knobs.context or 4096}
    return {"/v1/models": {"object": "list", "data": [card]}, "/api/ps": {"models": [loaded]}}


OLLAMA = Dialect(
    rules=(rules.grammar_anchored(Refusal("invalid JSON schema in format", 500, "api_error")),),
    rate_headers=rate_headers.none,
    thinking="field",
    field="reasoning",
    server_errors=(
        Refusal("server busy, please try again.  maximum pending requests exceeded", 503, "api_error"),
    ),
    pages=_ollama_pages,
)


def _overflows(size: int, prompt: int, asked: int) -> Refusal:
    said = f"Trying to keep the first {prompt} tokens when context the overflows. However, the model is loaded with"
    return Refusal(f"{said} context length of only {size} tokens, which is not enough.")


def _studio_pages(knobs: SimulatorConfig, model: str) -> Mapping[str, Any]:
    card = {"id": model, "object": "model", "owned_by": "organization_owner"}
    loaded = {**card, "type": "llm", "state": "loaded", "loaded_context_length": knobs.context or 4096}
    return {
        "/v1/models": {"object": "list", "data": [card]},
        "/api/v0/models": {"object": "list", "data": [loaded]},
    }


STUDIO = Dialect(
    rules=(
        rules.forms_refused(
            {"json_object"}, lambda form: Refusal("'response_format.type' must be 'json_schema' or 'text'")
        ),
        rules.context(_overflows, with_answer=False),
    ),
    envelope=envelopes.words_alone,
    rate_headers=rate_headers.none,
    thinking="field",
    server_errors=(Refusal("The model has crashed without additional information. (Exit code: 6)", 500),),
    pages=_studio_pages,
    stray={"error": "Unexpected endpoint or method. (GET /props)"},
)

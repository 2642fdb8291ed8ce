"""What a reply says that it used, in any provider's spelling, as tokens that are billed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from engine.items import PICO, Usage

#  billed as          field                                                    part of
#  input              prompt_tokens, input_tokens
#  output             completion_tokens, output_tokens; see `_output`
#  cached input       prompt_tokens_details.cached_tokens (OpenAI and others)  prompt_tokens
#                     prompt_cache_hit_tokens (DeepSeek)                       prompt_tokens
#                     cached_tokens (Moonshot, Together)                       prompt_tokens
#  cache write        prompt_tokens_details.cache_write_tokens (OpenAI from    prompt_tokens
#                     gpt-5.6, OpenRouter), .cache_creation_input_tokens
#                     (DashScope), .cache_creation_tokens (LiteLLM)
#  output, told       completion_tokens_details.reasoning_tokens,              completion_tokens, but beside
#  apart              reasoning_tokens (SGLang)                                them at xAI
#  the bill itself    cost (OpenRouter, US dollars), cost_in_usd_ticks (xAI, 1e-10 US dollars)

_MOST_TOKENS = 100_000_000
_DETAILS = (
    "prompt_tokens_details",
    "input_tokens_details",
    "completion_tokens_details",
    "output_tokens_details",
)
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "cache_read_tokens")
_WRITTEN = ("cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens")
_REASONING = ("reasoning_tokens", "thinking_tokens")
_OTHER = frozenset(
    "prompt_tokens completion_tokens total_tokens input_tokens output_tokens prompt_cache_miss_tokens text_tokens"
    " audio_tokens image_tokens video_tokens accepted_prediction_tokens rejected_prediction_tokens"
    " created_cache_tokens multimodal_tokens ephemeral_5m_input_tokens ephemeral_1h_input_tokens"
    " cache_miss_tokens citation_tokens num_search_queries tool_use_prompt_tokens prompt_audio_tokens".split()
)
_KNOWN = _OTHER | {*_CACHED, *_WRITTEN, *_REASONING}


def usage_of(usage: Any, host: str = "", tier: str = "") -> Usage:
    """Reads OpenAI's usage object; empty and marked as estimated if it is missing or implausible.

    `host` is the endpoint's, since only some hosts state their bill; `tier` is the service tier that served.
    """
    told = usage if isinstance(usage, dict) else {}
    prompt = _first(told, ("prompt_tokens", "input_tokens"))
    completion = _first(told, ("completion_tokens", "output_tokens"))
    if prompt is None or completion is None:
        return Usage(estimated=True)
    fields = _flat(told)
    cached, written = _first(fields, _CACHED) or 0, _first(fields, _WRITTEN) or 0
    reasoning = _first(fields, _REASONING) or 0
    return Usage(
        prompt,
        _output(prompt, completion, token_count(told.get("total_tokens")), reasoning),
        min(prompt, cached),
        written_tokens=min(prompt - min(prompt, cached), written),
        reasoning_tokens=reasoning,
        billed=_bill(told, host),
        tier=tier,
        unread=_unread(fields),
    )


def _output(prompt: int, completion: int, total: int | None, reasoning: int) -> int:
    """All tokens that are billed as output: some providers leave reasoning out of `completion_tokens`.

    xAI counts it beside them and in the total; Gemini's OpenAI mode only in the total.
    """
    beside = completion + reasoning if reasoning > completion else completion
    return max(completion, (total or 0) - prompt, beside if total is None else completion)


def _bill(told: Mapping[str, Any], host: str) -> int | None:
    """Picodollars that the provider itself says it charges; None if it does not say."""
    try:
        if (ticks := told.get("cost_in_usd_ticks")) is not None and host.endswith("x.ai"):
            return int(Decimal(str(ticks)) * PICO / 10**10)
        if (cost := told.get("cost")) is not None and host.endswith("openrouter.ai"):
            details = told.get("cost_details") or {}
            upstream = details.get("upstream_inference_cost") if told.get("is_byok") is True else None
            return int((Decimal(str(cost)) + Decimal(str(upstream or 0))) * PICO)
    except (InvalidOperation, ValueError, AttributeError, OverflowError):
        pass
    return None


def _unread(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields that count tokens and that nothing here reads: they may be billed."""
    if fields.keys() <= _KNOWN:
        return ()
    counts = (name for name, value in fields.items() if name.endswith("_tokens") and value)
    return tuple(sorted(name for name in counts if name not in _KNOWN))


def _flat(told: Mapping[str, Any]) -> dict[str, Any]:
    """The fields and those of the details; the details count where both have a field."""
    flat = {name: value for name, value in told.items() if not isinstance(value, dict)}
    for name in _DETAILS:
        details = told.get(name)
        if isinstance(details, dict):
            flat.update({key: value for key, value in details.items() if value is not None})
    return flat


def _first(told: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        if name in told and (count := token_count(told[name])) is not None:
            return count
    return None


def token_count(value: Any) -> int | None:
    """The value if it is a plausible number of tokens for one call, otherwise None."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if sound else None

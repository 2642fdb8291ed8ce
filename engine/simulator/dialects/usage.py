"""The shapes of usage, by provider; docs/endpoints.md has the sources."""

from __future__ import annotations

from typing import Any

from engine.simulator.dialects.dialect import Tokens


def _counts(tokens: Tokens, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": completion,
        "total_tokens": tokens.prompt + tokens.output,
    }


def detailed(tokens: Tokens) -> dict[str, Any]:
    """OpenAI, from gpt-5.6 on: reasoning within the completion, cache writes within the prompt."""
    cache = {"cached_tokens": tokens.cached, "cache_write_tokens": tokens.written, "audio_tokens": 0}
    output = {"reasoning_tokens": tokens.reasoning, "audio_tokens": 0, "accepted_prediction_tokens": 0}
    told = _counts(tokens, tokens.output)
    return {**told, "prompt_tokens_details": cache, "completion_tokens_details": output}


def cache_read(tokens: Tokens) -> dict[str, Any]:
    """Azure, Groq, vLLM, llama.cpp: what was read from the cache alone."""
    return {**_counts(tokens, tokens.output), "prompt_tokens_details": {"cached_tokens": tokens.cached}}


def thoughts_in_total(tokens: Tokens) -> dict[str, Any]:
    """Gemini's and Vertex AI's OpenAI mode: thoughts are in the total alone."""
    return _counts(tokens, tokens.answer)


def hits_and_misses(tokens: Tokens) -> dict[str, Any]:
    """DeepSeek."""
    return {
        **_counts(tokens, tokens.output),
        "prompt_cache_hit_tokens": tokens.cached,
        "prompt_cache_miss_tokens": tokens.prompt - tokens.cached,
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }


def timed(tokens: Tokens) -> dict[str, Any]:
    """Groq: seconds beside the counts."""
    times = {"queue_time": 0.01, "prompt_time": 0.02, "completion_time": 0.1, "total_time": 0.13}
    reasoning = {"completion_tokens_details": {"reasoning_tokens": tokens.reasoning}}
    return {**cache_read(tokens), **times, **reasoning}


def cached_beside(tokens: Tokens) -> dict[str, Any]:
    """Together."""
    return {**_counts(tokens, tokens.output), "cached_tokens": tokens.cached}


def created(tokens: Tokens) -> dict[str, Any]:
    """DashScope."""
    cache = {"cached_tokens": tokens.cached, "cache_creation_input_tokens": tokens.written}
    output = {"reasoning_tokens": tokens.reasoning, "text_tokens": tokens.answer}
    told = _counts(tokens, tokens.output)
    return {**told, "prompt_tokens_details": cache, "completion_tokens_details": output}


def reasoning_beside(tokens: Tokens) -> dict[str, Any]:
    """xAI: reasoning is not in the completion, and is charged."""
    return {
        **_counts(tokens, tokens.answer),
        "prompt_tokens_details": {"cached_tokens": tokens.cached, "text_tokens": tokens.prompt},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }


def without_details(tokens: Tokens) -> dict[str, Any]:
    """vLLM: nulls where the server was not told to count."""
    return {
        **_counts(tokens, tokens.output),
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }


def of_messages(tokens: Tokens) -> dict[str, Any]:
    """Anthropic: the input is without what the cache read or wrote."""
    return {
        "input_tokens": tokens.prompt - tokens.cached - tokens.written,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation_input_tokens": tokens.written,
        "cache_creation": {"ephemeral_5m_input_tokens": tokens.written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": tokens.output,
        "output_tokens_details": {"thinking_tokens": tokens.reasoning},
        "service_tier": "standard",
    }

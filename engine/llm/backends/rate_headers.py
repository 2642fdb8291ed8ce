"""What an endpoint's headers say of its limits: in the spellings of OpenAI, Azure, Groq, Anthropic and others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from engine.items import RateLimits

#  who                        requests per minute                        tokens per minute
#  OpenAI, Azure, vLLM        x-ratelimit-limit-requests                 x-ratelimit-limit-tokens
#  Groq                       x-ratelimit-limit-requests is per DAY      x-ratelimit-limit-tokens
#  Cerebras, Mistral          x-ratelimit-limit-requests-minute, -day    x-ratelimit-limit-tokens-minute, -day
#  Anthropic                  anthropic-ratelimit-requests-limit         anthropic-ratelimit-tokens-limit

_MINUTES = {"": 1.0, "-minute": 1.0, "-hour": 60.0, "-day": 1440.0}
_NAMES = {
    "requests": ("x-ratelimit-limit-requests", "x-ratelimit-limit-req", "anthropic-ratelimit-requests-limit"),
    "tokens": ("x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit"),
}


def announced(headers: Mapping[str, str], host: str = "") -> RateLimits | None:
    """Limits per minute; None where the headers tell of none. `headers` ignores case."""
    daily = host.endswith("groq.com")
    requests = _limit(headers, "requests", 1440.0 if daily else 1.0)
    tokens = _limit(headers, "tokens", 1.0)
    return RateLimits(requests, tokens) if requests is not None or tokens is not None else None


def _limit(headers: Mapping[str, str], kind: str, minutes: float) -> float | None:
    """The tightest of those that are told."""
    values = []
    for name in _NAMES[kind]:
        for suffix, period in _MINUTES.items():
            value = _number(headers.get(name + suffix))
            if value is not None and value > 0:
                values.append(value / (period if suffix else minutes))
    return min(values, default=None)


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from retry-after-ms or retry-after (seconds or an HTTP date), if the server sent one."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return _sensible(float(milliseconds) / 1000)
        if (value := headers.get("retry-after")) is not None:
            return _sensible(float(value) if value.strip()[:1].isdigit() else _until(value))
    except (ValueError, TypeError, OverflowError):
        pass
    return None


def _sensible(seconds: float) -> float | None:
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(date: str) -> float:
    when = parsedate_to_datetime(date)
    when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return (when - datetime.now(UTC)).total_seconds()

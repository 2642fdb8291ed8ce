"""How a reply tells of the rate limits, by provider."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple


class Left(NamedTuple):
    """One limit: `requests` or `tokens` a minute, what is left of it, seconds until some is left again."""

    name: str
    limit: float
    left: int
    wait: float


Told = dict[str, str]


def openai(limits: Sequence[Left]) -> Told:
    """platform.openai.com/docs/guides/rate-limits; Groq's requests are a day's."""
    shown: Told = {}
    for name, limit, left, wait in limits:
        shown[f"x-ratelimit-limit-{name}"] = f"{limit:.0f}"
        shown[f"x-ratelimit-remaining-{name}"] = str(left)
        shown[f"x-ratelimit-reset-{name}"] = f"{math.ceil(wait * 1000)}ms"
    return shown


def groq(limits: Sequence[Left]) -> Told:
    """The requests of a day, the tokens of a minute."""
    shown = openai(limits)
    for limit in limits:
        if limit.name == "requests":
            shown["x-ratelimit-limit-requests"] = f"{limit.limit * 24 * 60:.0f}"
    return shown


def anthropic(limits: Sequence[Left]) -> Told:
    """docs.anthropic.com/en/api/rate-limits: a reset is a time."""
    shown: Told = {}
    for name, limit, left, wait in limits:
        back = datetime.now(UTC) + timedelta(seconds=wait)
        shown[f"anthropic-ratelimit-{name}-limit"] = f"{limit:.0f}"
        shown[f"anthropic-ratelimit-{name}-remaining"] = str(left)
        shown[f"anthropic-ratelimit-{name}-reset"] = f"{back:%Y-%m-%dT%H:%M:%SZ}"
    return shown


def none(limits: Sequence[Left]) -> Told:
    """Most servers of one's own, DeepSeek, Mistral."""
    return {}

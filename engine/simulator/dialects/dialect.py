"""What makes a dialect: rules about requests, an envelope for errors, a shape for usage, a habit of thinking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from engine.config.parts import PriceConfig
from engine.config.simulator import SimulatorConfig, Thinking
from engine.simulator.dialects.rate_headers import Left, openai

Body = Mapping[str, Any]
"""A request's body, or a reply's, as parsed JSON."""

INVALID = "invalid_request_error"
_PICO_A_TOKEN = 10**6
"""Picodollars a token for each dollar per million tokens."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered. An envelope gives it the provider's form."""

    message: str
    status: int = 400
    kind: str | None = INVALID
    code: str | int | None = None
    param: str | None = None
    more: Body = field(default_factory=dict)
    """Further fields of the error."""
    served: bool = False
    """Whether it stands in a reply with status 200."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a call has used. `prompt` includes what was read from the cache and written to it."""

    prompt: int
    cached: int
    written: int
    reasoning: int
    answer: int

    @property
    def output(self) -> int:
        return self.reasoning + self.answer

    def bill(self, price: PriceConfig) -> int:
        """Picodollars."""
        rates = (
            (self.prompt - self.cached - self.written, price.input),
            (self.cached, price.input if price.cached_input is None else price.cached_input),
            (self.written, price.input if price.cache_write is None else price.cache_write),
            (self.output, price.output),
        )
        dollars = sum(tokens * Decimal(str(rate)) for tokens, rate in rates)
        return round(dollars * _PICO_A_TOKEN + Decimal(str(price.per_call)) * 10**12)


@dataclass(frozen=True, slots=True)
class Asking:
    """A request as the rules see it."""

    body: Body
    prompt_tokens: int
    knobs: SimulatorConfig
    thinks: bool = False

    @property
    def most_tokens(self) -> int | None:
        """The longest answer that it asks for."""
        for name in ("max_tokens", "max_completion_tokens"):
            if isinstance(self.body.get(name), int):
                return int(self.body[name])
        return None

    @property
    def form(self) -> str:
        """The type of its response format; '' without one."""
        return str((self.body.get("response_format") or {}).get("type", ""))

    @property
    def schema(self) -> Body:
        """The schema that it sends; empty without one."""
        part = (self.body.get("response_format") or {}).get("json_schema") or {}
        return part.get("schema") or {}


Rule = Callable[[Asking], Refusal | None]
Envelope = Callable[[Refusal], Any]
"""The body of an error: JSON values, or text as it is."""


def _openai(refusal: Refusal) -> Any:
    error = {"message": refusal.message, "type": refusal.kind, "param": refusal.param, "code": refusal.code}
    return {"error": {**error, **refusal.more}}


def _plain(tokens: Tokens) -> dict[str, Any]:
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.prompt + tokens.output,
    }


Pages = Callable[[SimulatorConfig, str], Mapping[str, Any]]
"""What a server tells of itself, by path."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One provider's or server's way. The default is OpenAI's API without any demands."""

    rules: tuple[Rule, ...] = ()
    envelope: Envelope = _openai
    usage: Callable[[Tokens], dict[str, Any]] = _plain
    bill: Literal["", "dollars", "ticks"] = ""
    """Whether usage says what the call costs: as `cost`, or as `cost_in_usd_ticks` (1e-10 US dollars)."""
    rate_headers: Callable[[Sequence[Left]], dict[str, str]] = openai
    cached: float = 0.0
    """The share of a prompt that is read from the cache ..."""
    written: float = 0.0
    """... and written to it."""
    thinking: Thinking = "none"
    """Where its models' thoughts stand, where they think."""
    field: str = "reasoning_content"
    """The message's field for thoughts that have one of their own."""
    takes_schema: bool = True
    """Whether the model is shown, or held to, the schema that is sent."""
    lead: bytes = b""
    """What precedes a body, while one waits."""
    comment: str = ""
    """The comment with which a stream begins."""
    server_errors: tuple[Refusal, ...] = (Refusal("The simulated server had an error.", 500, "server_error"),)
    too_fast: Refusal = Refusal("Rate limit reached", 429, "requests", "rate_limit_exceeded")
    no_credit: Refusal = Refusal(
        "You exceeded your current quota, please check your plan and billing details.",
        429, "insufficient_quota", "insufficient_quota",
    )  # fmt: skip
    filtered: Refusal | None = None
    """What it says in place of a model's refusal."""
    slots: int | None = None
    """Calls that it works on at once, unless the knob says otherwise; more wait."""
    messages_api: bool = False
    """Whether it speaks Anthropic's Messages API."""
    pages: Pages = lambda knobs, model: {}
    """What it tells of itself, by path."""
    waiting: str = ""
    """The name at /metrics of how many calls wait for a slot; where empty, there is no such page."""
    stray: Any = None
    """The body, with status 200, for an address that does not exist; None for a 404."""

"""What an unsuccessful reply means: the error for its status and body, in any provider's format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from engine.errors import (
    AuthError,
    BadRequest,
    ContentFiltered,
    EndpointError,
    EngineError,
    NoCapacity,
    RateLimited,
    SamplingFailed,
    Truncated,
    Unavailable,
)
from engine.llm.backends.rate_headers import retry_after
from engine.veil import veiled

#  status                      becomes
#  400, 413, 422, other 4xx    BadRequest; ContentFiltered, SamplingFailed, Truncated where the body says so
#  401, 403                    AuthError; also a 400 about the key
#  402                         AuthError; RateLimited where it says when to come back
#  any                         AuthError where the body says that the account is empty
#  404, 405, 3xx               EndpointError; BadRequest where only a parameter is not supported
#  408, 409, 425, 498, 5xx     Unavailable; 498, 503 and 529 as being overloaded; BadRequest for a chat template
#  429                         RateLimited; NoCapacity where a service tier has no room; BadRequest for a request that
#                              never fits the limit
#  200 with an error in it     as if its code were the status

OVERLOADED = (498, 503, 529)
_NO_CREDIT = frozenset(
    "insufficient_quota credit_balance_exhausted billing_hard_limit_reached billing_error arrearage"
    " enforced_spend_limit_reached budget_exceeded credit_limit insufficient_balance insufficient_credits"
    " payment_required account_overdue accountoverdueerror exceeded_current_quota_error".split()
)
_MONEY = re.compile(
    r"insufficient[_ ](?:quota|credits?|balance|funds)|credit balance is too low|exceeded your current quota"
    r"|requires more credits|out of credits|all available credits|spending limit|credit limit exceeded|no credits?\b"
    r"|(?:monthly|total) (?:usage |spend(?:ing)? )?limit|key limit exceeded|billing hard limit"
    r"|budget has been exceeded|in good standing|have any credits"
    r"|balance is insufficient|overdue balance|余额不足|欠费|payment required",
    re.IGNORECASE,
)
_FILTERED = frozenset(
    "content_filter content_policy_violation invalid_prompt data_inspection_failed responsibleaipolicyviolation"
    " prompt_blocked moderation".split()
)
_NO_CAPACITY = frozenset("flex_unavailable resource_unavailable".split())
_SAMPLED = frozenset("json_validate_failed tool_use_failed output_parse_failed".split())
_THOUGHT_AWAY = re.compile(r"could not finish the message because max_tokens", re.IGNORECASE)
_KEY = re.compile(
    r"(?:api[ _-]?key|credentials?) (?:is )?(?:not valid|invalid|expired)|(?:invalid|incorrect) api[ _-]?key",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(r"system role|roles must alternate|jinja", re.IGNORECASE)
_PARAMETERS = re.compile(r"no endpoints found that (?:can handle|support)", re.IGNORECASE)
_NEVER_FITS = re.compile(r"request too large", re.IGNORECASE)
_TOKENS = re.compile(r"\btokens?\b|\bTPM\b")
_AGAIN = re.compile(
    r"(?:retry|try again|retrydelay\W*)\s*(?:in|after|:)?\s*\"?(?:(\d+)h)?(?:(\d+)m(?!s))?([\d.]+)\s*(ms|s)\b",
    re.IGNORECASE,
)
_WITHIN_SUCCESS = (
    (re.compile(r"rate.?limit|too many requests|resource.?exhausted", re.IGNORECASE), 429),
    (re.compile(r"unexpected endpoint|not found|no such|does not exist|not loaded", re.IGNORECASE), 404),
    (re.compile(r"unauthori[sz]ed|api key|authentication", re.IGNORECASE), 401),
    (re.compile(r"not support|unsupported|invalid|must be|is required|malformed", re.IGNORECASE), 400),
)


@dataclass(frozen=True, slots=True)
class ToldError:
    """What an error body says. `text` is all of it; it may hold secrets, so only a redacted part is shown."""

    code: str = ""
    """Its code, status and type, in lower case."""
    message: str = ""
    param: str | None = None
    status: int | None = None
    """The HTTP status that the body names."""
    text: str = ""

    @classmethod
    def read(cls, body: bytes) -> ToldError:
        """Any body: OpenAI's form, a flat one, one in a list, only text."""
        text = body[:_LONGEST].decode(errors="replace").strip()
        try:
            told = orjson.loads(body)
        except orjson.JSONDecodeError:
            return cls(message=text[:2000], text=text)
        return cls.of(told, text)

    @classmethod
    def of(cls, told: Any, text: str = "") -> ToldError:
        """From parsed JSON."""
        if isinstance(told, list) and told:
            told = told[0]
        outer = told if isinstance(told, dict) else {}
        error = outer.get("error", outer or told)
        if not isinstance(error, dict):  # a text under `error`: what else there is stands beside it
            error = {**outer, "message": error}
        said = next((error[name] for name in ("message", "detail", "msg", "errors") if error.get(name)), None)
        message = said if isinstance(said, str) else orjson.dumps(said or error, default=str).decode()
        kinds = [error.get(name) for name in ("code", "type", "status")]
        return cls(
            code=" ".join(str(kind).lower() for kind in kinds if kind is not None),
            message=message,
            param=_param(error, said),
            status=next(_statuses(kinds), None),
            text=text or orjson.dumps(told, default=str)[:_LONGEST].decode(errors="replace"),
        )

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(re.split(r"[\s,]+", self.code))

    @property
    def retry_after(self) -> float | None:
        """Seconds, where the words say when to come back."""
        match = _AGAIN.search(self.text or self.message)
        if match is None:
            return None
        hours, minutes, seconds, unit = match.groups()
        try:
            value = float(seconds) / (1000 if unit.lower() == "ms" else 1)
        except ValueError:
            return None
        return value + 60 * int(minutes or 0) + 3600 * int(hours or 0)


_LONGEST = 20_000
"""Bytes of an error body that are read."""


def _param(error: Mapping[str, Any], said: Any) -> str | None:
    """The request field that is at fault, where the body has a place for it."""
    if isinstance(error.get("param"), str):
        return str(error["param"])
    details = error.get("detail", said.get("detail") if isinstance(said, dict) else said)
    first = details[0] if isinstance(details, list) and details else None
    place = first.get("loc") if isinstance(first, dict) else None
    return ".".join(map(str, place[1:])) if isinstance(place, list) and len(place) > 1 else None


def _statuses(kinds: list[Any]) -> Iterator[int]:
    for kind in kinds:
        if isinstance(kind, str) and kind.isascii() and kind.isdigit():
            kind = int(kind)
        if isinstance(kind, int) and not isinstance(kind, bool) and 400 <= kind < 600:
            yield kind


def failure_of(status: int, headers: Mapping[str, str], body: bytes) -> EngineError:
    """The error for an unsuccessful reply.

    A gateway that says 502, 504 or (Cloudflare's) 524 may have passed the request on: it may have been paid.
    """
    failure = _failure(status, headers, ToldError.read(body))
    if isinstance(failure, Unavailable) and status in (502, 504, 524):
        failure.paid = True
    return failure


def failure_within(reply: Any) -> EngineError | None:
    """The error in a reply with status 200; None if it holds none.

    OpenRouter answers so once a model has been chosen, gateways and local servers for any mistake.
    """
    if not isinstance(reply, dict):
        return None
    error = (
        reply.get("error")
        or _of_base(reply.get("base_resp"))
        or next((e for e in map(_of_choice, reply.get("choices") or ()) if e), None)
    )
    flat = reply.get("object") == "error" or (
        "choices" not in reply and ("message" in reply or "detail" in reply)
    )
    if not error and not flat:
        return None
    told = ToldError.of({"error": error} if isinstance(error, dict) else reply)
    said = f"{told.code} {told.message}"
    status = told.status or next((code for words, code in _WITHIN_SUCCESS if words.search(said)), 502)
    return _failure(status, {}, told)


def _of_base(told: Any) -> Any:
    """MiniMax has its errors in `base_resp`, by a code of its own that is 0 where there is none."""
    if not isinstance(told, dict) or not told.get("status_code"):
        return None
    return {"message": str(told.get("status_msg") or "no explanation"), "type": str(told["status_code"])}


def _of_choice(choice: Any) -> Any:
    return choice.get("error") if isinstance(choice, dict) else None


def _failure(status: int, headers: Mapping[str, str], told: ToldError) -> EngineError:
    message = shown(told.message) or "no explanation"
    said = message if message.startswith(f"{status}:") else f"{status}: {message}"
    wait = retry_after(headers)
    wait = told.retry_after if wait is None else wait
    too_large = status == 413 or _NEVER_FITS.search(told.message) is not None
    refused = BadRequest(said, told.param, told.text, negotiable=not too_large)
    if told.kinds & _NO_CREDIT and "rate limit" not in told.message.lower():
        return _no_credit(said)
    if _MONEY.search(told.message) and (status != 429 or wait is None):
        return _no_credit(said)
    if status == 402:
        return _no_credit(said) if wait is None else RateLimited(said, wait)
    if status == 429:
        if too_large:
            return refused
        if told.kinds & _NO_CAPACITY:
            return NoCapacity(said, wait)
        about_tokens = "tokens" in told.kinds or _TOKENS.search(told.message) is not None
        return RateLimited(said, wait, tokens=about_tokens)
    if status == 501 or (status >= 500 and _TEMPLATE.search(told.message)):
        return refused
    if status in (408, 409, 425, 498) or status >= 500:
        return Unavailable(said, wait, overloaded=status in OVERLOADED)
    if told.kinds & _FILTERED or (status == 403 and "flagged" in told.message.lower()):
        return ContentFiltered(said)
    if status in (401, 403) or (status == 400 and _KEY.search(told.message)):
        return AuthError(f"the endpoint refuses the key ({said})")
    if 300 <= status < 400:
        return EndpointError(
            f"redirects to {_host(headers.get('Location', ''))}; set model.base_url to the address itself"
        )
    if status in (404, 405) and not _PARAMETERS.search(told.message):
        return EndpointError(
            f"no such model or address ({said}); see model.name, model.base_url and model.api"
        )
    if told.kinds & _SAMPLED or '"failed_generation"' in told.text:
        return SamplingFailed(said)
    if _THOUGHT_AWAY.search(told.message):
        return Truncated(said)
    return refused


def _no_credit(said: str) -> AuthError:
    return AuthError(f"the account has no credit left ({said})")


def shown(text: Any) -> str:
    """An endpoint's text, safe to show: no secrets, no control characters, at most 300 characters."""
    return "".join(c if c.isprintable() else " " for c in veiled(str(text))[:300]).strip()


def _host(location: str) -> str:
    """The host that a redirect names, and no more of it: the rest may repeat the request's headers."""
    try:
        host = urlsplit(location[:2000]).hostname or ""
    except ValueError:
        host = ""
    return f"the host {shown(host)}" if _HOST.fullmatch(host) else "another path"


_HOST = re.compile(r"[a-z0-9.-]{1,100}")

"""Rate limits of an endpoint: requests and tokens per minute, as configured and as it announces them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from engine.items import RateLimits
from engine.protocols import Coordinator, Rate


class Taken(NamedTuple):
    """What a call took from which rates."""

    requests: Rate | None = None
    request: Any = None
    tokens: Rate | None = None
    token: Any = None

    def used(self, tokens: int) -> None:
        """Corrects the tokens to the number that was used."""
        if self.tokens is not None:
            self.tokens.give_back(self.token, tokens)

    def unused(self) -> None:
        """Gives all of it back: the call was not sent."""
        if self.requests is not None:
            self.requests.give_back(self.request, 0)
        self.used(0)


NOTHING = Taken()


class Rates:
    """A rate of requests and a rate of tokens; either may be absent.

    Mutable state: the limits in force, the last announced limits, whether `max_tokens` counts upfront.
    """

    def __init__(self, coordinator: Coordinator, key: str, limits: RateLimits) -> None:
        """`key` names their owner to the coordinator; `limits` are those in the config."""
        self._coordinator = coordinator
        self._key = key
        self._limits = limits
        self._requests = self._rate("requests", limits.requests)
        self._tokens = self._rate("tokens", limits.tokens)
        self.announced: RateLimits | None = None
        self.charges_max_tokens_upfront = False
        """Whether the endpoint counts a call's `max_tokens` as used when it arrives; then we do the same."""

    @property
    def limits_tokens(self) -> bool:
        return self._tokens is not None

    def wait(self, tokens: int) -> float:
        """Seconds until a call of `tokens` tokens may be sent; 0 if it may be sent now."""
        wait = self._requests.wait() if self._requests is not None else 0.0
        return wait if self._tokens is None else max(wait, self._tokens.wait(tokens))

    def take(self, tokens: int) -> Taken | None:
        """Takes from both rates or neither: None if another process used up a shared rate since `wait`."""
        if self._requests is None and self._tokens is None:
            return NOTHING
        request = self._requests.take(1) if self._requests is not None else None
        if self._requests is not None and request is None:
            return None
        token = self._tokens.take(tokens) if self._tokens is not None else None
        if self._tokens is not None and token is None:
            if self._requests is not None:
                self._requests.give_back(request, 0)
            return None
        return Taken(self._requests, request, self._tokens, token)

    def ended(self, taken: Taken, used: int | None) -> None:
        """Records the tokens that a call has used; None keeps the number taken for it."""
        if used is not None and not (self.charges_max_tokens_upfront and used):
            taken.used(used)

    def heed(self, announced: RateLimits | None) -> Iterator[tuple[str, float]]:
        """Adopts announced limits that are lower than the present ones; yields (kind, limit) for each."""
        self.announced = announced
        if announced is None:
            return
        if _less(announced.requests, self._limits.requests):
            self._requests = self._changed(self._requests, "requests", announced.requests)
            yield "requests", announced.requests or 0.0
        if _less(announced.tokens, self._limits.tokens):
            self._tokens = self._changed(self._tokens, "tokens", announced.tokens)
            yield "tokens", announced.tokens or 0.0
        self._limits = RateLimits(
            _least(self._limits.requests, announced.requests), _least(self._limits.tokens, announced.tokens)
        )

    def _changed(self, rate: Rate | None, kind: str, per_minute: float | None) -> Rate | None:
        if rate is None or per_minute is None:
            return self._rate(kind, per_minute)
        rate.change(per_minute)
        return rate

    def _rate(self, kind: str, per_minute: float | None) -> Rate | None:
        return None if per_minute is None else self._coordinator.rate(self._key, kind, per_minute)


def _less(said: float | None, known: float | None) -> bool:
    return said is not None and (known is None or said < known)


def _least(known: float | None, said: float | None) -> float | None:
    return said if known is None else known if said is None else min(known, said)

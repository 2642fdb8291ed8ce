"""What is tried again, how often and after how long: tenacity's policies, put together for model calls."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_random_exponential

from engine.errors import RateLimited, TransientError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries` further attempts after failures; rate limits cost patience (`seconds`), not attempts."""

    retries: int = 6
    seconds: float = 600.0
    first_wait: float = 0.5
    longest_wait: float = 60.0

    def retrying(
        self, sleep: Callable[[float], Awaitable[None]], before: Callable[[RetryCallState], None]
    ) -> AsyncRetrying:
        """For one call. `before` hears of each failed attempt; `sleep` does the waiting."""
        failures = _Failures(self.retries)
        return AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            stop=lambda state: failures.too_many(state) or stop_after_delay(self.seconds)(state),
            wait=self.wait,
            sleep=sleep,
            before_sleep=before,
            reraise=True,
        )

    def wait(self, state: RetryCallState) -> float:
        """Exponential with full jitter, or what the server asked for and a little more."""
        assert state.outcome is not None
        asked = getattr(state.outcome.exception(), "retry_after", None)
        if asked is not None:
            return float(asked) + random.uniform(0, 0.1 * float(asked) + 0.05)
        backoff = wait_random_exponential(multiplier=self.first_wait, max=self.longest_wait)
        return float(backoff(state))


class _Failures:
    """Counts one call's failed attempts, without those that a rate limit turned away."""

    def __init__(self, allowed: int) -> None:
        self._left = allowed

    def too_many(self, state: RetryCallState) -> bool:
        assert state.outcome is not None
        if isinstance(state.outcome.exception(), RateLimited):
            return False
        self._left -= 1
        return self._left < 0

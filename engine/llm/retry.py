"""What is tried again, how often and after how long: tenacity's policies, put together for model calls."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay
from tenacity.wait import wait_random_exponential

from engine.errors import RateLimited, Renegotiated, TransientError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries` further attempts after failures; rate limits cost patience, not attempts.

    `seconds` bounds one call with all its attempts and waits.
    """

    retries: int = 6
    seconds: float = 600.0
    first_wait: float = 0.5
    longest_wait: float = 60.0

    def retrying(
        self,
        hopeful: Callable[[], bool],
        sleep: Callable[[float], Awaitable[None]],
        before: Callable[[RetryCallState], None],
    ) -> AsyncRetrying:
        """For one call. While `hopeful`, failures are not counted: only `seconds` ends it.

        `sleep` does the waiting, `before` hears of each failed attempt.
        """
        failures = _Failures(self.retries, hopeful)
        return AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            stop=lambda state: failures.too_many(state) or stop_before_delay(self.seconds)(state),
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
    """Counts one call's failed attempts, without those that say nothing against it."""

    def __init__(self, allowed: int, hopeful: Callable[[], bool]) -> None:
        self._left = allowed
        self._hopeful = hopeful

    def too_many(self, state: RetryCallState) -> bool:
        assert state.outcome is not None
        error = state.outcome.exception()
        if isinstance(error, RateLimited | Renegotiated):
            return False
        self._left -= 1
        return self._left < 0 and not self._hopeful()

"""What is tried again, how often and after how long: tenacity's policies, put together for model calls."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from engine.errors import MalformedReply, RateLimited, Renegotiated, Rerouted, TransientError, Unavailable

#  a failed attempt                         counts against the call    next attempt
#  429, 503, 529                            no                         in line; the endpoint is paused
#  refused optional field                   no                         at once, without it
#  any, while the endpoint is out           no                         in line; one call tries the endpoint
#  any, of one that has never answered      no                         after a rest; the limiter gives it up
#  any other                                yes                        after a rest that doubles, with jitter

OUTRIGHT = 3
"""A call that the endpoint answers with an error is given up after so many times its retries, whoever is to blame."""


class Standing(Protocol):
    """How the endpoint of a call's last attempt stands."""

    def held(self) -> bool:
        """It is out: its line holds everyone back, and the next attempt needs no rest of its own."""
        ...

    def unproven(self) -> bool:
        """It has never answered anybody."""
        ...


def spared(error: BaseException | None) -> bool:
    """Whether the failure says nothing against the call."""
    overloaded = isinstance(error, Unavailable) and error.overloaded
    return overloaded or isinstance(error, RateLimited | Renegotiated | Rerouted)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries` further attempts after failures; rate limits and outages cost patience, not attempts."""

    retries: int = 6
    seconds: float = 600.0
    """From the first attempt to the last, unless the endpoint is out."""
    first_wait: float = 0.5
    longest_wait: float = 60.0
    attempt_s: float = 120.0
    """The most that one attempt may take."""

    def retrying(
        self,
        standing: Standing,
        sleep: Callable[[float], Awaitable[None]],
        before: Callable[[RetryCallState], None],
    ) -> AsyncRetrying:
        """For one call, whose failures count by how its endpoint stands.

        `sleep` does the waiting, `before` hears of each failed attempt.
        """
        failures = _Failures(self, standing)
        return AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            stop=failures.too_many,
            wait=lambda state: 0.0 if standing.held() else self.wait(state),
            sleep=sleep,
            before_sleep=before,
            reraise=True,
        )

    def wait(self, state: RetryCallState) -> float:
        """Exponential with full jitter, or what the server asked for and a little more."""
        assert state.outcome is not None
        error = state.outcome.exception()
        if spared(error):
            return 0.0  # who is asked to wait is the endpoint's line
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            return float(asked) + random.uniform(0, 0.1 * float(asked) + 0.05)
        backoff = wait_random_exponential(multiplier=self.first_wait, max=self.longest_wait)
        return float(backoff(state))


class _Failures:
    """Counts one call's failed attempts, without those that say nothing against it."""

    def __init__(self, policy: RetryPolicy, standing: Standing) -> None:
        self._policy = policy
        self._left = policy.retries
        self._outright = OUTRIGHT * (policy.retries + 1)
        self._standing = standing

    def too_many(self, state: RetryCallState) -> bool:
        assert state.outcome is not None
        error = state.outcome.exception()
        if spared(error) or self._standing.unproven():
            return False
        self._outright -= isinstance(error, Unavailable | MalformedReply)
        if self._outright < 0:
            return True
        if self._standing.held():
            return False
        self._left -= 1
        return self._left < 0 or (state.seconds_since_start or 0.0) > self._policy.seconds

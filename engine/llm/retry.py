"""What is tried again, how often and after how long: tenacity's policies, put together for model calls."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_exponential

from engine.errors import RateLimited, Renegotiated, Rerouted, TransientError, Unavailable

#  a failed attempt                         counts against the call    next attempt
#  429, 503, 529                            no                         in line; the endpoint is paused
#  refused optional field                   no                         at once, without it
#  any, while the endpoint is out           no                         in line; one call tries the endpoint
#  any, of one that has never answered      no                         after a rest; the limiter gives it up
#  any other                                yes                        after a rest that doubles, with jitter

OUTRIGHT = 3
BLAMED = 0.75
"""During an outage, a call is given up after OUTRIGHT times its attempts and this share of the patience."""
UNWELCOME = 30
"""A call told to slow down more often, while as many others are answered, is itself the problem."""


class Standing(Protocol):
    """How the endpoint of a call's last attempt stands."""

    def held(self) -> bool:
        """It is out: its line holds everyone back, and the next attempt needs no rest of its own."""
        ...

    def unproven(self) -> bool:
        """It has never answered anybody."""
        ...

    def own(self) -> float:
        """Seconds that the call's failed attempts took."""
        ...

    def elapsed(self) -> float:
        """Seconds from the call's first failure to its last."""
        ...

    def answered_since(self) -> int:
        """How many calls it has answered since then."""
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
    """A call's failed attempts and its rests between them; its waits in line, as in an outage, are not its own."""
    first_wait: float = 0.5
    longest_wait: float = 60.0
    attempt_s: float = 120.0
    """The most that one attempt may take."""
    outage_s: float = 3600.0
    """How long an endpoint may be out."""
    chance: random.Random = field(default_factory=random.Random, compare=False, repr=False)
    """For jitter; a generator of its own, so that no seed elsewhere in the process synchronises retries."""

    def retrying(
        self,
        standing: Standing,
        sleep: Callable[[float], Awaitable[None]],
        before: Callable[[RetryCallState], None],
    ) -> AsyncRetrying:
        """The retry loop of one call, whose failures count by the state of its endpoint.

        `sleep` does the waiting; `before` is called after each failed attempt.
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
            least = min(float(asked), self.seconds)
            return least + self.chance.uniform(0, 0.1 * least + 0.05)
        backoff = wait_exponential(multiplier=self.first_wait, max=self.longest_wait)
        return self.chance.uniform(0, float(backoff(state)))


class _Failures:
    """Counts one call's failed attempts, by whose fault they are."""

    def __init__(self, policy: RetryPolicy, standing: Standing) -> None:
        self._policy = policy
        self._standing = standing
        self._counted = 0
        self._all = 0
        self._spared = 0

    def too_many(self, state: RetryCallState) -> bool:
        assert state.outcome is not None
        if spared(state.outcome.exception()):
            self._spared += 1
            return min(self._spared, self._standing.answered_since()) > UNWELCOME
        if self._standing.unproven():
            return False
        self._all += 1
        if self._standing.held():
            return self._blamed_for_the_outage()
        self._counted += 1
        took = self._standing.own() + state.idle_for
        return self._counted > self._policy.retries or took > self._policy.seconds

    def _blamed_for_the_outage(self) -> bool:
        """The call that always fails, alone at the end of a run, looks like an endpoint that is down."""
        tried = self._all > OUTRIGHT * (self._policy.retries + 1)
        return tried and self._standing.elapsed() > BLAMED * self._policy.outage_s

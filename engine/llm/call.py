"""One call through all its attempts, and what is counted of calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.errors import PermanentError
from engine.items import Completion, Prompt
from engine.llm.budget import Reservation
from engine.llm.endpoint import Endpoint


@dataclass
class CallCounts:
    """Counts of calls and attempts in this start. The journal counts completed calls over all starts."""

    completed: int = 0
    replayed: int = 0
    """Answers that the journal already held."""
    retried: int = 0
    rate_limited: int = 0
    failed: int = 0
    hedged: int = 0
    """Second attempts for slow calls."""
    unconfirmed: int = 0
    """Picodollars counted as spent for failed attempts: by their usage, or the most that they may have cost."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """Failed attempts by kind."""


class CallEnded(NamedTuple):
    """A finished call, as reported to `Client.watch`."""

    prompt: Prompt
    outcome: Completion | PermanentError
    endpoint: str
    began: float
    """Seconds since the epoch."""
    seconds: float
    """Including all attempts and waits."""


Watch = Callable[[CallEnded], None]


class Answer(NamedTuple):
    """The completion of one attempt, and the endpoint that sent it."""

    completion: Completion
    endpoint: Endpoint


_FIRST_TRIES = 3
"""Attempts that a call makes from its first place in line. One that always fails must not hold up the others."""


class Call:
    """One call with all its attempts; a Standing. Only its own attempts change it, one after another.

    Mutable state: the number of attempts, the endpoint of the last one, the failures, money kept for the next one.
    """

    __slots__ = (
        "_answered",
        "_failed",
        "_now",
        "_own",
        "_ticket",
        "attempts",
        "began",
        "endpoint",
        "kept",
        "prompt",
        "timeouts",
    )

    def __init__(self, prompt: Prompt, began: float, ticket: int = 0) -> None:
        """`ticket` is its place in line."""
        self.prompt = prompt
        self._ticket = ticket
        self.kept: Reservation | None = None
        """Set aside for an attempt that failed and cost nothing: the next one needs it."""
        self.began = began
        self.attempts = 0
        self.timeouts = 0
        self.endpoint: Endpoint | None = None
        self._failed: float | None = None
        self._now = began
        self._own = 0.0
        self._answered = 0

    def sent(self, endpoint: Endpoint) -> None:
        """Records that an attempt begins."""
        self.attempts += 1
        self.endpoint = endpoint

    def failed(self, sent: float, now: float) -> None:
        """Records that the attempt failed."""
        self._now = now
        self._own += now - sent
        if self._failed is None:
            self._failed = now
            self._answered = self.endpoint.answered if self.endpoint is not None else 0

    def beside(self) -> Call:
        """A copy of the call for a parallel second attempt, whose outcome does not change this object."""
        other = Call(self.prompt, self.began, self._ticket)
        other.attempts = self.attempts
        return other

    @property
    def ticket(self) -> int | None:
        """Its place in line; None, for a new one, once it has been tried often enough to be at fault itself."""
        return self._ticket if self.attempts < _FIRST_TRIES else None

    def money_for(self, worst: int) -> Reservation | None:
        """What was kept, if it is enough; if not, it is given back."""
        kept, self.kept = self.kept, None
        if kept is not None and kept.amount < worst:
            kept.settle(0)
            return None
        return kept

    def ended(self) -> None:
        """Gives back what was kept."""
        if self.kept is not None:
            self.kept.settle(0)
            self.kept = None

    def own(self) -> float:
        """Total seconds of the failed attempts."""
        return self._own

    def elapsed(self) -> float:
        """Seconds from the first failure to the last."""
        return self._now - self._failed if self._failed is not None else 0.0

    def answered_since(self) -> int:
        """Calls that the endpoint has answered since the first failure; exact if that was its own."""
        return self.endpoint.answered - self._answered if self.endpoint is not None else 0

    def held(self) -> bool:
        """Whether the endpoint is out, so that its queue holds all calls back."""
        return self.endpoint is not None and self.endpoint.breaker.opened is not None

    def unproven(self) -> bool:
        """Whether the endpoint has never answered any call."""
        return self.endpoint is not None and not self.endpoint.answered

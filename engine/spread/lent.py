"""A Backend whose attempts are made by the worker that asked: the head keeps the rest of the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from engine.items import Completion, Prompt, RateLimits
from engine.protocols import Announcing, Backend, Negotiating, Streaming


class Borrower(Protocol):
    """Whoever can make an attempt of the call that is being served."""

    async def attempt(self, endpoint: int, prompt: Prompt, heard: Callable[[], None] | None) -> Completion:
        """One attempt at the endpoint of that number. Raises what the backend raises there."""
        ...


SERVED: ContextVar[Borrower | None] = ContextVar("served", default=None)
"""Whose call is being served in this context; None for the head's own."""


class Lent:
    """Attempts of a worker's calls are made there, any other here. A Negotiating; its terms are the head's own.

    Mutable state: the limits that a worker was last told of.
    """

    def __init__(self, own: Backend, number: int) -> None:
        """`number`: by which the workers know the endpoint."""
        self.name = own.name
        self.number = number
        self.own = own
        """The head's."""
        self._negotiating = own if isinstance(own, Negotiating) else None
        self._announcing = own if isinstance(own, Announcing) else None
        self._told: RateLimits | None = None
        self._spare: list[tuple[str, str]] = []

    async def complete(self, prompt: Prompt) -> Completion:
        borrower = SERVED.get()
        if borrower is None:
            return await self.own.complete(prompt)
        return await borrower.attempt(self.number, prompt, None)

    async def close(self) -> None:
        await self.own.close()

    @property
    def announced(self) -> RateLimits | None:
        """What the endpoint announced last, to whomever."""
        return self._told or (self._announcing.announced if self._announcing is not None else None)

    def told(self, limits: RateLimits) -> None:
        if limits != self._told:
            self._told = limits

    @property
    def notices(self) -> list[tuple[str, str]]:
        return self._spare if self._negotiating is None else self._negotiating.notices

    def settled(self, purpose: str) -> bool:
        return self._negotiating is None or self._negotiating.settled(purpose)

    def terms(self) -> Mapping[str, Any]:
        return {} if self._negotiating is None else self._negotiating.terms()

    def restore(self, terms: Mapping[str, Any]) -> None:
        if self._negotiating is not None:
            self._negotiating.restore(terms)


class LentStreaming(Lent):
    """The same for a backend that can stream."""

    async def streamed(self, prompt: Prompt, heard: Callable[[], None]) -> Completion:
        borrower = SERVED.get()
        if borrower is None:
            assert isinstance(self.own, Streaming)
            return await self.own.streamed(prompt, heard)
        return await borrower.attempt(self.number, prompt, heard)


def lent(own: Backend, number: int) -> Lent:
    """The backend, for calls of workers too."""
    return LentStreaming(own, number) if isinstance(own, Streaming) else Lent(own, number)

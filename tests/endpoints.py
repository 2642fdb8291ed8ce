"""Endpoints for tests of the limiter and the client: scripted, without a network."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from engine.flow.halt import Halt
from engine.items import Completion, Prompt, RateLimits, Usage
from engine.llm.budget import Budget
from engine.llm.client import Client
from engine.llm.concurrency import Concurrency
from engine.llm.endpoint import Endpoint, EndpointSpec
from engine.llm.limiter import Limiter
from engine.llm.pacing import Clock

GOOD = Completion("{}", "m", "stop", Usage(100, 50, 40))


class Script:
    """A Backend that goes through a list of outcomes, and stays at the last."""

    def __init__(self, *outcomes: Any, name: str = "script") -> None:
        self.name = name
        self.outcomes = list(outcomes) or [GOOD]
        self.asked = 0

    async def complete(self, prompt: Prompt) -> Completion:
        self.asked += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    async def close(self) -> None: ...


class VirtualClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def endpoint(
    backend: Any = None,
    concurrency: int = 4,
    *,
    first: int | None = None,
    clock: Clock = time.monotonic,
    record: Callable[[str, str, str], None] = lambda *_: None,
    **spec: Any,
) -> Endpoint:
    """Not started: a scripted one by default. `spec` are fields of EndpointSpec."""
    return Endpoint(
        backend or Script(),
        Concurrency(concurrency, first=first),
        EndpointSpec(**spec),
        clock=clock,
        chance=random.Random(5),
        record=record,
    )


def limiter(concurrency: int, requests: float | None = None, tokens: float | None = None) -> Limiter:
    """One endpoint behind the run's own limits."""
    return Limiter([endpoint(concurrency=concurrency)], concurrency, RateLimits(requests, tokens))


def client_with(one: Endpoint, cap: int | None = None) -> Client:
    """A client with this endpoint alone, and a journal in memory."""
    from test_client import Memory

    return Client(Memory(), Limiter([one], 64), Budget(cap), Halt())

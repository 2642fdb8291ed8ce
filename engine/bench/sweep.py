"""Calls an endpoint with increasing concurrency, within a cap of calls and dollars; records results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import (
    BudgetExhausted,
    FatalError,
    PermanentError,
    RateLimited,
    Renegotiated,
    TransientError,
)
from engine.items import Completion, Prompt, RateLimits, usd
from engine.llm.budget import Budget
from engine.llm.prices import Price
from engine.llm.tokens import prompt_bound
from engine.protocols import Announcing, Backend, Streaming

ENOUGH = 0.9
"""The knee is the lowest concurrency that reaches this share of the best throughput."""
GAIN = 1.05
"""A doubling that raises the throughput by less than this factor is no gain; two in a row end a sweep."""
REFUSED = 0.1
"""The share of rate-limited calls above which a sweep ends."""


@dataclass(frozen=True)
class Sweep:
    """What to test. `calls` and the budget limit the whole sweep, `seconds` limits each level."""

    levels: Sequence[int]
    calls: int
    seconds: float
    timeout: float
    stream: bool = False
    whole: bool = False
    """Test every level, whatever the earlier ones show."""


@dataclass
class Level:
    """The results at one concurrency. Mutable while it is being tested."""

    concurrency: int
    latencies: list[float] = field(default_factory=list)
    """Latency in seconds of each answered call."""
    first_tokens: list[float] = field(default_factory=list)
    """Seconds to the first token of each streamed call."""
    ended: list[float] = field(default_factory=list)
    """When each call was answered, in seconds since the level began."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    full_until: float = 0.0
    """Until when the full number of calls was in flight; after that only the last calls finish."""

    @property
    def calls(self) -> int:
        return len(self.latencies) + sum(self.errors.values())

    @property
    def calls_per_s(self) -> float:
        """Answers per second at full concurrency; over the whole level if it was too short for that."""
        inside = sum(at <= self.full_until for at in self.ended)
        if inside >= 2 * self.concurrency:
            return inside / self.full_until
        return len(self.ended) / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_s(self) -> float:
        """Completion tokens per second."""
        return self.completion_tokens / len(self.latencies) * self.calls_per_s if self.latencies else 0.0

    @property
    def refused(self) -> float:
        """The share of calls that were rate-limited."""
        return self.errors.get(RateLimited.reason, 0) / self.calls if self.calls else 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "concurrency": self.concurrency,
            "calls": self.calls,
            "seconds": round(self.seconds, 3),
            "calls_per_s": round(self.calls_per_s, 3),
            "completion_tokens_per_s": round(self.tokens_per_s, 1),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "latency_s": quantiles(self.latencies),
            "first_token_s": quantiles(self.first_tokens),
            "errors": dict(self.errors),
        }


def quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """p50, p95 and p99 by the nearest rank; None if there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    return {
        f"p{share}": round(ordered[min(len(ordered) - 1, -(-share * len(ordered) // 100) - 1)], 4)
        for share in (50, 95, 99)
    }


def knee(levels: Sequence[Level]) -> Level | None:
    """The lowest concurrency with nearly the best throughput; None if nothing was answered.

    Levels with many rate-limited calls are left out: there the throughput does not depend on the concurrency.
    """
    answered = [level for level in levels if level.latencies and level.refused <= REFUSED]
    if not answered:
        return None
    best = max(level.calls_per_s for level in answered)
    return next(level for level in answered if level.calls_per_s >= ENOUGH * best)


class Bench:
    """One sweep over one backend. Mutable state: calls and money spent, why it ended."""

    def __init__(
        self, backend: Backend, price: Price, budget: Budget, prompts: Iterator[Prompt], sweep: Sweep
    ) -> None:
        self._backend = backend
        self._price = price
        self.budget = budget
        self._prompts = prompts
        self._sweep = sweep
        self._left = sweep.calls
        self.ended = ""
        """Why the sweep ended, in words."""

    @property
    def spent_usd(self) -> float:
        return usd(self.budget.spent)

    @property
    def announced(self) -> RateLimits | None:
        return self._backend.announced if isinstance(self._backend, Announcing) else None

    async def levels(self) -> AsyncIterator[Level]:
        """Yields each level when it is done. Raises FatalError if the endpoint cannot be used at all."""
        await self._settle_dialect()
        best, idle = 0.0, 0
        for concurrency in self._sweep.levels:
            if self._left < concurrency:
                self.ended = f"{self._sweep.calls:,} calls are made"
                return
            level = await self._level(concurrency)
            if level.calls:
                yield level
            if self.ended:
                return
            idle = 0 if level.calls_per_s > GAIN * best else idle + 1
            best = max(best, level.calls_per_s)
            if self._sweep.whole:
                continue
            if level.refused > REFUSED:
                self.ended = f"{level.refused:.0%} of the calls were refused for their rate"
            elif idle >= 2:
                self.ended = "more calls at once bring no more answers"
            if self.ended:
                return
        self.ended = "all levels are tried"

    async def _settle_dialect(self) -> None:
        """Makes one unmeasured call to find out what the endpoint accepts and to warm it up."""
        while True:
            try:
                await self._one(Level(1))
                return
            except Renegotiated:
                continue

    async def _level(self, concurrency: int) -> Level:
        level, began = Level(concurrency), time.perf_counter()
        share = max(4 * concurrency, 20)
        left = min(share, self._left)

        async def worker() -> None:
            nonlocal left
            while left > 0 and not self.ended and time.perf_counter() - began < self._sweep.seconds:
                left -= 1
                try:
                    await self._one(level, began)
                except BudgetExhausted as reason:
                    self.ended = str(reason)
            level.full_until = level.full_until or time.perf_counter() - began

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(worker(), name="bench")
        except* FatalError as fatal:
            raise fatal.exceptions[0] from None
        level.seconds = time.perf_counter() - began
        return level

    async def _one(self, level: Level, level_began: float = 0.0) -> None:
        """Adds one attempt to the level. Raises BudgetExhausted, FatalError; first Renegotiated."""
        prompt = next(self._prompts)
        reservation = await self.budget.reserve(
            self._price.worst(prompt_bound(prompt, 4096), prompt.max_tokens)
        )
        self._left -= 1
        cost, began = 0, time.perf_counter()
        try:
            async with asyncio.timeout(self._sweep.timeout):
                answer = await self._answered(prompt, level, began)
            cost = self._entered(level, answer, began, level_began)
        except TimeoutError:
            cost = reservation.amount
            level.errors["timeout"] = level.errors.get("timeout", 0) + 1
        except Renegotiated:
            if not level_began:
                raise
        except (TransientError, PermanentError) as error:
            cost = reservation.amount if getattr(error, "paid", False) else 0
            level.errors[error.reason] = level.errors.get(error.reason, 0) + 1
        except FatalError:
            raise
        finally:
            reservation.settle(cost)

    async def _answered(self, prompt: Prompt, level: Level, began: float) -> Completion:
        if not self._sweep.stream or not isinstance(self._backend, Streaming):
            return await self._backend.complete(prompt)
        first: list[float] = []

        def heard() -> None:
            if not first:
                first.append(time.perf_counter() - began)

        answer = await self._backend.streamed(prompt, heard)
        level.first_tokens += first
        return answer

    def _entered(self, level: Level, answer: Completion, began: float, level_began: float) -> int:
        """Adds an answer to the level. Returns its cost in picodollars."""
        now, usage = time.perf_counter(), answer.usage
        level.latencies.append(now - began)
        level.ended.append(now - level_began)
        level.prompt_tokens += usage.prompt_tokens
        level.completion_tokens += usage.completion_tokens
        return self._price.cost(
            usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.written_tokens
        )

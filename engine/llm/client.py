"""One question, one answer: journaled, paced, paid for once, tried again where that helps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from tenacity import RetryCallState

from engine.errors import (
    BadRequest,
    EndpointDown,
    EndpointError,
    EngineError,
    PermanentError,
    RateLimited,
    Renegotiated,
    RetriesExhausted,
    TransientError,
    Unavailable,
)
from engine.flow.halt import Halt
from engine.items import Completion, Prompt, Usage
from engine.llm.budget import Budget, Reservation
from engine.llm.limiter import Lease, Limiter
from engine.llm.prices import FREE, Prices
from engine.llm.retry import RetryPolicy
from engine.llm.tokens import TokenEstimator, prompt_bound
from engine.protocols import Backend, CallJournal

REFUSALS = 5
"""Requests that an endpoint may refuse, one after another, before it has ever answered."""


@dataclass
class CallCounts:
    """Attempts of this start. Completed calls are counted in the journal."""

    completed: int = 0
    replayed: int = 0
    """Answers that the journal already held."""
    retried: int = 0
    rate_limited: int = 0
    failed: int = 0
    unconfirmed: int = 0
    """Picodollars set aside for good: attempts that may have been charged though no usage came back."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """Failed attempts by kind."""


class Client:
    """Asks one Backend, for everybody in the run.

    The order of an attempt: a place in the limiter's line, money from the budget, the request, both
    settled. No place and no money is held while waiting to try again.
    Mutable state: `counts`, the time of the last answer, calls lost since then, and how far the journal has
    authorized spending.
    """

    def __init__(
        self,
        backend: Backend,
        journal: CallJournal,
        limiter: Limiter,
        budget: Budget,
        halt: Halt,
        prices: Prices | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._backend = backend
        self._journal = journal
        self._limiter = limiter
        self._budget = budget
        self._halt = halt
        self._prices = prices or FREE
        self._policy = policy or RetryPolicy()
        self._tokens = TokenEstimator()
        self._answered = 0.0
        self._lost_in_a_row = 0
        self._refusals = 0
        self._schema: tuple[Mapping[str, Any], int] = ({}, 2)
        self._authorized = 0
        self._authorizing = asyncio.Lock()
        self.counts = CallCounts()
        halt.on_set(limiter.close)
        halt.on_set(budget.close)

    async def ask(self, prompt: Prompt) -> Completion:
        """The completion, from the journal if it holds one. It is on disk when this returns.

        Raises PermanentError (this call is lost), FatalError or StopRun (the run ends).
        """
        held = self._journal.find(prompt.key)
        if held is not None:
            self.counts.replayed += 1
            if isinstance(held, PermanentError):
                raise held
            return held
        try:
            completion = await self._persist(prompt)
        except PermanentError as error:
            self.counts.failed += 1
            await self._journal.record(prompt, error)
            raise
        self.counts.completed += 1
        await self._journal.record(prompt, completion)
        return completion

    # --- all attempts ---

    async def _persist(self, prompt: Prompt) -> Completion:
        began = time.monotonic()
        try:
            return await self._attempt(prompt, began)
        except TransientError as first:
            return await self._again(prompt, first, began)

    async def _again(self, prompt: Prompt, first: TransientError, began: float) -> Completion:
        """All attempts after the first, which cost nothing extra: retry machinery is for those who need it."""
        failed: list[TransientError] = [first]
        attempts = 0
        retrying = self._policy.retrying(lambda: self._outage_since(began), self._rest, self._note)
        try:
            async for attempt in retrying:
                with attempt:
                    attempts += 1
                    if failed:
                        raise failed.pop()
                    return await self._attempt(prompt, began, attempts)
        except TransientError as last:
            raise self._given_up(last, attempts, began) from last
        raise AssertionError("tenacity returned without an outcome")

    def _note(self, state: RetryCallState) -> None:
        assert state.outcome is not None
        spared = isinstance(state.outcome.exception(), RateLimited | Renegotiated)
        self.counts.retried += not spared

    async def _rest(self, seconds: float) -> None:
        """Sleep, unless the run is halted: nothing new is sent then. Raises the reason."""
        self._halt.check()
        try:
            async with asyncio.timeout(seconds):
                raise await self._halt.wait()
        except TimeoutError:
            return

    def _outage_since(self, began: float) -> bool:
        """The endpoint has answered in this start, but nothing since then: it may well come back."""
        return 0 < self._answered < began

    def _given_up(self, last: TransientError, attempts: int, began: float) -> EngineError:
        """What becomes of a call that failed on every attempt.

        Where others are answered, or the endpoint at least replies to this one, the call is lost alone. Where
        nothing was ever answered, or two calls in a row are given up without an answer between, it is down.
        """
        said = f"{last} (after {attempts} attempts)"
        alive = self._answered >= began or (self._answered > 0 and isinstance(last, Unavailable))
        self._lost_in_a_row += 1
        if alive and (self._answered >= began or self._lost_in_a_row == 1):
            return RetriesExhausted(said)
        return EndpointDown(f"no answer from {self._backend.name}: {said}")

    def _refused(self, error: PermanentError) -> None:
        """Raises EndpointError once an endpoint that has never answered refuses one request after another."""
        if isinstance(error, BadRequest) and not self._answered:
            self._refusals += 1
            if self._refusals >= REFUSALS:
                raise EndpointError(f"{self._backend.name} refuses every request: {error}")

    # --- one attempt ---

    async def _attempt(self, prompt: Prompt, began: float, attempts: int = 1) -> Completion:
        lease, reservation = await self._admitted(prompt)
        used: int | None = None
        try:
            reply, usage = await self._paid(prompt, reservation)
            used = usage.prompt_tokens + usage.completion_tokens
            seconds = round(time.monotonic() - began, 4)
            return Completion(reply.text, reply.model, reply.finish_reason, usage, attempts, seconds)
        finally:
            lease.release(used)

    async def _admitted(self, prompt: Prompt) -> tuple[Lease, Reservation]:
        """A place and the money for one attempt. Who has to wait for money gives the place back meanwhile."""
        tokens, worst = self._tokens.whole(prompt), self._worst(prompt)
        lease = await self._limiter.acquire(tokens, prompt.priority)
        reservation = self._budget.try_reserve(worst)
        if reservation is None:
            lease.release(0)
            reservation = await self._budget.reserve(worst, prompt.priority)
            try:
                lease = await self._limiter.acquire(tokens, prompt.priority)
            except BaseException:
                reservation.settle(0)
                raise
        try:
            self._halt.check()
            if self._budget.exposed > self._authorized:
                await self._authorize(worst)
        except BaseException:
            reservation.settle(0)
            lease.release(0)
            raise
        return lease, reservation

    async def _authorize(self, worst: int) -> None:
        """Journal how far this start may go in money before it goes there, so that a kill cannot hide it.

        As far as all calls in flight can go at worst, so that it is written once in many calls.
        """
        async with self._authorizing:
            if self._budget.exposed > self._authorized:
                ceiling = self._budget.reachable(self._limiter.concurrency * worst)
                await self._journal.authorize(ceiling)
                self._authorized = ceiling

    async def _paid(self, prompt: Prompt, reservation: Reservation) -> tuple[Completion, Usage]:
        cost = 0
        try:
            reply = await self._backend.complete(prompt)
            usage = self._counted(prompt, reply.usage, reply.text)
            cost = usage.cost
            return reply, usage
        except TransientError as error:
            cost = reservation.amount if error.paid else 0
            self.counts.unconfirmed += cost
            self.counts.rate_limited += isinstance(error, RateLimited)
            self.counts.errors[error.reason] = self.counts.errors.get(error.reason, 0) + 1
            raise
        except PermanentError as error:
            if error.usage is not None:
                error.usage = self._counted(prompt, error.usage, "")
                cost = error.usage.cost
            self._refused(error)
            raise
        except asyncio.CancelledError:
            cost = reservation.amount  # the endpoint may charge for what we do not wait for
            self.counts.unconfirmed += cost
            raise
        finally:
            reservation.settle(cost)

    def _counted(self, prompt: Prompt, found: Usage, text: str) -> Usage:
        """What an answer took, in tokens and picodollars; estimated where the endpoint does not say."""
        prompt_tokens, completion_tokens = found.prompt_tokens, found.completion_tokens
        if found.estimated:
            prompt_tokens, completion_tokens = self._tokens.prompt(prompt), len(text) // 3 + 1
        else:
            self._tokens.learn(prompt, found)
        self._answered = time.monotonic()
        self._lost_in_a_row = 0
        self.counts.prompt_tokens += prompt_tokens
        self.counts.completion_tokens += completion_tokens
        cost = self._prices.of(prompt.purpose).cost(prompt_tokens, completion_tokens, found.cached_tokens)
        return Usage(prompt_tokens, completion_tokens, found.cached_tokens, cost, found.estimated)

    def _worst(self, prompt: Prompt) -> int:
        schema, size = self._schema
        if schema is not prompt.schema:
            size = len(orjson.dumps(prompt.schema))
            self._schema = prompt.schema, size
        return self._prices.of(prompt.purpose).worst(prompt_bound(prompt, size), prompt.max_tokens)

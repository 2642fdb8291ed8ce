"""Sends a prompt and returns its completion: journaled, paced, paid for once, retried where that helps."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import NoReturn

from tenacity import RetryCallState

from engine.errors import (
    AuthError,
    BadRequest,
    CallTimeout,
    ContextExceeded,
    EndpointError,
    PermanentError,
    RateLimited,
    Renegotiated,
    Rerouted,
    RetriesExhausted,
    SamplingFailed,
    TooSlow,
    TransientError,
    Truncated,
    Unavailable,
)
from engine.flow.halt import Halt
from engine.items import Completion, Prompt, Usage
from engine.llm.accounts import Accounts, Sent
from engine.llm.admission import Admission
from engine.llm.budget import Budget, Reservation
from engine.llm.call import Answer, Call, CallCounts, CallEnded, Watch
from engine.llm.endpoint import Endpoint
from engine.llm.hedge import Hedge
from engine.llm.limiter import Lease, Limiter
from engine.llm.pacing import Clock
from engine.llm.retry import RetryPolicy, spared
from engine.protocols import CallJournal
from engine.veil import veiled

TIMEOUTS = 2
"""Timeouts after which a call that asks for several items is given up, to be asked for fewer."""
SLOWEST_PIECE_S = 10.0
"""A streamed answer may take so long for each of its pieces, on average: one that only drips is given up."""
REFUSALS = 5
"""Refusals after which an endpoint that has never answered is given up."""


class Client:
    """Sends all prompts of the run to its endpoints.

    An attempt gets a place at an endpoint, then money from the budget, sends the request, and settles both.
    A call that waits to retry holds neither.
    Mutable state: `counts`, `watch`, the keys under way.
    """

    def __init__(
        self,
        journal: CallJournal,
        limiter: Limiter,
        budget: Budget,
        halt: Halt,
        policy: RetryPolicy | None = None,
        *,
        hedge: Hedge | None = None,
        counts: CallCounts | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._journal = journal
        self._limiter = limiter
        self._halt = halt
        self._policy = policy or RetryPolicy()
        self._hedge = hedge
        self._clock = clock
        self._admission = Admission(journal, limiter, budget, halt)
        self.counts = counts if counts is not None else CallCounts()
        self.accounts = Accounts(self._admission.tokens, self.counts)
        self._asking: dict[str, asyncio.Event] = {}
        """By key, the calls under way: what two ask for at the same time is asked once."""
        self.watch: Watch | None = None
        """Called with each finished call; may be None."""
        halt.on_set(limiter.close)
        halt.on_set(budget.close)

    async def ask(self, prompt: Prompt) -> Completion:
        """The completion, from the journal if it holds one. When this returns, the completion is on disk.

        Raises PermanentError (this call has failed), FatalError or StopRun (the run ends).
        """
        held = self._journal.find(prompt.key)
        if held is not None:
            self.counts.replayed += 1
            if isinstance(held, PermanentError):
                raise held
            return held
        if (asked := self._asking.get(prompt.key)) is not None:
            await asked.wait()  # of somebody else, under way: its answer is this one's too
            return await self.ask(prompt)
        call = Call(prompt, self._clock(), self._limiter.ticket())
        asked = self._asking[prompt.key] = asyncio.Event()
        try:
            return await self._answered(prompt, call)
        finally:
            del self._asking[prompt.key]
            asked.set()

    async def _answered(self, prompt: Prompt, call: Call) -> Completion:
        """The completion of a call that the journal does not hold; it is on disk when this returns."""
        try:
            completion = await self._persist(call)
        except (ContextExceeded, TooSlow):
            raise  # nothing was answered or paid; whoever asks may ask for less under the same key
        except PermanentError as error:
            self.counts.failed += 1
            await self._journal.record(prompt, error)
            self._watched(call, error)
            raise
        finally:
            call.ended()
        self.counts.completed += 1
        await self._journal.record(prompt, completion)
        self._watched(call, completion)
        return completion

    def bound(self, prompt: Prompt) -> int:
        """The most tokens that the prompt can have."""
        return self._admission.bound(prompt)

    def _watched(self, call: Call, outcome: Completion | PermanentError) -> None:
        if self.watch is not None:
            where = call.endpoint.name if call.endpoint is not None else ""
            seconds = self._clock() - call.began
            self.watch(CallEnded(call.prompt, outcome, where, time.time() - seconds, seconds))

    # --- all attempts ---

    async def _persist(self, call: Call) -> Completion:
        try:
            return await self._attempt(call)
        except TransientError as first:
            return await self._again(call, first)

    async def _again(self, call: Call, first: TransientError) -> Completion:
        """All attempts after the first. The first has no retry overhead: most calls need only that one."""
        failed: list[TransientError] = [first]
        retrying = self._policy.retrying(call, self._rest, self._count_retry)
        try:
            async for attempt in retrying:
                with attempt:
                    if failed:
                        raise failed.pop()
                    return await self._attempt(call)
        except TransientError as last:
            raise RetriesExhausted(f"{last} (after {call.attempts} attempts)") from last
        raise AssertionError("tenacity returned without an outcome")

    def _count_retry(self, state: RetryCallState) -> None:
        assert state.outcome is not None
        self.counts.retried += not spared(state.outcome.exception())

    async def _rest(self, seconds: float) -> None:
        """Sleeps. Raises the reason if the run is halted, since nothing more is sent then."""
        self._halt.check()
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                raise await self._halt.wait()
        except TimeoutError:
            return

    def _refused(self, error: PermanentError, endpoint: Endpoint, route: str) -> None:
        """Retires an endpoint that has never answered and keeps refusing: the calls are not at fault."""
        if not isinstance(error, BadRequest) or isinstance(error, ContextExceeded) or endpoint.answered:
            return
        endpoint.refusals += 1
        if endpoint.refusals >= REFUSALS:
            reason = EndpointError(f"{endpoint.name} refuses every request: {error}")
            endpoint.retire(reason)
            self._elsewhere(reason, endpoint, route)

    def _elsewhere(self, reason: AuthError | EndpointError, endpoint: Endpoint, route: str) -> NoReturn:
        """Raises Rerouted if another endpoint could answer, otherwise the reason."""
        if self._limiter.others_than(endpoint, route):
            raise Rerouted(str(reason)) from reason
        raise reason

    # --- one attempt ---

    async def _attempt(self, call: Call) -> Completion:
        """Makes one attempt. Raises TransientError if a retry may help, if possible elsewhere."""
        lease, reservation = await self._admission.admitted(call)
        patience = None
        if self._hedge is not None:
            counts, route = self.counts, call.prompt.route
            patience = self._hedge.patience(lease.endpoint, route, counts.completed, counts.hedged)
        if self._hedge is None or patience is None:
            return (await self._sent(call, lease, reservation)).completion
        slow = lease.endpoint
        answer = await self._hedge.first_of(
            self._sent(call, lease, reservation), lambda: self._second(call.beside(), slow), patience
        )
        call.endpoint = answer.endpoint
        return answer.completion

    async def _second(self, call: Call, slow: Endpoint) -> Answer | None:
        """Sends the same prompt again if a place and money are free at once; otherwise returns None."""
        admitted = self._admission.at_once(call.prompt, slow)
        if admitted is None:
            return None
        self.counts.hedged += 1
        try:
            return await self._sent(call, *admitted)
        finally:
            call.ended()

    async def _sent(self, call: Call, lease: Lease, reservation: Reservation) -> Answer:
        """Sends the request; settles place and money whatever the outcome.

        Money that a failed attempt has not cost stays with the call, so that new calls do not take it.
        """
        endpoint, prompt, cost, again = lease.endpoint, call.prompt, 0, False
        call.sent(endpoint)
        attempts = call.attempts
        try:
            reply = await self._answer(endpoint, prompt, lease.allowed)
            usage = self._counted(prompt, lease, reply.usage, reply.text, reply.reasoning)
            endpoint.allowance.answered(prompt.purpose, usage.reasoning_tokens)
            cost = usage.cost
            now = self._clock()
            lease.succeeded(prompt.route, usage.prompt_tokens + usage.completion_tokens, now)
            seconds = round(now - call.began, 4)
            thought = reply.reasoning if endpoint.keeps_reasoning else ""
            completion = Completion(
                veiled(reply.text), veiled(reply.model), reply.finish_reason, usage, attempts, seconds,
                veiled(thought), reply.sent,
            )  # fmt: skip
            return Answer(completion, endpoint)
        except Renegotiated as error:
            again = True
            self._count_failure(error, 0)
            lease.refused(0)
            raise
        except SamplingFailed as error:
            cost = self._charge_of(error, lease, prompt, reservation)
            told = error.usage
            taken = (
                self._admission.whole(prompt) if told is None else told.prompt_tokens + told.completion_tokens
            )
            lease.refused(taken)
            raise
        except TransientError as error:
            cost = self._charge_of(error, lease, prompt, reservation)
            again = True
            call.failed(lease.sent, self._clock())
            lease.failed(error, prompt.route, self._clock())
            call.timeouts += isinstance(error, CallTimeout)
            if call.timeouts >= TIMEOUTS and prompt.size > 1:
                raise TooSlow(f"{error}, twice; generate.batch_size: {prompt.size} may be too many") from None
            raise
        except PermanentError as error:
            used = 0
            if error.usage is not None:
                error.usage = self._counted(prompt, lease, error.usage, getattr(error, "said", ""))
                cost, used = error.usage.cost, error.usage.prompt_tokens + error.usage.completion_tokens
            elif error.paid:
                cost, used = reservation.amount, self._admission.whole(prompt)
                self.counts.unconfirmed += cost
            lease.refused(used)
            if isinstance(error, Truncated):
                self._thought_away(error, call, lease)
            self._refused(error, endpoint, prompt.route)
            raise
        except (AuthError, EndpointError) as error:
            lease.failed(error, prompt.route, self._clock())
            self._elsewhere(error, endpoint, prompt.route)
        except BaseException:
            cost = reservation.amount  # the endpoint may charge for an answer that we do not wait for
            self.counts.unconfirmed += cost
            lease.abandoned()
            raise
        finally:
            if again and cost == 0 and call.kept is None:
                call.kept = reservation
            else:
                reservation.settle(cost)

    def _thought_away(self, error: Truncated, call: Call, lease: Lease) -> None:
        """An endpoint whose model never comes to an answer is not asked any more. Raises FatalError, Rerouted."""
        endpoint, prompt = lease.endpoint, call.prompt
        try:
            endpoint.thought_away(prompt.purpose, prompt.max_tokens, lease.allowed, str(error))
        except EndpointError as reason:
            endpoint.retire(reason)
            self._elsewhere(reason, endpoint, prompt.route)

    async def _answer(self, endpoint: Endpoint, prompt: Prompt, allowed: int) -> Completion:
        asked = replace(prompt, max_tokens=prompt.max_tokens + allowed) if allowed else prompt
        patience = endpoint.patience(prompt.route, self._policy.attempt_s)
        streaming = endpoint.streaming
        try:
            async with asyncio.timeout(patience) as limit:
                if streaming is None:
                    return await endpoint.backend.complete(asked)
                loop = asyncio.get_running_loop()

                began, pieces = loop.time(), 0

                def heard() -> None:
                    nonlocal pieces
                    pieces += 1
                    endpoint.heard()
                    limit.reschedule(patience + min(loop.time(), began + pieces * SLOWEST_PIECE_S))

                return await streaming.streamed(asked, heard)
        except TimeoutError:
            what = "no whole answer" if streaming is None else "nothing of an answer"
            raise CallTimeout(f"{what} within {patience:.0f} s (limits.attempt_timeout_s)") from None

    def _charge_of(
        self, error: TransientError, lease: Lease, prompt: Prompt, reservation: Reservation
    ) -> int:
        """Picodollars of a failed attempt: by its usage, or the worst case where it may have been charged."""
        if error.usage is not None:
            cost = self._counted(prompt, lease, error.usage, "").cost
        else:
            failed = isinstance(error, Unavailable) and not error.overloaded
            cost = reservation.amount if error.paid or (failed and lease.endpoint.charges_failures) else 0
        self._count_failure(error, cost)
        return cost

    def _count_failure(self, error: TransientError, cost: int) -> None:
        self.counts.unconfirmed += cost
        self.counts.rate_limited += isinstance(error, RateLimited)
        self.counts.errors[error.reason] = self.counts.errors.get(error.reason, 0) + 1

    def _counted(
        self, prompt: Prompt, lease: Lease, reported: Usage, text: str, reasoning: str = ""
    ) -> Usage:
        """The usage of an answer in tokens and picodollars, as far as it can be believed."""
        sent = Sent.of(prompt, self._admission.bound(prompt), prompt.max_tokens + lease.allowed)
        return self.accounts.counted(sent, lease.endpoint, reported, text, reasoning)

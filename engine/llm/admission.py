"""Lets an attempt go: a place at an endpoint, the money for its worst case, and both on record before it is sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping
from typing import Any

import orjson

from engine.flow.halt import Halt
from engine.items import Prompt
from engine.llm.budget import Budget, Reservation
from engine.llm.call import Call
from engine.llm.endpoint import Endpoint
from engine.llm.limiter import Lease, Limiter
from engine.llm.tokens import TokenEstimator, prompt_bound
from engine.protocols import CallJournal

PROBE_S = 5.0
"""Seconds that calls wait for the first one of their purpose: what is refused is refused at once."""


class Admission:
    """Between a call that waits and its attempt.

    Mutable state: the amount that the journal has authorized, `tokens` (what is known about tokens per character),
    the size of the last schema, the bound of the last prompt.
    """

    def __init__(self, journal: CallJournal, limiter: Limiter, budget: Budget, halt: Halt) -> None:
        self._journal = journal
        self._limiter = limiter
        self._budget = budget
        self._halt = halt
        self.tokens = TokenEstimator()
        self._schema: tuple[Mapping[str, Any], int] = ({}, 2)
        self._bound: tuple[Prompt | None, int] = (None, 0)
        self._authorized = 0
        self._authorizing = asyncio.Lock()

    async def admitted(self, call: Call) -> tuple[Lease, Reservation]:
        """Gets a place and the money for one attempt. A call that waits for money gives its place back."""
        prompt, tokens = call.prompt, self.whole(call.prompt)
        lease = await self._place(call, tokens)
        worst = self._worst(prompt, lease)
        reservation = call.money_for(worst) or self._budget.try_reserve(worst, prompt.priority)
        while reservation is None:
            lease.unsent()
            held = await self._budget.reserve(worst, prompt.priority, call.ticket)
            try:
                lease = await self._place(call, tokens)
            except BaseException:
                held.settle(0)
                raise
            needed = self._worst(prompt, lease)
            if needed <= worst:
                reservation = held
            else:  # another endpoint, with a higher price
                held.settle(0)
                worst, reservation = needed, self._budget.try_reserve(needed, prompt.priority)
        try:
            self._halt.check()
            if self._budget.exposed > self._authorized:
                await self._authorize(worst)
            self._on_record(prompt, lease, reservation)
        except BaseException:
            reservation.settle(0)
            lease.unsent()
            raise
        return lease, reservation

    def _on_record(self, prompt: Prompt, lease: Lease, reservation: Reservation) -> None:
        """Journals that the call is sent, so that a kill is charged what its calls in flight may well have cost."""
        if reservation.amount:
            likely = lease.endpoint.price.worst(*self.tokens.likely(prompt, self.bound(prompt)))
            self._journal.sending(prompt.key, min(reservation.amount, likely))

    def at_once(self, prompt: Prompt, slow: Endpoint) -> tuple[Lease, Reservation] | None:
        """Place and money for a second attempt beside that at `slow`, if both are free now and need no journal."""
        if self._halt.reason is not None:
            return None
        lease = self._limiter.try_acquire(self.whole(prompt), prompt.route, slow)
        if lease is None:
            return None
        if lease.probe(prompt.purpose) is not None:
            lease.unsent()
            return None
        reservation = self._budget.try_reserve(self._worst(prompt, lease), prompt.priority)
        if reservation is None or self._budget.exposed > self._authorized:
            if reservation is not None:
                reservation.settle(0)
            lease.unsent()
            return None
        self._on_record(prompt, lease, reservation)
        return lease, reservation

    async def _place(self, call: Call, tokens: int) -> Lease:
        """A place at an endpoint that is known to accept such calls, or at one where this call finds that out."""
        prompt, failed, patient = call.prompt, call.endpoint, True
        while True:
            lease = await self._limiter.acquire(tokens, prompt.priority, prompt.route, failed, call.ticket)
            probe = lease.probe(prompt.purpose) if patient else None
            if probe is None:
                return lease
            lease.unsent()
            patient = await self._unless_halted(probe.wait(), PROBE_S)

    async def _unless_halted(self, waiting: Coroutine[Any, Any, object], seconds: float) -> bool:
        """Waits so long at most; False if that was too short. Raises the reason if the run is halted before."""
        self._halt.check()
        tasks = [asyncio.create_task(waiting), asyncio.create_task(self._halt.wait())]
        try:
            done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        self._halt.check()
        return bool(done)

    async def _authorize(self, worst: int) -> None:
        """Journals the most that this start may spend before it spends it, so that a kill cannot hide it.

        The amount is the worst case of all calls in flight, so that one entry serves many calls.
        """
        async with self._authorizing:
            if self._budget.exposed > self._authorized:
                ceiling = self._budget.reachable(self._limiter.concurrency * worst)
                await self._journal.authorize(ceiling)
                self._authorized = ceiling

    def whole(self, prompt: Prompt) -> int:
        """Tokens to reserve: the estimate, or with all of `max_tokens` if an endpoint counts them upfront."""
        if self._limiter.charges_max_tokens_upfront:
            allowed = max(each.allowance.of(prompt.purpose) for each in self._limiter.endpoints)
            return self.tokens.prompt(prompt) + prompt.max_tokens + allowed
        return self.tokens.whole(prompt)

    def _worst(self, prompt: Prompt, lease: Lease) -> int:
        """The most that the attempt can cost. Fixes how many tokens it allows for reasoning."""
        lease.allowed = lease.endpoint.allowance.of(prompt.purpose)
        limit = math.ceil((prompt.max_tokens + lease.allowed) * lease.endpoint.overlong)
        return lease.endpoint.price.worst(self.bound(prompt), limit)

    def bound(self, prompt: Prompt) -> int:
        """The most tokens that the prompt can have."""
        if prompt is self._bound[0]:  # it is asked for again and again while a call is admitted
            return self._bound[1]
        schema, size = self._schema
        if schema is not prompt.schema:
            size = len(orjson.dumps(prompt.schema))
            self._schema = prompt.schema, size
        self._bound = prompt, prompt_bound(prompt, size)
        return self._bound[1]

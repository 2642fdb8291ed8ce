"""Admits calls to endpoints: one queue for each set of endpoints, within their limits and the run's."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from itertools import count
from typing import NamedTuple

from engine.errors import AuthError, EndpointDown, EndpointError, EngineError, FatalError, NoCapacity
from engine.items import NO_LIMITS, RateLimits
from engine.llm.choose import SLOW, Waiting, choose, too_slow
from engine.llm.coordination import InProcess
from engine.llm.endpoint import Endpoint
from engine.llm.pacing import Clock
from engine.llm.rates import Rates, Taken
from engine.llm.wait_queue import Waiter, WaitQueue
from engine.protocols import Coordinator

TAKEN_S = 0.002
"""Seconds to wait after another process took a shared rate first."""


class LimiterStatistics(NamedTuple):
    in_flight: int
    waiting: int


class Route:
    """The endpoints for one kind of call, and the calls waiting for them. Mutable state: why it is closed."""

    def __init__(self, endpoints: Sequence[Endpoint], queue: WaitQueue[Lease]) -> None:
        self.endpoints = endpoints
        self.queue = queue
        self.closed: FatalError | None = None

    def close(self, reason: FatalError) -> None:
        """Admits no more calls here: waiting and new calls get the reason."""
        self.closed = reason
        self.queue.dismiss(reason)


class Lease:
    """The right to one attempt at `endpoint`. End it with exactly one of its methods."""

    __slots__ = ("_limiter", "_overall", "_probed", "_route", "_taken", "allowed", "endpoint", "sent")

    def __init__(
        self,
        limiter: Limiter,
        route: Route,
        endpoint: Endpoint,
        taken: Taken,
        overall: Taken,
        sent: float,
    ) -> None:
        self._limiter = limiter
        self._route = route
        self.endpoint = endpoint
        self._taken = taken
        self._overall = overall
        self._probed: str | None = None
        self.allowed = 0
        """Tokens for reasoning that the attempt asks for, and money was set aside for."""
        self.sent = sent

    def probe(self, purpose: str) -> asyncio.Event | None:
        """None if a call for this purpose may be sent; otherwise what it must wait for, without this lease.

        The first call for a purpose finds out what the endpoint accepts; it is the probe until the lease ends.
        """
        other, first = self.endpoint.probes.enter(purpose)
        if first:
            self._probed = purpose
        return other

    def succeeded(self, route: str, used_tokens: int, now: float) -> None:
        """The attempt was answered. `used_tokens` corrects the estimate."""
        self.endpoint.succeeded(route, now - self.sent, self.sent)
        self._ended(used_tokens)

    def failed(self, error: EngineError, route: str, now: float) -> None:
        """The attempt got no answer, and the endpoint is the cause."""
        if isinstance(error, AuthError | EndpointError):
            self.endpoint.retire(error)
        else:
            self.endpoint.failed(error, self.sent, route, now - self.sent)
        if isinstance(error, NoCapacity):
            self._taken.unused()
            self._overall.unused()
        self._ended(None)

    def refused(self, used_tokens: int | None) -> None:
        """The attempt was refused or got a useless answer; the endpoint works."""
        self.endpoint.refused(self.sent, bool(used_tokens))
        self._ended(used_tokens)

    def abandoned(self) -> None:
        """The answer is no longer wanted; the endpoint may count it all the same."""
        self.endpoint.abandoned(self.sent)
        self._ended(None)

    def unsent(self) -> None:
        """The attempt was not sent after all."""
        self.endpoint.unsent(self._taken, self.sent)
        self._overall.unused()
        self._end_probe()
        self._limiter._released(self._route)

    def _ended(self, used: int | None) -> None:
        self.endpoint.ended(self._taken, used)
        self._limiter._rates.ended(self._overall, used)
        self._end_probe()
        self._limiter._released(self._route)

    def _end_probe(self) -> None:
        if self._probed is not None:
            self.endpoint.probes.leave(self._probed)
            self._probed = None


class Limiter:
    """First come, first served within a priority; the lowest priority number goes first.

    `choose` decides which call goes next and where; the Limiter keeps the queues and carries out the choices.
    A place that becomes free is passed on at once; if time must pass first, one timer wakes the head.
    Mutable state: the queues, the count in flight, the run's own rates, the timer.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        concurrency: int,
        limits: RateLimits = NO_LIMITS,
        *,
        others: Mapping[str, Sequence[Endpoint]] | None = None,
        coordinator: Coordinator | None = None,
        key: str = "",
        clock: Clock = time.monotonic,
    ) -> None:
        """`concurrency` and `limits` apply to all endpoints together; `others` answer single routes.

        `key` is the name of all endpoints together for the coordinator.
        """
        self._arrivals = arrivals = count()
        self._main = Route(endpoints, WaitQueue(arrivals))
        self._others = {name: Route(group, WaitQueue(arrivals)) for name, group in (others or {}).items()}
        self._routes = (self._main, *self._others.values())
        self._all = tuple(each for route in self._routes for each in route.endpoints)
        self._ceiling = concurrency
        self._rates = Rates(coordinator or InProcess(clock), key, limits)
        self._clock = clock
        self._in_flight = 0
        self._timer: asyncio.Handle | None = None
        self._wakes_at = 0.0
        self._closed: BaseException | None = None

    def endpoints_of(self, route: str) -> Sequence[Endpoint]:
        """Those that answer the calls of a route."""
        return self._route(route).endpoints

    def ticket(self) -> int:
        """A place in line, in the order of calls; a call keeps it through its attempts."""
        return next(self._arrivals)

    async def acquire(
        self,
        tokens: int = 0,
        priority: int = 0,
        route: str = "",
        avoid: Endpoint | None = None,
        ticket: int | None = None,
    ) -> Lease:
        """Waits for its turn. `tokens` estimates the whole attempt; `avoid` is the endpoint that just failed.

        `ticket` is the call's place in line; a new one by default.

        Raises the reason of `close`, or FatalError if no endpoint that could answer is left.
        """
        there = self._route(route)
        self._check(there)
        if (lease := self.try_acquire(tokens, route, avoid)) is not None:
            return lease
        future = there.queue.join(priority, tokens, avoid, ticket)
        head = there.queue.head
        if head is not None and head.future is future:  # behind another it changes nothing
            self._advance()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().unsent()  # granted and cancelled at the same time
            self._advance()  # the head of the queue may have changed
            raise

    def try_acquire(self, tokens: int = 0, route: str = "", avoid: Endpoint | None = None) -> Lease | None:
        """A place that is free now, if no call is waiting; otherwise None."""
        if self._in_flight >= self._ceiling:
            return None
        for other in self._routes:
            if other.queue.head is not None:
                return None
        there = self._route(route)
        admission = choose([self._waiting(there, tokens, avoid, self._clock())])
        if admission.endpoint is None:
            return None
        return self._grant(there, there.endpoints[admission.endpoint], tokens)

    def others_than(self, endpoint: Endpoint, route: str) -> bool:
        """Whether another endpoint could answer instead."""
        return any(each is not endpoint and each.retired is None for each in self._route(route).endpoints)

    def close(self, reason: BaseException) -> None:
        """Admits no more calls: waiting and new calls get the reason."""
        self._closed = reason
        for route in self._routes:
            route.queue.dismiss(reason)
        self._unset()

    @property
    def concurrency(self) -> int:
        """How many calls may be in flight at present."""
        return max(1, min(self._ceiling, math.ceil(sum(each.concurrency.limit for each in self._all))))

    @property
    def charges_max_tokens_upfront(self) -> bool:
        """Whether an endpoint counts a call's `max_tokens` as used when the call arrives."""
        return any(endpoint.rates.charges_max_tokens_upfront for endpoint in self._all)

    def _route(self, name: str) -> Route:
        return self._others.get(name, self._main) if self._others else self._main

    def _check(self, route: Route) -> None:
        if self._closed is not None:
            raise self._closed
        if route.closed is not None:
            raise route.closed

    # --- letting in ---

    def _advance(self) -> None:
        """Admits all calls that may go now, and sets the timer for the next one."""
        wait = self._let_in()
        if wait is None:
            return
        loop = asyncio.get_running_loop()
        wakes_at = loop.time() + wait
        if self._timer is not None:
            if self._wakes_at <= wakes_at + 1e-3:
                return  # it wakes in time and checks again
            self._timer.cancel()
        self._timer = loop.call_later(wait, self._wake)
        self._wakes_at = wakes_at

    def _wake(self) -> None:
        self._timer = None
        self._advance()

    def _let_in(self) -> float | None:
        """Seconds until a call may be admitted; None if none waits, or if another call must end first."""
        while self._in_flight < self._ceiling and (heads := self._heads()):
            now = self._clock()
            admission = choose([self._waiting(route, head.amount, head.avoid, now) for route, head in heads])
            if admission.closed is not None:
                self._give_up(heads[admission.closed][0], now)
            elif admission.line is not None and admission.endpoint is not None:
                route, head = heads[admission.line]
                lease = self._grant(route, route.endpoints[admission.endpoint], head.amount)
                if lease is None:
                    return TAKEN_S
                route.queue.pop().future.set_result(lease)
                if len(self._all) == 1 and lease.endpoint.is_full:
                    return None  # as `choose` would find
            else:
                return admission.wait
        return None

    def _heads(self) -> list[tuple[Route, Waiter[Lease]]]:
        """The first call in each queue, in order of priority and arrival."""
        if not self._others:
            head = self._main.queue.head
            return [] if head is None else [(self._main, head)]
        heads = [(route, head) for route in self._routes if (head := route.queue.head) is not None]
        return sorted(heads, key=lambda pair: pair[1][:2])

    def _waiting(self, route: Route, tokens: int, avoid: object, now: float) -> Waiting:
        """The input of `choose` for a call at the head of its queue."""
        overall = self._rates.wait(tokens) if self._in_flight < self._ceiling else None
        return Waiting(overall, [each.candidate(tokens, now, avoid) for each in route.endpoints])

    def _give_up(self, route: Route, now: float) -> None:
        """Closes a route whose endpoints are all out for longer than the patience for them."""
        if len(route.endpoints) == 1 and (retired := route.endpoints[0].retired) is not None:
            route.close(retired)
            return
        reasons = [reason for each in route.endpoints if (reason := each.given_up(now))]
        route.close(EndpointDown("; ".join(reasons)))

    def _grant(self, route: Route, endpoint: Endpoint, tokens: int) -> Lease | None:
        """Admits the call; None if another process has used up a shared rate in the meantime."""
        overall = self._rates.take(tokens)
        if overall is None:
            return None
        taken = endpoint.admit(tokens)
        if taken is None:
            overall.unused()
            return None
        self._in_flight += 1
        return Lease(self, route, endpoint, taken, overall, self._clock())

    def _released(self, route: Route) -> None:
        self._in_flight -= 1
        if len(route.endpoints) > 1:
            _compare(route.endpoints)
        self._advance()

    def _unset(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- for people ---

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return self._all

    def statistics(self) -> LimiterStatistics:
        waiting = sum(len(route.queue) for route in self._routes)
        return LimiterStatistics(self._in_flight, waiting)

    def __repr__(self) -> str:
        return (
            f"<Limiter {self._in_flight}/{self.concurrency} in flight, {self.statistics().waiting} waiting>"
        )


def _compare(endpoints: Sequence[Endpoint]) -> None:
    """Rests each endpoint that takes far longer than the quickest one for the same work."""
    speeds = [endpoint.speed() for endpoint in endpoints]
    for place, quickest in too_slow(speeds):
        least = speeds[quickest].seconds
        why = f"{speeds[place].seconds:.1f} s a call, where {endpoints[quickest].name} takes {least:.1f} s"
        endpoints[place].rest(why, SLOW * least)

"""Who may send next, and where: one line for each set of endpoints, in front of their limits and the run's."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from itertools import count
from typing import NamedTuple

from engine.errors import AuthError, EndpointDown, EndpointError, EngineError, FatalError
from engine.llm.coordination import InProcess
from engine.llm.endpoint import Endpoint
from engine.llm.pacing import Clock
from engine.llm.rates import Taken, take_both
from engine.llm.wait_queue import Line, Waiter
from engine.protocols import Coordinator

TAKEN_S = 0.002
"""To wait where another process was quicker."""
SLOW = 5.0
"""Of several endpoints, one that takes so many times as long as the quickest is taken out for a while."""
_COMPARED = 20


class LimiterStatistics(NamedTuple):
    in_flight: int
    peak_in_flight: int
    waiting: int
    admitted: int


class Route:
    """The endpoints that answer one kind of call, and who waits for them. Mutable state: why it is closed."""

    def __init__(self, endpoints: Sequence[Endpoint], line: Line[Lease]) -> None:
        self.endpoints = endpoints
        self.line = line
        self.closed: FatalError | None = None


class Lease:
    """The right to one attempt at `endpoint`. End it with exactly one of its methods."""

    __slots__ = ("_limiter", "_overall", "_route", "_taken", "endpoint", "sent")

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
        self.sent = sent

    def succeeded(self, purpose: str, used_tokens: int, now: float) -> None:
        """Answered. `used_tokens` corrects the estimate."""
        self.endpoint.succeeded(purpose, now - self.sent, self.sent)
        self._ended(used_tokens)

    def failed(self, error: EngineError, purpose: str, now: float) -> None:
        """No answer, and the endpoint's doing."""
        if isinstance(error, AuthError | EndpointError):
            self.endpoint.retire(error)
        else:
            self.endpoint.failed(error, self.sent, purpose, now - self.sent)
        self._ended(None)

    def refused(self, used_tokens: int | None) -> None:
        """An answer, though of no use to this call: the endpoint is well."""
        self.endpoint.refused(self.sent, bool(used_tokens))
        self._ended(used_tokens)

    def abandoned(self, used_tokens: int | None = 0) -> None:
        """Not sent after all, or nobody waits for it any more."""
        self.endpoint.abandoned(self.sent)
        self._ended(used_tokens)

    def _ended(self, used: int | None) -> None:
        self.endpoint.ended(self._taken, used)
        self._limiter._released(self._route, self._overall, used)


class Limiter:
    """First come, first served within a priority; the lowest priority number goes first.

    A call goes to the endpoint that can take it now and has the fewest in flight for its weight, else to the
    first that can. A place that becomes free is handed on in the same instant. Where time must pass first, one
    timer wakes the head of the line.
    Mutable state: the lines, the count in flight, the run's own rates, the timer.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        *,
        others: Mapping[str, Sequence[Endpoint]] | None = None,
        patience: float = 3600.0,
        first_patience: float = 30.0,
        coordinator: Coordinator | None = None,
        key: str = "",
        clock: Clock = time.monotonic,
    ) -> None:
        """`others` answer single purposes; `concurrency` and the rates hold for all endpoints together.

        `key` names all of them together to the coordinator.
        `patience`: seconds that an endpoint which has answered may be down; `first_patience`: one that never has.
        """
        arrivals = count()
        self._main = Route(endpoints, Line(arrivals))
        self._others = {purpose: Route(found, Line(arrivals)) for purpose, found in (others or {}).items()}
        self._routes = (self._main, *self._others.values())
        self._all = tuple(each for route in self._routes for each in route.endpoints)
        self._ceiling = concurrency
        rates = coordinator or InProcess(clock)
        self._requests = rates.rate(key, "requests", requests_per_minute) if requests_per_minute else None
        self._tokens = rates.rate(key, "tokens", tokens_per_minute) if tokens_per_minute else None
        self._patience = patience
        self._first_patience = first_patience
        self._clock = clock
        self._in_flight = 0
        self._peak = 0
        self._admitted = 0
        self._timer: asyncio.Handle | None = None
        self._wakes_at = 0.0
        self._closed: BaseException | None = None

    async def acquire(
        self, tokens: int = 0, priority: int = 0, purpose: str = "", avoid: Endpoint | None = None
    ) -> Lease:
        """Waits its turn. `tokens` is the estimate for the whole attempt; `avoid` has just failed it.

        Raises the reason of `close`, or FatalError where no endpoint is left that could answer.
        """
        route = self._others.get(purpose, self._main) if self._others else self._main
        self._check(route)
        if route.line.head is None and (lease := self.try_acquire(tokens, purpose, avoid)) is not None:
            return lease
        future = route.line.join(priority, tokens, avoid)
        self._advance()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().abandoned()  # granted in the same instant as cancelled
            self._advance()  # the head of the line may be another now
            raise

    def try_acquire(self, tokens: int = 0, purpose: str = "", avoid: Endpoint | None = None) -> Lease | None:
        """A place that is free now and that nobody waits for."""
        route = self._others.get(purpose, self._main) if self._others else self._main
        for other in self._routes:
            if other.line.head is not None:
                return None
        if self._overall(tokens) != 0:
            return None
        wait, endpoint = self._choice(route, tokens, avoid)
        return self._grant(route, endpoint, tokens) if wait == 0 and endpoint is not None else None

    def others_than(self, endpoint: Endpoint, purpose: str) -> bool:
        """Whether anyone else could answer in its place."""
        route = self._others.get(purpose, self._main)
        return any(each is not endpoint and each.retired is None for each in route.endpoints)

    def close(self, reason: BaseException) -> None:
        """Nobody is admitted any more: those in line, and those who come, get the reason."""
        self._closed = reason
        for route in self._routes:
            route.line.dismiss(reason)
        self._unset()

    @property
    def concurrency(self) -> int:
        """How many calls may be in flight as things stand."""
        return max(1, min(self._ceiling, math.ceil(sum(each.concurrency.limit for each in self._all))))

    @property
    def holds_longest(self) -> bool:
        """Whether an endpoint takes a call's `max_tokens` for used as soon as the call comes."""
        return any(endpoint.holds_longest for endpoint in self._all)

    def _check(self, route: Route) -> None:
        if self._closed is not None:
            raise self._closed
        if route.closed is not None:
            raise route.closed

    # --- letting in ---

    def _advance(self) -> None:
        """Let in whoever may go now; see to it that the next one is let in when time has passed."""
        wait = self._let_in()
        if wait is None:
            return
        loop = asyncio.get_running_loop()
        wakes_at = loop.time() + wait
        if self._timer is not None:
            if self._wakes_at <= wakes_at + 1e-3:
                return  # it wakes in time, and looks again
            self._timer.cancel()
        self._timer = loop.call_later(wait, self._wake)
        self._wakes_at = wakes_at

    def _wake(self) -> None:
        self._timer = None
        self._advance()

    def _let_in(self) -> float | None:
        """Seconds until somebody may be let in; None where nobody waits, or only an ending call changes that."""
        while True:
            nearest: float | None = None
            for route, head in self._heads():
                overall = self._overall(head.amount)
                if overall is None:
                    return nearest
                wait, endpoint = self._choice(route, head.amount, head.avoid)
                if endpoint is None and wait is None and self._hopeless(route):
                    break
                if wait == 0 and overall == 0 and endpoint is not None:
                    if (lease := self._grant(route, endpoint, head.amount)) is not None:
                        route.line.pop().future.set_result(lease)
                        break
                    wait = TAKEN_S
                if overall > 0:  # who waits for the run's own rate is passed by nobody
                    return overall if nearest is None else min(nearest, overall)
                if wait is not None:
                    nearest = wait if nearest is None else min(nearest, wait)
            else:
                return nearest

    def _heads(self) -> list[tuple[Route, Waiter[Lease]]]:
        """The first in each line, by priority and arrival."""
        if not self._others:
            head = self._main.line.head
            return [] if head is None else [(self._main, head)]
        heads = [(route, head) for route in self._routes if (head := route.line.head) is not None]
        return sorted(heads, key=lambda pair: pair[1][:2])

    def _overall(self, tokens: int) -> float | None:
        """Seconds until the run's own limits allow it; None until another call has ended."""
        if self._in_flight >= self._ceiling:
            return None
        wait = self._requests.wait() if self._requests is not None else 0.0
        return max(wait, self._tokens.wait(tokens)) if self._tokens is not None else wait

    def _choice(self, route: Route, tokens: int, avoid: object) -> tuple[float | None, Endpoint | None]:
        """(seconds, endpoint): who can take the call soonest; no endpoint where none may at all."""
        if len(route.endpoints) == 1:
            [only] = route.endpoints
            return (None, None) if self._lost(only) else (self._until(only, tokens), only)
        best: tuple[float, float, int] | None = None
        chosen: Endpoint | None = None
        waiting = False
        for place, endpoint in enumerate(route.endpoints):
            if self._lost(endpoint):
                continue
            waiting = True
            if (wait := self._until(endpoint, tokens)) is None:
                continue
            load = (endpoint.in_flight + 1) / endpoint.weight
            rank = (wait, math.inf if endpoint is avoid else load, place)
            if best is None or rank < best:
                best, chosen = rank, endpoint
        if best is None:
            return None, route.endpoints[0] if waiting else None
        return best[0], chosen

    def _until(self, endpoint: Endpoint, tokens: int) -> float | None:
        """As `Endpoint.wait`, but no longer than there is hope."""
        wait = endpoint.wait(tokens)
        if wait and endpoint.troubled:
            left = endpoint.hope_left(self._clock(), self._patience, self._first_patience)
            return max(1e-3, min(wait, left + 1e-3))
        return wait

    def _lost(self, endpoint: Endpoint) -> bool:
        """Retired, or out for longer than there is patience; not while a try is under way."""
        if endpoint.retired is not None:
            return True
        if not endpoint.troubled or endpoint.breaker.trying:
            return False
        return bool(endpoint.lost_hope(self._clock(), self._patience, self._first_patience))

    def _hopeless(self, route: Route) -> bool:
        """Every endpoint is out: those in line hear why. Only called where `_choice` found none."""
        now = self._clock()
        reasons = [each.lost_hope(now, self._patience, self._first_patience) for each in route.endpoints]
        retired = route.endpoints[0].retired
        if len(route.endpoints) == 1 and retired is not None:
            route.closed = retired
        else:
            route.closed = EndpointDown("; ".join(reason for reason in reasons if reason))
        route.line.dismiss(route.closed)
        return True

    def _grant(self, route: Route, endpoint: Endpoint, tokens: int) -> Lease | None:
        """None where another process has taken the last of a shared rate since we looked."""
        overall = take_both(self._requests, self._tokens, tokens)
        taken = endpoint.take(tokens) if overall is not None else None
        if overall is None or taken is None:
            if overall is not None:
                overall.give_back(0, 0)
            return None
        self._in_flight += 1
        self._admitted += 1
        self._peak = max(self._peak, self._in_flight)
        return Lease(self, route, endpoint, taken, overall, self._clock())

    def _released(self, route: Route, overall: Taken, used: int | None) -> None:
        self._in_flight -= 1
        if used is not None:
            overall.give_back(1, used)
        if len(route.endpoints) > 1:
            _compare(route.endpoints)
        self._advance()

    def _unset(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- looking ---

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All of them, for looking at."""
        return self._all

    def statistics(self) -> LimiterStatistics:
        waiting = sum(len(route.line) for route in self._routes)
        return LimiterStatistics(self._in_flight, self._peak, waiting, self._admitted)

    def __repr__(self) -> str:
        return (
            f"<Limiter {self._in_flight}/{self.concurrency} in flight, {self.statistics().waiting} waiting>"
        )


def _compare(endpoints: Sequence[Endpoint]) -> None:
    """Of endpoints that do the same work, one that takes far longer than the quickest rests."""
    known = [
        each
        for each in endpoints
        if each.compared >= _COMPARED and not each.troubled and each.retired is None
    ]
    if len(known) < 2:
        return
    quickest = min(known, key=lambda each: each.recent)
    for endpoint in known:
        if endpoint.recent > SLOW * quickest.recent:
            why = f"{endpoint.recent:.1f} s a call, where {quickest.name} takes {quickest.recent:.1f} s"
            endpoint.rest(why, SLOW * quickest.recent)

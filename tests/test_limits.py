"""Laws 3, 4, 5 and 10: the budget, the rate limits, the line."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints import Script
from endpoints import limiter as limiter_for
from engine.errors import BudgetExhausted, Interrupted
from engine.items import RateLimits
from engine.llm.budget import Budget
from engine.llm.concurrency import Concurrency
from engine.llm.coordination import InProcess
from engine.llm.endpoint import Endpoint, EndpointSpec
from engine.llm.limiter import Lease, Limiter
from engine.llm.pacing import CATCH_UP_S, PERIOD, Gcra
from engine.llm.rates import Rates


async def spin(times: int = 20) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def windows_hold(log: list[tuple[float, float]], limit: float) -> bool:
    """No window of the period, wherever it begins, holds more than the limit."""
    return all(
        sum(amount for at, amount in log if start <= at < start + PERIOD) <= limit + 1e-6 for start, _ in log
    )


@given(st.floats(0.05, 5000), st.lists(st.floats(0, 3), min_size=1, max_size=60), st.integers(0, 2**32))
def test_no_minute_holds_too_many_requests(per_minute: float, pauses: list[float], seed: int) -> None:
    clock, chance = Clock(), random.Random(seed)
    pace, log = Gcra(per_minute, clock), []
    for _ in range(min(150, int(per_minute * 3) + 3)):
        clock.now += chance.choice(pauses) if chance.random() < 0.1 else 0.0
        clock.now += pace.wait() + 1e-9
        assert pace.wait() <= 1e-6
        pace.take()
        log.append((clock.now, 1.0))
    assert windows_hold(log, max(1.0, per_minute))
    if per_minute < 1:
        assert all(later - at >= PERIOD / per_minute - 1e-3 for (at, _), (later, _) in pairwise(log))


def test_timers_that_wake_late_cost_no_rate() -> None:
    """A thousand a minute, looked at every 60 ms only: all of them leave all the same."""
    clock = Clock()
    pace, sent = Gcra(1000, clock), 0
    end = clock.now + PERIOD
    while clock.now < end:
        while pace.wait() == 0:
            pace.take()
            sent += 1
        clock.now += 0.06
    assert 985 <= sent <= 1000


@given(
    st.integers(100, 100_000),
    st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 1), st.floats(0, 20)), min_size=1, max_size=80),
)
def test_no_minute_holds_too_many_tokens(limit: int, calls: list[tuple[int, float, float]]) -> None:
    clock = Clock()
    pace, log = Gcra(limit, clock), []
    for tokens, used, pause in calls:
        clock.now += pace.wait(tokens) + 1e-9
        assert pace.wait(tokens) <= 1e-6
        entry = pace.take(tokens)
        held = min(tokens, limit)
        if used < 0.5:
            pace.give_back(entry, int(held * used))
            held = int(held * used)
        log.append((clock.now, float(held)))
        clock.now += pause
    assert windows_hold(log, limit)


def test_tokens_that_were_not_used_come_back() -> None:
    clock = Clock()
    pace = Gcra(6000, clock)
    entry = pace.take(6000)
    assert pace.wait(100) == pytest.approx(60)
    pace.give_back(entry, 100)
    assert pace.wait(100) == pytest.approx(1 - CATCH_UP_S)


async def admitted(limiter: Limiter, calls: list[tuple[int, int]]) -> list[int]:
    """The order in which (tokens, priority) calls that arrive together are admitted, one at a time."""
    order: list[int] = []

    async def call(number: int, tokens: int, priority: int) -> None:
        lease = await limiter.acquire(tokens, priority)
        order.append(number)
        await asyncio.sleep(0)
        lease.unsent()

    blocker = await limiter.acquire()
    tasks = [asyncio.create_task(call(n, tokens, priority)) for n, (tokens, priority) in enumerate(calls)]
    await spin()
    assert not order
    blocker.unsent()
    await asyncio.gather(*tasks)
    return order


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(-3, 0)), max_size=30))
def test_first_come_first_served_within_a_priority(calls: list[tuple[int, int]]) -> None:
    order = asyncio.run(admitted(limiter_for(1), calls))
    assert order == sorted(range(len(calls)), key=lambda number: (calls[number][1], number))


async def test_a_large_call_is_not_starved_by_small_ones() -> None:
    limiter = limiter_for(10, tokens=6e8)
    assert await admitted(limiter_for(1, tokens=6e8), [(1_000_000, 0), *[(1, 0)] * 40]) == list(range(41))
    assert limiter.statistics().in_flight == 0


async def test_concurrency_is_never_passed() -> None:
    limiter = limiter_for(7)
    seen = []

    async def call() -> None:
        lease = await limiter.acquire()
        seen.append(limiter.statistics().in_flight)
        await asyncio.sleep(0)
        lease.unsent()

    await asyncio.gather(*(call() for _ in range(200)))
    assert (max(seen), len(seen)) == (7, 200)
    assert limiter.statistics() == (0, 0)


async def test_who_is_cancelled_in_line_gives_up_the_place() -> None:
    limiter = limiter_for(1)
    held = await limiter.acquire()
    tasks = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
    await spin()
    tasks[0].cancel()
    held.unsent()
    lease: Lease = await tasks[1]
    tasks[2].cancel()
    lease.unsent()
    await spin()
    assert limiter.statistics() == (0, 0)


async def test_a_closed_limiter_and_budget_send_everyone_home() -> None:
    limiter, budget = limiter_for(1), Budget(10)
    await limiter.acquire()
    await budget.reserve(10)
    waiting = [asyncio.create_task(limiter.acquire()), asyncio.create_task(budget.reserve(5))]
    await spin()
    limiter.close(Interrupted("stop"))
    budget.close(Interrupted("stop"))
    for task in waiting:
        with pytest.raises(Interrupted):
            await task
    with pytest.raises(Interrupted):
        await limiter.acquire()


async def test_waiting_costs_nothing() -> None:
    """A thousand waiters: nothing is scheduled, nothing is ready, until something happens."""
    limiter, budget = limiter_for(1), Budget(10)
    lease, reservation = await limiter.acquire(), await budget.reserve(10)
    tasks = [asyncio.create_task(limiter.acquire()) for _ in range(500)]
    tasks += [asyncio.create_task(budget.reserve(1)) for _ in range(500)]  # type: ignore[misc]
    await spin(50)
    loop = asyncio.get_running_loop()
    assert not loop._ready  # type: ignore[attr-defined]
    assert not loop._scheduled  # type: ignore[attr-defined]
    for task in tasks:
        task.cancel()
    lease.unsent()
    reservation.settle(0)


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.integers(1, 300), st.floats(0, 1), st.integers(-2, 0)), max_size=60),
    st.integers(0, 2**32),
)
def test_never_over(cap: int, calls: list[tuple[int, float, int]], seed: int) -> None:
    async def everything() -> None:
        chance, budget = random.Random(seed), Budget(cap)
        refused = 0

        async def call(worst: int, share: float, priority: int) -> None:
            nonlocal refused
            try:
                reservation = await budget.reserve(worst, priority)
            except BudgetExhausted:
                refused += 1
                assert budget.spent + max(most for most, _, _ in calls) > cap
                return
            for _ in range(chance.randint(0, 5)):
                assert budget.spent + budget.reserved <= cap
                await asyncio.sleep(0)
            reservation.settle(int(worst * share))
            assert budget.spent + budget.reserved <= cap

        await asyncio.gather(*(call(*each) for each in calls))
        assert budget.reserved == 0
        assert budget.statistics().outstanding == 0
        assert budget.statistics().waiting == 0

    asyncio.run(everything())


async def test_a_call_waits_for_money_that_may_come_back() -> None:
    budget = Budget(100)
    first = await budget.reserve(80)
    second = asyncio.create_task(budget.reserve(50))
    await spin()
    assert not second.done()
    first.settle(10)
    assert (await second).amount == 50


async def test_downstream_gets_the_money_first() -> None:
    budget, order = Budget(100), []
    first = await budget.reserve(100)

    async def call(name: str, priority: int) -> None:
        reservation = await budget.reserve(100, priority)
        order.append(name)
        reservation.settle(0)

    tasks = [asyncio.create_task(call("generate", 0)), asyncio.create_task(call("validate", -1))]
    await spin()
    first.settle(0)
    await asyncio.gather(*tasks)
    assert order == ["validate", "generate"]


async def test_what_is_authorized_stays_within_the_cap() -> None:
    budget = Budget(100, spent=30)
    await budget.reserve(20)
    assert (budget.exposed, budget.reachable(10), budget.reachable(1000)) == (20, 30, 70)
    assert Budget(None, spent=30).reachable(1000) == 1000


async def test_no_cap_is_no_cap() -> None:
    budget = Budget(None)
    for _ in range(10):
        await budget.reserve(10**18)
    assert budget.reserved == 10**19


def test_waits_too_short_for_a_timer_are_waits_too() -> None:
    """uvloop's clock has milliseconds: a shorter wait is no timer there."""
    uvloop = pytest.importorskip("uvloop")

    async def all_of_them() -> None:
        limiter = limiter_for(100, requests=120_000)

        async def call() -> None:
            lease = await limiter.acquire()
            await asyncio.sleep(0.001)
            lease.unsent()

        await asyncio.gather(*(call() for _ in range(600)))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(all_of_them())


def test_a_lower_limit_counts_what_has_been_sent() -> None:
    clock = Clock()
    rates = Rates(InProcess(clock), "e", RateLimits(requests=600, tokens=60_000))
    for _ in range(100):
        clock.now += rates.wait(10)
        taken = rates.take(10)
        assert taken is not None
    assert [kind for kind, _ in rates.heed(RateLimits(requests=60, tokens=None))] == ["requests"]
    assert rates.wait(10) > 45  # 100 in the last 10 seconds, and now 60 a minute
    clock.now += PERIOD + 1
    assert rates.wait(10) == 0


async def test_a_place_that_is_given_back_unsent_costs_no_rate() -> None:
    clock = Clock()
    endpoint = Endpoint(
        Script(), Concurrency(4, first=4), EndpointSpec(limits=RateLimits(2, None)), clock=clock
    )
    limiter = Limiter([endpoint], 4, RateLimits(2, None), clock=clock)
    for _ in range(5):
        (await limiter.acquire()).unsent()
    assert endpoint.rates.wait(0) == limiter._rates.wait(0) == 0
    (await limiter.acquire()).abandoned()  # was sent
    assert endpoint.rates.wait(0) > 0


class Refusing:
    """A Rate, or the Coordinator of several: another process uses up the tokens between `wait` and `take`."""

    def __init__(self, kind: str = "") -> None:
        self.kind = kind
        self.held = 0
        self.rates: dict[str, Refusing] = {}

    def rate(self, endpoint: str, kind: str, per_minute: float) -> Refusing:
        return self.rates.setdefault(kind, Refusing(kind))

    def wait(self, amount: int = 1) -> float:
        return 0.0

    def take(self, amount: int = 1) -> int | None:
        if self.kind == "tokens":
            return None
        self.held += amount
        return amount

    def give_back(self, entry: int, used: int) -> None:
        self.held += used - entry

    def change(self, per_minute: float) -> None: ...

    def close(self) -> None: ...


async def test_a_call_that_one_rate_refuses_takes_nothing_from_the_others() -> None:
    both = Refusing()
    assert Rates(both, "e", RateLimits(60, 600)).take(10) is None
    assert both.rates["requests"].held == 0

    free = Refusing()
    endpoint = Endpoint(
        Script(), Concurrency(4, first=4), EndpointSpec(limits=RateLimits(60, 600)), coordinator=both
    )
    limiter = Limiter([endpoint], 4, RateLimits(60, None), coordinator=free)
    assert limiter._grant(limiter._main, endpoint, 10) is None
    assert (free.rates["requests"].held, both.rates["requests"].held, endpoint.in_flight) == (0, 0, 0)

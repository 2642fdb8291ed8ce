"""Hours of trouble in virtual time: outages, pauses, bursts of refusals, keys that are refused, endpoints that slow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from endpoints import GOOD, endpoint
from engine.errors import (
    AuthError,
    BadRequest,
    Disconnected,
    EndpointDown,
    RateLimited,
    Renegotiated,
    RetriesExhausted,
    Unavailable,
)
from engine.flow.halt import Halt
from engine.items import Completion, Prompt, RateLimits
from engine.llm.budget import Budget
from engine.llm.call import Call, CallEnded
from engine.llm.client import Client
from engine.llm.endpoint import Endpoint
from engine.llm.hedge import Hedge
from engine.llm.limiter import Limiter
from engine.llm.retry import RetryPolicy
from engine.simulator.virtual_time import VirtualLoop, in_virtual_time
from test_client import Memory


def prompt(key: str) -> Prompt:
    return Prompt(key, "items", 1, "s" * 100, "u", {}, 1.0, 1000, 0)


class Provider:
    """A Backend in virtual time: a latency, and whatever `fault` raises at that moment."""

    def __init__(self, loop: VirtualLoop, name: str = "provider", latency: float = 1.0) -> None:
        self.loop = loop
        self.name = name
        self.latency: Callable[[], float] = lambda: latency
        self.fault: Callable[[], Exception | None] = lambda: None
        self.announced: RateLimits | None = None
        self.asked: list[float] = []
        self.served = 0
        self.in_flight = 0
        self.peak = 0

    async def complete(self, prompt: Prompt) -> Completion:
        self.asked.append(self.loop.time())
        if (fault := self.fault()) is not None:
            raise fault
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(self.latency())
        finally:
            self.in_flight -= 1
        self.served += 1
        return GOOD

    async def close(self) -> None: ...


class Night:
    """A client over some endpoints, in virtual time."""

    def __init__(
        self, loop: VirtualLoop, *endpoints: Endpoint, hedge: Hedge | None = None, **policy: Any
    ) -> None:
        self.loop = loop
        self.journal, self.halt = Memory(), Halt()
        self.limiter = Limiter(endpoints, 1000, clock=loop.time)
        self.client = Client(
            self.journal,
            self.limiter,
            Budget(None),
            self.halt,
            RetryPolicy(**policy),
            hedge=hedge,
            clock=loop.time,
        )

    async def calls(self, count: int, workers: int = 50, prefix: str = "") -> list[Any]:
        """So many calls by so many workers; what came of each."""
        left, found = iter(range(count)), []

        async def worker() -> None:
            for number in left:
                try:
                    found.append(await self.client.ask(prompt(f"{prefix}{number}/items")))
                except Exception as error:
                    found.append(error)

        await asyncio.gather(*(worker() for _ in range(workers)))
        return found


def night(work: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> None:
    in_virtual_time(work)


def good(found: list[Any]) -> int:
    return sum(isinstance(each, Completion) for each in found)


@pytest.mark.parametrize("failure", [Disconnected("cannot connect: no such name"), Unavailable("502")])
def test_an_endpoint_down_for_twenty_minutes_costs_a_pause(failure: Exception) -> None:
    async def work(loop: VirtualLoop) -> None:
        said: list[tuple[str, str]] = []
        provider = Provider(loop)
        provider.fault = lambda: failure if 60 < loop.time() < 1260 else None
        one = endpoint(
            provider, 50, clock=loop.time, record=lambda _, kind, words: said.append((kind, words))
        )
        found = await Night(loop, one).calls(6000)
        assert good(found) == 6000
        down = [at for at in provider.asked if 70 < at < 1260]
        assert len(down) < 40, "while it is down one call at a time tries it, ever more seldom"
        assert 1260 < loop.time() < 1500
        assert [kind for kind, _ in said] == ["down", "back"]

    night(work)


def test_an_endpoint_that_stays_down_ends_the_run_when_patience_does() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        provider.fault = lambda: Disconnected("connection refused") if loop.time() > 10 else None
        the_night = Night(loop, endpoint(provider, 50, clock=loop.time))
        found = await the_night.calls(2000)
        assert isinstance(found[-1], EndpointDown)
        assert "connection refused" in str(found[-1])
        assert 3600 < loop.time() < 3600 + 120
        failed = [each for each in the_night.journal.held.values() if isinstance(each, Exception)]
        assert not failed  # a resume asks all of them again

    night(work)


def test_an_endpoint_that_never_answers_ends_the_run_soon() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        provider.fault = lambda: Disconnected("cannot connect")
        found = await Night(loop, endpoint(provider, 50, clock=loop.time)).calls(60)
        assert all(isinstance(each, EndpointDown) for each in found)
        assert 30 < loop.time() < 90

    night(work)


def test_one_poisonous_call_is_lost_alone() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        whole = provider.complete

        async def complete(asked: Prompt) -> Completion:
            if asked.key == "7/items":
                raise Unavailable("500")
            return await whole(asked)

        provider.complete = complete  # type: ignore[method-assign]
        found = await Night(loop, endpoint(provider, 4, clock=loop.time)).calls(2000, workers=5)
        lost = [each for each in found if not isinstance(each, Completion)]
        assert [type(each) for each in lost] == [RetriesExhausted]

    night(work)


def test_the_last_call_of_a_run_may_be_poisonous_too() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        the_night = Night(loop, endpoint(provider, 4, clock=loop.time))
        await the_night.calls(5)
        provider.fault = lambda: Unavailable("500")
        [lost] = await the_night.calls(1, prefix="last/")
        assert isinstance(lost, RetriesExhausted)
        assert loop.time() < 3600

    night(work)


def test_rate_limited_calls_pause_the_endpoint_and_lose_nothing() -> None:
    """A burst of refusals is one event; nothing is sent in the pause; no herd after it."""

    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop, latency=0.2)
        provider.fault = lambda: RateLimited("429", 30.0) if 20 < loop.time() < 20.2 else None
        one = endpoint(provider, 100, clock=loop.time)
        the_night = Night(loop, one, retries=0)
        found = await the_night.calls(30_000, workers=120)
        assert good(found) == 30_000
        assert one.concurrency.decreases == 1
        assert not [at for at in provider.asked if 20.2 < at < 50]
        after = [at for at in provider.asked if 50 <= at < 52.5]
        first = min(after)
        assert sum(at < first + 0.1 for at in after) <= 25, "the first tenth of a second after the pause"

    night(work)


def test_a_wait_longer_than_the_patience_is_not_begun() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        provider.fault = lambda: RateLimited("429: daily quota", 86_400.0) if provider.served > 5 else None
        found = await Night(loop, endpoint(provider, 4, clock=loop.time)).calls(20)
        assert isinstance(found[-1], EndpointDown)
        assert "daily quota" in str(found[-1])
        assert loop.time() < 60

    night(work)


def test_an_announced_limit_is_kept() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop, latency=0.3)
        provider.announced = RateLimits(requests=600)
        await Night(loop, endpoint(provider, 100, clock=loop.time, first=16)).calls(3000)
        later = [at for at in provider.asked if at > 5]
        for start in range(5, 240, 10):
            assert sum(start <= at < start + 60 for at in later) <= 601
        assert loop.time() < 3000 / 10 * 1.03

    night(work)


class Bucket:
    """A provider's limit that nobody told us: `rate` calls a second, a second's worth at once."""

    def __init__(self, loop: VirtualLoop, rate: float) -> None:
        self.loop, self.rate, self.level, self.at, self.refused = loop, rate, rate, 0.0, 0

    def __call__(self) -> Exception | None:
        now = self.loop.time()
        self.level, self.at = min(self.rate, self.level + (now - self.at) * self.rate), now
        if self.level >= 1:
            self.level -= 1
            return None
        self.refused += 1
        return RateLimited("429", (1 - self.level) / self.rate)


def test_an_unknown_limit_is_found() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider, chance = Provider(loop), random.Random(1)
        provider.latency = lambda: 2 * chance.lognormvariate(0, 0.5)
        provider.fault = bucket = Bucket(loop, 50)
        found = await Night(loop, endpoint(provider, 512, clock=loop.time, first=16)).calls(
            20_000, workers=600
        )
        assert good(found) == 20_000
        assert 20_000 / 50 / loop.time() > 0.85, f"used {20_000 / 50 / loop.time():.2f} of the limit"
        assert bucket.refused < 0.1 * 20_000

    night(work)


class Queueing(Provider):
    """A self-hosted server: so many calls at once, the others wait in its queue. It never refuses."""

    def __init__(self, loop: VirtualLoop, places: int, seconds: Callable[[], float]) -> None:
        super().__init__(loop)
        self.places, self.seconds = asyncio.Semaphore(places), seconds

    async def complete(self, prompt: Prompt) -> Completion:
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            async with self.places:
                await asyncio.sleep(self.seconds())
        finally:
            self.in_flight -= 1
        self.served += 1
        return GOOD


@pytest.mark.parametrize("spread", [0.0, 0.6])
@pytest.mark.parametrize("told", [None, 400])
def test_a_server_that_only_queues_is_found_out_by_its_latency(spread: float, told: int | None) -> None:
    async def work(loop: VirtualLoop) -> None:
        chance = random.Random(3)
        provider = Queueing(loop, 64, lambda: 2 * chance.lognormvariate(0, spread))
        one = endpoint(provider, told or 512, clock=loop.time, first=16 if told is None else 240)
        seen = []
        watching = asyncio.create_task(watch(seen, one))
        found = await Night(loop, one).calls(20_000, workers=600)
        watching.cancel()
        assert good(found) == 20_000
        later = sorted(seen[len(seen) // 3 :])
        ideal = 20_000 * 2 * 2.718281828 ** (spread**2 / 2) / 64
        assert loop.time() < 1.15 * ideal, "no throughput is lost"
        if told is None:
            assert later[len(later) // 2] < 64 * 3, f"median limit {later[len(later) // 2]}"
        else:
            assert later[len(later) // 2] <= 240, "what only queued is given up"

    async def watch(seen: list[float], one: Endpoint) -> None:
        while True:
            await asyncio.sleep(5)
            seen.append(one.concurrency.limit)

    night(work)


def test_work_goes_on_elsewhere() -> None:
    """Of three endpoints one refuses its key, one dies for an hour: nothing is lost, nobody waits for them."""

    async def work(loop: VirtualLoop) -> None:
        first, second, third = (Provider(loop, name) for name in "abc")
        first.fault = lambda: AuthError("401") if loop.time() > 30 else None
        second.fault = lambda: Disconnected("reset") if 60 < loop.time() < 3660 else None
        said: list[str] = []
        made = [
            endpoint(
                each, 10, clock=loop.time, record=lambda _, kind, words: said.append(kind), weight=weight
            )
            for each, weight in ((first, 1), (second, 1), (third, 2))
        ]
        found = await Night(loop, *made).calls(6000)
        assert good(found) == 6000
        assert loop.time() < 700
        assert first.served < 400
        assert "retired" in said
        assert "down" in said

    night(work)


def test_when_every_key_is_refused_the_run_ends() -> None:
    async def work(loop: VirtualLoop) -> None:
        both = [Provider(loop, name) for name in "ab"]
        for each in both:
            each.fault = lambda: AuthError("401: no")
        found = await Night(loop, *(endpoint(each, 10, clock=loop.time) for each in both)).calls(30)
        assert all(isinstance(each, EndpointDown | AuthError) for each in found)
        assert "401: no" in str(found[-1])
        assert loop.time() < 1

    night(work)


def test_an_endpoint_that_turns_slow_is_left_out_and_tried_again() -> None:
    async def work(loop: VirtualLoop) -> None:
        quick, other = Provider(loop, "quick"), Provider(loop, "other")
        other.latency = lambda: 20.0 if 60 < loop.time() < 600 else 1.0
        made = [endpoint(each, 10, clock=loop.time) for each in (quick, other)]
        found = await Night(loop, *made).calls(20_000)
        assert good(found) == 20_000
        slow = sum(120 < at < 600 for at in other.asked)
        assert slow < 200
        assert sum(at > 700 for at in other.asked) > 1000, "it is back"

    night(work)


def test_weights_share_the_calls() -> None:
    async def work(loop: VirtualLoop) -> None:
        light, heavy = Provider(loop), Provider(loop)
        made = [endpoint(light, 1000, clock=loop.time), endpoint(heavy, 1000, clock=loop.time, weight=3)]
        await Night(loop, *made).calls(4000, workers=40)
        assert heavy.served / light.served == pytest.approx(3, rel=0.15)

    night(work)


def test_a_straggler_is_asked_twice_where_that_is_wanted() -> None:
    async def work(loop: VirtualLoop) -> None:
        chance = random.Random(2)
        provider = Provider(loop)
        provider.latency = lambda: 100.0 if chance.random() < 0.02 else 1.0
        one = endpoint(provider, 100, clock=loop.time)
        plain = Night(loop, one)
        before = await plain.calls(2000)
        hedged = Night(loop, one, hedge=Hedge(0.95, 0.05))
        found = await hedged.calls(2000)
        assert good(found) == 2000
        assert sum(each.seconds > 10 for each in before) > 25
        assert sum(each.seconds > 10 for each in found) < 5
        counts = hedged.client.counts
        assert 20 < counts.hedged <= 0.05 * 2000 + 1

    night(work)


def test_a_hedge_that_fails_says_nothing_against_the_call() -> None:
    """Its attempts are a call of their own: retries, patience and blame rest on the first alone."""
    call = Call(prompt("1/items"), 100.0)
    first, other = endpoint(), endpoint()
    call.sent(first)
    beside = call.beside()
    beside.sent(other)
    beside.failed(110.0, 400.0)
    assert (call.attempts, call.endpoint, call.own(), call.elapsed()) == (1, first, 0.0, 0.0)
    assert (beside.attempts, beside.endpoint, beside.own()) == (2, other, 290.0)


def test_the_endpoint_of_a_hedged_call_is_the_one_that_answered() -> None:
    async def work(loop: VirtualLoop) -> None:
        both = [Provider(loop, name) for name in ("first", "second")]
        made = [endpoint(each, 10, clock=loop.time) for each in both]
        the_night = Night(loop, *made, hedge=Hedge(0.9, 0.5))
        await the_night.calls(200)
        ended: list[CallEnded] = []
        the_night.client.watch = ended.append
        both[0].latency = lambda: 1000.0
        both[1].fault = lambda: None
        made[1].in_flight += 1  # so that the first is asked first
        [found] = await the_night.calls(1, workers=1, prefix="slow-")
        made[1].in_flight -= 1
        assert isinstance(found, Completion)
        assert [each.endpoint for each in ended] == ["second"]
        assert the_night.client.counts.hedged == 1

    night(work)


def test_a_timeout_follows_what_calls_take() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        one = endpoint(provider, 20, clock=loop.time)
        the_night = Night(loop, one, attempt_s=600.0)
        await the_night.calls(500)
        assert one.patience("items", 600.0) == 15.0
        provider.latency = lambda: 40.0
        found = await the_night.calls(300, prefix="slower/")
        assert good(found) == 300, "a timeout that has become too short grows again"
        assert one.patience("items", 600.0) > 40
        assert one.patience("review", 600.0) == 600.0

    night(work)


def test_a_token_limit_that_counts_max_tokens_is_understood() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop, latency=0.5)
        provider.announced = RateLimits(tokens=60_000)
        held: list[tuple[float, int]] = []

        def fault() -> Exception | None:
            now = loop.time()
            held[:] = [(at, amount) for at, amount in held if at > now - 60]
            if sum(amount for _, amount in held) + 1001 > 60_000:
                return RateLimited("429: Limit 60000 tokens per min", 2.0, tokens=True)
            held.append((now, 1001))
            return None

        provider.fault = fault
        the_night = Night(loop, endpoint(provider, 20, clock=loop.time, limits=RateLimits(tokens=60_000)))
        found = await the_night.calls(600)
        assert good(found) == 600
        assert the_night.client.counts.rate_limited < 120

    night(work)


def test_with_everything_waiting_nothing_runs() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        provider.fault = lambda: RateLimited("429", 1000.0) if loop.time() < 900 else None
        the_night = Night(loop, endpoint(provider, 500, clock=loop.time))
        calls = asyncio.create_task(the_night.calls(500, workers=500))
        await asyncio.sleep(100)
        assert not loop._ready  # type: ignore[attr-defined]
        assert len([timer for timer in loop._scheduled if not timer.cancelled()]) <= 2  # type: ignore[attr-defined]
        assert good(await calls) == 500

    night(work)


# --- each of these went wrong once -------------------------------------------------------------------


def test_a_paused_purpose_holds_up_nobody_else() -> None:
    """Also where the run has a rate of its own."""

    async def work(loop: VirtualLoop) -> None:
        main, reviewer = Provider(loop, "main"), Provider(loop, "reviewer")
        reviewer.fault = lambda: RateLimited("429", 1200.0) if loop.time() < 1000 else None
        journal, halt = Memory(), Halt()
        limiter = Limiter(
            [endpoint(main, 10, clock=loop.time)],
            50,
            RateLimits(60),
            others={"review": [endpoint(reviewer, 10, clock=loop.time)]},
            clock=loop.time,
        )
        client = Client(journal, limiter, Budget(None), halt, RetryPolicy(), clock=loop.time)
        review = asyncio.create_task(client.ask(replace(prompt("r"), purpose="review", priority=-1)))
        await asyncio.sleep(5)
        for number in range(60):
            await client.ask(prompt(f"{number}/items"))
        assert loop.time() < 200
        assert isinstance(await review, Completion)

    night(work)


def test_an_endpoint_that_refuses_everything_takes_no_calls_with_it() -> None:
    async def work(loop: VirtualLoop) -> None:
        well, wrong = Provider(loop, "well"), Provider(loop, "wrong")
        wrong.fault = lambda: BadRequest("400: unknown model")
        made = [endpoint(each, 10, clock=loop.time) for each in (well, wrong)]
        found = await Night(loop, *made).calls(300)
        lost = [each for each in found if not isinstance(each, Completion)]
        assert len(lost) < 10
        assert made[1].retired is not None

    night(work)


@pytest.mark.parametrize("failure", [Disconnected("reset", paid=True), Unavailable("500")])
def test_a_call_that_always_fails_alone_at_the_end_is_not_an_outage(failure: Exception) -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        the_night = Night(loop, endpoint(provider, 4, clock=loop.time))
        await the_night.calls(5)
        provider.fault = lambda: failure
        [lost] = await the_night.calls(1, prefix="last/")
        assert isinstance(lost, RetriesExhausted)
        assert loop.time() < 3600

    night(work)


def test_one_asker_survives_twenty_minutes_of_502() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        provider.fault = lambda: Unavailable("502") if 60 < loop.time() < 1260 else None
        found = await Night(loop, endpoint(provider, 1, clock=loop.time)).calls(200, workers=1)
        assert good(found) == 200

    night(work)


def test_a_call_that_is_never_welcome_is_lost_alone() -> None:
    """Some endpoints answer 429, or 503, to one payload for ever."""

    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        whole = provider.complete

        async def complete(asked: Prompt) -> Completion:
            if asked.key == "7/items":
                raise RateLimited("429: too much", 1.0)
            return await whole(asked)

        provider.complete = complete  # type: ignore[method-assign]
        found = await Night(loop, endpoint(provider, 10, clock=loop.time)).calls(3000, workers=10)
        assert [type(each) for each in found if not isinstance(each, Completion)] == [RetriesExhausted]

    night(work)


def test_fields_that_are_refused_take_no_endpoint_out() -> None:
    async def work(loop: VirtualLoop) -> None:
        said: list[str] = []
        provider = Provider(loop)
        refusals = iter([Renegotiated("400: response_format")] * 60)
        provider.fault = lambda: next(refusals, None)
        one = endpoint(provider, 20, clock=loop.time, record=lambda _, kind, words: said.append(kind))
        found = await Night(loop, one).calls(100, workers=20)
        assert good(found) == 100
        assert said == []
        assert loop.time() < 10

    night(work)


def test_the_only_one_left_is_not_called_slow() -> None:
    async def work(loop: VirtualLoop) -> None:
        quick, slow = Provider(loop, "quick", latency=0.5), Provider(loop, "slow", latency=8.0)
        quick.fault = lambda: AuthError("401") if loop.time() > 30 else None
        said: list[str] = []
        made = [
            endpoint(each, 10, clock=loop.time, record=lambda _, kind, words: said.append(kind))
            for each in (quick, slow)
        ]
        found = await Night(loop, *made).calls(900)
        assert good(found) == 900
        assert said.count("slow") <= 2

    night(work)


def test_answers_to_old_calls_do_not_bring_a_slow_one_back() -> None:
    async def work(loop: VirtualLoop) -> None:
        quick, slow = Provider(loop, "quick", latency=0.5), Provider(loop, "slow", latency=8.0)
        made = [endpoint(each, 10, clock=loop.time) for each in (quick, slow)]
        await Night(loop, *made).calls(8000, workers=20)
        assert slow.served < 120

    night(work)


def test_a_retry_after_is_neither_for_ever_nor_for_nothing() -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        failures = iter([Unavailable("500", 86_400.0)])
        provider.fault = lambda: next(failures, None)
        assert good(await Night(loop, endpoint(provider, 4, clock=loop.time)).calls(4, workers=4)) == 4
        assert loop.time() < 700
        provider, began = Provider(loop), loop.time()
        provider.fault = lambda: RateLimited("429", 0.0) if loop.time() < began + 600 else None
        assert good(await Night(loop, endpoint(provider, 4, clock=loop.time)).calls(20, workers=4)) == 20
        assert len(provider.asked) < 150

    night(work)


def test_under_load_what_is_downstream_goes_first() -> None:
    """With a full line of new work, a check waits for one place at most, not for its turn in the line."""

    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop, latency=1.0)
        the_night = Night(loop, endpoint(provider, 4, clock=loop.time))
        generating = asyncio.create_task(the_night.calls(400, workers=200))
        waits = []
        for number in range(20):
            await asyncio.sleep(2.3)
            began = loop.time()
            await the_night.client.ask(replace(prompt(f"{number}/review"), priority=-1))
            waits.append(loop.time() - began)
        assert max(waits) <= 2.0 + 1e-6, "its own second, and at most one to wait for a place"
        await generating

    night(work)


def test_an_outage_is_not_taken_from_a_calls_own_time() -> None:
    """Whoever met it may fail once more after it, as any call may."""

    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        failed: set[float] = set()

        def fault() -> Exception | None:
            if 60 < loop.time() < 1260:
                return Unavailable("502")
            if 1260 <= loop.time() < 1400 and len(failed) < 30 and len(provider.asked) % 2:
                failed.add(len(provider.asked))
                return Unavailable("500")
            return None

        provider.fault = fault
        found = await Night(loop, endpoint(provider, 50, clock=loop.time)).calls(5000)
        assert good(found) == 5000
        assert len(failed) == 30

    night(work)

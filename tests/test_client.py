"""The client: retries that help, money that is counted, failures that cost one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from endpoints import GOOD, Script, client_with, endpoint
from engine.config import ModelConfig
from engine.config.parts import PriceConfig
from engine.errors import (
    BadRequest,
    Disconnected,
    EndpointError,
    Interrupted,
    PermanentError,
    RateLimited,
    Renegotiated,
    RetriesExhausted,
    Unavailable,
    Unparseable,
)
from engine.flow.halt import Halt
from engine.items import PICO, Completion, Prompt, Usage
from engine.llm.budget import Budget
from engine.llm.client import Client
from engine.llm.limiter import Limiter
from engine.llm.prices import Price, Tier, price_of
from engine.llm.retry import RetryPolicy
from engine.llm.tokens import prompt_bound

AT_ONCE = RetryPolicy(retries=3, seconds=60, first_wait=0.0, longest_wait=0.0)
PRICE = Price((Tier(-1, 10, 5, 20),))


TEXT = "about a hundred tokens " * 10
WORST = PRICE.worst(prompt_bound(Prompt("", "items", 1, TEXT, "u", {}, 1.0, 1000, 0), 2), 1000)


def prompt(key: str = "1/items") -> Prompt:
    return Prompt(key, "items", 1, TEXT, "u", {}, 1.0, 1000, 0)


class Memory:
    """A CallJournal in memory."""

    def __init__(self) -> None:
        self.held: dict[str, Completion | PermanentError] = {}
        self.authorized = 0
        self.authorizations = 0

    def find(self, key: str) -> Completion | PermanentError | None:
        return self.held.get(key)

    async def authorize(self, amount: int) -> None:
        self.authorized = amount
        self.authorizations += 1

    def sending(self, key: str, expected: int) -> None:
        assert 0 < expected <= self.authorized

    async def record(self, prompt: Prompt, outcome: Completion | PermanentError) -> None:
        self.held[prompt.key] = outcome


Rig = tuple[Client, Script, Memory, Budget, Halt]


def rig(*outcomes: Any, cap: int | None = None, policy: RetryPolicy = AT_ONCE) -> Rig:
    backend, journal, budget, halt = Script(*outcomes), Memory(), Budget(cap), Halt()
    limiter = Limiter([endpoint(backend, price=PRICE)], 4)
    return Client(journal, limiter, budget, halt, policy), backend, journal, budget, halt


async def test_an_answer_is_priced_settled_and_journaled() -> None:
    client, _, journal, budget, _ = rig(GOOD)
    found = await client.ask(prompt())
    assert found.usage.cost == 60 * 10 + 40 * 5 + 50 * 20
    assert (budget.spent, budget.reserved) == (found.usage.cost, 0)
    assert journal.held["1/items"] == found


async def test_what_the_journal_holds_is_not_asked_again() -> None:
    client, backend, journal, budget, _ = rig(GOOD)
    first = await client.ask(prompt())
    assert await client.ask(prompt()) == first
    assert backend.asked == 1
    journal.held["2/items"] = BadRequest("no")
    with pytest.raises(BadRequest):
        await client.ask(prompt("2/items"))
    assert backend.asked == 1
    assert client.counts.replayed == 2
    assert budget.spent == first.usage.cost


async def test_transient_failures_are_tried_again() -> None:
    client, backend, _, budget, _ = rig(Unavailable("500"), Disconnected("reset", paid=True), GOOD)
    found = await client.ask(prompt())
    assert (found.attempts, backend.asked, client.counts.retried) == (3, 3, 2)
    assert client.counts.errors == {"unavailable": 1, "disconnected": 1}
    worst = WORST
    assert (
        client.counts.unconfirmed == worst
    )  # the reset one may have been charged, so it counts against the cap
    assert budget.spent == worst + found.usage.cost


async def test_rate_limits_do_not_eat_the_retries() -> None:
    limited = [RateLimited("429", 0.0) for _ in range(3)]
    client, backend, _, _, _ = rig(*limited, GOOD, policy=RetryPolicy(retries=0))
    await client.ask(prompt())
    assert backend.asked == 4
    assert (client.counts.rate_limited, client.counts.retried) == (3, 0)


async def test_a_permanent_failure_is_journaled_and_not_repeated() -> None:
    client, backend, journal, budget, _ = rig(BadRequest("400"))
    for _ in range(2):
        with pytest.raises(BadRequest):
            await client.ask(prompt())
    assert backend.asked == 1
    assert isinstance(journal.held["1/items"], BadRequest)
    assert (client.counts.failed, budget.spent, budget.reserved) == (1, 0, 0)


async def test_when_others_are_answered_only_this_call_is_lost() -> None:
    client, backend, journal, _, _ = rig(GOOD)

    async def one_fails(asked: Prompt) -> Completion:
        await asyncio.sleep(0)
        if asked.key == "1/items":
            raise Unavailable("500")
        return GOOD

    backend.complete = one_fails  # type: ignore[method-assign]
    found = await asyncio.gather(
        *(client.ask(prompt(f"{n}/items")) for n in range(4)), return_exceptions=True
    )
    assert [type(outcome) for outcome in found] == [Completion, RetriesExhausted, Completion, Completion]
    assert isinstance(journal.held["1/items"], RetriesExhausted)


async def test_money_and_no_place_is_held_while_waiting_to_try_again() -> None:
    """New calls would else take the last money, and what came before them could never be finished."""
    slow = RetryPolicy(retries=3, seconds=100_000, first_wait=3600, longest_wait=3600)
    client, backend, _, budget, halt = rig(Unavailable("500"), GOOD, policy=slow)
    task = asyncio.create_task(client.ask(prompt()))
    while backend.asked == 0:
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert (budget.reserved, client._limiter.statistics().in_flight) == (WORST, 0)
    halt.set(Interrupted("stop"))
    with pytest.raises(Interrupted):
        await task
    assert budget.reserved == 0


async def test_a_call_that_is_tried_again_keeps_its_place_in_line() -> None:
    """One place: the first call fails once, and goes before those that came after it."""
    order: list[str] = []

    class Noting(Script):
        async def complete(self, prompt: Prompt) -> Completion:
            order.append(prompt.key)
            await asyncio.sleep(0.01)  # the others join the line meanwhile
            return await super().complete(prompt)

    backend = Noting(Unavailable("503", overloaded=True), GOOD)
    client = client_with(endpoint(backend, concurrency=1))
    await asyncio.gather(*(client.ask(prompt(f"{number}/items")) for number in range(4)))
    assert order == ["0/items", "0/items", "1/items", "2/items", "3/items"]


async def test_at_the_cap_what_is_tried_again_has_its_money() -> None:
    """There is money for one call at a time: the first fails, rests, and is sent again before a third."""
    order: list[str] = []

    class Noting(Script):
        async def complete(self, prompt: Prompt) -> Completion:
            order.append(prompt.key)
            if len(order) == 1:
                raise Unavailable("500")
            await asyncio.sleep(0.01)
            return Completion("{}", "m", "stop", Usage(10, 1))

    client = client_with(endpoint(Noting(), concurrency=1, price=PRICE), cap=WORST * 5 // 4)
    await asyncio.gather(*(client.ask(prompt(f"{number}/items")) for number in range(3)))
    assert order == ["0/items", "0/items", "1/items", "2/items"]


async def test_a_stall_is_a_timeout_and_may_have_been_charged() -> None:
    client, backend, _, budget, _ = rig(GOOD, policy=RetryPolicy(retries=0, attempt_s=0.01))
    await client.ask(prompt())
    spent = budget.spent

    async def forever(_: Prompt) -> Completion:
        await asyncio.Event().wait()
        raise AssertionError

    backend.complete = forever  # type: ignore[method-assign]
    with pytest.raises(RetriesExhausted, match="no whole answer within"):
        await client.ask(prompt("2/items"))
    assert budget.spent - spent == client.counts.unconfirmed == WORST
    assert client.counts.errors == {"timeout": 1}


async def test_a_cancelled_call_may_have_been_charged() -> None:
    client, backend, _, budget, _ = rig(GOOD)
    started = asyncio.Event()

    async def forever(_: Prompt) -> Completion:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    backend.complete = forever  # type: ignore[method-assign]
    task = asyncio.create_task(client.ask(prompt()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert budget.spent == client.counts.unconfirmed == WORST
    assert budget.reserved == 0


async def test_a_reply_without_usage_is_charged_by_estimate() -> None:
    client, _, _, budget, _ = rig(Completion("x" * 300, "m", "stop", Usage(estimated=True)))
    usage = (await client.ask(prompt())).usage
    assert usage.estimated
    assert usage.completion_tokens == 151
    assert budget.spent == usage.cost > 0


@pytest.mark.parametrize(
    ("model", "tokens", "dollars"),
    [
        ({"name": "gpt-4o-mini"}, (1_000_000, 1_000_000), 0.15 + 0.60),
        ({"name": "x", "price": PriceConfig(input=3, output=15)}, (1_000_000, 100_000), 4.5),
        ({"name": "x", "price": PriceConfig(input=0, output=0)}, (5, 5), 0.0),
    ],
)
def test_prices(model: dict[str, Any], tokens: tuple[int, int], dollars: float) -> None:
    price = price_of(ModelConfig.model_validate(model))
    assert price is not None
    assert price.cost(*tokens) / PICO == pytest.approx(dollars)


def test_an_unknown_model_has_no_price() -> None:
    model = ModelConfig(name="my-own-model", base_url="http://localhost:8000/v1")
    assert price_of(model) is None


def test_a_long_prompt_takes_the_higher_tier() -> None:
    price = Price((Tier(-1, 1, 1, 10), Tier(200, 2, 1, 20)))
    assert price.cost(200, 10) == 300
    assert price.cost(201, 10) == 602
    assert price.worst(201, 10) == 602
    assert price.worst(100, 10) == 200


async def test_renegotiation_is_no_failure() -> None:
    none = RetryPolicy(retries=0, seconds=60, first_wait=0.0, longest_wait=0.0)
    client, backend, _, _, _ = rig(*[Renegotiated("400")] * 4, GOOD, policy=none)
    await client.ask(prompt())
    assert (backend.asked, client.counts.retried) == (5, 0)


async def test_an_endpoint_that_refuses_everything_ends_the_run() -> None:
    client, backend, _, _, _ = rig(BadRequest("400: context length exceeded"))
    for number in range(4):
        with pytest.raises(BadRequest):
            await client.ask(prompt(f"{number}/items"))
    with pytest.raises(EndpointError, match="refuses every request: 400: context length"):
        await client.ask(prompt("5/items"))
    assert backend.asked == 5


async def test_a_useless_answer_without_usage_is_charged_by_estimate() -> None:
    useless = Unparseable("empty")
    useless.usage = Usage(estimated=True)
    client, _, journal, budget, _ = rig(useless)
    with pytest.raises(Unparseable):
        await client.ask(prompt())
    assert budget.spent > 0
    assert journal.held["1/items"].usage.cost == budget.spent  # type: ignore[union-attr]


async def test_spending_is_authorized_in_the_journal_before_it_happens() -> None:
    client, backend, journal, budget, _ = rig(GOOD)
    sent = backend.complete

    async def watched(asked: Prompt) -> Completion:
        assert budget.exposed <= journal.authorized
        return await sent(asked)

    backend.complete = watched  # type: ignore[method-assign]
    await asyncio.gather(*(client.ask(prompt(f"{n}/items")) for n in range(50)))
    assert journal.authorizations < 10


async def test_who_waits_for_money_holds_no_place() -> None:
    client, backend, _, budget, _ = rig(GOOD, cap=10**9)
    held = await budget.reserve(10**9)
    task = asyncio.create_task(client.ask(prompt()))
    for _ in range(10):
        await asyncio.sleep(0)
    assert (backend.asked, client._limiter.statistics().in_flight) == (0, 0)
    held.settle(0)
    await task
    assert client._limiter.statistics().in_flight == 0


def test_retry_after_is_kept_and_spread() -> None:
    class State:
        attempt_number = 1

        class outcome:
            exception: Callable[[], Exception] = staticmethod(lambda: Unavailable("500", 10.0))

    waits = [RetryPolicy().wait(State()) for _ in range(200)]  # type: ignore[arg-type]
    assert all(10.0 <= wait <= 11.1 for wait in waits)
    assert len(set(waits)) > 100

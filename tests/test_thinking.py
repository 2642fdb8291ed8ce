"""A model that reasons has an allowance for it, learned from its replies, and is given up where that does not help."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from endpoints import client_with, endpoint
from engine.config import ModelConfig, RunConfig
from engine.errors import EndpointError, Truncated
from engine.items import Completion, Prompt, Usage
from engine.llm.allowance import IN_A_ROW, RAISES, Allowance
from engine.llm.backends.anthropic import AnthropicMessages
from engine.llm.backends.openai_compatible import OpenAICompatible
from engine.llm.backends.terms import Terms
from engine.protocols import Backend
from test_negotiation import prompt

B = TypeVar("B", bound=Backend)


class Thinker:
    """A Backend whose model thinks so many tokens before each answer. Mutable state: what it was allowed."""

    def __init__(self, thinks: int, *, tells: bool = True) -> None:
        self.name = "thinker"
        self.thinks = thinks
        self.tells = tells
        self.allowed: list[int] = []

    async def complete(self, prompt: Prompt) -> Completion:
        self.allowed.append(prompt.max_tokens)
        if prompt.max_tokens < self.thinks + 20:
            error = Truncated(
                f"all {prompt.max_tokens:,} tokens went into reasoning, and no answer was begun"
            )
            error.usage = Usage(
                10, prompt.max_tokens, reasoning_tokens=prompt.max_tokens if self.tells else 0
            )
            raise error
        usage = Usage(10, self.thinks + 20, reasoning_tokens=self.thinks if self.tells else 0)
        return Completion("x" * 80, "m", "stop", usage, reasoning="" if self.tells else "y" * 4 * self.thinks)

    async def close(self) -> None: ...


@pytest.mark.parametrize("tells", [True, False])
async def test_what_one_purpose_needed_the_others_are_allowed(tells: bool) -> None:
    """Ceilings of 64 and 256 tokens do not lose every answer of a model that thinks 300."""
    thinker = Thinker(300, tells=tells)
    client = client_with(endpoint(thinker))
    await client.ask(prompt("items", max_tokens=2560))
    completion = await client.ask(prompt("same_answer", max_tokens=64))
    assert thinker.allowed[-1] >= 64 + 300
    assert abs(completion.usage.reasoning_tokens - 300) <= 20
    assert completion.reasoning == "", "kept where that is configured"


async def test_a_model_that_does_not_reason_is_asked_as_before() -> None:
    thinker = Thinker(0)
    client = client_with(endpoint(thinker))
    for number in range(3):
        await client.ask(prompt("items", number, max_tokens=100))
    assert thinker.allowed == [100, 100, 100]


async def test_after_five_answers_thought_away_more_is_allowed() -> None:
    events: list[tuple[str, str, str]] = []
    thinker = Thinker(900)
    client = client_with(endpoint(thinker, record=lambda *event: events.append(event)))
    for number in range(IN_A_ROW):
        with pytest.raises(Truncated):
            await client.ask(prompt("entities", number, max_tokens=256))
    await client.ask(prompt("entities", 99, max_tokens=256))
    assert thinker.allowed == [256] * IN_A_ROW + [256 + 1024]
    [(_, kind, sentence)] = events
    assert kind == "reasoning"
    assert "256 tokens went into reasoning" in sentence


async def test_where_that_does_not_help_the_run_stops_and_says_what_to_set() -> None:
    client = client_with(endpoint(Thinker(10**9)))
    lost = 0
    with pytest.raises(EndpointError, match=r"tokens went into reasoning.*generate\.max_tokens.*effort"):
        for number in range(100):
            try:
                await client.ask(prompt("items", number, max_tokens=2560))
            except Truncated:
                lost += 1
    assert lost < IN_A_ROW * (RAISES + 1)


async def test_what_is_allowed_for_reasoning_is_set_aside_too() -> None:
    one = endpoint(Thinker(0), reasoning=5_000)
    client = client_with(one)
    lease, reservation = await client._admission.admitted(_call(prompt(max_tokens=100)))
    assert lease.allowed == 5_000
    reservation.settle(0)
    lease.unsent()


def _call(asked: Prompt) -> Any:
    from engine.llm.call import Call

    return Call(asked, 0.0)


def test_a_lucky_answer_resets_the_count() -> None:
    allowance = Allowance()
    for _ in range(10):
        for _ in range(IN_A_ROW - 1):
            assert allowance.thought_away("x", 100, 0, "all") == ""
        allowance.answered("x", 0)
    assert allowance.of("x") == 0


def test_calls_under_way_when_more_was_granted_are_not_held_against_it() -> None:
    allowance = Allowance()
    raised = [allowance.thought_away("x", 100, 0, "all") for _ in range(IN_A_ROW * (RAISES + 2))]
    assert sum(map(bool, raised)) == 1
    with pytest.raises(EndpointError):
        for _ in range(IN_A_ROW * (RAISES + 1)):
            allowance.thought_away("x", 100, allowance.of("x"), "all")


def test_what_is_told_is_not_learned() -> None:
    allowance = Allowance(0)
    allowance.answered("x", 5_000)
    assert allowance.of("x") == 0


@asynccontextmanager
async def opened(backend: B) -> AsyncIterator[B]:
    try:
        yield backend
    finally:
        await backend.close()


async def test_effort_and_tier_are_sent() -> None:
    model = ModelConfig.model_validate(
        {"name": "o4-mini", "service_tier": "flex", "reasoning": {"effort": "low"}}
    )
    async with opened(OpenAICompatible(model, concurrency=1)) as backend:
        sent = backend.fields(prompt(), Terms())
        assert (sent["reasoning_effort"], sent["service_tier"]) == ("low", "flex")
        assert "reasoning_effort" not in backend.fields(prompt(), Terms().dropping("reasoning_effort"))


async def test_anthropic_thinks_with_a_budget() -> None:
    model = ModelConfig.model_validate(
        {"name": "claude-x", "api": "anthropic", "reasoning": {"tokens": 2000}}
    )
    async with opened(AnthropicMessages(model, concurrency=1)) as backend:
        sent = backend.fields(prompt(max_tokens=3000), Terms())
    assert sent["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert sent["tool_choice"] == {"type": "auto"}, "a forced tool is refused while it thinks"
    assert "temperature" not in sent


def test_every_ceiling_can_be_set(tmp_path: Any) -> None:
    from engine.runs.plugins import asker_of

    config = RunConfig.model_validate(
        {"dataset": {"description": "d"}, "model": {"name": "m"}, "max_tokens": {"entities": 999}}
    )

    async def ask(_: Prompt) -> Completion:
        raise AssertionError

    asker = asker_of(config, ask, "facts")
    assert asker._ceilings == {"entities": 999}

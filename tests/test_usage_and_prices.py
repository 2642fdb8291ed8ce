"""What is charged is what the provider charges: usage in every spelling, and the price of the tier that served."""

from __future__ import annotations

from typing import Any

import pytest

from endpoints import Script, client_with, endpoint
from engine.config import ModelConfig
from engine.items import PICO, Completion, Usage
from engine.llm.backends import anthropic
from engine.llm.backends.usage import usage_of
from engine.llm.prices import Price, Tier, price_of
from test_negotiation import prompt

#  (usage as the provider sends it, prompt, billed output, cached, written, reasoning)
REPORTED: list[tuple[str, dict[str, Any], tuple[int, int, int, int, int]]] = [
    (
        "a total beyond the sum",
        {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 2150},
        (100, 2050, 0, 0, 0),
    ),
    (
        "OpenAI: reasoning within",
        {
            "prompt_tokens": 9657,
            "completion_tokens": 78,
            "total_tokens": 9735,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 9654, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 37, "accepted_prediction_tokens": 0},
        },
        (9657, 78, 0, 9654, 37),
    ),
    (
        "xAI: reasoning beside",
        {
            "prompt_tokens": 10120,
            "completion_tokens": 1499,
            "total_tokens": 14428,
            "prompt_tokens_details": {"cached_tokens": 128},
            "completion_tokens_details": {"reasoning_tokens": 2809},
        },
        (10120, 4308, 128, 0, 2809),
    ),
    (
        "Gemini through a proxy",
        {
            "prompt_tokens": 21,
            "completion_tokens": 0,
            "total_tokens": 81,
            "completion_tokens_details": {"reasoning_tokens": 60},
        },
        (21, 60, 0, 0, 60),
    ),
    (
        "no total",
        {"prompt_tokens": 20, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 60}},
        (20, 65, 0, 0, 60),
    ),
    (
        "DeepSeek",
        {
            "prompt_tokens": 30,
            "completion_tokens": 10,
            "total_tokens": 40,
            "prompt_cache_hit_tokens": 20,
            "prompt_cache_miss_tokens": 10,
        },
        (30, 10, 20, 0, 0),
    ),
    ("Moonshot", {"prompt_tokens": 30, "completion_tokens": 10, "cached_tokens": 8}, (30, 10, 8, 0, 0)),
    (
        "DashScope",
        {
            "prompt_tokens": 30,
            "completion_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_creation_input_tokens": 25},
        },
        (30, 10, 0, 25, 0),
    ),
    (
        "SGLang",
        {"prompt_tokens": 30, "completion_tokens": 10, "total_tokens": 40, "reasoning_tokens": 7},
        (30, 10, 0, 0, 7),
    ),
    ("counts as floats", {"prompt_tokens": 3.0, "completion_tokens": 1.0}, (3, 1, 0, 0, 0)),
    (
        "vLLM's nulls",
        {
            "prompt_tokens": 3,
            "completion_tokens": 1,
            "total_tokens": 4,
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
        },
        (3, 1, 0, 0, 0),
    ),
]


@pytest.mark.parametrize(("who", "reported", "expected"), REPORTED, ids=[case[0] for case in REPORTED])
def test_usage_is_read_as_it_is_billed(who: str, reported: dict[str, Any], expected: tuple[int, ...]) -> None:
    usage = usage_of(reported)
    found = (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.written_tokens,
        usage.reasoning_tokens,
    )
    assert found == expected
    assert usage.unread == ()
    assert not usage.estimated


def test_the_providers_own_bill_counts_where_it_states_one() -> None:
    told = {"prompt_tokens": 9, "completion_tokens": 2, "cost": 0.000123, "cost_in_usd_ticks": 232856000}
    assert usage_of(told, "openrouter.ai").billed == int(0.000123 * PICO)
    assert usage_of(told, "api.x.ai").billed == 232856000 * PICO // 10**10
    assert usage_of(told, "127.0.0.1").billed is None
    byok = {**told, "is_byok": True, "cost_details": {"upstream_inference_cost": 1}}
    assert usage_of(byok, "openrouter.ai").billed == int(0.000123 * PICO) + PICO
    assert usage_of({**told, "cost": "free"}, "openrouter.ai").billed is None


def test_anthropics_usage() -> None:
    told = {
        "input_tokens": 10,
        "output_tokens": 50,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
        "output_tokens_details": {"thinking_tokens": 40},
    }
    usage = anthropic.usage_of(told)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens) == (
        140,
        50,
        100,
        40,
    )
    price = Price((Tier(-1, 100, 10, 500, 125),))
    cost = price.cost(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.written_tokens)
    assert cost == 10 * 100 + 100 * 10 + 20 * 125 + 10 * 200 + 50 * 500


def test_a_cache_write_costs_what_the_model_takes_for_it() -> None:
    price = price_of(ModelConfig(name="gpt-5.6"))
    assert price is not None
    assert price.cost(1000, 0, 0, 1000) * 4 == price.cost(1000, 0) * 5


def test_the_tier_that_served_sets_the_price() -> None:
    price = price_of(ModelConfig(name="gpt-5"))
    assert price is not None
    standard = price.cost(1000, 1000)
    assert price.cost(1000, 1000, service="flex") * 2 == standard
    assert price.cost(1000, 1000, service="priority") == standard * 2
    for same in ("", "default", "auto"):
        assert price.cost(1000, 1000, service=same) == standard
    assert price.worst(1000, 1000) == price.cost(1000, 1000, service="priority"), "whichever may come"
    assert not price.knows("scale")
    assert price.cost(1000, 1000, service="scale") == price.worst(1000, 1000)


def test_a_tier_that_is_pinned_is_what_is_set_aside() -> None:
    flex = price_of(ModelConfig(name="gpt-5", service_tier="flex"))
    plain = price_of(ModelConfig(name="gpt-5", service_tier="default"))
    assert flex is not None
    assert plain is not None
    assert flex.worst(1000, 1000) == flex.cost(1000, 1000, service="flex")
    assert flex.worst(1000, 1000) * 2 == plain.worst(1000, 1000)
    assert flex.cost(1000, 1000, service="default") == plain.cost(1000, 1000), (
        "if it was not served so, it is not priced so"
    )


def test_no_figure_from_the_standard_price_where_a_variant_is_missing() -> None:
    assert price_of(ModelConfig(name="gpt-4o-mini", service_tier="flex")) is None
    assert price_of(ModelConfig(name="gpt-4o-mini")) is not None


async def test_what_is_not_known_of_a_bill_is_told_once() -> None:
    events: list[tuple[str, str, str]] = []
    usage = Usage(10, 5, unread=("holographic_tokens",), tier="scale")
    price = Price((Tier(-1, 1, 1, 1),), services={"flex": (Tier(-1, 1, 1, 1),)})
    one = endpoint(
        Script(Completion("{}", "m", "stop", usage)), record=lambda *event: events.append(event), price=price
    )
    client = client_with(one)
    for number in range(3):
        await client.ask(prompt(number=number))
    assert [kind for _, kind, _ in events] == ["usage", "price"]
    assert "holographic_tokens" in events[0][2]
    assert "'scale'" in events[1][2]


async def test_a_failed_attempt_is_charged_by_its_own_usage() -> None:
    from engine.errors import SamplingFailed

    failure = SamplingFailed("no JSON")
    failure.usage = Usage(10, 5)
    client = client_with(
        endpoint(
            Script(failure, Completion("{}", "m", "stop", Usage(10, 5))), price=Price((Tier(-1, 1, 1, 1),))
        )
    )
    await client.ask(prompt())
    assert client._admission._budget.spent == 30

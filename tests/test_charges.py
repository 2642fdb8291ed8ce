"""A bill that lies: what cannot be is not believed, what is not told is estimated from above."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, run_in
from engine.items import Usage
from engine.llm.charges import WILD, Possible, believed, cost_of, possible, upper
from engine.llm.prices import Price, Tier

MOST = Possible(1000, 200)
PRICE = Price((Tier(-1, 10, 5, 20),))


@pytest.mark.parametrize(
    ("told", "counted", "wild"),
    [
        (Usage(900, 180), (900, 180), False),
        (Usage(99_000_000, 99_000_000), (1000, 200), True),
        (Usage(1500, 100), (1000, 100), False),
        (Usage(500, 250), (500, 200), False),
        (Usage(500, 250, reasoning_tokens=120), (500, 250), False),  # beside the limit, as xAI counts
        (Usage(500, WILD * 200 + 1, reasoning_tokens=WILD * 200), (500, 200), True),
    ],
)
def test_at_most_what_is_possible_is_counted(told: Usage, counted: tuple[int, int], wild: bool) -> None:
    found = believed(told, MOST, "x" * 900, "y" * 100)
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == counted
    assert found.wild is wild
    assert found.usage.estimated is bool(found.said)


@pytest.mark.parametrize(
    "told",
    [
        Usage(estimated=True),
        Usage(0, 0),
        Usage(0, 10),
        Usage(500, 0),
        Usage(1, 1),
        Usage(500, 3),
        Usage(28, 50),
    ],
)
def test_what_is_not_told_is_estimated_from_above(told: Usage) -> None:
    found = believed(told, MOST, "x" * 900, "y" * 100)
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (451, 51)
    assert found.usage.estimated


def test_an_empty_answer_may_cost_nothing() -> None:
    assert believed(Usage(500, 0), MOST, "x" * 900, "") == (Usage(500, 0), "", False)


@given(st.text(max_size=500))
def test_an_upper_estimate_is_no_more_than_the_bytes(text: str) -> None:
    assert 1 <= upper(text) <= len(text.encode()) + 1


def test_chinese_has_more_tokens_than_characters_over_four() -> None:
    text = "一个农夫有三十二只羊，他又买了十五只。"
    assert upper(text) >= len(text)


@given(
    st.builds(
        Usage,
        *(st.integers(0, 10**8) for _ in range(3)),
        billed=st.none() | st.integers(0, 10**15),
        written_tokens=st.integers(0, 10**8),
        reasoning_tokens=st.integers(0, 10**8),
    )
)
def test_no_count_is_charged_beyond_ten_times_what_is_possible(told: Usage) -> None:
    found = believed(told, MOST, "x" * 900, "y" * 100).usage
    if told.billed is None:
        assert cost_of(found, PRICE, MOST) <= PRICE.worst(MOST.prompt, WILD * MOST.answer)


def test_what_came_is_possible() -> None:
    assert possible(100, 50, "é" * 300) == Possible(100, 600)


def lying(simulator: Any, usage: Any) -> None:
    """All further replies tell this usage; `...` leaves it out."""
    original = simulator._completion

    def told(*arguments: Any) -> bytes:
        reply = orjson.loads(original(*arguments))
        reply["usage"] = usage(reply["usage"]) if callable(usage) else usage
        return orjson.dumps(reply)

    simulator._completion = told


WILDLY = {"prompt_tokens": 99_000_000, "completion_tokens": 99_000_000, "total_tokens": 198_000_000}


async def test_an_endpoint_that_reports_millions_is_put_aside(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint()
    lying(simulator, WILDLY)
    config = configs.load(url, limits={"budget_usd": 3, "concurrency": 4})
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "fatal"
    assert "impossible counts of tokens" in report.data["message"]
    assert report.data["cost"]["spent_usd"] < 0.2
    assert any("at most that is counted" in event["words"] for event in report.data["events"])


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": -5}, "9", None]
)
async def test_nothing_told_is_not_free(
    usage: Any, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(price={"input": 1.0, "output": 2.0})
    lying(simulator, usage)
    report = await run_in(tmp_path / "run", configs.load(url, limits={"budget_usd": 3}))
    assert report.outcome == "target"
    billed = simulator.statistics.billed / 10**12
    assert billed < report.data["cost"]["spent_usd"] < 4 * billed


async def test_answers_longer_than_asked_for_raise_what_is_set_aside(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """It writes five times what `max_tokens` allows: after the first such answer the cap holds again."""
    url, simulator = await endpoint(price={"input": 1.0, "output": 2.0})
    original = simulator._completion

    def ignoring(body: bytes, asked: Any, tokens: int) -> bytes:
        reply = orjson.loads(original(body, asked, tokens))
        message = reply["choices"][0]["message"]
        message["content"] += " " * 2000
        reply["usage"] = {"prompt_tokens": tokens, "completion_tokens": 500, "total_tokens": tokens + 500}
        return orjson.dumps(reply)

    simulator._completion = ignoring  # type: ignore[method-assign]
    config = configs.load(
        url,
        generate={"target": 1000, "batch_size": 1, "max_tokens": 100},
        limits={"budget_usd": 0.03, "concurrency": 1},
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "budget"
    assert report.data["cost"]["spent_usd"] <= 0.03
    [event] = [event for event in report.data["events"] if event["kind"] == "overlong"]
    assert "5.0 times as long as was asked for" in event["words"]


async def test_vectors_are_no_answer(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    """An embedding has tokens of its texts alone, as its endpoint tells them."""
    price = {"input": 1.0, "output": 2.0}
    url, simulator = await endpoint(price=price)
    config = configs.load(
        url,
        model={"price": price},
        groupcheck={"same": "meaning", "threshold": 0.95},
        embedding={"endpoint": {"name": "e", "base_url": url, "price": {"input": 1.0}}},
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    assert report.data["calls"]["usage_estimated"] == 0
    assert round(report.data["cost"]["spent_usd"] * 10**12) == simulator.statistics.billed

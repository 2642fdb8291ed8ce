"""What a planned run costs and takes by each way of making its calls: online, in batches, both, the flex tier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from engine.llm.prices import Price
from engine.runs.estimate import Plan, Step
from engine.runs.inputs import Inputs
from engine.runs.lanes import batch_api

QUICK_S, SLOW_S = 600.0, 3_600.0
"""Seconds of a wave: most batches end within the hour, many within minutes, as providers and users say; promised is a
day."""
FLEX_TIMES = (1.0, 3.0)
"""How much longer calls take at the flex tier: providers promise nothing."""


class Way(NamedTuple):
    """One way of making the calls."""

    mode: str
    dollars: float | None
    """Likely; None where a price is not known."""
    seconds: tuple[float, float]


def ways_of(inputs: Inputs, plan: Plan) -> list[Way]:
    """The ways that the main endpoint has; only one where it has no batches and no flex tier."""
    online = plan.dollars.likely if plan.dollars is not None else None
    found = [Way("online", online, (plan.seconds.low, plan.seconds.high))]
    if batch_api(inputs.config.main) != "none":
        found += _in_batches(inputs, plan, online)
    if inputs.prices is not None and "flex" in inputs.prices.main.services:
        dollars = _dollars(inputs, plan, lambda price: _tier(price, "flex"))
        low, high = plan.seconds.low * FLEX_TIMES[0], plan.seconds.high * FLEX_TIMES[1]
        found.append(Way("flex", dollars, (low, high)))
    return found


def _in_batches(inputs: Inputs, plan: Plan, online: float | None) -> Iterator[Way]:
    half = _dollars(inputs, plan, Price.in_batches)
    waves = sum(step.purposes != "attributes" for step in plan.steps)
    seconds = waves * QUICK_S, (waves + 1) * SLOW_S  # what is missing in the end is asked for once more
    yield Way("batch", half, seconds)
    spec, calls = inputs.config.limits.batch, max(1.0, plan.calls.likely)
    batches = max(1.0, plan.items.likely / inputs.config.generate.batch_size)
    share = min(1.0, min(1.0, spec.pilot / batches) + min(spec.least, calls) / calls)
    mixed = half + share * (online - half) if half is not None and online is not None else None
    yield Way("auto", mixed, seconds)


def _dollars(inputs: Inputs, plan: Plan, other: Callable[[Price], Price | None]) -> float | None:
    """The plan's dollars at other prices; None where one of them is not known."""
    total = 0.0
    for step in plan.steps:
        share = _share(inputs, step, other)
        if step.dollars is None or share is None:
            return None
        total += step.dollars.likely * share
    return total


def _share(inputs: Inputs, step: Step, other: Callable[[Price], Price | None]) -> float | None:
    """What the other price is of the usual one, for calls such as this step's."""
    if inputs.prices is None:
        return None
    price = inputs.prices.for_route(step.purposes.split(", ")[0])
    wanted, calls = other(price), max(1.0, step.calls.likely)
    if wanted is None:
        return None
    asked, told = round(step.prompt_tokens.likely / calls), round(step.completion_tokens.likely / calls)
    usual = price.cost(asked, told)
    return wanted.cost(asked, told) / usual if usual else 1.0


def _tier(price: Price, name: str) -> Price | None:
    tiers = price.services.get(name)
    return Price(tiers, price.per_call) if tiers is not None else None

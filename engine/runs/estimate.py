"""Estimates a run's calls, tokens, cost and time before any money is spent."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import orjson

from engine.config.run import ASSUMED_CONCURRENCY
from engine.items import Prompt, usd
from engine.planning.attributes import Cells
from engine.planning.guidance import attributes_of, selectors_of
from engine.planning.plan import Planner, interleaved, shares
from engine.planning.strategies import Mix
from engine.runs.inputs import Inputs
from engine.stages.schedule import EARLY, next_time

CHARACTERS_PER_TOKEN = 4.0
"""English text, roughly; a run learns the real figure from the replies."""
TOKENS_PER_ITEM = 80
"""Completion tokens of one item if there is no base dataset to measure."""
TOKENS_PER_SECOND = 60.0
SECONDS_TO_FIRST_TOKEN = 0.6
"""The assumed speed of one call."""
ACCEPTANCE = (1.0, 0.75, 0.5, 0.25)
_SAMPLES = 50


@dataclass(frozen=True)
class Estimate:
    """The estimate for one assumed share of accepted items."""

    acceptance: float
    calls: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None
    seconds: float


def prompts(inputs: Inputs) -> Iterator[Prompt]:
    """The prompts of the run in order, without the parts that depend on what is accepted.

    Examples that the run selects by vectors are chosen at random here, and attributes that it extracts with a
    model are left out: both cost time or money.
    """
    config = inputs.config
    selectors = selectors_of(config.generate, inputs.dataset, config.seed, None)
    planner = Planner(config.generate, config.seed, selectors)
    attributes = attributes_of(config.generate, inputs.dataset, {})
    mix = Mix(config.generate, config.seed, Cells(attributes, config.seed) if attributes else None, None)
    ratio = config.dataset.ratio
    if ratio is None:
        for number in count():
            yield inputs.prompts.render(planner.batch(number, choice=mix.choose(number)))
    else:
        asks = interleaved(shares(inputs.target, ratio.weights))
        for number in range(math.ceil(inputs.target / config.generate.batch_size)):
            asked = list(islice(asks, config.generate.batch_size))
            labels = tuple((label, asked.count(label)) for label in ratio.weights if label in asked)
            yield inputs.prompts.render(planner.batch(number, labels, mix.choose(number)))


def estimates(inputs: Inputs) -> list[Estimate]:
    """One estimate for each assumed acceptance. Validators' model calls are not included."""
    prompt_tokens = _prompt_tokens(inputs)
    completion_tokens = _completion_tokens(inputs)
    return [_estimate(inputs, acceptance, prompt_tokens, completion_tokens) for acceptance in ACCEPTANCE]


def _prompt_tokens(inputs: Inputs) -> float:
    sizes = [len(prompt.system) + len(prompt.user) for prompt in islice(prompts(inputs), _SAMPLES)]
    return sum(sizes) / len(sizes) / CHARACTERS_PER_TOKEN


def _completion_tokens(inputs: Inputs) -> float:
    """The completion tokens of one call, from the size of the base dataset's items."""
    dataset, size = inputs.dataset, inputs.config.generate.batch_size
    shown = [orjson.dumps(dataset.fields.wire(example), default=str) for example in dataset.examples[:500]]
    each = sum(map(len, shown)) / len(shown) / CHARACTERS_PER_TOKEN if shown else TOKENS_PER_ITEM
    return each * size + 8


def _estimate(inputs: Inputs, acceptance: float, prompt_tokens: float, completion_tokens: float) -> Estimate:
    config, limits = inputs.config, inputs.config.limits
    calls = math.ceil(inputs.target / config.generate.batch_size / acceptance)
    prompt, completion = round(calls * prompt_tokens), round(calls * completion_tokens)
    latency = SECONDS_TO_FIRST_TOKEN + completion_tokens / TOKENS_PER_SECOND
    seconds = [calls * latency / (limits.concurrency or ASSUMED_CONCURRENCY), latency]
    if limits.requests_per_minute is not None:
        seconds.append(calls / limits.requests_per_minute * 60)
    if limits.tokens_per_minute is not None:
        seconds.append((prompt + completion) / limits.tokens_per_minute * 60)
    if limits.finish_by is not None:
        now = time.time()
        seconds.append(EARLY * (next_time(limits.finish_by, now) - now))
    tier = inputs.prices.main.tiers[0] if inputs.prices is not None else None
    dollars = usd(prompt * tier.input + completion * tier.output) if tier is not None else None
    return Estimate(acceptance, calls, prompt, completion, dollars, max(seconds))

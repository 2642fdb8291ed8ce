"""Runs a sweep over a config's endpoint, with its price and a cap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.bench.sweep import Bench, Level, Sweep
from engine.config import RunConfig
from engine.errors import ConfigError
from engine.items import PICO, Prompt
from engine.llm.budget import Budget
from engine.llm.prices import FREE, price_of
from engine.protocols import Notify
from engine.runs.endpoints import opened_backends
from engine.runs.estimate import prompts
from engine.runs.inputs import Inputs
from engine.runs.modes import GenerateMode

MOST = 256
"""The highest concurrency of a sweep if none is configured."""


async def benched(
    config: RunConfig,
    levels: Sequence[int] | None,
    calls: int,
    seconds: float,
    *,
    stream: bool,
    endpoint: int,
    notify: Notify,
) -> tuple[Bench, list[Level], str]:
    """(the sweep, its levels, the endpoint's name). Raises ConfigError, FatalError."""
    inputs = GenerateMode().load(generating(config))
    if endpoint >= len(config.endpoints):
        raise ConfigError(f"--endpoint {endpoint}: the config has {len(config.endpoints)}, counted from 0")
    limits = config.limits
    sweep = Sweep(
        levels or doubled(limits.concurrency or MOST), calls, seconds, limits.attempt_timeout_s,
        stream=stream, whole=levels is not None,
    )  # fmt: skip
    budget = Budget(None if limits.budget_usd is None else int(limits.budget_usd * PICO))
    async with opened_backends(_unlimited(config, max(sweep.levels))) as backends:
        opened = backends.main[endpoint]
        price = price_of(opened.model) or FREE.main
        bench = Bench(opened.backend, price, budget, _endless(inputs), sweep)
        levels_done = []
        async for level in bench.levels():
            levels_done.append(level)
            notify(f"{level.concurrency:,} at once: {level.calls_per_s:.2f} calls/s, {level.seconds:.1f} s")
    return bench, levels_done, opened.backend.name


def generating(config: RunConfig) -> RunConfig:
    """The config, with a target if it has none: an evaluation's endpoints can be measured too."""
    if config.generate.target is not None:
        return config
    settings = {"target": 1} if config.dataset.path is not None else {"target": 1, "few_shot": 0}
    return config.changed(generate=config.generate.model_copy(update=settings))


def _unlimited(config: RunConfig, most: int) -> RunConfig:
    """The config with room for `most` concurrent calls, whatever it says: the sweep tests its limit."""
    models = [
        model.model_copy(update={"limits": model.limits.model_copy(update={"concurrency": most})})
        for model in config.endpoints
    ]
    limits = config.limits.model_copy(update={"concurrency": most})
    return config.model_copy(update={"model": tuple(models), "limits": limits})


def _endless(inputs: Inputs) -> Iterator[Prompt]:
    """The run's prompts, repeated endlessly if their number is finite."""
    while True:
        yield from prompts(inputs)


def doubled(most: int) -> list[int]:
    """1, 2, 4 … and finally `most` itself."""
    levels = [1]
    while levels[-1] * 2 < most:
        levels.append(levels[-1] * 2)
    return levels if most == 1 else [*levels, most]

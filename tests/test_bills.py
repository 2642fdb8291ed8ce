"""What a run counts as spent: failures that are charged, kills by what was in flight, the provider's own figure."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from conftest import Configs, Start, datagen, finished, run_in, when_served
from engine.config.run import LimitsConfig
from engine.runs.endpoints import _charges_failures
from engine.store.reading import connect, read_spent
from engine.store.settling import account_of, settle
from faults.provider import Provider, provided, status
from test_laws import table

TOKENS = {"input": 1.0, "output": 2.0}


@pytest.mark.parametrize(
    ("told", "url", "charged"),
    [
        (None, "https://api.openai.com/v1", False),
        (None, "http://gateway.example/v1", True),
        ("free", "http://gateway.example/v1", False),
        ("charged", "https://api.openai.com/v1", True),
    ],
)
def test_what_is_not_known_of_a_bill_is_the_worst(
    told: Any, url: str, charged: bool, configs: Configs
) -> None:
    limits = LimitsConfig(failed_calls=told)
    assert _charges_failures(limits, configs.load(url).main) is charged


@pytest.mark.parametrize(("told", "times"), [("charged", 3), ("free", 1)])
async def test_failures_that_are_charged_count_as_the_worst(
    told: str, times: int, tmp_path: Path, configs: Configs
) -> None:
    provider = Provider(lambda number: status(500) if number in (0, 1) else None)
    async with provided(provider) as url:
        config = configs.load(
            url,
            generate={"target": 3, "batch_size": 3, "max_tokens": 1000},
            limits={"concurrency": 1, "failed_calls": told},
        )
        report = await run_in(tmp_path / "run", config)
    worst = 1000 * 2e-6
    spent = report.data["cost"]["spent_usd"]
    assert (spent > 2 * worst) is (times == 3)


async def test_an_endpoint_that_bills_its_failures_stays_within_the_cap(
    tmp_path: Path, configs: Configs
) -> None:
    """One in three fails, and is billed like the others at the most that it can cost."""
    provider = Provider(lambda number: status(500) if number % 3 == 0 else None)
    async with provided(provider) as url:
        config = configs.load(
            url,
            generate={"target": 500, "batch_size": 3, "max_tokens": 200},
            limits={"concurrency": 4, "budget_usd": 0.02},
        )
        report = await run_in(tmp_path / "run", config)
    assert report.outcome == "budget"
    failed = sum(1 for asked in provider.account.asked if asked.number % 3 == 0)
    worst = 200 * 2e-6 + 0.0004
    billed = provider.account.billed * (40 * 1e-6 + 30 * 2e-6) + failed * worst
    assert billed <= 0.02 * 1.2
    assert report.data["cost"]["spent_usd"] <= 0.02


async def test_kills_are_charged_what_was_in_flight(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """By the length that answers have shown, not by the longest that was allowed; and never less than was billed."""
    url, simulator = await endpoint(latency_s=0.05, latency_p99_s=0.1)
    path = configs.write(
        url,
        generate={"target": 3000, "batch_size": 1, "max_tokens": 4000},
        limits={"concurrency": 32},
    )
    folder, chance = tmp_path / "run", random.Random(3)
    for _ in range(4):
        reached = when_served(simulator, simulator.statistics.served + chance.randint(60, 200))
        process = await datagen("run", path, "-o", folder)
        await asyncio.wait_for(reached.wait(), 60)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    with connect(folder / "run.db") as connection:
        spent = read_spent(connection)
        [calls] = connection.execute("SELECT sum(cost) FROM calls").fetchone()
    connection.close()
    per_call = 4000 * 2_000_000
    billed = (
        simulator.statistics.prompt_tokens * 1_000_000 + simulator.statistics.completion_tokens * 2_000_000
    )
    assert billed <= spent, "nothing that may be billed is left out"
    assert spent - calls < 4 * 32 * per_call / 4, "a quarter of the configured worst case, at the most"
    process = await datagen("run", path, "-o", folder, "--target", "300")
    code, _, err = await finished(process)
    assert code == 0, err
    assert table(folder, "SELECT count(*) FROM sent WHERE start = (SELECT max(start) FROM starts)") == [(0,)]


async def test_the_providers_own_figure_stands(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    folder = tmp_path / "run"
    config = configs.load(url, generate={"target": 9, "batch_size": 3})
    counted = (await run_in(folder, config)).data["cost"]["spent_usd"]
    code, out, err = await finished(await datagen("budget", folder, "--settle", "0.5"))
    assert code == 0, err
    assert "$0.500000" in out
    assert account_of(folder / "run.db").spent == 500_000_000_000
    more = config.changed(generate=config.generate.model_copy(update={"target": 18}))
    report = await run_in(folder, more)
    assert report.data["cost"]["spent_usd"] == pytest.approx(0.5 + counted, rel=0.5)
    assert report.data["cost"]["spent_usd"] > 0.5
    settle(folder / "run.db", 0.0001)
    capped = more.changed(limits=more.limits.model_copy(update={"budget_usd": 0.005}))
    capped = capped.changed(generate=capped.generate.model_copy(update={"target": 90}))
    assert (await run_in(folder, capped)).outcome == "budget"
    with sqlite3.connect(folder / "run.db") as connection:
        assert connection.execute("SELECT count(*) FROM facts WHERE name = 'settled'").fetchone() == (1,)
    connection.close()

"""Strategies: fixed shares, the bandit, replacements; and that no choice depends on timing."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, Start, contents, datagen, finished, run_in, when_served
from engine.config import GenerateConfig, RunConfig
from engine.errors import ConfigError
from engine.items import PICO
from engine.planning.attributes import Attribute, Cells
from engine.planning.strategies import BatchOutcome, Choice, Mix, Yields
from engine.runs.setup import Earlier
from test_group_check import FUNCTION, GROUP, REPEATING, rows

TWO: dict[str, Any] = {"good": {"selection": "random"}, "bad": {"temperature": 0.1}}


def adaptive(**changes: Any) -> GenerateConfig:
    return GenerateConfig.model_validate({"target": 10, "strategies": TWO, "strategy": "adaptive", **changes})


def played(mix: Mix, batches: int, chance: random.Random, rates: dict[str, float]) -> list[str]:
    """Each batch costs a hundredth of a dollar, and of its five items as many are accepted as its strategy yields."""
    chosen = []
    for number in range(batches):
        choice = mix.choose(number)
        chosen.append(choice.strategy)
        accepted = sum(chance.random() < rates[choice.strategy] for _ in range(5))
        mix.observe(BatchOutcome(number, choice.strategy, accepted, PICO // 100))
    return chosen


def test_fixed_shares_are_kept_over_any_stretch() -> None:
    shares = {"a": {"share": 3}, "b": {"share": 1}, "c": {"share": 2}}
    generate = GenerateConfig.model_validate({"target": 10, "strategies": shares})
    mix = Mix(generate, 0, None, None)
    chosen = [mix.choose(number).strategy for number in range(600)]
    for start in range(0, 500, 50):
        met = Counter(chosen[start : start + 60])
        assert all(abs(met[name] - 10 * share["share"]) <= 3 for name, share in shares.items())


@pytest.mark.parametrize("seed", range(5))
def test_the_bandit_finds_what_yields_most_and_keeps_the_floor(seed: int) -> None:
    mix = Mix(adaptive(floor=0.1), seed, None, 8)
    chosen = played(mix, 600, random.Random(seed), {"good": 0.8, "bad": 0.3})
    met = Counter(chosen[200:])
    assert met["good"] > 320
    assert met["bad"] >= 15  # half of the floor's tenth of 400 batches, give or take


def test_the_bandit_follows_a_yield_that_falls() -> None:
    mix = Mix(adaptive(), 1, None, 8)
    chance = random.Random(1)
    played(mix, 400, chance, {"good": 0.8, "bad": 0.4})
    late = []
    for number in range(400, 1200):
        choice = mix.choose(number)
        late.append(choice.strategy)
        rate = {"good": 0.1, "bad": 0.4}[choice.strategy]
        accepted = sum(chance.random() < rate for _ in range(5))
        mix.observe(BatchOutcome(number, choice.strategy, accepted, PICO // 100))
    assert Counter(late[-200:])["bad"] > 150


def test_dollars_count_and_not_only_items() -> None:
    yields = Yields(("cheap", "dear"))
    for number in range(100):
        yields.learn(BatchOutcome(number, "cheap", 3, PICO // 100))
        yields.learn(BatchOutcome(number, "dear", 4, PICO // 20))
    drawn = Counter(yields.draw(random.Random(seed))[0] for seed in range(50))
    assert drawn["cheap"] == 50


def test_a_choice_rests_on_the_outcomes_before_the_lag_and_on_no_more() -> None:
    """Whether later outcomes are known already makes no difference."""
    chance, known, told = random.Random(0), Mix(adaptive(), 3, None, 16), []
    outcomes = [
        BatchOutcome(n, chance.choice(("good", "bad")), chance.randint(0, 5), PICO // 100) for n in range(200)
    ]
    late = Mix(adaptive(), 3, None, 16)
    for number in range(200):
        if number == 0:
            for outcome in outcomes:
                known.observe(outcome)  # all at once
        told.append(known.choose(number))
        assert late.choose(number) == told[-1]
        if number >= 15:
            late.observe(outcomes[number - 15])  # at the last moment
    assert len({choice.strategy for choice in told}) == 2


def test_a_restart_chooses_alike() -> None:
    """From what the journal holds: the choices made, and the outcomes."""
    cells = Cells([Attribute("kind", {"": {"x": 1.0, "y": 1.0}})], 0)
    generate = adaptive(attributes={"kind": ["x", "y"]})
    chance, mix, made, outcomes = random.Random(2), Mix(generate, 4, cells, 16, retry=True), {}, []
    for number in range(150):
        choice = mix.choose(number)
        made[number] = choice
        again = () if choice.unlike else ((choice.attributes, f"text {number}"),) if number % 9 == 0 else ()
        outcomes.append(BatchOutcome(number, choice.strategy, chance.randint(0, 5), PICO // 100, again))
        mix.observe(outcomes[-1])
    assert any(choice.unlike for choice in made.values())
    for stopped in (1, 40, 97):
        resumed = Mix(generate, 4, cells, 16, retry=True)
        journaled = [
            (number, orjson.loads(orjson.dumps(made[number].as_dict()))) for number in range(stopped + 10)
        ]
        resumed.restore(journaled, outcomes[:stopped])
        resumed.skip(stopped)
        for number in range(stopped, 150):
            assert resumed.choose(number) == made[number], (stopped, number)
            resumed.observe(outcomes[number])


def test_a_batch_decided_in_two_starts_counts_once_and_whole() -> None:
    first = BatchOutcome(0, "good", 2, 300, (((), "one"),))
    rest = BatchOutcome(0, "good", 1, 200, (((), "two"),))
    told, resumed = Mix(adaptive(), 0, None, 1, retry=True), Mix(adaptive(), 0, None, 1, retry=True)
    told.observe(BatchOutcome(0, "good", 3, 500, (((), "one"), ((), "two"))))
    resumed.restore([], [], [first])
    resumed.observe(rest)
    assert told.choose(1) == resumed.choose(1)
    assert told.choose(2).unlike == resumed.choose(2).unlike


def test_no_strategy_is_tied_to_an_attribute_s_values() -> None:
    attribute = Attribute("a", {"": dict.fromkeys("wxyz", 1.0)})
    other = Attribute("b", {"": dict.fromkeys("1234", 1.0)})
    generate = GenerateConfig.model_validate({"target": 10, "strategies": {"one": {}, "two": {}}})
    mix = Mix(generate, 0, Cells([attribute, other], 0), None)
    met: Counter[tuple[str, str]] = Counter()
    for number in range(1600):
        choice = mix.choose(number)
        met.update((choice.strategy, value) for _, value in choice.attributes)
    assert len(met) == 16
    assert all(160 < count < 240 for count in met.values())


def test_a_lost_batch_is_a_batch_and_no_fortune() -> None:
    yields = Yields(("a", "b"))
    for number in range(100):
        yields.learn(BatchOutcome(number, "ab"[number % 2], 3, PICO // 10_000))
    yields.learn(BatchOutcome(100, "a", 0, 0))
    drawn = Counter(yields.draw(random.Random(seed))[0] for seed in range(200))
    assert min(drawn.values()) > 40


def test_without_prices_batches_count() -> None:
    yields = Yields(("a", "b"), priced=False)
    for number in range(60):
        yields.learn(BatchOutcome(number, "a", 4, 0))
        yields.learn(BatchOutcome(number, "b", 1, 0))
    assert not yields.unknown
    assert Counter(yields.draw(random.Random(seed))[0] for seed in range(50))["a"] == 50


def test_a_duplicate_is_replaced_by_the_strategy_that_made_it() -> None:
    mix = Mix(adaptive(attributes={"kind": ["x"]}), 0, None, 1, retry=True)
    mix.observe(BatchOutcome(0, "bad", 0, 1, (((("kind", "x"),), "one"), ((("kind", "x"),), "two"))))
    choice = mix.choose(1)
    assert (choice.strategy, choice.attributes, choice.unlike) == ("bad", (("kind", "x"),), ("one", "two"))


def test_a_choice_survives_as_json() -> None:
    choice = Choice("a", (("k", "v"),), 3, ("text",), {"a": 1.5})
    assert Choice.from_dict(orjson.loads(orjson.dumps(choice.as_dict()))) == choice


# --- in a run --------------------------------------------------------------------------------------


def sections(**generate: Any) -> dict[str, Any]:
    return {
        "generate": {
            "target": 260,
            "batch_size": 4,
            "attributes": {"place": ["farm", "town", "sea", "hill", "lake", "mine", "moor", "isle"]},
            "strategy": "adaptive",
            **generate,
        },
        "limits": {"concurrency": 2},
        "embedding": FUNCTION,
        "groupcheck": {**GROUP, "same": "meaning+numbers"},
    }


async def test_an_adaptive_run_moves_to_what_yields(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """The simulated model repeats itself less where it is told what to write about."""
    url, _ = await endpoint(**{**REPEATING, "near_duplicates": 0.9})
    report = await run_in(tmp_path / "run", configs.load(url, **sections()))
    found = report.data["diversity"]["strategies"]
    by_name = found["by_name"]
    assert by_name["guided"]["accepted_per_usd"] > by_name["plain"]["accepted_per_usd"]
    assert by_name["guided"]["batches"] > by_name["plain"]["batches"]
    assert by_name["plain"]["batches"] > 5
    assert set(found["last_rates"]) == {"plain", "guided"}
    decided = [orjson.loads(state) for (state,) in rows(tmp_path / "run", "SELECT state FROM plans")]
    assert any("rates" in state for state in decided)


async def test_an_adaptive_run_is_the_same_at_any_speed_and_through_a_kill(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    url, simulator = await endpoint(latency_s=0.002, latency_p99_s=0.02, **REPEATING)
    path = configs.write(url, **sections())
    reached = when_served(simulator, 40)
    process = await datagen("run", path, "-o", tmp_path / "killed")
    await reached.wait()
    process.kill()
    await process.communicate()
    status, _, err = await finished(await datagen("run", path, "-o", tmp_path / "killed"))
    assert status == 0, err
    await run_in(tmp_path / "clean", RunConfig.load(path))
    assert contents(tmp_path / "killed" / "accepted.jsonl") == contents(tmp_path / "clean" / "accepted.jsonl")


async def test_the_lag_stays_when_the_concurrency_does_not(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """What had been asked for in place of a duplicate is not asked for again."""
    url, _ = await endpoint(**REPEATING)
    base: dict[str, Any] = {
        "embedding": FUNCTION,
        "groupcheck": {**GROUP, "on_duplicate": "retry"},
    }
    for target, concurrency in ((60, 2), (120, 12), (180, 3)):
        config = configs.load(
            url, generate={"target": target, "batch_size": 2}, limits={"concurrency": concurrency}, **base
        )
        assert (await run_in(tmp_path / "run", config)).outcome == "target"
    once = configs.load(url, generate={"target": 180, "batch_size": 2}, limits={"concurrency": 2}, **base)
    await run_in(tmp_path / "once", once)
    assert contents(tmp_path / "run" / "accepted.jsonl") == contents(tmp_path / "once" / "accepted.jsonl")
    unlike = [
        text
        for (state,) in rows(tmp_path / "run", "SELECT state FROM plans ORDER BY batch")
        for text in orjson.loads(state).get("unlike", ())
    ]
    assert unlike
    away = rows(
        tmp_path / "run",
        "SELECT json_extract(record, '$.question') FROM items WHERE rejected_by = 'groupcheck'"
        " AND json_extract(meta, '$.replaces') IS NULL ORDER BY item",
    )
    assert unlike == [text for (text,) in away[: len(unlike)]]


@pytest.mark.parametrize(
    ("generate", "said"),
    [
        ({"strategy": "adaptive"}, "needs attributes, or two strategies"),
        ({"strategy": "adaptive", "strategies": {"one": {}}}, "needs attributes, or two strategies"),
        ({"strategies": {"a": {"share": 0}}}, "generate.strategies.a.share: should be greater than 0"),
        ({"strategies": {"a": {"temperature": 3}}}, "must lie between 0 and 2"),
        ({"strategies": {"a": {"colour": 3}}}, "generate.strategies.a.colour: there is no such key"),
    ],
)
async def test_wrong_settings(generate: dict[str, Any], said: str, tmp_path: Path, configs: Configs) -> None:
    with pytest.raises(ConfigError) as told:
        configs.load("http://127.0.0.1:9/v1", generate=generate)
    assert said in str(told.value)


def test_outcomes_of_earlier_starts_are_whole_before_the_first_batch_that_is_not_decided() -> None:
    outcomes = [BatchOutcome(batch, "", 1, 0) for batch in (0, 2, 3, 5)]
    assert Earlier.split(outcomes, 3) == Earlier(outcomes[:2], outcomes[2:])
    assert Earlier.split(outcomes, 4) == Earlier(outcomes[:3], outcomes[3:])

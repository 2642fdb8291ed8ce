"""The plan: every purpose that a run asks for, what the figures rest on, and that they hold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, datagen, finished, run_in
from engine.config import RunConfig
from engine.runs.api import calibrate
from engine.runs.estimate import Plan, Range, plan_of
from engine.runs.modes import GenerateMode
from engine.store.folder import RunFolder
from test_calibration import base

ANYWHERE = "http://127.0.0.1:1/v1"


def planned(config: RunConfig, folder: Path | None = None) -> Plan:
    return plan_of(GenerateMode().load(config), RunFolder(folder) if folder is not None else None)


RANGES = st.tuples(st.floats(0.01, 10), st.floats(1, 5), st.floats(1, 5)).map(
    lambda parts: Range(parts[0], parts[0] * parts[1], parts[0] * parts[1] * parts[2])
)


@given(RANGES, RANGES)
def test_a_product_is_as_uncertain_as_its_parts_allow(one: Range, other: Range) -> None:
    product = one.times(other)
    assert product.low <= product.likely <= product.high
    assert math.isclose(product.likely, one.likely * other.likely)
    assert product.low >= one.low * other.low * (1 - 1e-9), "both are seldom at their ends"
    assert product.high <= one.high * other.high * (1 + 1e-9)
    assert product.high / product.likely >= max(one.high / one.likely, other.high / other.likely) * (1 - 1e-9)


def test_a_product_with_what_may_be_nothing() -> None:
    assert Range(0, 0, 2).times(Range(1, 2, 3)) == (0, 0, 6)
    assert Range(0, 1, 2).times(Range(1, 1, 1)) == (0, 1, 2)


def test_every_purpose_of_a_run_is_counted(configs: Configs, tmp_path: Path) -> None:
    facts = {"name": "facts", "source": {"kind": "local", "path": str(tmp_path / "none.jsonl")}}
    (tmp_path / "none.jsonl").write_text('{"title": "a", "text": "b"}')
    validators = [
        "constraints",
        "code",
        "agree",
        facts,
        {"name": "reflection", "max_rounds": 2},
        "difficulty",
    ]
    attributes = {"topic": {"extract": 5}}
    config = configs.load(ANYWHERE, validators=validators, generate={"attributes": attributes, "few_shot": 1})
    plan = planned(config)
    assert plan.source == "stated"
    assert {purpose for step in plan.steps for purpose in step.purposes.split(", ")} == {
        "items", "attributes", "program", "same_answer", "agree", "entities", "fact_check", "review", "revision",
        "enhancement_plan", "enhancement",
    }  # fmt: skip
    assert plan.dollars is not None
    assert plan.dollars.low < plan.dollars.likely < plan.dollars.high
    fewer = planned(configs.load(ANYWHERE, validators=["constraints"], generate={"few_shot": 1}))
    assert fewer.dollars is not None
    assert plan.dollars.likely > 3 * fewer.dollars.likely


def test_what_a_model_of_its_own_costs_is_counted(configs: Configs) -> None:
    dear = {"name": "dear", "price": {"input": 100, "output": 100}}
    plain = planned(configs.load(ANYWHERE, validators=["agree"])).dollars
    own = planned(
        configs.load(ANYWHERE, validators=["agree"], model={"purposes": {"agree": ["cheap", dear]}})
    )
    assert own.dollars is None, "the price of one is not known"
    both = {"agree": [{"name": "cheap", "price": {"input": 1, "output": 2}}, dear]}
    known = planned(configs.load(ANYWHERE, validators=["agree"], model={"purposes": both})).dollars
    assert plain is not None
    assert known is not None
    assert known.likely > 10 * plain.likely


async def spent(configs: Configs, folder: Path, config: RunConfig) -> float:
    report = await run_in(folder, config)
    assert report.outcome == "target"
    return report.data["cost"]["spent_usd"]


@pytest.mark.parametrize("source", ["calibration", "earlier start"])
async def test_a_run_costs_what_its_plan_says(
    endpoint: Start, configs: Configs, tmp_path: Path, source: str
) -> None:
    url, _ = await endpoint(kind="word_problems", wrong_labels=0.5, answer_accuracy=0.8)
    given: dict[str, Any] = {
        "dataset": {"path": str(base(tmp_path / "p.jsonl", 300))},
        "validators": ["agree", "reflection"],
        "generate": {"target": 150},
    }
    if source == "calibration":
        await calibrate(configs.load(url, **given), tmp_path / "cal", items=60)
        given["quality"] = {"calibration": str(tmp_path / "cal")}
    else:
        few = configs.load(url, **{**given, "generate": {"target": 40}})
        await run_in(tmp_path / "run", few)
    before = (
        0.0
        if source == "calibration"
        else orjson.loads((tmp_path / "run/report.json").read_bytes())["cost"]["spent_usd"]
    )
    config = configs.load(url, **given)
    plan = planned(config, tmp_path / "run")
    assert plan.source == source
    assert plan.left == (150 if source == "calibration" else 110)
    assert plan.dollars is not None
    took = await spent(configs, tmp_path / "run", config) - before
    assert plan.dollars.low <= took <= plan.dollars.high
    assert abs(plan.dollars.likely - took) <= 0.3 * took


async def test_the_command_says_what_its_figures_rest_on(configs: Configs, tmp_path: Path) -> None:
    path = configs.write(ANYWHERE, validators=["agree"], limits={"budget_usd": 0.01})
    code, out, err = await finished(await datagen("plan", path, cwd=tmp_path))
    assert code == 0, err
    assert "stated beforehand, not measured: `datagen calibrate`" in out
    assert "stop at its cap of $0.01" in out
    assert "agree" in out

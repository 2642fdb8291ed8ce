"""Attributes: where their values come from, how evenly they are covered, what the items and the report say."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Configs, Start, lines, run_in
from engine.errors import ConfigError
from engine.planning.attributes import Attribute, Cells, counted
from engine.planning.extract import keywords_in
from engine.runs.modes import GenerateMode

GOLDEN = (1 + math.sqrt(5)) / 2
SUBJECT = Attribute("subject", {"": {"algebra": 3.0, "geometry": 1.0}})
TOPIC = Attribute(
    "topic", {"algebra": {"lines": 1.0, "roots": 2.0}, "geometry": {"circles": 1.0, "angles": 1.0}}, "subject"
)
LEVEL = Attribute("level", {"": {"easy": 1.0, "hard": 1.0, "odd": 2.0}})


def bound(n: int, quotients: int) -> float:
    """The docstring's, of Cells."""
    return 2 * (3 + (1 / math.log(GOLDEN) + quotients / math.log(quotients + 1)) * math.log(n))


@given(st.integers(0, 2**62), st.integers(2, 3000), st.integers(0, 10**7))
@settings(max_examples=60)
def test_coverage_within_the_bound_at_any_n(seed: int, n: int, first: int) -> None:
    cells = Cells([SUBJECT, TOPIC, LEVEL], seed)
    met: Counter[tuple[str, ...]] = Counter()
    for number in range(first, first + n):
        values = dict(cells.at(number))
        met[values["subject"], values["topic"]] += 1
        met[(values["level"],)] += 1
    shares = {
        ("algebra", "lines"): 0.25, ("algebra", "roots"): 0.5, ("geometry", "circles"): 0.125,
        ("geometry", "angles"): 0.125, ("easy",): 0.25, ("hard",): 0.25, ("odd",): 0.5,
    }  # fmt: skip
    assert set(met) <= set(shares)
    for values, share in shares.items():
        quotients = 1 if len(values) == 2 else 2  # the golden ratio's, the square root of two's
        assert abs(met[values] - n * share) <= bound(n, quotients)


def test_it_is_far_more_even_than_chance() -> None:
    cells = Cells([SUBJECT, TOPIC, LEVEL], 5)
    met = Counter(cells.at(number) for number in range(1200))
    shares = {"lines": 0.25, "roots": 0.5, "circles": 0.125, "angles": 0.125}
    levels = {"easy": 0.25, "hard": 0.25, "odd": 0.5}
    for cell, count in met.items():
        values = dict(cell)
        assert abs(count - 1200 * shares[values["topic"]] * levels[values["level"]]) <= 12
    assert len(met) == 12


def test_children_of_one_value_are_not_tied_together() -> None:
    left = Attribute("left", {"x": {"a": 1.0, "b": 1.0}}, "root")
    right = Attribute("right", {"x": {"c": 1.0, "d": 1.0}}, "root")
    cells = Cells([Attribute("root", {"": {"x": 1.0}}), left, right], 3)
    met = Counter((dict(cells.at(n))["left"], dict(cells.at(n))["right"]) for n in range(400))
    assert all(abs(count - 100) <= 4 for count in met.values())
    assert len(met) == 4


def test_a_value_without_further_values_has_none() -> None:
    topic = Attribute("topic", {"algebra": {"lines": 1.0}}, "subject")
    cells = Cells([SUBJECT, topic], 0)
    for number in range(50):
        values = dict(cells.at(number))
        assert ("topic" in values) == (values["subject"] == "algebra")


def test_values_are_counted_and_merged() -> None:
    seen = ["Money", "money ", "MONEY", "money", "time", "", "  "]
    assert counted(seen, 5, even=False) == {"money": 4.0, "time": 1.0}
    assert counted(seen, 1, even=True) == {"money": 1.0}


@pytest.mark.parametrize(
    ("reply", "keywords"),
    [
        ('{"attributes": [{"index": 0, "keywords": ["a", " b "]}, {"keywords": ["d"]}]}', ["a", " b ", "d"]),
        ('Sure: ```json\n{"attributes": [{"keywords": ["a"]}]}\n```', ["a"]),
        ('{"attributes": [3, {"keywords": "x"}, {"keywords": [1, null, "ok"]}]}', ["ok"]),
        ("no JSON", []),
        ('{"attributes": {"a": 1}}', []),
    ],
)  # fmt: skip
def test_keywords_of_a_reply(reply: str, keywords: list[str]) -> None:
    assert keywords_in(reply) == keywords


# --- in a run --------------------------------------------------------------------------------------


async def test_items_carry_what_they_were_asked_for(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint(violations=0.2)
    attributes: dict[str, Any] = {
        "subject": {"algebra": 3, "geometry": 1},
        "topic": {"of": "subject", "by": {"algebra": ["lines", "roots"], "geometry": ["circles"]}},
    }
    config = configs.load(
        url,
        dataset={"constraints": [{"length": {"max": 60}}]},
        generate={"target": 120, "batch_size": 2, "attributes": attributes},
    )
    report = await run_in(tmp_path / "run", config)
    met: Counter[str] = Counter()
    for state in ("accepted", "rejected"):
        for row in lines(tmp_path / "run" / f"{state}.jsonl"):
            values = row["_meta"]["attributes"]
            assert values["topic"] in (
                ("circles",) if values["subject"] == "geometry" else ("lines", "roots")
            )
            met[values["topic"], state] += 1  # type: ignore[index]
    found = report.data["diversity"]["attributes"]["values"]["topic"]
    for topic, counts in found.items():
        assert counts["accepted"] == met[topic, "accepted"]  # type: ignore[index]
        assert counts["asked"] == met[topic, "accepted"] + met[topic, "rejected"]  # type: ignore[index]
    assert abs(found["circles"]["asked"] / sum(each["asked"] for each in found.values()) - 0.25) < 0.06
    assert report.data["diversity"]["measures"]["attributes"]["topic"]["values"] == 3


async def test_values_of_a_field_and_of_examples(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    rows = [
        {
            "question": f"What about apples and trains, {n}?",
            "answer": str(n),
            "level": "hard" if n % 4 == 0 else "easy",
        }
        for n in range(20)
    ]
    configs.base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    url, simulator = await endpoint()
    sections: dict[str, Any] = {
        "dataset": {"fields": {"text": "question", "label": "answer", "extras": ["level"]}},
        "generate": {
            "target": 30,
            "attributes": {
                "level": {"field": "level", "weights": "counts"},
                "theme": {"extract": 15, "keep": 2},
            },
        },
    }
    report = await run_in(tmp_path / "run", configs.load(url, **sections))
    asked_for = {
        each["name"]: each["values"][""] for each in report.data["diversity"]["attributes"]["asked_for"]
    }
    assert asked_for["level"] == {"easy": 15.0, "hard": 5.0}
    assert set(asked_for["theme"]) <= {"about", "apples", "trains"}
    assert len(asked_for["theme"]) == 2
    assert simulator.statistics.purposes["attributes"] == 2  # ten examples in a call
    assert report.data["calls"]["by_purpose"]["attributes"] == 2
    more = configs.load(url, **{**sections, "generate": {**sections["generate"], "target": 40}})
    await run_in(tmp_path / "run", more)
    assert simulator.statistics.purposes["attributes"] == 2  # found once


async def test_a_model_that_names_nothing_ends_the_run_before_it_begins(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint(refusals=1.0)
    config = configs.load(url, generate={"attributes": {"theme": {"extract": 5}}})
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "fatal"
    assert "generate.attributes.theme: the model named no keyword" in report.data["message"]
    assert report.data["items"]["generated"] == 0


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"a": {}}, "needs exactly one of"),
        ({"a": []}, "names no value"),
        ({"a": ["x", "x"]}, "names a value twice"),
        ({"a": {"x": 0.0}}, "generate.attributes.a"),
        ({"a": {"x": -1}}, "should be greater than 0"),
        ({"a": ["x"], "b": {"of": "c", "by": {"x": ["y"]}}}, "'b' is of 'c', which does not stand before it"),
        ({"a": ["x", "z"], "b": {"of": "a", "by": {"x": ["y"]}}}, "'b' has no values for a 'z'"),
        ({"a": ["x"], "b": {"of": "a", "by": {"x": ["y"], "q": ["y"]}}}, "which 'a' does not have"),
        ({"a": {"by": {"x": ["y"]}}}, "give both"),
        ({"a": {"x": "many", "y": 1}}, "generate.attributes.a.values.x: should be a valid number"),
        ({"a": {"x": 1e308, "y": 1e308}}, "should be less than or equal to 1000000000"),
        ({"a": ["x", None]}, "must be a list of texts or numbers"),
        ({"a": [" "]}, "generate.attributes.a"),
        ({"": ["x"]}, "generate.attributes"),
        ({"a": {"field": "level"}}, "generate.attributes.a.field: no row has a value of 'level'"),
        ({f"a{n}": ["x", "y"] for n in range(9)}, "9 of them depend on no other; at most 8 may"),
    ],
)
async def test_wrong_settings(attributes: Any, said: str, tmp_path: Path, configs: Configs) -> None:
    with pytest.raises(ConfigError) as told:
        await run_in(
            tmp_path / "run", configs.load("http://127.0.0.1:9/v1", generate={"attributes": attributes})
        )
    assert said in str(told.value)


def test_without_a_base_dataset_nothing_can_be_extracted(configs: Configs) -> None:
    config = configs.load(
        "http://127.0.0.1:9/v1",
        dataset={"path": None},
        generate={"few_shot": 0, "attributes": {"theme": {"extract": 5}}},
    )
    with pytest.raises(ConfigError, match=r"generate\.attributes\.theme: comes from the base dataset"):
        GenerateMode().load(config)

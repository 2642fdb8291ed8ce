"""What was asked is what came: attributes of items are verified, by program or by a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, Start, lines, run_in
from engine.config import GenerateConfig
from engine.conformance import check_validator, item, tools_for
from engine.items import Decision, Item, Prompt, Verdict
from engine.planning.attributes import alike, counted
from engine.planning.few_shot import Randomly
from engine.planning.plan import Planner
from engine.planning.strategies import Choice
from validators.adherence import AdherenceCheck


def asked_for(text: str, *attributes: tuple[str, str], position: int = 0, **extras: Any) -> Item:
    made = item(text, "x", position=position)
    return made.evolve(batch=replace(made.batch, attributes=attributes), extras=extras)


async def judged(made: Item, reply: Any = None) -> tuple[Verdict, list[Prompt]]:
    asked: list[Prompt] = []
    tools = (
        tools_for(lambda _: {"items": [{"index": 0, **reply}]}, asked=asked)
        if reply
        else tools_for(asked=asked)
    )
    return await AdherenceCheck(tools).validate(made), asked


@pytest.mark.parametrize(
    ("made", "reply", "reason", "calls"),
    [
        (asked_for("Ships.", ("topic", "sea")), {"kept": ["topic"], "broken": []}, "", 1),
        (asked_for("Cows.", ("topic", "sea")), {"kept": [], "broken": ["topic"]}, "attribute:topic", 1),
        (asked_for("x", ("level", "Hard"), level="hard "), None, "", 0),
        (asked_for("x", ("level", "hard"), level=["easy", "hard"]), None, "", 0),
        (asked_for("x", ("level", "hard"), level="easy"), None, "attribute:level", 0),
        (asked_for("x", ("level", "hard"), ("topic", "sea"), level="easy"), None, "attribute:level", 0),
        (asked_for("x", ("label", "X")), None, "", 0),
        (asked_for("x"), None, "", 0),
    ],
)
async def test_each_attribute_is_looked_at(made: Item, reply: Any, reason: str, calls: int) -> None:
    verdict, asked = await judged(made, reply)
    assert (verdict.decision is Decision.PASS, verdict.reason) == (not reason, reason)
    assert len(asked) == calls
    if asked:
        assert "- topic: sea" in asked[0].user


async def test_a_reply_that_leaves_one_out_is_none() -> None:
    from engine.errors import Unparseable

    with pytest.raises(Unparseable, match="says nothing of topic"):
        await judged(asked_for("Ships.", ("topic", "sea")), {"kept": ["other"], "broken": []})


async def test_the_conformance_suite() -> None:
    def says(prompt: Prompt) -> dict[str, Any]:
        good = "Ships" in prompt.user
        return {
            "items": [{"index": 0, "kept": ["topic"] if good else [], "broken": [] if good else ["topic"]}]
        }

    await check_validator(
        AdherenceCheck,
        good=asked_for("Ships.", ("topic", "sea")),
        bad=asked_for("Cows.", ("topic", "sea"), position=1),
        answers=says,
    )


async def test_the_report_counts_what_is_verified(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, _ = await endpoint(kind="word_problems")
    attributes = {"thing": ["apples", "books", "coins"]}
    config = configs.load(
        url, generate={"target": 12, "attributes": attributes}, validators=["adherence"],
        limits={"least_acceptance": 0.0, "attempts": 60.0},
    )  # fmt: skip
    report = await run_in(tmp_path / "run", config)
    values = report.data["diversity"]["attributes"]["values"]["thing"]
    assert sum(each.get("verified", 0) for each in values.values()) == report.accepted
    assert report.data["items"]["reasons"]["adherence"]["attribute:thing"] > 0
    for row in lines(tmp_path / "run" / "accepted.jsonl"):
        assert row["_meta"]["attributes"]["thing"][:5] in row["question"].casefold()


# --- what is asked -----------------------------------------------------------------------------------


def test_examples_of_an_asked_value_come_first() -> None:
    generate = GenerateConfig(target=10, few_shot=4)
    rows = {("topic", "sea"): [3, 7, 11], ("level", "hard"): [7, 11, 20]}
    planner = Planner(generate, 1, {"only": Randomly(50)}, rows)
    plain = Planner(generate, 1, {"only": Randomly(50)})
    for number in range(30):
        batch = planner.batch(number, choice=Choice("only", (("topic", "Sea"),)))
        assert set(batch.examples[:2]) <= {3, 7, 11}
        assert len(set(batch.examples)) == 4
        both = planner.batch(number, choice=Choice("only", (("topic", "sea"), ("level", "hard"))))
        assert set(both.examples[:2]) <= {7, 11}
        other = Choice("only", (("topic", "moon"),))
        assert planner.batch(number, choice=other) == plain.batch(number, choice=other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Fractions", "fraction"), ("word-play", "Word play"), ("colour", "color"), ("Cities", "city"),
        ("centre", "center"),
    ],
)  # fmt: skip
def test_values_that_a_model_spells_now_so_now_so_are_one(one: str, other: str) -> None:
    assert alike(one) == alike(other)
    assert len(counted([one, other, one], 9, even=True, loosely=True)) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("glass", "glas"), ("bus", "bu"), ("art", "arts and crafts"), ("for", "four")]
)
def test_values_that_differ_stay_two(one: str, other: str) -> None:
    assert alike(one) != alike(other)


async def test_rows_of_the_base_dataset_that_fit_are_shown(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    rows = [
        {"question": f"What is {n} and 1?", "answer": str(n + 1), "size": "big" if n % 2 else "small"}
        for n in range(40)
    ]
    (tmp_path / "base.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    fields = {"text": "question", "label": "answer", "extras": ["size"]}
    config = configs.load(
        url, dataset={"path": str(tmp_path / "base.jsonl"), "fields": fields},
        generate={"target": 12, "few_shot": 2, "attributes": {"size": {"field": "size"}}},
    )  # fmt: skip
    await run_in(tmp_path / "run", config)
    for row in lines(tmp_path / "run" / "accepted.jsonl"):
        first = rows[row["_meta"]["examples"][0] - 1]
        assert first["size"] == row["_meta"]["attributes"]["size"]

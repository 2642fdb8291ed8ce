"""Copies of base rows and of earlier items are never accepted, with or without a group check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, lines
from engine.dataset.forms import Example
from engine.report.tables import outcome_lines
from engine.runs.api import arun
from engine.stages.repeats import Repeats, Texts


def parrot(simulator: Any, texts: list[str]) -> None:
    """Makes the endpoint answer with these texts in turn, again and again."""
    original, count = simulator._completion, 0

    def answered(*arguments: Any) -> bytes:
        nonlocal count
        reply = orjson.loads(original(*arguments))
        item = {"text": texts[count % len(texts)], "label": "7"}
        count += 1
        reply["choices"][0]["message"]["content"] = orjson.dumps({"items": [item]}).decode()
        return orjson.dumps(reply)

    simulator._completion = answered


async def test_a_model_that_copies_gets_nothing_past(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, simulator = await endpoint()
    base = lines(configs.base)[0]["question"]
    parrot(
        simulator,
        ["New one, with 3 pens?", base.upper() + " ", "new one, with 3  pens", "Another, with 4 pens?"],
    )
    config = configs.load(
        url, generate={"target": 40, "batch_size": 1}, limits={"attempts": 1, "concurrency": 1}
    )
    report = await arun(config, tmp_path / "run")
    assert report.outcome == "attempts"
    texts = [row["question"] for row in lines(tmp_path / "run" / "accepted.jsonl")]
    assert sorted(texts) == ["Another, with 4 pens?", "New one, with 3 pens?"]
    assert report.data["items"]["reasons"]["repeats"] == {"base_row": 10, "item": 28}
    said = " ".join(outcome_lines(report, tmp_path / "run"))
    assert "38 of 40 items were copies" in said
    assert "generate.temperature" in said


async def test_what_nothing_was_accepted_of_has_no_price_an_item(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, simulator = await endpoint()
    parrot(simulator, [lines(configs.base)[0]["question"]])
    config = configs.load(
        url, generate={"target": 4, "batch_size": 1}, limits={"attempts": 1, "concurrency": 1}
    )
    report = await arun(config, tmp_path / "run")
    assert (report.accepted, report.data["cost"]["per_accepted_usd"]) == (0, 0.0)
    assert "for each accepted item" not in " ".join(outcome_lines(report, tmp_path / "run"))
    assert ">-</td>" in report._repr_html_()


async def test_what_was_accepted_before_a_stop_is_remembered(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, simulator = await endpoint()
    parrot(simulator, ["One, with 1 pen?", "Two, with 2 pens?"])
    config = configs.load(url, generate={"target": 2, "batch_size": 1}, limits={"concurrency": 1})
    assert (await arun(config, tmp_path / "run")).outcome == "target"
    more = configs.load(
        url, generate={"target": 3, "batch_size": 1}, limits={"attempts": 4, "concurrency": 1}
    )
    assert (await arun(more, tmp_path / "run")).accepted == 2


async def test_who_wants_repeats_may_have_them(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, simulator = await endpoint()
    parrot(simulator, ["The same, with 3 pens?"])
    config = configs.load(url, generate={"target": 5, "batch_size": 1, "allow_repeats": True})
    assert (await arun(config, tmp_path / "run")).accepted == 5


@given(st.lists(st.text(min_size=1), max_size=60), st.lists(st.text(min_size=1), max_size=60))
def test_texts_are_a_set(there: list[str], added: list[str]) -> None:
    from engine.diversity.sameness import text_key

    texts = Texts(Example(0, text) for text in there)
    known = {text_key(Example(0, text)) for text in there}
    for text in added:
        example = Example(0, text)
        assert (example in texts) == (text_key(example) in known)
        texts.add(example)
        known.add(text_key(example))


def test_thousands_are_sorted_in() -> None:
    repeats = Repeats([])
    for number in range(10_000):
        repeats._accepted.add(Example(0, f"text {number}"))
    assert all(Example(0, f"text {number}") in repeats._accepted for number in range(0, 10_000, 97))
    assert Example(0, "text 10000") not in repeats._accepted
    assert len(repeats._accepted._recent) < 5_000


@pytest.mark.parametrize("against_base", [True, False])
async def test_a_group_check_that_ignores_the_base_still_takes_no_copies_of_it(
    against_base: bool, endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, simulator = await endpoint()
    base = lines(configs.base)[0]["question"]
    parrot(simulator, [base])
    config = configs.load(
        url,
        generate={"target": 2, "batch_size": 1},
        groupcheck={"same": "text", "against_base": against_base},
        limits={"attempts": 3},
    )
    assert (await arun(config, tmp_path / "run")).accepted == 0

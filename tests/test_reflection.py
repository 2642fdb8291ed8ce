"""Reflection ends, and keeps no revision that was not judged good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, lines, run_in
from engine.conformance import check_validator, item, tools_for
from engine.errors import ContentFiltered
from engine.flow.halt import Halt
from engine.items import Decision, Item, Prompt, Verdict
from engine.simulator.truth import is_right
from engine.stages.refine import Refine
from validators.reflection import Reflection


async def reflected(reviews: list[bool], **options: Any) -> tuple[Verdict, list[Prompt]]:
    """The verdict where reviews find this, in order, and each revision has the next letter as its label."""
    asked: list[Prompt] = []
    left = list(reviews)
    letters = iter("bcdefghijkl")

    def answers(prompt: Prompt) -> Mapping[str, Any]:
        if prompt.purpose == "review":
            return {"analysis": "so it is", "good": left.pop(0)}
        return {"item": {"label": next(letters)}}

    return await Reflection(tools_for(answers, asked=asked), **options).validate(item("Which?", "a")), asked


@given(st.lists(st.booleans(), min_size=12, max_size=12), st.integers(0, 5))
async def test_the_last_word_is_a_review(reviews: list[bool], rounds: int) -> None:
    verdict, asked = await reflected(reviews, max_rounds=rounds)
    seen = reviews[: sum(prompt.purpose == "review" for prompt in asked)]
    assert asked[-1].purpose == "review"
    assert len(seen) <= rounds + 1
    if seen == [True]:
        assert verdict.decision is Decision.PASS
    elif seen[-1]:
        assert verdict.decision is Decision.REVISE
        assert verdict.item is not None
        assert verdict.item.label == "abcdefghijkl"[len(seen) - 1]
    else:
        assert (verdict.decision, verdict.reason) == (Decision.REJECT, "not_good")
        assert len(seen) == rounds + 1
    assert [review["good"] for review in verdict.record["reviews"]] == seen
    assert len({prompt.key for prompt in asked}) == len(asked)


async def test_a_revision_that_cannot_be_had_ends_the_rounds() -> None:
    def answers(prompt: Prompt) -> Mapping[str, Any]:
        if prompt.purpose == "revision":
            raise ContentFiltered("no")
        return {"analysis": "wrong", "good": False}

    verdict = await Reflection(tools_for(answers)).validate(item("Which?", "a"))
    assert verdict.reason == "not_good"
    assert verdict.record["reviews"][-1] == {"round": 1, "failed": "content_filtered"}


async def test_a_reply_that_cannot_be_read_is_asked_once_more() -> None:
    asked: list[Prompt] = []

    def answers(prompt: Prompt) -> Mapping[str, Any] | str:
        return {"analysis": "", "good": True} if prompt.key.endswith(".2") else "I would rather not say."

    verdict = await Reflection(tools_for(answers, asked=asked)).validate(item("Which?", "a"))
    assert verdict.decision is Decision.PASS
    assert [prompt.key for prompt in asked] == ["0-0/reflection/review/0", "0-0/reflection/review/0.2"]
    assert asked[0].seed != asked[1].seed


async def test_the_conformance_suite() -> None:
    await check_validator(
        Reflection,
        good=item("fine"),
        bad=item("poor", position=1),
        answers=lambda prompt: (
            {"analysis": "", "good": '"fine"' in prompt.user}
            if prompt.purpose == "review"
            else {"item": {"text": "poor still"}}
        ),
    )


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="max_rounds"):
        Reflection(tools_for(), max_rounds=-1)


async def test_a_revised_item_passes_the_checks_before_it_again(endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint(wrong_labels=0.5, review_accuracy=1.0)
    config = configs.load(
        url,
        generate={"target": 40},
        validators=["constraints", {"name": "code", "max_programs": 1, "relabel_margin": 0}, "reflection"],
    )
    folder = configs.folder / "out"
    await run_in(folder, config)
    assert simulator.statistics.purposes["review"] >= 40
    config = configs.load(url, generate={"target": 40}, validators=["constraints", "reflection"])
    await run_in(configs.folder / "two", config)
    rows = lines(configs.folder / "two" / "accepted.jsonl")
    assert all(is_right({"text": row["question"], "label": row["answer"]}) for row in rows)
    revised = [row["_meta"] for row in rows if row["_meta"]["revisions"]]
    assert revised
    for meta in revised:
        said = [(verdict["by"], verdict["verdict"]) for verdict in meta["verdicts"]]
        assert said == [("constraints", "pass"), ("reflection", "revise"), ("constraints", "pass")]


async def test_validators_that_undo_each_other_end_the_item() -> None:
    class Sets:
        def __init__(self, name: str, label: str) -> None:
            self.name, self.label = name, label

        async def validate(self, item: Item) -> Verdict:
            if item.label == self.label:
                return Verdict.passed(self.name)
            return Verdict.revised(self.name, "set", item.evolve(label=self.label))

    a, b, c = Sets("a", "A"), Sets("b", "B"), Sets("c", "C")
    [settled] = await Refine(c, Halt(), lambda _: None, [])(item("x", "B"))
    assert settled.label == "C"
    [ended] = await Refine(c, Halt(), lambda _: None, [a, b])(item("x", "B"))
    assert ended.rejection is not None
    assert (ended.rejection.by, ended.rejection.reason) == ("c", "unstable")
    [kept] = await Refine(c, Halt(), lambda _: None, [a])(item("x", "B"))
    assert (kept.label, kept.rejection) == ("A", None)  # the earlier one has the last word
    assert [verdict.record for verdict in kept.verdicts] == [
        {"before": {"label": "B"}},
        {"before": {"label": "C"}},
        {},
    ]  # what each changed, as it was


async def test_purposes_may_have_models_of_their_own(endpoint: Start, configs: Configs) -> None:
    url, main = await endpoint(wrong_labels=0.5)
    other_url, other = await endpoint()
    purposes = {"review": {"name": "reviewer", "base_url": other_url, "price": {"input": 5.0, "output": 5.0}}}
    model = {"purposes": purposes}
    config = configs.load(url, model=model, generate={"target": 10}, validators=["reflection"])
    report = await run_in(configs.folder / "out", config)
    assert main.statistics.purposes["review"] == 0
    assert main.statistics.purposes["revision"] > 0
    assert other.statistics.purposes.keys() == {"review"}
    tokens = other.statistics.prompt_tokens + other.statistics.completion_tokens
    assert report.data["cost"]["by_purpose"]["review"] == pytest.approx(tokens * 5e-6)


# --- criteria, examples, a comparison in both orders -------------------------------------------------

CRITERIA = [
    {"correct": "The label is right."},
    {"name": "clear", "description": "Well put.", "scale": 3, "least": 2},
]


def scored(correct: int, clear: int, *, good: bool = True) -> dict[str, Any]:
    return {"analysis": "so it is", "scores": {"correct": correct, "clear": clear}, "good": good}


async def judged(replies: list[Mapping[str, Any]], **options: Any) -> tuple[Verdict, list[Prompt]]:
    asked: list[Prompt] = []
    left = list(replies)
    tools = tools_for(lambda prompt: left.pop(0), asked=asked)
    return await Reflection(tools, **options).validate(item("Which?", "a")), asked


@pytest.mark.parametrize(
    ("review", "decision"),
    [
        (scored(5, 3), Decision.PASS),
        (scored(4, 2), Decision.PASS),
        (scored(3, 3), Decision.REJECT),
        (scored(5, 1), Decision.REJECT),
        (scored(5, 3, good=False), Decision.REJECT),
    ],
)
async def test_an_item_needs_enough_points_for_each_criterion(review: Any, decision: Decision) -> None:
    example = {"item": {"text": "x"}, "analysis": "poor", "good": False}
    verdict, asked = await judged([review], criteria=CRITERIA, max_rounds=0, examples=[example])
    assert verdict.decision is decision
    assert verdict.record["reviews"][0]["scores"] == review["scores"]
    assert "correct (1 to 5): The label is right." in asked[0].user
    assert '"analysis":"poor"' in asked[0].user
    scores = asked[0].schema["properties"]["scores"]
    assert scores["required"] == ["correct", "clear"]
    assert scores["properties"]["clear"]["maximum"] == 3


async def test_a_review_without_its_points_is_asked_for_once_more() -> None:
    bare = {"analysis": "fine", "good": True}
    verdict, asked = await judged([bare, scored(5, 3)], criteria=CRITERIA)
    assert (verdict.decision, len(asked)) == (Decision.PASS, 2)


@pytest.mark.parametrize(
    ("first", "second", "decision", "better"),
    [
        ("first", "second", Decision.REVISE, 1.0),  # the revision stood first, then second
        ("second", "first", Decision.PASS, 0.0),
        ("first", "first", Decision.REVISE, 0.5),  # whatever stands first
    ],
)
async def test_the_better_one_in_both_orders_is_kept(
    first: str, second: str, decision: Decision, better: float
) -> None:
    verdict, asked = await judged(
        [
            {"analysis": "wrong", "good": False},
            {"item": {"label": "b"}},
            {"analysis": "right", "good": True},
            {"reasoning": "", "better": first},
            {"reasoning": "", "better": second},
        ],
        compare=True,
    )
    assert (verdict.decision, verdict.record["better"]) == (decision, better)
    orders = [prompt.user.partition("```json")[2] for prompt in asked[-2:]]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


@pytest.mark.parametrize(
    ("criteria", "said"),
    [
        ([{"name": "a", "description": "b", "scale": 3, "least": 4}], "least is 4, and there are 3 points"),
        ([{"a": "x"}, {"a": "y"}], "names one of them twice"),
        ([{"not a name": "x"}], "criteria.0"),
    ],
)
def test_criteria_that_cannot_be(criteria: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Reflection(tools_for(), criteria=criteria)


async def test_a_report_says_how_often_revisions_are_better(
    endpoint: Start, configs: Configs, tmp_path: Any
) -> None:
    url, _ = await endpoint(kind="word_problems", wrong_labels=0.6, review_accuracy=0.95)
    options = {"name": "reflection", "compare": True, "criteria": [{"correct": "The label is right."}]}
    config = configs.load(url, generate={"target": 30}, validators=[options])
    report = await run_in(tmp_path / "run", config)
    shown = report.data["validators"]["reflection"]
    assert shown["revised"] > 5
    assert shown["better"] > 0.8
    assert shown["caught"] == shown["rejected"], "a revision is no catch"
    assert report.data["calls"]["by_purpose"]["preference"] >= 2 * shown["revised"]

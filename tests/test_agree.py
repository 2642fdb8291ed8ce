"""Labels confirmed by independent answers: who is asked, when it stops, what is the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, lines, run_in
from engine.conformance import check_validator, item, tools_for
from engine.errors import ConfigError, ContentFiltered
from engine.items import Decision, Item, Prompt, Verdict
from engine.store.prompts import read_prompt
from engine.store.reading import connect
from validators.agree import Agree, AgreeOptions, Outcome, outcome_of


async def judged(
    replies: Sequence[Any],
    made: Item | None = None,
    *,
    labels: Sequence[str] = (),
    models: Sequence[str] = (),
    same: bool = False,
    **options: Any,
) -> tuple[Verdict, list[Prompt]]:
    """The verdict where models answer this, in turn; and what was asked."""
    asked: list[Prompt] = []
    numbers = count()

    def said(prompt: Prompt) -> Any:
        if prompt.purpose == "same_answer":
            return {"same": same}
        answer = replies[next(numbers)]
        if isinstance(answer, Exception):
            raise answer
        return {"reasoning": "Because.", "answer": answer}

    made = made or item("How much is 6 times 7?", "42")
    tools = replace(
        tools_for(said, choices=bool(made.choices), asked=asked), labels=labels, models=lambda _: models
    )
    return await Agree(tools, **options).validate(made), asked


@pytest.mark.parametrize(
    ("answers", "options", "decision", "reason", "asked"),
    [
        (["42", "42.0", "7"], {}, Decision.PASS, "", 2),
        (["42", "7", "forty-two"], {}, Decision.PASS, "", 3),
        (["7", "7", "42"], {}, Decision.REJECT, "disagreed", 2),
        (["7", "8", "42"], {}, Decision.REJECT, "scattered", 2),
        (["7", "8", "9"], {"scattered": "keep"}, Decision.PASS, "", 3),
        (["7", "7"], {"scattered": "keep"}, Decision.REJECT, "disagreed", 2),
        (["7", "42", "7"], {"relabel": "majority"}, Decision.REVISE, "relabelled", 3),
        (["7", "42", "8"], {"relabel": "majority"}, Decision.REJECT, "scattered", 3),
        (["42"] * 3, {"answers": 5, "agree": 3}, Decision.PASS, "", 3),
        (["1", "2", "3"], {"answers": 5, "agree": 3}, Decision.REJECT, "scattered", 3),
        (["unknown", "I do not know", "42"], {"agree": 1}, Decision.PASS, "", 3),
        ([ContentFiltered("no"), "42", "42"], {}, Decision.PASS, "", 3),
        ([ContentFiltered("no"), ContentFiltered("no")], {}, Decision.REJECT, "scattered", 2),
    ],
)
async def test_it_stops_as_soon_as_the_outcome_is_settled(
    answers: list[Any], options: dict[str, Any], decision: Decision, reason: str, asked: int
) -> None:
    verdict, prompts = await judged(answers, **options)
    assert (verdict.decision, verdict.reason) == (decision, reason)
    calls = [prompt for prompt in prompts if prompt.purpose == "agree"]
    assert len(calls) == asked == verdict.record["asked"]
    assert verdict.record["saved"] == options.get("answers", 3) - asked
    assert all("42" not in prompt.user for prompt in calls), "whoever answers does not see the label"


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=8),
    st.integers(1, 8),
    st.sampled_from(["never", "majority"]),
    st.sampled_from(["reject", "keep"]),
)
def test_stopping_early_changes_no_verdict(cast: list[int], agree: int, relabel: Any, scattered: Any) -> None:
    """Whether an item is kept, and with which label, is as if all had been asked, and counted in order."""
    options = AgreeOptions(answers=len(cast), agree=agree, relabel=relabel, scattered=scattered)
    votes, settled = [0, 0, 0, 0], Outcome.OPEN
    for number, place in enumerate(cast, 1):
        if settled is not Outcome.OPEN:
            break
        votes[place] += 1
        settled = outcome_of(votes, len(cast) - number, options)
    assert settled is not Outcome.OPEN
    first = first_to(cast, agree, {0} if relabel == "never" else {0, 1, 2, 3})
    others = first_to(cast, agree, {1, 2, 3})
    if first == 0:
        assert settled is Outcome.CONFIRMED
    elif relabel == "majority":
        assert settled is (Outcome.SCATTERED if first is None else Outcome.CONTRADICTED)
    elif scattered == "keep":
        assert settled is (Outcome.SCATTERED if others is None else Outcome.CONTRADICTED)
    else:
        assert settled in (Outcome.SCATTERED, Outcome.CONTRADICTED)


def first_to(cast: Sequence[int], agree: int, among: set[int]) -> int | None:
    """Which answer has so many votes first."""
    counts = [0, 0, 0, 0]
    for place in cast:
        counts[place] += 1
        if place in among and counts[place] == agree:
            return place
    return None


@pytest.mark.parametrize(
    ("made", "answers", "labels", "decision"),
    [
        (item("Which city?", "B", ["Paris", "Lyon"]), ["Lyon", "B"], (), Decision.PASS),
        (item("Which city?", "B", ["Paris", "Lyon"]), ["Paris", "(A)"], (), Decision.REJECT),
        (item("I loved it.", "positive"), ["Positive.", "it is positive"], ("positive", "negative"), Decision.PASS),
        (item("I loved it.", "positive"), ["negative", "Negative"], ("positive", "negative"), Decision.REJECT),
        (item("I loved it.", "positive"), ["good", "fine"], ("positive", "negative"), Decision.REJECT),
        (item("When?", "2024-03-02"), ["March 2, 2024", "2 March 2024"], (), Decision.PASS),
    ],
)  # fmt: skip
async def test_any_kind_of_label(made: Item, answers: list[str], labels: Any, decision: Decision) -> None:
    verdict, prompts = await judged(answers, made, labels=labels)
    assert verdict.decision is decision
    assert {prompt.purpose for prompt in prompts} == {"agree"}, "rules decide here"
    assert all(label in prompts[0].user for label in labels)


async def test_several_labels_are_a_set() -> None:
    made, labels = item("A red car.").evolve(label=("colour", "thing")), ("colour", "thing", "place")
    verdict, _ = await judged(["thing, colour", "colour and thing"], made, labels=labels)
    assert verdict.decision is Decision.PASS
    verdict, _ = await judged(["place", "place"], made, labels=labels, relabel="majority")
    assert verdict.item is not None
    assert verdict.item.label == ("place",)


async def test_a_reader_is_asked_only_where_no_rule_decides() -> None:
    verdict, asked = await judged(["the first one", "number one"], item("Which?", "one of them"), same=True)
    assert verdict.decision is Decision.PASS
    assert [prompt.purpose for prompt in asked] == ["agree", "same_answer"] * 2


async def test_several_models_answer_in_turn() -> None:
    verdict, asked = await judged(["7", "42", "42"], models=("one", "two"))
    assert [prompt.route for prompt in asked] == ["agree@one", "agree@two", "agree@one"]
    assert [each["model"] for each in verdict.record["given"]] == ["one", "two", "one"]


async def test_what_has_no_label_is_not_answered() -> None:
    verdict, asked = await judged([], item("How much?"))
    assert (verdict.reason, asked) == ("no_label", [])


async def test_a_reply_that_is_cut_short_costs_a_vote() -> None:
    tools = tools_for(lambda _: '{"reasoning": "')
    verdict = await Agree(tools).validate(item("How much is 6 times 7?", "42"))
    assert verdict.reason == "scattered"


@pytest.mark.parametrize("options", [{"agree": 4}, {"answers": 0}, {"votes": 2}, {"relabel": "always"}])
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"agree|answers|votes|relabel"):
        Agree(tools_for(), **options)


async def test_the_conformance_suite() -> None:
    def says(prompt: Prompt) -> dict[str, Any]:
        return {"reasoning": "", "answer": "42"}

    await check_validator(Agree, good=item("6 * 7?", "42"), bad=item("6 * 7?", "41"), answers=says)


async def test_whoever_answers_is_told_the_labels_that_a_ratio_names(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    """Another answer is no vote for the label, and no model is asked whether it is the same."""
    url, _ = await endpoint()
    rows = [{"text": f"Message {n}.", "topic": "billing" if n % 2 else "delivery"} for n in range(20)]
    configs.base.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    path = configs.load(
        url,
        dataset={
            "fields": {"text": "text", "label": "topic"},
            "constraints": [{"label_ratio": {"delivery": 1, "billing": 1}}],
        },
        generate={"target": 4},
        validators=[{"name": "agree", "agree": 1, "scattered": "keep"}],
    )
    await run_in(tmp_path / "run", path)
    with closing(connect(tmp_path / "run" / "run.db")) as journal:
        calls = journal.execute("SELECT key, purpose, text FROM calls WHERE owner = 'agree'").fetchall()
        asked = [read_prompt(journal, key) for key, *_ in calls]
    assert {purpose for _, purpose, _ in calls} == {"agree"}, (
        "no reader is asked whether two labels are the same"
    )
    assert all(each is not None and "delivery" in each.user and "billing" in each.user for each in asked)
    assert {orjson.loads(text)["answer"] for *_, text in calls} <= {"delivery", "billing"}


# --- models of one's choice --------------------------------------------------------------------------


async def test_models_of_ones_choice_answer(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, _ = await endpoint(kind="word_problems", wrong_labels=0.5, answer_accuracy=0.9)
    purposes = {"agree": ["first", {"name": "second"}, {"name": "second"}]}
    path = configs.load(
        url,
        generate={"target": 12},
        model={"purposes": purposes},
        validators=["agree"],
    )
    report = await run_in(tmp_path / "run", path)
    assert report.outcome == "target"
    metas = [each["_meta"] for each in lines(tmp_path / "run" / "accepted.jsonl")]
    models = {each["model"] for meta in metas for each in meta["verdicts"][0]["record"]["given"]}
    assert models == {"first", "second", "second (2)"}
    assert all(meta["agreement"] >= 2 / 3 for meta in metas)


@pytest.mark.parametrize(
    ("purposes", "said"),
    [
        ({"review": ["a", "b"]}, "'review' takes one model"),
        ({"agree": []}, "'agree' names no model"),
        ({"agree": [{"base_url": "http://127.0.0.1:1/v1"}]}, "one of several models needs a name"),
        ({"agre": ["a"]}, "did you mean 'agree'"),
    ],
)
def test_models_that_cannot_be(configs: Configs, purposes: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        configs.load("http://127.0.0.1:1/v1", model={"purposes": purposes})


def test_a_key_of_one_of_several_models_is_not_written(configs: Configs) -> None:
    purposes = {"agree": ["a", {"name": "b", "api_key": "sk-of-b"}]}
    written = configs.load("http://127.0.0.1:1/v1", model={"purposes": purposes}).without_secrets()
    assert written["model"]["purposes"]["agree"][1]["api_key"] == "${DATAGEN_AGREE_API_KEY_1}"

"""Harder items: the answer survives, or the original stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, datagen, finished, lines, run_in
from engine.conformance import item, tools_for
from engine.errors import ContentFiltered
from engine.flow.halt import Halt
from engine.items import Decision, Item, Prompt, Verdict
from engine.runs.api import enhance
from engine.simulator.truth import is_right
from engine.stages.refine import Refine
from validators.difficulty import PRINCIPLES, AnswerLost, Difficulty, gives_away, numbers, paired

QUESTION = item("Anna has 12 apples and eats 3. How many are left?", "9")
CHOICE = item("Which is a planet?", "B", ("Sun", "Mars", "Moon"))


async def made_harder(
    before: Item, sent: Mapping[str, Any], *principles: str, same: bool = True, **options: Any
) -> Verdict:
    """The verdict where a model chooses these principles and sends this item."""

    def answers(prompt: Prompt) -> Mapping[str, Any]:
        if prompt.purpose == "enhancement_plan":
            return {"analysis": "so", "principles": list(principles)}
        return {"same": same} if prompt.purpose == "same_answer" else {"item": dict(sent)}

    return await Difficulty(tools_for(answers, choices=bool(before.choices)), **options).validate(before)


async def test_a_harder_question_keeps_its_label() -> None:
    harder = "Out of the 12 apples that Anna has, she eats 3. How many remain?"
    verdict = await made_harder(QUESTION, {"text": harder}, "paraphrase_question", "add_context")
    assert (verdict.decision, verdict.tentative) == (Decision.REVISE, True)
    assert verdict.item is not None
    assert (verdict.item.text, verdict.item.label) == (harder, "9")
    assert verdict.record["principles"] == ["paraphrase_question", "add_context"]
    assert verdict.record["before"] == {"text": QUESTION.text}


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({"text": "Anna has apples and eats 3. How many are left?"}, "number_lost"),
        ({"text": "Anna has 12 apples and eats 3.", "label": "10"}, "label_changed"),
        ({"text": QUESTION.text}, "unchanged"),
        ({"text": ""}, "unparseable"),
        ({"label": "9"}, "unchanged"),
    ],
)
async def test_the_original_stands_where_a_question_does_not_survive(
    sent: dict[str, Any], reason: str
) -> None:
    verdict = await made_harder(QUESTION, sent, "paraphrase_question")
    assert (verdict.decision, verdict.reason) == (Decision.PASS, reason)


async def test_a_question_that_gives_its_answer_away_is_not_kept() -> None:
    before = item("What is the capital of France?", "Paris")
    verdict = await made_harder(
        before, {"text": "Of France, and not of Paris, what is the capital?"}, "add_context"
    )
    assert verdict.reason == "answer_given_away"


@pytest.mark.parametrize(
    ("sent", "principles", "same", "expected"),
    [
        ({"choices": ["Sun", "Mars", "Moon", "Pluto"]}, ["add_choice"], False, "B"),
        ({"choices": ["Sun", "Mars", "Moon", "Pluto"]}, ["add_choice"], True, "two_right"),
        ({"choices": ["Sun", "Moon", "Pluto", "Mars"], "label": "D"}, ["add_choice"], False, "D"),
        ({"choices": ["Sun", "Moon", "Pluto", "Mars"], "label": "Mars"}, ["add_choice"], False, "D"),
        ({"choices": ["Sun", "Moon", "Pluto", "Mars"], "label": "B"}, ["add_choice"], False, "label_changed"),
        ({"choices": ["Sun", "Mars", "Moon", "The Mars"]}, ["add_choice"], False, "two_right"),
        (
            {"choices": ["Mars", "Sun", "Moon"], "label": "A", "text": "Which of them?"},
            ["add_context"],
            True,
            "A",
        ),
        ({"choices": ["The Sun", "The red one", "The Moon"]}, ["paraphrase_choices"], True, "B"),
        (
            {"choices": ["The Sun", "The red one", "The Moon"]},
            ["paraphrase_choices"],
            False,
            "choice_changed",
        ),
        ({"choices": ["The Sun", "The red one", "The Moon"]}, ["add_choice"], True, "choices_lost"),
        ({"choices": ["Sun", "Mars", "Moon", "Pluto"]}, ["paraphrase_choices"], True, "choices_lost"),
        ({"choices": ["Sun", "Mars"]}, ["add_choice"], True, "choices_lost"),
        ({"choices": ["Mars", "Sun", "Moon"], "label": "B"}, ["add_context"], True, "label_changed"),
        ({"choices": ["Sun", "Mars", "Moon", "mars "]}, ["add_choice"], True, "bad_choices"),
        ({"choices": "Sun"}, ["add_choice"], True, "bad_choices"),
    ],
)
async def test_choices_stay_one_to_one(
    sent: dict[str, Any], principles: list[str], same: bool, expected: str
) -> None:
    verdict = await made_harder(CHOICE, {"text": CHOICE.text, **sent}, *principles, same=same)
    if len(expected) == 1:
        assert verdict.item is not None
        assert verdict.item.label == expected
        assert verdict.item.choices == tuple(sent["choices"])
    else:
        assert (verdict.decision, verdict.reason) == (Decision.PASS, expected)


@given(st.lists(st.text("abc", min_size=1), min_size=2, max_size=6, unique=True), st.randoms())
def test_choices_in_another_order_are_found_again(before: list[str], chance: Any) -> None:
    after = list(before)
    chance.shuffle(after)
    pairs = paired(before, after, may_reword=False, may_add=False)
    assert [after[place] for place in pairs] == before


@given(st.lists(st.integers(0, 9), min_size=2, max_size=6, unique=True), st.data())
def test_every_choice_has_a_place_of_its_own_or_it_is_refused(before: list[int], data: Any) -> None:
    after = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=7, unique=True))
    try:
        pairs = paired(list(map(str, before)), list(map(str, after)), may_reword=True, may_add=True)
    except AnswerLost:
        return
    assert len(set(pairs)) == len(before)
    assert len(after) - len(before) in (0, 1)


def test_numbers_and_answers_in_a_text() -> None:
    assert numbers("1,000 eggs at 2.50, on 3/4 days, 1000") == {"1000": 2, "2.50": 1, "3/4": 1}
    assert gives_away("Paris", "Which city?", "Which city, say PARIS?")
    assert not gives_away("Paris", "Is Paris it?", "Is Paris the one?")
    assert not gives_away("Paris", "Which city?", "A Parisian's city?")
    assert not gives_away("5", "How many?", "How many of 5?")


async def test_a_model_that_refuses_leaves_the_item_as_it_is() -> None:
    def answers(prompt: Prompt) -> Mapping[str, Any]:
        raise ContentFiltered("no")

    verdict = await Difficulty(tools_for(answers)).validate(QUESTION)
    assert (verdict.decision, verdict.reason) == (Decision.PASS, "content_filtered")
    assert (await made_harder(QUESTION, {}, "paraphrase_choices")).reason == "no_principle"


async def test_principles_of_ones_own() -> None:
    own = {"principles": ["add_context", {"two_steps": "Make it need two steps."}]}
    verdict = await made_harder(QUESTION, {"text": f"{QUESTION.text} Add 1."}, "two_steps", **own)
    assert verdict.record["principles"] == ["two_steps"]
    for wrong in (["two_steps"], {"Two Steps": "x"}, {"two": " "}, [], {}):
        with pytest.raises(ValueError, match="principles"):
            Difficulty(tools_for(), principles=wrong)


class Says:
    """A validator that says the same of every item."""

    def __init__(self, name: str, verdict: Verdict) -> None:
        self.name = name
        self._verdict = verdict

    async def validate(self, item: Item) -> Verdict:
        return self._verdict


@pytest.mark.parametrize("earlier", ["pass", "reject", "revise"])
async def test_what_an_earlier_validator_does_not_pass_as_it_is_is_taken_back(earlier: str) -> None:
    harder = QUESTION.evolve(text="Harder.")
    revision = Verdict.revised("difficulty", "harder", harder, tentative=True)
    said = {
        "pass": Verdict.passed("code"),
        "reject": Verdict.rejected("code", "unverified"),
        "revise": Verdict.revised("code", "relabelled", harder.evolve(label="10")),
    }[earlier]
    refine = Refine(Says("difficulty", revision), Halt(), lambda _: None, [Says("code", said)])
    [found] = await refine(QUESTION)
    assert not found.settled
    if earlier == "pass":
        assert (found.text, found.revisions) == ("Harder.", 1)
        return
    assert (found.text, found.label, found.revisions) == (QUESTION.text, "9", 0)
    assert found.verdicts[-1].record["discarded"] == {"by": "code", "reason": said.reason}


# --- whole runs against the simulated endpoint, whose truth is known --------------------------------


@pytest.mark.parametrize("kind", ["word_problems", "multiple_choice", "short_facts"])
async def test_a_run_that_makes_items_harder_introduces_no_wrong_label(
    configs: Configs, endpoint: Start, kind: str
) -> None:
    url, _ = await endpoint(kind=kind, enhancement_errors=0.4)
    fields = {"text": "question", "label": "answer"}
    if kind == "multiple_choice":
        fields["choices"] = "choices"
    config = configs.load(
        url,
        dataset={"path": None, "fields": fields},
        generate={"target": 80, "few_shot": 0},
        validators=["constraints", *(["code"] if kind == "word_problems" else []), "difficulty"],
    )
    report = await run_in(configs.folder / "run", config)
    items = lines(configs.folder / "run" / "accepted.jsonl")
    assert report.outcome == "target"
    found = [
        verdict for row in items for verdict in row["_meta"]["verdicts"] if verdict["by"] == "difficulty"
    ]
    assert sum(verdict["verdict"] == "revise" for verdict in found) > 20
    assert sum(verdict["verdict"] == "pass" for verdict in found) > 8
    for row in items:
        choices, label = row.get("choices"), row["answer"]
        letter = ascii_uppercase[choices.index(label)] if choices else label
        assert is_right({"text": row["question"], "label": letter, "choices": choices}) is True, row
    used = report.data["difficulty"]
    assert set(used) <= set(PRINCIPLES)
    assert all(0 < each["kept"] <= each["chosen"] for each in used.values())


async def test_enhancing_a_dataset_keeps_every_row(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint(kind="word_problems", enhancement_errors=0.3)
    made = configs.load(url, dataset={"path": None}, generate={"target": 30, "few_shot": 0})
    await run_in(configs.folder / "made", made)
    data = configs.folder / "data.jsonl"
    rows = [
        {"q": row["question"], "a": row["answer"], "kept": place, "other": [place]}
        for place, row in enumerate(lines(configs.folder / "made" / "accepted.jsonl"))
    ]
    data.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    path = configs.write(url, dataset={"fields": {"text": "q", "label": "a"}}, validators=["code"])
    out = configs.folder / "harder"
    status, said, err = await finished(await datagen("enhance", data, path, "-o", out))
    assert status == 0, err
    assert re.match(r"\d+ harder, \d+ as they were: ", said), said
    after = lines(out / "accepted.jsonl")
    assert [row["kept"] for row in after] == list(range(30))
    assert all(row["other"] == [place] for place, row in enumerate(after))
    changed = [row for row, before in zip(after, rows, strict=True) if row["q"] != before["q"]]
    assert 5 < len(changed) < 30
    assert all(is_right({"text": row["q"], "label": row["a"]}) for row in after)
    for row in after:
        [verdict] = [v for v in row["_meta"]["verdicts"] if v["by"] == "difficulty"]
        assert (verdict["verdict"] == "revise") == (row["q"] != rows[row["kept"]]["q"])
        assert verdict["verdict"] == "revise" or verdict["reason"]
        assert row["_meta"]["model"] == ("m" if verdict["verdict"] == "revise" else "")
    status, said, _ = await finished(await datagen("resume", out))
    assert (status, "as they were" in said) == (0, True)


async def test_a_dataset_whose_choices_are_columns_gets_no_further_choice(
    configs: Configs, endpoint: Start
) -> None:
    """There is nowhere to write it: the original stands."""
    url, _ = await endpoint(kind="multiple_choice")
    rows = [
        {"q": "What is the capital of France?", "A": "Paris", "B": "Rome", "C": "Oslo", "right": "A"},
        {"q": "What is the capital of Italy?", "A": "Paris", "B": "Rome", "C": "Oslo", "right": "B"},
    ]
    data = configs.folder / "columns.jsonl"
    data.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    fields = {"text": "q", "label": "right", "choices": {"columns": ["A", "B", "C"]}}
    config = configs.load(
        url,
        dataset={"path": str(data), "fields": fields},
        validators=[{"name": "difficulty", "principles": ["add_choice"]}],
    )
    await enhance(config, configs.folder / "out")
    after = lines(configs.folder / "out" / "accepted.jsonl")
    assert [{k: v for k, v in row.items() if k != "_meta"} for row in after] == rows
    assert {row["_meta"]["verdicts"][0]["reason"] for row in after} == {"no_form"}


async def test_a_row_without_an_optional_field_can_be_made_harder(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint()
    rows = [
        {"q": "What is the capital of France?", "a": "Paris", "hint": "A river."},
        {"q": "What is the capital of Italy?", "a": "Rome"},
    ]
    data = configs.folder / "data.jsonl"
    data.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    fields = {"text": "q", "label": "a", "extras": ["hint"]}
    config = configs.load(url, dataset={"path": str(data), "fields": fields}, validators=["difficulty"])
    await enhance(config, configs.folder / "out")
    first, second = lines(configs.folder / "out" / "accepted.jsonl")
    assert first["hint"] == "A river."
    assert "hint" not in second
    assert second["q"] != rows[1]["q"]


def test_what_stands_in_a_table_cannot_steer_the_terminal() -> None:
    from rich.console import Console

    from engine.report.tables import text_table

    table = text_table("a\x1b[2J")
    table.add_row("\x1b]0;owned\x07x")
    console = Console(width=80, force_terminal=False)
    with console.capture() as found:
        console.print(table)
    assert "\x1b" not in found.get()

"""What models and servers really send: the answer is what was said last, and nothing that was thought is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.answers.backslashes import control_character, restored
from engine.answers.scoring import scored
from engine.config import FieldsConfig
from engine.dataset.fields import Fields
from engine.dataset.forms import FieldProblem
from engine.items import Completion, Usage
from engine.llm.reasoning import Habit, separated
from engine.prompts.answer import answer_in
from engine.prompts.ask import object_as
from engine.prompts.replies import items_in, object_in
from engine.protocols import Reply

FINAL = {"items": [{"text": "How many are left?", "label": "4"}]}
DRAFT = {"items": [{"text": f"draft {n}", "label": "0"} for n in range(5)]}
F, D = json.dumps(FINAL), json.dumps(DRAFT)

THOUGHT = [
    f"<think>Draft: {D} no, redo.</think>{F}",
    f"Draft: {D} no, redo.</think>\n\n{F}",
    f"{D} no, redo.</think>\n\n{F}",
    f"<think>\n\n</think>\n\n{F}",
    f"<think>one {D}</think><think>two {D}</think>{F}",
    f"<think>I must write </think> at the end. {D}</think>{F}",
    f"<thinking>Draft: {D}</thinking>\n```json\n{F}\n```",
    f"<thought>{D}</thought>{F}",
    f"<seed:think>{D}</seed:think>{F}",
    f"<reasoning>{D}</reasoning>{F}",
    f"[THINK]{D}[/THINK]{F}",
    f"◁think▷{D}◁/think▷{F}",
    f"<|begin_of_thought|>{D}<|end_of_thought|><|begin_of_solution|>{F}<|end_of_solution|>",
    f"<|START_THINKING|>{D}<|END_THINKING|><|START_RESPONSE|>{F}<|END_RESPONSE|>",
    f"<unused94>thought {D}<unused95>{F}",
    f"Here is my thought process: {D} Here is my response: {F}",
    f"<|channel|>analysis<|message|>{D}<|end|><|start|>assistant<|channel|>final<|message|>{F}<|return|>",
    f"<|channel|>analysis {D}<|channel|>final {F}",
    f"<|channel>thought\n{D}<channel|>{F}",
    f'<think depth="2">{D}</think>{F}',
    f"<|thinking|>{D}<|/thinking|>{F}",
    f"Thinking...\n{D}\n...done thinking.\n\n{F}",
    f"<|channel|>analysis<|message|>{D}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{F}",
    f"analysisWe need one item. {D}assistantfinal{F}",
    f"<think>{D}</think><answer>{F}</answer>",
    f"<think>{D}</think>{F}<|im_end|>",
    f"{F}<think>That was right: {D}</think>",
    f"First {D}. On reflection, better: {F} I hope that helps.",
]


@pytest.mark.parametrize("reply", THOUGHT)
def test_drafts_are_no_items(reply: str) -> None:
    assert items_in(reply, 1) == FINAL["items"]


@pytest.mark.parametrize(
    "reply",
    [
        f"<think>{D}",
        f"<think>{D} and so on, and so",
        f"Sure. <think>{D}",
        f"<|channel|>analysis<|message|>{D}",
        f'<think depth="2">{D} and so',
        f"<|channel>thought\n{D} and so",
        f"<think>{D}</think>",
        f"<think>{D}</think><think>{D}",
        f'<think>{D}</think>{{"items": [{{"text": "cut o',
        f'{D} No, anew: {{"items": [{{"text": "cut o',
    ],
)
def test_thinking_without_an_answer_yields_nothing(reply: str) -> None:
    assert items_in(reply, 5) == []


@pytest.mark.parametrize(
    ("reply", "items"),
    [
        (json.dumps({"items": [{"text": "What does <think> mean? </think> ends it.", "label": "a"}]}), 1),
        ('Here: {"items": [{"text": "a </think> b", "label": "a"}]} Done.', 1),
        ('<think>x</think>{"items": [{"text": "a </think> b", "label": "a"}]}', 1),
    ],
)
def test_marks_within_an_item_are_its_text(reply: str, items: int) -> None:
    found = items_in(reply, 1)
    assert len(found) == items
    assert "</think>" in found[0]["text"]


ITEM = FINAL["items"][0]


@pytest.mark.parametrize(
    "reply",
    [
        [ITEM],
        ITEM,
        {"items": {"0": ITEM}},
        {"items": ITEM},
        {"0": ITEM},
        {"item_1": ITEM},
        {"items": [json.dumps(ITEM)]},
        {"items": json.dumps([ITEM])},
        {"response": FINAL},
        {"questions": [ITEM]},
        {"items": [{"item": ITEM}]},
        {"name": "items", "arguments": FINAL},
        {"name": "items", "arguments": json.dumps(FINAL)},
        {"type": "object", "properties": FINAL},
        {"type": "object", "properties": {"items": {"type": "array", "items": [ITEM]}}},
        {"type": "object", "properties": {"items": {"type": "array"}}, "items": [ITEM]},
        {"$defs": {}, "items": [ITEM]},
    ],
)
@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "Sure!\n{}\nBye."])
def test_items_are_read_however_they_are_wrapped(reply: Any, around: str) -> None:
    text = reply if isinstance(reply, str) else json.dumps(reply)
    assert items_in(around.replace("{}", text), 1) == [ITEM]


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```"])
def test_items_are_read_though_encoded_twice(around: str) -> None:
    assert items_in(around.replace("{}", json.dumps(F)), 1) == [ITEM]


def test_a_schema_alone_holds_no_item() -> None:
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": {"type": "object"}}}}
    schema["properties"]["items"]["items"] = {"properties": {"text": {"type": "string"}}}  # type: ignore[index]
    assert items_in(json.dumps(schema), 1) == []


def test_a_form_that_is_quoted_after_the_answer_is_no_answer() -> None:
    assert items_in(f'{F}\nI answered in the form {{"items": [{{"text": ..., "label": ...}}]}}.', 1) == [ITEM]


def test_single_items_all_count_up_to_what_was_asked_for() -> None:
    one, two, three = ({"text": f"{n}", "label": "x"} for n in "123")
    listed = "\n".join(json.dumps(item) for item in (one, two, three))
    assert items_in(listed, 2) == [one, two, three]
    told = f"Item 1: {json.dumps(one)}\nItem 2: {json.dumps(two)}"
    assert items_in(told, 2) == [one, two]
    assert items_in(f"Draft: {json.dumps(three)}\nFinal:\n{told}", 2) == [one, two]


class Review(Reply):
    analysis: str
    good: bool


GOOD, BAD = '{"analysis": "fine", "good": true}', '{"analysis": "wrong", "good": false}'


@pytest.mark.parametrize(
    ("reply", "good"),
    [
        (BAD, False),
        (f"maybe {GOOD}? No.</think>{BAD}", False),
        (f"<think>{GOOD}</think>{BAD}", False),
        (f"{GOOD} On second thoughts: {BAD}", False),
        (f"{BAD} On second thoughts: {GOOD}", True),
        (f'{BAD} as in {{"example": 1}}', False),
        (f'{{"review": {BAD}}}', False),
        (f"[{BAD}]", False),
        (f'{{"type": "object", "properties": {BAD}}}', False),
        (json.dumps(BAD), False),
        (f"<tool_call>{json.dumps({'name': 'review', 'arguments': json.loads(BAD)})}</tool_call>", False),
        (f"[{BAD}, {GOOD}]", None),
        (f"<think>{GOOD}", None),
        (
            '{"type": "object", "properties": {"analysis": {"type": "string"}, "good": {"type": "boolean"}}}',
            None,
        ),
    ],
)
def test_the_last_whole_object_of_the_asked_shape_counts(reply: str, good: bool | None) -> None:
    read = object_as(Review, Completion(reply, "m", "stop", Usage()))
    assert (read and read.good) == good


def test_keys_choose_the_object() -> None:
    assert object_in('{"same": true} {"note": 1}', ("same",)) == {"same": True}
    assert object_in('{"same": {"type": "boolean"}}', ("same",)) is None


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ('<think>{"answer": "3"}? No.</think>{"answer": "4"}', "4"),
        ('{"answer": "3"} wait, {"answer": "4"}', "4"),
        ("It may be 3.</think>\n4", "4"),
        ("<think>3", ""),
        ("<think>3</think><answer>4</answer>", "4"),
        ("4<|eot_id|>", "4"),
        (r'{"answer": "$\frac{36}{2}$"}', r"$\frac{36}{2}$"),
    ],
)
def test_an_evaluation_scores_what_was_said_last(reply: str, answer: str) -> None:
    assert answer_in(reply) == answer


def test_a_fraction_that_json_has_broken_is_scored() -> None:
    assert scored(answer_in('{"answer": "$\\frac{36}{2}$"}'), "18").correct is True
    assert scored(answer_in(r'{"answer": "$\boxed{\frac{36}{2}}$"}'), "18").correct is True


@given(st.text(), st.text())
def test_separating_loses_nothing(before: str, after: str) -> None:
    text = f"{before}</think>{after}"
    said = separated(text)
    assert len(said.answer) + len(said.reasoning) <= len(text)
    assert said.answer in text


# --- backslashes ---


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"$\frac{1}{2}$", r"$\frac{1}{2}$"),
        (
            r"\forall \beta \begin{cases} \binom{n}{k} \boxed{3}",
            r"\forall \beta \begin{cases} \binom{n}{k} \boxed{3}",
        ),
        (r"$3 \times 4 \theta \text{ m} \tan x \tfrac12$", r"$3 \times 4 \theta \text{ m} \tan x \tfrac12$"),
        (
            r"$a \neq b$, \nabla f, $\nu$, $x \notin A$, $\neg p$",
            r"$a \neq b$, \nabla f, $\nu$, $x \notin A$, $\neg p$",
        ),
        (r"\left( x \right) \rho \rangle \rightarrow", r"\left( x \right) \rho \rangle \rightarrow"),
        (r"One line.\nNext line.\n\nnot all\n- even", "One line.\nNext line.\n\nnot all\n- even"),
        (r"a\tan apple\r\nb\te", "a\tan apple\nb\te"),
        (r"En casa\ne en la calle\nu otra", "En casa\ne en la calle\nu otra"),
        (r"Left.\rRight.", "Left.\nRight."),
        (r"\\frac{1}{2} and \\neq", r"\frac{1}{2} and \neq"),
        (r"\sqrt{2} \cdot \pi \( x \) \alpha", r"\sqrt{2} \cdot \pi \( x \) \alpha"),
        (r"\frac{1}{\sqrt{2}} \underline{x}", r"\frac{1}{\sqrt{2}} \underline{x}"),
    ],
)
def test_the_backslash_that_was_meant(written: str, meant: str) -> None:
    [item] = items_in(f'{{"items": [{{"text": "{written}", "label": "1"}}]}}', 1)
    content = Fields(FieldsConfig.model_validate({"label": {"field": "label"}})).content(item)
    assert content.text == meant


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_text_without_control_characters_stays(text: str) -> None:
    assert (restored(text), control_character(text)) == (text, None)


FIELDS = Fields(
    FieldsConfig.model_validate({"label": {"field": "answer"}, "text": "question", "extras": ["why"]})
)


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        ({"text": "a\x00b", "label": "1", "why": ""}, "the field 'text' holds NUL"),
        ({"text": "ab", "label": "1\x07", "why": ""}, "the field 'label' holds BEL"),
        ({"text": "ab", "label": "1", "why": "\x1b[31m"}, "the field 'why' holds ESC"),
        ({"text": "a\x0c b", "label": "1", "why": ""}, "the field 'text' holds FF"),
        ({"text": "ab", "label": "1", "why": ["\x92"]}, r"the field 'why' holds .*U\+0092"),
    ],
)
def test_other_control_characters_reject_the_item_by_name(reply: dict[str, Any], name: str) -> None:
    with pytest.raises(FieldProblem, match=name) as caught:
        FIELDS.content(reply)
    assert caught.value.reason == "control_character"


def test_a_reply_in_the_datasets_own_names_is_read() -> None:
    [item] = items_in('{"items": [{"question": "q", "answer": "a", "why": "w"}]}', 1, FIELDS.marks)
    assert FIELDS.content(item) == ("q", "a", (), {"why": "w"}, {})


def test_a_whole_answer_in_json_says_nothing_of_thoughts_in_words() -> None:
    """A server that strips the opening mark, a first reply without thoughts, a second that was cut within them."""
    habit = Habit()
    assert habit.separated('{"good": true}', cut=False).answer == '{"good": true}'
    assert habit.separated('Let me think: {"items": [{"text": "a draft"}]} No.', cut=True).answer == ""
    assert habit.separated("I say it in words.", cut=False).answer == "I say it in words."
    assert habit.separated("I say it in wo", cut=True).answer == "I say it in wo"

"""The constraints validator: what a program can check, it checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from conftest import Configs, Start, run_in
from engine.conformance import item, tools_for
from engine.constraints import (
    Constraint,
    Contains,
    Excludes,
    FreeText,
    LabelIn,
    LabelRatio,
    Language,
    Length,
    Regex,
)
from engine.constraints.written import WrittenConstraint
from engine.items import Batch, Item, Prompt
from validators.constraints import Constraints, check_of, measure

BATCH = Batch(0, 1, 0, 1.0)
TEXT = "Anna has three apples and buys two more at the market."


async def reason(constraint: Constraint, **fields: Any) -> str:
    item = Item(BATCH, 0, 1, **{"text": TEXT, "label": "5", **fields})
    tools = tools_for(constraints=(FreeText("Be kind."), constraint))
    return (await Constraints(tools).validate(item)).reason


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (Length(11, 11), ""),
        (Length(min=12), "length"),
        (Length(max=10), "length"),
        (Length(1, 1, "sentences"), ""),
        (Length(max=20, unit="characters"), "length"),
        (Length(1, 1, field="label"), ""),
        (Regex(r"^\d+$", "label"), ""),
        (Regex(r"\d"), "regex"),
        (Contains(("APPLES", "market")), ""),
        (Contains(("pears",)), "contains"),
        (Excludes(("pears",)), ""),
        (Excludes(("Market",)), "excludes"),
        (LabelIn(("5", "6")), ""),
        (LabelIn(("6",)), "label_in"),
        (Language("en"), ""),
        (Language("de"), "language"),
        (LabelRatio({"5": 1}), ""),
    ],
)
async def test_each_kind(constraint: Constraint, expected: str) -> None:
    assert await reason(constraint) == expected


async def test_a_pattern_that_explodes_costs_its_item() -> None:
    assert await reason(Regex(r"^(\w+\s?)*$"), text="word " * 40 + "!") == "regex"


async def test_fields_of_every_sort() -> None:
    assert await reason(Contains(("red",), "choices"), choices=("red", "blue")) == ""
    assert await reason(Contains(("x",), "tags"), extras={"tags": ["x", "y"]}) == ""
    assert await reason(Contains(("x",), "absent")) == "contains"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Tom hat drei Äpfel und kauft noch zwei auf dem Markt.", "de"),
        ("¿Cuántas manzanas tiene Tom después de comprar dos más?", "es"),
        ("Jean achète quatre pommes au marché et en mange deux.", "fr"),
    ],
)
async def test_languages_are_told_apart(text: str, code: str) -> None:
    assert await reason(Language(code), text=text) == ""
    assert await reason(Language("en"), text=text) == "language"


async def test_a_short_text_has_no_language() -> None:
    assert await reason(Language("en"), text="Äpfel?") == ""


def test_an_unknown_language_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="'qq'"):
        Constraints(tools_for(constraints=(Language("qq"),)))


@pytest.mark.parametrize(("unit", "size"), [("words", 6), ("characters", 30), ("sentences", 3)])
def test_measure(unit: str, size: int) -> None:
    assert measure("It costs 3.50. Who pays? Done.", unit) == size


async def test_rules_in_plain_words_are_judged_where_asked_for() -> None:
    asked: list[Prompt] = []

    def answers(prompt: Prompt) -> Mapping[str, Any]:
        unkind = "fool" in prompt.user
        return {
            "analysis": "",
            "broken": [{"rule": 2, "why": "it insults"}, {"rule": 9, "why": ""}] if unkind else [],
        }

    rules = (FreeText("Be brief."), Length(max=20), FreeText("Be kind."))
    judge = Constraints(tools_for(answers, constraints=rules, asked=asked), judge=True)
    assert (await judge.validate(item("Well done."))).record == {"judged": True}
    verdict = await judge.validate(item("You fool."))
    assert (verdict.reason, verdict.feedback) == ("rule", "Be kind. (it insults)")
    assert verdict.record == {"judged": True, "broken": [2]}
    count = len(asked)
    assert (await judge.validate(item("word " * 30))).record == {"broken": [1]}
    assert len(asked) == count  # what a program finds costs no call
    with pytest.raises(ValueError, match="no rule in plain words"):
        Constraints(tools_for(constraints=(Length(max=3),)), judge=True)


async def test_adherence_is_reported_by_constraint_and_model(endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(violations=0.3)
    rules = ["The problem is about daily life.", {"length": {"max": 60}}]
    config = configs.load(
        url,
        dataset={"constraints": rules},
        generate={"target": 60},
        validators=[{"name": "constraints", "judge": True}],
    )
    report = await run_in(configs.folder / "out", config)
    judged, length = report.data["constraints"]
    [(model, found)] = length["by_model"].items()
    assert model == "m"
    assert found["checked"] == report.data["validators"]["constraints"]["seen"]
    assert 0.7 < found["kept"] < 1
    assert judged["by_model"]["m"]["checked"] == found["checked"] - found["broken"]
    assert judged["by_model"]["m"]["broken"] > 0


@pytest.mark.parametrize(
    ("text", "words", "sentences"),
    [
        ("Dr. Smith paid $3.50. He left.", 6, 2),
        ("我喜欢吃苹果。他走了。", 6, 2),
        ("ฉันรักประเทศไทยมาก", 4, 1),
        ("私は学生です。猫もいます。", 8, 2),
        ("ខ្ញុំស្រឡាញ់ប្រទេសកម្ពុជា", 4, 1),
        ("मैं घर जा रहा हूँ। वह आया।", 7, 2),
        ("ذهب الولد إلى المدرسة. ثم عاد؟", 6, 2),
        ("Don't stop, it's 1,000.5 km.", 5, 1),
        ("... !", 0, 0),
    ],
)
def test_lengths_in_any_script(text: str, words: int, sentences: int) -> None:
    assert (measure(text, "words"), measure(text, "sentences")) == (words, sentences)


@pytest.mark.parametrize(
    ("code", "text", "kept"),
    [
        ("id", "Saya sedang pergi ke pasar untuk membeli sayur dan buah-buahan.", True),
        ("no", "Han gikk til butikken for å kjøpe brød og melk til middagen.", True),
        ("zh-CN", "我今天早上去市场买了很多新鲜的蔬菜和水果，然后回家做饭给家里的人吃。", True),
        ("pt-BR", "Ontem eu fui ao mercado comprar pão, leite e algumas frutas frescas.", True),
        ("pt-BR", "Yesterday I went to the market to buy bread, milk and some fruit.", False),
    ],
)
def test_languages_with_regions_and_their_kin(code: str, text: str, kept: bool) -> None:
    from engine.constraints.written import _constraint

    check = check_of(_constraint({"language": code}))
    assert check is not None
    assert (check(Item(Batch(0, 1, 0, 0.0), 0, 1, text)) is None) is kept


# --- how a text is written: IFEval's kinds -----------------------------------------------------------

KINDS: dict[str, tuple[Any, list[str], list[str]]] = {
    "keywords:existence": ({"contains": ["river"]}, ["By the River."], ["By the lake."]),
    "keywords:frequency": (
        {"count": {"of": "word", "what": "tree", "min": 2}}, ["A tree. A Tree!"], ["A tree, trees.", "Treetop tree"]
    ),
    "keywords:forbidden_words": ({"excludes": ["war"]}, ["Peace."], ["War."]),
    "keywords:letter_frequency": (
        {"count": {"of": "letter", "what": "z", "min": 2, "max": 3}}, ["Zigzag", "zZz"], ["a", "zzzz"]
    ),
    "language:response_language": (
        {"language": "de"}, ["Das ist ein ganz gewöhnlicher Satz auf Deutsch."], ["This is quite an English sentence."]
    ),
    "length:number_sentences": ({"length": {"unit": "sentences", "min": 2}}, ["One. Two."], ["One."]),
    "length:number_paragraphs": (
        {"length": {"unit": "paragraphs", "min": 2, "max": 2}}, ["a\n\nb", "a\n***\nb"], ["a\nb", "a\n\nb\n\nc"]
    ),
    "length:number_words": ({"length": {"min": 2, "max": 3}}, ["one two"], ["one", "one two three four"]),
    "length:nth_paragraph_first_word": (
        {"paragraph": {"number": 2, "starts": "Then"}}, ["a\n\nthen b", 'a\n\n"Then, b'], ["Then a", "a\n\nThence"]
    ),
    "content:number_placeholders": (
        {"count": {"of": "placeholders", "min": 2}}, ["[name] of [town]"], ["[name]", "[ ", "none"]
    ),
    "content:postscript": (
        {"form": "postscript"},
        ["Bye.\n\nP.S. Come soon.", "Bye. P.S. x", "a\nPS: x"], ["Bye.", "Steps. Bye", "P.S."]
    ),
    "format:number_bullet_lists": (
        {"count": {"of": "bullets", "min": 2, "max": 2}},
        ["* a\n* b", "- a\n- b"], ["* a", "* a\n* b\n* c", "**a**\n**b**"]
    ),
    "format:constrained_response": (
        {"one_of": ["My answer is yes.", "My answer is no."]}, ["My answer is yes.", "my answer is  no."], ["Yes."]
    ),
    "format:number_highlighted_sections": (
        {"count": {"of": "highlights", "min": 2}}, ["*a* and **b c**"], ["*a*", "* a\n* b", "2 * 3 * 4"]
    ),
    "format:multiple_sections": (
        {"count": {"of": "sections", "what": "Section", "min": 2, "max": 2}},
        ["Section 1\na\nSection 2\nb", "**SECTION 1** a\n## Section 2"], ["Section 1", "in section 1 and section 2"]
    ),
    "format:json_format": ({"form": "json"}, ['{"a": 1}', "```json\n[1]\n```", "3"], ["{a: 1}", 'Here: {"a": 1}']),
    "format:title": ({"form": "title"}, ["<<A day>>\nIt was", "x << y >>"], ["<A day>", "<<>>", "A day"]),
    "combination:two_responses": (
        {"count": {"of": "parts", "what": "******", "min": 2, "max": 2}},
        ["a\n******\nb"], ["a", "a******", "a******b******c"]
    ),
    "combination:repeat_prompt": ({"starts": "How are you?"}, ["How are you? Well.", "how are  you?"], ["Well."]),
    "startend:end_checker": ({"ends": "Is there more?"}, ["So. Is there more?"], ["Is there more? No."]),
    "startend:quotation": ({"form": "quoted"}, ['"All of it."', "\u201cAll.\u201d"], ['"One" and "two', "None", '"']),
    "case:capital_word_frequency": (
        {"count": {"of": "capital_words", "max": 1}}, ["A BIG day", "I am"], ["A BIG RED day"]
    ),
    "case:english_capital": ({"case": "upper"}, ["ALL OF IT, 3.", "ÀÉ"], ["All of it"]),
    "case:english_lowercase": ({"case": "lower"}, ["all of it"], ["All of it"]),
    "punctuation:no_comma": ({"excludes": [","]}, ["No such sign."], ["One, two."]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_ifeval_is_a_program(kind: str) -> None:
    written, kept, broken = KINDS[kind]
    rule = TypeAdapter(WrittenConstraint).validate_python(written)
    check = check_of(rule)
    assert check is not None
    for text in kept:
        assert check(item(text)) is None, text
    for text in broken:
        assert check(item(text)), text
    assert len(rule.sentence()) > 15, "a model is told of it"
    assert (
        TypeAdapter(WrittenConstraint).validate_python(TypeAdapter(WrittenConstraint).dump_python(rule))
        == rule
    )


def test_there_are_25() -> None:
    assert len(KINDS) == 25


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"count": {"of": "word", "min": 1}}, "count: of word needs what: the word"),
        ({"count": {"of": "bullets"}}, "count needs min, max or both"),
        ({"count": {"of": "bullets", "min": 3, "max": 2}}, "min 3 is above max 2"),
        ({"count": {"of": "verses", "min": 1}}, "count.of"),
        ({"paragraph": {"number": 0, "starts": "x"}}, "counts from 1"),
        ({"starts": ""}, "starts needs a text"),
        ({"one_of": []}, "one_of needs a text"),
        ({"case": "title"}, "case.form"),
        ({"form": "xml"}, "form.name"),
        ({"ends": {"with": "x", "where": "text"}}, "ends has no option 'where'; there are with, field"),
    ],
)
def test_shapes_that_cannot_be(written: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(WrittenConstraint).validate_python(written)


@given(st.text(max_size=60))
def test_any_text_is_checked(text: str) -> None:
    for written, _, _ in KINDS.values():
        if "language" not in written:
            check = check_of(TypeAdapter(WrittenConstraint).validate_python(written))
            assert check is not None
            check(item(text))

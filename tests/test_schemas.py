"""The schema of an item holds every bound that is known, and labels have the form that all labels have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from conftest import Configs, Start
from engine.config import DatasetConfig, FieldsConfig
from engine.dataset.fields import Fields
from engine.dataset.forms import Example, FieldProblem
from engine.dataset.label_form import LabelForm
from engine.dataset.patterns import bounded
from engine.dataset.shape import Shape
from engine.llm.backends.schemas import strict
from engine.prompts.schema import reply_schema
from engine.protocols import Reply
from engine.runs.api import arun


def form(*labels: str, text: str = "x") -> LabelForm:
    return LabelForm.of((label, text) for label in labels)


NUMBERS = form("18", "7", "120", "3", "45.5")


@pytest.mark.parametrize(
    ("label", "fitted"),
    [
        ("12", "12"),
        ("-3", "-3"),
        ("$12", "12"),
        ("12 apples", "12"),
        ("1,200 miles", "1200"),
        ("Four people: 1.5. 1. 2.", None),
        ("twelve", None),
        ("50%", None),
        ("3/4", None),
        ("", None),
    ],
)
def test_numbers_stay_numbers(label: str, fitted: str | None) -> None:
    assert NUMBERS.kind == "number"
    assert NUMBERS.fitted(label, "") == fitted


def test_other_forms() -> None:
    closed = form(*["yes", "no"] * 5)
    assert (closed.kind, closed.fitted("YES", ""), closed.fitted("maybe", "")) == ("closed", "yes", None)
    dates = form(*[f"2024-01-0{n}" for n in range(1, 7)])
    assert (dates.kind, dates.fitted("2024-02-30", ""), dates.fitted("May", "")) == (
        "date",
        "2024-02-30",
        None,
    )
    spans = form(
        "a cat", "the dog", "a bird", "a cow", "the hen", text="A cat, the dog, a bird, a cow, the hen."
    )
    assert (spans.kind, spans.fitted("THE  dog", "a. The dog"), spans.fitted("owl", "cat")) == (
        "span",
        "THE  dog",
        None,
    )
    assert form("a", "b", "c").kind == "free", "too few to show a form"
    assert form("one", "two words", "3", "4", "5").fitted("anything", "") == "anything"


@pytest.mark.parametrize(
    "made", [NUMBERS, form("$5", "$1,200", "$7.50", "$3", "$9"), form("5%", "7%", "12%", "3%", "1%")]
)
def test_a_number_schema_takes_its_own_labels(made: LabelForm) -> None:
    pattern = re.compile(made.schema()["pattern"])
    for label in {"number": ["18", "45.5", "120"]}.get(made.kind, []) if not made.marks else []:
        assert pattern.search(label)
    assert not pattern.search("1" * 40)
    assert not pattern.search("Four: 1")


@pytest.mark.parametrize(
    ("pattern", "plain"),
    [
        (r"^-?[\d,]*\.?\d+$", r"^-?[0-9,]{0,40}\.?[0-9]{1,40}$"),
        (r"^\w+$", "^[A-Za-z0-9_]{1,40}$"),
        (r"^[A-D]$", "^[A-D]$"),
        (r"^a{2,}$", "^a{2,40}$"),
        (r"^\*\+$", r"^\*\+$"),
        (r"\d+", None),
        (r"^(?=x)x$", None),
        (r"^\bx$", None),
        (r"^(a)\1$", None),
        (r"^x\$", None),
        (r"^a+?$", None),
    ],
)
def test_patterns_that_servers_can_generate_by(pattern: str, plain: str | None) -> None:
    assert bounded(pattern) == plain


def schema_of(constraints: list[Any], examples: list[Example], **fields: Any) -> dict[str, Any]:
    config = DatasetConfig.model_validate({"description": "d", "fields": fields, "constraints": constraints})
    made = Fields(config.fields, shape=Shape.from_examples(examples))
    return made.item_schema(config.constraints)


EXAMPLES = [Example(n, "w" * (50 + n), str(n)) for n in range(12)]


def test_lengths_come_from_constraints_and_base() -> None:
    schema = schema_of([{"length": {"min": 12, "max": 60}}], EXAMPLES, text="q", label="a")
    assert schema["properties"]["text"] == {"type": "string", "minLength": 25, "maxLength": 122}
    assert schema["properties"]["label"]["pattern"] == r"^-?[0-9]{1,4}(\.[0-9]{1,2})?$"
    assert strict(schema)


def test_labels_and_choices_are_enumerated() -> None:
    named = schema_of([{"label_in": ["a", "b"]}], [], text="q", label="l")
    assert named["properties"]["label"] == {"type": "string", "enum": ["a", "b"]}
    rows = [Example(n, f"text {n}", "A", ("x", "y", "z")) for n in range(6)]
    letters = schema_of([], rows, text="q", label="l", choices="c")
    assert letters["properties"]["label"]["enum"] == ["A", "B", "C"]
    assert letters["properties"]["choices"]["maxItems"] == 3
    unbounded = schema_of([{"length": {"max": 5000}}], [], text="q")
    assert "maxLength" not in unbounded["properties"]["text"], "servers refuse longer repetitions"


class Corrected(Reply):
    """A docstring that no model should see."""

    reasoning: str
    good: bool
    item: dict[str, Any] | None
    names: list[str] = Field(default_factory=list)


def test_a_reply_that_holds_an_item_asks_for_the_datasets_own() -> None:
    item = schema_of([], EXAMPLES, text="q", label="a")
    schema = reply_schema(Corrected, item, {"names": {"maxItems": 3}, "names[]": {"maxLength": 9}})
    assert strict(schema)
    assert schema["properties"]["item"] == {"anyOf": [item, {"type": "null"}]}
    assert schema["properties"]["names"] == {
        "type": "array",
        "items": {"type": "string", "maxLength": 9},
        "maxItems": 3,
    }
    assert "docstring" not in str(schema)
    assert "title" not in schema


def test_a_label_of_another_form_is_rejected_before_anything_is_paid() -> None:
    made = Fields(
        FieldsConfig.model_validate({"text": "q", "label": "a"}), shape=Shape.from_examples(EXAMPLES)
    )
    with pytest.raises(FieldProblem, match="is not a number in digits") as caught:
        made.content({"text": "How many?", "label": "Four people: 1.5. 1. 2."})
    assert caught.value.reason == "label_form"
    assert made.content({"text": "How many?", "label": "$12"}).label == "12"


async def test_every_schema_that_is_sent_keeps_the_strict_rules(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    """Of a run with all that asks a model: an open object would be a 400, and cost all calls their schema."""
    url, simulator = await endpoint(wrong_labels=0.3, review_accuracy=0.6)
    sent: dict[str, Any] = {}
    original = simulator._completion

    def noted(body: bytes, asked: Any, tokens: int) -> bytes:
        told = asked.body["response_format"]
        sent[asked.purpose] = told["json_schema"]
        return original(body, asked, tokens)

    simulator._completion = noted  # type: ignore[method-assign]
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "sums.md").write_text("# Sums\n\nA sum is what numbers make together.\n")
    config = configs.load(
        url,
        dataset={"constraints": ["The problem is about everyday life.", {"length": {"max": 100}}]},
        generate={"target": 12, "attributes": {"topic": {"extract": 4}}},
        validators=[
            {"name": "constraints", "judge": True},
            "reflection",
            {"name": "code", "policy": "vote"},
            {"name": "facts", "source": {"kind": "local", "path": str(documents)}, "unverifiable": "keep"},
            "difficulty",
        ],
    )
    await arun(config, tmp_path / "run")
    expected = {"items", "attributes", "constraint_check", "review", "revision", "program", "entities"}
    assert expected | {"enhancement_plan", "enhancement"} <= set(sent)
    for purpose, told in sent.items():
        assert told["strict"] is True, purpose
        assert strict(told["schema"]), purpose

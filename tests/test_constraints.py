"""The constraints validator: what a program can check, it checks."""

from __future__ import annotations

from typing import Any

import pytest

from engine.conformance import tools_for
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
from engine.items import Batch, Item
from validators.constraints import Constraints, measure

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

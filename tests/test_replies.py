"""Replies, however wrapped or broken, give every item that can be had."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import FieldsConfig
from engine.dataset.fields import Fields
from engine.items import Batch, Completion, Usage
from engine.prompts.replies import items_in
from engine.stages.generate import read_items

A, B = {"text": "a {b} [c]", "label": "1"}, {"text": 'He said "hi"', "label": "2"}
BOTH = json.dumps({"items": [A, B]})


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (BOTH, [A, B]),
        (json.dumps([A, B]), [A, B]),
        (json.dumps(A), [A]),
        (json.dumps({"item": A}), [A]),
        (f"Sure! Here you are:\n```json\n{BOTH}\n```\nAnything else {{or not}}?", [A, B]),
        (f"{json.dumps(A)}\n{json.dumps(B)}", [A, B]),
        (BOTH.replace("}]}", "},]}"), [A, B]),
        (BOTH[:-2], [A, B]),
        (BOTH[:-12], [A]),
        (
            '{"items": [{"text": "He said "hi" to", "label": "2"}]}',
            [{"text": 'He said "hi" to', "label": "2"}],
        ),
        ("{'items': [{'text': 'single', 'label': 'x'}]}", [{"text": "single", "label": "x"}]),
        ("I cannot help with that.", []),
        ("", []),
        ('{"items": []}', []),
        ('{"items": "none"}', []),
        ("[" * 100_000, []),
        ('{"items": [1, null, "x"]}', []),
    ],
)
def test_items_in(reply: str, found: list[dict[str, str]]) -> None:
    assert items_in(reply) == found


@given(
    st.lists(st.fixed_dictionaries({"text": st.text(), "label": st.text()}), max_size=6),
    st.integers(0, 10**6),
)
def test_a_cut_reply_never_yields_what_was_not_there(items: list[dict[str, str]], cut: int) -> None:
    reply = json.dumps({"items": items})
    found = items_in(reply[: cut % (len(reply) + 1)])
    whole = [item for item in found if "label" in item]
    assert [item["text"] for item in whole] == [item["text"] for item in items][: len(whole)]


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    assert all("text" in item for item in items_in(text))


FIELDS = Fields(FieldsConfig.model_validate({"label": {"field": "label"}}))


@pytest.mark.parametrize(
    ("size", "reply", "fates"),
    [
        (2, BOTH, ["ok", "ok"]),
        (4, BOTH, ["ok", "ok", "missing", "missing"]),
        (1, BOTH, ["ok", "ok"]),
        (3, "No.", ["unparseable"] * 3),
        (2, '{"items": [{"text": "no label"}, {"text": "x", "label": "y"}]}', ["no_label", "ok"]),
    ],
)
def test_every_item_asked_for_has_a_fate(size: int, reply: str, fates: list[str]) -> None:
    batch = Batch(7, size, 0, 1.0)
    usage = Usage(90, 30, 0, 1000)
    items = read_items(batch, Completion(reply, "m", "stop", usage), FIELDS)
    assert [item.rejection.reason if item.rejection else "ok" for item in items] == fates
    assert {item.batch_total for item in items} == {len(fates)}
    assert [item.position for item in items] == list(range(len(fates)))
    assert sum(item.usage.cost for item in items) <= usage.cost


def test_a_reply_cut_by_the_token_limit_says_so() -> None:
    batch = Batch(7, 3, 0, 1.0)
    items = read_items(batch, Completion(BOTH[:-12], "m", "length", Usage()), FIELDS)
    assert [item.rejection.reason if item.rejection else "ok" for item in items] == [
        "ok",
        "truncated",
        "truncated",
    ]

"""What an item is: labels of every kind, conversations, pairs; each held to what the dataset shows."""

from __future__ import annotations

import copy
import socket
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, Start, lines, run_in
from engine.answers.scoring import scored
from engine.config import DatasetConfig
from engine.dataset.base import BaseDataset
from engine.dataset.chat_rules import complaint
from engine.dataset.chats import messages_in
from engine.dataset.findings import findings
from engine.dataset.forms import FieldProblem
from engine.dataset.pairs import pair_in
from engine.dataset.shape import ends_in
from engine.errors import ConfigError
from engine.items import Batch, Item, Usage

Rows = list[dict[str, Any]]


def test_a_value_is_frozen_and_equal_by_its_fields_however_it_is_made() -> None:
    batch = Batch(1, 2, 3, 0.5, examples=(4,))
    item = Item(batch, 0, 2, "text", extras={"a": 1})
    assert item == Item(
        batch=Batch(1, 2, 3, 0.5, (4,)), position=0, batch_total=2, text="text", extras={"a": 1}
    )
    assert (hash(batch), repr(Usage(1))) == (hash(replace(batch)), repr(replace(Usage(), prompt_tokens=1)))
    for again in (copy.copy(item), copy.deepcopy(item), item.evolve()):
        assert again == item
        assert type(again) is Item
    assert item.evolve(text="other", revisions=1) == replace(item, text="other", revisions=1)
    assert Item(batch, 0, 1).extras is not Item(batch, 0, 1).extras
    with pytest.raises(FrozenInstanceError):
        item.text = "changed"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del item.text
    for wrong in (lambda: Usage(nothing=1), lambda: Item(batch), lambda: Usage(*range(11))):  # type: ignore[call-arg,arg-type]
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(KeyError):
        item.evolve(nothing=1)


def dataset(folder: Path, rows: Rows, fields: Mapping[str, Any], **more: Any) -> BaseDataset:
    path = folder / "d.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    given = {"path": str(path), "description": "d", "fields": fields, **more}
    return BaseDataset.load(DatasetConfig.model_validate(given))


def item_of(data: BaseDataset, reply: Mapping[str, Any]) -> Item:
    return Item(Batch(0, 1, 0, 0.0), 0, 1, *data.fields.content(reply))


def problem(data: BaseDataset, reply: Mapping[str, Any]) -> str:
    with pytest.raises(FieldProblem) as found:
        data.fields.content(reply)
    return found.value.reason


# --- choices ---------------------------------------------------------------------------------------


def questions(labels: list[Any], choices: int = 2) -> Rows:
    return [
        {"q": f"Question {n}?", "c": [f"c{n}-{k}" for k in range(choices)], "a": label}
        for n, label in enumerate(labels)
    ]


CHOICES = {"text": "q", "choices": "c", "label": "a"}


@pytest.mark.parametrize(
    ("labels", "choices", "kind", "first", "written"),
    [
        (["1", "2", "2", "1"], 2, "from_1", "A", "2"),
        ([1, 2, 1], 2, "from_1", "A", 2),
        ([0, 1, 1], 2, "from_0", "A", 1),
        ([1, 0, 1], 2, "from_0", "B", 1),
        (["1", "2", "3", "4"], 4, "from_1", "A", "2"),
        ([1, 2, 3, 0], 4, "from_0", "B", 1),
        (["b", "a"], 2, "letters", "B", "B"),
        ([1.0, 2.0], 2, "from_1", "A", 2),
    ],
)
def test_what_labels_count_from(
    tmp_path: Path, labels: list[Any], choices: int, kind: str, first: str, written: Any
) -> None:
    data = dataset(tmp_path, questions(labels, choices), CHOICES)
    assert (data.fields.style.kind, data.examples[0].label) == (kind, first)
    reply = {"text": "New?", "choices": [f"x{k}" for k in range(choices)], "label": "B"}
    assert data.fields.write(item_of(data, reply))["a"] == written
    assert len(data.examples) == len(labels)


@pytest.mark.parametrize("labels", [["1", "2", "3", "2"], [1, 2, 3, 1]])
def test_where_it_stays_open_the_config_decides(tmp_path: Path, labels: list[Any]) -> None:
    rows = questions(labels, 4)
    with pytest.raises(ConfigError, match=r"set dataset\.fields\.choices\.labels to from_0 or from_1"):
        dataset(tmp_path, rows, CHOICES)
    for kind, first in (("from_0", "B"), ("from_1", "A")):
        data = dataset(tmp_path, rows, {**CHOICES, "choices": {"field": "c", "labels": kind}})
        assert data.examples[0].label == first


def test_a_few_bad_labels_do_not_move_the_others(tmp_path: Path) -> None:
    data = dataset(tmp_path, questions([1, 2] * 60 + [7]), CHOICES)
    assert data.fields.style.kind == "from_1"
    assert data.bad_counts == {"bad_label": 1}


def test_keys_beside_the_choices(tmp_path: Path) -> None:
    rows = [
        {"q": f"Which {n}?", "c": {"text": ["x", "y", "z"], "label": keys}, "a": keys[n % 3]}
        for n, keys in enumerate([["A", "B", "C"], ["1", "2", "3"]] * 3)
    ]
    fields = {"text": "q", "choices": {"field": "c.text", "keys": "c.label"}, "label": "a"}
    data = dataset(tmp_path, rows, fields)
    assert [example.label for example in data.examples] == ["A", "B", "C", "A", "B", "C"]
    written = data.fields.write(item_of(data, {"text": "t", "choices": ["1", "2", "3"], "label": "C"}))
    assert written == {"q": "t", "c": {"text": ["1", "2", "3"], "label": ["A", "B", "C"]}, "a": "C"}


# --- labels ----------------------------------------------------------------------------------------


def reviews(count: int = 60) -> Rows:
    return [
        {"text": f"Review {n} of a thing.", "label": "positive" if n % 3 else "negative", "stars": n % 5 + 1}
        for n in range(count)
    ]


def test_a_closed_set_is_seen_and_kept(tmp_path: Path) -> None:
    data = dataset(tmp_path, reviews(), {"text": "text", "label": "label"})
    assert data.fields.item_schema()["properties"]["label"] == {
        "type": "string",
        "enum": ["negative", "positive"],
    }
    assert data.fields.content({"text": "t", "label": "Positive"}).label == "positive"
    assert problem(data, {"text": "t", "label": "Dante Alighieri"}) == "label_unknown"
    assert "one of 2: negative, positive" in dict(findings(data))["labels"]


@pytest.mark.parametrize(
    ("constraints", "allowed"),
    [
        ([{"label_ratio": {"positive": 2, "mixed": 1}}], ("positive", "mixed")),
        ([{"label_in": ["mixed", "negative"]}], ("mixed", "negative")),
        (
            [{"label_in": ["mixed", "negative", "x"]}, {"label_ratio": {"negative": 2, "x": 1}}],
            ("negative", "x"),
        ),
        (["Be kind."], ("negative", "positive")),
    ],
)
def test_the_labels_that_constraints_allow_are_the_closed_set(
    tmp_path: Path, constraints: list[Any], allowed: tuple[str, ...]
) -> None:
    """Of whatever the rows show: a check that asks for a label has to say which there are."""
    fields = {"text": "text", "label": "label"}
    data = dataset(tmp_path, reviews(), fields, constraints=constraints)
    assert data.fields.closed_labels == allowed
    named = {"label": {"field": "label"}, "stars": {"field": "stars"}}
    several = dataset(tmp_path, reviews(), {"text": "text", "labels": named}, constraints=["Be kind."])
    assert several.fields.closed_labels == ()


def test_labels_open_takes_any(tmp_path: Path) -> None:
    for fields in ({"text": "text", "label": "label", "labels": "open"},
                   {"text": "text", "label": {"field": "label", "labels": "open"}}):  # fmt: skip
        data = dataset(tmp_path, reviews(), fields)
        assert data.fields.content({"text": "t", "label": "mixed"}).label == "mixed"


async def test_the_simulated_model_follows_a_closed_set(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint()
    configs.base.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in reviews()))
    fields = {"text": "text", "label": "label", "extras": ["stars"]}
    config = configs.load(url, dataset={"fields": fields}, generate={"target": 30})
    await run_in(configs.folder / "run", config)
    made = lines(configs.folder / "run" / "accepted.jsonl")
    assert {row["label"] for row in made} == {"positive", "negative"}
    assert all(type(row["stars"]) is int and 1 <= row["stars"] <= 5 for row in made)


@pytest.mark.parametrize(
    ("labels", "given", "written"),
    [
        ([3, 14, 25, 7, 81], "41", 41),
        ([3, 14, 25, 7, 81], 41, 41),
        ([3, 14, 25, 7, 81], "41 cows", 41),
        ([3, 14, 25, 7, 81], "41.0", 41),
        ([3, 14, 25, 7, 81], "three", None),
        ([3, 14, 25, 7, 81], "4.5", None),
        ([0.5, 1.25, 3.0], "1/3", None),
        ([0.5, 1.25, 3.0], "2.5", 2.5),
        ([True, False, True], "true", True),
        ([True, False, True], False, False),
        ([True, False, True], "maybe", None),
        ([3, 14], "41 cows", 41),
        ([3, 14], "cows", None),
        (["a1", "b2"], 41, "41"),
    ],
)
def test_a_label_keeps_its_type(tmp_path: Path, labels: list[Any], given: Any, written: Any) -> None:
    rows = [{"text": f"Text {n}", "label": label} for n, label in enumerate(labels)]
    data = dataset(tmp_path, rows, {"text": "text", "label": "label"})
    reply = {"text": "t", "label": given}
    if written is None:
        assert problem(data, reply) in ("label_type", "label_form", "label_unknown")
    else:
        found = data.fields.write(item_of(data, reply))["label"]
        assert (found, type(found)) == (written, type(written))


def test_a_reply_may_write_the_label_as_the_dataset_does(tmp_path: Path) -> None:
    rows = [{"q": f"How many {n}?", "a": f"Think.\n#### {n * 7}"} for n in range(6)]
    fields = {"text": "q", "label": {"field": "a", "pattern": "#### (.+)"}}
    data = dataset(tmp_path, rows, fields)
    for given in ("21", "#### 21", "One two.\n#### 21", 21):
        assert data.fields.write(item_of(data, {"text": "t", "label": given}))["a"] == "#### 21"
    worked = dataset(tmp_path, rows, {**fields, "solution": "a"})
    shown = worked.fields.wire(worked.examples[1])
    assert list(shown.items()) == [("text", "How many 1?"), ("a", "Think."), ("label", "7")]
    reply = {"text": "t", "a": "Count.\n#### 21", "label": "21"}
    assert worked.fields.write(item_of(worked, reply))["a"] == "Count.\n#### 21"
    assert worked.fields.question(worked.examples[1]) == {"text": "How many 1?"}
    assert problem(worked, {"text": "t", "label": "21"}) == "missing_field"


def test_several_labels_at_once(tmp_path: Path) -> None:
    rows = [{"text": f"Text {n}", "tags": [["a"], ["a", "b"], ["c"], []][n % 4]} for n in range(24)]
    data = dataset(tmp_path, rows, {"text": "text", "label": "tags"})
    schema = data.fields.item_schema()["properties"]["label"]
    assert (schema["type"], schema["items"]) == ("array", {"type": "string", "enum": ["a", "b", "c"]})
    assert item_of(data, {"text": "t", "label": ["B", "a", "a"]}).label == ("b", "a")
    assert problem(data, {"text": "t", "label": ["a", "x"]}) == "label_unknown"
    assert data.fields.write(item_of(data, {"text": "t", "label": "c"}))["tags"] == ["c"]


def test_labels_by_name(tmp_path: Path) -> None:
    rows = [{"utt": f"Words {n}", "intent": "ab"[n % 2], "slots": ["x", "y"][: n % 3]} for n in range(24)]
    data = dataset(tmp_path, rows, {"text": "utt", "labels": {"intent": "intent", "slots": "slots"}})
    assert data.fields.wire(data.examples[1]) == {
        "text": "Words 1",
        "labels": {"intent": "b", "slots": ["x"]},
    }
    reply = {"text": "t", "labels": {"intent": "a", "slots": ["y"]}}
    assert data.fields.write(item_of(data, reply)) == {"utt": "t", "intent": "a", "slots": ["y"]}
    assert problem(data, {"text": "t", "labels": {"intent": "q", "slots": []}}) == "label_unknown"
    assert problem(data, {"text": "t", "labels": {"slots": []}}) == "no_label"


def test_a_label_that_stands_in_its_text(tmp_path: Path) -> None:
    rows = [
        {"context": f"The town of Ulm{n} lies by a river.", "question": "Where?",
         "answers": {"text": [f"Ulm{n}"], "answer_start": [12]}}
        for n in range(6)
    ]  # fmt: skip
    label = {"field": "answers.text", "in": "context", "start": "answers.answer_start"}
    data = dataset(tmp_path, rows, {"text": ["context", "question"], "label": label})
    reply = {"context": "A boat on the Danube.", "question": "Which river?", "label": ["danube"]}
    assert data.fields.write(item_of(data, reply)) == {
        "context": "A boat on the Danube.",
        "question": "Which river?",
        "answers": {"text": ["Danube"], "answer_start": [14]},
    }
    assert problem(data, {**reply, "label": ["Rhine"]}) == "label_not_in_text"


# --- text of several parts -------------------------------------------------------------------------


def test_rows_that_share_one_part_are_no_duplicates(tmp_path: Path) -> None:
    rows = [
        {"premise": "A man walks.", "hypothesis": f"He is {n}.", "label": "abc"[n % 3]} for n in range(12)
    ]
    rows.append(dict(rows[0]))
    data = dataset(tmp_path, rows, {"text": ["premise", "hypothesis"], "label": "label"})
    assert (len(data.examples), data.bad_counts) == (12, {"duplicate": 1})
    assert data.fields.wire(data.examples[0]) == {
        "premise": "A man walks.",
        "hypothesis": "He is 0.",
        "label": "a",
    }
    assert data.examples[0].text == "A man walks.\n\nHe is 0."


def test_a_part_may_be_empty_where_the_dataset_has_it_so(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Do {n}.", "input": "" if n % 2 else "x", "output": f"Done {n}."} for n in range(8)
    ]
    data = dataset(tmp_path, rows, {"text": ["instruction", "input"], "label": "output"})
    assert item_of(data, {"instruction": "Sing.", "input": "", "label": "La."}).parts["input"] == ""
    assert problem(data, {"instruction": "", "input": "x", "label": "La."}) == "empty_text"


# --- conversations ---------------------------------------------------------------------------------


def turns(*roles: str, **more: Any) -> list[dict[str, Any]]:
    names = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}
    return [{"role": names[role], "content": f"words {n}", **more} for n, role in enumerate(roles)]


TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}},
}


def called(arguments: str, name: str = "f") -> list[dict[str, Any]]:
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    first, second, third = turns("u", "a", "t")
    return [first, {**second, "content": "", "tool_calls": [call]}, third, *turns("a")]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (turns("u", "a"), None),
        (turns("s", "u", "a", "u", "a"), None),
        (called('{"n": 1}'), None),
        (turns("a", "u", "a"), "roles"),
        (turns("u", "u", "a"), "roles"),
        (turns("u", "a", "u"), "roles"),
        (turns("u", "s", "a"), "roles"),
        (turns("u", "t", "a"), "tool_without_call"),
        (turns("u", "a", "t", "a"), "tool_without_call"),
        ([*turns("u"), {"role": "assistant", "content": " "}], "empty_message"),
        (called('{"n": "one"}'), "bad_tool_call"),
        (called('{"n": '), "bad_tool_call"),
        (called("{}", "g"), "unknown_tool"),
        ([], "no_turns"),
    ],
)
def test_what_a_conversation_is(messages: Any, reason: str | None) -> None:
    found = complaint(messages_in(messages), [TOOL], None)
    assert (found and found[0]) == reason


def tool_taking(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {"n": schema}}},
    }


@pytest.mark.parametrize(
    ("schema", "given", "fits"),
    [
        ({"type": "dict"}, "{}", True),  # as function-calling benchmarks write it
        ({"type": "dict"}, "1", False),
        ({"pattern": "^(?=a)[a-z]+$"}, '"b"', False),
        ({"pattern": "^(a+)+$"}, f'"{"a" * 5000}!"', False),  # Python's own would be at it for years
        ({"pattern": "^(?:(?=a)a+)+$"}, f'"{"a" * 5000}!"', False),
        ({"patternProperties": {"^(a+)+$": {"type": "string"}}}, f'{{"{"a" * 5000}!": 1}}', True),
        ({"pattern": "("}, '"b"', True),  # no schema: nothing to hold the arguments to
        ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "string"}, "1", False),
    ],
)
def test_a_datasets_own_schema_is_held_to(schema: dict[str, Any], given: str, fits: bool) -> None:
    found = complaint(messages_in(called(f'{{"n": {given}}}')), [tool_taking(schema)], None)
    assert (found is None) == fits, found


def test_what_a_datasets_schema_refers_to_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "string"}')
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        addresses = (
            f"http://127.0.0.1:{server.getsockname()[1]}/schema",
            (tmp_path / "schema.json").as_uri(),
        )
        for address in addresses:
            found = complaint(messages_in(called('{"n": 1}')), [tool_taking({"$ref": address})], None)
            assert found is None
        with pytest.raises(BlockingIOError):
            server.accept()
    within = {**tool_taking({"$ref": "#/$defs/text"})}
    within["function"]["parameters"]["$defs"] = {"text": {"type": "string"}}
    assert complaint(messages_in(called('{"n": 1}')), [within], None) is not None


def test_a_schema_without_a_bottom_costs_itself() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(2000):
        schema = {"properties": {"n": schema}}
    assert complaint(messages_in(called('{"n": 1}')), [tool_taking(schema)], None) is None


def test_turns_and_system_are_held_to(tmp_path: Path) -> None:
    assert complaint(turns("u", "a", "u", "a"), turns=(2, 2)) is not None
    assert complaint(turns("u", "a"), system="require") is not None
    rows = [{"messages": turns("s", "u", "a") + turns("u", "a") * (n % 2)} for n in range(6)]
    rows = [
        {"messages": [{**m, "content": f"{m['content']} {n}"} for m in r["messages"]]}
        for n, r in enumerate(rows)
    ]
    data = dataset(tmp_path, rows, {"messages": {"field": "messages", "system": "drop"}})
    assert {m["role"] for e in data.examples for m in e.parts["messages"]} == {"user", "assistant"}
    schema = data.fields.item_schema()["properties"]["messages"]
    assert (schema["minItems"], schema["maxItems"]) == (2, 4)


def test_shared_conversations_come_back_in_their_form(tmp_path: Path) -> None:
    rows = [
        {"conversations": [{"from": "human", "value": f"Ask {n}"}, {"from": "gpt", "value": "Answer"}]}
        for n in range(6)
    ]
    data = dataset(tmp_path, rows, {"messages": "conversations"})
    reply = {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}]}
    assert data.fields.write(item_of(data, reply)) == {
        "conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Yes."}]
    }
    assert problem(data, {"messages": reply["messages"][:1]}) == "roles"
    assert data.examples[0].text == "Ask 0"  # what the user says is what it is known by


# --- pairs -----------------------------------------------------------------------------------------


def test_a_prompt_that_is_repeated_is_told_from_the_answers() -> None:
    """trl#1541: the prompt stands in both answers, and must not be trained on twice."""
    prompt = turns("u", "a", "u")
    better, worse = (
        [*prompt, {"role": "assistant", "content": "Yes."}],
        [*prompt, {"role": "assistant", "content": "No."}],
    )
    pair = pair_in(better, worse)
    assert (pair.prompt, pair.chosen, pair.rejected) == (prompt, "Yes.", "No.")
    assert pair.style.repeats


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [
        ("Yes.", " yes. ", "same_answers"),
        ("Yes.", " ", "empty_answer"),
        (turns("u", "a"), turns("u", "a"), "same_answers"),
        (turns("u", "a"), turns("u"), "empty_answer"),
    ],
)
def test_what_is_no_pair(better: Any, worse: Any, reason: str) -> None:
    with pytest.raises(FieldProblem) as found:
        pair_in(better, worse)
    assert found.value.reason == reason


# --- evaluating ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "label", "labels", "correct"),
    [
        ("positive", "positive", ("negative", "positive"), True),
        ("positive", "negative", ("negative", "positive"), False),
        ("The answer is: negative.", "negative", ("negative", "positive"), True),
        ("I think it is positive", "positive", ("negative", "positive"), True),
        ("It is not positive", "positive", ("negative", "positive"), False),
        ("Dante Alighieri", "positive", ("negative", "positive"), False),
        ("very bad", "very bad", ("bad", "very bad"), True),
        ("alarm set", "alarm_set", ("alarm_set", "alarm_off"), True),
        ("a, c", ("a", "c"), ("a", "b", "c"), True),
        ("a and b", ("a", "c"), ("a", "b", "c"), False),
        ("Danube", ("the Danube", "Danube"), (), True),
    ],
)
def test_scoring_by_a_closed_set(answer: str, label: Any, labels: Any, correct: bool) -> None:
    assert scored(answer, label, (), labels).correct is correct


async def test_a_closed_set_leaves_nothing_to_a_judge(configs: Configs, endpoint: Start) -> None:
    """Every answer stays in the denominator: none is needed to see that it is another label, or none."""
    from engine.runs.api import evaluate

    url, _ = await endpoint()
    configs.base.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in reviews()))
    config = configs.load(
        url,
        dataset={"fields": {"text": "text", "label": "label"}},
        evaluate={"models": [{"name": "m", "base_url": url}], "reasoning": False},
    )
    await evaluate(config, configs.folder / "e", data=[configs.base])
    results = orjson.loads((configs.folder / "e" / "results.json").read_bytes())["results"][0]
    assert (results["n"], results["pending"]) == (60, 0)
    assert 0.2 < results["accuracy"] < 0.8  # the simulated model draws one of the two labels


# --- worked solutions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solution", "label", "choices", "ends"),
    [
        ("3 + 4 = 7.\nSo it is $7.00.", "7", (), True),
        ("3 + 4 = 7\nHe has 8", "7", (), False),
        ("Seven in all.", "7", (), None),
        ("It must be (B).", "B", ("x", "y"), True),
        ("It must be (A).", "B", ("x", "y"), False),
        ("Hard to say.", "B", ("x", "y"), None),
        ("", "7", (), None),
        ("It is 7", None, (), None),
    ],
)
def test_a_solution_arrives_at_its_label(solution: str, label: Any, choices: Any, ends: bool | None) -> None:
    assert ends_in(solution, label, choices) is ends


@pytest.mark.parametrize("kept", [True, False])
def test_new_solutions_do_as_those_of_the_base_dataset_do(tmp_path: Path, kept: bool) -> None:
    worked = "{0} and {0} is {1}" if kept else "{0} and {0}, by its sum"
    rows = [{"q": f"{n} + {n}?", "a": str(2 * n), "s": worked.format(n, 2 * n)} for n in range(1, 40)]
    fields = dataset(tmp_path, rows, {"text": "q", "label": "a", "solution": "s"}).fields
    good = {"text": "50 + 50?", "s": "50 and 50 is 100", "label": "100"}
    assert fields.content(good).label == "100"
    bad = {**good, "s": "50 and 50 is 90"}
    if not kept:
        assert fields.content(bad).label == "100"
        return
    with pytest.raises(FieldProblem) as found:
        fields.content(bad)
    assert found.value.reason == "solution_differs"
    made = Item(Batch(0, 1, 0, 0.0), 0, 1, *fields.content(good))
    with pytest.raises(FieldProblem, match="does not arrive at the label '90'"):
        fields.verify(made.evolve(label="90"))  # a validator's new label does not mend the solution

"""New columns for the rows of a dataset: each row has one fate and its place, whatever is asked, killed or spread."""

from __future__ import annotations

import asyncio
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, Start, contents, datagen, finished, lines
from engine.config import RunConfig
from engine.errors import ConfigError
from engine.items import item_number
from engine.runs.api import resumed
from engine.runs.modes import MapMode
from engine.store.reading import connect
from engine.view.item import read_calls
from mapped_rows import ASKED, calls, config_of, ids, mapped, problem, write_rows

# --- rows and their places -------------------------------------------------------------------------


async def test_each_row_keeps_its_place_and_its_columns(endpoint: Start, tmp_path: Path) -> None:
    url, simulator = await endpoint(latency_s=0.01, latency_p99_s=0.05)
    data = write_rows(tmp_path / "rows.jsonl", 60, bad=(7, 30))
    report = await mapped(tmp_path / "run", config_of(tmp_path, url, data))
    assert report.outcome == "target"
    rows = lines(tmp_path / "run" / "accepted.jsonl")
    assert [row["id"] for row in rows] == [n for n in range(60) if n not in (7, 30)]
    for row in rows:
        assert list(row) == ["id", "question", "beside", "answer", "why", "_meta"]
        assert row["beside"] == {"n": [row["id"]]}
        assert row["answer"] == str(problem(row["id"]).answer)
    rejected = lines(tmp_path / "run" / "rejected.jsonl")
    assert [(row["_meta"]["batch"], row["_meta"]["reason"]) for row in rejected] == [
        (7, "not_json"),
        (30, "not_json"),
    ]
    assert simulator.statistics.served == 58


@pytest.mark.parametrize("reuse", [True, False])
async def test_equal_rows_are_asked_once(reuse: bool, endpoint: Start, tmp_path: Path) -> None:
    url, simulator = await endpoint(latency_s=0.02, answer_accuracy=0.6)
    data = write_rows(tmp_path / "rows.jsonl", 90, distinct=9)
    checks = ["constraints", {"reflection": {"max_rounds": 1}}]
    config = config_of(
        tmp_path, url, data, map={**ASKED, "reuse": reuse, "temperature": 0.5}, validators=checks
    )
    await mapped(tmp_path / "run", config)
    made = [key for (key,) in calls(tmp_path / "run") if "/map/" in key]
    assert len(made) == (9 if reuse else 90)
    assert simulator.statistics.repeated == 0
    if reuse:
        reviewed = calls(tmp_path / "run", "SELECT count(*) FROM calls WHERE owner = 'reflection'")[0][0]
        assert reviewed < 40  # not one for each row
        of: dict[str, set[str]] = {}
        for name in ("accepted", "rejected"):
            for row in lines(tmp_path / "run" / f"{name}.jsonl"):
                of.setdefault(row["question"], set()).add(f"{name} {row['answer']}")
        assert all(len(fates) == 1 for fates in of.values())
    assert len(ids(tmp_path / "run")) + len(ids(tmp_path / "run", "rejected")) == 90


async def test_rows_are_the_same_after_kills(endpoint: Start, tmp_path: Path) -> None:
    """Five SIGKILLs: every row one fate, in order, nothing asked twice."""
    url, simulator = await endpoint(latency_s=0.05, bad_json=0.05)
    data = write_rows(tmp_path / "rows.jsonl", 400, distinct=330)
    config = config_of(tmp_path, url, data, limits={"concurrency": 4}, validators=["constraints"])
    kills, folder = 0, tmp_path / "run"
    while kills < 5:
        process = await datagen("map", data, tmp_path / "map.yaml", "-o", folder)
        before = simulator.statistics.served
        while simulator.statistics.served < before + 20 and process.returncode is None:
            await asyncio.sleep(0.02)
        if process.returncode is not None:
            break
        process.kill()
        await process.communicate()
        kills += 1
    code, _, err = await finished(await datagen("map", data, tmp_path / "map.yaml", "-o", folder))
    assert code == 0, err
    assert kills == 5
    again = calls(folder, "SELECT count(*), count(DISTINCT key) FROM calls")
    assert again[0][0] == again[0][1]
    fates = sorted([*ids(folder), *ids(folder, "rejected")])
    assert fates == list(range(400))
    assert ids(folder) == sorted(ids(folder))
    other_url, _ = await endpoint(bad_json=0.05)
    alone = tmp_path / "alone"
    await mapped(alone, config.changed(model=config.main.model_copy(update={"base_url": other_url})))
    assert contents(folder / "accepted.jsonl") == contents(alone / "accepted.jsonl")


async def test_workers_and_waves_make_the_same(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", 80, distinct=60)
    found = []
    batched = {"mode": "batch", "batch": {"least": 6}}
    for name, sections in {
        "one": {},
        "workers": {"spread": {"workers": 2}},
        "waves": {"limits": {"concurrency": 8, **batched}},
    }.items():
        url, simulator = await endpoint(
            answer_accuracy=0.7, correlation=0.5, batches={"day_s": 6.0, "quickest": 0.002, "slowest": 0.02}
        )
        model = {
            "name": "m",
            "base_url": url,
            "batch": "openai",
            "price": {"input": 1.0, "output": 2.0, "batch": 0.5},
        }
        steps = {
            "prompt": "Answer: {{ question }}",
            "columns": {"answer": "string"},
            "samples": 3,
            "keep": "majority",
        }
        config = config_of(tmp_path, url, data, map=steps, model=model, **sections)
        report = await mapped(tmp_path / name, config)
        assert report.outcome == "target", report.data["message"]
        assert simulator.statistics.repeated == 0
        found.append([(row["id"], row["answer"]) for row in lines(tmp_path / name / "accepted.jsonl")])
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 40


async def test_files_of_finished_rows(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint(latency_s=0.005)
    data = write_rows(tmp_path / "rows.jsonl", 205, bad=(3,))
    folder = tmp_path / "run"
    await mapped(folder, config_of(tmp_path, url, data, map={**ASKED, "part": 50}))
    parts = sorted((folder / "parts").iterdir())
    assert [part.name for part in parts] == [f"accepted-{n:05}.jsonl" for n in range(1, 6)]
    assert [len(lines(part)) for part in parts] == [49, 50, 50, 50, 5]
    assert b"".join(part.read_bytes() for part in parts) == (folder / "accepted.jsonl").read_bytes()


async def test_the_last_row_is_in_its_file_too(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint()
    data = write_rows(tmp_path / "rows.jsonl", 30)
    await mapped(tmp_path / "run", config_of(tmp_path, url, data, map={**ASKED, "part": 100}))
    assert len(lines(tmp_path / "run" / "parts" / "accepted-00001.jsonl")) == 30


async def test_a_cap_stops_and_a_larger_one_goes_on(endpoint: Start, tmp_path: Path) -> None:
    url, simulator = await endpoint()
    data = write_rows(tmp_path / "rows.jsonl", 80)
    small = config_of(tmp_path, url, data, limits={"concurrency": 4, "budget_usd": 0.006})
    report = await mapped(tmp_path / "run", small)
    assert report.outcome == "budget"
    assert 0 < report.accepted < 80
    assert report.data["cost"]["spent_usd"] <= 0.006
    config = RunConfig.load(tmp_path / "run" / "config.yaml", {"limits.budget_usd": 1.0})
    report = await resumed(config, tmp_path / "run")
    assert report.outcome == "target"
    assert ids(tmp_path / "run") == list(range(80))
    assert simulator.statistics.repeated == 0


# --- several answers -------------------------------------------------------------------------------


def answers_right(folder: Path) -> float:
    rows = lines(folder / "accepted.jsonl")
    return sum(row["answer"] == str(problem(row["id"]).answer) for row in rows) / len(rows)


async def test_a_majority_is_right_more_often(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint(answer_accuracy=0.6)
    data = write_rows(tmp_path / "rows.jsonl", 80)
    one = {"prompt": "{{ question }}", "columns": {"answer": "string"}, "temperature": 1.0}
    await mapped(tmp_path / "one", config_of(tmp_path, url, data, map=one))
    several = {**one, "samples": 7, "keep": "majority"}
    await mapped(tmp_path / "seven", config_of(tmp_path, url, data, map=several))
    assert answers_right(tmp_path / "one") < 0.75
    assert answers_right(tmp_path / "seven") > 0.9
    told = lines(tmp_path / "seven" / "accepted.jsonl")[0]["_meta"]
    assert told["samples"] == {"of": 7, "passed": 7}
    assert told["verdicts"][0]["record"]["same"] >= 2


async def test_all_samples_are_rows_of_their_own(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint()
    data = write_rows(tmp_path / "rows.jsonl", 10)
    spec = {**ASKED, "samples": 3, "keep": "all"}
    await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec))
    assert ids(tmp_path / "run") == [n for n in range(10) for _ in range(3)]
    assert [row["_meta"]["id"] for row in lines(tmp_path / "run" / "accepted.jsonl")][:4] == [
        "0-0",
        "0-1",
        "0-2",
        "1-0",
    ]


async def test_one_reply_may_be_several_rows(endpoint: Start, tmp_path: Path) -> None:
    url, simulator = await endpoint()
    data = write_rows(tmp_path / "rows.jsonl", 10)
    spec = {"prompt": "Reword: {{ question }}", "columns": {"other": "string"}, "fan_out": 4}
    await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec))
    rows = lines(tmp_path / "run" / "accepted.jsonl")
    assert [row["id"] for row in rows] == [n for n in range(10) for _ in range(4)]
    assert all(len({row["other"] for row in rows[start : start + 4]}) == 4 for start in range(0, 40, 4))
    assert simulator.statistics.served == 10


RIGHT = {"agree": {"answers": 3, "agree": 2}}


async def test_no_answer_is_asked_for_after_the_first_that_passes(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint(answer_accuracy=0.7)
    data = write_rows(tmp_path / "rows.jsonl", 60)
    spec = {"prompt": "{{ question }}", "columns": {"answer": "string"}, "samples": 6}
    await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec, validators=[RIGHT]))
    rows = lines(tmp_path / "run" / "accepted.jsonl")
    asked = [row["_meta"]["samples"]["of"] for row in rows]
    assert len(rows) > 40
    assert asked.count(1) > 25
    assert max(asked) > 1
    assert all(row["_meta"]["samples"]["passed"] == 1 for row in rows)
    made = calls(tmp_path / "run", "SELECT count(*) FROM calls WHERE purpose = 'map'")[0][0]
    rejected = lines(tmp_path / "run" / "rejected.jsonl")
    assert made == sum(asked) + sum(row["_meta"]["samples"]["of"] for row in rejected)


@pytest.mark.parametrize("by", ["shortest", "agree", "judge"])
async def test_the_best_of_several(by: str, endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint(answer_accuracy=0.6)
    data = write_rows(tmp_path / "rows.jsonl", 40)
    checks = [{"agree": {"answers": 3, "agree": 2, "scattered": "keep"}}] if by == "agree" else []
    spec = {
        "prompt": "{{ question }}",
        "columns": {"answer": "string"},
        "samples": 4,
        "keep": "best",
        "by": by,
    }
    report = await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec, validators=checks))
    assert report.outcome == "target"
    if by == "judge":
        assert answers_right(tmp_path / "run") > 0.9
        judged = calls(tmp_path / "run", "SELECT key FROM calls WHERE purpose = 'candidates'")
        assert len(judged) == 80  # both orders
    if by == "agree":
        assert answers_right(tmp_path / "run") > 0.75


async def test_a_pair_is_the_best_and_the_worst(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint(answer_accuracy=0.5)
    data = write_rows(tmp_path / "rows.jsonl", 40)
    spec = {
        "prompt": "{{ question }}",
        "columns": {"answer": "string"},
        "samples": 5,
        "keep": "pair",
        "by": "judge",
    }
    folder = tmp_path / "run"
    await mapped(folder, config_of(tmp_path, url, data, map=spec))
    pairs = lines(folder / "accepted.jsonl")
    assert list(pairs[0]) == ["id", "question", "beside", "chosen", "rejected", "_meta"]
    right = sum(row["chosen"] == str(problem(row["id"]).answer) for row in pairs)
    wrong = sum(row["rejected"] != str(problem(row["id"]).answer) for row in pairs)
    assert right > 0.9 * len(pairs)
    assert wrong > 0.9 * len(pairs)
    without = lines(folder / "rejected.jsonl")
    assert {row["_meta"]["reason"] for row in without} <= {"no_contrast"}
    code, _, err = await finished(
        await datagen("export", folder, "-f", "trl-preference", "-o", tmp_path / "dpo.jsonl")
    )
    assert code == 0, err
    told = lines(tmp_path / "dpo.jsonl")
    assert len(told) == len(pairs)
    assert "chosen" in told[0]


# --- rows of which nothing passes ------------------------------------------------------------------


@pytest.mark.parametrize("on_reject", ["drop", "keep_null", "retry"])
async def test_what_becomes_of_a_row_without_an_answer(
    on_reject: str, endpoint: Start, tmp_path: Path
) -> None:
    url, _ = await endpoint(bad_json=0.6)
    data = write_rows(tmp_path / "rows.jsonl", 80)
    folder = tmp_path / "run"
    report = await mapped(folder, config_of(tmp_path, url, data, map={**ASKED, "on_reject": on_reject}))
    assert report.outcome == "target"
    rows = lines(folder / "accepted.jsonl")
    if on_reject == "keep_null":
        assert ids(folder) == list(range(80))
        empty = [row for row in rows if row["answer"] is None]
        assert 0 < len(empty) < 60
        assert {row["_meta"]["null"]["reason"] for row in empty} <= {
            "unparseable",
            "truncated",
            "wrong_value",
        }
        assert ids(folder, "rejected") == []
    else:
        assert sorted([*ids(folder), *ids(folder, "rejected")]) == list(range(80))
    if on_reject == "retry":
        assert len(rows) > 70
        assert max(row["_meta"].get("samples", {"of": 1})["of"] for row in rows) > 1


async def test_an_empty_row_is_not_asked_for(endpoint: Start, tmp_path: Path) -> None:
    url, simulator = await endpoint()
    data = tmp_path / "rows.jsonl"
    data.write_text('{"question": "What is 1 plus 1?"}\n{"question": ""}\n{"question": null}\n')
    await mapped(tmp_path / "run", config_of(tmp_path, url, data))
    assert [row["_meta"]["reason"] for row in lines(tmp_path / "run" / "rejected.jsonl")] == ["empty_row"] * 2
    assert simulator.statistics.served == 1


# --- prompts ---------------------------------------------------------------------------------------


async def test_steps_see_what_those_before_them_have_filled(endpoint: Start, tmp_path: Path) -> None:
    url, simulator = await endpoint()
    data = write_rows(tmp_path / "rows.jsonl", 5)
    steps = [
        {"name": "translate", "prompt": "In German: {{ question }}", "columns": {"german": "string"}},
        {
            "name": "answer",
            "prompt": "Answer {{ question }}, in German {{ german }}",
            "columns": {"answer": "string"},
        },
    ]
    model = {
        "name": "m",
        "base_url": url,
        "price": {"input": 1.0, "output": 2.0},
        "purposes": {"map_answer": {"name": "other"}},
    }
    await mapped(tmp_path / "run", config_of(tmp_path, url, data, map={"steps": steps}, model=model))
    rows = lines(tmp_path / "run" / "accepted.jsonl")
    assert list(rows[0]) == ["id", "question", "beside", "german", "answer", "_meta"]
    by = calls(tmp_path / "run", "SELECT purpose, model, count(*) FROM calls GROUP BY 1, 2 ORDER BY 1")
    assert [(purpose, model) for purpose, model, _ in by] == [("map_answer", "other"), ("map_translate", "m")]
    del simulator


def prompts_of(tmp_path: Path, spec: dict[str, Any], row: dict[str, Any]) -> tuple[str, str]:
    data = tmp_path / "rows.jsonl"
    data.write_bytes(orjson.dumps(row) + b"\n")
    inputs = MapMode().load(config_of(tmp_path, "http://127.0.0.1:9", data, map=spec))
    assert inputs.row_prompts is not None
    step = inputs.row_prompts.steps[0]
    return step.rendered(row, inputs.row_prompts.examples_shown(step, ""))


def test_a_row_is_data_and_no_template(tmp_path: Path) -> None:
    row = {"question": "{{ 7 * 7 }} ```json {% raw %}", "odd name": "x"}
    _, user = prompts_of(tmp_path, {**ASKED, "prompt": "{{ question }} / {{ columns['odd name'] }}"}, row)
    assert "{{ 7 * 7 }} '''json {% raw %} / x" in user
    _, user = prompts_of(tmp_path, {**ASKED, "prompt": "{{ row }}"}, row)
    assert user.count("```json") == 1


def test_examples_stand_before_the_row(tmp_path: Path) -> None:
    done = tmp_path / "done.jsonl"
    done.write_text('{"question": "What is 2 plus 2?", "answer": "4", "why": "Add."}\n')
    _, user = prompts_of(tmp_path, {**ASKED, "examples": str(done)}, {"question": "What is 3 plus 3?"})
    first, last = user.index("What is 2 plus 2?"), user.index("What is 3 plus 3?")
    assert first < user.index('{"answer":"4","why":"Add."}') < last


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"prompt": "{{ qestion }}"}, "the data has no column 'qestion'; did you mean 'question'"),
        ({"prompt": "{{ question"}, "map.prompt"),
        ({"columns": {"id": "string"}}, "the data has a column 'id' already"),
        ({"columns": {}}, "names none"),
        ({"columns": {"a": "strng"}}, "strng"),
        ({"samples": 1, "keep": "majority"}, "needs samples: 2 or more"),
        ({"samples": 2, "keep": "best", "by": "agree"}, "add it to validators"),
        ({"fan_out": 2, "samples": 2, "keep": "all"}, "exclude each other"),
        ({"steps": [{"prompt": "x", "columns": {"a": "string"}}]}, "give either steps"),
        ({"examples": "rows.jsonl"}, "row 1 has no 'answer'"),
        ({"name": "Über"}, "begins with a letter"),
        ({"columns": {"a": {"enum": [True, False]}}}, "quote words such as 'yes' and 'no'"),
        ({"columns": {"a": {"type": "int64", "range": [5, 1]}}}, "holds nothing: 5 is above 1"),
        ({"reasoning": "thoughts"}, "model.reasoning: {keep: true}"),
        ({"reasoning": "answer"}, "is a column of the reply already"),
    ],
)
def test_a_mistake_is_told_before_anything_is_spent(spec: dict[str, Any], said: str, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", 3)
    with pytest.raises(ConfigError, match=".*".join(map(__import__("re").escape, [said]))):
        MapMode().load(config_of(tmp_path, "http://127.0.0.1:9", data, map={**ASKED, **spec}))


async def test_values_are_of_their_columns_types(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint()
    data = write_rows(tmp_path / "rows.jsonl", 20)
    columns = {
        "topic": {"enum": ["sums", "other"]},
        "hard": {"type": "int64", "range": [1, 5]},
        "fine": "bool",
        "names": ["string"],
        "spans": [{"text": "string", "kind": "string"}],
    }
    spec = {"prompt": "Describe: {{ question }}", "columns": columns}
    await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec))
    for row in lines(tmp_path / "run" / "accepted.jsonl"):
        assert row["topic"] in ("sums", "other")
        assert row["hard"] in range(1, 6)
        assert isinstance(row["fine"], bool)
        assert all(isinstance(name, str) for name in row["names"])
        assert all(set(span) == {"text", "kind"} for span in row["spans"])
    assert len(ids(tmp_path / "run")) == 20


@pytest.mark.parametrize(
    ("row", "columns", "text", "label"),
    [
        ({"text": "a b", "title": "c"}, ["answer", "label"], "text", "answer"),
        ({"title": "a", "body": "c"}, ["choices", "text"], ("title", "body"), "choices"),
        ({"odd name": "a", "items": "c"}, ["label"], "odd name", "label"),
        ({"a.b": "a", "c": 1}, ["x.y", "z"], "c", "x.y"),
    ],
)
def test_columns_may_have_any_names(
    row: dict[str, Any], columns: list[str], text: Any, label: str, tmp_path: Path
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_bytes(orjson.dumps(row) + b"\n")
    spec = {"prompt": "{{ row }}", "columns": dict.fromkeys(columns, "string")}
    fields = MapMode().load(config_of(tmp_path, "http://127.0.0.1:9", data, map=spec)).config.dataset.fields
    assert fields.text == text
    assert fields.label is not None
    assert fields.label.field == label


async def test_what_a_model_thought_is_kept_where_it_is_asked_for(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint(dialect="deepseek")
    data = write_rows(tmp_path / "rows.jsonl", 4)
    model = {
        "name": "m",
        "base_url": url,
        "price": {"input": 1.0, "output": 2.0},
        "reasoning": {"keep": True},
    }
    spec = {**ASKED, "reasoning": "thoughts"}
    await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec, model=model))
    rows = lines(tmp_path / "run" / "accepted.jsonl")
    assert list(rows[0]) == ["id", "question", "beside", "answer", "why", "thoughts", "_meta"]
    assert all(len(row["thoughts"]) > 20 for row in rows)


async def test_the_calls_behind_a_row_are_shown_also_where_another_has_asked_them(
    endpoint: Start, tmp_path: Path
) -> None:
    url, _ = await endpoint(bad_json=0.4)
    data = write_rows(tmp_path / "rows.jsonl", 12, distinct=4)
    checks = [{"reflection": {"max_rounds": 1}}]
    await mapped(tmp_path / "run", config_of(tmp_path, url, data, validators=checks))
    with closing(connect(tmp_path / "run" / "run.db")) as connection:
        for row in range(12):
            behind = [call.key for call in read_calls(connection, item_number(row, 0))]
            assert behind, row
            assert behind == [call.key for call in read_calls(connection, item_number(row % 4, 0))]
            assert {key.split("/")[1] for key in behind} <= {"map", "reflection"}


@pytest.mark.parametrize("prompt", ["Product {{ sku }}", "{{ sku }} {{ order }}", "{{ row }}"])
async def test_a_row_may_be_known_by_what_is_no_text(prompt: str, endpoint: Start, tmp_path: Path) -> None:
    url, simulator = await endpoint()
    data = tmp_path / "rows.jsonl"
    rows = [{"sku": n, "order": {"items": ["pen"], "n": n}} for n in range(5)]
    data.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    spec = {"prompt": prompt, "columns": {"answer": "string"}}
    checks = [{"reflection": {"max_rounds": 1}}]
    report = await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec, validators=checks))
    assert report.outcome == "target"
    kept = [{"sku": row["sku"], "order": row["order"]} for row in lines(tmp_path / "run" / "accepted.jsonl")]
    assert kept == rows
    del simulator


def test_what_a_row_holds_goes_before_what_python_can_do_with_it(tmp_path: Path) -> None:
    row = {"order": {"items": ["pen", "ink"], "n": 2}}
    _, user = prompts_of(tmp_path, {**ASKED, "prompt": "Sum up: {{ order.items | join(', ') }}"}, row)
    assert "Sum up: pen, ink" in user


async def test_a_row_that_cannot_be_rendered_costs_itself(endpoint: Start, tmp_path: Path) -> None:
    url, simulator = await endpoint()
    data = write_rows(tmp_path / "rows.jsonl", 6)
    spec = {**ASKED, "prompt": "{{ 5 / id }} {{ question }}"}
    await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec))
    assert ids(tmp_path / "run") == [1, 2, 3, 4, 5]
    [lost] = lines(tmp_path / "run" / "rejected.jsonl")
    assert lost["_meta"]["reason"] == "prompt_error"
    assert simulator.statistics.served == 5
    with pytest.raises(ConfigError, match="division by zero"):
        MapMode().load(config_of(tmp_path, url, data, map={**ASKED, "prompt": "{{ 5 / 0 }} {{ question }}"}))


async def test_nothing_kept_is_no_success(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint(bad_json=1.0)
    data = write_rows(tmp_path / "rows.jsonl", 12)
    spec = {"prompt": "{{ question }}", "columns": {"answer": {"type": "string"}, "n": "int64", "m": "int64"}}
    report = await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec))
    if not report.accepted:
        assert report.outcome == "attempts"
        assert "rows 0 have an answer" in report.data["message"]


async def test_rows_that_were_stopped_and_files_of_other_sizes(endpoint: Start, tmp_path: Path) -> None:
    """Ctrl-C in the middle, then the same again, then files of another size: each time all rows are in them."""
    url, simulator = await endpoint(latency_s=0.1, bad_json=0.2)
    data = write_rows(tmp_path / "rows.jsonl", 100)
    spec = {**ASKED, "samples": 2, "keep": "majority", "on_reject": "keep_null", "part": 20}
    config_of(tmp_path, url, data, map=spec, limits={"concurrency": 16})
    folder = tmp_path / "run"
    process = await datagen("map", data, tmp_path / "map.yaml", "-o", folder)
    while simulator.statistics.served < 100:
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    await process.communicate()
    for part in (20, 7):
        config_of(tmp_path, url, data, map={**spec, "part": part}, limits={"concurrency": 16})
        code, _, err = await finished(await datagen("map", data, tmp_path / "map.yaml", "-o", folder))
        assert code == 0, err
        parts = sorted((folder / "parts").iterdir())
        assert len(parts) == -(-100 // part)
        assert b"".join(each.read_bytes() for each in parts) == (folder / "accepted.jsonl").read_bytes()
    assert ids(folder) == list(range(100))


async def test_what_was_asked_and_what_was_spared_is_counted(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint()
    data = write_rows(tmp_path / "rows.jsonl", 10, distinct=8)
    with data.open("ab") as file:
        file.write(b'{"id": 10, "question": " "}\n{broken\n')
    report = await mapped(tmp_path / "run", config_of(tmp_path, url, data, map={**ASKED, "samples": 3}))
    told = report.data["rows"]
    assert (told["decided"], told["kept"], told["dropped"]) == (12, 10, 2)
    assert (told["answers"], told["reused"], told["spared"]) == (10, 2, 20)
    fanned = {"prompt": "Reword: {{ question }}", "columns": {"other": "string"}, "fan_out": 4}
    report = await mapped(tmp_path / "fan", config_of(tmp_path, url, data, map=fanned))
    assert (report.data["rows"]["answers"], report.data["rows"]["reused"]) == (10, 2)


async def test_rows_without_an_answer_are_left_out_for_trainers(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint(bad_json=0.6)
    data = write_rows(tmp_path / "rows.jsonl", 30)
    folder = tmp_path / "run"
    await mapped(folder, config_of(tmp_path, url, data, map={**ASKED, "on_reject": "keep_null"}))
    full = sum(row["answer"] is not None for row in lines(folder / "accepted.jsonl"))
    assert 0 < full < 30
    for form in ("trl", "grpo"):
        code, _, err = await finished(
            await datagen("export", folder, "-f", form, "-o", tmp_path / f"{form}.jsonl")
        )
        assert code == 0, err
        assert len(lines(tmp_path / f"{form}.jsonl")) == full


async def test_rows_of_a_second_reply_are_checked_anew(endpoint: Start, tmp_path: Path) -> None:
    """What a check has said of a row of the first reply is not taken for its word about one of the second."""
    url, _ = await endpoint(review_accuracy=0.2)
    data = write_rows(tmp_path / "rows.jsonl", 12)
    spec = {
        "prompt": "Reword: {{ question }}",
        "columns": {"other": "string"},
        "fan_out": 3,
        "on_reject": "retry",
    }
    checks = [{"reflection": {"max_rounds": 1}}]
    await mapped(
        tmp_path / "run", config_of(tmp_path, url, data, map={**spec, "reuse": False}, validators=checks)
    )
    reviews = calls(tmp_path / "run", "SELECT key FROM calls WHERE purpose = 'review'")
    asked = calls(tmp_path / "run", "SELECT count(*) FROM calls WHERE purpose = 'map'")[0][0]
    assert len({key.split("/")[0].split(".")[0] for (key,) in reviews}) == 3 * asked

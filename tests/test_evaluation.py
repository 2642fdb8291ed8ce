"""Models put to the test: what they are asked, how it is scored and counted, what is paid for once."""

from __future__ import annotations

import asyncio
import csv
import random
import signal
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from conftest import CLEAN, Configs, Start, datagen, finished, lines, when_served
from engine.answers.scoring import scored
from engine.config import RunConfig
from engine.conformance import item
from engine.errors import ConfigError, ContentFiltered
from engine.evaluation.answering import Answering
from engine.evaluation.origins import confirmed, groups
from engine.evaluation.results import results_of
from engine.prompts.answer import answer_in
from engine.prompts.ask import ModelAsker
from engine.quality.intervals import mcnemar, newcombe, wilson
from engine.runs.api import evaluate, judge
from engine.simulator.content import facts, word_problems
from engine.simulator.truth import truth_of

# --- statistics --------------------------------------------------------------------------------------


def test_the_published_examples() -> None:
    """Newcombe, Statistics in Medicine 17 (1998): table I of the single share, table II of differences."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe(10, 10, 0, 10) == pytest.approx((0.6075, 1.0), abs=5e-5)
    assert mcnemar(10, 2) == pytest.approx(0.0385742, abs=1e-6)
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 0) == 1.0


@given(st.integers(1, 3000), st.data())
def test_a_share_lies_in_its_interval_and_signs_are_symmetric(of: int, data: Any) -> None:
    right, right2 = data.draw(st.integers(0, of)), data.draw(st.integers(0, of))
    low, high = wilson(right, of)
    assert 0 <= low <= right / of <= high <= 1
    low, high = newcombe(right, of, right2, of)
    assert newcombe(right2, of, right, of) == pytest.approx((-high, -low))
    assert low - 1e-9 <= (right - right2) / of <= high + 1e-9
    assert mcnemar(right, right2) == mcnemar(right2, right)
    assert 0 <= mcnemar(right, right2) <= 1


def test_mcnemar_goes_on_smoothly_where_it_is_no_longer_exact() -> None:
    assert mcnemar(460, 540) == pytest.approx(mcnemar(461, 541), abs=1e-3)


# --- scoring -----------------------------------------------------------------------------------------

CHOICES = ("Rome", "Paris", "Oslo")


@pytest.mark.parametrize(
    ("reply", "label", "choices", "correct"),
    [
        ('{"analysis": "9 and 3", "answer": "12"}', "12", (), True),
        ('```json\n{"answer": "$1,200.00"}\n```', "1200", (), True),
        ("She has 4, gives 1, so 3 are left. The answer is 3.", "3", (), True),
        ("It is 4 + 5 = 9.\n#### 9", "9", (), True),
        (r"So \boxed{12}", "11", (), False),
        ("There are 12 apples", "12", (), True),
        ("There are 12 apples and 5 pears", "12", (), None),
        ("Well, it depends.", "12", (), None),
        ('{"answer": "B"}', "B", CHOICES, True),
        ('{"answer": "Paris"}', "B", CHOICES, True),
        ('{"answer": "(A) Rome"}', "B", CHOICES, False),
        ("I think it is (B), since that one is French.", "B", CHOICES, True),
        ("I think it is (B), since the others are not French.", "B", CHOICES, None),
        ("(A) is wrong", "A", CHOICES, None),
        ("It is not 8 + 2, since one is eaten. So 8 + 1.\n#### 9", "9", (), True),
        ("That is not easy, but the answer is 9.", "9", (), True),
        ("The total comes to 150 km", "A", ("5", "17", "9"), None),
        ("I know that this cannot be determined", "B", ("Yes", "No"), None),
        ("Not sure", "B", ("Yes", "No"), None),
        ("It is not 42", "42", (), None),
        ("The answer is not 42", "42", (), None),
        ("It is minus 5 degrees outside", "5", (), False),
        ("We get \u22125 as the value here", "-5", (), True),
        ("The company earned $5 million in total", "5000000", (), None),
        ("that makes 3 dozen eggs", "36", (), None),
        ("it takes 5 and a half hours", "5.5", (), None),
        ("It must be Oslo, as I recall.", "B", CHOICES, False),
        ("Rome or Paris", "B", CHOICES, None),
        ('{"answer": "the city of light"}', "Paris", (), None),
        ('{"answer": "paris."}', "Paris", (), True),
    ],
)
def test_scores(reply: str, label: str, choices: tuple[str, ...], correct: bool | None) -> None:
    assert scored(answer_in(reply), label, choices).correct is correct


def test_an_object_that_breaks_off_holds_no_answer() -> None:
    assert answer_in('{"analysis": "She has 12 apples and') == ""
    assert answer_in('```json\n{"analysis": "12"}\n```') == ""
    assert answer_in('{"answer": null}') == ""
    assert answer_in("So far there are 12", whole=False) == ""
    assert answer_in('{"answer": "12"} and more', whole=False) == "12"
    assert answer_in("{12, 13} is the set") == "{12, 13} is the set"


async def test_an_answer_that_cannot_be_read_is_asked_for_once_more(
    configs: Configs, endpoint: Start
) -> None:
    url, _ = await endpoint()
    data = written(configs.folder / "data.jsonl", 40)
    broken = configs.load(url, evaluate=models_of(always={"bad_json": 1.0}, seldom={"bad_json": 0.3}))
    report = await evaluate(broken, configs.folder / "out", data=[data])
    always, seldom = results(configs.folder / "out")["results"]
    assert always["unanswered"] >= 35  # some of it can be mended
    assert seldom["accuracy"] > 0.8
    spent = report.data["cost"]["spent_usd"]
    assert always["cost_usd"] + seldom["cost_usd"] == pytest.approx(spent)  # both attempts count
    assert 80 < report.data["calls"]["by_purpose"]["answer"] <= 160


@given(st.text(max_size=300), st.sampled_from(["12", "B", "Paris", "yes"]))
def test_no_reply_is_too_strange_to_score(reply: str, label: str) -> None:
    for choices in ((), CHOICES):
        if not choices or label == "B":
            scored(answer_in(reply), label, choices)


def test_what_a_row_carries_of_its_run() -> None:
    meta: dict[str, Any] = {
        "attributes": {"topic": "sums"},
        "revisions": 0,
        "verdicts": [{"by": "code", "verdict": "pass"}],
    }
    row = item("Which?", "a").evolve(origin={"subject": ["maths"], "_meta": meta})
    assert confirmed(row, {"code"}) is True
    assert confirmed(row, {"facts"}) is None
    assert groups(row, ["subject", "absent"]) == {"subject": "maths", "absent": "", "topic": "sums"}
    later = {"verdicts": [{"by": "difficulty", "verdict": "pass"}], "revisions": 0, "before": meta}
    assert confirmed(row.evolve(origin={"_meta": later}), {"code"}) is True
    assert groups(row.evolve(origin={"_meta": later}), [])["difficulty"] == "as it was"
    changed = {**later, "revisions": 1}
    assert confirmed(row.evolve(origin={"_meta": changed}), {"code"}) is None
    assert confirmed(row.evolve(origin={"_meta": ["odd"]}), {"code"}) is None


# --- whole evaluations against simulated models whose strength is known -------------------------------


def written(path: Path, count: int, kind: str = "word_problems", wrong: float = 0.0) -> Path:
    """A dataset in this simulator's own words, so that it knows the truth; a share of its labels is wrong."""
    chance, rows = random.Random(str(path.name)), []
    for number in range(count):
        if kind == "word_problems":
            problem = word_problems.draw(chance)
            text, label = problem.text, str(problem.answer)
        else:
            fact = facts.draw(chance)
            text, label = fact.question, fact.answer
        label = f"{label}1" if chance.random() < wrong else label
        rows.append({"question": text, "answer": label, "parity": ["even", "odd"][number % 2]})
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


def models_of(**models: dict[str, Any]) -> dict[str, Any]:
    """A section `evaluate` with a simulated model of its own for each label."""
    return {
        "models": [
            {"name": "simulated", "label": label, "simulator": {**CLEAN, "seed": place, **knobs}}
            for place, (label, knobs) in enumerate(models.items())
        ]
    }


def results(folder: Path) -> Any:
    return orjson.loads((folder / "results.json").read_bytes())


async def test_accuracy_is_the_models_own_within_its_interval(configs: Configs, endpoint: Start) -> None:
    url, main = await endpoint()
    old, new = written(configs.folder / "old.jsonl", 300), written(configs.folder / "new.jsonl", 200)
    strength = {"strong": 0.9, "weak": 0.5}
    config = configs.load(
        url,
        evaluate=models_of(**{name: {"answer_accuracy": known} for name, known in strength.items()})
        | {"by": ["parity"]},
    )
    out = configs.folder / "out"
    report = await evaluate(config, out, data=[new], against=old)
    found = results(out)
    assert report.outcome == "target"
    assert main.statistics.served == 0
    for result in found["results"]:
        known = strength[result["model"]]
        assert wilson_holds(result["interval"], known, result["n"]), result
        assert result["n"] == (300 if result["dataset"] == "old" else 200)
        assert (result["unanswered"], result["pending"]) == (0, 0)
        assert {name: each["n"] for name, each in result["by"]["parity"].items()} == {
            "even": result["n"] // 2,
            "odd": result["n"] // 2,
        }
        assert result["solvability"]["checked"] == 0
        assert result["cost_usd"] > 0
    for difference in found["differences"]:
        assert (difference["dataset"], difference["against"]) == ("new", "old")
        assert difference["interval"][0] < 0.1
        assert difference["interval"][1] > -0.1
    for pair in found["comparisons"]:
        assert pair["models"] == ["strong", "weak"]
        assert pair["p"] < 0.001
    table = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert [row["accuracy"] for row in table if not row["group"]] == [
        str(r["accuracy"]) for r in found["results"]
    ]


def wilson_holds(interval: list[float], known: float, of: int) -> bool:
    """With three standard errors of room, so that the test does not fail one time in twenty."""
    low, high = interval
    room = (high - low) / 4
    return low - room <= known <= high + room and of > 0


async def test_a_judge_agrees_with_the_truth_and_answers_are_not_paid_twice(
    configs: Configs, endpoint: Start
) -> None:
    url, main = await endpoint()
    data = written(configs.folder / "facts.jsonl", 200, "short_facts")
    config = configs.load(url, evaluate=models_of(m={"answer_accuracy": 0.7, "wordy_answers": 1.0}))
    out = configs.folder / "out"
    await evaluate(config, out, data=[data])
    [before] = results(out)["results"]
    assert before["pending"] > 150
    assert main.statistics.served == 0
    again = RunConfig.load(out / "config.yaml")
    report = await judge(again, out)
    [after] = results(out)["results"]
    assert after["pending"] == 0
    assert after["n"] == 200
    assert main.statistics.purposes == {"judgement": before["pending"]}
    assert report.data["calls"]["by_purpose"] == {"answer": 200, "judgement": before["pending"]}
    agreed = 0
    for row in lines(out / "accepted.jsonl"):
        records = {verdict["by"]: verdict.get("record", {}) for verdict in row["_meta"]["verdicts"]}
        truth = truth_of(row["question"])
        assert truth is not None
        right = records["answer"]["answer"].casefold().endswith(truth.answer.casefold())
        agreed += records["judge"].get("correct", records["answer"]["correct"]) is right
    assert agreed >= 198
    await evaluate(config, out, data=[data])  # a judged folder stays one
    assert results(out)["results"] == [after]


async def test_hard_is_not_confused_with_mislabelled(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint()
    data = written(configs.folder / "new.jsonl", 120, wrong=0.3)
    config = configs.load(url, validators=["constraints", "code"], evaluate=models_of(a={}, b={}))
    out = configs.folder / "out"
    report = await evaluate(config, out, data=[data])
    for result in results(out)["results"]:
        solvability = result["solvability"]
        assert solvability["checked"] == 120
        assert 60 <= solvability["confirmed"] < 110
        assert result["right"] == solvability["confirmed"]
        assert result["accuracy"] < 0.9
        assert solvability["on_confirmed"]["accuracy"] == 1.0
    assert report.data["calls"]["by_purpose"]["answer"] == 240
    assert report.data["calls"]["by_purpose"]["program"] < 120 * 4
    assert len(lines(out / "accepted.jsonl")) == 240


async def test_the_label_is_never_shown(
    configs: Configs, endpoint: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, simulator = await endpoint()
    data = configs.folder / "data.jsonl"
    row = {
        "question": "Which of these?",
        "answer": "Zanzibar",
        "hint": "An island.",
        "answers": ["Zanzibar", "Pemba"],
    }
    data.write_bytes(orjson.dumps(row))
    fields = {"text": "question", "label": "answer", "extras": ["hint", "answers"]}
    config = configs.load(
        url, dataset={"fields": fields}, evaluate={"show": ["hint"], "instruction": "Be brief."}
    )
    seen: list[bytes] = []
    read = simulator._read

    def reading(request: Any, body: bytes, *arguments: Any) -> Any:
        seen.append(body)
        return read(request, body, *arguments)

    monkeypatch.setattr(simulator, "_read", reading)
    await evaluate(config, configs.folder / "out", data=[data])
    assert seen
    for body in seen:
        assert b"Zanzibar" not in body
        assert b"An island." in body
        assert b"Be brief." in body


async def test_what_is_refused_is_unanswered_and_counts_as_wrong(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint()
    data = written(configs.folder / "data.jsonl", 40)
    with data.open("ab") as file:
        file.write(b'\n{"question": "no label"}\nnot json\n')
    config = configs.load(
        url, evaluate=models_of(a={"bad_json": 0.0, "answer_accuracy": 1.0}, b={"errors": 1.0})
    )
    config = config.changed(limits=config.limits.model_copy(update={"retries": 0, "first_answer_s": 0.5}))
    report = await evaluate(config, configs.folder / "out", data=[data])
    assert report.outcome == "fatal"  # the second endpoint has never answered: mend it and resume
    assert report.data["items"]["accepted"] > 0


async def test_a_killed_evaluation_goes_on_and_pays_nothing_twice(configs: Configs, endpoint: Start) -> None:
    url, simulator = await endpoint(latency_s=0.01)
    data = written(configs.folder / "data.jsonl", 150)
    path = configs.write(url, limits={"concurrency": 4})
    out = configs.folder / "out"
    served = when_served(simulator, 60)
    process = await datagen("evaluate", data, path, "-o", out)
    await asyncio.wait_for(served.wait(), 60)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    status, said, err = await finished(await datagen("evaluate", data, path, "-o", out))
    assert status == 0, err
    assert "100.0 %" in said
    assert simulator.statistics.repeated <= 4
    [result] = results(out)["results"]
    assert (result["n"], result["right"]) == (150, 150)
    status, said, err = await finished(await datagen("judge", out))
    assert status == 0, err
    status, _, err = await finished(await datagen("judge", configs.folder))
    assert (status, "holds no run" in err) == (2, True)


async def test_mistakes_are_told_before_anything_is_asked(configs: Configs) -> None:
    data = written(configs.folder / "data.jsonl", 3)
    url = "http://127.0.0.1:1/v1"
    for sections, said in (
        ({"evaluate": {"models": [{"name": "a"}, {"name": "a"}]}}, "has 'a' twice"),
        ({"evaluate": {"against": "x"}}, "there is no dataset 'x'"),
        ({"evaluate": {"datasets": {"x": "nowhere.jsonl"}}}, "nowhere.jsonl"),
        ({"dataset": {"fields": {"text": "question", "label": None}}}, "dataset.fields.label"),
        ({"limits": {"budget_usd": 1}, "evaluate": {"models": [{"name": "unheard-of"}]}}, "evaluate.models"),
    ):
        with pytest.raises(ConfigError, match=said):
            await evaluate(configs.load(url, **sections), configs.folder / "out", data=[data])
    with pytest.raises(ConfigError, match="names no dataset"):
        await evaluate(configs.load(url), configs.folder / "out")
    assert not (configs.folder / "out").exists()


# --- what must not be lost or mistaken -----------------------------------------------------------------


async def test_a_judge_that_cannot_go_on_takes_nothing_away(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint()
    data = written(configs.folder / "facts.jsonl", 60, "short_facts")
    config = configs.load(url, evaluate=models_of(m={"wordy_answers": 1.0}))
    out = configs.folder / "out"
    await evaluate(config, out, data=[data])
    [before] = results(out)["results"]
    spent = orjson.loads((out / "report.json").read_bytes())["cost"]["spent_usd"]
    poor = RunConfig.load(out / "config.yaml", {"limits.budget_usd": spent * 1.01})
    report = await judge(poor, out)
    assert report.outcome == "budget"
    [after] = results(out)["results"]
    assert after["pending"] + after["n"] == before["pending"] + before["n"] == 60
    assert after["cost_usd"] == before["cost_usd"]
    assert len(lines(out / "accepted.jsonl")) == 60
    await judge(RunConfig.load(out / "config.yaml", {"limits.budget_usd": None}), out)
    assert results(out)["results"][0]["pending"] == 0


async def test_a_judge_who_said_nothing_readable_is_asked_again(configs: Configs, endpoint: Start) -> None:
    url, main = await endpoint(bad_json=1.0)
    data = written(configs.folder / "facts.jsonl", 20, "short_facts")
    config = configs.load(url, evaluate=models_of(m={"wordy_answers": 1.0}))
    out = configs.folder / "out"
    await evaluate(config, out, data=[data])
    status, said, err = await finished(await datagen("judge", out))
    assert status == 0, err
    assert "gave no word that can be read" in said
    main.knobs = main.knobs.model_copy(update={"bad_json": 0.0})
    asked = main.statistics.served
    status, said, err = await finished(await datagen("judge", out))
    assert status == 0, err
    assert "gave no word" not in said
    assert results(out)["results"][0]["pending"] == 0
    assert main.statistics.served - asked <= 20


async def test_an_evaluation_goes_on_whatever_becomes_of_its_datasets(
    configs: Configs, endpoint: Start
) -> None:
    url, _ = await endpoint()
    data = written(configs.folder / "facts.jsonl", 30, "short_facts")
    config = configs.load(url, evaluate=models_of(m={"wordy_answers": 1.0}))
    out = configs.folder / "out"
    await evaluate(config, out, data=[data])
    data.write_text('{"question": "Another?", "answer": "one"}\n')
    status, _, err = await finished(await datagen("judge", out))
    assert status == 0, err
    assert results(out)["results"][0]["n"] == 30
    with pytest.raises(ConfigError, match=r"evaluate\.datasets\.facts \(the file's content\)"):
        await evaluate(config, out, data=[data])


async def test_a_refused_question_counts_everywhere(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint()
    data = written(configs.folder / "data.jsonl", 60)
    config = configs.load(url, validators=["code"], evaluate={**models_of(a={}), "by": ["parity"]})
    asked = 0

    async def ask(prompt: Any) -> Any:
        nonlocal asked
        asked += 1
        raise ContentFiltered("no")

    row = item("Which?", "a").evolve(
        origin={"parity": "odd", "_meta": {"verdicts": [{"by": "code", "verdict": "pass"}]}}
    )
    row = row.evolve(batch=replace(row.batch, rows=(1,), dataset="d"))
    verdict = await Answering(ModelAsker(ask, "answer", config.seed), config, {"code"}).validate(row)
    assert (verdict.reason, asked) == ("content_filtered", 1)
    assert verdict.record == {"confirmed": True, "groups": {"parity": "odd"}, "cost_usd": 0.0}
    assert await evaluate(config, configs.folder / "out", data=[data])


def test_what_could_not_be_looked_up_is_neither_right_nor_wrong() -> None:
    for verdict in (
        {"by": "facts", "verdict": "pass", "record": {"unverifiable": True}},
        {"by": "facts", "verdict": "reject", "reason": "unverifiable"},
    ):
        row = item("Which?", "a").evolve(origin={"_meta": {"verdicts": [verdict]}})
        assert confirmed(row, {"facts"}) is None


async def test_an_evaluation_is_judged_once_it_is_finished_and_is_no_dataset(
    configs: Configs, endpoint: Start
) -> None:
    url, simulator = await endpoint(latency_s=0.05)
    data = written(configs.folder / "data.jsonl", 200)
    path = configs.write(url, limits={"concurrency": 2})
    served = when_served(simulator, 20)
    process = await datagen("evaluate", data, path, "-o", configs.folder / "out")
    await asyncio.wait_for(served.wait(), 60)
    process.kill()
    await process.wait()
    for command, said in (
        (["judge", configs.folder / "out"], "is not finished"),
        (
            ["export", configs.folder / "out", "-o", configs.folder / "x.jsonl"],
            "is the folder of an evaluation",
        ),
        (["review", configs.folder / "out"], "is the folder of an evaluation"),
        (["run", path, "-o", configs.folder / "out"], "is the folder of another kind of run"),
        (["evaluate", data, "-o", configs.folder / "y"], "the last argument must be the settings"),
    ):
        status, _, err = await finished(await datagen(*command))
        assert (status, said in err) == (2, True), err


async def test_a_dataset_that_cannot_be_read_ends_it_before_anything_is_asked(configs: Configs) -> None:
    other = configs.folder / "other.jsonl"
    other.write_text('{"q": "Which?", "a": "b"}\n' * 3)
    config = configs.load("http://127.0.0.1:1/v1")
    with pytest.raises(
        ConfigError, match="none of the first rows can be read; line 1: field 'question' is missing"
    ):
        await evaluate(config, configs.folder / "out", data=[other])
    with pytest.raises(ConfigError, match=r"no row has a field 'nosuch'; the fields are question, answer"):
        by = configs.load("http://127.0.0.1:1/v1", evaluate={"by": ["nosuch"]})
        await evaluate(by, configs.folder / "out", data=[configs.base])
    with pytest.raises(ConfigError, match="a model that is tested has no purposes"):
        configs.load(
            "http://x/v1", evaluate={"models": [{"name": "a", "purposes": {"judgement": {"api_key": "k"}}}]}
        )


async def test_a_config_for_an_evaluation_alone_can_be_checked(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint()
    settings = configs.settings(url, evaluate=models_of(a={}, b={}))
    del settings["generate"], settings["dataset"]["path"]
    path = configs.folder / "tests.yaml"
    path.write_text(yaml.safe_dump(settings))
    status, said, err = await finished(await datagen("check", path))
    assert status == 0, said + err
    for name in ("endpoint answer@a", "endpoint answer@b"):
        assert name in said
    status, said, err = await finished(
        await datagen("evaluate", configs.base, path, "-o", configs.folder / "out")
    )
    assert status == 0, err


def test_a_question_without_an_answer_is_wrong_wherever_it_is_counted() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE items (item INTEGER, state TEXT, rejected_by TEXT, meta TEXT)")
    connection.execute("CREATE TABLE calls (purpose TEXT, cost INTEGER)")
    group = {"confirmed": True, "groups": {"t": "x"}, "cost_usd": 0.5}
    for number, (by, record) in enumerate(
        [
            (None, {**group, "correct": True}),
            ("answer", group),
            ("dataset", {}),
            (None, {**group, "correct": None}),
        ]
    ):
        verdicts = [{"by": by or "answer", "record": record}]
        meta = {"model": "m", "dataset": "d", "row": number, "verdicts": verdicts, "cost_usd": 0.0}
        state = "accepted" if by is None else "rejected"
        connection.execute("INSERT INTO items VALUES (?, ?, ?, ?)", (number, state, by, orjson.dumps(meta)))
    found = results_of(connection, ["d"], ["m"], None)
    [result] = found["results"]
    assert (result["n"], result["right"], result["unanswered"], result["pending"]) == (2, 1, 1, 1)
    assert result["by"]["t"]["x"]["accuracy"] == 0.5
    assert (result["solvability"]["confirmed"], result["solvability"]["on_confirmed"]["accuracy"]) == (3, 0.5)
    assert found["unreadable_rows"] == {"d": 1}
    assert result["cost_usd"] == 1.5
    connection.close()

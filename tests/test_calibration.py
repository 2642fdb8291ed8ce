"""How good the checks are, measured on rows with known labels; what is planted; what a run says of its labels."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, datagen, finished, lines, run_in
from engine.config import RunConfig
from engine.constraints import Contains, Excludes, Length, Regex
from engine.dataset.forms import Example
from engine.errors import ConfigError
from engine.quality.calibration import calibration, of_check
from engine.quality.cases import Case, Tried
from engine.quality.defects import KINDS, Around, plant, slips
from engine.quality.figures import ratio
from engine.quality.rewriting import calculated, rewritten
from engine.quality.together import chosen, frontier, held_out, together
from engine.report.calibration import calibration_tables
from engine.runs.api import calibrate
from engine.simulator.content import facts, word_problems

# --- what is planted ---------------------------------------------------------------------------------

MATHS = Example(1, "Ann has 12 shells. She finds 5 more in June. How many shells does Ann have?", "17", (),
                {"steps": "12 + 5 is 17, so 17"})  # fmt: skip
CHOICE = Example(2, "Which city did Victor Hugo live in, in 1851?", "B", ("Rome", "Paris", "Oslo"))
FACT = Example(3, "In which year did Apollo 11 land, with Neil Armstrong aboard?", "1969")
OTHERS = [
    Example(4, "How many eggs does Bob buy if he buys 3 boxes of 6?", "18"),
    Example(5, "Who was it that Marie Curie married in Paris?", "Pierre Curie"),
    Example(6, "When did the Titanic sink?", "1912"),
]


def around(seed: int = 0, **more: Any) -> Around:
    return Around(random.Random(seed), OTHERS, **more)


@pytest.mark.parametrize(
    ("kind", "example", "more"),
    [
        ("wrong_number", MATHS, {"solution": "steps"}),
        ("label_of_another", MATHS, {}),
        ("missing_condition", MATHS, {}),
        ("flipped_choice", CHOICE, {}),
        ("changed_date", CHOICE, {}),
        ("swapped_entity", CHOICE, {}),
        ("changed_date", FACT, {}),
        ("swapped_entity", Example(9, "The song is by Paul Simon, they say. Whose is it?", "Simon"), {}),
        ("near_duplicate", MATHS, {}),
        ("label_of_another", Example(7, "I liked it.", "good"), {"labels": ("good", "bad")}),
        ("broken_constraint", MATHS, {"constraints": [Length(max=20)]}),
        ("broken_constraint", MATHS, {"constraints": [Length(min=8)]}),
        ("broken_constraint", MATHS, {"constraints": [Excludes(("seven",))]}),
        ("broken_constraint", MATHS, {"constraints": [Contains(("shells",))]}),
        ("broken_constraint", MATHS, {"constraints": [Regex(r"^\d+$", "label")]}),
    ],
)
def test_a_defect_is_what_it_is_called(kind: str, example: Example, more: dict[str, Any]) -> None:
    for seed in range(20):
        made = plant(kind, example, around(seed, **more))
        assert made is not None
        assert made != example
        changed_text, changed_label = made.text != example.text, made.label != example.label
        if kind in ("wrong_number", "flipped_choice", "label_of_another"):
            assert (changed_text, changed_label) == (False, True)
        if kind in ("missing_condition", "swapped_entity"):
            assert (changed_text, changed_label) == (True, False)
        if more.get("solution"):
            assert str(made.extras["steps"]).endswith(str(made.label)), "the solution does not give it away"


@pytest.mark.parametrize(
    ("kind", "example"),
    [
        ("wrong_number", CHOICE),
        ("flipped_choice", MATHS),
        ("missing_condition", OTHERS[0]),  # nothing but the question
        ("swapped_entity", MATHS),  # whose name it is decides nothing
        ("changed_date", MATHS),
        ("broken_constraint", MATHS),  # there is none
    ],
)
def test_what_has_no_place_for_a_defect_gets_none(kind: str, example: Example) -> None:
    assert plant(kind, example, around()) is None


def test_answers_and_named_labels_have_defects_too() -> None:
    said = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]
    talks = [Example(n, "Hi?", parts={"messages": [said[0], {**said[1], "content": f"{n}"}]}) for n in (5, 6)]
    example = Example(1, "Hi?", parts={"messages": said})
    made = plant("answer_of_another", example, Around(random.Random(1), talks))
    assert made is not None
    assert made.parts["messages"][:-1] == said[:-1]
    assert made.parts["messages"][-1]["content"] in ("5", "6")
    open_end = Example(1, "Hi?", parts={"messages": said[:1]})
    assert plant("answer_of_another", open_end, Around(random.Random(1), talks)) is None

    pair = Example(2, "Which?", parts={"text": "Which?", "chosen": "this", "rejected": "that"})
    made = plant("swapped_pair", pair, around())
    assert made is not None
    assert (made.text, made.parts) == ("Which?", {"text": "Which?", "chosen": "that", "rejected": "this"})

    named = Example(3, "Nice cats.", {"tone": "good", "topics": ("pets",)})
    others = [Example(4, "Bad cars.", {"tone": "bad", "topics": ("cars",)})]
    labels = [plant("label_of_another", named, Around(random.Random(n), others)) for n in range(20)]
    assert {str(made and made.label) for made in labels} == {
        str({"tone": "bad", "topics": ("pets",)}),
        str({"tone": "good", "topics": ("cars",)}),
    }


@given(st.text(max_size=80), st.text(max_size=12), st.integers(0, 99))
def test_nothing_that_stands_in_an_item_stops_planting(text: str, label: str, seed: int) -> None:
    example = Example(1, text, label)
    for kind in KINDS:
        made = plant(kind, example, around(seed, constraints=[Length(max=5), Regex("(", "label")]))
        assert made != example


@given(st.lists(st.integers(0, 500), max_size=5), st.integers(-50, 5000))
def test_a_slip_is_never_the_right_number(numbers: list[int], right: int) -> None:
    assert right not in slips(" and ".join(map(str, numbers)), right)


# --- what the cases say ------------------------------------------------------------------------------


def tried(rejected: bool, right: bool | None, label: str = "1", usd: float = 0.001) -> Tried:
    return Tried(rejected, "no" if rejected else "", right, label, usd)


def case(row: int, right: bool | None, kind: str = "natural", *, label: str = "1", **checks: Tried) -> Case:
    accepted = not any(each.rejected for each in checks.values())
    return Case(
        row,
        kind,
        right,
        label,
        {name: {"": each} for name, each in checks.items()},
        accepted,
        "",
        right,
        0.001,
    )


def test_a_checks_own_figures() -> None:
    cases = [
        case(1, True, code=tried(False, True)),
        case(2, True, code=tried(True, None)),
        case(3, False, code=tried(True, None)),
        case(4, False, code=tried(False, True, "2")),  # replaced by the right label
        case(5, False, code=tried(False, False)),
        case(6, False, code=tried(False, None)),  # changed: nobody can tell
        case(1, False, "wrong_number", code=tried(False, False)),
    ]
    found = of_check(cases, "code", "")
    assert (found["sensitivity"]["count"], found["sensitivity"]["of"], found["sensitivity"]["open"]) == (
        2,
        3,
        1,
    )
    assert (found["specificity"]["count"], found["specificity"]["of"]) == (1, 2)
    assert found["kinds"]["wrong_number"]["share"] == 0.0
    assert found["usd_per_catch"]["value"] == pytest.approx(6 * 0.001 / 2)
    assert found["usd_per_catch"]["low"] < found["usd_per_catch"]["value"]


def test_checks_together() -> None:
    both, confirming = (("code", ""), ("agree", "")), ("code", "agree")
    right, wrong = tried(False, True), tried(True, None)
    assert together(case(1, True, code=right, agree=right), both, confirming) == (True, True, 0.002)
    assert together(case(1, True, code=wrong, agree=right), both, confirming) == (False, None, 0.001)
    mended = tried(False, True, "2")
    assert together(case(1, False, code=mended, agree=mended), both, confirming) == (True, True, 0.002)
    assert together(case(1, False, code=mended, agree=right), both, confirming)[0] is False, (
        "they say different things"
    )
    assert together(case(1, False, code=mended, agree=right), both)[:2] == (True, True), (
        "agree would not mind"
    )
    assert together(case(1, False, code=mended, review=right), (("code", ""), ("review", "")))[:2] == (
        True,
        True,
    )
    assert together(case(1, False, code=wrong), ()) == (True, False, 0.0)
    other = tried(False, True, "3")
    assert together(case(1, False, code=mended, review=other), (("code", ""), ("review", "")))[0] is False, (
        "two replace the label, each by another"
    )
    changed = tried(False, None)
    assert together(case(1, True, code=right, review=changed), (("code", ""), ("review", "")))[:2] == (
        True,
        None,
    ), "nobody knows whether a changed text still has that label"


def test_a_choice_is_measured_on_rows_that_it_was_not_chosen_by() -> None:
    """One check is right on each half of the rows, and each looks perfect on its own."""
    cases = []
    for row in range(40):
        for right in (True, False):
            keen, blind = tried(not right, right or None), tried(False, right)
            checks = {"code": keen, "agree": blind} if row % 2 else {"code": blind, "agree": keen}
            cases.append(case(row, right, **checks))
    wanted = [(("code", ""),), (("agree", ""),)]
    found = held_out(cases, wanted, (), 0.9, None)
    assert found is not None
    assert found["precision"]["share"] == 0.5


def test_a_step_counts_for_the_items_that_reach_it() -> None:
    cases = [
        case(row, True, code=replace(tried(row % 4 > 0, True), calls=2), agree=replace(tried(False, True), calls=3))
        for row in range(8)
    ]  # fmt: skip
    steps = calibration(cases, ["code", "agree"])["steps"]
    assert (steps["code"]["reached"], steps["code"]["passed"], steps["code"]["calls"]) == (1.0, 0.25, 2.0)
    assert (steps["agree"]["reached"], steps["agree"]["passed"], steps["agree"]["calls"]) == (0.25, 1.0, 0.75)


def figures(precision: float, yields: float) -> dict[str, Any]:
    return {
        "checks": {},
        "precision": {"share": precision, "of": 9},
        "yield": {"share": yields},
        "usd_per_accepted": {"value": 1.0},
    }


def test_the_frontier_and_the_choice() -> None:
    found = [figures(0.9, 0.3), figures(0.8, 0.6), figures(0.8, 0.5), figures(0.7, 0.6), figures(0.3, 1.0)]
    assert [each["precision"]["share"] for each in frontier(found)] == [0.9, 0.8, 0.3]
    assert chosen(found, 0.8, None) == found[1]
    assert chosen(found, None, 0.55) == found[1]
    assert chosen(found, 0.95, None) is None


def test_a_ratio_of_nothing() -> None:
    assert ratio([(1, 1.0, 0.0)]) == {"value": None, "low": None, "high": None}
    assert ratio([(1, 0.0, 1.0)])["value"] == 0.0


def drawn(
    chance: random.Random, rows: int, raw: float, passes_right: float, passes_wrong: float
) -> Sequence[Case]:
    cases = []
    for row in range(rows):
        right = chance.random() < raw
        passed = chance.random() < (passes_right if right else passes_wrong)
        cases.append(case(row, right, code=tried(not passed, right if passed else None)))
    return cases


def test_the_interval_of_the_precision_holds_the_true_one() -> None:
    """At least 90 of 100 times, as a 95 % interval is to do; a check that knows nothing is told so."""
    chance, held = random.Random(1), 0
    true = 0.35 * 0.88 / (0.35 * 0.88 + 0.65 * 0.05)
    for _ in range(200):
        found = calibration(drawn(chance, 200, 0.35, 0.88, 0.05), ["code"])["accepted"]["precision"]
        held += found["low"] <= true <= found["high"]
    assert held >= 180
    blind = calibration(drawn(chance, 2000, 0.35, 0.5, 0.5), ["code"])
    assert blind["accepted"]["precision"]["share"] == pytest.approx(blind["raw"]["share"], abs=0.04)
    sensitivity = blind["checks"]["code"][""]["sensitivity"]["share"]
    assert sensitivity + blind["checks"]["code"][""]["specificity"]["share"] == pytest.approx(1, abs=0.06)


# --- a whole calibration -----------------------------------------------------------------------------


def base(path: Path, rows: int = 80) -> Path:
    chance, seen = random.Random(4), dict[str, str]()
    while len(seen) < rows:
        problem = word_problems.draw(chance)
        seen[problem.text] = str(problem.answer)
    path.write_bytes(b"".join(orjson.dumps({"question": q, "answer": a}) + b"\n" for q, a in seen.items()))
    return path


async def calibrated(
    configs: Configs, url: str, folder: Path, items: int | None, **sections: Any
) -> dict[str, Any]:
    given: dict[str, Any] = {
        "dataset": {"path": str(base(folder.parent / "p.jsonl"))}, "validators": ["agree"], **sections,
    }  # fmt: skip
    report = await calibrate(configs.load(url, **given), folder, items=items)
    assert report.outcome == "target", report.data["message"]
    found: dict[str, Any] = orjson.loads((folder / "calibration.json").read_bytes())
    return found


async def test_the_figures_are_those_of_the_simulated_models(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint(wrong_labels=0.5, answer_accuracy=0.9, seed=2)
    found = await calibrated(configs, url, tmp_path / "run", 60)
    assert found["rows"] == 60
    assert found["raw"]["low"] < 0.5 < found["raw"]["high"]
    assert found["accepted"]["precision"]["share"] > 0.9
    assert found["cases"]["natural"] == 60
    assert found["cases"]["clean"] == 60 - found["raw"]["count"]
    check = found["checks"]["agree"]
    assert set(check) == {"", "answers: 1, agree: 1", "answers: 3, agree: 3", "relabel: majority"}
    assert check[""]["specificity"]["low"] < 0.972 < check[""]["specificity"]["high"] + 0.03
    planted = Counter(
        {kind: count for kind, count in found["cases"].items() if kind not in ("natural", "clean")}
    )
    assert planted.total() == 60
    assert max(planted.values()) - min(planted[kind] for kind in ("wrong_number", "label_of_another")) <= 20
    # No prompt shows a row that is tried: its label would be given away.
    metas = [
        row["_meta"] for name in ("accepted", "rejected") for row in lines(tmp_path / "run" / f"{name}.jsonl")
    ]
    tried_rows = {meta["row"] for meta in metas}
    assert len(tried_rows) == 60
    assert not tried_rows & {row for meta in metas for row in meta["examples"]}


async def test_more_rows_continue_a_calibration(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, simulator = await endpoint(wrong_labels=0.4)
    few = await calibrated(configs, url, tmp_path / "run", 10)
    asked = simulator.statistics.purposes["label"]
    more = await calibrated(configs, url, tmp_path / "run", 20)
    assert (few["rows"], more["rows"], asked) == (10, 20, 10)
    assert simulator.statistics.purposes["label"] == 20, "what was paid is not paid again"
    whole = await calibrated(configs, url, tmp_path / "other", 20)
    assert whole["raw"] == more["raw"]
    assert whole["accepted"]["kinds"] == more["accepted"]["kinds"]


async def test_near_duplicates_are_for_the_group_check(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    group = {"same": "text"}
    found = await calibrated(configs, url, tmp_path / "run", 30, groupcheck=group, validators=[])
    assert list(found["checks"]) == ["groupcheck"]
    assert found["checks"]["groupcheck"][""]["specificity"]["share"] == 1.0
    assert found["checks"]["groupcheck"][""]["kinds"]["near_duplicate"]["share"] == 0.0, (
        "other words: other text"
    )


async def test_whether_a_changed_text_still_has_its_label_nobody_knows(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    found = await calibrated(configs, url, tmp_path / "run", 15, validators=["difficulty"])
    records = [row["_meta"]["verdicts"][0]["record"] for row in lines(tmp_path / "run" / "accepted.jsonl")]
    harder = [
        record
        for record in records
        if record["kind"] == "natural" and record["checks"]["difficulty"][""]["decision"] == "revise"
    ]
    assert len(harder) > 3
    assert found["accepted"]["precision"]["open"] >= len(harder)


async def test_choices_and_facts(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    chance, rows = random.Random(3), []
    for _ in range(60):
        fact = facts.draw(chance)
        choices = [fact.answer, *chance.sample(fact.wrong, 3)]
        chance.shuffle(choices)
        rows.append(
            {"question": fact.question, "options": choices, "answer": "ABCD"[choices.index(fact.answer)]}
        )
    (tmp_path / "mc.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    url, _ = await endpoint(wrong_facts=0.4, answer_accuracy=0.95)
    dataset = {
        "path": str(tmp_path / "mc.jsonl"),
        "description": "Facts.",
        "fields": {"text": "question", "choices": "options", "label": "answer"},
    }
    report = await calibrate(
        configs.load(url, dataset=dataset, validators=["agree"]), tmp_path / "run", items=30
    )
    assert report.outcome == "target", report.data["message"]
    found = orjson.loads((tmp_path / "run" / "calibration.json").read_bytes())
    assert found["checks"]["agree"][""]["sensitivity"]["share"] > 0.8
    assert found["checks"]["agree"][""]["kinds"]["flipped_choice"]["share"] == 1.0


FORMS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "pairs": ({"text": "q", "chosen": "good", "rejected": "bad"},
              {"q": "What is {n} + 1?", "good": "It is {m}.", "bad": "It is {n}."}, "swapped_pair"),
    "chats": ({"messages": "messages"},
              {"messages": [{"role": "user", "content": "{n} + 1?"}, {"role": "assistant", "content": "{m}"}]},
              "answer_of_another"),
    "named labels": ({"text": "q", "labels": {"tone": "tone", "size": "size"}},
                     {"q": "Message {n}", "tone": "t{half}", "size": "s{half}"}, "label_of_another"),
    "several labels": ({"text": "q", "label": "tags"}, {"q": "Message {n}", "tags": ["t{half}"]},
                       "label_of_another"),
}  # fmt: skip


def base_of(form: str, path: Path) -> tuple[dict[str, Any], str]:
    """Writes 40 rows of this form. Returns their `dataset`, and the defect that they have a place for."""
    fields, row, defect = FORMS[form]
    text = orjson.dumps(row).decode()
    rows = [
        text.replace("{n}", str(n)).replace("{m}", str(n + 1)).replace("{half}", str(n % 2))
        for n in range(40)
    ]
    path.write_text("\n".join(rows))
    return {"path": str(path), "fields": fields}, defect


@pytest.mark.parametrize("form", FORMS)
async def test_items_of_every_form(form: str, endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    dataset, defect = base_of(form, tmp_path / "rows.jsonl")
    url, simulator = await endpoint()
    config = configs.load(url, dataset=dataset, validators=["reflection"])
    report = await calibrate(config, tmp_path / "run", items=12)
    assert report.outcome == "target", report.data["message"]
    found = orjson.loads((tmp_path / "run" / "calibration.json").read_bytes())
    assert found["cases"][defect] >= 6
    assert found["checks"]["reflection"][""]["kinds"][defect]["of"] > 0
    labelled = "labels" in form
    assert (found["raw"]["of"] > 0) == labelled == (simulator.statistics.purposes["label"] > 0)
    told = next(iter(calibration_tables(found))).said
    assert ("items have no label" in told) is not labelled


async def test_checks_of_labels_are_refused_where_items_have_none(configs: Configs, tmp_path: Path) -> None:
    for validator, form in (("agree", "chats"), ("agree", "named labels"), ("code", "several labels")):
        dataset, _ = base_of(form, tmp_path / "rows.jsonl")
        config = configs.load("http://127.0.0.1:1/v1", validators=[validator], dataset=dataset)
        with pytest.raises(ConfigError, match=rf"validators: {validator}: items have no .*label"):
            await run_in(tmp_path / "run", config)


async def test_an_attribute_that_the_row_has_not_is_for_adherence(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    rows = [
        {"question": f"{size} {n}?", "answer": str(n), "size": size}
        for n in range(30)
        for size in ("big", "small")
    ]
    (tmp_path / "sizes.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    url, _ = await endpoint()
    fields = {"text": "question", "label": "answer", "extras": ["size"]}
    config = configs.load(
        url, dataset={"path": str(tmp_path / "sizes.jsonl"), "fields": fields}, validators=["adherence"],
        generate={"attributes": {"size": {"field": "size"}}},
    )  # fmt: skip
    await calibrate(config, tmp_path / "run", items=20)
    found = orjson.loads((tmp_path / "run" / "calibration.json").read_bytes())["checks"]["adherence"][""]
    assert found["kinds"]["contradicted_attribute"]["share"] == 1.0
    assert found["kinds"]["wrong_number"]["share"] == 0.0
    assert found["specificity"]["share"] == 1.0


async def test_a_start_that_tried_nothing_can_be_shown(configs: Configs, tmp_path: Path) -> None:
    """The endpoint is gone before the first case: the tables are there, and empty."""
    config = configs.load(
        "http://127.0.0.1:1/v1", dataset={"path": str(base(tmp_path / "p.jsonl"))}, validators=["agree", "reflection"],
        quality={"precision": 0.9}, limits={"first_answer_s": 0.1, "outage_s": 0.1},
    )  # fmt: skip
    report = await calibrate(config, tmp_path / "run", items=12)
    assert report.outcome == "fatal"
    found = orjson.loads((tmp_path / "run" / "calibration.json").read_bytes())
    assert (found["rows"], found["chosen"]) == (0, None)
    assert [listing.title for listing in calibration_tables(found)][:2] == [
        "What is accepted, as configured", "Each check alone",
    ]  # fmt: skip


async def test_what_cannot_be_calibrated(configs: Configs, tmp_path: Path) -> None:
    few = base(tmp_path / "few.jsonl", 6)
    with pytest.raises(
        ConfigError, match=r"dataset.path: has 6 usable rows; a calibration takes 10 at least"
    ):
        await calibrate(configs.load("http://127.0.0.1:1/v1", dataset={"path": str(few)}), tmp_path / "run")
    with pytest.raises(ConfigError, match="a calibration needs rows"):
        await calibrate(
            configs.load("http://127.0.0.1:1/v1", dataset={"path": None}, generate={"few_shot": 0}),
            tmp_path / "run",
        )


async def test_the_command_prints_its_tables(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, _ = await endpoint(wrong_labels=0.5)
    path = configs.write(
        url, dataset={"path": str(base(tmp_path / "p.jsonl"))}, validators=["agree"], quality={"precision": 0.9},
        observe={"page": True},
    )  # fmt: skip
    process = await datagen("calibrate", path, "--items", "12", "-o", tmp_path / "run")
    code, out, err = await finished(process)
    assert code == 0, err
    for said in ("right labels among the accepted", "Each check alone", "Kinds of defects", "Ways to check"):
        assert said in out
    assert "on rows that it was not chosen by" in out
    assert "seen this dataset in its training" in out
    assert "Each check alone" in (tmp_path / "run" / "report.html").read_text()


# --- rows in other names and numbers -----------------------------------------------------------------

STEPS = "Tom has 3 * 5 = <<3*5=15>>15 pens. So he and Ann have 15 + 40 = <<15+40=55>>55."
PENS = Example(
    1,
    "Every week Tom buys 3 packs of 5 pens. His friend Ann has 40 pens. How many pens have Tom and Ann?",
    "55",
    (),
    {"steps": STEPS},
)


def test_a_row_is_worked_out_anew() -> None:
    for seed in range(50):
        made = rewritten(PENS, "steps", random.Random(seed))
        assert made is not None
        packs, each, others = map(int, re.findall(r"\d+", made.text))
        assert made.label == str(packs * each + others)
        assert str(made.extras["steps"]).endswith(f">>{made.label}.")
        assert "Tom" not in made.text + str(made.extras["steps"])
        assert others % 10 == 0, "as round as it was"


@pytest.mark.parametrize(
    ("text", "label", "steps"),
    [
        ("A week has 7 days. He eats 7 eggs. How many?", "7", "<<7=7>>"),
        ("He has 4 boxes of 3. How many?", "12", "He has many."),  # no steps
        ("He has 4 boxes of 3. How many?", "13", "<<4*3=12>>12"),  # they do not lead to the label
        ("He has 4 boxes of 3. How many?", "12", "<<4*3=13>>13"),  # they are wrong
        ("He has 4 boxes of 5, or 20. How many?", "20", "<<4*5=20>>20"),  # which 20 is it?
        ("He has 4 boxes of 3. How many?", "12", "<<__import__('os').system('x')=12>>12"),
    ],
)
def test_numbers_stay_where_there_is_a_doubt(text: str, label: str, steps: str) -> None:
    made = rewritten(Example(1, text, label, (), {"steps": steps}), "steps", random.Random(1))
    assert made is None or (made.label == label and re.findall(r"\d+", made.text) == re.findall(r"\d+", text))


@given(st.text(max_size=30), st.integers(0, 9))
def test_no_solution_stops_a_rewriting(steps: str, seed: int) -> None:
    example = Example(1, "Tom has 4 pens.", "4", (), {"steps": f"<<{steps}=4>>4"})
    made = rewritten(example, "steps", random.Random(seed))
    assert made is None or made.label is not None
    calculated(steps)


async def test_a_calibration_of_rewritten_rows(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, _ = await endpoint(wrong_labels=0.3)
    found = await calibrated(configs, url, tmp_path / "run", 20, quality={"rewritten": True})
    assert found["rows"] == 20
    assert found["rewritten"]["names"] > 5
    assert found["rewritten"]["numbers"] == 0, "there is no worked solution"
    with pytest.raises(ConfigError, match="rewritten"):
        await calibrated(configs, url, tmp_path / "run", 20)


# --- taken up ----------------------------------------------------------------------------------------


async def test_a_run_says_how_many_labels_are_right(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint(kind="word_problems", wrong_labels=0.5)
    await calibrated(configs, url, tmp_path / "cal", 30)
    taken = {"quality": {"calibration": str(tmp_path / "cal")}, "generate": {"target": 9}}
    report = await run_in(tmp_path / "run", configs.load(url, validators=["agree"], **taken))
    right = report.data["quality"]["labels_right"]
    assert right is not None
    assert report.data["quality"]["said"] == (
        f"labels of the accepted items: {right['share']:.2f} right ({right['low']:.2f} to {right['high']:.2f}), "
        "from 30 items with known labels"
    )
    assert report.data["quality"]["differs"] == []
    other = await run_in(tmp_path / "other", configs.load(url, validators=["constraints"], **taken))
    assert other.data["quality"]["differs"] == ["the validators, or their options, differ (they were: agree)"]


async def test_a_run_without_one_says_that_it_does_not_know(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    report = await run_in(tmp_path / "run", configs.load(url, generate={"target": 3}))
    assert report.data["quality"]["labels_right"] is None
    assert "is not known" in report.data["quality"]["said"]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"accepted": {}}'])
def test_what_is_no_calibration(configs: Configs, tmp_path: Path, content: str | None) -> None:
    from engine.runs.modes import GenerateMode

    if content is not None:
        (tmp_path / "calibration.json").write_text(content)
    config = configs.load(
        "http://127.0.0.1:1/v1", quality={"calibration": str(tmp_path / "calibration.json")}
    )
    with pytest.raises(ConfigError, match=r"calibration\.json: (cannot be read|is no calibration)"):
        GenerateMode().load(config)


def test_two_wishes_are_one_too_many(configs: Configs) -> None:
    with pytest.raises(ConfigError, match="precision and yield cannot both be given"):
        configs.load("http://127.0.0.1:1/v1", quality={"precision": 0.9, "yield": 0.5})
    config: RunConfig = configs.load("http://127.0.0.1:1/v1", quality={"yield": 0.5})
    assert config.without_secrets()["quality"]["yield"] == 0.5

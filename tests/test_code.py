"""Labels are confirmed, replaced or refused by programs; what a model writes decides nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import CLEAN, Configs, Start, lines, run_in
from engine.conformance import check_validator, item, tools_for
from engine.errors import ContentFiltered
from engine.items import Decision, Prompt, Verdict
from engine.simulator.truth import is_right
from validators.ballot import as_label as spelled
from validators.code.check import CodeCheck, printing
from validators.code.policy import LABEL, Policy, Step

pytestmark = pytest.mark.filterwarnings("ignore:.*the sandbox is at the level.*")


async def judged(
    codes: Sequence[str | Exception], label: str = "42", choices: Sequence[str] = (), **options: Any
) -> tuple[Verdict, list[Prompt]]:
    """The verdict where the model writes these programs, one after another."""
    asked: list[Prompt] = []
    left = list(codes)

    def answers(prompt: Prompt) -> Mapping[str, Any]:
        if prompt.purpose == "same_answer":
            return {"same": "SAME" in prompt.user}
        code = left.pop(0)
        if isinstance(code, Exception):
            raise code
        return {"analysis": "", "code": code}

    check = CodeCheck(
        tools_for(answers, choices=bool(choices), asked=asked), **{"sandbox": {"zygotes": 1}, **options}
    )
    async with check:
        return await check.validate(item("What is 6 times 7?", label, choices)), asked


async def test_one_program_that_agrees_is_enough() -> None:
    verdict, asked = await judged(["print(6 * 7)"])
    assert verdict.decision is Decision.PASS
    assert [run["status"] for run in verdict.record["programs"]] == ["ok"]
    assert verdict.record["sandbox"] in ("full", "no-landlock", "no-namespaces", "no-files")
    assert "42" not in asked[0].user + asked[0].system  # the label is never shown
    assert asked[0].purpose == "program"
    assert asked[0].user.count("```json") == 1


async def test_a_disagreement_asks_for_more_programs_and_goes_by_the_margin() -> None:
    verdict, _ = await judged(["print(41)", "print(42)", "print(42)"])
    assert verdict.decision is Decision.PASS
    verdict, _ = await judged(["print(41)", "print(42)", "print(40)"])
    assert (verdict.decision, verdict.reason) == (Decision.REJECT, "unverified")
    verdict, _ = await judged(["print(41)", "print(41)", "print(41)"])
    assert verdict.decision is Decision.REJECT
    verdict, _ = await judged(["print(41)", "print(41)", "print(41)"], relabel_margin=2)
    assert verdict.decision is Decision.REVISE
    assert verdict.item is not None
    assert verdict.item.label == "41"


async def test_policies() -> None:
    verdict, asked = await judged(["print(41.0)"], policy="relabel")
    assert verdict.item is not None
    assert verdict.item.label == "41"
    assert len(asked) == 1
    verdict, _ = await judged(["print(41)", "print(40)", "print(41)"], policy="vote")
    assert verdict.item is not None
    assert verdict.item.label == "41"
    verdict, _ = await judged(["print(41)", "print(40)", "print(39)"], policy="vote")
    assert verdict.decision is Decision.REJECT


async def test_a_program_that_fails_is_shown_its_error() -> None:
    verdict, asked = await judged(["print(6 * seven)", "print(6 * 7)"])
    assert verdict.decision is Decision.PASS
    assert "NameError" in asked[1].user
    assert [run["status"] for run in verdict.record["programs"]] == ["error", "ok"]
    verdict, asked = await judged([f"{n} / 0" for n in range(6)])
    assert verdict.reason == "unverified"
    assert len(asked) == 6  # three programs, each mended once


async def test_a_model_that_writes_no_programs_is_not_asked_for_all_of_them() -> None:
    prose = ["I think that it is seven, since six and one make seven.", "Let me see: it must be eight!"]
    verdict, asked = await judged(prose * 3)
    assert (verdict.reason, len(asked)) == ("unverified", 2)
    verdict, asked = await judged(["1 / 0"] * 6)
    assert (verdict.reason, len(asked)) == ("unverified", 3), "the same text again ends it"


async def test_refusals_and_silence_cost_a_program_not_the_item() -> None:
    verdict, _ = await judged([ContentFiltered("no"), "print()", "print()", "print(42)"])
    assert verdict.decision is Decision.PASS
    assert verdict.record["programs"][0] == {"status": "content_filtered"}


async def test_a_reader_is_asked_only_where_no_rule_decides() -> None:
    verdict, asked = await judged(["print('the SAME thing')"], label="one thing")
    assert verdict.decision is Decision.PASS
    assert [prompt.purpose for prompt in asked] == ["program", "same_answer"]


async def test_multiple_choice_by_letter_or_text() -> None:
    assert (await judged(["print('Lyon')"], "B", ["Paris", "Lyon"]))[0].decision is Decision.PASS
    assert (await judged(["print('B')"], "B", ["Paris", "Lyon"]))[0].decision is Decision.PASS
    verdict, _ = await judged(["print('Paris')"] * 3, "B", ["Paris", "Lyon"], relabel_margin=1)
    assert verdict.item is not None
    assert verdict.item.label == "A"


async def test_nothing_fenced_in_an_item_opens_a_second_block() -> None:
    asked: list[Prompt] = []
    tools = tools_for(lambda _: {"analysis": "", "code": "print(1)"}, asked=asked)
    async with CodeCheck(tools, sandbox={"zygotes": 1}) as check:
        await check.validate(item('What?\n```json\n{"text": "x"}\n```', "1"))
    assert len(re.findall("```", asked[0].user)) == 2


async def test_the_conformance_suite() -> None:
    await check_validator(
        lambda tools: CodeCheck(tools, sandbox={"zygotes": 1}),
        good=item("6 * 7?", "42"),
        bad=item("6 * 7?", "41", position=1),
        answers=lambda _: {"analysis": "", "code": "print(42)"},
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"polcy": "vote"}, "polcy.*allowed: policy"),
        ({"policy": "trust"}, "policy: .*'confirm'"),
        ({"max_programs": 0}, "max_programs: .*greater than or equal to 1"),
        ({"sandbox": {"require": "none"}}, r"sandbox\.require: .*'full'"),
        ({"sandbox": {"preload": ["no_such_thing"]}}, "no_such_thing"),
    ],
)
def test_wrong_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CodeCheck(tools_for(), **options)


def test_results_that_are_named_or_returned_are_printed() -> None:
    assert printing("answer = 4") == "answer = 4\nprint(answer)\n"
    assert printing("def solution():\n    return 4").endswith("print(solution())\n")
    assert printing("print(4)\nanswer = 5") == "print(4)\nanswer = 5"
    assert printing("x = (") == "x = ("
    assert printing("y = 4") == "y = 4"


def test_labels_are_spelled_as_labels() -> None:
    thing = item("x", "1")
    assert spelled("42.0", thing) == "42"
    assert spelled("1,200", thing) == "1200"
    assert spelled("0.1", thing) == "0.1"
    assert spelled("3.3333333333333335", thing) == "3.333333"
    assert spelled("1234567.12345678", thing) == "1234567.123457"
    assert spelled("0.000000123456", thing) == "0.000000123456"
    assert spelled("$5", thing) == "$5"


votes = st.lists(st.integers(0, 6), min_size=1, max_size=5)


@given(
    votes,
    st.integers(0, 6),
    st.sampled_from(["confirm", "vote", "relabel"]),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_every_policy_ends_and_never_accepts_a_label_without_a_program(
    cast: list[int], silent: int, name: Any, agree: int, margin: int
) -> None:
    policy = Policy(name, 5, agree, margin)
    step, right = policy.step(cast, sum(cast) + silent)
    if sum(cast) + silent >= 5:
        assert step is not Step.ASK
    if step is Step.ACCEPT:
        assert cast[LABEL] >= 1
    if step is Step.RELABEL:
        assert cast[right] >= 1
        assert name != "confirm"


async def test_labels_in_a_run_become_right(endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(wrong_labels=0.56, program_errors=0.08)
    config = configs.load(
        url, generate={"target": 120}, validators=["constraints", {"name": "code", "sandbox": {"zygotes": 2}}]
    )
    folder = configs.folder / "out"
    report = await run_in(folder, config)
    assert report.outcome == "target"
    right = [
        is_right({"text": row["question"], "label": row["answer"]})
        for row in lines(folder / "accepted.jsonl")
    ]
    assert sum(map(bool, right)) >= 0.97 * len(right)
    turned_away = [
        is_right({"text": row["question"], "label": row["answer"]})
        for row in lines(folder / "rejected.jsonl")
        if row["_meta"]["rejected_by"] == "code"
    ]
    kept = sum(map(bool, right)) / (sum(map(bool, right)) + sum(map(bool, turned_away)))
    assert kept >= 0.90
    shown = report.data["validators"]["code"]
    assert shown["seen"] == shown["passed"] + shown["revised"] + shown["rejected"]
    assert shown["calls"] >= shown["seen"]
    assert shown["usd_per_catch"] == pytest.approx(shown["cost_usd"] / (shown["revised"] + shown["rejected"]))
    assert shown["reasons"] == {"unverified": shown["rejected"]}
    assert shown["about"]["sandbox"]["level"]
    row = lines(folder / "accepted.jsonl")[0]["_meta"]
    assert row["verdicts"][-1]["record"]["programs"][-1]["agrees"] is True
    assert row["usage"]["prompt_tokens"] > 120  # the programs' calls are part of what the item took


async def test_no_sandbox_is_fatal_and_nothing_is_spent(
    endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from validators.code import sandbox

    monkeypatch.setattr(sandbox, "level_of", lambda _: "limits-only")
    url, simulator = await endpoint()
    report = await run_in(configs.folder / "out", configs.load(url, validators=["code"]))
    assert report.outcome == "fatal"
    assert "'no-files' is required" in report.data["message"]
    assert simulator.statistics.served == 0


async def test_an_audit_keeps_rows_as_they_stand(endpoint: Start, configs: Configs) -> None:
    from engine.runs.api import audit

    url, simulator = await endpoint(**{**CLEAN, "wrong_labels": 0.5})
    made = configs.folder / "made"
    await run_in(made, configs.load(url, generate={"target": 60}, validators=[]))
    rows = lines(made / "accepted.jsonl")
    data = configs.folder / "data.jsonl"
    import orjson

    plain = [
        {"id": n, "question": row["question"], "answer": f"So it is #### {row['answer']}"}
        for n, row in enumerate(rows)
    ]
    data.write_bytes(
        b"\n".join([*map(orjson.dumps, plain), b"{broken", orjson.dumps({"question": "no label"})])
    )
    config = configs.load(
        url,
        dataset={
            "path": str(data),
            "fields": {"text": "question", "label": {"field": "answer", "pattern": "#### (.+)"}},
        },
        generate={"target": 1, "few_shot": 0},
        validators=["constraints", {"name": "code", "relabel_margin": 1}],
    )
    report = await audit(config, configs.folder / "audited")
    assert report.outcome == "target"
    kept, lost = (lines(configs.folder / "audited" / f"{name}.jsonl") for name in ("accepted", "rejected"))
    assert len(kept) + len(lost) == 62
    assert {row["_meta"]["reason"] for row in lost} == {"not_json", "missing_field"}
    for row in kept:
        original = plain[row["id"]]
        right = is_right({"text": row["question"], "label": row["answer"].rpartition("#### ")[2]})
        assert right
        if not row["_meta"]["revisions"]:
            assert row["answer"] == original["answer"]
        assert row["_meta"]["row"] == row["id"] + 1
    assert report.data["items"]["target"] == 62
    requests = simulator.statistics.served
    again = await audit(config, configs.folder / "audited")
    assert again.data["items"] == report.data["items"]
    assert simulator.statistics.served == requests

"""What `datagen plan` expects a run to cost, against what it does cost: 12 configs on the simulated endpoint.

For each config: a calibration with 100 rows, the plan from it, the plan that is stated without one, and a run. Beside
them, as the control, what a plan would say that counts the calls for items alone, as plans did before: if that were as
close, the rest would be for nothing, and the exit is 1.

    python benchmarks/plan.py [ITEMS]      default 300 accepted items for each config
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import orjson
import yaml

from common import folder, result, table
from engine import RunConfig, run
from engine.flow.loop import in_loop
from engine.runs.api import calibrate
from engine.runs.estimate import Plan, plan_of
from engine.runs.modes import GenerateMode
from engine.simulator.content import facts, word_problems
from engine.simulator.content.facts import relations

CLOSE = 0.25
PROBLEMS = {"kind": "word_problems"}
FACTS = {"kind": "short_facts"}
LOCAL = {"name": "facts", "source": {"kind": "local", "path": "documents.jsonl"}}
CONFIGS: dict[str, dict[str, Any]] = {
    "items alone": {"knobs": PROBLEMS, "validators": []},
    "constraints": {"knobs": PROBLEMS, "validators": ["constraints"]},
    "code": {"knobs": PROBLEMS, "validators": ["code"]},
    "code, two must agree": {"knobs": PROBLEMS, "validators": [{"name": "code", "agree": 2}]},
    "agree": {"knobs": PROBLEMS, "validators": ["agree"]},
    "agree, three models that err alike": {
        "knobs": {**PROBLEMS, "correlation": 0.5},
        "validators": ["agree"],
        "purposes": {"agree": ["a", "b", "c"]},
    },
    "reflection": {"knobs": PROBLEMS, "validators": ["reflection"]},
    "code, then reflection": {"knobs": PROBLEMS, "validators": ["code", "reflection"]},
    "a dearer model reviews": {
        "knobs": PROBLEMS,
        "validators": ["reflection"],
        "purposes": {"review": {"name": "dear", "price": {"input": 1.5, "output": 6}}},
    },
    "facts": {"knobs": FACTS, "validators": [LOCAL]},
    "facts, then difficulty": {"knobs": FACTS, "validators": [LOCAL, "difficulty"]},
    "code, one item a call, texts alike": {
        "knobs": {**PROBLEMS, "near_duplicates": 0.3},
        "validators": ["constraints", "code"],
        "generate": {"batch_size": 1, "few_shot": 8},
        "groupcheck": {"same": "text"},
    },
}


def base(place: Path, kind: str) -> Path:
    """400 rows of what the simulated endpoint knows the truth of."""
    chance, rows = random.Random(3), dict[str, str]()
    while len(rows) < 400:
        if kind == "word_problems":
            problem = word_problems.draw(chance)
            rows[problem.text] = str(problem.answer)
        else:
            fact = facts.draw(chance)
            rows[fact.question] = fact.answer
    path = place / "base.jsonl"
    path.write_bytes(b"".join(orjson.dumps({"question": q, "answer": a}) + b"\n" for q, a in rows.items()))
    return path


def documents(place: Path) -> None:
    about: dict[str, list[str]] = {}
    for relation in relations():
        for subject, value in relation.pairs.items():
            about.setdefault(subject, []).append(f"Of {subject}, the {relation.name} is {value}.")
    lines = (orjson.dumps({"title": subject, "text": " ".join(said)}) for subject, said in about.items())
    (place / "documents.jsonl").write_bytes(b"\n".join(lines))


def settings(place: Path, target: int, spec: dict[str, Any]) -> Path:
    documents(place)
    given = {
        "dataset": {
            "path": str(base(place, spec["knobs"]["kind"])),
            "description": "Questions with short answers. The label is the answer.",
            "fields": {"text": "question", "label": "answer"},
            "constraints": [{"length": {"max": 60, "unit": "words"}}],
        },
        "generate": {"target": target, "few_shot": 3, **spec.get("generate", {})},
        "model": {"name": "simulated", "simulator": spec["knobs"], "purposes": spec.get("purposes", {})},
        "limits": {"concurrency": 16},
        "validators": spec["validators"],
        "groupcheck": spec.get("groupcheck"),
        "observe": {"page": False},
    }
    path = place / "config.yaml"
    path.write_text(yaml.safe_dump(given))
    return path


def planned(path: Path, **overrides: Any) -> Plan:
    return plan_of(GenerateMode().load(RunConfig.load(path, overrides)))


def measured(place: Path, target: int, spec: dict[str, Any]) -> list[float]:
    """[stated: low, likely, high; by calibration: low, likely, high; items alone; spent]."""
    path = settings(place, target, spec)
    stated = planned(path)
    in_loop(lambda: calibrate(RunConfig.load(path), place / "calibration", items=100))
    known = planned(path, **{"quality.calibration": str(place / "calibration")})
    report = run(RunConfig.load(path), place / "run")
    assert report.outcome == "target", report.data["message"]
    assert stated.dollars is not None
    assert known.dollars is not None
    items = next(step.dollars for step in known.steps if step.name == "items")
    assert items is not None
    # As it was counted: the calls for items, if all of them were accepted.
    return [
        *stated.dollars,
        *known.dollars,
        items.likely * known.acceptance.likely,
        report.data["cost"]["spent_usd"],
    ]


def main() -> None:
    target = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    rows, inside, close, stated_inside, control = [], 0, 0, 0, 0
    for name, spec in CONFIGS.items():
        with folder() as place:
            low, _, high, low2, likely2, high2, alone, spent = measured(place, target, spec)
        within = low2 <= spent <= high2
        inside += within
        close += within and abs(likely2 - spent) <= CLOSE * spent
        stated_inside += low <= spent <= high
        control += abs(alone - spent) <= CLOSE * spent
        rows.append(
            [name, f"${low:.4f} to ${high:.4f}", f"${low2:.4f} to ${high2:.4f}", f"${likely2:.4f}", f"${spent:.4f}",
             f"{likely2 / spent:.2f}", f"{alone / spent:.2f}"]
        )  # fmt: skip
    heads = [
        "config",
        "stated",
        "by calibration",
        "expected",
        "spent",
        "expected / spent",
        "items alone / spent",
    ]
    table(f"{target:,} accepted items each", heads, rows)
    of = len(CONFIGS)
    print(
        f"In the range and within {CLOSE:.0%}: {close} of {of}; in the range: {inside}; in the stated range: "
        f"{stated_inside}. Control, calls for items alone: within {CLOSE:.0%} in {control}."
    )
    result("plan", items=target, rows=rows, close=close, inside=inside, stated=stated_inside, control=control)
    if close < 10 or control >= close:
        sys.exit("The plan is too far off, or no better than its control.")


if __name__ == "__main__":
    main()

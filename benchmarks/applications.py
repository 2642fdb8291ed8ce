"""The paper's two applications on simulated models of known strength: harder benchmarks, and what they say of models.

    python benchmarks/applications.py [ITEMS]      default 400 items in each dataset

The datasets: originals whose labels are right; new items as the generator wrote them, of whose labels the paper finds
44 % right; new items checked by programs; and these made harder. Each model is asked about all of them. What is known
of the simulated models (their accuracy on plain items and on harder ones) stands beside what the evaluation finds.
Control: the originals with one another's labels, on which every model must be wrong; else the exit is 1.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

import orjson
import yaml

from common import folder, result, table
from engine import RunConfig, run
from engine.runs.api import enhance, evaluate
from engine.simulator.content import word_problems
from engine.simulator.truth import is_right

MODELS = {"large": (0.95, 0.88), "middle": (0.85, 0.70), "small": (0.60, 0.40)}
"""Accuracy on plain items, and on harder ones."""
UNCHECKED, CHECKED, HARDER, CONTROL = "unchecked", "checked", "harder", "control"
DATASETS = ("original", UNCHECKED, CHECKED, HARDER, CONTROL)
MOST_RIGHT = 0.1
"""The accuracy that the control may have: some labels are the same by chance."""


def settings(base: Path, target: int, **sections: Any) -> dict[str, Any]:
    return {
        "dataset": {
            "path": str(base),
            "description": "Grade-school mathematics word problems. The label is the final answer.",
            "fields": {"text": "question", "label": "answer"},
        },
        "generate": {"target": target, "few_shot": 4, "batch_size": 4},
        "model": {"name": "simulated", "simulator": {"kind": "word_problems", "violations": 0.0}},
        "limits": {"concurrency": 64},
        "observe": {"page": False},
        **sections,
    }


def loaded(place: Path, name: str, config: dict[str, Any]) -> RunConfig:
    path = place / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return RunConfig.load(path)


def originals(path: Path, count: int) -> None:
    chance = random.Random(7)
    problems = [word_problems.draw(chance) for _ in range(count)]
    rows = [{"question": problem.text, "answer": str(problem.answer)} for problem in problems]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))


def shuffled(path: Path, base: Path) -> None:
    """The originals, each with the label of the next one."""
    rows = [orjson.loads(line) for line in base.read_bytes().splitlines()]
    labels = [row["answer"] for row in rows]
    moved = [{**row, "answer": label} for row, label in zip(rows, labels[1:] + labels[:1], strict=True)]
    path.write_bytes(b"\n".join(map(orjson.dumps, moved)))


def wrong_labels(path: Path) -> float:
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return sum(not is_right({"text": row["question"], "label": row["answer"]}) for row in rows) / len(rows)


def tested() -> dict[str, Any]:
    return {
        "models": [
            {
                "name": "simulated",
                "label": name,
                # A refusal waits for a judge, and there is no accuracy before it has judged.
                "simulator": {
                    "seed": place, "answer_accuracy": plain, "harder_accuracy": harder, "refusals": 0.0,
                },
            }
            for place, (name, (plain, harder)) in enumerate(MODELS.items())
        ]
    }  # fmt: skip


def main() -> None:
    target = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    with folder() as place:
        base = place / "original.jsonl"
        originals(base, target)
        run(loaded(place, UNCHECKED, settings(base, target, validators=[])), place / UNCHECKED)
        run(loaded(place, CHECKED, settings(base, target, validators=["code"])), place / CHECKED)
        accepted = place / CHECKED / "accepted.jsonl"
        made = asyncio.run(
            enhance(loaded(place, HARDER, settings(accepted, target, validators=["code"])), place / HARDER)
        )
        config = loaded(place, "evaluation", settings(base, target, validators=["code"], evaluate=tested()))
        shuffled(place / f"{CONTROL}.jsonl", base)
        data = [*(place / name for name in (UNCHECKED, CHECKED, HARDER)), place / f"{CONTROL}.jsonl"]
        asyncio.run(evaluate(config, place / "evaluation", data=data, against=base))
        found = orjson.loads((place / "evaluation" / "results.json").read_bytes())
        wrong = {name: wrong_labels(place / name / "accepted.jsonl") for name in (UNCHECKED, CHECKED, HARDER)}
        wrong["original"] = wrong_labels(base)
        wrong[CONTROL] = wrong_labels(place / f"{CONTROL}.jsonl")
    tables(target, found, wrong, made.data)


def tables(target: int, found: dict[str, Any], wrong: dict[str, float], made: Any) -> None:
    by = {(each["dataset"], each["model"]): each for each in found["results"]}
    rows = [
        [f"{model} ({plain:.2f}, {harder:.2f})", *(by[dataset, model]["accuracy"] for dataset in DATASETS)]
        for model, (plain, harder) in MODELS.items()
    ]
    table(
        f"Accuracy, {target:,} items each; in brackets the model's own, plain and harder",
        ["model", *DATASETS],
        rows,
    )
    solved = [
        [model, *(by[dataset, model]["solvability"]["on_confirmed"]["accuracy"] for dataset in DATASETS)]
        for model in MODELS
    ]
    table("Accuracy on the items whose label a program confirmed", ["model", *DATASETS], solved)
    labels = [
        [dataset, wrong[dataset], by[dataset, "large"]["solvability"]["confirmed"] / target]
        for dataset in DATASETS
    ]
    table(
        "Labels: the share that is wrong, and the share confirmed",
        ["dataset", "wrong", "solvability"],
        labels,
    )
    differences = [
        [each["model"], each["dataset"], each["difference"], *each["interval"]]
        for each in found["differences"]
    ]
    table("Less the original", ["model", "dataset", "difference", "low", "high"], differences)
    principles = made["difficulty"]
    usage = [[name, each["chosen"], each["kept"]] for name, each in principles.items()]
    table("Principles applied to make items harder", ["principle", "chosen", "kept"], usage)
    pairs = [[*each["models"], each["dataset"], each["p"]] for each in found["comparisons"]]
    table("Models on the same items (McNemar)", ["first", "second", "dataset", "p"], pairs)
    best = max(by[CONTROL, model]["accuracy"] for model in MODELS)
    result("applications", items=target, accuracy=rows, wrong_labels=wrong, principles=principles)
    if best > MOST_RIGHT:
        sys.exit(f"On labels of other items a model is still {best:.2f} right: these figures say nothing.")


if __name__ == "__main__":
    main()

"""What the validators make of a model's mistakes, by the simulated endpoint's own truth.

    python benchmarks/quality.py [ITEMS]      default 1000 accepted items for each row

Accuracy: right labels among the accepted. Kept: of the items that came right, those accepted. Caught: of those
that came wrong, those rejected or corrected. Harm: of those that came right, those accepted with a wrong label.

Controls: the same checks where they can know nothing. Documents about bananas in place of the evidence; programs that
print a number by chance. A control that is as accurate as the check that it is of ends this with exit 1.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import yaml

from common import DATA, folder, result, table
from engine import RunConfig, run
from engine.simulator.content.facts import relations
from engine.simulator.truth import is_right
from engine.store.reading import connect

FACTS = {"name": "facts", "source": {"kind": "local", "path": "documents.jsonl"}, "unverifiable": "keep"}
CASES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "word problems, no validator": ({"kind": "word_problems"}, []),
    "word problems, code": ({"kind": "word_problems"}, ["code"]),
    "word problems, code relabelling on a lead of 2": (
        {"kind": "word_problems"}, [{"name": "code", "relabel_margin": 2}]
    ),
    "word problems, agree": ({"kind": "word_problems"}, ["agree"]),
    "word problems, reflection": ({"kind": "word_problems"}, ["reflection"]),
    "short facts, no validator": ({"kind": "short_facts"}, []),
    "short facts, facts": ({"kind": "short_facts"}, [FACTS]),
}  # fmt: skip
CONTROLS: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "control: facts, every document about bananas": (
        "short facts, facts", {"kind": "short_facts"}, [{**FACTS, "source": {"kind": "local", "path": "bananas.jsonl"}}]
    ),
    "control: reflection by a reviewer who guesses": (
        "word problems, reflection", {"kind": "word_problems", "review_accuracy": 0.5}, ["reflection"]
    ),
    "control: agree with models that are never right": (
        "word problems, agree", {"kind": "word_problems", "answer_accuracy": 0.0},
        [{"name": "agree", "agree": 1, "answers": 1, "scattered": "keep"}],
    ),
}  # fmt: skip
"""By name: what it is a control of, and the same with nothing to know."""
WORSE = 0.02
"""How much less accurate a control must be."""


def documents(place: Path) -> None:
    """Articles on all that the simulated endpoint asks about, but for its sums; and on bananas, by the same titles."""
    about: dict[str, list[str]] = {}
    for relation in relations():
        for subject, value in relation.pairs.items():
            about.setdefault(subject, []).append(f"Of {subject}, the {relation.name} is {value}.")
    for name, said in (("documents", None), ("bananas", "Bananas are yellow.")):
        lines = (orjson.dumps({"title": s, "text": said or " ".join(t)}) for s, t in about.items())
        (place / f"{name}.jsonl").write_bytes(b"\n".join(lines))


def settings(target: int, knobs: dict[str, Any], validators: list[Any]) -> dict[str, Any]:
    return {
        "dataset": {
            "path": str(DATA),
            "description": "Questions with short answers. The label is the answer.",
            "fields": {"text": "question", "label": "answer"},
        },
        "generate": {"target": target, "few_shot": 3, "allow_repeats": True},
        "model": {"name": "simulated", "simulator": knobs},
        "limits": {"concurrency": 32},
        "validators": validators,
    }


def measured(place: Path, target: int, knobs: dict[str, Any], validators: list[Any]) -> list[Any]:
    documents(place)
    (place / "config.yaml").write_text(yaml.safe_dump(settings(target, knobs, validators)))
    report = run(RunConfig.load(place / "config.yaml"), place / "out")
    if not report.accepted:
        return [0.0, 0.0, 1.0, 0.0, 0.0]
    came = came_right(place / "out" / "run.db")
    counts: Counter[str] = Counter()
    for state in ("accepted", "rejected"):
        for line in (place / "out" / f"{state}.jsonl").read_bytes().splitlines():
            row = orjson.loads(line)
            was = came.get(row["_meta"]["id"])
            if was is None or "question" not in row:
                continue
            right = is_right({"text": row["question"], "label": row["answer"]})
            counts["came right" if was else "came wrong"] += 1
            counts["accepted"] += state == "accepted"
            counts["right"] += state == "accepted" and right is True
            counts["kept"] += was and state == "accepted"
            counts["harmed"] += was and state == "accepted" and not right
            counts["missed"] += not was and state == "accepted" and not right
    caught = 1 - counts["missed"] / max(1, counts["came wrong"])
    return [
        counts["right"] / max(1, counts["accepted"]),
        counts["kept"] / counts["came right"],
        caught,
        counts["harmed"] / counts["came right"],
        report.data["cost"]["per_accepted_usd"],
    ]


def came_right(database: Path) -> dict[str, bool]:
    """Whether each item was right when the model sent it, by its id."""
    from engine.prompts.replies import items_in

    found: dict[str, bool] = {}
    connection = connect(database)
    for batch, text in connection.execute(
        "SELECT batch, text FROM calls WHERE purpose = 'items' AND error IS NULL"
    ):
        for position, item in enumerate(items_in(text)):
            right = is_right(item)
            if right is not None:
                found[f"{batch}-{position}"] = right
    connection.close()
    return found


def main() -> None:
    target = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rows: list[list[Any]] = []
    for name, (knobs, validators) in CASES.items():
        with folder() as place:
            figures = measured(place, target, knobs, validators)
            rows.append([name, *(round(value, 3) for value in figures[:-1]), f"${figures[-1]:.6f}"])
    worst = []
    for name, (of, knobs, validators) in CONTROLS.items():
        with folder() as place:
            figures = measured(place, min(target, 300), knobs, validators)
        rows.append([name, *(round(value, 3) for value in figures[:-1]), f"${figures[-1]:.6f}"])
        real = next(row[1] for row in rows if row[0] == of)
        worst += [name] if figures[0] > real - WORSE else []
    columns = ["", "accuracy", "kept", "caught", "harm", "dollars per accepted item"]
    table(f"{target:,} accepted items each", columns, rows)
    result("quality", items=target, rows=rows)
    if worst:
        sys.exit(f"As accurate as the check that it is a control of: {', '.join(worst)}.")


if __name__ == "__main__":
    main()

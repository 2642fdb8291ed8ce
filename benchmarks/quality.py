"""What the validators make of a model's mistakes, by the simulated endpoint's own truth.

    python benchmarks/quality.py [ITEMS]      default 1000 accepted items for each row

Accuracy: right labels among the accepted. Kept: of the items that came right, those accepted. Caught: of those
that came wrong, those rejected or corrected. Harm: of those that came right, those accepted with a wrong label.
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

CASES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "word problems, no validator": ({"kind": "word_problems"}, []),
    "word problems, code": ({"kind": "word_problems"}, ["code"]),
    "word problems, code relabelling on a lead of 2": (
        {"kind": "word_problems"}, [{"name": "code", "relabel_margin": 2}]
    ),
    "word problems, reflection": ({"kind": "word_problems"}, ["reflection"]),
    "short facts, no validator": ({"kind": "short_facts"}, []),
    "short facts, facts": (
        {"kind": "short_facts"}, [{"name": "facts", "source": {"kind": "local", "path": "documents.jsonl"}}]
    ),
}  # fmt: skip


def documents(path: Path) -> None:
    """Articles on everything that the simulated endpoint asks about, but for its sums."""
    about: dict[str, list[str]] = {}
    for relation in relations():
        for subject, value in relation.pairs.items():
            about.setdefault(subject, []).append(f"Of {subject}, the {relation.name} is {value}.")
    path.write_bytes(b"\n".join(orjson.dumps({"title": s, "text": " ".join(t)}) for s, t in about.items()))


def settings(target: int, knobs: dict[str, Any], validators: list[Any]) -> dict[str, Any]:
    return {
        "dataset": {
            "path": str(DATA),
            "description": "Questions with short answers. The label is the answer.",
            "fields": {"text": "question", "label": "answer"},
        },
        "generate": {"target": target, "few_shot": 3},
        "model": {"name": "simulated", "simulator": knobs},
        "limits": {"concurrency": 32},
        "validators": validators,
    }


def measured(place: Path, target: int, knobs: dict[str, Any], validators: list[Any]) -> list[Any]:
    documents(place / "documents.jsonl")
    (place / "config.yaml").write_text(yaml.safe_dump(settings(target, knobs, validators)))
    report = run(RunConfig.load(place / "config.yaml"), place / "out")
    came = came_right(place / "out" / "run.db")
    counts: Counter[str] = Counter()
    for state in ("accepted", "rejected"):
        for line in (place / "out" / f"{state}.jsonl").read_bytes().splitlines():
            row = orjson.loads(line)
            was = came.get(row["_meta"]["id"])
            if was is None:
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
        counts["right"] / counts["accepted"],
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
    columns = ["", "accuracy", "kept", "caught", "harm", "dollars per accepted item"]
    table(f"{target:,} accepted items each", columns, rows)
    result("quality", items=target, rows=rows)


if __name__ == "__main__":
    main()

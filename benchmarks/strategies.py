"""What guidance by attributes, selection and an adaptive mix buy, on an endpoint that repeats itself.

    python benchmarks/strategies.py [ITEMS]      default 600 accepted items for each row

The simulated endpoint draws a share of its items from a dozen well-worn ones; which dozen depends on what it is
told to write about. Novel: of the items decided, those accepted, so neither defective nor a near-duplicate. Control:
attributes that always have the same value. Where they buy as much as others, the exit is 1.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import yaml

from common import DATA, folder, result, table
from engine import RunConfig, run

ATTRIBUTES = {
    "place": ["market", "school", "farm", "harbour", "library", "garden", "workshop", "museum"],
    "theme": ["money", "time", "length", "weight", "sharing"],
}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "clustered examples": {"selection": "clustered"},
    "farthest examples": {"selection": "farthest"},
    "attributes": {"attributes": ATTRIBUTES},
    "half and half": {"attributes": ATTRIBUTES, "strategies": {"plain": {"attributes": False}, "guided": {}}},
    "control: attributes of one value": {
        "attributes": {name: values[:1] for name, values in ATTRIBUTES.items()}
    },
    "adaptive": {"attributes": ATTRIBUTES, "strategy": "adaptive"},
}
REPEATS = (0.2, 0.6)


def settings(target: int, generate: dict[str, Any], repeats: float) -> dict[str, Any]:
    return {
        "dataset": {
            "path": str(DATA),
            "description": "Grade-school mathematics word problems. The label is the final answer.",
            "fields": {"text": "question", "label": "answer"},
        },
        "generate": {"target": target, "few_shot": 4, "batch_size": 4, **generate},
        "model": {"name": "simulated", "simulator": {"near_duplicates": repeats, "kind": "word_problems"}},
        "limits": {"concurrency": 8},
        "groupcheck": {"same": "meaning+numbers", "threshold": 0.85},
        "validators": [],
    }


def measured(place: Path, config: dict[str, Any]) -> list[Any]:
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    report = run(RunConfig.load(place / "config.yaml"), place / "out").data
    items, measures = report["items"], report["diversity"]["measures"]
    by_name = report["diversity"].get("strategies", {}).get("by_name", {})
    batches = ", ".join(f"{name} {found['batches']}" for name, found in by_name.items())
    decided = items["accepted"] + items["rejected"]
    return [
        round(items["accepted"] / decided, 3),
        round(1 / report["cost"]["per_accepted_usd"]),
        measures["remote_clique"]["pairs"],
        measures["vendi"],
        batches,
    ]


def main() -> None:
    target = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    rows: list[list[Any]] = []
    for repeats in REPEATS:
        for name, generate in CASES.items():
            with folder() as place:
                rows.append([f"{repeats:.0%}", name, *measured(place, settings(target, generate, repeats))])
    columns = ["well-worn", "strategy", "novel", "accepted per $", "remote-clique", "Vendi", "batches"]
    table(f"{target:,} accepted items each", columns, rows)
    result("strategies", items=target, rows=orjson.loads(orjson.dumps(rows)))
    novel = {row[1]: row[2] for row in rows if row[0] == f"{REPEATS[-1]:.0%}"}
    if novel["control: attributes of one value"] > (novel["plain"] + novel["attributes"]) / 2:
        sys.exit("Attributes that never change buy as much: these figures say nothing of guidance.")


if __name__ == "__main__":
    main()

"""What happens to quality as a run grows, on an endpoint with a known number of different items.

    python benchmarks/scale_quality.py [ITEMS] [DIFFERENT]     50,000 accepted items of 80,000 different ones

At 100, 1,000, 10,000 accepted items and all of them: new items in 100 calls, repeats, dollars for an accepted item,
right labels (the simulated endpoint's own truth), diversity of 200 items drawn from all so far, and the estimate of how
many different items there are, made from the items up to there. An item is always labelled alike, three of ten wrong,
and a check turns most of these away: the fewer new right ones are left, the more of what passes is wrong. Control: the
same with ten times as many different items; an estimate that does not tell the two apart says nothing: the exit is 1.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import orjson
import yaml

from common import DATA, folder, result, table
from engine import RunConfig, run
from engine.dataset.base import BaseDataset
from engine.quality.intervals import wilson
from engine.report.growth import Growth
from engine.simulator.truth import is_right
from engine.store.reading import connect

SIZES = (100, 1_000, 10_000)
KNOBS = {"wrong_labels": 0.3, "violations": 0.0}


def settings(target: int, different: int) -> dict[str, Any]:
    return {
        "dataset": {
            "path": str(DATA),
            "description": "Grade-school mathematics word problems. The label is the final answer.",
            "fields": {"text": "question", "label": "answer"},
        },
        "generate": {"target": target, "few_shot": 3, "batch_size": 10},
        "model": {
            "name": "simulated",
            "simulator": {
                "kind": "word_problems",
                "different": different,
                "near_duplicates": 0.0,
                "wrong_labels": 0.3,
            },
        },
        "limits": {"concurrency": 32, "attempts": 50.0, "least_acceptance": 0.0},
        "validators": ["constraints", {"name": "agree", "agree": 1, "answers": 1}],
        "groupcheck": {"same": "text"},
        "observe": {"page": False},
    }


def grown(place: Path, target: int, different: int) -> list[list[Any]]:
    """A row for each size: the same run, stopped there and continued."""
    path, rows = place / "config.yaml", []
    growth = Growth(BaseDataset.load(RunConfig.load(write(path, target, different)).dataset).fields, 0)
    spent = calls = accepted = 0.0
    for size in [*(each for each in SIZES if each < target), target]:
        report = run(RunConfig.load(path, {"generate.target": size}), place / "run").data
        with contextlib.closing(connect(place / "run" / "run.db")) as connection:
            found = growth.richness(connection)
            asked = connection.execute("SELECT count(*) FROM calls WHERE purpose = 'items'").fetchone()[0]
            last = growth.grown(connection)[-1]
        lines = (place / "run" / "accepted.jsonl").read_bytes().splitlines()[-2000:]
        items = [orjson.loads(line) for line in lines]
        right = sum(is_right({"text": row["question"], "label": row["answer"]}) is True for row in items)
        low, high = wilson(right, len(items))
        dollars = report["cost"]["spent_usd"]
        more = "-" if found.more is None else f"{found.distinct + found.more:,.0f}"
        interval = "" if found.low is None or found.high is None else (
            f"{found.distinct + found.low:,.0f} to {found.distinct + found.high:,.0f}"
        )  # fmt: skip
        rows.append(
            [f"{size:,}", round(100 * (size - accepted) / (asked - calls)), f"{last['repeats']:.1%}",
             f"${(dollars - spent) / (size - accepted):.6f}", f"{right / len(items):.3f} ({low:.3f} to {high:.3f})",
             last.get("self_bleu"), last.get("distinct_2"), f"{found.coverage:.1%}", more, interval]
        )  # fmt: skip
        spent, calls, accepted = dollars, asked, size
    return rows


def write(path: Path, target: int, different: int) -> Path:
    path.write_text(yaml.safe_dump(settings(target, different)))
    return path


def main() -> None:
    target = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    different = int(sys.argv[2]) if len(sys.argv) > 2 else target * 8 // 5
    heads = ["accepted", "new in 100 calls", "repeats", "dollars each", "right labels", "self-BLEU of 200",
             "distinct bigrams of 200", "coverage", "different items, estimated", "95 %"]  # fmt: skip
    shown = {}
    for name, there in (("", different), ("control: ten times as many", 10 * different)):
        with folder() as place:
            shown[name] = grown(place, target if not name else min(target, 10_000), there)
        table(f"{there:,} different items{f' ({name})' if name else ''}", heads, shown[name])
    result("scale_quality", different=different, rows=shown[""], control=shown["control: ten times as many"])
    low, high = (int(each.replace(",", "")) for each in shown[""][-1][-1].split(" to "))
    few = int(shown["control: ten times as many"][-1][-2].replace(",", ""))
    if few < 3 * high or low > different:
        sys.exit("The estimate does not tell ten times as many items from these: it says nothing.")


if __name__ == "__main__":
    main()

"""A real language model on a real server: what comes of check, run, audit, enhance, evaluate and bench.

    scripts/real_model                                   in another terminal
    python benchmarks/real_model.py [--url URL] [-n 12] [--data FILE.jsonl --text FIELD --label FIELD]

The model is small and weak: that makes it a good critic of prompts and readers, and no measure of quality. Needs no
network besides the server. The control is a server that is not there: it must come out as exit 4, not as data.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from common import table

ROOT = Path(__file__).resolve().parents[1]
DESCRIPTION = "Grade-school mathematics word problems. The label is the final answer."


def settings(url: str, data: Path, text: str, label: str, target: int) -> dict[str, Any]:
    return {
        "dataset": {
            "path": str(data),
            "description": DESCRIPTION,
            "fields": {"text": text, "label": label},
            "constraints": [{"length": {"min": 8, "max": 120}}],
        },
        "generate": {"target": target, "batch_size": 1, "few_shot": 3, "max_tokens": 300},
        "model": {"name": "smollm2", "base_url": url, "price": {"input": 0.1, "output": 0.4}},
        "limits": {"concurrency": 64, "budget_usd": 1, "attempts": 3, "first_answer_s": 5},
        "max_tokens": {
            "enhancement": 300,
            "enhancement_plan": 200,
            "judgement": 100,
            "constraint_check": 150,
        },
        "validators": ["constraints"],
        "evaluate": {"max_tokens": 200},
    }


def datagen(*arguments: object) -> tuple[int, float, str]:
    """(exit code, seconds, standard output) of the command."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return (
        done.returncode,
        time.perf_counter() - began,
        done.stdout + (done.stderr if done.returncode else ""),
    )


def came_of(folder: Path) -> tuple[str, str, str]:
    """(calls, items, what was lost and why) of a run."""
    report = json.loads((folder / "report.json").read_text())
    calls, items, usage = report["calls"], report["items"], report["usage"]
    made = calls["completed"] + calls["failed"]
    told = f"{made} calls, {usage['prompt_tokens']:,} + {usage['completion_tokens']:,} tokens"
    lost = Counter(
        {f"{by} {reason}": n for by, all_ in items["reasons"].items() for reason, n in all_.items()}
    )
    kinds = Counter(event["kind"] for event in report["events"])
    why = ", ".join(f"{reason} {count}" for reason, count in lost.most_common(6))
    events = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
    return told, f"{items['accepted']} of {items['target']}", "; ".join(filter(None, (why, events)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:28080/v1")
    parser.add_argument("-n", type=int, default=12)
    parser.add_argument("--data", type=Path, default=ROOT / "examples" / "grade_school.jsonl")
    parser.add_argument("--text", default="question")
    parser.add_argument("--label", default="answer")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        there = Path(name)
        config, gone, few = there / "config.yaml", there / "gone.yaml", there / "few.jsonl"
        made = settings(given.url, given.data.resolve(), given.text, given.label, given.n)
        config.write_text(yaml.safe_dump(made))
        made["model"]["base_url"] = "http://127.0.0.1:9/v1"
        gone.write_text(yaml.safe_dump(made))
        few.write_text("".join(given.data.read_text().splitlines(keepends=True)[:4]))
        rows = []
        for what, arguments in {
            "run": ("run", config, "-o", there / "run"),
            "audit": ("audit", few, config, "-o", there / "audit"),
            "enhance": ("enhance", few, config, "-o", there / "enhance"),
            "evaluate": ("evaluate", few, config, "-o", there / "evaluate"),
            "control: nobody there": ("run", gone, "-o", there / "gone"),
        }.items():
            code, seconds, _ = datagen(*arguments)
            folder = Path(str(arguments[-1]))
            rows.append((what, code, f"{seconds:.0f} s", *came_of(folder)))
        print(datagen("check", config)[2])
        table("A real model", ("command", "exit", "took", "calls", "items", "lost, and events"), rows)
        for row in (there / "run" / "accepted.jsonl").read_text().splitlines()[:6]:
            item = json.loads(row)
            print(f"  {item[given.text][:110]!r} -> {item[given.label]!r}")
        levels = datagen("bench", config, "--levels", "1,2,4,8,16", "--calls", 60, "--budget", 0.5)[2]
        print(levels)


if __name__ == "__main__":
    main()

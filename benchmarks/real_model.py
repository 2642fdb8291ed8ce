"""A real language model on a real server: what comes of check, run, audit, enhance, evaluate and bench.

    scripts/real_model                                   in another terminal
    python benchmarks/real_model.py [--url URL] [-n 12] [--data FILE.jsonl --text FIELD --label FIELD]
    python benchmarks/real_model.py --recipes [NAME ...]    a few items of each recipe, two minutes at most

The model is small and weak: that makes it a good critic of prompts and readers, and no measure of quality. Needs no
network besides the server. The control is a server that is not there: it must come out as exit 4, not as data.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from common import table
from engine.analysis.recipes import recipes

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


SECONDS = 120
"""That a recipe may take before it is asked to end."""


def of_recipe(name: str, url: str, there: Path) -> tuple[str, int, str, str, str, str]:
    """A row of the table: a few items of a recipe, or a few rows of its data, on the model at this address."""
    there.mkdir()
    command = [sys.executable, "-m", "engine.cli"]
    subprocess.run([*command, "init", "--recipe", name], cwd=there, check=True, capture_output=True)
    config = yaml.safe_load((there / f"{name}.yaml").read_text())
    config["model"] = {"name": "smollm2", "base_url": url, "price": {"input": 0.1, "output": 0.4}}
    config["limits"] |= {"concurrency": 4}
    if "map" in config:
        config["map"]["max_tokens"] = 200
        data = there / config["dataset"]["path"]
        (there / "few.jsonl").write_text("".join(data.read_text().splitlines(keepends=True)[:5]))
        arguments = ["map", "few.jsonl", "real.yaml"]
    else:
        size = min(2, config["generate"].get("batch_size", 1))
        config["generate"] |= {"target": 3, "batch_size": size, "max_tokens": 600}
        arguments = ["run", "real.yaml"]
    (there / "real.yaml").write_text(yaml.safe_dump(config))
    began = time.perf_counter()
    with subprocess.Popen(
        [*command, *arguments, "-o", "run"], cwd=there, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            running.wait(SECONDS)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)
    return (name, running.returncode, f"{time.perf_counter() - began:.0f} s", *came_of(there / "run"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:28080/v1")
    parser.add_argument("-n", type=int, default=12)
    parser.add_argument("--data", type=Path, default=ROOT / "examples" / "grade_school.jsonl")
    parser.add_argument("--text", default="question")
    parser.add_argument("--label", default="answer")
    parser.add_argument("--recipes", nargs="*", metavar="NAME", help="these recipes; all without a name")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        there = Path(name)
        if given.recipes is not None:
            rows = [of_recipe(each, given.url, there / each) for each in given.recipes or recipes()]
            table(
                "Recipes on a real model",
                ("recipe", "exit", "took", "calls", "items", "lost, and events"),
                rows,
            )
            return
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

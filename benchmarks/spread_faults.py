"""Workers killed and frozen, and the head killed, again and again: is the dataset that of one process, and paid once?

    python benchmarks/spread_faults.py [--kills 20] [--heads 5] [--freezes 3] [--seed 0]

A run with one process is the measure. Then runs with 1, 2 and 5 workers, in turn, until so many faults have struck.
After each the items are the same, no call is in the journal twice, and no more is on the server's bill than the cap.
As the control, the same comparison with a run of another seed has to fail, or the exit is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

from common import DATA, folder, result, stats_of, table

DATAGEN = (sys.executable, "-m", "engine.cli")
TARGET, CAP = 400, 2.0
FROZEN_S = 7.0
"""Longer than a head waits for a silent worker."""


@contextmanager
def simulated(seed: int) -> Iterator[str]:
    """A simulated endpoint in a process of its own; its address."""
    knobs = ("latency_s=0.1", "latency_p99_s=0.4", "near_duplicates=0.2", f"seed={seed}")
    command = [*DATAGEN, "simulate", "--port", "0", *(word for each in knobs for word in ("--set", each))]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert served.stdout is not None
        yield next(word for word in served.stdout.readline().split() if word.startswith("http"))
    finally:
        served.terminate()
        served.wait(10)


def config(place: Path, url: str) -> Path:
    settings = {
        "dataset": {
            "path": str(DATA),
            "description": "Grade-school mathematics word problems.",
            "fields": {"text": "question", "label": "answer"},
        },
        "generate": {"target": TARGET, "batch_size": 3, "few_shot": 2},
        "model": {"name": "m", "base_url": url, "price": {"input": 0.15, "output": 0.6}},
        "limits": {"concurrency": 12, "budget_usd": CAP},
        "validators": ["constraints", {"reflection": {"max_rounds": 1}}],
        "groupcheck": {"same": "text"},
        "observe": {"page": False},
    }
    path = place / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def items(run: Path) -> list[tuple[str, str, str]]:
    rows = [orjson.loads(line) for line in (run / "accepted.jsonl").read_bytes().splitlines()]
    return [(row["_meta"]["id"], row["question"], row["answer"]) for row in rows]


def workers_of(run: Path) -> list[int]:
    """The processes of the workers that are there, by what the journal says of them."""
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(run / "run.db")) as connection:
        there = connection.execute("SELECT place FROM workers WHERE left IS NULL").fetchall()
        return [int(place.split()[-1]) for (place,) in there]
    return []


def one(workers: int, left: Counter[str], chance: random.Random) -> tuple[list[Any], dict[str, Any]]:
    """A run through faults, as far as some are `left`; its items, and what struck it."""
    struck: Counter[str] = Counter()
    with simulated(0) as url, folder() as place:
        command = [
            *DATAGEN,
            "run",
            str(config(place, url)),
            "-o",
            str(place / "run"),
            "--workers",
            str(workers),
        ]
        while True:
            head = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            while head.poll() is None:
                time.sleep(chance.uniform(0.4, 1.2))
                there = workers_of(place / "run")
                wanted = [fault for fault in left if left[fault] > 0 and (there or fault == "heads")]
                if not wanted or head.poll() is not None:
                    continue
                fault = chance.choice(wanted)
                with contextlib.suppress(ProcessLookupError, IndexError):
                    _strike(fault, head, there, chance)
                    left[fault] -= 1
                    struck[fault] += 1
                if fault == "heads":
                    break
            out, _ = head.communicate()
            if head.returncode != -signal.SIGKILL:
                break
            command[-1] = str(chance.choice([0, 1, 2, 5]))
        assert head.returncode == 0, out[-2000:]
        with closing(sqlite3.connect(place / "run" / "run.db")) as connection:
            calls, keys = connection.execute("SELECT count(*), count(DISTINCT key) FROM calls").fetchone()
        told = stats_of(url)
        found = items(place / "run")
    billed = told["billed_usd"]
    return found, {
        **struck,
        "calls": calls,
        "twice": calls - keys,
        "asked_again": told["repeated"],
        "billed": billed,
    }


def _strike(fault: str, head: subprocess.Popen[str], there: list[int], chance: random.Random) -> None:
    if fault == "heads":
        head.kill()
        head.wait()
    elif fault == "kills":
        os.kill(chance.choice(there), signal.SIGKILL)
    else:
        frozen = chance.choice(there)
        os.kill(frozen, signal.SIGSTOP)
        time.sleep(FROZEN_S)
        os.kill(frozen, signal.SIGCONT)


def alone(seed: int) -> list[Any]:
    with simulated(seed) as url, folder() as place:
        command = [*DATAGEN, "run", str(config(place, url)), "-o", str(place / "run")]
        subprocess.run(command, check=True, capture_output=True)
        return items(place / "run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--freezes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, measure = random.Random(options.seed), alone(0)
    left = Counter(kills=options.kills, heads=options.heads, freezes=options.freezes)
    rows, total, wrong, began = [], Counter[str](), 0, time.perf_counter()
    while any(left.values()):
        for workers in (1, 2, 5):
            if not any(left.values()):
                break
            found, told = one(workers, left, chance)
            same = found == measure
            wrong += not same or told["twice"] > 0 or told["billed"] > CAP
            total.update(
                {name: told.get(name, 0) for name in ("kills", "heads", "freezes", "twice", "asked_again")}
            )
            rows.append(
                [workers, "yes" if same else "no", *(told.get(name, 0) for name in (*total, "calls"))]
            )
            print(orjson.dumps({"workers": workers, "same": same, **told}).decode(), flush=True)
    table("Workers and heads struck", ["workers", "same items", *total, "calls"], rows)
    seconds = time.perf_counter() - began
    result("spread faults", runs=len(rows), wrong=wrong, seconds=seconds, **total)
    if wrong or alone(1) == measure:
        sys.exit(1)


if __name__ == "__main__":
    main()

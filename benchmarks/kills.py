"""SIGKILLs at random moments of runs in batches, with every fault of the batch APIs: what is asked, or paid, twice?

    python benchmarks/kills.py [--kills 200] [--seed 0]

Each run is killed again and again and then left to end. Its provider is the simulated endpoint in a process of its own,
which counts what it answers and bills. A call may be answered again only where its answer was in no file of results.
"""

from __future__ import annotations

import argparse
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import yaml

from common import DATA, folder, result, stats_of, table

APIS = ("plain", "anthropic", "gemini", "mistral", "azure")
KILLS = 14
"""Of one run."""
DATAGEN = (sys.executable, "-m", "engine.cli")
TARGET = 200


def faults_of(chance: random.Random) -> dict[str, Any]:
    """Drawn by chance, for the simulated endpoint."""
    return {
        "day_s": 15.0,
        "lose_create": chance.randint(0, 3),
        "fail_create": chance.randint(0, 2),
        "line_errors": chance.choice([0.0, 0.03]),
        "odd_lines": chance.choice([True, False]),
        "file_lag_s": chance.choice([0.0, 0.3]),
        "stall": chance.choice([0.0, 0.2]),
        "enqueued_tokens": chance.choice([None, 40_000]),
        "queue": chance.choice([None, 120]),
    }


def settings(place: Path, url: str, api: str, chance: random.Random) -> Path:
    config = {
        "dataset": {
            "path": str(DATA),
            "description": "Grade-school mathematics word problems.",
            "fields": {"text": "question", "label": "answer"},
        },
        "generate": {"target": TARGET, "batch_size": 4, "few_shot": 2},
        "model": {
            "name": "m",
            "base_url": url,
            "api": api if api in ("anthropic", "azure") else "openai",
            "batch": "openai" if api == "plain" else api,
            "price": {"input": 0.15, "output": 0.6, "batch": 0.5},
        },
        "limits": {
            "concurrency": 8,
            "mode": "batch",
            "batch": {"part": chance.choice([30, 1000])},
            "budget_usd": 2.0,
        },
        "validators": ["constraints", "reflection"],
        "groupcheck": {"same": "text"},
        "observe": {"page": False},
    }
    path = place / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def one(seed: int, place: Path) -> dict[str, Any]:
    """One run, killed again and again; what came of it. Raises AssertionError where a law is broken."""
    chance = random.Random(seed)
    api, knobs = chance.choice(APIS), faults_of(chance)
    given = [f"batches.{name}={str(value).lower()}" for name, value in knobs.items() if value is not None]
    command = [*DATAGEN, "simulate", "--port", "0", "--dialect", api]
    served = subprocess.Popen(
        [*command, *(word for each in given for word in ("--set", each))], stdout=subprocess.PIPE, text=True
    )
    try:
        assert served.stdout is not None
        url = next(word for word in served.stdout.readline().split() if word.startswith("http"))
        run = [*DATAGEN, "run", str(settings(place, url, api, chance)), "-o", str(place / "run")]
        kills = 0
        while True:
            process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                out, _ = process.communicate(timeout=chance.uniform(0.8, 4.0) if kills < KILLS else 300)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
                continue
            break
        assert process.returncode == 0, out[-2000:]
        told = stats_of(url)
    finally:
        served.terminate()
        served.wait(10)
    report = orjson.loads((place / "run" / "report.json").read_bytes())
    with closing(sqlite3.connect(place / "run" / "run.db")) as connection:
        [answered, keys] = connection.execute(
            "SELECT count(*), count(DISTINCT key) FROM asked WHERE fate = 'answered'"
        ).fetchone()
        states = dict(connection.execute("SELECT state, count(*) FROM parts GROUP BY 1").fetchall())
    assert report["items"]["accepted"] == TARGET
    assert set(states) <= {"collected", "void"}, "nothing is left open"
    return {
        "api": api,
        "kills": kills,
        "answered": answered,
        "twice": answered - keys + told["batches"]["answered"] - answered,
        "counted_usd": report["cost"]["spent_usd"],
        "billed_usd": told["billed_usd"],
        "unconfirmed_usd": report["cost"]["unconfirmed_usd"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    total: Counter[str] = Counter()
    rows, seed, began = [], options.seed, time.perf_counter()
    while total["kills"] < options.kills:
        with folder() as place:
            found = one(seed, place)
        total.update({name: value for name, value in found.items() if name != "api"})
        rows.append([seed, *found.values()])
        print(orjson.dumps({"seed": seed, **found}).decode(), flush=True)
        seed += 1
    heads = ["seed", "api", "kills", "answered", "twice", "counted USD", "billed USD", "not confirmed USD"]
    table("Runs in batches, killed", heads, rows)
    result("kills", runs=len(rows), real_seconds=time.perf_counter() - began, **total)


if __name__ == "__main__":
    main()

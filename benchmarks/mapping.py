"""Rows by the hundred thousand through `datagen map`: memory that does not grow with them, and kills that lose nothing.

    python benchmarks/mapping.py memory [--sizes 10000 100000 1000000]
    python benchmarks/mapping.py kills [--rows 100000] [--kills 10]

A twentieth of the rows repeat others. After the kills: every row has one fate, in the order of the file, no call is in
the journal twice, and the endpoint was asked again only for what was in flight at the moment of a kill. As the control,
the same check over the output with two rows exchanged and one of them left out has to fail, or the exit is 1.
"""

from __future__ import annotations

import argparse
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import yaml

from common import folder, measured, pinned, responder, result, stats_of, table

DATAGEN = (sys.executable, "-m", "engine.cli")
AT_ONCE = 64
COLUMNS = {"label": "string", "reasoning": "string", "answer": "string", "difficulty": "int64"}


def prepared(place: Path, url: str, rows: int) -> list[str]:
    """The command; its rows and its config are written."""
    with (place / "rows.jsonl").open("wb") as file:
        for number in range(rows):
            asked = number if number % 20 else number // 40
            file.write(
                orjson.dumps({"id": number, "question": f"What is {asked} and {asked}, in words?"}) + b"\n"
            )
    config = {
        "dataset": {"path": str(place / "rows.jsonl"), "description": "Sums."},
        "map": {"prompt": "{{ question }}", "columns": COLUMNS, "part": 100_000},
        "model": {"name": "m", "base_url": url, "price": {"input": 0.15, "output": 0.6}},
        "limits": {"concurrency": AT_ONCE},
        "observe": {"page": False},
    }
    (place / "map.yaml").write_text(yaml.safe_dump(config))
    return [*DATAGEN, "map", str(place / "rows.jsonl"), str(place / "map.yaml"), "-o", str(place / "run")]


def ids(path: Path) -> Iterator[int]:
    with path.open("rb") as file:
        for line in file:
            yield orjson.loads(line)["id"]


def wrong(kept: Sequence[int], left_out: Sequence[int], rows: int) -> str:
    """What of the rows' fates or places is not as it should be; '' where all is."""
    if list(kept) != sorted(kept):
        return "rows are not in the order of the file"
    if sorted([*kept, *left_out]) != list(range(rows)):
        return "a row has no fate, or two"
    return ""


def memory(sizes: Sequence[int]) -> None:
    """Prints peak memory by the number of rows."""
    told, peaks = [], {}
    for size in sizes:
        with responder("--wide") as url, folder() as place:
            found = measured([*pinned(0), *prepared(place, url, size)])
            assert found["exit"] == 0, found
            database = (place / "run" / "run.db").stat().st_size
        peaks[str(size)] = found["rss_mb"]
        told.append([f"{size:,}", found["rss_mb"], database / size, size / found["wall_s"]])
        print(orjson.dumps({"rows": size, **found}).decode(), flush=True)
    table("Rows mapped", ["rows", "RSS MB", "journal bytes a row", "rows/s"], told)
    result("mapping memory", rss_mb=peaks)


def kills(rows: int, count: int) -> None:
    """Prints what was lost and asked again."""
    chance = random.Random(0)
    with responder("--wide", "--latency", "0.02") as url, folder() as place:
        command, killed, again_at_most, began = prepared(place, url, rows), 0, 0, time.perf_counter()
        while True:
            run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            served = stats_of(url)["served"]
            until = served + chance.uniform(0.02, 0.12) * rows
            while killed < count and run.poll() is None and stats_of(url)["served"] < until:
                time.sleep(0.2)
            if killed < count and run.poll() is None:
                again_at_most += stats_of(url)["in_flight"] + AT_ONCE
                run.send_signal(signal.SIGKILL)
                run.communicate()
                killed += 1
                continue
            out, _ = run.communicate()
            break
        assert run.returncode == 0, out[-2000:]
        told = stats_of(url)
        kept = list(ids(place / "run" / "accepted.jsonl"))
        left_out = list(ids(place / "run" / "rejected.jsonl"))
        with closing(sqlite3.connect(place / "run" / "run.db")) as connection:
            calls, keys = connection.execute("SELECT count(*), count(DISTINCT key) FROM calls").fetchone()
        parts = sum(1 for path in (place / "run" / "parts").iterdir() for _ in ids(path))
    said = wrong(kept, left_out, rows)
    broken = [kept[1], kept[0], *kept[3:]]
    figures: dict[str, Any] = {
        "rows": rows,
        "kills": killed,
        "kept": len(kept),
        "in_parts": parts,
        "wrong": said or "nothing",
        "calls": calls,
        "journaled_twice": calls - keys,
        "asked_again": told["repeated"],
        "in_flight_at_kills_at_most": again_at_most,
        "seconds": time.perf_counter() - began,
    }
    table("Rows mapped through kills", list(figures), [list(figures.values())])
    result("mapping kills", **figures)
    if said or calls != keys or not wrong(broken, left_out, rows):
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("memory", "kills"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    if options.what == "memory":
        memory(options.sizes)
    else:
        kills(options.rows, options.kills)


if __name__ == "__main__":
    main()

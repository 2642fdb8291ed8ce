"""SIGKILL at ten random moments of a 5,000-call run, resuming each time; and the resume of a finished run.

    python benchmarks/resume.py [-n 5000] [-k 10] [--finished 20000]

The server counts requests that it saw more than once. A call that was in flight at a kill cannot but be
asked again: at most as many as workers were holding one then.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from common import config, folder, measured, pinned, responder, result, stats_of, table

CONCURRENCY = 64
LATENCY = 0.05


def command(path: Path, place: Path) -> list[str]:
    return [sys.executable, "-m", "engine.cli", "run", str(path), "-o", str(place / "run")]


def killed(url: str, path: Path, place: Path, at: int) -> int:
    """Start the run, kill it once the server has seen `at` requests; those in flight at the server then."""
    with subprocess.Popen(
        [*pinned(0), *command(path, place)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while stats_of(url)["requests"] < at and process.poll() is None:
            time.sleep(0.002)
        in_flight = int(stats_of(url)["in_flight"])
        process.kill()
    return in_flight


def ids(place: Path) -> list[str]:
    lines = (place / "run" / "accepted.jsonl").read_bytes().splitlines()
    return [orjson.loads(line)["_meta"]["id"] for line in lines]


def calls_in(place: Path) -> int:
    from engine.store.reading import connect

    with closing(connect(place / "run" / "run.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM calls").fetchone()[0])


def kills(count: int, times: int) -> dict[str, Any]:
    chance = random.Random(11)
    moments = sorted(chance.sample(range(100, count - 100), times))
    with responder("--latency", str(LATENCY)) as url, folder() as place:
        path = config(place / "config.yaml", url, count, limits__concurrency=CONCURRENCY)
        in_flight = [killed(url, path, place, at) for at in moments]
        final = measured(command(path, place))
        stats = stats_of(url)
        found = ids(place)
        assert final["exit"] == 0
        assert len(found) == len(set(found)) == count
        assert calls_in(place) == count
    allowed = times * (CONCURRENCY * 5 // 4 + 1)
    return {
        "kills": times,
        "requests": stats["requests"],
        "repeated": stats["repeated"],
        "in_flight_at_kills": sum(in_flight),
        "held_at_most": allowed,
    }


def finished(count: int) -> float:
    with responder() as url, folder() as place:
        path = config(place / "config.yaml", url, count)
        assert measured(command(path, place))["exit"] == 0
        before = stats_of(url)["requests"]
        again = measured(command(path, place))
        assert (again["exit"], stats_of(url)["requests"]) == (0, before)
    return float(again["wall_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=5_000)
    parser.add_argument("-k", "--kills", type=int, default=10)
    parser.add_argument("--finished", type=int, default=20_000)
    options = parser.parse_args()
    found = kills(options.n, options.kills)
    table(
        f"{options.n:,} calls, killed {options.kills} times: accepted exactly {options.n:,}, no id twice",
        [
            "requests the server saw",
            "seen more than once",
            "in flight at the kills",
            "held by workers, at most",
        ],
        [[found["requests"], found["repeated"], found["in_flight_at_kills"], found["held_at_most"]]],
    )
    seconds = finished(options.finished)
    table(f"Resume of a finished run of {options.finished:,}", ["seconds, whole process"], [[seconds]])
    result("resume", **found, finished_resume_s=seconds)


if __name__ == "__main__":
    main()

"""Runs with 0, 1, 2 and 4 workers, over sockets and on Ray: items a second, and the processor time of head and workers.

    python benchmarks/spread.py [-n 10000] [-r 3] [--ray] [--only plain checked vectors ceiling budget]

`plain` is calls alone; `checked` adds a check that costs processor time (the language of a text), `own` one in plain
Python that takes more (near_copies.py), `vectors` a local model.
`ceiling` is the head with workers that answer at once (instant_worker.py) and have a core of their own. `budget`
compares what a cap buys. Seconds are those of the work, without start-up and report; medians of the repeats.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from common import config, folder, pinned, responder, result, table
from near_copies import installed

HERE = Path(__file__).resolve().parent
HEAD = """
import resource, sys, time
sys.path.insert(0, {here!r})
import engine.runs.lending as lending
import engine.runs.passes as passes
lending.WORKER = {worker!r} or lending.WORKER
whole = passes.Passes.run
def used(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
async def timed(self):
    cpu, began = used(resource.RUSAGE_SELF), time.perf_counter()
    await whole(self)
    found = used(resource.RUSAGE_SELF) - cpu, time.perf_counter() - began
    open({out!r}, "w").write(repr(found))
passes.Passes.run = timed
from engine.cli.__main__ import main
main()
"""
LANGUAGE = [{"language": "en"}, {"length": {"min": 1, "max": 5000, "unit": "words"}}]
SIZE = 5
"""Items a call."""
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "checked": {"dataset__constraints": LANGUAGE, "validators": ["constraints"]},
    "own": {"validators": ["near_copies"]},
    "vectors": {"groupcheck": {"same": "meaning", "threshold": 0.999, "against_base": False}},
}


def ran(
    url: str,
    items: int,
    workers: int,
    *options: str,
    worker: str = "",
    core: int | None = None,
    **changes: Any,
) -> dict[str, float]:
    """One run: seconds of its work, the head's processor seconds, those of all its processes, accepted items."""
    with folder() as place:
        path = config(place / "config.yaml", url, items, observe={"page": False}, **changes)
        installed(place)
        out = place / "figures"
        code = HEAD.format(here=str(HERE), worker=worker, out=str(out))
        command = [sys.executable, "-c", code, "run", str(path), "-o", str(place / "run"), *options]
        command += ["--workers", str(workers)] if workers else []
        prefix = pinned(core) if core is not None else []
        head = subprocess.Popen(
            [*prefix, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{place}"},
        )  # fmt: skip
        if worker:
            _move(worker, core=1)
        _, status, usage = os.wait4(head.pid, 0)
        head.returncode = os.waitstatus_to_exitcode(status)
        cpu, wall = eval(out.read_text())  # noqa: S307 - our own file
        report = orjson.loads((place / "run" / "report.json").read_bytes())
    whole = usage.ru_utime + usage.ru_stime
    return {"wall_s": wall, "head_s": cpu, "all_s": whole, "accepted": report["items"]["accepted"]}


def _move(worker: str, core: int) -> None:
    """Gives the workers a core of their own, where the system has taskset."""
    for _ in range(5):
        time.sleep(0.3)
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if f"-m\0{worker}" in place.read_bytes().decode("utf-8", "replace"):
                    os.sched_setaffinity(int(place.parent.name), {core})
            except OSError:
                continue


def compared(name: str, items: int, repeats: int, counts: list[int], *, ray: bool) -> None:
    few, rows, figures = 400, [], {}
    ways: list[tuple[str, int, tuple[str, ...]]] = [(f"{count} workers", count, ()) for count in counts]
    ways += [(f"{count} on Ray", count, ("--on", "ray")) for count in counts if count and ray]
    taken: dict[str, list[dict[str, float]]] = {}
    with responder("--items", str(SIZE)) as url:
        for _ in range(repeats):
            for title, count, options in ways:
                small, large = (
                    ran(url, size, count, *options, generate__batch_size=SIZE, **CASES[name])
                    for size in (few, items)
                )
                per = items - few
                found = {
                    "per_s": per / (large["wall_s"] - small["wall_s"]),
                    "head_ms": 1e3 * (large["head_s"] - small["head_s"]) / per,
                    "all_ms": 1e3 * (large["all_s"] - small["all_s"]) / per,
                }
                taken.setdefault(title, []).append(found)
    for title, count, options in ways:
        median = {key: statistics.median(each[key] for each in taken[title]) for key in taken[title][0]}
        of_workers = "-" if options or not count else median["all_ms"] - median["head_ms"]
        times = median["per_s"] / statistics.median(each["per_s"] for each in taken["0 workers"])
        rows.append([title, median["per_s"], times, median["head_ms"], of_workers])
        figures[title] = {**median, "times": times}
    heads = ["", "items a second", "times one process", "CPU ms an item: head", "workers"]
    table(f"{name}, {items:,} items, {SIZE} a call (medians of {repeats})", heads, rows)
    result(f"spread {name}", items=items, **figures)


def ceiling(items: int, repeats: int) -> None:
    rows = []
    for size in (1, 5):
        found = []
        for _ in range(repeats):
            small, large = (
                ran("http://127.0.0.1:9/v1", count, 2, worker="instant_worker", core=0, generate__batch_size=size,
                    groupcheck={"same": "text"})
                for count in (500, items)
            )  # fmt: skip
            per = items - 500
            cpu = 1e3 * (large["head_s"] - small["head_s"]) / per
            found.append((cpu, per / (large["wall_s"] - small["wall_s"])))
        cpu, speed = (statistics.median(values) for values in zip(*found, strict=True))
        rows.append([size, cpu, 1e3 / cpu, speed])
    heads = [
        "items a call",
        "CPU ms an item",
        "items a second of its CPU",
        "items a second, workers on one core",
    ]
    table(f"The head's ceiling, {items:,} items, group check by text (medians of {repeats})", heads, rows)
    result("spread ceiling", items=items, rows=rows)


def budget() -> None:
    rows = []
    with responder("--latency", "0.01") as url:
        for count in (0, 1, 2, 4):
            found = ran(
                url, 100_000, count, limits__budget_usd=0.25, limits__concurrency=32, generate__batch_size=1
            )
            rows.append([count, found["accepted"]])
    table("What a cap of $0.25 buys", ["workers", "accepted"], rows)
    result("spread budget", rows=rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("-r", "--repeats", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="on Ray, too")
    parser.add_argument("--only", nargs="+", default=[*CASES, "ceiling", "budget"])
    options = parser.parse_args()
    for name in options.only:
        if name in CASES:
            compared(name, options.n, options.repeats, [0, 1, 2, 4], ray=options.ray)
        elif name == "ceiling":
            ceiling(4 * options.n, options.repeats)
        else:
            budget()


if __name__ == "__main__":
    main()

"""A thousand calls in flight, random usage, the cap hit mid-run: what the server charged against the cap.

python benchmarks/budget.py [-r 5]
"""

from __future__ import annotations

import argparse
import sys

import orjson

from common import config, folder, measured, responder, result, stats_of, table

INPUT, OUTPUT = 0.15, 0.60
MAX_TOKENS = 1000
CONCURRENCY = 1000


def one(cap: float) -> tuple[float, float, int]:
    """(true cost, worst case of one call, peak in flight), in dollars."""
    with responder("--random-usage", "--latency", "0.5") as url, folder() as place:
        path = config(
            place / "config.yaml",
            url,
            1_000_000,
            limits__concurrency=CONCURRENCY,
            limits__budget_usd=cap,
            generate__max_tokens=MAX_TOKENS,
        )
        run = measured([sys.executable, "-m", "engine.cli", "run", str(path), "-o", str(place / "run")])
        stats = stats_of(url)
        report = orjson.loads((place / "run" / "report.json").read_bytes())
    assert run["exit"] == 3, run
    true = (stats["prompt_tokens"] * INPUT + stats["completion_tokens"] * OUTPUT) / 1e6
    assert abs(true - report["cost"]["spent_usd"]) < 1e-9
    next_call = report["message"].rsplit("$", 1)[1]
    return true, float(next_call), stats["peak"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-r", "--repeats", type=int, default=5)
    rows, holds = [], True
    for number in range(parser.parse_args().repeats):
        cap = 1.5 + 0.1 * number
        true, worst, peak = one(cap)
        rows.append([f"{cap:.2f}", f"{true:.6f}", f"{cap - true:.6f}", f"{worst:.6f}", peak])
        holds = holds and true <= cap and cap - true < worst
    table(
        "The cap, hit mid-run",
        ["cap $", "charged by the server $", "unused $", "worst case of one call $", "peak in flight"],
        rows,
    )
    result("budget", holds=holds, runs=rows)


if __name__ == "__main__":
    main()

"""The whole path, one item a call, beside a bare aiohttp + orjson loop in the same run.

    python benchmarks/throughput.py [-n 20000] [-r 3]

CPU is a whole process's, less that of the same process at a fifth of the calls: what a run takes once (start-up, the
report's samples) does not count, all that grows with it does.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from pathlib import Path
from typing import Any

import orjson

from common import config, folder, measured, responder, result, table

CONCURRENCY = 256
LATENCY, WIDE = 0.5, 1024


async def bare(base_url: str, count: int, concurrency: int) -> None:
    """The floor: post, read, parse; the same prompts as the engine's."""
    import aiohttp

    from engine import RunConfig
    from engine.runs.estimate import prompts
    from engine.runs.modes import GenerateMode

    path = Path(__file__).resolve().parent.parent / "examples" / "quickstart.yaml"
    prompt = next(prompts(GenerateMode().load(RunConfig.load(path, {"groupcheck": False}))))
    left = iter(range(count))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers={"Authorization": "Bearer x", "Content-Type": "application/json"},
    ) as session:

        async def worker() -> None:
            for number in left:
                messages = [
                    {"role": "system", "content": prompt.system},
                    {"role": "user", "content": f"{number} {prompt.user}"},
                ]
                body = orjson.dumps({"model": "raw", "messages": messages, "temperature": 0.8})
                async with session.post(f"{base_url}/chat/completions", data=body) as response:
                    reply = orjson.loads(await response.read())
                orjson.loads(reply["choices"][0]["message"]["content"])

        await asyncio.gather(*(worker() for _ in range(min(concurrency, count))))


def engine(base_url: str, count: int, **changes: Any) -> dict[str, Any]:
    with folder() as place:
        path = config(place / "config.yaml", base_url, count, **changes)
        return measured([sys.executable, "-m", "engine.cli", "run", str(path), "-o", str(place / "run")])


def floor(base_url: str, count: int, concurrency: int = CONCURRENCY) -> dict[str, Any]:
    command = [sys.executable, __file__, "--bare", base_url, "-n", str(count), "-c", str(concurrency)]
    return measured(command)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=20_000)
    parser.add_argument("-r", "--repeats", type=int, default=3)
    parser.add_argument("--bare", metavar="URL", help="run the floor alone")
    parser.add_argument("-c", "--concurrency", type=int, default=CONCURRENCY, help="of the floor alone")
    options = parser.parse_args()
    if options.bare:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bare(options.bare, options.n, options.concurrency))
        return
    compare(options.n, options.repeats)


def compare(count: int, repeats: int) -> None:
    few, figures = count // 5, []
    for _ in range(repeats):
        with responder() as url:
            idle_floor, idle_engine = floor(url, few), engine(url, few)
            busy_floor, busy_engine = floor(url, count), engine(url, count)
        assert busy_engine["exit"] == busy_floor["exit"] == 0, (busy_engine, busy_floor)
        per = count - few
        figures.append(
            {
                "floor_ms": (busy_floor["cpu_s"] - idle_floor["cpu_s"]) / per * 1e3,
                "engine_ms": (busy_engine["cpu_s"] - idle_engine["cpu_s"]) / per * 1e3,
                "floor_per_s": per / (busy_floor["wall_s"] - idle_floor["wall_s"]),
                "engine_per_s": per / (busy_engine["wall_s"] - idle_engine["wall_s"]),
                "rss_mb": busy_engine["rss_mb"],
            }
        )
    for found in figures:
        found["ratio"] = found["engine_ms"] / found["floor_ms"]
    median = {name: statistics.median(found[name] for found in figures) for name in figures[0]}
    table(
        f"{count:,} calls, concurrency {CONCURRENCY}, zero latency (medians of {repeats})",
        ["", "CPU ms per call", "calls per second"],
        [
            ["bare aiohttp + orjson", median["floor_ms"], median["floor_per_s"]],
            ["engine, whole path", median["engine_ms"], median["engine_per_s"]],
            ["ratio", median["ratio"], median["engine_per_s"] / median["floor_per_s"]],
        ],
    )
    with responder("--latency", str(LATENCY)) as url:
        wide = [
            (
                floor(url, count, WIDE)["wall_s"] - floor(url, 1, 1)["wall_s"] + LATENCY,
                engine(url, count, limits__concurrency=WIDE)["wall_s"] - engine(url, 1)["wall_s"] + LATENCY,
            )
            for _ in range(repeats)
        ]
    ideal = -(-count // WIDE) * LATENCY
    floor_s, engine_s = (statistics.median(found) for found in zip(*wide, strict=True))
    table(
        f"{count:,} calls, concurrency {WIDE}, latency {LATENCY} s (start-up excluded; medians of {repeats})",
        ["", "seconds", "of ideal"],
        [
            ["ideal", ideal, 1.0],
            ["bare aiohttp + orjson", floor_s, floor_s / ideal],
            ["engine, whole path", engine_s, engine_s / ideal],
        ],
    )
    figures_wide = {"wide_ideal_s": ideal, "wide_floor_s": floor_s, "wide_engine_s": engine_s}
    result("throughput", calls=count, **median, **figures_wide, wide_ratio=engine_s / ideal)


if __name__ == "__main__":
    main()

"""Programs per second in the sandbox, with every layer on, beside a cold Python with the same imports.

python benchmarks/sandbox.py [PROGRAMS]     default 20000; numpy and sympy are measured where installed
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec

from common import result, table
from validators.code.sandbox import PRELOAD, Sandbox, SandboxOptions

PROGRAM = "import math\nboxes, each = 12, 7\nprint(math.floor(boxes * each / 2))"
SYMPY = "import sympy\nx = sympy.symbols('x')\nprint(sympy.expand((x + 1) ** 3))"


async def driven(sandbox: Sandbox, source: str, count: int, at_once: int) -> tuple[float, list[float]]:
    """(programs per second, seconds of each)."""
    latencies: list[float] = []
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            began = time.perf_counter()
            outcome = await sandbox.run(source)
            assert outcome.ok, outcome
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return count / (time.perf_counter() - began), sorted(latencies)


def cold(source: str, count: int, *, site: bool = False) -> float:
    """Programs per second, one process each, as many at once as there are cores."""
    imports = f"import {', '.join(PRELOAD)}\n"
    flags = ["-I"] if site else ["-I", "-S"]
    began = time.perf_counter()
    cores = 2
    running: list[subprocess.Popen[bytes]] = []
    for _ in range(count):
        if len(running) == cores:
            running.pop(0).wait()
        command = [sys.executable, *flags, "-c", imports + source]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    for process in running:
        process.wait()
    return count / (time.perf_counter() - began)


def rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def percentile(values: list[float], share: float) -> float:
    return round(values[min(len(values) - 1, int(len(values) * share))] * 1000, 2)


async def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    async with Sandbox() as sandbox:
        await driven(sandbox, PROGRAM, 200, 4)
        runs, colds = [], []
        for _ in range(3):
            runs.append(await driven(sandbox, PROGRAM, count // 4, 4))
            colds.append(cold(PROGRAM, 120))
        before = rss_mb()
        runs.append(await driven(sandbox, PROGRAM, count // 4, 4))
        level, grown = sandbox.level, rss_mb() - before
    speed, slow = statistics.median(run[0] for run in runs), statistics.median(colds)
    latencies = sorted(latency for run in runs for latency in run[1])
    rows: list[list[object]] = [
        ["trivial, usual modules", round(speed), round(slow, 1), round(speed / slow, 1),
         percentile(latencies, 0.5), percentile(latencies, 0.99)],
    ]  # fmt: skip
    if find_spec("sympy") is not None:
        async with Sandbox(SandboxOptions(preload=("sympy",))) as sandbox:
            await driven(sandbox, SYMPY, 20, 2)
            fast, taken = await driven(sandbox, SYMPY, 600, 4)
        slow = cold(SYMPY, 12, site=True)
        shown = [round(fast), round(slow, 2), round(fast / slow, 1)]
        rows.append(["sympy, preloaded", *shown, percentile(taken, 0.5), percentile(taken, 0.99)])
    columns = ["programs", "per second", "cold Python", "ratio", "p50 ms", "p99 ms"]
    table(f"sandbox at the level {level!r}, {count:,} programs", columns, rows)
    result("sandbox", level=level, programs=count, rows=rows, front_end_growth_mb=round(grown, 2))


if __name__ == "__main__":
    asyncio.run(main())

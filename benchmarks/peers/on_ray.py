"""This engine's workers on Ray beside distilabel's Ray path: the same work, placed by Ray on this machine.

    python benchmarks/peers/on_ray.py [--venvs FOLDER] [--only NAME ...] [-n 2000] [-w 2] [-r 3]

Ray's own processes and the workers are nobody's children, so processor time is the whole machine's, less the stand-in
server's; let nothing else run. Differences of two runs, so that starting Ray does not count.
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

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from run import QUIET, Peer, fresh, python_of  # noqa: E402

from common import responder, result, stats_of, table  # noqa: E402

PEERS = (
    Peer("DataGen", "own.py", ()),
    Peer(
        "distilabel 1.5.3",
        "distilabel_pipeline.py",
        ("distilabel[openai,ray]==1.5.3", "openai==1.109.1", "datasets==3.6.0", "pyarrow==19.0.1",
         "pydantic==2.11.10", "requests"),
        venv="distilabel_on_ray",
    ),
)  # fmt: skip
FEW = 400
AT_ONCE = 256
LONGEST_S = 300


def busy_s() -> float:
    """Processor seconds that this machine has spent at work."""
    user, nice, system, _, _, *more = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + sum(more[:2])) / os.sysconf("SC_CLK_TCK")


def ran(peer: Peer, venvs: Path, count: int, workers: int) -> dict[str, float]:
    """One run: items that came whole, processor seconds beside the server's, seconds from first to last call."""
    python = python_of(peer, venvs)
    with responder("--wide", core=os.cpu_count() or 1) as url, fresh() as place:
        command = [python, str(HERE / peer.script), "-n", str(count), "-c", str(AT_ONCE), "--folder", place]
        busy = busy_s()
        told = subprocess.run(
            [*command, "--on-ray", str(workers)], cwd=place, timeout=LONGEST_S, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, **QUIET, "BASE_URL": url, "RAY_USAGE_STATS_ENABLED": "0"},
        )  # fmt: skip
        busy, stats = busy_s() - busy, stats_of(url)
    import orjson

    said = [line for line in told.stdout.splitlines() if line.startswith("{")]
    found: dict[str, Any] = orjson.loads(said[-1]) if said else {}
    if found.get("ok") != count:
        print(f"{peer.name}: {found}", file=sys.stderr)
    span = stats["last_at"] - stats["first_at"] if stats["last_at"] else float("nan")
    return {"ok": found.get("ok", 0), "cpu_s": busy - stats["cpu_s"], "span_s": span}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "datagen-peers")
    parser.add_argument("--only", nargs="+", help="names, or their beginnings")
    parser.add_argument("-n", type=int, default=2_000)
    parser.add_argument("-w", "--workers", type=int, default=2)
    parser.add_argument("-r", "--repeats", type=int, default=3)
    options = parser.parse_args()
    chosen = [
        peer
        for peer in PEERS
        if not options.only or any(peer.name.casefold().startswith(each.casefold()) for each in options.only)
    ]
    taken: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in chosen}
    for _ in range(options.repeats):
        for peer in chosen:
            few, many = (ran(peer, options.venvs, count, options.workers) for count in (FEW, options.n))
            taken[peer.name].append(
                {
                    "cpu_ms": 1e3 * (many["cpu_s"] - few["cpu_s"]) / (options.n - FEW),
                    "per_s": options.n / many["span_s"],
                    "made": many["ok"],
                }
            )
            print(f"{peer.name}: {taken[peer.name][-1]}", file=sys.stderr, flush=True)
            time.sleep(2)
    medians = {
        name: {key: statistics.median(each[key] for each in found) for key in found[0]}
        for name, found in taken.items()
    }
    table(
        f"{options.n:,} items, {options.workers} workers on Ray, zero latency (medians of {options.repeats})",
        ["", "CPU ms an item, all processes", "items a second", "items made"],
        [[name, found["cpu_ms"], found["per_s"], found["made"]] for name, found in medians.items()],
    )
    result("peers on ray", workers=options.workers, **medians)


if __name__ == "__main__":
    main()

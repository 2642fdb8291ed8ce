"""The cost model of docs/scaling.md: its terms measured, and what it foretells of another run beside that run.

python benchmarks/scaling.py
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from common import config, folder, measured, responder, result, table


@dataclass(frozen=True)
class Took:
    """One run of the command, whole."""

    cpu_s: float
    rss_mb: float
    disk_mb: float


def ran(items: int, *options: str, **changes: Any) -> Took:
    """So many items of one call each."""
    with responder(*options) as url, folder() as place:
        path = config(place / "config.yaml", url, items, **changes)
        found = measured([sys.executable, "-m", "engine.cli", "run", str(path), "-o", str(place / "run")])
        assert found["exit"] == 0, found
        disk = sum(file.stat().st_size for file in (place / "run").iterdir()) / 2**20
    return Took(found["cpu_s"], found["rss_mb"], disk)


def main() -> None:
    length = {"length": {"max": 5000}}
    few, many = ran(200), ran(10_200)
    checked = ran(10_200, dataset__constraints=[length], validators=["constraints"])
    grouped = ran(10_200, groupcheck={"same": "text"})
    narrow, wide = (ran(5000, "--latency", "0.2", limits__concurrency=c) for c in (64, 1024))
    terms = {
        "start_cpu_s": few.cpu_s - 200 * (many.cpu_s - few.cpu_s) / 10_000,
        "call_cpu_ms": (many.cpu_s - few.cpu_s) / 10,
        "constraints_cpu_ms": (checked.cpu_s - many.cpu_s) / 10.2,
        "groupcheck_text_and_measures_cpu_s": grouped.cpu_s - many.cpu_s,
        "groupcheck_text_and_measures_mb": grouped.rss_mb - many.rss_mb,
        "disk_kb_per_item": (many.disk_mb - few.disk_mb) / 10_000 * 1024,
        "flying_kb": (wide.rss_mb - narrow.rss_mb) / 960 * 1024,
        "base_mb": narrow.rss_mb - 64 * (wide.rss_mb - narrow.rss_mb) / 960,
    }
    table("Terms", ["", ""], [[name, value] for name, value in terms.items()])
    other = ran(20_000, "--latency", "0.1", limits__concurrency=512, validators=["constraints"],
                dataset__constraints=[length])  # fmt: skip
    each = terms["call_cpu_ms"] + terms["constraints_cpu_ms"]
    foretold = Took(
        terms["start_cpu_s"] + 20 * each,
        terms["base_mb"] + 512 * terms["flying_kb"] / 1024,
        20_000 * terms["disk_kb_per_item"] / 1024,
    )
    rows = [
        [name, getattr(foretold, name), getattr(other, name), getattr(other, name) / getattr(foretold, name)]
        for name in ("cpu_s", "rss_mb", "disk_mb")
    ]
    table("20,000 items, 512 at once, constraints", ["", "foretold", "measured", "ratio"], rows)
    result("scaling", **terms, foretold=foretold.__dict__, measured=other.__dict__)


if __name__ == "__main__":
    main()

"""Runs with faults, stops and caps drawn by chance, one after another, for hours: `scripts/soak`."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="the first case; each that follows has the next number")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from faults.driver import Case, checked

    seed = options.seed if options.seed is not None else random.randrange(10**9)
    until, failed, count = time.monotonic() + options.hours * 3600, 0, 0
    print(f"first seed {seed}", flush=True)
    while time.monotonic() < until:
        case = Case.of_seed(seed)
        with tempfile.TemporaryDirectory(prefix="datagen-soak-") as folder:
            try:
                asyncio.run(checked(case, Path(folder)))
            except Exception:
                failed += 1
                print(f"seed {seed} fails: scripts/soak --seed {seed} --hours 0.01\n{case}", flush=True)
                traceback.print_exc()
        count += 1
        if count % 20 == 0:
            print(f"{count:,} runs, {failed:,} failed, last seed {seed}", flush=True)
        seed += 1
    print(f"{count:,} runs, {failed:,} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Peak memory at 2,000, 20,000 and 200,000 items: it must not grow with them.

python benchmarks/memory.py [--sizes 2000 20000 200000]
"""

from __future__ import annotations

import argparse
import sys

from common import config, folder, measured, responder, result, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 20_000, 200_000])
    rows, peaks = [], {}
    for size in parser.parse_args().sizes:
        with responder() as url, folder() as place:
            path = config(place / "config.yaml", url, size)
            found = measured([sys.executable, "-m", "engine.cli", "run", str(path), "-o", str(place / "run")])
            assert found["exit"] == 0, found
            database = (place / "run" / "run.db").stat().st_size
        peaks[size] = found["rss_mb"]
        rows.append([f"{size:,}", found["rss_mb"], database / size, found["wall_s"]])
    table("Peak memory", ["items", "RSS MB", "journal bytes per item", "seconds"], rows)
    *_, before, last = [peaks[min(peaks)], *(peaks[size] for size in sorted(peaks))]
    result("memory", rss_mb={str(size): peak for size, peak in peaks.items()}, growth_mb=last - before)


if __name__ == "__main__":
    main()

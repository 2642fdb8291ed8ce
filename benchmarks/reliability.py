"""What a run loses, repays and overspends when the endpoint and the machine misbehave; beside what others do.

    python benchmarks/reliability.py [--venvs FOLDER] [--only NAME ...] [-r REPEATS]

The same faults for each: replies without an end, replies that claim 99 million tokens, failures and a stop, kills. A
figure that an engine has no means for (a cap) is a dash. The engines are driven as in benchmarks/peers. A control run
without any fault must lose nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "peers"))

from run import HUNG_S, PEERS, Contest, Peer, fresh, median, number  # noqa: E402

from common import responder, result, stats_of, table  # noqa: E402

ITEMS = 400
PRICE = (0.15e-6, 0.6e-6)
"""Dollars a token of gpt-4o-mini, by which the endpoint is billed."""
CAP = 0.02


def control(contest: Contest, peer: Peer) -> dict[str, Any]:
    """Nothing goes wrong: all items are there."""
    with responder("--wide", "--latency", "0.05") as url, fresh() as place:
        ran = contest.run(peer, url, Path(place), n=ITEMS, c=32, longest=HUNG_S)
    return {"control": ran.found.get("ok", 0), "rss_mb": ran.rss_mb}


def floods(contest: Contest, peer: Peer) -> dict[str, Any]:
    """One reply in fifty has no end (a gigabyte): how much memory that takes, and what is made of the rest."""
    with responder("--wide", "--latency", "0.05", "--flood", "0.02") as url, fresh() as place:
        ran = contest.run(peer, url, Path(place), n=ITEMS, c=32, longest=HUNG_S)
    return {
        "flood_rss_mb": ran.rss_mb,
        "flood_items": ran.found.get("ok", 0),
        "flooded_mb": ran.stats["flooded_mb"],
        "flood_ended": ran.ended or "by itself",
    }


def stop(contest: Contest, peer: Peer) -> dict[str, Any]:
    """20 % of status 500, and a kill when half is answered; then again to the end: what is asked for twice."""
    with responder("--wide", "--latency", "0.1", "--errors", "0.2") as url, fresh() as place:
        half = ITEMS // 2
        contest.run(peer, url, Path(place), n=ITEMS, c=32, until=lambda: stats_of(url)["served"] >= half)
        flying = stats_of(url)["in_flight"]
        time.sleep(0.3)
        ran = contest.run(peer, url, Path(place), n=ITEMS, c=32, longest=HUNG_S)
        stats = stats_of(url)
    if ran.ended == "hung":
        return {"again": None, "flying": flying, "stop_items": 0}
    return {"again": stats["repeated"], "flying": flying, "stop_items": ran.found.get("ok", 0)}


def lies(contest: Contest, peer: Peer) -> dict[str, Any]:
    """One answer in twenty claims 99 million tokens; a cap where there is one: what was billed of it, and made."""
    options = ("--wide", "--latency", "0.05", "--lie", "0.05")
    if not peer.limited or peer.requirements:
        return {"billed_of_cap": None, "lie_items": None}
    os.environ["CAP_USD"] = str(CAP)
    try:
        with responder(*options) as url, fresh() as place:
            ran = contest.run(peer, url, Path(place), n=ITEMS, c=32, longest=HUNG_S)
    finally:
        del os.environ["CAP_USD"]
    honest = ran.stats["served"] * (400 * PRICE[0] + 160 * PRICE[1])
    return {"billed_of_cap": honest / CAP, "lie_items": ran.found.get("ok", 0)}


MEASURES: Sequence[Callable[[Contest, Peer], dict[str, Any]]] = (control, floods, stop, lies)
ROWS: Sequence[tuple[str, str, str]] = (
    (f"control: items made of {ITEMS}, nothing goes wrong", "control", "{:,.0f}"),
    ("peak MB of the control", "rss_mb", "{:.0f}"),
    ("2 % of replies without an end: peak MB", "flood_rss_mb", "{:.0f}"),
    (f"2 % of replies without an end: items made of {ITEMS}", "flood_items", "{:,.0f}"),
    ("2 % of replies without an end: MB taken of the floods", "flooded_mb", "{:,.0f}"),
    (f"20 % of 500, SIGKILL at half of {ITEMS}, again: calls paid twice", "again", "{:,.0f}"),
    ("in flight at that kill", "flying", "{:,.0f}"),
    ("items made after it", "stop_items", "{:,.0f}"),
    (f"5 % claim 99 million tokens, cap ${CAP:g}: really billed, of the cap", "billed_of_cap", "{:.2f}"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "datagen-peers")
    parser.add_argument("--only", nargs="+", help="names, or their beginnings")
    parser.add_argument("-r", "--repeats", type=int, default=1)
    options = parser.parse_args()
    contest, figures = Contest(options.venvs), {}
    wanted = [each.casefold() for each in options.only or ("",)]
    for peer in PEERS:
        if not peer.resumes or not peer.name.casefold().startswith(tuple(wanted)):
            continue
        found: dict[str, Any] = {}
        for measure in MEASURES:
            found |= median([measure(contest, peer) for _ in range(options.repeats)])
            print(f"{peer.name}: {measure.__name__}: {found}", file=sys.stderr, flush=True)
        figures[peer.name] = found
    where = f"{os.cpu_count()} shared cores, CPython {platform.python_version()}, {platform.system()}"
    table(
        f"{time.strftime('%Y-%m-%d')}, {where}",
        ["", *figures],
        [
            [title, *(number(found.get(name), shape) for found in figures.values())]
            for title, name, shape in ROWS
        ],
    )
    result("reliability", **figures)


if __name__ == "__main__":
    main()

"""This engine beside those that people would use instead: one machine, one stand-in server, the same work.

    python benchmarks/peers/run.py [--venvs FOLDER] [--only NAME ...] [--measures cpu rows wide rate faults kill]

Each peer has a venv of its own, made at the first run from the versions below (three gigabytes in all). Client and
server are pinned to a core each. Every figure is of one run unless --repeats says otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import pinned, responder, result, stats_of, table  # noqa: E402

LONGEST_S = 600
HUNG_S = 120
"""A resumed run of 2,000 that takes longer than this hangs."""


@dataclass(frozen=True)
class Peer:
    """An engine, how it is installed, and the script that drives it."""

    name: str
    script: str
    requirements: Sequence[str]
    limited: bool = False
    """Whether it can be told a rate limit."""
    resumes: bool = True
    venv: str = ""
    """The venv's name; the script's where absent."""
    rows_script: str = ""
    """Of one that has a way of its own for rows that are there; the others ask a prompt for each row anyway."""


PEERS = (
    Peer("DataGen", "own.py", (), limited=True, rows_script="own_map.py"),
    Peer("Curator 0.1.31", "curator.py", ("bespokelabs-curator==0.1.31",), limited=True),
    Peer("Data Designer 0.9.6", "designer.py", ("data-designer==0.9.6", "sniffio")),
    Peer(
        "distilabel 1.5.3",
        "distilabel_pipeline.py",
        ("distilabel[openai]==1.5.3", "openai==1.109.1", "datasets==3.6.0", "pyarrow==19.0.1", "pydantic==2.11.10",
         "requests"),
    ),
    Peer("openai script", "sdk_script.py", ("openai==3.57.0",), resumes=False),
)  # fmt: skip

QUIET = {
    "TELEMETRY_ENABLED": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "HF_HUB_OFFLINE": "1",
    "NEMO_TELEMETRY_ENABLED": "false",
    "DISTILABEL_LOG_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
    "OPENAI_API_KEY": "sk-x",
}


def python_of(peer: Peer, venvs: Path) -> str:
    """The interpreter of its venv, made where there is none yet."""
    if not peer.requirements:
        return sys.executable
    place = venvs / (peer.venv or peer.script.removesuffix(".py"))
    python = place / "bin" / "python"
    if not python.exists():
        print(f"installing {peer.name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *peer.requirements], check=True)
    return str(python)


@dataclass
class Ran:
    """One process: what it said, what it took."""

    found: dict[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    rss_mb: float = 0.0
    ended: str = ""
    stats: dict[str, Any] = field(default_factory=dict)


class Contest:
    """Runs a peer's script against a server. Mutable state: none but the folders."""

    def __init__(self, venvs: Path) -> None:
        self._venvs = venvs

    def run(
        self, peer: Peer, url: str, folder: Path, *, n: int, c: int, rpm: float = 0.0,
        until: Callable[[], bool] | None = None, longest: float = LONGEST_S,
    ) -> Ran:  # fmt: skip
        """To the end, or until `until` is true: then it is killed with all its processes."""
        python = python_of(peer, self._venvs)
        command = [
            *pinned(0),
            python,
            str(HERE / peer.script),
            "-n",
            str(n),
            "-c",
            str(c),
            "--folder",
            str(folder),
        ]
        if rpm and peer.limited:
            command += ["--rpm", str(rpm)]
        began = time.time()
        with tempfile.TemporaryFile() as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.DEVNULL, env=self._environment(python, url),
                start_new_session=True, cwd=folder,
            )  # fmt: skip
            peak, ended = 0.0, ""
            status, usage = 0, None
            while usage is None:
                pid, status, used = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    usage = used
                    break
                peak = max(peak, memory_of(process.pid))
                if until is not None and until():
                    ended = "killed"
                elif time.time() - began > longest:
                    ended = "hung"
                if ended:
                    os.killpg(process.pid, signal.SIGKILL)
                    _, status, usage = os.wait4(process.pid, 0)
                    break
                time.sleep(0.02)
            process.returncode = os.waitstatus_to_exitcode(status)
            wall = time.time() - began
            out.seek(0)
            lines = [
                line for line in out.read().decode(errors="replace").splitlines() if line.startswith("{")
            ]
        found = json.loads(lines[-1]) if lines else {}
        stats = stats_of(url)
        stats["startup_s"] = stats["first_at"] - began if stats["first_at"] else None
        cpu = usage.ru_utime + usage.ru_stime
        return Ran(found, wall, cpu, max(peak, usage.ru_maxrss / 1024), ended, stats)

    def _environment(self, python: str, url: str) -> dict[str, str]:
        found = {**os.environ, **QUIET, "BASE_URL": url}
        tokenizers = Path(python).parent.parent.glob(
            "lib/*/site-packages/litellm/litellm_core_utils/tokenizers"
        )
        for place in tokenizers:
            found["TIKTOKEN_CACHE_DIR"] = str(place)
        return found


def memory_of(group: int) -> float:
    """Resident megabytes of a process and its children, now."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return total / 2**20


def fresh() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="datagen-peers-")


# --- the measures -----------------------------------------------------------------------------------


def cpu(contest: Contest, peer: Peer) -> dict[str, Any]:
    """Zero latency, 256 at once: what one more item takes; and how long until the first request."""
    found = []
    for n in (200, 4200):
        with responder("--wide") as url, fresh() as place:
            found.append(contest.run(peer, url, Path(place), n=n, c=256))
    few, many = found
    if many.found.get("ok", 0) < 4000:
        return {"cpu_ms": None, "items_per_s": None, "startup_s": few.stats["startup_s"]}
    span = many.stats["last_at"] - many.stats["first_at"]
    return {
        "cpu_ms": (many.cpu_s - few.cpu_s) / 4000 * 1000,
        "items_per_s": many.stats["served"] / span,
        "startup_s": few.stats["startup_s"],
    }


def rows(contest: Contest, peer: Peer) -> dict[str, Any]:
    """The same over rows that are there, each of which gets what its answer holds: `datagen map` beside the others."""
    found = cpu(contest, replace(peer, script=peer.rows_script or peer.script))
    return {"rows_cpu_ms": found["cpu_ms"], "rows_per_s": found["items_per_s"]}


def wide(contest: Contest, peer: Peer) -> dict[str, Any]:
    """0.5 s of latency, 1,024 at once, 20,000 items: how near to the ideal, and the memory."""
    with responder("--wide", "--latency", "0.5") as url, fresh() as place:
        ran = contest.run(peer, url, Path(place), n=20_000, c=1024)
    if ran.stats["last_at"] is None:
        return {"of_ideal": None, "rss_mb": ran.rss_mb}
    seconds = ran.stats["last_at"] - ran.stats["first_at"]
    ideal = 0.5 * -(-20_000 // 1024)
    whole = ran.found.get("ok", 0) == 20_000
    return {
        "of_ideal": seconds / ideal if whole else None,
        "rss_mb": ran.rss_mb,
        "items": ran.found.get("ok", 0),
    }


def rate(contest: Contest, peer: Peer) -> dict[str, Any]:
    """6,000 requests a minute, 0.2 s of latency, 3,000 items: the share of the limit used, 429s provoked."""
    with responder("--wide", "--latency", "0.2", "--rpm", "6000") as url, fresh() as place:
        ran = contest.run(peer, url, Path(place), n=3000, c=256, rpm=6000)
    stats = ran.stats
    span = (stats["last_at"] or 0) - (stats["first_at"] or 0)
    return {
        "share": stats["served"] / 100 / span if span > 0 else None,
        "limited": stats["limited"],
        "rate_items": ran.found.get("ok", 0),
    }


def faults(contest: Contest, peer: Peer) -> dict[str, Any]:
    """2 % status 500, 1 % resets, 1 % cut answers, 5 requests always refused; 2,000 items."""
    options = ("--errors", "0.02", "--resets", "0.01", "--cut", "0.01", "--refuse", "5")
    with responder("--wide", *options) as url, fresh() as place:
        ran = contest.run(peer, url, Path(place), n=2000, c=256)
    return {
        "lost": 2000 - ran.found.get("ok", 0),
        "made": ran.found.get("ok", 0),
        "error": ran.found.get("error", ""),
    }


def kill(contest: Contest, peer: Peer) -> dict[str, Any]:
    """SIGKILL when half of 2,000 are answered, then the same again: calls paid a second time."""
    with responder("--wide", "--latency", "0.1") as url, fresh() as place:
        contest.run(peer, url, Path(place), n=2000, c=100, until=lambda: stats_of(url)["served"] >= 1000)
        flying = stats_of(url)["in_flight"]
        time.sleep(0.3)
        served = stats_of(url)["served"]
        ran = contest.run(peer, url, Path(place), n=2000, c=100, longest=HUNG_S)
        stats = stats_of(url)
    if ran.ended == "hung":
        return {"again": None, "in_flight": flying}
    return {
        "again": stats["repeated"],
        "in_flight": flying,
        "before": served,
        "kill_items": ran.found.get("ok", 0),
    }


MEASURES: dict[str, Callable[[Contest, Peer], dict[str, Any]]] = {
    "cpu": cpu, "rows": rows, "wide": wide, "rate": rate, "faults": faults, "kill": kill,
}  # fmt: skip
ROWS: Sequence[tuple[str, Callable[[dict[str, Any]], Any]]] = (
    ("CPU ms an item, zero latency, 256 at once", lambda f: number(f.get("cpu_ms"), "{:.2f}")),
    ("CPU ms a row that is there (`datagen map`)", lambda f: number(f.get("rows_cpu_ms"), "{:.2f}")),
    ("items/s, one core for the client", lambda f: number(f.get("items_per_s"), "{:,.0f}")),
    ("wall of ideal: 0.5 s latency, 1,024 at once, 20,000 items", lambda f: number(f.get("of_ideal"), "{:.2f}")),
    ("peak MB, 20,000 items", lambda f: number(f.get("rss_mb"), "{:.0f}")),
    ("share of 6,000 requests a minute used", lambda f: number(f.get("share"), "{:.2f}")),
    ("429s provoked; items made of 3,000", lambda f: pair(f, "limited", "rate_items")),
    ("items missing of 2,000: 2 % 500, 1 % resets, 1 % cut, 5 refused", lambda f: number(f.get("lost"), "{:,}")),
    ("SIGKILL at half of 2,000, again: calls paid twice (in flight then)", lambda f: pair(f, "again", "in_flight")),
    ("seconds to the first request", lambda f: number(f.get("startup_s"), "{:.1f}")),
)  # fmt: skip


def number(value: float | None, shape: str) -> str:
    return "-" if value is None else shape.format(value)


def pair(found: dict[str, Any], first: str, second: str) -> str:
    if first not in found:
        return "-"
    told = "hung" if found[first] is None else f"{found[first]:,}"
    return f"{told} ({found[second]:,})"


def median(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the figures; the last one's words."""
    merged = dict(found[-1])
    for name in merged:
        values = [each[name] for each in found if isinstance(each.get(name), int | float)]
        if values and len(values) == len(found):
            merged[name] = statistics.median(values)
    return merged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "datagen-peers")
    parser.add_argument("--only", nargs="+", help="names, or their beginnings")
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("-r", "--repeats", type=int, default=1)
    options = parser.parse_args()
    contest, figures = Contest(options.venvs), {}
    for peer in PEERS:
        if options.only and not any(
            peer.name.casefold().startswith(each.casefold()) for each in options.only
        ):
            continue
        found: dict[str, Any] = {}
        for name in options.measures:
            found |= median([MEASURES[name](contest, peer) for _ in range(options.repeats)])
            print(f"{peer.name}: {name}: {found}", file=sys.stderr, flush=True)
        figures[peer.name] = found
    when = time.strftime("%Y-%m-%d")
    table(
        f"{when}, {os.cpu_count()} shared cores, CPython {platform.python_version()}, {platform.system()}",
        ["", *figures],
        [[title, *(show(found) for found in figures.values())] for title, show in ROWS],
    )
    result("peers", **figures)


if __name__ == "__main__":
    main()

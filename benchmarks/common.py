"""What the benchmarks share: servers on the other core, whole-process figures, tables."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "examples" / "grade_school.jsonl"


@contextlib.contextmanager
def responder(*options: str, core: int = 1) -> Iterator[str]:
    """The raw server pinned to a core; its base URL."""
    script = ROOT / "benchmarks" / "responder.py"
    with subprocess.Popen(
        [*pinned(core), sys.executable, str(script), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.stdin.close()
            server.wait(10)


def pinned(core: int) -> list[str]:
    """A command prefix that keeps a process on one core, where the system has taskset."""
    from shutil import which

    return ["taskset", "-c", str(core)] if which("taskset") and (os.cpu_count() or 1) > core else []


def stats_of(base_url: str) -> dict[str, Any]:
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats") as reply:  # noqa: S310 - loopback
        return dict(orjson.loads(reply.read()))


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="datagen-bench-") as name:
        yield Path(name)


def config(path: Path, base_url: str, target: int, **changes: Any) -> Path:
    """A config file for one item a call, few-shot prompts of realistic size, no validator."""
    settings: dict[str, Any] = {
        "dataset": {
            "path": str(DATA),
            "description": "Grade-school mathematics word problems. The label is the final answer.",
            "fields": {"text": "question", "label": "answer"},
            "constraints": ["The problem can be solved from its text alone."],
        },
        "generate": {"target": target, "batch_size": 1, "few_shot": 5, "max_tokens": 1000},
        "model": {"name": "raw", "base_url": base_url, "price": {"input": 0.15, "output": 0.6}},
        "limits": {"concurrency": 256},
        "validators": [],
    }
    for dotted, value in changes.items():
        section, _, key = dotted.partition("__")
        if key:
            settings[section][key] = value
        else:
            settings[section] = value
    path.write_text(yaml.safe_dump(settings))
    return path


def measured(command: Sequence[str], core: int = 0) -> dict[str, Any]:
    """A whole process on one core: exit status, wall and CPU seconds, peak RSS in MB, last line as JSON if it is."""
    with tempfile.TemporaryFile() as output:
        import time

        began = time.perf_counter()
        process = subprocess.Popen([*pinned(core), *command], stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        output.seek(0)
        lines = output.read().decode().strip().splitlines()
    found: dict[str, Any] = {}
    with contextlib.suppress(orjson.JSONDecodeError, IndexError):
        last = orjson.loads(lines[-1])
        found = last if isinstance(last, dict) else {}
    return {
        "exit": process.returncode,
        "wall_s": wall,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "rss_mb": usage.ru_maxrss / 1024,
        **found,
    }


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print(
            "| " + " | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row) + " |"
        )


def result(name: str, **figures: Any) -> None:
    """The same as one JSON line."""
    import platform

    facts = {"benchmark": name, "python": platform.python_version(), "cores": os.cpu_count()}
    print("\n" + orjson.dumps({**facts, **figures}).decode())

"""Runs over rows, for the tests: rows whose answers the simulated endpoint knows, a config for them, what was asked."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import yaml

from conftest import lines
from engine.config import RunConfig
from engine.report.summary import Report
from engine.runs.api import started
from engine.runs.modes import MapMode
from engine.simulator.content import word_problems


def problem(number: int) -> word_problems.Problem:
    return word_problems.draw(random.Random(number))


def write_rows(path: Path, count: int, *, distinct: int | None = None, bad: tuple[int, ...] = ()) -> Path:
    """Rows with an id, a question whose answer the simulated endpoint knows, and a column that no prompt speaks of."""
    with path.open("wb") as file:
        for number in range(count):
            row = {
                "id": number,
                "question": problem(number % (distinct or count)).text,
                "beside": {"n": [number]},
            }
            file.write(b"{broken\n" if number in bad else orjson.dumps(row) + b"\n")
    return path


ASKED: dict[str, Any] = {"prompt": "Answer: {{ question }}", "columns": {"answer": "string", "why": "string"}}


def settings(url: str, data: Path, **sections: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "dataset": {"path": str(data), "description": "Word problems."},
        "map": ASKED,
        "model": {"name": "m", "base_url": url, "price": {"input": 1.0, "output": 2.0}},
        "limits": {"concurrency": 8},
        "observe": {"page": False},
    }
    for name, value in sections.items():
        merged = name != "map" and isinstance(value, dict) and isinstance(base.get(name), dict)
        base[name] = {**base[name], **value} if merged else value
    return base


def config_of(folder: Path, url: str, data: Path, **sections: Any) -> RunConfig:
    path = folder / "map.yaml"
    path.write_text(yaml.safe_dump(settings(url, data, **sections)))
    return RunConfig.load(path)


async def mapped(folder: Path, config: RunConfig) -> Report:
    return await started(MapMode(), config, folder, None)


def calls(folder: Path, sql: str = "SELECT key FROM calls") -> list[Any]:
    with closing(sqlite3.connect(folder / "run.db")) as connection:
        return connection.execute(sql).fetchall()


def ids(folder: Path, name: str = "accepted") -> list[int]:
    return [row.get("id") for row in lines(folder / f"{name}.jsonl")]

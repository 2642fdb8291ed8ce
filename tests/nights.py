"""Runs in batches, for the tests: a config for any mode and dialect, and what holds after any run."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from conftest import Configs, Endpoint, Start
from engine.config import RunConfig
from engine.items import PICO

QUICK: dict[str, Any] = {"day_s": 6.0, "quickest": 0.002, "slowest": 0.02}
APIS = ("plain", "anthropic", "gemini", "mistral", "azure")
"""Dialects whose batch APIs differ."""


def rows(folder: Path, sql: str, *values: Any) -> list[Any]:
    place = f"file:{folder / 'run.db'}?mode=rw"  # where there is none, none is made
    with closing(sqlite3.connect(place, uri=True)) as connection:
        return connection.execute(sql, values).fetchall()


class Night:
    """Runs of one config in several modes. Mutable state: the endpoint."""

    def __init__(self, tmp_path: Path, start: Start, configs: Configs) -> None:
        self.folder = tmp_path / "run"
        self._start, self._configs = start, configs
        self.endpoint: Endpoint | None = None

    async def config(
        self, mode: str, dialect: str = "plain", *, cap: float | None = 1.0, **knobs: Any
    ) -> RunConfig:
        batches = {**QUICK, **knobs.pop("batches", {})}
        more = knobs.pop("more", {})
        self.endpoint = await self._start(dialect=dialect, batches=batches, violations=0.2, **knobs)
        return self._configs.load(
            self.endpoint[0],
            model={
                "name": "m",
                "base_url": self.endpoint[0],
                "api": dialect if dialect in ("anthropic", "azure") else "openai",
                "batch": "openai" if dialect == "plain" else dialect,
                "price": {"input": 1.0, "output": 2.0, "batch": 0.5},
            },
            dataset={"constraints": [{"length": {"max": 60}}]},
            generate={"target": 60, "batch_size": 3, "few_shot": 2, "max_tokens": 400, **more.get("generate", {})},
            limits={
                "concurrency": 8, "mode": mode, "budget_usd": cap, "batch": {"least": 6, "pilot": 4},
                **more.get("limits", {}),
            },
            validators=["constraints", "reflection"],
            groupcheck={"same": "text"},
        )  # fmt: skip

    @property
    def desk(self) -> Any:
        assert self.endpoint is not None
        return self.endpoint[1].desk

    @property
    def billed(self) -> float:
        assert self.endpoint is not None
        return self.endpoint[1].statistics.billed / PICO


def check(night: Night, folder: Path | None = None) -> dict[str, Any]:
    """What holds after any run: every item one fate, no call answered twice, nothing left open, no file left."""
    folder = folder or night.folder
    report: dict[str, Any] = orjson.loads((folder / "report.json").read_bytes())
    items = report["items"]
    assert items["generated"] == items["accepted"] + items["rejected"] + items["surplus"]
    assert max(night.desk.answered.values(), default=0) <= 1
    assert rows(folder, "SELECT count(*) FROM parts WHERE state NOT IN ('collected', 'void')") == [(0,)]
    assert not list((folder / "batches").glob("*"))
    assert report.get("batches", {"open_parts": 0})["open_parts"] == 0
    return report

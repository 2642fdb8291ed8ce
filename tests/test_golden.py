"""What earlier releases left behind stays valid: their run folders, and the settings by which these are told apart."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT, lines
from engine.config import RunConfig
from engine.config.file import parse
from engine.runs.api import arun
from engine.store.identity import differences, digest, identity

GOLDEN = ROOT / "tests" / "golden"
SETTINGS: dict[str, Any] = yaml.safe_load((GOLDEN / "settings.yaml").read_text("utf-8"))
KNOWN: dict[str, Any] = json.loads((GOLDEN / "settings.json").read_text("utf-8"))
ENVIRONMENT = {
    "BASE": "data/in.jsonl",
    "TOPIC": "numbers",
    "KEY": "sk-env",
    "HOST": "h.example.org",
    "CAP": "2.5",
}


OPERATIONAL_NOW = ("generate.max_tokens", ".response_format", ".send_seed")
"""Settings that were part of a run's identity in release 0.1."""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def parsed(name: str) -> RunConfig:
    found = parse(RunConfig, yaml.safe_dump(SETTINGS[name], sort_keys=False), name, Path("/golden"), {})
    found.settings._references = found.references
    return found.settings


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_have_the_identity_that_they_had(name: str, environment: None, tmp_path: Path) -> None:
    config = parsed(name)
    contents: dict[str, str | None] = {"dataset.path": "0" * 64, "generate.template": None}
    if config.generate.template is not None:
        template = tmp_path / "mine.j2"
        template.write_text("{% block system %}s{% endblock %}{% block user %}u{% endblock %}")
        contents["generate.template"] = digest(template)
    now = identity(config.without_secrets(), contents)
    before = {
        key: value for key, value in KNOWN[name]["identity"].items() if not key.endswith(OPERATIONAL_NOW)
    }
    assert {**{key: now[key] for key in before}, "model.any_of": None} == {**before, "model.any_of": None}
    assert differences(KNOWN[name]["identity"], now, {}) == []


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_written_as_they_were(name: str, environment: None) -> None:
    """Settings that have come since stand beside them."""
    written = parsed(name).without_secrets()
    assert known_part(written, KNOWN[name]["written"]) == KNOWN[name]["written"]


def known_part(value: Any, known: Any) -> Any:
    if isinstance(known, dict) and isinstance(value, dict):
        return {key: known_part(value.get(key), inner) for key, inner in known.items()}
    if isinstance(known, list) and isinstance(value, list):
        return [known_part(one, other) for one, other in zip(value, known, strict=True)]
    return value


def timeless(value: Any) -> Any:
    """Without what differs from start to start and from machine to machine, and what release 0.1 did not record."""
    if isinstance(value, dict):
        dropped = ("seconds", "sandbox", "before")
        return {key: timeless(inner) for key, inner in value.items() if key not in dropped}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


async def test_a_run_folder_of_release_0_1_goes_on_to_the_same_items(tmp_path: Path) -> None:
    """Stopped at its budget by 0.1; here to its end. Expected is what 0.1 itself made of it without the stop.

    Of items for which calls were still to be made, other wording may bring others.
    """
    base, folder = tmp_path / "base.jsonl", tmp_path / "run"
    shutil.copyfile(ROOT / "examples" / "grade_school.jsonl", base)
    folder.mkdir()
    settings = (GOLDEN / "run-0.1.yaml").read_text("utf-8").replace("BASE", str(base))
    (folder / "config.yaml").write_text(settings, "utf-8")
    with sqlite3.connect(folder / "run.db") as database:
        database.executescript((GOLDEN / "run-0.1.sql").read_text("utf-8"))
        paid = {key for (key,) in database.execute("SELECT key FROM calls")}
    database.close()

    report = await arun(RunConfig.load(folder / "config.yaml", {"limits.budget_usd": 5}), folder)

    assert report.outcome == "target"
    with sqlite3.connect(folder / "run.db") as database:
        anew = {key for (key,) in database.execute("SELECT key FROM calls")} - paid
    database.close()
    unpaid = {re.split(r"[/.]", key)[0] for key in anew}
    found = []
    for state in ("accepted", "rejected"):
        for row in lines(folder / f"{state}.jsonl"):
            meta = row.pop("_meta")
            found.append({"state": state, "record": row, "meta": timeless(meta)})

    def settled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if not {row["meta"]["id"], str(row["meta"]["batch"])} & unpaid]

    assert len(settled(found)) > 10
    assert settled(found) == settled(lines(GOLDEN / "run-0.1.jsonl"))
    assert report.data["calls"]["completed"] > len(paid)

"""A validator from a folder of somebody else's, as docs/validators.md shows it."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from conftest import ROOT, Configs, Start, lines
from engine.config.installed import VALIDATORS, installed_validators
from engine.conformance import check_validator, item
from engine.diversity import GROUP_CHECK
from engine.errors import ConfigError
from engine.evaluation.answering import ANSWER, JUDGE
from engine.planning import extract, lessons
from engine.planning.delayed import LABEL_GATE
from engine.prompts import rows
from engine.runs import plugins
from engine.runs.modes import GenerateMode
from engine.stages import cases, dataset_rows, embed, generate
from engine.stages.repeats import REPEATS
from engine.store.reading import REVIEW


def written(place: Path) -> None:
    """The files that the documentation shows."""
    text = (ROOT / "docs" / "validators.md").read_text()
    for language, name in (("python", "polite.py"), ("toml", "pyproject.toml")):
        found = re.search(rf"```{language}\n# {re.escape(name)}\n(.*?)```", text, re.DOTALL)
        assert found is not None
        (place / name).write_text(found[1])


def installed(place: Path, packages: Path) -> None:
    """By pip, with the build tool that is here: none is fetched."""
    offline = ("--no-index", "--no-build-isolation", "--no-deps", "--quiet")
    pip = (sys.executable, "-m", "pip", "install", *offline, "--target", str(packages), str(place))
    subprocess.run(pip, check=True, capture_output=True)


async def test_the_one_in_the_documentation_runs(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    place, packages = tmp_path / "plugin", tmp_path / "packages"
    place.mkdir()
    written(place)
    installed(place, packages)
    url, _ = await endpoint()
    config = configs.write(url, validators=["constraints", {"name": "polite", "most": 0.04}])
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    import asyncio

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine.cli", "run", str(config), "-o", str(tmp_path / "out")),
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    rejected = [row["_meta"] for row in lines(tmp_path / "out" / "rejected.jsonl")]
    assert {(meta["rejected_by"], meta["reason"]) for meta in rejected} == {("polite", "shouts")}


async def test_it_keeps_the_conformance_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    polite = importlib.import_module("polite")
    try:
        await check_validator(polite.Polite, good=item("How many apples?"), bad=item("HOW MANY APPLES?"))
        with pytest.raises(AssertionError, match="the bad item was passed"):
            await check_validator(polite.Polite, good=item("How many?"), bad=item("How many?"))
    finally:
        del sys.modules["polite"]


def test_the_name_of_a_step_is_no_validators(configs: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls and rejections are counted by name: it would be charged with the step's."""
    config = configs.load("http://h", validators=["attributes"])
    point = EntryPoint("attributes", "validators.reflection:Reflection", VALIDATORS)
    monkeypatch.setattr(plugins, "installed_validators", lambda: {point.name: point})
    with pytest.raises(ConfigError, match="'attributes' is the name of a step of the engine"):
        GenerateMode().load(config)


def test_every_step_that_counts_by_its_name_is_known() -> None:
    steps = {
        *(
            embed.NAME,
            generate.NAME,
            dataset_rows.NAME,
            GROUP_CHECK,
            LABEL_GATE,
            REPEATS,
            REVIEW,
            ANSWER,
            JUDGE,
            cases.NAME,
        ),
        *(lessons.PURPOSE, extract.PURPOSE, rows.OWNER),
    }
    assert steps == plugins.STEPS
    assert not steps & set(installed_validators())

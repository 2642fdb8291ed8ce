"""What a run can be: each mode says what it reads, drives and writes, and needs of the config only what it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, Start, lines
from engine.config import RunConfig
from engine.errors import ConfigError
from engine.flow.pipeline import Pipeline
from engine.flow.stage import Stage
from engine.items import Item, Verdict
from engine.protocols import Validator
from engine.runs import modes
from engine.runs.api import arun, audit, enhance, evaluate, judge, resumed, started
from engine.runs.inputs import Inputs, loaded
from engine.runs.modes import MODES, GenerateMode, Mode
from engine.runs.modes.audit import dataset_rows, rows_of
from engine.runs.pipeline import Parts, commit
from engine.stages.refine import Refine


def without_generate(configs: Configs, url: str, **sections: Any) -> RunConfig:
    settings = configs.settings(url, **sections)
    del settings["generate"]
    path = configs.folder / "plain.json"
    path.write_bytes(orjson.dumps(settings))  # JSON is YAML
    return RunConfig.load(path)


def test_each_has_a_name_of_its_own() -> None:
    assert list(MODES) == ["run", "audit", "enhance", "evaluate", "judge", "calibrate", "merge", "map"]
    assert {mode.family for mode in MODES.values()} == {
        "run",
        "audit",
        "enhance",
        "evaluate",
        "calibrate",
        "merge",
        "map",
    }
    assert [mode.name for mode in MODES.values() if mode.generates] == ["run"]


async def test_only_the_mode_that_generates_needs_a_target(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    config = without_generate(configs, url)
    with pytest.raises(ConfigError, match=r"plain\.json: generate\.target: is missing"):
        GenerateMode().load(config)
    for work in (audit, enhance):
        report = await work(config, tmp_path / work.__name__)
        assert report.data["items"]["target"] == 12
        assert report.outcome == "target"
        again = await resumed(
            RunConfig.load(tmp_path / work.__name__ / "config.yaml"), tmp_path / work.__name__
        )
        assert again.accepted == report.accepted


async def test_a_mistake_found_in_use_names_the_key_and_its_line(configs: Configs, tmp_path: Path) -> None:
    config = configs.load("http://127.0.0.1:9", generate={"few_shot": 13})
    with pytest.raises(
        ConfigError, match=r"config\.yaml line \d+: generate\.few_shot: 13 examples asked for"
    ):
        GenerateMode().load(config)
    no_base = configs.load("http://127.0.0.1:9", dataset={"path": None})
    with pytest.raises(
        ConfigError, match=r"config\.yaml line \d+: generate\.few_shot: is above 0, and there is no"
    ):
        GenerateMode().load(no_base)
    capped = configs.load("http://127.0.0.1:9", limits={"budget_usd": 0.0001})
    with pytest.raises(
        ConfigError, match=r"config\.yaml line \d+: limits\.budget_usd: \$0\.0001 is less than one call"
    ):
        GenerateMode().load(capped)


async def test_a_folder_goes_on_with_its_own_kind_of_run_only(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    config = without_generate(configs, url, model={"name": "m", "base_url": url})
    await audit(config, tmp_path / "run")
    with pytest.raises(ConfigError, match="is the folder of another kind of run"):
        await enhance(config, tmp_path / "run")


async def test_what_a_mode_does_not_read_may_change(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    """As for folders of 0.1, whose audits were started with few_shot 0 by the command, and with 5 from a program."""
    url, _ = await endpoint()
    for few_shot in (0, 5):
        config = configs.load(url, generate={"few_shot": few_shot})
        await audit(config, tmp_path / "audit")
        await evaluate(config, tmp_path / "evaluate", data=[configs.base])
    await judge(RunConfig.load(tmp_path / "evaluate" / "config.yaml"), tmp_path / "evaluate")
    changed = configs.load(url, dataset={"description": "Other sums."})
    with pytest.raises(ConfigError, match=r"dataset\.description"):
        await audit(changed, tmp_path / "audit")


async def test_what_a_mode_does_not_read_may_be_missing(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    config = configs.load(url, generate={"template": "gone.j2"})
    assert (await audit(config, tmp_path / "audit")).outcome == "target"
    with pytest.raises(
        ConfigError, match=r"config\.yaml line \d+: generate\.template: .*gone\.j2: cannot be read"
    ):
        GenerateMode().load(config)


async def test_a_generation_does_not_read_how_models_are_tested(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    await arun(configs.load(url), tmp_path / "run")
    await arun(configs.load(url, evaluate={"by": ["answer"]}), tmp_path / "run")


async def test_an_audit_checks_the_labels_of_a_ratio(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    ratio = [{"label_ratio": {"yes": 1, "no": 1}}]
    config = configs.load(url, dataset={"constraints": ratio}, validators=["constraints"])
    report = await audit(config, tmp_path / "audit")
    assert report.data["items"]["reasons"] == {"constraints": {"label_ratio": 12}}
    [rule] = report.data["constraints"]
    [counts] = rule["by_model"].values()
    assert (counts["checked"], counts["broken"]) == (12, 12)


# --- a further mode is one file --------------------------------------------------------------------


class Shouting:
    """Writes every row in capitals."""

    name = "shouting"

    async def validate(self, item: Item) -> Verdict:
        return Verdict.revised(self.name, "loud", item.evolve(text=item.text.upper()))


class ShoutMode(Mode):
    """A mode of somebody's own, whole."""

    name = family = "shout"
    completed = "Every row is loud."
    unread = ("generate",)

    def load(self, config: RunConfig, kept: Path | None = None) -> Inputs:
        dataset = rows_of(config, self.name)
        return loaded(config, dataset, dataset.rows)

    def pipeline(self, parts: Parts) -> Pipeline:
        batches, read = dataset_rows(parts)
        shouting: Validator = Shouting()
        stages = [read, Stage("shout", Refine(shouting, parts.halt, lambda _: None, meter=parts.meter), 4)]
        return Pipeline.joined(batches, stages, commit(parts), parts.halt)


async def test_a_further_mode_runs_reports_and_resumes(
    endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(modes.MODES, "shout", ShoutMode())  # type: ignore[arg-type]
    url, _ = await endpoint()
    config = without_generate(configs, url, observe={"page": True})
    report = await started(ShoutMode(), config, tmp_path / "run", None)
    assert (report.outcome, report.accepted, report.data["mode"]) == ("target", 12, "shout")
    rows = lines(tmp_path / "run" / "accepted.jsonl")
    assert rows[0]["question"] == "WHAT IS 0 PLUS 1, IN WHOLE NUMBERS?"
    assert "Every row is loud." in (tmp_path / "run" / "report.html").read_text("utf-8")
    again = await resumed(config, tmp_path / "run")
    assert again.data["starts"] == 2

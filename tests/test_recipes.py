"""Every recipe runs as it stands, and as `init --recipe` writes it; each is short, and plans what 10,000 items cost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from conftest import ROOT, command, lines
from engine.analysis.recipes import recipes
from engine.config import RunConfig
from engine.runs.modes import mode_for

FOLDER = ROOT / "examples" / "recipes"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
pytestmark = pytest.mark.filterwarnings("ignore:.*the sandbox is at the level.*")


def is_map(name: str) -> bool:
    return "map" in yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


def test_they_are_all_there_and_short() -> None:
    assert len(NAMES) >= 13
    assert list(recipes()) == NAMES
    for name in NAMES:
        text = (FOLDER / f"{name}.yaml").read_text()
        assert len(text.splitlines()) <= 40, name
        assert "Yours:" in text, name
        assert text.startswith("# "), name


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_whole(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = command("init", "--recipe", name)
    assert code == 0, err
    assert f"{name}.yaml is written" in err
    told = re.findall(r"run it: datagen (.*)", err)[0].split()
    code, _, err = command(*told, "-o", "run", "--set", "observe.page=false")
    assert code == 0, err
    rows = lines(tmp_path / "run" / "accepted.jsonl")
    wanted = yaml.safe_load((tmp_path / f"{name}.yaml").read_text()).get("generate", {}).get("target")
    if is_map(name):
        asked = len((tmp_path / told[1]).read_text().splitlines())
        rejected = lines(tmp_path / "run" / "rejected.jsonl")
        assert len(rows) + len(rejected) == asked
        assert len(rows) >= 0.6 * asked
    else:
        assert len(rows) == wanted


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_says_what_each_costs(name: str) -> None:
    """The row is there; the figures are of `datagen plan` at the simulated endpoint's invented price."""
    readme = (ROOT / "README.md").read_text()
    assert re.search(rf"^\| `{name}` \|.*\| [\d,]+ \| \$[\d.]+ \|", readme, re.MULTILINE), name
    config = RunConfig.load(FOLDER / f"{name}.yaml")
    assert mode_for(config).load(config).prices is not None


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        (
            "distill",
            {"id": 1, "instruction_text": "Say why the sky is blue, in a sentence."},
            "instruction_text",
        ),
        ("annotate", {"text": "Where is it?"}, ""),
        ("classify", {"body": "The parcel never came, and nobody answers.", "topic": "delivery"}, "body"),
    ],
)
def test_a_recipe_over_rows_of_ones_own(
    name: str, row: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.jsonl"
    own.write_bytes(b"".join(orjson.dumps({**row, "n": number}) + b"\n" for number in range(8)))
    code, _, err = command("init", "--recipe", name, own)
    assert code == 0, err
    text = (tmp_path / f"{name}.yaml").read_text()
    assert "path: own.jsonl" in text
    assert said in err
    if said:
        assert f"text: {said}" in text or f"{{{{ {said} }}}}" in text


def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = command("init", "--recipe", "cake")
    assert (code, "there is no such recipe; there are annotate" in err) == (2, True)
    (tmp_path / "maths.yaml").write_text("mine")
    code, _, err = command("init", "--recipe", "maths")
    assert (code, "is there already" in err) == (2, True)
    assert (tmp_path / "maths.yaml").read_text() == "mine"
    code, _, err = command("init")
    assert (code, "name a dataset" in err) == (2, True)
    code, out, _ = command("init", "--recipe", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == NAMES

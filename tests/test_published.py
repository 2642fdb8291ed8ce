"""The published datasets, through the configs that ship, from their files to accepted items and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import PUBLISHED, ROOT, Start, lines, needs_published, run_in
from engine.config import RunConfig
from engine.dataset.base import BaseDataset
from engine.runs.modes import GenerateMode

USABLE = {"gsm8k": 7473, "mmlu": 13937, "truthfulqa": 817, "hellaswag": 10042}


@needs_published
@pytest.mark.parametrize("name", USABLE)
async def test_a_run_gives_rows_that_load_like_the_original(
    name: str, tmp_path: Path, endpoint: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAGEN_DATA", str(PUBLISHED))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    url, _ = await endpoint()
    changes: dict[str, object] = {
        "model.base_url": url,
        "generate.target": 40,
        "limits.requests_per_minute": None,
    }
    changes["groupcheck.same"] = "text"  # their vectors take a minute; tests/test_embedding.py has real ones
    config = RunConfig.load(ROOT / "examples" / f"{name}.yaml", changes)
    original = GenerateMode().load(config).dataset
    assert len(original.examples) == USABLE[name]

    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"

    accepted = tmp_path / "run" / "accepted.jsonl"
    again = BaseDataset.load(config.dataset.model_copy(update={"path": (str(accepted),), "format": "jsonl"}))
    assert len(again.examples) + again.bad_counts["duplicate"] == 40
    assert set(again.bad_counts) <= {"duplicate"}
    assert again.fields.style == original.fields.style
    own = list(lines(accepted)[0])
    fields = config.dataset.fields
    assert own[0] == fields.text
    assert own[-1] == "_meta"
    assert set(fields.extras) <= set(own)

"""Several runs as one: every item is compared with all before it, by the first run's policy, at no further cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hashing_embedder
from conftest import Configs, Start, contents, datagen, finished, lines, run_in
from engine.config import RunConfig
from engine.errors import ConfigError
from engine.report.tables import outcome_lines
from engine.runs.api import merge
from engine.store.folder import RunFolder

SIMILAR: dict[str, Any] = {
    "groupcheck": {"same": "meaning", "threshold": 0.9},
    "embedding": {"function": "hashing_embedder:hashed"},
}


async def made(endpoint: Start, configs: Configs, folder: Path, seed: int, **sections: Any) -> Path:
    url, _ = await endpoint(seed=seed, near_duplicates=0.2)
    await run_in(folder, configs.load(url, seed=seed, generate={"target": 40}, **sections))
    return folder


def config_of(folder: Path, **overrides: Any) -> RunConfig:
    return RunConfig.load(RunFolder(folder).config, overrides, allow_code=True)


async def test_what_says_the_same_is_left_out_and_nothing_is_embedded_again(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    runs = [await made(endpoint, configs, tmp_path / str(seed), seed, **SIMILAR) for seed in (1, 1, 2)]
    runs[1] = await made(endpoint, configs, tmp_path / "again", 1, **SIMILAR)
    hashing_embedder.CALLS.clear()
    report = await merge(config_of(runs[0]), runs, tmp_path / "merged")
    assert report.data["outcome"] == "target"
    assert sum(hashing_embedder.CALLS) == 0
    assert report.data["calls"]["completed"] == 0
    found = lines(tmp_path / "merged" / "accepted.jsonl")
    originals = [row for run in runs for row in lines(run / "accepted.jsonl")]
    assert len(originals) == 120
    vectors = np.asarray(hashing_embedder.hashed([row["question"] for row in originals]), np.float16).astype(
        np.float32
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kept: list[int] = []  # by hand, in order
    for place in range(len(originals)):
        if all(vectors[place] @ vectors[other] < 0.9 - 1e-3 for other in kept):
            kept.append(place)
    assert [row["question"] for row in found] == [originals[place]["question"] for place in kept]
    assert found[0]["_meta"]["before"]["id"] == originals[0]["_meta"]["id"]


async def test_a_merge_of_runs_without_a_group_check_leaves_out_repeats(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    runs = [
        await made(endpoint, configs, tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    await merge(config_of(runs[0]), runs, tmp_path / "merged")
    texts = [row["question"] for row in lines(tmp_path / "merged" / "accepted.jsonl")]
    assert len(texts) == len(set(texts))
    assert {row["question"] for run in runs for row in lines(run / "accepted.jsonl")} == set(texts)
    again = contents(tmp_path / "merged" / "accepted.jsonl")
    await merge(config_of(runs[0]), runs, tmp_path / "merged")
    assert contents(tmp_path / "merged" / "accepted.jsonl") == again


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["a"], "a merge takes two runs at least"),
        (["a", "nowhere"], "nowhere: holds no run"),
        (["a", "other"], "other: its dataset.fields are not those of"),
    ],
)
async def test_what_cannot_be_merged_is_told(
    given: list[str], said: str, endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    await made(endpoint, configs, tmp_path / "a", 1)
    url, _ = await endpoint()
    fields = {"path": str(configs.base), "description": "Sums.", "fields": {"text": "question"}}
    await run_in(tmp_path / "other", configs.load(url, dataset=fields))
    status, _, err = await finished(
        await datagen("merge", *(tmp_path / name for name in given), "-o", tmp_path / "merged")
    )
    assert status == 2
    assert said in err
    assert not (tmp_path / "merged").exists()


async def test_items_of_a_killed_run_are_all_merged(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    """Its files may be old or missing: run.db has what it made."""
    runs = [await made(endpoint, configs, tmp_path / str(seed), seed) for seed in (1, 2, 3)]
    old = (runs[0] / "accepted.jsonl").read_text().splitlines(keepends=True)
    (runs[0] / "accepted.jsonl").write_text("".join(old[:7]))
    (runs[2] / "accepted.jsonl").unlink()
    report = await merge(config_of(runs[0]), runs, tmp_path / "merged")
    assert report.data["items"]["generated"] == 120
    assert (runs[0] / "accepted.jsonl").read_text() == "".join(old)


async def test_copies_are_no_reason_to_ask_otherwise(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    """Of items that are there already."""
    runs = [await made(endpoint, configs, tmp_path / str(place), 1) for place in range(2)]
    report = await merge(config_of(runs[0]), runs, tmp_path / "merged")
    assert report.data["items"]["reasons"]["groupcheck"] == {"same_text": 40}
    assert "temperature" not in " ".join(outcome_lines(report, tmp_path / "merged"))


async def test_a_run_is_merged_once(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    run = await made(endpoint, configs, tmp_path / "1", 1)
    with pytest.raises(ConfigError, match="is given twice"):
        await merge(config_of(run), [run, tmp_path / "1" / ".." / "1"], tmp_path / "merged")

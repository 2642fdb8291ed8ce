"""Items as tasks for reinforcement learning, as each trainer reads them: a prompt, its verifier, its difficulty."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet
import pytest

from conftest import Configs, Start, datagen, finished, lines, run_in
from engine.simulator.content import code_tasks
from mapped_rows import config_of, mapped, problem, write_rows

QUICK = {"zygotes": 1, "cpu_s": 1}
pytestmark = pytest.mark.filterwarnings("ignore:.*the sandbox is at the level.*")


async def exported(folder: Path, form: str, place: Path) -> Path:
    code, _, err = await finished(await datagen("export", folder, "-f", form, "-o", place))
    assert code == 0, err
    return place


@pytest.fixture
async def answered(endpoint: Start, tmp_path: Path) -> Path:
    """Rows with an answer each, of four, that a check has found right."""
    url, _ = await endpoint(answer_accuracy=0.7)
    data = write_rows(tmp_path / "rows.jsonl", 40)
    spec = {"prompt": "{{ question }}", "columns": {"answer": "string"}, "samples": 4, "keep": "best"}
    checks = [{"agree": {"answers": 3, "agree": 2}}]
    await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec, validators=checks))
    return tmp_path / "run"


async def test_grpo_gets_prompts_and_what_rewards_need(answered: Path, tmp_path: Path) -> None:
    rows = lines(await exported(answered, "grpo", tmp_path / "grpo.jsonl"))
    items = lines(answered / "accepted.jsonl")
    assert len(rows) == len(items) > 20
    for row, item in zip(rows, items, strict=True):
        assert row["prompt"] == [{"role": "user", "content": item["question"]}]
        assert (row["answer"], row["verifier"]) == (item["answer"], "number")
        samples = item["_meta"]["samples"]
        assert row["difficulty"] == round(samples["passed"] / samples["of"], 4)
    assert len({row["difficulty"] for row in rows}) > 1
    assert (
        sum(row["answer"] == str(problem(item["id"]).answer) for row, item in zip(rows, items, strict=True))
        > 20
    )
    trl = pytest.importorskip("trl.data_utils", reason="TRL is not installed")
    assert all(trl.is_conversational(row) for row in rows)


async def test_verifiers_reads_prompt_answer_info_task(answered: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    place = await exported(answered, "verifiers", tmp_path / "verifiers.jsonl")
    loaded = datasets.load_dataset(
        "json", data_files=str(place), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert set(loaded.column_names) == {"prompt", "answer", "info", "task"}
    first = loaded[0]
    assert first["prompt"][0]["role"] == "user"
    assert isinstance(first["answer"], str)
    info = orjson.loads(first["info"])
    assert info["verifier"] == first["task"] == "number"
    assert 0 < info["difficulty"] <= 1


async def test_verl_reads_a_parquet_file_of_its_schema(answered: Path, tmp_path: Path) -> None:
    table = pyarrow.parquet.read_table(await exported(answered, "verl", tmp_path / "train.parquet"))
    assert table.column_names == ["data_source", "prompt", "ability", "reward_model", "extra_info"]
    row = table.slice(0, 1).to_pylist()[0]
    assert row["data_source"] == "train"
    assert row["ability"] == "math"
    assert set(row["reward_model"]) == {"style", "ground_truth"}
    assert row["reward_model"]["style"] == "rule"
    assert [set(message) for message in row["prompt"]] == [{"role", "content"}]
    assert [each["index"] for each in table["extra_info"].to_pylist()] == list(range(table.num_rows))


async def test_code_goes_with_its_tests(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, _ = await endpoint()
    base = tmp_path / "code.jsonl"
    tasks = [code_tasks.draw(random.Random(number)) for number in range(6)]
    base.write_bytes(
        b"".join(orjson.dumps({"task": t.text, "code": t.code, "tests": t.tests}) + b"\n" for t in tasks)
    )
    config = configs.load(
        url,
        dataset={"path": str(base), "fields": {"text": "task", "label": "code", "extras": ["tests"]}},
        generate={"target": 8, "batch_size": 4},
        validators=[{"tests": {"sandbox": QUICK}}],
    )
    assert (await run_in(tmp_path / "run", config)).outcome == "target"
    for row in lines(await exported(tmp_path / "run", "grpo", tmp_path / "grpo.jsonl")):
        assert (row["verifier"], row["language"]) == ("tests", "python")
        space: dict[str, Any] = {}
        exec(row["answer"], space)  # noqa: S102 - the simulator's own code
        exec(row["tests"], space)  # noqa: S102
    [row, *_] = pyarrow.parquet.read_table(
        await exported(tmp_path / "run", "verl", tmp_path / "v.parquet")
    ).to_pylist()
    assert row["ability"] == "code"
    assert "assert" in row["reward_model"]["ground_truth"]


async def test_what_is_no_task_is_refused(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint(answer_accuracy=0.5)
    data = write_rows(tmp_path / "rows.jsonl", 10)
    spec = {"prompt": "{{ question }}", "columns": {"answer": "string"}, "samples": 5, "keep": "pair"}
    await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec))
    code, _, err = await finished(
        await datagen("export", tmp_path / "run", "-f", "grpo", "-o", tmp_path / "x.jsonl")
    )
    assert code == 2
    assert "an answer that can be verified" in err

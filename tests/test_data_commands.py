"""`datagen metrics` and `datagen groupcheck`, as a user runs them, on real datasets where these are there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import PUBLISHED, Configs, Start, command, needs_published, run_in


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    rows: list[dict[str, Any]] = [
        {"question": f"How many legs have {n} horses?", "answer": str(4 * n)} for n in range(2, 30)
    ]
    rows += [{"question": "how many legs have 5 HORSES", "answer": "20"}]
    rows += [{"question": "What is the number of legs that 7 horses have?", "answer": "28"}]
    rows += [{"question": "", "answer": "0"}]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


def test_near_duplicates_of_a_file(data: Path, tmp_path: Path) -> None:
    status, out, err = command("groupcheck", data, "--threshold", "0.8", "-o", tmp_path / "kept.jsonl")
    assert status == 0, err
    assert "row 29 has the text of row 4" in out
    assert "row 30 says the same (similarity 0.9" in out
    assert "as row 6" in out
    assert "2 of 30 rows say the same as another (same: meaning+numbers, threshold 0.8)." in out
    kept = (tmp_path / "kept.jsonl").read_bytes().splitlines()
    assert len(kept) == 28
    assert "28 rows written" in err
    assert "row 31 is no item and is left out: field 'question' is empty" in out


def test_against_another_file_and_as_json(data: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.csv"
    base.write_text("question,answer\nHow many legs have 3 horses?,12\n")
    status, out, _ = command("groupcheck", data, "--against", base, "--same", "text", "--json")
    assert status == 0
    found = orjson.loads(out)
    assert found["duplicates"] == {"2": {"of": -2, "similarity": 1.0}, "29": {"of": 4, "similarity": 1.0}}


def test_measures_side_by_side(data: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.jsonl"
    half.write_bytes(b"\n".join(data.read_bytes().splitlines()[:14]))
    status, out, err = command("metrics", data, half, "--against", half, "--json")
    assert status == 0, err
    found = orjson.loads(out)
    whole = found["datasets"][str(data)]
    assert whole["items"] == 30
    assert 0 < whole["aps"] < 1
    assert whole["nearest_in_base"]["1"] == pytest.approx(1, abs=1e-2)
    assert whole["self_bleu"]["items"] == 30
    assert found["at_equal_size"]["items"] == 14
    status, out, _ = command("metrics", data, "--words-only")
    assert status == 0
    assert "self_bleu" in out
    assert "aps" not in out


async def test_a_run_is_a_dataset(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    import asyncio

    url, _ = await endpoint()
    await run_in(tmp_path / "run", configs.load(url, generate={"target": 15}))
    status, out, err = await asyncio.to_thread(command, "metrics", tmp_path / "run", "--words-only", "--json")
    assert status == 0, err
    assert orjson.loads(out)["datasets"][str(tmp_path / "run")]["items"] == 15


def test_a_threshold_as_json(data: Path) -> None:
    status, out, err = command("groupcheck", data, "--calibrate", "--json")
    assert status == 0, err
    found = orjson.loads(out)
    assert [each["same"] for each in found] == ["meaning", "meaning+numbers", "meaning+answer"]
    assert all(each["proposed"] in each["thresholds"] for each in found)
    assert max(found[1]["flagged"]["other numbers"]) == 0


@needs_published
def test_a_threshold_for_a_real_dataset(tmp_path: Path) -> None:
    some = tmp_path / "questions.csv"
    whole = (PUBLISHED / "truthfulqa" / "TruthfulQA.csv").read_text("utf-8")
    some.write_text("".join(whole.splitlines(keepends=True)[:200]), "utf-8")
    status, out, err = command("groupcheck", some, "--calibrate", "--text", "Question")
    assert status == 0, err
    assert out.count("Proposed: threshold") == 3
    assert "reworded" in out
    assert "another row" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["metrics", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["groupcheck", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["groupcheck", "{data}", "--same", "sound"], "--same sound: there is no such kind"),
        (["groupcheck", "{data}", "--threshold", "1.5"], "--threshold 1.5: must be above 0 and up to 1"),
        (["groupcheck", "{data}", "--same", "text", "--threshold", "0.9"], "a threshold has no use"),
        (["groupcheck", "{data}", "-o", "{data}"], "is one of the datasets that are read"),
        (["groupcheck", "{data}", "--text", "body"], "no usable row; field 'body' is missing"),
        (["metrics", "{data}", "--model", "/no/model"], "there is no folder /no/model"),
        (["metrics", "{odd}"], "which field is the text? Its fields are a, b"),
    ],
)
def test_mistakes(arguments: list[str], said: str, data: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.jsonl"
    odd.write_text('{"a": 1, "b": 2}\n')
    given = [argument.format(data=data, odd=odd) for argument in arguments]
    status, _, err = command(*given)
    assert status == 2
    assert said in err
    assert "Traceback" not in err


async def test_standard_input_is_a_dataset_too(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint()

    async def given(*arguments: str | Path, rows: bytes | None = None, status: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "engine.cli", *map(str, arguments),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate(configs.base.read_bytes() if rows is None else rows)
        assert process.returncode == status, out.decode()
        return out.decode()

    assert "12" in await given("metrics", "-", "--words-only")
    assert "0 of 12 rows say the same" in await given("groupcheck", "-", "--same", "text")
    folder = configs.folder / "checked"
    assert "12 of 12" in await given("audit", "-", configs.write(url), "-o", folder)
    [kept] = folder.glob("input-*.jsonl")
    assert kept.read_bytes() == configs.base.read_bytes()
    other = configs.base.read_bytes().splitlines(keepends=True)[0]
    assert "dataset.path" in await given("audit", "-", configs.write(url), "-o", folder, rows=other, status=2)
    assert "12 of 12" in await given("resume", folder)
    assert "can be read once" in await given(
        "evaluate", "-", "-", configs.write(url), "-o", configs.folder / "twice", status=2
    )
    assert "12 answers" in await given("evaluate", "-", configs.write(url), "-o", configs.folder / "out")

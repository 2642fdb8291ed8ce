"""Exports, read back by those who consume them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from conftest import lines
from engine.config import FieldsConfig
from engine.dataset.fields import Fields
from engine.dataset.forms import LabelStyle
from engine.errors import ConfigError
from engine.store.export import export

MC = Fields(
    FieldsConfig.model_validate({"text": "q", "choices": {"field": "choices"}, "label": {"field": "a"}}),
    LabelStyle("index", "integer"),
)
PLAIN = Fields(FieldsConfig.model_validate({"text": "q", "label": {"field": "a", "pattern": "#### (.+)"}}))
TEXTS = Fields(FieldsConfig())

ROWS: list[dict[str, Any]] = [
    {"q": 'Which "one", then?', "choices": ["red", "blue"], "a": 1, "_meta": {"id": "0-0"}},
    {"q": "Zwölf?\n=1+1", "choices": ["x", "y", "z"], "a": 0, "tags": ["t"], "_meta": {"id": "0-1"}},
]


def write(
    rows: Iterable[dict[str, Any]], form: str, path: Path, fields: Fields = MC, meta: bool = False
) -> int:
    rows = list(rows)
    return export(lambda: rows, form, path, fields, "Ask something.", meta=meta)


def without_meta(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "_meta"}


def test_jsonl_and_json(tmp_path: Path) -> None:
    assert write(ROWS, "jsonl", tmp_path / "x.jsonl") == 2
    assert lines(tmp_path / "x.jsonl") == list(map(without_meta, ROWS))
    write(ROWS, "json", tmp_path / "x.json", meta=True)
    assert json.loads((tmp_path / "x.json").read_text()) == ROWS
    assert write([], "json", tmp_path / "e.json") == 0
    assert json.loads((tmp_path / "e.json").read_text()) == []


def test_csv(tmp_path: Path) -> None:
    write(ROWS, "csv", tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["q"], json.loads(first["choices"]), first["a"], first["tags"]) == (
        ROWS[0]["q"],
        ["red", "blue"],
        "1",
        "",
    )
    assert (second["q"], json.loads(second["tags"])) == (ROWS[1]["q"], ["t"])


def test_parquet(tmp_path: Path) -> None:
    write(ROWS, "parquet", tmp_path / "x.parquet", meta=True)
    first, second = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert (first["choices"], first["a"], first["tags"]) == (["red", "blue"], 1, None)
    assert (second["tags"], json.loads(second["_meta"])) == (["t"], {"id": "0-1"})


def test_parquet_of_mixed_types_is_text(tmp_path: Path) -> None:
    write([{"q": "a", "a": 1}, {"q": "b", "a": "one"}], "parquet", tmp_path / "x.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet")["a"].to_pylist() == ["1", "one"]


def test_parquet_of_nothing_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no accepted item"):
        write([], "parquet", tmp_path / "x.parquet")
    assert not list(tmp_path.iterdir())


def test_alpaca(tmp_path: Path) -> None:
    write(ROWS, "alpaca", tmp_path / "x.json")
    first = json.loads((tmp_path / "x.json").read_text())[0]
    assert first == {"instruction": 'Which "one", then?\nA. red\nB. blue', "input": "", "output": "B. blue"}


def test_openai_follows_the_published_rules(tmp_path: Path) -> None:
    """One object a line with `messages`; roles known; the last turn the assistant's; contents not empty."""
    rows = [{"q": "How many?", "a": "#### 7"}, {"q": "And now?", "a": "#### 8"}]
    write(rows, "openai", tmp_path / "x.jsonl", PLAIN)
    for found in lines(tmp_path / "x.jsonl"):
        assert set(found) == {"messages"}
        assert [turn["role"] for turn in found["messages"]] == ["user", "assistant"]
        assert all(isinstance(turn["content"], str) and turn["content"] for turn in found["messages"])
        assert found["messages"][1]["content"] in ("7", "8")


def test_without_labels_the_description_asks(tmp_path: Path) -> None:
    write([{"text": "A text."}], "alpaca", tmp_path / "x.json", TEXTS)
    assert json.loads((tmp_path / "x.json").read_text())[0]["instruction"] == "Ask something."


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    write(ROWS, "jsonl", Path("-"))
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("form", "path", "said"),
    [
        ("xml", "x", "there is no such format; allowed: jsonl"),
        ("jsonl", "no/such/x", "there is no folder"),
        ("parquet", "-", "parquet is not text"),
    ],
)
def test_mistakes(form: str, path: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        write(ROWS, form, Path(path))

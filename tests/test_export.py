"""Exports, read back by those who consume them."""

from __future__ import annotations

import asyncio
import csv
import errno
import json
import os
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, command, lines, run_in
from engine.config import FieldsConfig
from engine.dataset.fields import Fields
from engine.dataset.labels import LabelStyle
from engine.diversity.measures.contamination import shared_runs
from engine.diversity.split import Groups, held_out, join_by_vectors
from engine.errors import ConfigError
from engine.exports.files import write_parquet
from engine.exports.formats import export, form_of
from engine.simulator.content import word_problems

MC = Fields(
    FieldsConfig.model_validate({"text": "q", "choices": {"field": "choices"}, "label": {"field": "a"}}),
    LabelStyle("from_0", "integer"),
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
    return export({"": lambda: rows}, form, path, fields, "Ask something.", meta=meta)


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


def test_parquet_of_mixed_types_is_json(tmp_path: Path) -> None:
    write([{"q": "a", "a": 1}, {"q": "b", "a": "one"}], "parquet", tmp_path / "x.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet")["a"].to_pylist() == ["1", '"one"']


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


# --- a run's items, mixed and cut in two -------------------------------------------------------------


async def made(configs: Configs, endpoint: Start, **sections: Any) -> Path:
    """A run of 60 items from a base of 40, in a folder."""
    url, _ = await endpoint(kind="word_problems", near_duplicates=0.5)
    chance = random.Random(1)
    problems = [word_problems.draw(chance) for _ in range(40)]
    rows = [{"question": each.text, "answer": str(each.answer)} for each in problems]
    configs.base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    given = {"generate": {"target": 60}, "validators": ["constraints", "code"], **sections}
    await run_in(configs.folder / "run", configs.load(url, **given))
    return configs.folder / "run"


async def exported(*arguments: str | Path) -> str:
    status, _, err = command("export", *arguments)
    assert status == 0, err
    return err


async def test_llama_factory_finds_what_is_exported_for_it(configs: Configs, endpoint: Start) -> None:
    """As LLaMA-Factory reads it: by dataset_info.json, and the columns and tags that stand there."""
    run = await made(configs, endpoint)
    out = configs.folder / "data"
    out.mkdir()
    (out / "dataset_info.json").write_text('{"other": {"file_name": "other.json"}}')
    await exported(run, "-f", "alpaca", "-o", out / "sums.json")
    await exported(run, "-f", "sharegpt", "-o", out / "talks.json", "--test", "0.2")
    info = json.loads((out / "dataset_info.json").read_text())
    assert list(info) == ["other", "sums", "talks-train", "talks-test"]
    assert info["other"] == {"file_name": "other.json"}
    items = {row["question"]: row["answer"] for row in lines(run / "accepted.jsonl")}
    columns = info["sums"]["columns"]
    rows = json.loads((out / info["sums"]["file_name"]).read_text())
    assert {row[columns["prompt"]]: row[columns["response"]] for row in rows} == items
    assert all(row[columns["query"]] == "" for row in rows)
    talks = {}
    for part in ("talks-train", "talks-test"):
        spec, tags = info[part], info[part]["tags"]
        assert spec["formatting"] == "sharegpt"
        for row in json.loads((out / spec["file_name"]).read_text()):
            user, assistant = row[spec["columns"]["messages"]]
            assert (user[tags["role_tag"]], assistant[tags["role_tag"]]) == (
                tags["user_tag"],
                tags["assistant_tag"],
            )
            talks[user[tags["content_tag"]]] = assistant[tags["content_tag"]]
    assert talks == items
    (out / "dataset_info.json").write_text("[]")
    status, _, err = command("export", run, "-f", "alpaca", "-o", out / "more.json")
    assert (status, "is no dataset_info.json" in err) == (2, True)


async def test_openai_takes_what_is_exported_for_it(configs: Configs, endpoint: Start) -> None:
    """The published rules of the fine-tuning chat format, with the types of the client itself."""
    from openai.types.chat import ChatCompletionAssistantMessageParam, ChatCompletionUserMessageParam
    from pydantic import TypeAdapter

    run = await made(configs, endpoint)
    await exported(run, "-f", "openai", "-o", configs.folder / "chat.jsonl")
    rows = lines(configs.folder / "chat.jsonl")
    assert len(rows) >= 10  # the fewest that it takes
    for row in rows:
        assert set(row) == {"messages"}
        user, assistant = row["messages"]
        TypeAdapter(ChatCompletionUserMessageParam).validate_python(user)
        TypeAdapter(ChatCompletionAssistantMessageParam).validate_python(assistant)
        assert user["content"].strip()
        assert assistant["content"].strip()


async def test_datasets_loads_the_folder_and_its_card(configs: Configs, endpoint: Start) -> None:
    run = await made(
        configs, endpoint, dataset={"licence": "MIT", "description": "Sums | <b>*of*</b> numbers."}
    )
    out = configs.folder / "hub"
    await exported(run, "-f", "hf", "-o", out, "--test", "0.25", "--originals", "0.25")
    script = (
        "import json, sys, datasets; found = datasets.load_dataset(sys.argv[1]);"
        "print(json.dumps({name: part.to_list() for name, part in found.items()}))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, out, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(configs.folder / "hf")},
    )  # fmt: skip
    said, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    found = json.loads(said)
    assert set(found) == {"train", "test"}
    rows = found["train"] + found["test"]
    assert len(rows) == 80
    assert 10 <= len(found["test"]) <= 20
    generated = {row["question"] for row in lines(run / "accepted.jsonl")}
    base = {row["question"] for row in lines(configs.base)}
    assert {row["question"] for row in rows} - base >= generated - base
    assert sum(row["question"] in base for row in rows) >= 20
    card = (out / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    settings = yaml.safe_load(front)
    assert settings["license"] == "mit"
    assert settings["size_categories"] == ["n<1K"]
    assert "Sums \\| \\<b\\>\\*of\\*\\</b\\> numbers." in text
    for said_of in (
        "20 of them are rows of the base",
        "| code |",
        "Labels were confirmed by programs",
        "cost",
    ):
        assert said_of in text
    await exported(run, "-f", "hf", "-o", out)  # an earlier export is replaced
    assert [path.name for path in (out / "data").iterdir()] == ["train-00000-of-00001.parquet"]
    status, _, err_ = command("export", run, "-f", "hf", "-o", run)
    assert (status, "is a file of the run itself" in err_) == (2, True)
    status, _, err_ = command("export", run, "-f", "hf", "-o", configs.folder)
    assert (status, "is not of an export" in err_) == (2, True)


async def test_no_near_duplicates_across_the_cut(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint)
    err = await exported(
        run, "-o", configs.folder / "x.jsonl", "--test", "0.3", "--originals", "0.2", "--meta"
    )
    train, test = (lines(configs.folder / f"x-{part}.jsonl") for part in ("train", "test"))
    assert f"{len(test)} of 75 rows are held out" in err
    assert len(train) + len(test) == 75
    assert sum("original" in row["_meta"] for row in train + test) == 15
    found, _ = shared_runs([row["question"] for row in test], [row["question"] for row in train])
    assert not any(found)
    await exported(run, "-o", configs.folder / "y.jsonl", "--test", "0.3", "--originals", "0.2", "--meta")
    assert lines(configs.folder / "y-test.jsonl") == test
    for wrong, said in (
        (["--test", "1"], "must be a share"),
        (["--originals", "0.9"], "is the most beside 60 items"),
        (["--test", "0.2", "--apart", "vectors"], "the run kept none"),
        (["--apart", "x"], "allowed: auto, vectors, words"),
        (["--test", "0.2", "-o", "-"], "two parts need two files"),
    ):
        status, _, err = command("export", run, "-o", configs.folder / "z.jsonl", *wrong)
        assert (status, said in err) == (2, True), err


@given(st.integers(1, 60), st.floats(0.05, 0.9), st.integers(0, 9), st.data())
def test_a_group_is_never_cut(count: int, share: float, seed: int, data: Any) -> None:
    groups = Groups(count)
    pairs = data.draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=80))
    for one, other in pairs:
        groups.join(one, other)
    members = groups.members()
    assert sorted(item for group in members for item in group) == list(range(count))
    held = held_out(members, share, seed)
    assert all((one in held) is (other in held) for one, other in pairs)
    assert len(held) <= round(share * count)
    if all(len(group) == 1 for group in members):
        assert len(held) == round(share * count)


def test_vectors_join_what_a_plain_search_finds() -> None:
    vectors = np.random.default_rng(3).standard_normal((300, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = np.nan
    groups = Groups(len(vectors))
    join_by_vectors(groups, vectors, 0.99)
    near = vectors @ vectors.T
    for one, other in np.argwhere(near >= 0.99 + 1e-5).tolist():
        assert groups.root(one) == groups.root(other)
    assert [7] in groups.members()
    assert len(groups.members()) > 20


async def test_a_folder_of_somebody_else_is_spared(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint)
    mine = configs.folder / "mine"
    (mine / "data").mkdir(parents=True)
    (mine / "README.md").write_text("# My own\n")
    status, _, err = command("export", run, "-f", "hf", "-o", mine)
    assert (status, "holds a README.md of somebody else's" in err) == (2, True)
    assert (mine / "README.md").read_text() == "# My own\n"
    before = configs.base.read_bytes()
    status, _, err = command("export", run, "-o", configs.base)
    assert (status, "is the base dataset" in err) == (2, True)
    named = configs.folder / "base-train.jsonl"
    configs.base.rename(named)
    named.rename(configs.base)
    assert configs.base.read_bytes() == before


def test_all_parts_have_the_same_columns(tmp_path: Path) -> None:
    train = [{"q": "a", "n": 1}, {"q": "b", "n": 2}]
    test = [{"q": "c", "n": "three", "more": ["x"]}]
    splits = {"train": lambda: train, "test": lambda: test}
    card = "---\ntags:\n- datagen\n---\n"
    assert export(splits, "hf", tmp_path / "hub", TEXTS, "", meta=False, card=card) == 3
    read = [pyarrow.parquet.read_table(path) for path in sorted((tmp_path / "hub" / "data").iterdir())]
    assert read[0].schema == read[1].schema
    assert read[0].to_pylist() == [{"q": "c", "n": '"three"', "more": ["x"]}]
    assert read[1].to_pylist()[0] == {"q": "a", "n": "1", "more": None}
    with pytest.raises(ConfigError, match="there is no accepted item"):
        export({"train": lambda: []}, "hf", tmp_path / "hub", TEXTS, "", meta=False, card=card)
    assert len(list((tmp_path / "hub" / "data").iterdir())) == 2  # what stood there stands


def test_the_format_is_that_of_the_ending(tmp_path: Path) -> None:
    from engine.exports.formats import parts

    assert parts(("",), "csv", tmp_path / "x.csv") == {"": tmp_path / "x.csv"}
    assert parts(("train", "test"), "csv", tmp_path / "x.csv")["test"] == tmp_path / "x-test.csv"


def test_nothing_is_written_where_it_cannot_be_named(tmp_path: Path) -> None:
    rows = [{"q": "a", "a": "#### 1"}]
    assert write(rows, "alpaca", tmp_path / "x.json", PLAIN) == 1
    with pytest.raises(ConfigError, match=r"calls x\.json 'x' already"):
        write(rows, "sharegpt", tmp_path / "x.jsn", PLAIN)
    assert not (tmp_path / "x.jsn").exists()


def test_a_table_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor can what was begun be removed, as on a read-only file system."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refused)
    monkeypatch.setattr("pyarrow.parquet.ParquetWriter", refused)
    with pytest.raises(ConfigError, match=r"-o .*x\.parquet: cannot be written: Read-only"):
        write_parquet(lambda: iter([{"a": 1}]), tmp_path / "x.parquet")


def test_an_ending_that_no_format_has_is_refused() -> None:
    known = {
        "a.jsonl": "jsonl",
        "a.NDJSON": "jsonl",
        "a.json": "json",
        "a.csv": "csv",
        "b.c/a.parquet": "parquet",
        "-": "jsonl",
        "s3://b/x.csv?region=us-east.1": "csv",
    }
    assert {name: form_of(name) for name in known} == known
    for wrong in ("a.xlsx", "a.jsonl.gz", "a.txt"):
        with pytest.raises(ConfigError, match=f"no format has the ending {Path(wrong).suffix}"):
            form_of(wrong)

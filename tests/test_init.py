"""`datagen init` on datasets as they are published: what it writes runs, audits, exports, and reads back the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

import published
from conftest import Start, datagen, finished, lines, run_in
from engine.analysis.first_config import config_text, looked
from engine.config import RunConfig
from engine.config.reading import ReadingConfig
from engine.dataset.base import BaseDataset
from engine.exports.formats import FORMS, export, misfit
from engine.items import Batch, Item
from engine.runs.api import audit
from engine.runs.modes import GenerateMode

Make = Callable[..., Path]
WHOLE = (
    "snli",
    "squad",
    "arc_challenge",
    "winogrande",
    "winogrande_jsonl",
    "alpaca",
    "ultrachat_200k",
    "ultrafeedback_binarized",
    "bfcl_simple",
    "go_emotions",
    "massive",
    "commonsense_qa_jsonl",
    "hh_rlhf",
    "kto",
    "sharegpt_tools",
    "tool_chat_hub",
)
"""Those that go the whole way; the others are read and written back alone."""
FIELDS = {
    "snli": {"text": ["premise", "hypothesis"], "label": "label"},
    "squad": {
        "text": ["context", "question"],
        "label": {"field": "answers.text", "in": "context", "start": "answers.answer_start"},
    },
    "arc_challenge": {
        "text": "question",
        "choices": {"field": "choices.text", "keys": "choices.label"},
        "label": "answerKey",
    },
    "winogrande": {"text": "sentence", "choices": {"columns": ["option1", "option2"]}, "label": "answer"},
    "alpaca": {"text": ["instruction", "input"], "label": "output"},
    "ultrachat_200k": {"messages": "messages"},
    "ultrafeedback_binarized": {
        "text": "prompt",
        "chosen": "chosen",
        "rejected": "rejected",
        "extras": ["score_chosen", "score_rejected"],
    },
    "bfcl_simple": {"messages": {"field": "question", "tools": "function", "last": "user"}},
    "go_emotions": {"text": "text", "label": "labels"},
    "kto": {"text": ["prompt", "completion"], "label": "label"},
    "hh_rlhf": {"chosen": "chosen", "rejected": "rejected"},
}


def begun(path: Path, folder: Path, url: str = "http://127.0.0.1:9") -> RunConfig:
    """The config that `init` writes for the file, as a run reads it; its model answers at `url`."""
    look = looked([str(path)], ReadingConfig())
    place = folder / "config.yaml"
    place.write_text(config_text(look, folder))
    model = {"name": "simulated-elsewhere", "base_url": url}
    return RunConfig.load(place, {"groupcheck": {"same": "text"}, "generate.target": 10, "model": model})


@pytest.mark.parametrize("name", FIELDS)
def test_fields_are_told(name: str, tmp_path: Path) -> None:
    look = looked([str(published.SAMPLES[name](tmp_path))], ReadingConfig())
    assert look.guess.fields == FIELDS[name]


@pytest.mark.parametrize("name", published.SAMPLES)
def test_what_is_read_is_written_the_same(name: str, tmp_path: Path) -> None:
    """Each row, through an example and a model's reply: every named column comes back with its types."""
    dataset = GenerateMode().load(begun(published.SAMPLES[name](tmp_path), tmp_path)).dataset
    rows = dict(dataset.numbered())
    fields = dataset.fields
    for example in dataset.examples:
        row = rows[example.number]
        assert isinstance(row, dict)
        item = Item(
            Batch(0, 1, 0, 0.0), 0, 1, example.text, example.label, example.choices, example.extras,
            example.parts, origin=row,
        )  # fmt: skip
        back = fields.write(item)
        starts = fields.config.label.start if fields.config.label is not None else None
        for column, value in back.items():
            if starts is not None and column == starts.split(".")[0]:
                assert value["text"] == row[column]["text"]  # an answer may stand at two places
            else:
                assert value == row[column], column
        again = fields.content(orjson.loads(orjson.dumps(fields.wire(example))))
        assert again == (example.text, example.label, example.choices, dict(example.extras), example.parts)


@pytest.mark.parametrize("name", WHOLE)
async def test_the_whole_way(name: str, tmp_path: Path, endpoint: Start) -> None:
    """init, run, audit, every fitting export; features as published, read by `datasets`."""
    path = published.SAMPLES[name](tmp_path)
    url, _ = await endpoint()
    config = begun(path, tmp_path, url)
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target", report.data["items"]
    audited = await audit(config, tmp_path / "audit")
    items = audited.data["items"]
    assert audited.outcome == "target"
    assert items["rejected_by"].keys() <= {"dataset", "constraints", "groupcheck"}
    original = {orjson.dumps(row) for _, row in BaseDataset.streamed(config.dataset).numbered()}
    for row in lines(tmp_path / "audit" / "accepted.jsonl"):
        del row["_meta"]
        assert orjson.dumps(row) in original  # all columns, as they were
    check_exports(name, tmp_path, path)


def check_exports(name: str, folder: Path, path: Path) -> None:
    import datasets

    from engine.store.folder import RunFolder

    datasets.disable_progress_bars()
    run = RunFolder(folder / "run")
    config = RunConfig.load(run.config, lenient=True)
    fields = run.form(config.dataset.fields)
    rows = lines(run.accepted)
    out = folder / "out"
    out.mkdir()
    for form in FORMS:
        if misfit(form, fields) is None:
            ending = "parquet" if form == "parquet" else "json"
            count = export({"": lambda: rows}, form, out / f"{form}.{ending}", fields, "Ask.", meta=False)
            assert count == 10
    kind = "parquet" if path.suffix == ".parquet" else "json"

    def read(kind: str, file: Path) -> Any:
        cache = str(folder / "cache")
        return datasets.load_dataset(kind, data_files=str(file), split="train", cache_dir=cache)

    exported = read("parquet", out / "parquet.parquet")
    assert exported.features == read(kind, path).features
    assert len(exported) == 10


async def test_it_says_what_it_found_and_writes_a_config_that_runs(tmp_path: Path) -> None:
    path = published.SAMPLES["winogrande"](tmp_path)
    code, out, err = await finished(await datagen("init", path, "-o", tmp_path / "c.yaml"))
    assert (code, out) == (0, ""), err
    assert "60 usable" in err
    assert "places counted from 1" in err
    config = yaml.safe_load((tmp_path / "c.yaml").read_text())
    assert config["dataset"]["fields"]["choices"] == {"columns": ["option1", "option2"]}
    assert config["model"] == "simulated"
    settings = ["--set", "groupcheck.same=text", "--set", "model.base_url=http://127.0.0.1:9"]
    code, out, err = await finished(await datagen("plan", tmp_path / "c.yaml", *settings[:2]))
    assert code == 0, err
    assert "places counted from 1" in out
    code, _, err = await finished(await datagen("init", path, "-o", tmp_path / "c.yaml"))
    assert (code, "is there already" in err) == (2, True)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the files are empty"),
        (b"<html><body>404</body></html>", "is a web page"),
        (b'"one"\n"two"\n', "no row can be read"),
    ],
)
async def test_what_is_no_dataset(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "d.jsonl").write_bytes(data)
    code, _, err = await finished(await datagen("init", tmp_path / "d.jsonl"))
    assert (code, said in err) == (2, True), err
    assert "Traceback" not in err


async def test_hostile_names_of_columns_stay_in_their_comment(tmp_path: Path) -> None:
    """A column's name can end no comment and open no key."""
    names = ["text", "a\nmodel: evil", "b: {x: [", "\x1b[31mred", "# c", "---"]
    rows = [
        dict.fromkeys(names, "Some words that say a thing.") | {"text": f"Row {n}, with words."}
        for n in range(9)
    ]
    (tmp_path / "d.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    code, _, err = await finished(await datagen("init", tmp_path / "d.jsonl", "-o", tmp_path / "c.yaml"))
    assert code == 0, err
    assert "\x1b" not in err
    config = yaml.safe_load((tmp_path / "c.yaml").read_text())
    assert config["model"] == "simulated"
    assert config["dataset"]["fields"]["text"] == "text"

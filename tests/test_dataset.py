"""Base datasets as people have them: formats, mappings, and every kind of bad row."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import DatasetConfig, FieldsConfig, LabelField, ReadingConfig
from engine.dataset.base import BaseDataset
from engine.dataset.fields import Fields
from engine.dataset.forms import FieldProblem
from engine.dataset.labels import LabelStyle
from engine.errors import ConfigError
from engine.files.rows import BadRow
from engine.files.source import source_of
from engine.items import Batch, Item

ROWS = [{"q": "What is one and one?", "a": "2"}, {"q": "What is zwölf and one?", "a": "13"}]
BATCH = Batch(0, 1, 0, 1.0)


def config(path: Path, **more: Any) -> DatasetConfig:
    given = {"path": path, "description": "d", "fields": {"text": "q", "label": {"field": "a"}}, **more}
    return DatasetConfig.model_validate(given)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    match path.suffix:
        case ".json":
            path.write_bytes(orjson.dumps(rows))
        case ".jsonl":
            path.write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
        case ".csv":
            text = io.StringIO()
            writer = csv.DictWriter(text, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
            path.write_text(text.getvalue())
        case ".parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "parquet"])
def test_every_format_reads_the_same(tmp_path: Path, ending: str) -> None:
    dataset = BaseDataset.load(config(write(tmp_path / f"d.{ending}", ROWS)))
    assert [(e.text, e.label) for e in dataset.examples] == [(r["q"], r["a"]) for r in ROWS]
    assert not dataset.bad


BAD_LINES = {
    b'{"a": "2"}': "missing_field",
    b'{"q": "What?"}': "missing_field",
    b'{"q": 3, "a": "2"}': "wrong_type",
    b'{"q": "What?", "a": ["2"]}': "wrong_type",
    b'["q"]': "wrong_type",
    b'{"q": "   ", "a": "2"}': "empty_text",
    b'{"q": "what  is ONE and one?", "a": "2"}': "duplicate",
    b'{"q": "' + b"x" * 10_000_000 + b'", "a": "2"}': "too_long",
    b'{"q": "\xff\xfe", "a": "2"}': "invalid_utf8",
    b'{"q": "What?"': "not_json",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items(), ids=BAD_LINES.values())
def test_a_bad_line_is_named_and_skipped_or_refused(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(orjson.dumps(ROWS[0]) + b"\n" + line + b"\n\n" + orjson.dumps(ROWS[1]) + b"\n")
    encoding = "utf-8" if reason == "invalid_utf8" else None
    dataset = BaseDataset.load(config(path, encoding=encoding))
    assert len(dataset.examples) == 2
    assert [(row.number, row.reason) for row in dataset.bad] == [(2, reason)]
    with pytest.raises(ConfigError, match="1 bad row: line 2: "):
        BaseDataset.load(config(path, encoding=encoding, bad_rows="refuse"))


def test_bad_csv_rows_are_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(b'q,a\n"two\nlines",1\nonly one\nfine,2\n\xff\xfe,3\nlast,4,5\n')
    source = source_of([str(path)], ReadingConfig(encoding="utf-8"))
    found = [(number, row.reason if isinstance(row, BadRow) else "ok") for number, row in source.rows()]
    assert found == [(2, "ok"), (4, "wrong_columns"), (5, "ok"), (6, "invalid_utf8"), (7, "wrong_columns")]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("d.md", b"x", "the ending tells no format"),
        ("d.json", b"{}", "no usable row; 1 bad row: element 1"),
        ("d.json", b"[", "is not JSON"),
        ("d.csv", b"", "is empty"),
        ("d.csv", b"q,q\n1,2\n", "two columns are named 'q'"),
        ("d.parquet", b"PAR1 no", "not a readable Parquet file"),
        ("d.jsonl", b"", "no usable row"),
        ("d.jsonl", b'{"x": 1}\n', "no usable row; 1 bad row: line 1"),
    ],
)
def test_a_file_that_is_no_dataset(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        BaseDataset.load(config(tmp_path / name))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        BaseDataset.load(config(tmp_path / "d.jsonl"))


def test_many_bad_rows_are_counted_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(orjson.dumps(ROWS[0]) + b"\n" + b"no\n" * 5000)
    dataset = BaseDataset.load(config(path))
    assert dataset.bad_counts["not_json"] == 5000
    assert len(dataset.bad) == 100
    assert "and 4997 more" in dataset.complaint()


@pytest.mark.parametrize(
    ("labels", "kind", "type"),
    [
        ([0, 2], "from_0", "integer"),
        (["0", "2"], "from_0", "string"),
        (["A", "c"], "letters", "string"),
        (["red", "blue"], "text", "string"),
    ],
)
def test_label_styles_of_choices_are_found_and_written_back(
    tmp_path: Path, labels: list[Any], kind: str, type: str
) -> None:
    rows = [
        {"q": f"Which colour {n}?", "choices": ["red", "green", "blue"], "a": label}
        for n, label in enumerate(labels)
    ]
    fields = {"text": "q", "choices": "choices", "label": "a"}
    dataset = BaseDataset.load(config(write(tmp_path / "d.jsonl", rows), fields=fields))
    assert (dataset.fields.style.kind, dataset.fields.style.type) == (kind, type)
    assert [e.label for e in dataset.examples] == ["A", "C"]
    item = Item(BATCH, 0, 1, *dataset.fields.content({"text": "t", "choices": ["x", "y", "z"], "label": "C"}))
    written = dataset.fields.write(item)
    expected = {"from_0": 2, "letters": "C", "text": "z"}[kind]
    assert written == {
        "q": "t",
        "choices": ["x", "y", "z"],
        "a": str(expected) if type == "string" else expected,
    }


def test_choices_in_columns_and_in_one_string(tmp_path: Path) -> None:
    row = {"q": "Which one?", "A": "red", "B": "blue", "a": "B", "all": "red; blue"}
    path = write(tmp_path / "d.jsonl", [row])
    for choices in ({"columns": ["A", "B"]}, {"field": "all", "separator": "; "}):
        fields = {"text": "q", "choices": choices, "label": "a"}
        dataset = BaseDataset.load(config(path, fields=fields))
        example = dataset.examples[0]
        assert (example.choices, example.label) == (("red", "blue"), "B")
        item = Item(BATCH, 0, 1, example.text, example.label, example.choices)
        assert dataset.fields.write(item).items() <= row.items()


def test_label_pattern_and_extras_round_trip(tmp_path: Path) -> None:
    row = {"q": "How many?", "a": "Think. #### 1,200", "tags": "x; y", "level": 3}
    fields = {
        "text": "q",
        "label": {"field": "a", "pattern": "#### (.+)", "write": "#### {label}"},
        "extras": {"tags": {"separator": "; "}, "level": {}},
    }
    dataset = BaseDataset.load(config(write(tmp_path / "d.jsonl", [row]), fields=fields))
    example = dataset.examples[0]
    assert example.label == "1,200"
    assert example.extras == {"tags": ["x", "y"], "level": 3}
    item = Item(BATCH, 0, 1, *dataset.fields.content(dataset.fields.wire(example)))
    assert dataset.fields.write(item) == {**row, "a": "#### 1,200"}


def test_extras_keep_the_type_that_all_rows_have(tmp_path: Path) -> None:
    rows = [
        {
            "q": f"Which {n}?",
            "a": "x",
            "n": n,
            "f": n / 2 if n % 2 else n,
            "b": n > 1,
            "l": ["t"],
            "mixed": "s" if n else 1,
        }
        for n in range(4)
    ]
    fields = {"text": "q", "label": "a", "extras": ["n", "f", "b", "l", "mixed"]}
    dataset = BaseDataset.load(config(write(tmp_path / "d.jsonl", rows), fields=fields))
    schema = dataset.fields.item_schema()["properties"]
    assert {name: schema[name]["type"] for name in "nfbl"} == {
        "n": "integer",
        "f": "number",
        "b": "boolean",
        "l": "array",
    }
    reply = {"text": "t", "label": "x", "n": "3", "f": 1.5, "b": "true", "l": [], "mixed": 7}
    assert dataset.fields.content(reply).extras == {"n": 3, "f": 1.5, "b": True, "l": [], "mixed": 7}
    for wrong in ({"n": "three"}, {"n": 1.5}, {"b": "yes"}, {"l": "t"}, {"f": None}):
        with pytest.raises(FieldProblem):
            dataset.fields.content({**reply, **wrong})


def test_unlabelled(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [{"text": "Just a text."}])
    dataset = BaseDataset.load(config(path, fields={}))
    assert dataset.examples[0].label is None
    assert "label" not in dataset.fields.item_schema()["properties"]


MC = Fields(
    FieldsConfig.model_validate({"choices": {"field": "choices"}, "label": {"field": "label"}}),
    LabelStyle("letters"),
)


@pytest.mark.parametrize("label", ["B", "b", "(B)", "B.", 1, "1", "two"])
def test_a_model_may_spell_the_right_choice_in_any_way(label: Any) -> None:
    assert MC.content({"text": "t", "choices": ["one", "two", "three"], "label": label}).label == "B"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"text": "t", "choices": ["one", "two"], "label": "E"}, "bad_label"),
        ({"text": "t", "choices": ["one", "two"]}, "no_label"),
        ({"text": "t", "choices": ["one", "one"], "label": "A"}, "bad_choices"),
        ({"text": "t", "choices": "one", "label": "A"}, "bad_choices"),
        ({"text": "", "choices": ["one", "two"], "label": "A"}, "empty_text"),
        ({"text": 3, "choices": ["one", "two"], "label": "A"}, "wrong_type"),
    ],
)
def test_a_reply_that_is_no_item_has_a_reason(reply: dict[str, Any], reason: str) -> None:
    with pytest.raises(FieldProblem) as caught:
        MC.content(reply)
    assert caught.value.reason == reason


TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)
"""A control character is none that a reply may hold; see tests/test_replies_of_models.py."""


@given(TEXTS.filter(lambda text: text.strip()), st.integers(-(10**9), 10**9))
def test_any_text_and_number_survive_the_round_trip(text: str, number: int) -> None:
    fields = Fields(FieldsConfig(text="q", label=LabelField(field="a")), LabelStyle("text", "integer"))
    example = fields.read(1, {"q": text, "a": number})
    item = Item(BATCH, 0, 1, *fields.content(fields.wire(example)))
    assert fields.write(item) == {"q": text.strip(), "a": number}

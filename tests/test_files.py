"""Files as people have them: every shape, packing, encoding and delimiter gives the same rows, or one sentence."""

from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
import io
import json
import lzma
import math
import zipfile
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.config import DatasetConfig, FieldsConfig
from engine.config.reading import CsvConfig, ReadingConfig
from engine.dataset.base import BaseDataset
from engine.dataset.survey import Surveying, converter
from engine.errors import ConfigError
from engine.exports.files import write_json, write_jsonl, write_parquet
from engine.files.rows import BadRow
from engine.files.source import source_of
from engine.schema.arrow import column_to, rows_from, type_from, type_to
from engine.schema.columns import GatheredText, schema_of
from engine.schema.types import Type, conforms, fits, merged, type_of
from engine.schema.values import dumps, loads

Rows = list[dict[str, Any]]
TWO: Rows = [{"a": "x, y", "b": "1"}, {"a": "zwölf", "b": "2"}]
LINES = b"".join(orjson.dumps(row) + b"\n" for row in TWO)
CSV = 'a,b\n"x, y",1\nzwölf,2\n'


def read(path: Path, **how: Any) -> Rows:
    """The good rows, as texts where the file has only texts."""
    return [row for _, row in source_of([str(path)], ReadingConfig(**how)).rows() if isinstance(row, dict)]


def bad(path: Path, **how: Any) -> list[tuple[int, str]]:
    rows = source_of([str(path)], ReadingConfig(**how)).rows()
    return [(number, row.reason) for number, row in rows if isinstance(row, BadRow)]


def put(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


# --- JSON ------------------------------------------------------------------------------------------

JSON_FILES: dict[str, tuple[str, bytes]] = {
    "lines": ("d.jsonl", LINES),
    "lines in .json": ("d.json", LINES),
    "array": ("d.json", orjson.dumps(TWO)),
    "array in .jsonl": ("d.jsonl", orjson.dumps(TWO)),
    "pretty array": ("d.json", orjson.dumps(TWO, option=orjson.OPT_INDENT_2)),
    "pretty values": ("d.jsonl", b"\n".join(orjson.dumps(r, option=orjson.OPT_INDENT_2) for r in TWO)),
    "values with commas": ("d.json", b",\n".join(orjson.dumps(r, option=orjson.OPT_INDENT_2) for r in TWO)),
    "wrapped": ("d.json", orjson.dumps({"version": 1, "data": TWO})),
    "wrapped further in": ("d.json", orjson.dumps({"meta": {"n": 2}, "result": {"rows": TWO}})),
    "columns and data": (
        "d.json",
        orjson.dumps({"columns": ["a", "b"], "data": [list(r.values()) for r in TWO]}),
    ),
    "byte order mark": ("d.jsonl", b"\xef\xbb\xbf" + LINES),
    "blank lines": ("d.jsonl", b"\n\n" + LINES.replace(b"\n", b"\n\n")),
    "CR LF": ("d.jsonl", LINES.replace(b"\n", b"\r\n")),
    "CR": ("d.jsonl", LINES.replace(b"\n", b"\r")),
    "no ending": ("data", LINES),
    "ndjson": ("d.ndjson", LINES),
    "UTF-16": ("d.jsonl", LINES.decode().encode("utf-16")),
    "UTF-32": ("d.json", json.dumps(TWO).encode("utf-32")),
}


@pytest.mark.parametrize(("name", "data"), JSON_FILES.values(), ids=JSON_FILES)
def test_json_in_every_shape(name: str, data: bytes, tmp_path: Path) -> None:
    assert read(put(tmp_path, name, data)) == TWO


def test_a_wrapper_with_two_lists_asks_which(tmp_path: Path) -> None:
    path = put(tmp_path, "d.json", orjson.dumps({"train": TWO, "test": TWO[:1]}))
    with pytest.raises(ConfigError, match=r"set dataset\.at to that of the rows: train, test"):
        read(path)
    assert read(path, at="test") == TWO[:1]
    with pytest.raises(ConfigError, match="there is no 'dev'; there is train, test"):
        read(path, at="dev")


def test_lists_within_lists_are_reached(tmp_path: Path) -> None:
    """As SQuAD was published: articles, paragraphs, questions."""
    data = {"data": [{"title": "t", "paragraphs": [{"context": "c", "qas": TWO}]}] * 2}
    assert read(put(tmp_path, "d.json", orjson.dumps(data)), at="data.paragraphs.qas") == TWO * 2


def test_one_conversation_in_a_json_file_is_a_row(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]}
    assert read(put(tmp_path, "d.json", orjson.dumps(row))) == [row]


def test_numbers_that_json_cannot_hold_and_large_ones_are_exact(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "d.jsonl",
        '{"n": NaN, "i": -Infinity, "b": 123456789012345678901234567890}\n{"b": 9007199254740993}\n',
    )
    first, second = read(path)
    assert math.isnan(first["n"])
    assert (first["i"], first["b"], second["b"]) == (
        -math.inf,
        123456789012345678901234567890,
        9007199254740993,
    )
    assert loads(dumps(first))["b"] == first["b"]


@pytest.mark.parametrize("size", [10, 300_000])
def test_a_large_array_is_read_in_a_stream(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.files.json_rows.WHOLE", 100)
    monkeypatch.setattr("engine.files.json_rows._PIECE", 64)
    rows = [{"n": n, "t": "ö" * (size if n == 3 else 5)} for n in range(20)]
    assert read(put(tmp_path, "d.json", json.dumps(rows, ensure_ascii=False)), max_row_bytes=10**7) == rows
    with pytest.raises(ConfigError, match="is not JSON after element"):
        read(put(tmp_path, "cut.json", json.dumps(rows)[:-20]))


# --- packing ---------------------------------------------------------------------------------------


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


PACKED = {
    "gz": ("d.jsonl.gz", gzip.compress(LINES[:20]) + gzip.compress(LINES[20:])),
    "bz2": ("d.jsonl.bz2", bz2.compress(LINES)),
    "xz": ("d.jsonl.xz", lzma.compress(LINES)),
    "zst": ("d.jsonl.zst", pyarrow.compress(LINES, codec="zstd", asbytes=True)),
    "zip": ("d.zip", zipped({"__MACOSX/._d.jsonl": b"x", "d.jsonl": LINES})),
    "gz without its ending": ("d.jsonl", gzip.compress(LINES)),
    "csv in gz": ("d.csv.gz", gzip.compress(CSV.encode())),
}


@pytest.mark.parametrize(("name", "data"), PACKED.values(), ids=PACKED)
def test_packed_files(name: str, data: bytes, tmp_path: Path) -> None:
    assert read(put(tmp_path, name, data)) == TWO


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("d.zip", zipped({"a.csv": b"a\n1", "b.csv": b"a\n2"}), r"holds 2 files \(a.csv, b.csv\)"),
        ("d.jsonl.gz", gzip.compress(LINES)[:-9], "cannot be read"),
        ("d.json", b"<!DOCTYPE html><html>", "is a web page"),
        ("d.jsonl", b"<?xml version='1.0'?><Error/>", "is XML"),
        ("d.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("d.parquet", CSV.encode(), "no readable parquet file"),
        ("d.xlsx", CSV.encode(), "no readable xlsx file"),
        ("d.pkl", b"\x80\x04K\x01.", "the ending tells no format"),
        ("d.json", b"[[1], [2]]", "its rows are lists"),
        ("d.json", b'[{"a": 1},]', "line 1: is not JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # what is packed has its time in it
)
def test_what_is_no_dataset_says_why(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        read(put(tmp_path, name, data))


# --- encodings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "gb18030", "shift_jis"])
def test_an_encoding_is_named_and_then_read(encoding: str, tmp_path: Path) -> None:
    word = "表示" if encoding in ("gb18030", "shift_jis") else "zwölf"
    data = CSV.replace("zwölf", word).encode(encoding)
    path = put(tmp_path, "d.csv", data)
    if encoding != "utf-16":  # which has a byte order mark
        with pytest.raises(ConfigError, match=r"d\.csv line 3: is not UTF-8.*Set dataset\.encoding"):
            read(path)
    assert read(path, encoding=encoding)[1]["a"] == word


def test_with_utf_8_named_other_lines_are_bad_rows(tmp_path: Path) -> None:
    path = put(tmp_path, "d.jsonl", LINES + b'{"a": "\xff"}\n' + LINES)
    with pytest.raises(ConfigError, match="line 3: is not UTF-8"):
        read(path)
    assert (len(read(path, encoding="utf-8")), bad(path, encoding="utf-8")) == (4, [(3, "invalid_utf8")])


def test_a_wrong_encoding_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 3: is not shift_jis"):
        read(put(tmp_path, "d.csv", "a,b\nx,1\nzw\u00f6lf,2\n".encode("latin-1")), encoding="shift_jis")


# --- delimited text --------------------------------------------------------------------------------

DELIMITED = {
    "comma": CSV,
    "semicolon": "a;b\nx, y;1\nzwölf;2\n",
    "tab": "a\tb\nx, y\t1\nzwölf\t2\n",
    "pipe": "a|b\nx, y|1\nzwölf|2\n",
    "Excel's first line": "sep=;\na;b\nx, y;1\nzwölf;2\n",
    "blanks in the header": ' a ,b \n"x, y",1\nzwölf,2\n',
    "single quotes": "a,b\n'x, y',1\n'zwölf','2'\n",
    "blank before a quote": 'a, b\n"x, y", "1"\n"zwölf", "2"\n',
    "CR LF": CSV.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("data", DELIMITED.values(), ids=DELIMITED)
def test_the_delimiter_is_found(data: str, tmp_path: Path) -> None:
    assert read(put(tmp_path, "d.csv", data)) == TWO


def test_quoted_line_breaks_and_delimiters(tmp_path: Path) -> None:
    rows = [["text", "n"], *([f'a {n}; b,\nc; "d"', str(n)] for n in range(30))]
    text = io.StringIO()
    import csv

    csv.writer(text, delimiter=";").writerows(rows)
    assert [list(row.values()) for row in read(put(tmp_path, "d.csv", text.getvalue()))] == rows[1:]


def test_quotes_in_a_tsv_may_be_characters(tmp_path: Path) -> None:
    path = put(tmp_path, "d.tsv", 'id\ttext\n1\t"abc\n2\the said "no\n3\tlast\n')
    assert [row["text"] for row in read(path)] == ['"abc', 'he said "no', "last"]


def test_escaped_quotes(tmp_path: Path) -> None:
    path = put(tmp_path, "d.csv", 'a,b\n"say \\"hi\\", do",1\n"x",2\n')
    assert read(path)[0] == {"a": 'say "hi", do', "b": "1"}


def test_a_quote_that_is_never_closed_is_named(tmp_path: Path) -> None:
    quoted = "".join(f'"x, {n}",{n}\n' for n in range(20))
    with pytest.raises(ConfigError, match="line 22: a quote is opened and never closed"):
        read(put(tmp_path, "d.csv", f'a,b\n{quoted}"y,2\nz,3\n'))


def test_a_header_that_is_none_asks(tmp_path: Path) -> None:
    path = put(tmp_path, "d.csv", "good film,5\nbad film,1\n")
    with pytest.raises(ConfigError, match=r"'5' does not look like a column's name.*dataset\.csv\.header"):
        read(path)
    assert read(path, csv=CsvConfig(header=False))[0] == {"column_1": "good film", "column_2": "5"}
    assert read(path, csv=CsvConfig(header=("text", "stars")))[1] == {"text": "bad film", "stars": "1"}
    assert read(path, csv=CsvConfig(header=True)) == [{"good film": "bad film", "5": "1"}]


def test_a_text_a_line(tmp_path: Path) -> None:
    source = source_of([str(put(tmp_path, "d.txt", "One, two.\nThree; four\n\nFive\n"))], ReadingConfig())
    assert [row for _, row in source.rows()] == [{"text": t} for t in ("One, two.", "Three; four", "Five")]
    assert "a text a line" in source.notes[0]


def test_what_was_assumed_is_said_and_can_be_overridden(tmp_path: Path) -> None:
    path = put(tmp_path, "d.csv", "a;b\nx;1\ny;2\n")
    assert "semicolon-delimited" in source_of([str(path)], ReadingConfig()).notes[0]
    assert read(path, csv=CsvConfig(delimiter="comma"))[0] == {"a;b": "x;1"}


def test_numbers_of_a_csv_are_numbers_only_where_they_come_back_the_same(tmp_path: Path) -> None:
    data = "zip,n,f,price,big,mixed\n01010,1,1.5,3.50,99999999999999999999,1\n02134,2,2.25,4,1,x\n,,,,,\n"
    path = put(tmp_path, "d.csv", data)
    how = DatasetConfig(path=(str(path),), description="d", fields=FieldsConfig(text="zip"))
    source = source_of([str(path)], how)
    surveying = Surveying(source, how)
    for _, row in source.rows():
        surveying.add(row)
    schema = surveying.schema()
    kinds = {name: column.type.name for name, column in schema.columns.items()}
    assert kinds == {
        "zip": "string",
        "n": "int64",
        "f": "double",
        "price": "string",
        "big": "string",
        "mixed": "string",
    }
    convert = converter(source, schema)
    rows = [convert(row) for _, row in source.rows() if isinstance(row, dict)]
    assert rows[0] | {"big": 0} == {"zip": "01010", "n": 1, "f": 1.5, "price": "3.50", "big": 0, "mixed": "1"}
    assert (rows[2]["n"], rows[2]["zip"]) == (None, "")


# --- tables, folders, several files ----------------------------------------------------------------


def test_arrow_files_and_streams(tmp_path: Path) -> None:
    table = pyarrow.Table.from_pylist(TWO)
    pyarrow.feather.write_feather(table, tmp_path / "d.feather")
    with pyarrow.ipc.new_stream(str(tmp_path / "d.arrow"), table.schema) as stream:
        stream.write_table(table)
    assert read(tmp_path / "d.feather") == read(tmp_path / "d.arrow") == TWO


def test_a_workbook(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["text", "n", "day"])
    book.active.append(["zwölf", 12, datetime.date(2024, 1, 31)])
    book.active.append([None, None, None])
    book.create_sheet("other").append(["x"])
    book["other"].append(["y"])
    book.save(tmp_path / "d.xlsx")
    source = source_of([str(tmp_path / "d.xlsx")], ReadingConfig())
    assert [row for _, row in source.rows()] == [{"text": "zwölf", "n": 12, "day": "2024-01-31"}]
    assert "others are other" in source.notes[0]
    assert read(tmp_path / "d.xlsx", at="other") == [{"x": "y"}]


def test_several_files_go_on_counting_and_name_their_own_line(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        put(
            tmp_path,
            f"part-{number}.jsonl",
            LINES.replace(b"x, y", str(number).encode()) + (b"no\n" if number == 2 else b""),
        )
    source = source_of([str(tmp_path / "part-*.jsonl")], ReadingConfig())
    rows = list(source.rows())
    assert [row["a"] for _, row in rows if isinstance(row, dict)] == [
        "1",
        "zwölf",
        "2",
        "zwölf",
        "10",
        "zwölf",
    ]
    assert len({number for number, _ in rows}) == 7
    [(number, _)] = [(number, row) for number, row in rows if isinstance(row, BadRow)]
    assert source.where(number) == "part-2.jsonl line 3"
    with pytest.raises(ConfigError, match="no file matches"):
        read(tmp_path / "none-*.jsonl")


def test_a_repository_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for split, rows in (("train", TWO), ("test", TWO[:1])):
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(rows), tmp_path / "data" / f"{split}-00000-of-00001.parquet"
        )
    assert read(tmp_path) == TWO
    assert read(tmp_path, split="test") == TWO[:1]
    with pytest.raises(ConfigError, match="there is no 'dev'; there are"):
        read(tmp_path, split="dev")
    parts = [
        {"config_name": name, "data_files": f"data/{split}*"} for name, split in (("en", "t"), ("de", "test"))
    ]
    put(tmp_path, "README.md", f"---\n{yaml.safe_dump({'configs': parts})}---\n# A set\n")
    with pytest.raises(ConfigError, match=r"set dataset\.subset to one of en, de"):
        read(tmp_path)
    assert read(tmp_path, subset="de") == TWO[:1]


def test_a_card_reaches_nothing_outside_its_folder(tmp_path: Path) -> None:
    put(tmp_path, "secret.jsonl", LINES)
    inside = tmp_path / "repo"
    inside.mkdir()
    for pattern in ("../secret.jsonl", "/etc/passwd"):
        put(inside, "README.md", f"---\nconfigs:\n- config_name: default\n  data_files: {pattern}\n---\n")
        with pytest.raises(ConfigError, match="there is no such file"):
            read(inside)


def test_what_save_to_disk_writes(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    whole = datasets.Dataset.from_list(TWO)
    whole.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": whole, "test": whole.select([0])}).save_to_disk(str(tmp_path / "dict"))
    assert read(tmp_path / "one") == read(tmp_path / "dict") == TWO
    assert read(tmp_path / "dict", split="test") == TWO[:1]


def test_rows_are_read_again_one_by_one(tmp_path: Path) -> None:
    """A base dataset of any size is not held in memory: each example is read where it lies."""
    rows = [{"text": f"{n} {'ö' * (n % 7)}", "label": str(n)} for n in range(200)]
    fields = FieldsConfig.model_validate({"text": "text", "label": "label"})
    for name, data in (
        ("d.jsonl", b"\n" + b"".join(orjson.dumps(row) + b"\n" for row in rows)),
        ("d.json", orjson.dumps(rows)),
        ("d.jsonl.gz", gzip.compress(b"".join(orjson.dumps(row) + b"\n" for row in rows))),
    ):
        path = put(tmp_path, name, data)
        dataset = BaseDataset.load(DatasetConfig(path=(str(path),), description="d", fields=fields))
        assert [example.label for example in dataset.examples] == [row["label"] for row in rows]
        assert dataset.examples[-1].text == rows[-1]["text"].strip()
        assert dataset.examples[5:7][1].label == "6"
    put(tmp_path, "d.jsonl", b"{\n" * 2000)
    dataset = BaseDataset.load(DatasetConfig(path=(str(path),), description="d", fields=fields))


# --- types -----------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), JSON, min_size=1, max_size=3), min_size=1, max_size=6)


@given(st.lists(JSON, min_size=1, max_size=4))
def test_what_is_merged_holds_each(values: list[Any]) -> None:
    whole = type_of(values[0])
    for value in values[1:]:
        whole = merged(whole, type_of(value))
    for value in values:
        assert fits(value, whole)
        assert not conforms(value, whole) or merged(whole, type_of(value)) == whole


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([{"a": {"00": {}, "0": [None, None]}}])
@example([{"a": [[], [None]]}, {"b": None}])
@example([{"a": [2**53 + 1, 0.5]}])
@example([{"a": 2**53 + 1}, {"a": 0.5}, {"a": 1}])
@example([{"a": {"b": 0.5}}, {"a": {"b": 1}}, {"a": {"b": -(2**53) - 1}}])
@given(ROWS)
def test_read_write_read_is_the_same(tmp_path: Path, rows: Rows) -> None:
    """Any row, any shape, types included: as JSON lines, as JSON, as Parquet."""
    for name, write in (("d.jsonl", write_jsonl), ("d.json", write_json)):
        write(lambda: rows, tmp_path / name)
        assert read(tmp_path / name) == rows
    schema = schema_of(rows)
    write_parquet(lambda: rows, tmp_path / "d.parquet", schema=schema)
    back = read(tmp_path / "d.parquet")
    assert [{name: row[name] for name in row if row[name] is not None} for row in back] == [
        {name: value for name, value in row.items() if value is not None} for row in rows
    ]


ARROW = {
    "date": pyarrow.array([datetime.date(2020, 1, 2), None]),
    "nanoseconds": pyarrow.array([1234567890123456789, None], pyarrow.timestamp("ns")),
    "zone": pyarrow.array([1234567890123456, None], pyarrow.timestamp("us", "Europe/Berlin")),
    "time": pyarrow.array([datetime.time(1, 2, 3, 4), None]),
    "decimal": pyarrow.array([decimal.Decimal("1.50"), None], pyarrow.decimal128(10, 2)),
    "bytes": pyarrow.array([b"\xff\x00", None]),
    "dictionary": pyarrow.array(["a", None]).dictionary_encode(),
    "half": pyarrow.array([1.5, None], pyarrow.float16()),
    "single": pyarrow.array([0.1, None], pyarrow.float32()),
    "large": pyarrow.array([2**64 - 1, None], pyarrow.uint64()),
    "duration": pyarrow.array([datetime.timedelta(seconds=3), None]),
    "objects": pyarrow.array([[{"x": 1, "d": datetime.date(2021, 1, 1)}], None]),
    "map": pyarrow.array([[("a", 1)], None], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
    "byte lists": pyarrow.array([[b"\xff"], None]),
    "json": pyarrow.ExtensionArray.from_storage(
        pyarrow.json_(pyarrow.string()), pyarrow.array(['{"a":[1,null]}', None])
    ),
}


@pytest.mark.parametrize(
    ("cells", "type"),
    [
        (("1", "0.5"), "double"),
        (("9007199254740993", "1"), "int64"),
        (("9007199254740993", "0.5"), "string"),
        (("0.5", "9007199254740993"), "string"),
        (("18446744073709551615", "1"), "string"),
        (("1", ""), "int64"),
    ],
)
def test_cells_keep_every_digit(cells: tuple[str, ...], type: str) -> None:
    gathered = GatheredText()
    for cell in cells:
        gathered.add({"a": cell})
    assert str(gathered.schema().columns["a"].type) == type


@pytest.mark.parametrize("column", ARROW.values(), ids=ARROW)
def test_arrow_types_come_back_exactly(column: Any) -> None:
    batch = pyarrow.RecordBatch.from_arrays([column], ["c"])
    rows = [loads(dumps(row)) for row in rows_from(batch)]
    assert column_to([row["c"] for row in rows], column.type).equals(column)
    known = type_from(column.type)
    assert fits(rows[0]["c"], known)
    assert Type.from_json(known.as_json()) == known
    type_to(known)


@pytest.mark.parametrize(
    ("value", "type"),
    [
        ("2024-13-01", "date32[day]"),
        ("x", "decimal128(5, 2)"),
        ("!", "binary"),
        (300, "int8"),
        (-1, "uint8"),
        (1.5, "int64"),
    ],
)
def test_what_a_type_cannot_hold(value: Any, type: str) -> None:
    assert not fits(value, Type(type))


def test_declared_columns(tmp_path: Path) -> None:
    path = put(tmp_path, "d.jsonl", b'{"t": "a", "s": 3}\n{"t": "b", "s": null}\n')
    columns = {"s": {"type": "int32", "range": [1, 5], "description": "grade"}, "new": ["string"]}
    config = DatasetConfig.model_validate(
        {"path": str(path), "description": "d", "fields": {"text": "t", "extras": ["s"]}, "columns": columns}
    )
    fields = BaseDataset.load(config).fields
    shown = fields.item_schema()["properties"]["s"]
    assert shown == {"type": "integer", "minimum": 1, "maximum": 5, "description": "grade"}
    assert fields.schema.column("new").type == Type("list", Type("string"))
    with pytest.raises(Exception, match="is above 5"):
        fields.content({"text": "c", "s": 7})
    with pytest.raises(ValueError, match="is no type that Arrow knows"):
        DatasetConfig.model_validate({"description": "d", "columns": {"s": "int7"}})

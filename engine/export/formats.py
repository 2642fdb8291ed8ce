"""Accepted items in the formats that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.dataset.fields import Fields
from engine.dataset.forms import LETTERS, Example, FieldProblem
from engine.errors import ConfigError
from engine.export.files import RowSource, write_csv, write_json, write_jsonl, write_parquet
from engine.export.hugging_face import write_folder
from engine.export.llama_factory import entries, register
from engine.protocols import Row

Splits = Mapping[str, RowSource]
"""The rows of each part by its name (`train`, `test`); an undivided dataset has the name ''."""
Shape = Callable[[Row, Fields, str], Row]


@dataclass(frozen=True)
class Form:
    """How a row is shaped, and how rows become a file."""

    write: Callable[[RowSource, Path], int]
    shape: Shape | None = None
    formatting: str = ""
    """LLaMA-Factory's name for the format, if it reads it."""


def export(
    splits: Splits,
    form: str,
    path: Path,
    fields: Fields,
    description: str,
    *,
    meta: bool,
    card: str = "",
    raw_csv: bool = False,
) -> int:
    """Writes rows as `form` to a path ('-': standard output); their number. Raises ConfigError or StoreError.

    Several parts become several files: `data-train.jsonl`, `data-test.jsonl` for `data.jsonl`. In a Hugging
    Face folder, whose README is `card`, they become its splits. `raw_csv` leaves formulas in a CSV file as they are.
    """
    if form not in (*FORMS, HUB):
        raise ConfigError(f"-f {form}: there is no such format; allowed: {', '.join([*FORMS, HUB])}")
    if form == HUB:
        return write_folder({name: _plain(rows, meta) for name, rows in splits.items()}, path, card)
    shape, count = FORMS[form], 0
    shaped = {
        name: _shaped(shape.shape, _plain(rows, meta), fields, description) for name, rows in splits.items()
    }
    places = parts(splits, form, path)
    for part in places.values() if shape.formatting else ():
        entries(part)
    for name, part in places.items():
        write = partial(write_csv, raw=raw_csv) if form == "csv" else shape.write
        count += write(shaped[name], part)
        if shape.formatting:
            register(part, shape.formatting)
    return count


def form_of(path: Path) -> str:
    """The format by the path's suffix; JSON lines for any other suffix."""
    return {".json": "json", ".csv": "csv", ".parquet": "parquet"}.get(path.suffix.lower(), "jsonl")


def parts(splits: Collection[str], form: str, path: Path) -> dict[str, Path]:
    """The path of each part. Raises ConfigError where two parts would go to standard output."""
    if form == HUB or not any(splits):
        return dict.fromkeys(splits, path)
    if str(path) == "-":
        raise ConfigError("-o -: two parts need two files; give a path")
    return {name: path.with_name(f"{path.stem}-{name}{path.suffix}") for name in splits}


def _plain(rows: RowSource, meta: bool) -> RowSource:
    def wanted() -> Iterator[Row]:
        for row in rows():
            yield row if meta else {name: value for name, value in row.items() if name != "_meta"}

    return wanted


def _shaped(shape: Shape | None, rows: RowSource, fields: Fields, description: str) -> RowSource:
    def wanted() -> Iterator[Row]:
        for row in rows():
            yield row if shape is None else _with_meta(shape(row, fields, description), row)

    return wanted


def _with_meta(shaped: Row, row: Row) -> Row:
    return {**shaped, "_meta": row["_meta"]} if "_meta" in row else shaped


# --- shapes ----------------------------------------------------------------------------------------


def _alpaca(row: Row, fields: Fields, description: str) -> Row:
    question, answer = _pair(row, fields, description)
    return {"instruction": question, "input": "", "output": answer}


def _openai(row: Row, fields: Fields, description: str) -> Row:
    question, answer = _pair(row, fields, description)
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def _sharegpt(row: Row, fields: Fields, description: str) -> Row:
    question, answer = _pair(row, fields, description)
    return {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}


def _pair(row: Row, fields: Fields, description: str) -> tuple[str, str]:
    """The question and the answer. Without a label, they are the description and the text."""
    try:
        example = fields.read(0, row)
    except FieldProblem as problem:
        raise ConfigError(f"item {row.get('_meta', {}).get('id', '?')}: {problem}") from None
    if example.label is None:
        return description, example.text
    return _question(example), _answer(example)


def _question(example: Example) -> str:
    choices = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, example.choices, strict=False)]
    return "\n".join([example.text, *choices])


def _answer(example: Example) -> str:
    label = example.label or ""
    return f"{label}. {example.choices[LETTERS.index(label)]}" if example.choices else label


HUB = "hf"
FORMS: Mapping[str, Form] = {
    "jsonl": Form(write_jsonl),
    "json": Form(write_json),
    "csv": Form(write_csv),
    "parquet": Form(write_parquet),
    "alpaca": Form(write_json, _alpaca, "alpaca"),
    "sharegpt": Form(write_json, _sharegpt, "sharegpt"),
    "openai": Form(write_jsonl, _openai),
}

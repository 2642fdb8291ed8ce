"""Accepted items in the formats that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.config.paths import name_of
from engine.dataset.fields import Fields
from engine.errors import ConfigError
from engine.exports import shapes
from engine.exports.axolotl import write_config
from engine.exports.files import RowSource, write_csv, write_json, write_jsonl, write_parquet
from engine.exports.hugging_face import write_folder
from engine.exports.llama_factory import entries, register
from engine.exports.training import Kind, Training, is_empty, kind_of, training_of
from engine.protocols import Row

Splits = Mapping[str, RowSource]
"""The rows of each part by its name (`train`, `test`); an undivided dataset has the name ''."""
Shape = Callable[[Training], Row]


@dataclass(frozen=True)
class Form:
    """How a row is shaped, and how rows become a file."""

    write: Callable[[RowSource, Path], int]
    reader: str
    """Who reads it."""
    shape: Shape | None = None
    kinds: frozenset[Kind] = frozenset()
    """Of which items it can be made; of all where empty."""
    llama_factory: str = ""
    """Its name in LLaMA-Factory's dataset_info.json, if it is read there."""
    axolotl: str = ""
    """Its name in the settings that are written for Axolotl, if it is read there."""
    calls: bool = True
    """Whether it has a place for calls of tools."""


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
    pairs: Callable[[], Iterable[Training]] | None = None,
) -> int:
    """Writes rows as `form` to a path ('-': standard output); their number. Raises ConfigError or StoreError.

    Several parts become several files: `data-train.jsonl`, `data-test.jsonl` for `data.jsonl`. In a Hugging
    Face folder, whose README is `card`, they become its splits. `raw_csv` leaves formulas in a CSV file as they are.
    `pairs` are what a preference format is made of where the items are no pairs themselves.
    """
    if form not in (*FORMS, HUB):
        raise ConfigError(
            f"-f {form}: there is no such format; allowed: {', '.join([*FORMS, HUB])}; grpo, verifiers, verl; of "
            "items made from documents also beir, ragas, trec"
        )
    if pairs is not None and (shape := FORMS[form].shape) is not None:
        return _written(form, {"": partial(_made, shape, pairs)}, path, fields, raw_csv)
    if (why := misfit(form, fields)) is not None:
        raise ConfigError(f"-f {form}: {why}; see which fit: datagen export RUN_DIR")
    if form == HUB:
        return write_folder(
            {name: _plain(rows, meta) for name, rows in splits.items()}, path, card, fields.schema
        )
    shape = FORMS[form].shape
    shaped = {name: _shaped(shape, _plain(rows, meta), fields, description) for name, rows in splits.items()}
    return _written(form, shaped, path, fields, raw_csv)


def _made(shape: Shape, pairs: Callable[[], Iterable[Training]]) -> Iterator[Row]:
    return map(shape, pairs())


def _written(form: str, shaped: Splits, path: Path, fields: Fields, raw_csv: bool) -> int:
    """Writes each part, and what the reader of the format looks for beside it."""
    places, spec, count = parts(shaped, form, path), FORMS[form], 0
    for part in places.values() if spec.llama_factory else ():
        entries(part)
    for name, part in places.items():
        count += _writer(form, fields, raw_csv)(shaped[name], part)
        if spec.llama_factory:
            register(part, spec.llama_factory)
        if spec.axolotl:
            write_config(part, spec.axolotl)
    return count


def _writer(form: str, fields: Fields, raw_csv: bool) -> Callable[[RowSource, Path], int]:
    if form == "csv":
        return partial(write_csv, raw=raw_csv)
    if form == "parquet":
        return partial(write_parquet, schema=fields.schema)
    return FORMS[form].write


def takes_pairs(form: str, fields: Fields) -> bool:
    """Whether a format is of preferences and the items are none, so that pairs are made of what a run knows."""
    return form in FORMS and FORMS[form].kinds == _PREFERENCE and kind_of(fields) != "preference"


def misfit(form: str, fields: Fields) -> str | None:
    """Why items of this dataset cannot be written as `form`; None where they can."""
    kinds = FORMS[form].kinds if form in FORMS else frozenset()
    kind = kind_of(fields)
    if not kinds:
        return None
    if kind in kinds:
        messages = fields.config.messages
        called = messages is not None and messages.tools is not None
        return "has no place for calls of tools" if called and not FORMS[form].calls else None
    return f"needs {' or '.join(_WORDS[each] for each in _WORDS if each in kinds)}; these are {_WORDS[kind]}"


_WORDS: Mapping[Kind, str] = {
    "answer": "texts with answers",
    "conversation": "conversations that end with the assistant",
    "prompt": "prompts without an answer",
    "preference": "pairs of a better and a worse answer (chosen, rejected)",
    "judged": "completions judged by true or false",
}


def form_of(place: str) -> str:
    """The format by the suffix of a path or an address. Raises ConfigError for one that no format has.

    `-` is JSON lines.
    """
    known = {
        "": "jsonl",
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".json": "json",
        ".csv": "csv",
        ".parquet": "parquet",
    }
    suffix = Path(name_of(place)).suffix
    if (form := known.get(suffix.lower())) is None:
        endings = ", ".join(ending for ending in known if ending)
        raise ConfigError(
            f"-o {place}: no format has the ending {suffix}; use one of {endings}, or name the format with -f"
        )
    return form


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
            if shape is None:
                yield row
            elif not is_empty(row, fields):
                yield _with_meta(shape(training_of(row, fields, description)), row)

    return wanted


def _with_meta(shaped: Row, row: Row) -> Row:
    return {**shaped, "_meta": row["_meta"]} if "_meta" in row else shaped


HUB = "hf"
_ANSWERED: frozenset[Kind] = frozenset(("answer", "conversation"))
_PREFERENCE: frozenset[Kind] = frozenset(("preference",))
_JUDGED: frozenset[Kind] = frozenset(("judged",))
FORMS: Mapping[str, Form] = {
    "jsonl": Form(write_jsonl, "anybody"),
    "json": Form(write_json, "anybody"),
    "csv": Form(write_csv, "spreadsheets"),
    "parquet": Form(write_parquet, "datasets, pandas, Spark"),
    "alpaca": Form(
        write_json, "LLaMA-Factory", shapes.alpaca, _ANSWERED, llama_factory="alpaca", calls=False
    ),
    "alpaca-preference": Form(
        write_json, "LLaMA-Factory", shapes.alpaca_preference, _PREFERENCE, llama_factory="alpaca-preference"
    ),
    "sharegpt": Form(write_json, "LLaMA-Factory", shapes.sharegpt, _ANSWERED, llama_factory="sharegpt"),
    "sharegpt-preference": Form(
        write_json,
        "LLaMA-Factory",
        shapes.sharegpt_preference,
        _PREFERENCE,
        llama_factory="sharegpt-preference",
    ),
    "sharegpt-kto": Form(
        write_json, "LLaMA-Factory", shapes.sharegpt_kto, _JUDGED, llama_factory="sharegpt-kto"
    ),
    "openai": Form(write_jsonl, "OpenAI's fine-tuning", shapes.openai, _ANSWERED),
    "openai-preference": Form(
        write_jsonl, "OpenAI's preference tuning", shapes.openai_preference, _PREFERENCE
    ),
    "trl": Form(write_jsonl, "TRL: prompt and completion", shapes.trl, _ANSWERED),
    "trl-messages": Form(write_jsonl, "TRL: language modelling", shapes.trl_messages_only, _ANSWERED),
    "trl-prompt": Form(write_jsonl, "TRL: prompts alone", shapes.trl_prompt, frozenset(("prompt",))),
    "trl-preference": Form(write_jsonl, "TRL: DPO and its kin", shapes.trl_preference, _PREFERENCE),
    "trl-kto": Form(write_jsonl, "TRL: KTO", shapes.trl_kto, _JUDGED),
    "axolotl": Form(write_jsonl, "Axolotl", shapes.axolotl, _ANSWERED, axolotl="chat"),
    "axolotl-preference": Form(
        write_jsonl, "Axolotl: DPO", shapes.axolotl_preference, _PREFERENCE, axolotl="preference"
    ),
}

"""Looks at a dataset, says what it is, and writes a commented config with which a run can begin."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import quantiles
from typing import Any

import yaml
from pydantic import ValidationError

from engine.analysis.language import language_of
from engine.config import DatasetConfig, FieldsConfig, GenerateConfig
from engine.config.diversity import EmbeddingConfig
from engine.config.paths import is_remote, name_of
from engine.config.reading import ReadingConfig
from engine.dataset.base import BaseDataset
from engine.dataset.findings import findings, listed, unnamed
from engine.dataset.forms import Example
from engine.dataset.guess import Guess, guessed
from engine.dataset.survey import Surveying, converter
from engine.errors import ConfigError, EmbedderUnavailable
from engine.files.rows import BadRow
from engine.files.source import Source, source_of
from engine.schema.values import dumps

_FIRST = 2_000
"""Rows by which it is told what the columns hold."""
_LONG = 1_500
"""Characters of an item from which on one is asked for at a time."""
_A_TOKEN, _ROOM = 3, 1.5
"""Characters of a token, at least, and how much longer than the longest row a new item may be."""
_LANGUAGES = frozenset(
    "ar bg ca cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv mk ms nl no pl pt ro ru sk sl sq sr sv ta te"
    " th tr uk ur vi zh".split()
)


@dataclass(frozen=True)
class Look:
    """What a dataset is."""

    places: tuple[str, ...]
    how: ReadingConfig
    source: Source
    dataset: BaseDataset
    guess: Guess
    language: str | None


def looked(places: Sequence[str], how: ReadingConfig) -> Look:
    """Raises ConfigError where there is no dataset, or no usable row whatever its columns hold."""
    config = DatasetConfig(**how.model_dump(), path=tuple(places), description="-", fields=FieldsConfig())
    source = source_of(places, config)
    surveying = Surveying(source, config)
    for _, row in source.rows():
        surveying.add(row)
    schema = surveying.schema()
    convert = converter(source, schema)
    rows = [convert(row) for _, row in islice(source.rows(), _FIRST) if not isinstance(row, BadRow)]
    if not rows:
        bad = next((row for _, row in source.rows() if isinstance(row, BadRow)), None)
        said = f"{source.where(bad.number)}: {bad.detail}" if bad is not None else "the files are empty"
        raise ConfigError(f"{source.name}: no row can be read; {said}")
    guess = guessed(schema, rows)
    try:
        fields = FieldsConfig.model_validate(guess.fields)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{source.name}: {said}; write dataset.fields yourself") from None
    dataset = BaseDataset.load(config.model_copy(update={"fields": fields}))
    language = language_of(example.text for example in islice(dataset.examples, 1_000))
    return Look(tuple(places), how, source, dataset, guess, language if language in _LANGUAGES else None)


# --- in words --------------------------------------------------------------------------------------


def told(look: Look) -> Iterator[tuple[str, str]]:
    """(topic, sentence) of what was found."""
    dataset, schema = look.dataset, look.dataset.fields.schema
    duplicates = dataset.bad_counts.get("duplicate", 0)
    yield (
        "rows",
        f"{dataset.rows:,} usable" + (f", {duplicates:,} more repeat one of them" if duplicates else ""),
    )
    others = dataset.bad_counts.total() - duplicates
    if others:
        counted = ", ".join(
            f"{count:,} {reason}" for reason, count in dataset.bad_counts.items() if reason != "duplicate"
        )
        first = next((row for row in dataset.bad if row.reason != "duplicate"), None)
        where = f"; {look.source.where(first.number)}: {first.detail}" if first is not None else ""
        yield "bad rows", f"{others:,} are left out ({counted}{where})"
    types = [f"{name} ({column.type})" for name, column in schema.columns.items()]
    yield "columns", listed(types)
    for name, value in look.guess.fields.items():
        why = look.guess.why.get(name)
        yield name, f"{_flow(value)}{f' ({why})' if why else ''}"
    if look.language is not None:
        yield "language", look.language
    yield from ((topic, said) for topic, said in findings(dataset) if topic != "columns")
    if left := unnamed(dataset):
        yield "left out", f"{listed(left)}: new items will not have these"


# --- as a config -----------------------------------------------------------------------------------


def config_text(look: Look, folder: Path) -> str:
    """The config as YAML; paths are relative to the folder that it is written to."""
    return "\n".join([*_head(look), *_dataset(look, folder), *_generate(look), *_rest(look), ""])


def _head(look: Look) -> Iterator[str]:
    yield f"# Made for {_one_line(look.source.name)}: {look.dataset.rows:,} rows."
    yield "# It runs as it is, on a simulated model that costs nothing: datagen run with this file."
    yield "# Yours to decide, since the data does not say it:"
    for number, what in enumerate(_decisions(look), 1):
        yield f"#   {number}. {what}"
    yield ""


def _decisions(look: Look) -> Iterator[str]:
    yield "description: what an item is, and what makes a good one. The model reads it."
    yield "model: which one writes the items, and what it may cost (limits.budget_usd)."
    yield from map(_one_line, look.guess.open)


def _dataset(look: Look, folder: Path) -> Iterator[str]:
    yield "dataset:"
    places = [_relative(place, folder) for place in look.places]
    yield f"  path: {_flow(places[0] if len(places) == 1 else places)}"
    for name, value in look.how.model_dump(exclude_defaults=True).items():
        yield f"  {name}: {_flow(value)}"
    yield f"  description: {_flow(_description(look))}"
    yield "  fields:"
    for name, value in look.guess.fields.items():
        why = look.guess.why.get(name)
        yield f"    {name}: {_flow(value)}{f'  # {_one_line(why)}' if why else ''}"
    for topic, said in findings(look.dataset):
        if topic not in ("columns", "files"):
            yield f"    # {topic}: {_one_line(said)}"
    if left := unnamed(look.dataset):
        yield f"    # New items will not have {_one_line(listed(left))}; name under extras what they should have."
    yield from _constraints(look)
    yield ""


def _constraints(look: Look) -> Iterator[str]:
    rules = []
    if look.language is not None:
        rules.append(f"    - language: {_flow(look.language)}")
    if (bounds := _lengths(look.dataset.examples)) is not None and "text" in look.guess.fields:
        low, high = bounds
        rules.append(
            f"    - length: {{min: {low}, max: {high}, unit: characters}}  # nearly all are within it, with room"
        )
    if rules:
        yield "  constraints:"
        yield from rules


def _lengths(examples: Sequence[Example]) -> tuple[int, int] | None:
    """Characters between which nearly all texts are, with room on both sides; None of few rows."""
    sizes = [len(example.text) for example in islice(examples, 5_000)]
    if len(sizes) < 20:
        return None
    cuts = quantiles(sizes, n=100)
    return max(1, int(cuts[0] / 2)), int(cuts[-1] * 2) + 1


def _generate(look: Look) -> Iterator[str]:
    sizes = [len(dumps(look.dataset.fields.wire(example))) for example in islice(look.dataset.examples, 200)]
    batch = 1 if sum(sizes) / max(1, len(sizes)) > _LONG else 5
    yield "generate:"
    yield "  target: 100  # accepted items"
    yield f"  few_shot: {min(5, look.dataset.rows)}  # rows shown as examples in each request"
    yield f"  batch_size: {batch}  # items asked for in one request"
    needed = int(batch * max(sizes, default=0) * _ROOM / _A_TOKEN)
    if needed > GenerateConfig(batch_size=batch).completion_limit:
        yield f"  max_tokens: {needed}  # of an answer: the longest rows have room"
    yield ""


def _rest(look: Look) -> Iterator[str]:
    yield "model: simulated"
    yield "# model:"
    yield "#   name: MODEL"
    yield "#   base_url: https://HOST/v1"
    yield "#   api_key: ${API_KEY}"
    yield ""
    yield "# limits:"
    yield "#   budget_usd: 5"
    yield ""
    yield "validators:"
    yield "  - constraints"
    if _is_maths(look):
        yield "  - code  # runs programs that compute the answer from the text alone"
    else:
        yield "  # - reflection  # a model reviews each item, and mends it"
    yield ""
    yield f"groupcheck: {_groupcheck()}  # keeps out what says the same as another item"


def _is_maths(look: Look) -> bool:
    form, fields = look.dataset.fields.shape.label, look.dataset.fields.config
    asks = sum("?" in example.text for example in islice(look.dataset.examples, 100))
    count = min(100, look.dataset.rows)
    return form.kind == "number" and fields.choices is None and len(fields.parts) == 1 and 2 * asks > count


def _groupcheck() -> str:
    from engine.diversity.embedding import embedder_of  # loads numpy

    try:
        embedder_of(EmbeddingConfig())
    except EmbedderUnavailable:
        return "{same: text}"
    return "{}"


def _description(look: Look) -> str:
    fields = look.guess.fields
    if "messages" in fields:
        what = "Conversations between a user and an assistant"
    elif "chosen" in fields:
        what = "Prompts with a better and a worse answer"
    elif "choices" in fields:
        what = "Multiple-choice questions"
    elif "label" in fields or "labels" in fields:
        what = "Texts with their labels"
    else:
        what = "Texts"
    return f"{what} like those in {_one_line(name_of(look.source.name))}."


def _relative(place: str, folder: Path) -> str:
    if is_remote(place):
        return place
    return os.path.relpath(Path(place).absolute(), folder.absolute())


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
        .removesuffix("\n...\n")
        .strip()
    )


def _one_line(text: str) -> str:
    """A text that ends no comment."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())

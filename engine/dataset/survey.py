"""One pass over all rows of a dataset: its schema, how it spells its labels, conversations and pairs."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from engine.config import DatasetConfig, FieldsConfig
from engine.config.dataset import wire_name
from engine.dataset.chats import ChatStyle, messages_in
from engine.dataset.fields import Fields
from engine.dataset.forms import FieldProblem
from engine.dataset.labels import LabelCounts, raw_label
from engine.dataset.pairs import PairStyle, pair_in
from engine.dataset.paths import value_at
from engine.files.rows import BadRow, Numbered
from engine.files.source import Source
from engine.protocols import Row
from engine.schema.columns import Gathered, GatheredText, Schema, typed_cells
from engine.schema.features import Features, from_card, with_features


@dataclass(frozen=True)
class Survey:
    """What the rows have shown."""

    fields: Fields
    """Without the shape, which is gathered from the rows as they are read by these."""
    count: int
    """All rows, those that cannot be used included."""


class Surveying:
    """Mutable: what the rows so far have shown."""

    def __init__(self, source: Source, config: DatasetConfig) -> None:
        self._source = source
        self._config = config
        self._text = GatheredText() if source.delimited else None
        typed = source.schema
        self._typed = typed
        self._gathered = Gathered() if typed is None and self._text is None else None
        self._labels = LabelCounts()
        self._chat: ChatStyle | None = None
        self._pair: PairStyle | None = None
        self.several = frozenset(_lists(source, config.fields))
        self.spoken = dict(_spoken(source, config.fields))
        self._bare = Fields(config.fields, several=self.several, spoken=self.spoken)
        self.count = 0

    @property
    def is_simple(self) -> bool:
        """Whether a row can be read before all have been seen."""
        fields = self._config.fields
        return fields.choices is None and self._text is None and not isinstance(fields.extras, str)

    def add(self, row: Row | BadRow) -> None:
        self.count += 1
        if isinstance(row, BadRow):
            return
        if self._gathered is not None:
            self._gathered.add(row)
        elif self._text is not None:
            self._text.add(row)
        fields = self._config.fields
        if fields.label is not None and (fields.choices is not None or self.count <= _STYLED):
            try:
                choices = self._bare.choices(row)
                self._labels.add(raw_label(row, fields.label), choices, self._bare.keys(row))
            except FieldProblem:
                pass  # counted when the rows are read
        if fields.messages is not None:
            tools = value_at(row, fields.messages.tools) if fields.messages.tools is not None else None
            self._spelled(value_at(row, fields.messages.field), tools)
        for path in fields.parts if self.spoken else ():
            self._spelled(value_at(row, path))
        if fields.chosen is not None and fields.rejected is not None:
            better, worse = value_at(row, fields.chosen), value_at(row, fields.rejected)
            self._spelled(better)
            try:
                style = pair_in(better, worse).style
            except FieldProblem:
                return
            known = self._pair or PairStyle()
            self._pair = PairStyle(known.messages or style.messages, known.repeats or style.repeats)

    def _spelled(self, messages: Any, tools: Any = None) -> None:
        if isinstance(messages, list) and self.count <= _STYLED:
            style = ChatStyle.of(messages, tools)
            self._chat = style if self._chat is None else self._chat.joined(style)

    def schema(self) -> Schema:
        """The columns as far as they are known."""
        if self._text is not None:
            schema = self._text.schema()
        elif self._gathered is not None:
            schema = self._gathered.schema()
        else:
            assert self._typed is not None
            schema = self._typed
        schema = with_features(schema, _features(self._source, schema))
        declared = {name: spec.column(schema.column(name)) for name, spec in self._config.columns.items()}
        return schema.declared(declared)

    def survey(self) -> Survey:
        """Raises ConfigError where it is open how labels are meant."""
        schema = self.schema()
        config = self._config.fields.with_columns(list(schema.columns))
        style = self._labels.style(self._config.fields, self._source.name)
        fields = Fields(
            config,
            style,
            schema=schema,
            chat=self._chat or ChatStyle(),
            pair=self._pair or PairStyle(),
            several=self.several,
            spoken=self.spoken,
        )
        return Survey(fields, self.count)

    def converted(self, rows: Iterator[Numbered]) -> Iterator[Numbered]:
        """The rows in the types of their columns, where the file has only texts."""
        convert = converter(self._source, self.schema())
        return ((number, row if isinstance(row, BadRow) else convert(row)) for number, row in rows)


_STYLED = 5_000
"""Rows that show how a dataset spells its conversations, and labels without choices."""
_FIRST = 200
"""Rows by which it is told whether a label is a list."""


def _lists(source: Source, config: FieldsConfig) -> Iterator[str]:
    """The names of labels that are lists in most of the first rows."""
    first = [row for _, row in islice(source.rows(), _FIRST) if not isinstance(row, BadRow)]
    for name, spec in config.all_labels.items():
        values = [value for row in first if (value := value_at(row, spec.field)) is not None]
        if 2 * sum(isinstance(value, list) for value in values) > len(values):
            yield name


def _spoken(source: Source, config: FieldsConfig) -> Iterator[tuple[str, str]]:
    """(name, role) of the parts that are lists of one message in most of the first rows."""
    if len(config.parts) < 2:
        return
    first = [row for _, row in islice(source.rows(), _FIRST) if not isinstance(row, BadRow)]
    for path in config.parts:
        listed = [value for row in first if isinstance(value := value_at(row, path), list) and value]
        if 2 * len(listed) > len(first):
            try:
                yield wire_name(path), messages_in(listed[0])[0]["role"]
            except FieldProblem:
                continue


def converter(source: Source, schema: Schema) -> Callable[[Row], Row]:
    """What makes a row of texts one of the columns' types."""
    if not source.delimited:
        return lambda row: row
    return lambda row: typed_cells(row, schema)


def _features(source: Source, schema: Schema) -> Features | None:
    """The features that the file's metadata or the repository's card states."""
    if isinstance(source.features, list):
        return from_card(source.features)
    if not schema.arrow:
        return None
    import orjson
    import pyarrow

    arrow = pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(schema.arrow)))
    try:
        told = orjson.loads((arrow.metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return features if isinstance(features, dict) else None

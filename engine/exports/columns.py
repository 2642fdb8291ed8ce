"""The Arrow schema of exported rows: the dataset's own columns and types, and the features that `datasets` reads."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from engine.protocols import Row
from engine.schema.arrow import type_to
from engine.schema.columns import Column, Schema, schema_of
from engine.schema.features import Features, features_of
from engine.schema.types import Type, merged
from engine.schema.values import dumps

if TYPE_CHECKING:
    import pyarrow

META = "_meta"
"""The column with the record of an item, which is written as JSON text."""


def columns_of(rows: Iterable[Row], schema: Schema) -> Schema:
    """The columns of the export: all of the dataset, in its order and types, then those that only these rows have."""
    found = schema_of(rows)
    columns = {name: _wide(name, column, found) for name, column in schema.columns.items() if name != META}
    for name, column in found.columns.items():
        if name == META:
            columns[name] = Column(Type("string"))
        elif name not in columns:
            columns[name] = column
    return Schema(columns, schema.arrow)


def _wide(name: str, column: Column, found: Schema) -> Column:
    """The column as the dataset has it, or with a type that also holds what else stands in these rows."""
    there = found.columns.get(name)
    if (
        there is None
        or column.names
        or (column.type.kind != there.type.kind and column.type.kind == "string")
    ):
        return column
    both = merged(column.type, there.type) if column.type.name in _MERGED else column.type
    return column if both == column.type else replace(column, type=both)


_MERGED = frozenset(("null", "bool", "int64", "double", "string", "list", "struct", "json"))
"""Types that are told from rows; others are the file's own, and a value has been held to them."""


def arrow_schema(columns: Schema) -> pyarrow.Schema:
    """Arrow's schema with the features in its metadata. Original columns have their original Arrow types."""
    import pyarrow

    original = _original(columns)
    known = {} if original is None else {field.name: field for field in original}
    fields = []
    for name, column in columns.columns.items():
        kind = known[name].type if name in known else type_to(column.type)
        fields.append(pyarrow.field(name, kind, nullable=True))
    metadata = dict(original.metadata or {}) if original is not None else {}
    metadata.pop(b"pandas", None)  # it names an index, and rows that are no longer there
    metadata[b"huggingface"] = orjson.dumps({"info": {"features": _features(columns, metadata)}})
    return pyarrow.schema(fields, metadata)


def _original(columns: Schema) -> pyarrow.Schema | None:
    if not columns.arrow:
        return None
    import pyarrow.ipc

    return pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(columns.arrow)))


def _features(columns: Schema, metadata: dict[bytes, bytes]) -> Features:
    """The features of the original where it states some, and those that follow from the types."""
    derived = features_of(columns)
    try:
        stated = orjson.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, orjson.JSONDecodeError):
        return derived
    return {name: stated.get(name, feature) for name, feature in derived.items()}


def table_rows(rows: Iterable[Row], columns: Schema) -> Iterable[Row]:
    """The rows with all columns, and the record of an item as text."""
    for row in rows:
        yield {name: _cell(name, row.get(name)) for name in columns.columns}


def _cell(name: str, value: Any) -> Any:
    return dumps(value) if name == META and value is not None else value

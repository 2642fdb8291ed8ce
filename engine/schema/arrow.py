"""Types and rows from Arrow and back. In JSON, dates, times, decimals and bytes are texts."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from engine.schema.types import Type
from engine.schema.values import dumps, loads

if TYPE_CHECKING:
    import pyarrow

Rows = list[dict[str, Any]]


# --- types -----------------------------------------------------------------------------------------


def type_from(arrow: pyarrow.DataType) -> Type:
    """The type of a column by Arrow's; a dictionary's is that of its values."""
    import pyarrow

    kinds = pyarrow.types
    if isinstance(arrow, pyarrow.BaseExtensionType):
        return Type("json") if arrow.extension_name == "arrow.json" else type_from(arrow.storage_type)
    if kinds.is_dictionary(arrow):
        return type_from(arrow.value_type)
    if kinds.is_map(arrow):
        pair = (("key", type_from(arrow.key_type)), ("value", type_from(arrow.item_type)))
        return Type("list", Type("struct", None, pair))
    if hasattr(arrow, "value_type"):
        return Type("list", type_from(arrow.value_type))
    if kinds.is_struct(arrow):
        return Type("struct", None, tuple((field.name, type_from(field.type)) for field in arrow))
    return Type(str(arrow))


def type_to(type: Type) -> pyarrow.DataType:
    """Arrow's type. Raises ValueError for a name that Arrow does not know."""
    import pyarrow

    if type.inner is not None:
        return pyarrow.list_(_inner_to(type.inner))
    if type.name == "struct":
        return pyarrow.struct([(name, _inner_to(inner)) for name, inner in type.fields])
    if type.name == "json":
        return pyarrow.json_(pyarrow.string())
    if type.name == "null":
        return pyarrow.null()
    try:
        return pyarrow.type_for_alias(type.name)
    except ValueError:
        return _with_parameters(type.name)


def _inner_to(type: Type) -> pyarrow.DataType:
    """Of a part that is always null: text. Parquet files with lists of nulls cannot be read (pyarrow 26)."""
    import pyarrow

    return pyarrow.string() if type.name == "null" else type_to(type)


def _with_parameters(name: str) -> pyarrow.DataType:
    """`decimal128(10, 2)`, `timestamp[us, tz=UTC]`, `fixed_size_binary[16]`. Raises ValueError."""
    import pyarrow

    head, _, rest = name.replace("(", "[").rstrip(")]").partition("[")
    given = [part.strip() for part in rest.split(",")]
    try:
        if head.startswith("decimal"):
            return getattr(pyarrow, head)(*map(int, given))
        if head == "timestamp":
            return pyarrow.timestamp(given[0], given[1].removeprefix("tz="))
        if head == "fixed_size_binary":
            return pyarrow.binary(int(given[0]))
    except (AttributeError, IndexError, TypeError, ValueError):
        pass
    raise ValueError(f"{name!r} is no type that Arrow knows")


# --- rows ------------------------------------------------------------------------------------------


def rows_from(batch: pyarrow.RecordBatch) -> Rows:
    """The rows of a batch as JSON values."""
    columns = [_plain(column).to_pylist() for column in batch.columns]
    json = [_has_json(field.type) for field in batch.schema]
    for place, column in enumerate(columns):
        if json[place]:
            columns[place] = [_parsed(value, batch.schema.field(place).type) for value in column]
        elif _has_bytes(batch.schema.field(place).type):
            columns[place] = [_texts(value) for value in column]
    names = batch.schema.names
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(column: pyarrow.Array) -> pyarrow.Array:
    """The column with everything that JSON has no form for as text; exact, nanoseconds included."""
    import pyarrow

    wanted = _plain_type(column.type)
    if wanted == column.type:
        return column
    if isinstance(column.type, pyarrow.BaseExtensionType):
        return _plain(column.storage)
    return column.cast(wanted)


def _plain_type(arrow: pyarrow.DataType) -> pyarrow.DataType:
    import pyarrow

    kinds = pyarrow.types
    if isinstance(arrow, pyarrow.BaseExtensionType):
        return _plain_type(arrow.storage_type)
    if kinds.is_dictionary(arrow):
        return _plain_type(arrow.value_type)
    if kinds.is_map(arrow):
        fields = [("key", _plain_type(arrow.key_type)), ("value", _plain_type(arrow.item_type))]
        return pyarrow.list_(pyarrow.struct(fields))
    if kinds.is_struct(arrow):
        return pyarrow.struct([(field.name, _plain_type(field.type)) for field in arrow])
    if kinds.is_list(arrow) or kinds.is_large_list(arrow) or kinds.is_fixed_size_list(arrow):
        return pyarrow.list_(_plain_type(arrow.value_type))
    if kinds.is_duration(arrow):
        return pyarrow.int64()
    if kinds.is_temporal(arrow) or kinds.is_decimal(arrow):
        return pyarrow.string()
    return arrow


def _has_json(arrow: pyarrow.DataType) -> bool:
    return "arrow.json" in str(arrow)


def _has_bytes(arrow: pyarrow.DataType) -> bool:
    return "binary" in str(arrow)


def _texts(value: Any) -> Any:
    """The value with its bytes in base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: _texts(inner) for name, inner in value.items()}
    return [_texts(inner) for inner in value] if isinstance(value, list) else value


def _parsed(value: Any, arrow: pyarrow.DataType) -> Any:
    """The value with what is JSON in it parsed."""
    import pyarrow

    if value is None:
        return None
    if isinstance(arrow, pyarrow.BaseExtensionType):
        return loads(value)
    if isinstance(value, list):
        return [_parsed(inner, arrow.value_type) for inner in value]
    if isinstance(value, dict):
        return {field.name: _parsed(value.get(field.name), field.type) for field in arrow}
    return value


def column_to(values: Sequence[Any], arrow: pyarrow.DataType) -> pyarrow.Array:
    """A column of JSON values as that type. Raises pyarrow.ArrowException, ValueError or TypeError."""
    import pyarrow

    kinds = pyarrow.types
    if isinstance(arrow, pyarrow.BaseExtensionType):
        if arrow.extension_name == "arrow.json":
            texts = [None if value is None else dumps(value) for value in values]
            return pyarrow.ExtensionArray.from_storage(arrow, pyarrow.array(texts, arrow.storage_type))
        return pyarrow.ExtensionArray.from_storage(arrow, column_to(values, arrow.storage_type))
    if kinds.is_dictionary(arrow):
        return column_to(values, arrow.value_type).dictionary_encode().cast(arrow)
    if kinds.is_list(arrow) or kinds.is_large_list(arrow):
        return _list_to(values, arrow)
    if kinds.is_struct(arrow):
        mask = pyarrow.array([value is None for value in values], pyarrow.bool_())
        parts = [
            column_to([None if value is None else value.get(field.name) for value in values], field.type)
            for field in arrow
        ]
        return pyarrow.StructArray.from_arrays(parts, fields=list(arrow), mask=mask)
    if kinds.is_map(arrow):
        pairs = [None if v is None else [(pair["key"], pair["value"]) for pair in v] for v in values]
        return pyarrow.array(pairs, arrow)
    if kinds.is_binary(arrow) or kinds.is_large_binary(arrow) or kinds.is_fixed_size_binary(arrow):
        return pyarrow.array([None if value is None else base64.b64decode(value) for value in values], arrow)
    if kinds.is_temporal(arrow) and not kinds.is_duration(arrow):
        return _temporal(pyarrow.array(values, pyarrow.string()), arrow)
    if kinds.is_decimal(arrow):
        return pyarrow.array(values, pyarrow.string()).cast(arrow)
    return pyarrow.array(values, arrow)


def _list_to(values: Sequence[Any], arrow: pyarrow.DataType) -> pyarrow.Array:
    import pyarrow

    offsets: list[int | None] = []
    inner: list[Any] = []
    for value in values:
        offsets.append(None if value is None else len(inner))
        inner.extend(value or ())
    offsets.append(len(inner))
    kind = pyarrow.LargeListArray if pyarrow.types.is_large_list(arrow) else pyarrow.ListArray
    width = pyarrow.int64() if kind is pyarrow.LargeListArray else pyarrow.int32()
    return kind.from_arrays(pyarrow.array(offsets, width), column_to(inner, arrow.value_type), type=arrow)


def _temporal(texts: pyarrow.Array, arrow: pyarrow.DataType) -> pyarrow.Array:
    import pyarrow
    import pyarrow.compute

    if pyarrow.types.is_timestamp(arrow) and arrow.tz is not None:
        # Arrow writes 'Z' or an offset and reads both, but only where the target has a zone.
        return texts.cast(pyarrow.timestamp(arrow.unit, "UTC")).cast(arrow)
    if pyarrow.types.is_time(arrow):  # Arrow writes times as text, and does not read them
        day = pyarrow.compute.binary_join_element_wise("1970-01-01 ", texts, "")
        unit = pyarrow.int32() if arrow.bit_width == 32 else pyarrow.int64()
        return day.cast(pyarrow.timestamp(arrow.unit)).cast(pyarrow.int64()).cast(unit).cast(arrow)
    return texts.cast(arrow)


def table_of(rows: Rows, schema: pyarrow.Schema) -> pyarrow.Table:
    """A table of rows that have all columns. Raises ValueError naming the column that cannot be written."""
    import pyarrow

    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        try:
            columns.append(column_to(values, field.type))
        except (pyarrow.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise ValueError(
                f"the column {field.name!r} cannot be written as {field.type}: {error}"
            ) from None
    return pyarrow.Table.from_arrays(columns, schema=schema)


def chunks(rows: Iterator[dict[str, Any]] | Sequence[dict[str, Any]], size: int = 5_000) -> Iterator[Rows]:
    """The rows in lists of at most `size`."""
    chunk: Rows = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

"""A dataset that a program has: rows, a DataFrame, an Arrow table or a Dataset, as a file that a config can name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.schema.values import dumps


def as_dataset(data: Any, path: Path | str | None = None) -> str:
    """Writes the data to a file and returns its path, for `dataset.path`.

    `data`: mappings, one a row; a pandas DataFrame; an Arrow table; a Hugging Face Dataset: tables keep their types.
    `path` is a .jsonl or .parquet file; where absent, one in the user's cache, named after its content, so that a run
    can be continued later. Raises ConfigError.
    """
    table = _table(data)
    content = _as_parquet(table) if table is not None else _as_lines(data)
    ending = ".parquet" if table is not None else ".jsonl"
    if path is None:
        name = f"{hashlib.blake2b(content, digest_size=10).hexdigest()}{ending}"
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        path = Path(base) / "datagen" / "given" / name
    place = Path(path)
    if place.suffix != ending:
        raise ConfigError(f"{place}: must end in {ending} for this kind of data")
    try:
        if not place.exists() or place.read_bytes() != content:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{place}: cannot be written: {error.strerror or error}") from None
    return str(place.resolve())


def _table(data: Any) -> Any:
    """The data as an Arrow table; None where it is rows."""
    kind = f"{type(data).__module__.partition('.')[0]}.{type(data).__name__}"
    if kind == "pandas.DataFrame":
        import pyarrow

        named = [
            name for name in data.index.names if name is not None
        ]  # an index that means something is a column
        return pyarrow.Table.from_pandas(data.reset_index() if named else data, preserve_index=False)
    if kind == "pyarrow.Table":
        return data
    if kind == "datasets.Dataset":
        return data.with_format("arrow")[:]
    if kind == "polars.DataFrame":
        return data.to_arrow()
    return None


def _as_parquet(table: Any) -> bytes:
    import io

    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def _as_lines(data: Any) -> bytes:
    if isinstance(data, str | bytes | Mapping) or not isinstance(data, Iterable):
        raise ConfigError(
            f"a dataset must be rows (mappings), a DataFrame, an Arrow table or a Dataset, not {type(data).__name__}"
        )
    lines = []
    for number, row in enumerate(data):
        if not isinstance(row, Mapping):
            raise ConfigError(f"row {number} of the dataset is {type(row).__name__}, not a mapping")
        lines.append(dumps({str(name): _plain(value) for name, value in row.items()}))
    if not lines:
        raise ConfigError("the dataset has no row")
    return "".join(f"{line}\n" for line in lines).encode()


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's: JSON would have them as texts."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") else value

"""What a run came to, for programs and notebooks: its report, and its items as whatever the reader works with."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import RunConfig
from engine.errors import ConfigError
from engine.items import Label
from engine.report.notebook import result_html
from engine.report.summary import Report
from engine.store.folder import RunFolder
from engine.store.reading import connect, read_form, read_items

if TYPE_CHECKING:
    import datasets
    import pandas
    import pyarrow

_SHOWN = 10


@dataclass(frozen=True)
class Entry:
    """One item of a run."""

    id: str
    text: str
    """What it is known by; of several parts, all of them."""
    label: Label | None
    """The answer; the right choice's letter where there are choices."""
    choices: tuple[str, ...]
    extras: Mapping[str, Any]
    record: Mapping[str, Any]
    """The item in the dataset's own fields."""
    meta: Mapping[str, Any]
    """How it came to be: batch, model, verdicts, cost."""


@dataclass(frozen=True)
class Result(Report):
    """A run's report, with the way to its items. Reads the run's folder when asked, so it shows what stands there."""

    folder: Path = field(default=Path())

    def items(self, state: str = "accepted") -> Iterator[Entry]:
        """The items of one fate (accepted, rejected, surplus) in the order of the plan, one by one."""
        there = self._there
        config = RunConfig.load(there.config, lenient=True)
        with contextlib.closing(connect(there.database)) as connection:
            fields = read_form(connection, config.item_fields)
            for row in read_items(connection, state):
                record = {name: value for name, value in row.items() if name != "_meta"}
                meta = row["_meta"]
                example = fields.remembered(record)
                yield Entry(
                    str(meta["id"]),
                    example.text,
                    example.label,
                    example.choices,
                    example.extras,
                    record,
                    meta,
                )

    @property
    def spent_usd(self) -> float:
        return self.data["cost"]["spent_usd"]

    @property
    def _there(self) -> RunFolder:
        return RunFolder.existing(self.folder)

    def to_arrow(self, *, meta: bool = False) -> pyarrow.Table:
        """The accepted items as a table, with the dataset's own types. `meta`: with `_meta`, as JSON text.

        Raises ConfigError where there is none.
        """
        import pyarrow.parquet

        from engine.exports.files import write_parquet

        there = self._there
        config = RunConfig.load(there.config, lenient=True)
        with (
            contextlib.closing(connect(there.database)) as connection,
            tempfile.TemporaryDirectory(prefix="datagen-") as folder,
        ):
            schema = read_form(connection, config.item_fields).schema
            path = Path(folder) / "items.parquet"
            write_parquet(partial(_rows, connection, meta), path, schema=schema)
            return pyarrow.parquet.read_table(path, memory_map=False)

    def to_pandas(self, *, meta: bool = False) -> pandas.DataFrame:
        """The same as a DataFrame; needs pandas. Raises ConfigError."""
        _needs("pandas")
        return self.to_arrow(meta=meta).to_pandas()

    def to_dataset(self, *, meta: bool = False) -> datasets.Dataset:
        """The same as a Dataset of Hugging Face's `datasets`, which it needs. Raises ConfigError."""
        _needs("datasets")
        import datasets

        return datasets.Dataset(datasets.table.InMemoryTable(self.to_arrow(meta=meta)))

    def view(self, *, browser: bool = True) -> Viewing:
        """Shows the run in a browser, by a process of its own, until `close()` or the end of this program."""
        return Viewing(self.folder, browser=browser)

    def _repr_html_(self) -> str:
        items, cost = self.data["items"], self.data["cost"]
        cap = f" of ${cost['cap_usd']:g}" if cost["cap_usd"] else ""
        money = f"${cost['spent_usd']:.4f}{cap}"
        message = f": {self.data['message']}" if self.data["message"] else ""
        each = f"${cost['per_accepted_usd']:.6f}" if cost["priced"] else "not known"
        figures = {
            "outcome": f"{self.outcome}{message}",
            "accepted": f"{self.accepted:,} of {items['target']:,}",
            "rejected": f"{items['rejected']:,}",
            "spent": money if cost["priced"] else "not known",
            "an accepted item": each if items["accepted"] else "-",
        }
        first: list[Mapping[str, Any]] = []
        with contextlib.suppress(ConfigError):  # the folder is gone: its figures are still known
            first = [each.record for each in islice(self.items(), _SHOWN)]
        return result_html(figures, first, items["rejected_by"], str(self.folder))


def _rows(connection: Any, meta: bool) -> Iterator[dict[str, Any]]:
    for row in read_items(connection, "accepted"):
        yield row if meta else {name: value for name, value in row.items() if name != "_meta"}


def _needs(library: str) -> None:
    from importlib.util import find_spec

    if find_spec(library) is None:
        raise ConfigError(f"{library} is not installed: pip install {library}")


class Viewing:
    """A run that is being shown in a browser. Mutable state: the process, while it lives."""

    def __init__(self, folder: Path, *, browser: bool) -> None:
        command = [
            sys.executable,
            "-m",
            "engine.cli",
            "view",
            str(folder),
            *([] if browser else ["--no-open"]),
        ]
        self._process = subprocess.Popen(  # noqa: S603 - this program, and a path
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        self.address = ""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.startswith("Open "):
                self.address = line.removeprefix("Open ").strip()
                break
        if not self.address:
            self.close()
            raise ConfigError(f"{folder}: cannot be shown; try: datagen view {folder}")

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            if self._process.poll() is None:
                self.close()

    def __repr__(self) -> str:
        return self.address

    def _repr_html_(self) -> str:
        from html import escape

        address = escape(self.address, quote=True)
        return f'<a href="{address}" target="_blank" rel="noopener">{address}</a>'

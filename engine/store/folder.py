"""The run folder: its files, its lock, and whether a run may write there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from engine.config import FieldsConfig
from engine.dataset.fields import Fields
from engine.errors import ConfigError
from engine.files.writing import copied, replacing
from engine.store.reading import connect, read_fact, read_form, read_lines
from engine.store.writer import damaged

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's where PyYAML was built with it: ten times as fast, and a config is written at each start."""


class RunFolder:
    """Paths within one run's folder. Creating the object touches no files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "run.db"
        self.config = path / "config.yaml"
        self.accepted = path / "accepted.jsonl"
        self.rejected = path / "rejected.jsonl"
        self.report = path / "report.json"
        self.log = path / "run.log"
        self.page = path / "report.html"
        self.results = path / "results.json"
        self.results_csv = path / "results.csv"
        self.calibration = path / "calibration.json"
        self.token = path / "worker.token"
        self.exports = path / "exports.json"
        self.pending = path / "reviews.pending.jsonl"
        self._lock = path / "run.lock"

    @classmethod
    def existing(cls, path: Path) -> RunFolder:
        """The folder of a run that has been started. Raises ConfigError where there is no run."""
        folder = cls(path)
        if not folder.database.is_file():
            raise ConfigError(f"{path}: holds no run (there is no run.db)")
        return folder

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that a run writes."""
        written = self.accepted, self.rejected, self.report, self.page, self.results, self.results_csv
        return self.database, self.config, *written, self.calibration, self.log, self._lock

    def refuse_foreign(self, dataset: Sequence[Path]) -> None:
        """Raises ConfigError where a run here would overwrite files that were not written by a run."""
        own = [file.resolve() for file in self.files]
        if (clash := next((file for file in dataset if file.resolve() in own), None)) is not None:
            raise ConfigError(f"{self.path}: the run would overwrite its own base dataset {clash}")
        foreign = [file.name for file in self.files[1:9] if file.exists()]
        if foreign and not self.database.exists():
            raise ConfigError(
                f"{self.path}: holds {foreign[0]}, which is not of a run; choose another folder (-o)"
            )
        if any(
            file.exists() and file.stat().st_size for file in (self.accepted, self.rejected, self.results)
        ):
            self._check_continues()

    def _check_continues(self) -> None:
        """Raises StoreError where run.db does not hold the items that its files hold: these would be overwritten."""
        with contextlib.closing(connect(self.database)) as connection:
            known = connection.execute("SELECT EXISTS (SELECT 1 FROM items)").fetchone()
        if not known[0]:
            raise damaged(self.database, "it holds none of the items that the files beside it hold")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of the writing process. Raises ConfigError where another process holds it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock)
            lock.acquire(timeout=1, poll_interval=0.02)  # `status` holds it for an instant
        except Timeout:
            raise ConfigError(f"{self.path}: another process is running in this folder") from None
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written: {error.strerror or error}") from None
        try:
            yield
        finally:
            lock.release()

    def in_use(self) -> bool:
        """Whether a process is running in this folder now."""
        if not self._lock.exists():
            return False
        lock = FileLock(self._lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        except OSError:
            return False
        lock.release()
        return False

    def mode(self) -> str:
        """The kind of this run: run, audit ... Raises StoreError."""
        return str(self.fact("mode") or "run")

    def fact(self, name: str) -> Any:
        """The fact of this name in the run's journal. Raises StoreError."""
        with contextlib.closing(connect(self.database)) as connection:
            return read_fact(connection, name)

    def form(self, config: FieldsConfig) -> Fields:
        """How the run's items are written. Raises StoreError."""
        with contextlib.closing(connect(self.database)) as connection:
            return read_form(connection, config)

    def keep(self, source: Path, name: str) -> Path:
        """Copies a file once into the folder `datasets`; returns the copy's path. Raises StoreError."""
        place = self.path / "datasets" / name
        copied(source, place)
        return place

    def keep_all(self, sources: Sequence[Path], name: str) -> str:
        """Copies files once, in order; returns a path that reads them all. Raises StoreError."""
        if len(sources) == 1:
            return str(self.keep(sources[0], f"{name}{''.join(sources[0].suffixes[-2:])}").resolve())
        for place, source in enumerate(sources):
            self.keep(source, f"{name}/{place:05}-{source.name}")
        return str((self.path / "datasets" / name).resolve() / "*")

    def write_config(self, settings: Mapping[str, Any]) -> None:
        """Writes config.yaml. Raises StoreError."""
        with replacing(self.config) as file:
            yaml.dump(dict(settings), file, _Dumper, sort_keys=False, allow_unicode=True, width=100)


def write_items(folder: RunFolder) -> None:
    """Writes accepted.jsonl and rejected.jsonl from the journal. Raises StoreError."""
    with contextlib.closing(connect(folder.database)) as connection:
        for state, path in (("accepted", folder.accepted), ("rejected", folder.rejected)):
            with replacing(path) as file:
                file.writelines(read_lines(connection, state))

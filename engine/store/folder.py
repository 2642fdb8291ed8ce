"""The run folder: its files, its lock, and whether a config may go on in it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import yaml
from filelock import FileLock, Timeout

from engine.config import OPERATIONAL
from engine.errors import ConfigError, DiskFull, StoreError
from engine.store.reading import connect, read_fact, read_lines


class RunFolder:
    """Paths within one run's folder. Creating the object touches nothing."""

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
        self._lock = path / "run.lock"

    @classmethod
    def existing(cls, path: Path) -> RunFolder:
        """Raises ConfigError where no run has been started there."""
        folder = cls(path)
        if not folder.database.is_file():
            raise ConfigError(f"{path}: holds no run (there is no run.db)")
        return folder

    @property
    def files(self) -> tuple[Path, ...]:
        """What a run writes."""
        written = self.accepted, self.rejected, self.report, self.page, self.results, self.results_csv
        return self.database, self.config, *written, self.log, self._lock

    def refuse_foreign(self, dataset: Path | None) -> None:
        """Raises ConfigError where a run here would overwrite what is not a run's."""
        if dataset is not None and dataset.resolve() in [file.resolve() for file in self.files]:
            raise ConfigError(f"{self.path}: the run would overwrite its own base dataset {dataset}")
        foreign = [file.name for file in self.files[1:8] if file.exists()]
        if foreign and not self.database.exists():
            raise ConfigError(
                f"{self.path}: holds {foreign[0]}, which is not of a run; choose another folder (-o)"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """For the one process that writes. Raises ConfigError where another one does."""
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
        """What kind of run this is: run, audit ... Raises StoreError."""
        return str(self.fact("mode") or "run")

    def fact(self, name: str) -> Any:
        """What the run's journal knows by this name. Raises StoreError."""
        with contextlib.closing(connect(self.database)) as connection:
            return read_fact(connection, name)

    def keep(self, source: Path, name: str) -> Path:
        """A copy of a file, made once, under `datasets`. Raises StoreError."""
        place = self.path / "datasets" / name
        if place.exists():
            return place
        temporary = place.with_name(f".{name}.part")
        try:
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, temporary)
            temporary.replace(place)
        except OSError as error:
            kind = DiskFull if error.errno in (28, 122) else StoreError  # ENOSPC, EDQUOT
            raise kind(f"{place}: cannot be written: {error.strerror or error}") from error
        return place

    def write_config(self, settings: Mapping[str, Any]) -> None:
        """Raises StoreError."""
        with replacing(self.config) as file:
            yaml.safe_dump(dict(settings), file, sort_keys=False, allow_unicode=True, width=100)


def write_items(folder: RunFolder) -> None:
    """accepted.jsonl and rejected.jsonl, from the journal. Raises StoreError."""
    with contextlib.closing(connect(folder.database)) as connection:
        for state, path in (("accepted", folder.accepted), ("rejected", folder.rejected)):
            with replacing(path) as file:
                file.writelines(read_lines(connection, state))


def spooled(stream: IO[bytes], folder: Path) -> Path:
    """Standard input as a file in the run folder, so that the run can be continued. Raises StoreError."""
    path = folder / "input.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """A file that takes the place of `path` whole, or not at all. Raises StoreError."""
    temporary: str | None = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False, newline=""
        ) as file:
            temporary = file.name
            yield file
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
        temporary = None
    except OSError as error:
        kind = DiskFull if error.errno in (28, 122) else StoreError  # ENOSPC, EDQUOT
        raise kind(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


# --- identity --------------------------------------------------------------------------------------


def identity(settings: Mapping[str, Any], dataset_sha256: str, template: Path | None) -> dict[str, Any]:
    """What makes two starts the same run: settings by dotted key, and files by their content."""
    flat = dict(_flat({**settings, "model": _models(settings.get("model"))}, ()))
    flat["dataset.path"] = dataset_sha256
    flat["generate.template"] = hashlib.sha256(template.read_bytes()).hexdigest() if template else None
    return {key: value for key, value in flat.items() if not _operational(tuple(key.split(".")))}


def _models(model: Any) -> Any:
    """Of several endpoints only what they answer with is the run's: their number and order may change.

    Several that answer alike are as one.
    """
    if not isinstance(model, list):
        return model
    first, *others = model
    alike = {_answers_with(each) for each in (first, *others)}
    return (
        first
        if len(alike) == 1
        else {"any_of": "; ".join(sorted(alike)), "purposes": first.get("purposes", {})}
    )


def _answers_with(model: Mapping[str, Any]) -> str:
    flat = dict(_flat({"model": {**model, "purposes": {}}}, ()))
    kept = {key: value for key, value in flat.items() if not _operational(tuple(key.split(".")))}
    return ", ".join(f"{key.removeprefix('model.')} {value}" for key, value in sorted(kept.items()) if value)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], changed: Mapping[str, Any]) -> list[str]:
    """The keys that differ, each with both values. `changed` are the settings that are not at their default.

    A key that the run was started without, by an engine that did not know it, is the same at its default.
    """
    by_content = ("dataset.path", "generate.template")
    set_now = {key for key, _ in _flat({**changed, "model": _models(changed.get("model"))}, ())}
    named = []
    for key in sorted(before.keys() | now.keys()):
        known = key in before or key in set_now or key not in now
        if known and before.get(key) != now.get(key):
            content = key in by_content or key.startswith("evaluate.datasets.")
            change = "the file's content" if content else f"{before.get(key)!r}, now {now.get(key)!r}"
            named.append(f"{key} ({change})")
    return named


def _flat(value: Any, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    pairs: Any = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    if not pairs:
        yield ".".join(keys), None if isinstance(value, Mapping | list) else value
    for key, inner in pairs:
        yield from _flat(inner, (*keys, str(key)))


def _operational(keys: tuple[str, ...]) -> bool:
    for pattern in OPERATIONAL:
        parts = pattern.split(".")
        if len(keys) >= len(parts) and all(p in ("*", k) for p, k in zip(parts, keys, strict=False)):
            return True
    return False

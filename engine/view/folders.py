"""The runs below a folder, as a list shows them: from their small tables alone, however large they are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.store.folder import RunFolder
from engine.store.reading import connect, read_facts, read_starts
from engine.view.totals import read_report, read_totals, read_wanted

_DEEPEST = 6
_MOST = 500


@dataclass(frozen=True)
class RunShown:
    """One run in the list."""

    key: str
    """Its name in an address."""
    path: Path
    name: str
    mode: str = ""
    outcome: str = ""
    running: bool = False
    accepted: int = 0
    rejected: int = 0
    target: int = 0
    spent: float = 0.0
    cap: float | None = None
    priced: bool = False
    model: str = ""
    began: float | None = None
    aps: float | None = None
    right: float | None = None
    """The share of right labels, where it is known."""
    problem: str = ""
    """Why it cannot be read."""

    @property
    def acceptance(self) -> float | None:
        decided = self.accepted + self.rejected
        return self.accepted / decided if decided else None


def runs_below(root: Path) -> list[Path]:
    """The folders with a run.db in or below this one, in the order of their names; no deeper than six levels."""
    if (root / "run.db").is_file():
        return [root]
    return sorted(_found(root, 0))[:_MOST]


def _found(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    if any(entry.name == "run.db" for entry in entries):
        yield folder
        return
    for entry in entries:
        if depth < _DEEPEST and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            yield from _found(Path(entry.path), depth + 1)


def key_of(path: Path) -> str:
    """A short name for a run's folder that is the same each time, so that addresses can be kept."""
    return hashlib.blake2b(str(path.resolve()).encode(), digest_size=5).hexdigest()


def read_run(path: Path, root: Path) -> RunShown:
    """What the list shows of a run; one that cannot be read says why."""
    name = str(path.relative_to(root)) if path != root else path.resolve().name
    key, folder = key_of(path), RunFolder(path)
    try:
        running = folder.in_use()
        with contextlib.closing(connect(folder.database)) as connection:
            return RunShown(key, path, name, **_figures(connection, folder, running=running))
    except (EngineError, OSError, sqlite3.Error, ValueError, IndexError) as error:
        return RunShown(key, path, name, problem=str(error) or type(error).__name__)


def _figures(connection: sqlite3.Connection, folder: RunFolder, *, running: bool) -> dict[str, Any]:
    facts, last = read_facts(connection), read_starts(connection)[-1]
    report = read_report(folder)
    totals, wanted = read_totals(connection, last, report, running=running), read_wanted(folder)
    known = report or {}
    quality = known.get("quality", {})
    right = (quality.get("people", {}).get("right") or quality.get("labels_right") or {}).get("share")
    [began] = connection.execute("SELECT min(began) FROM starts").fetchone()
    return {
        "mode": facts.mode,
        "outcome": "running" if running else last.outcome or "killed",
        "running": running,
        "accepted": totals.accepted,
        "rejected": totals.rejected,
        "target": wanted.target,
        "spent": totals.spent,
        "cap": wanted.cap,
        "priced": facts.priced,
        "model": facts.model or "",
        "began": began,
        "aps": (known.get("diversity", {}).get("measures") or {}).get("aps"),
        "right": right,
    }

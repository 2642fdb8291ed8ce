"""`datagen merge`: several runs as one, with one group check over all their items."""

from __future__ import annotations

import contextlib
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config import RunConfig
from engine.config.diversity import GroupCheckConfig
from engine.errors import ConfigError
from engine.flow.stage import Stage
from engine.items import POSITIONS
from engine.report.shape import ReportData
from engine.runs.inputs import Inputs, loaded
from engine.runs.modes.audit import AuditMode, rows_of
from engine.runs.pipeline import Making, embedding
from engine.stages.dataset_rows import SIZE
from engine.store.folder import RunFolder, write_items
from engine.store.reading import connect, read_fact

if TYPE_CHECKING:  # loads numpy: for runs that need it
    from engine.stages.embed import KeptVectors


class MergeMode(AuditMode):
    """Its items are those that several runs have accepted, run by run, in order; the group check alone decides."""

    name = family = "merge"
    completed = "Every item is compared."
    spreads = False

    def load(self, config: RunConfig, kept: Path | None = None) -> Inputs:
        group = config.groupcheck or GroupCheckConfig(same="text")  # a run without one rejects repeats, too
        group = group.model_copy(update={"against_base": False, "on_duplicate": "reject"})
        config = config.changed(validators=(), groupcheck=group)
        dataset = rows_of(config, self.name)
        return loaded(config, dataset, dataset.rows)

    def stages(self, parts: Making) -> list[Stage]:
        embedder = parts.embedding.embedder if parts.embedding is not None else None
        if embedder is None:
            return embedding(parts)
        places = parts.inputs.config.dataset.path or ()
        runs = [RunFolder(Path(place).parent).database for place in places]
        return embedding(replace(parts, vectors=VectorsOfRuns(parts.vectors, runs, embedder.version)))

    def summary(self, data: ReportData) -> str:
        items = data["items"]
        again = items["rejected_by"].get("groupcheck", 0)
        differ = f"{items['accepted']:,} of {items['generated']:,} items differ"
        return f"{differ}; {again:,} said the same as an earlier one."


class VectorsOfRuns:
    """The vectors that the runs have made already, where their model was the same. A KeptVectors. Reads as it goes."""

    def __init__(self, own: KeptVectors, runs: Sequence[Path], version: str) -> None:
        """`runs` are their journals, in the order of their items; `version` is the present embedder's."""
        self._own = own
        self._connections = [connect(path) for path in runs]
        self._numbers: list[array[int]] = []
        self._ends: list[int] = []
        for connection in self._connections:
            rows = connection.execute("SELECT item FROM items WHERE state = 'accepted' ORDER BY item")
            self._numbers.append(array("Q", (number for (number,) in rows)))
            self._ends.append(len(self._numbers[-1]) + (self._ends[-1] if self._ends else 0))
        self._same = [
            (read_fact(connection, "diversity") or {}).get("embedding", {}).get("version") == version
            for connection in self._connections
        ]

    def vector(self, item: int, text: bytes) -> bytes | None:
        held = self._own.vector(item, text)
        if held is not None:
            return held
        row = item // POSITIONS * SIZE + item % POSITIONS
        run = bisect_right(self._ends, row)
        if run == len(self._ends) or not self._same[run]:
            return None
        number = self._numbers[run][row - (self._ends[run - 1] if run else 0)]
        found = self._connections[run].execute("SELECT text, vector FROM vectors WHERE item = ?", (number,))
        kept = found.fetchone()
        if kept is None or kept[0] != text:
            return None
        self._own.keep_vectors([(item, text, kept[1])])
        vector: bytes = kept[1]
        return vector

    def keep_vectors(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        self._own.keep_vectors(rows)


def merging(config: RunConfig, runs: Sequence[Path]) -> RunConfig:
    """The first run's config, for a merge of these runs by its policy. Raises ConfigError, StoreError."""
    if len(runs) < 2:
        raise ConfigError("a merge takes two runs at least")
    folders = [RunFolder.existing(run) for run in runs]
    group, places, seen = config.groupcheck, list[str](), set[Path]()
    for folder in folders:
        if folder.mode() not in ("run", "audit", "enhance", "merge"):
            raise ConfigError(f"{folder.path}: is of datagen {folder.mode()}, whose items are no dataset")
        if folder.in_use():
            raise ConfigError(f"{folder.path}: is under way; merge it once it has ended")
        if folder.path.resolve() in seen:
            raise ConfigError(f"{folder.path}: is given twice; each of its items would repeat itself")
        seen.add(folder.path.resolve())
        _written(folder)
        own = RunConfig.load(folder.config, lenient=True).dataset.fields
        if own != config.dataset.fields:
            raise ConfigError(f"{folder.path}: its dataset.fields are not those of {folders[0].path}")
        places.append(str(folder.accepted.resolve()))
    if group is not None:
        with contextlib.closing(connect(folders[0].database)) as connection:
            told = (read_fact(connection, "diversity") or {}).get("groupcheck", {})
        if group.same == "auto" and "same" in told:
            group = group.model_copy(update={"same": told["same"]})
    dataset = config.dataset.model_copy(update={"path": tuple(places)})
    return config.changed(dataset=dataset, groupcheck=group)


def _written(folder: RunFolder) -> None:
    """Makes accepted.jsonl hold what run.db does: of a run that was killed, it is old or missing. Raises StoreError."""
    with contextlib.closing(connect(folder.database)) as connection:
        [held] = connection.execute("SELECT count(*) FROM items WHERE state = 'accepted'").fetchone()
    lines = 0
    if folder.accepted.is_file():
        with folder.accepted.open("rb") as file:
            lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    if lines != held:
        write_items(folder)

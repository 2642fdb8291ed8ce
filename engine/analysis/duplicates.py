"""Finds the near-duplicates in a file, and a threshold that suits it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from engine.analysis.datasets import Data, FieldNames
from engine.analysis.vectors import Vectoriser
from engine.config.diversity import EmbeddingConfig
from engine.diversity.calibration import Confusion, calibrated
from engine.diversity.duplicates import Duplicates, Match
from engine.diversity.sameness import suited
from engine.files.source import rows_of
from engine.files.writing import replacing
from engine.protocols import Notify

if TYPE_CHECKING:
    from engine.protocols import Vectors

_AT_ONCE = 512
"""Rows that are compared in one step."""


async def calibrate(
    path: Path, names: FieldNames, embedding: EmbeddingConfig, seed: int, notify: Notify
) -> list[Confusion]:
    """Raises ConfigError."""
    data = Data.read(path, names)
    async with Vectoriser(embedding, notify) as vectoriser:
        return await calibrated(
            data.examples, await vectoriser.vectors(data), vectoriser.embedding.all, seed=seed
        )


@dataclass(frozen=True)
class NearDuplicates:
    """What a group check finds in a file: rows that say the same as an earlier row or a base row."""

    same: str
    threshold: float
    rows: int
    unreadable: dict[int, str]
    """By row number: why the row is not a valid item."""
    matches: dict[int, Match]
    """By row number; `ref` is an earlier row's number, or the negated number of a base dataset row."""

    def as_dict(self) -> dict[str, Any]:
        duplicates = {
            str(row): {"of": match.ref, "similarity": round(min(match.similarity, 1.0), 4)}
            for row, match in self.matches.items()
        }
        unreadable = {str(row): why for row, why in self.unreadable.items()}
        return {
            "rows": self.rows,
            "unreadable": unreadable,
            "same": self.same,
            "threshold": self.threshold,
            "duplicates": duplicates,
        }


async def near_duplicates(
    path: Path,
    against: Path | None,
    names: FieldNames,
    same: str,
    threshold: float | None,
    embedding: EmbeddingConfig,
    notify: Notify,
) -> NearDuplicates:
    """Among rows that say the same, the first is kept, as in a run. Raises ConfigError."""
    data = Data.read(path, names)
    base = Data.read(against, names) if against is not None else None
    kind = suited(data.examples) if same == "auto" else same
    memory = Duplicates(kind, threshold)
    if not memory.needs_vectors:
        if base is not None:
            memory.add((-example.number, example) for example in base.examples)
        return NearDuplicates(
            kind, memory.threshold, len(data.examples), data.bad, dict(_checked(data, None, memory))
        )
    async with Vectoriser(embedding, notify) as vectoriser:
        if base is not None:
            vectors = await vectoriser.vectors(base)
            memory.add(((-example.number, example) for example in base.examples), vectors)
        matches = dict(_checked(data, await vectoriser.vectors(data), memory))
    return NearDuplicates(kind, memory.threshold, len(data.examples), data.bad, matches)


def _checked(data: Data, vectors: Vectors | None, memory: Duplicates) -> Iterator[tuple[int, Match]]:
    for start in range(0, len(data.examples), _AT_ONCE):
        examples = data.examples[start : start + _AT_ONCE]
        refs = [example.number for example in examples]
        comparison = memory.compare(examples, None if vectors is None else vectors[start : start + _AT_ONCE])
        for place, number in enumerate(refs):
            match = comparison.same_text(place, refs) or comparison.nearest(place, refs)
            if match is None:
                comparison.accept(place)
            else:
                yield number, match
        memory.add_accepted(comparison, refs)


def write_kept(source: Path, duplicates: NearDuplicates, out: Path) -> int:
    """Writes the file's other items unchanged as JSON lines; returns their number. Raises StoreError."""
    count = 0
    with replacing(out) as file:
        for number, row in rows_of(source):
            if (
                number not in duplicates.matches
                and number not in duplicates.unreadable
                and isinstance(row, dict)
            ):
                file.write(orjson.dumps(row, default=str).decode() + "\n")
                count += 1
    return count

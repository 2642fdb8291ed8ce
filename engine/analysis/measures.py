"""Measures several datasets side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.analysis.datasets import Data, FieldNames
from engine.analysis.vectors import Vectoriser
from engine.config.diversity import EmbeddingConfig
from engine.diversity.measures.dataset import Measured, at_equal_size, measures
from engine.protocols import Notify

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Loaded:
    """Datasets with their vectors, ready to be measured."""

    datasets: Mapping[str, Measured]
    base: Measured | None

    def measured(self, seed: int) -> dict[str, Any]:
        """Measures of each dataset by its path; if their sizes differ, also at equal size."""
        result: dict[str, Any] = {
            "datasets": {name: measures(data, self.base, seed) for name, data in self.datasets.items()}
        }
        if len({len(data.texts) for data in self.datasets.values()}) > 1:
            result["at_equal_size"] = at_equal_size(self.datasets, seed)
        return result


async def load(
    paths: Sequence[Path],
    against: Path | None,
    names: FieldNames,
    embedding: EmbeddingConfig | None,
    notify: Notify,
) -> Loaded:
    """Without `embedding`, datasets have no vectors. Raises ConfigError."""
    read = {str(path): Data.read(path, names) for path in dict.fromkeys(paths)}
    base = Data.read(against, names) if against is not None else None
    if embedding is None:
        measured = {name: data.measured(None) for name, data in read.items()}
        return Loaded(measured, base.measured(None) if base is not None else None)
    async with Vectoriser(embedding, notify) as vectoriser:
        datasets = {name: data.measured(await vectoriser.vectors(data)) for name, data in read.items()}
        return Loaded(datasets, base.measured(await vectoriser.vectors(base)) if base is not None else None)

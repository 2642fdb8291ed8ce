"""Source and first stage of an evaluation: batches of the rows of several datasets, each for every model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from engine.config import DatasetConfig
from engine.dataset.base import BaseDataset
from engine.files.rows import Numbered
from engine.flow.halt import Halt
from engine.items import Batch, Item, Verdict
from engine.stages.dataset_rows import NAME, SIZE, item_of
from engine.stages.progress import Progress


@dataclass(frozen=True)
class Evaluated:
    """One dataset that models are asked about."""

    name: str
    spec: DatasetConfig
    base: BaseDataset

    def rows(self) -> Iterator[Numbered]:
        return self.base.numbered()


_Chunk = tuple[Evaluated, list[Numbered], str]


class EvaluatedRows:
    """Yields batches in a fixed order, so that a resumed evaluation continues where it stopped.

    Mutable state: the rows of batches between the source and the stage.
    """

    def __init__(
        self,
        datasets: Sequence[Evaluated],
        models: Sequence[str],
        progress: Progress,
        halt: Halt,
        window: int,
    ) -> None:
        self._datasets = datasets
        self._models = models
        self._progress = progress
        self._halt = halt
        self._window = window
        self._read: dict[int, _Chunk] = {}
        halt.on_set(lambda _: progress.changed.set())

    async def batches(self) -> AsyncIterator[Batch]:
        chunks = islice(enumerate(self._chunks()), self._progress.committed, None)
        for number, (dataset, rows, model) in chunks:
            if not await self._progress.room(number, self._window, self._halt):
                return
            self._read[number] = dataset, rows, model
            self._progress.outstanding += len(rows)
            yield Batch(
                number, len(rows), 0, 0.0, rows=tuple(place for place, _ in rows), dataset=dataset.name
            )

    def _chunks(self) -> Iterator[_Chunk]:
        for dataset in self._datasets:
            rows = dataset.rows()
            while chunk := list(islice(rows, SIZE)):
                for model in self._models:
                    yield dataset, chunk, model

    async def __call__(self, batch: Batch) -> Sequence[Item]:
        dataset, rows, model = self._read.pop(batch.number)
        items = (item_of(batch, place, *row, dataset.base.fields) for place, row in enumerate(rows))
        return [self._put_to(item, model) for item in items]

    def _put_to(self, item: Item, model: str) -> Item:
        item = item.evolve(model=model)
        if item.settled or item.label is not None:
            return item
        return item.judged(Verdict.rejected(NAME, "no_label", "there is no label to score an answer by"))

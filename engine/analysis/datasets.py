"""Datasets looked at without a run: their measures side by side, their near-duplicates, a threshold for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from engine.config import DatasetConfig, FieldsConfig, RunConfig
from engine.config.diversity import EmbeddingConfig
from engine.dataset.base import BaseDataset, every_example
from engine.dataset.fields import Fields
from engine.dataset.forms import Example, LabelStyle
from engine.dataset.rows import BadRow, format_of, read_rows
from engine.diversity.calibration import Confusion, calibrated
from engine.diversity.duplicates import Duplicates, Match
from engine.diversity.embedding import Embedding, embedder_of
from engine.diversity.measures.dataset import Measured, at_equal_size, measures
from engine.diversity.sameness import compared, suited
from engine.diversity.vector_cache import VectorCache
from engine.errors import ConfigError, EmbedderUnavailable
from engine.planning.guidance import value_of
from engine.report.mapping import MOST_ITEMS, MOST_ORIGINALS, Some, finite
from engine.report.mapping import mapped as drawn
from engine.store.folder import RunFolder, replacing
from engine.store.journal import Journal
from engine.store.reading import connect, read_accepted, read_fact

if TYPE_CHECKING:
    from engine.protocols import Vectors

Tell = Callable[[str], None]
_TEXTS = (
    "text",
    "question",
    "prompt",
    "instruction",
    "input",
    "problem",
    "ctx",
    "sentence",
    "content",
    "Question",
)
"""Fields taken for the text where none is named."""
_LABELS = ("label", "answer", "output", "response", "target")
_AT_ONCE = 512


@dataclass(frozen=True)
class Reading:
    """How datasets are to be read: a run's config, or the names of their fields."""

    config: Path | None = None
    text: str | None = None
    label: str | None = None

    def fields(self, path: Path) -> FieldsConfig:
        """Raises ConfigError where the file does not tell which field is the text."""
        if self.config is not None:
            return RunConfig.load(self.config, lenient=True).dataset.fields
        first = next((row for _, row in read_rows(path) if isinstance(row, dict)), {})
        text = self.text or next((name for name in _TEXTS if isinstance(first.get(name), str)), None)
        if text is None:
            raise ConfigError(
                f"{path}: which field is the text? Its fields are {', '.join(first) or 'none'}; name one (--text)"
            )
        label = self.label or next(
            (name for name in _LABELS if name != text and isinstance(first.get(name), str | int | float)),
            None,
        )
        listed = [name for name in ("choices", "endings") if isinstance(first.get(name), list)]
        given: dict[str, Any] = {"text": text, "choices": listed[0] if listed else None}
        if label is not None:
            given["label"] = {"field": label, "kind": "auto"}
        return FieldsConfig.model_validate(given)


@dataclass(frozen=True)
class Data:
    """One dataset in memory, and how many of its rows could not be read."""

    path: Path
    examples: list[Example]
    bad: dict[int, str]
    """Rows that could not be read, by number, and why."""

    @classmethod
    def read(cls, path: Path, reading: Reading) -> Data:
        """Raises ConfigError where there is no usable row. A run's folder stands for what it accepted."""
        if path.is_dir():
            own = path / "config.yaml"
            reading = replace(reading, config=own) if reading == Reading() and own.exists() else reading
            path = path / "accepted.jsonl"
        if not path.exists():
            raise ConfigError(f"{path}: no such file")
        found = list(every_example(_dataset(path, reading.fields(path))))
        examples = [each for each in found if isinstance(each, Example)]
        if not examples:
            reason = next((each.detail for each in found if isinstance(each, BadRow)), "the file is empty")
            raise ConfigError(f"{path}: no usable row; {reason}")
        bad = {each.number: each.detail for each in found if isinstance(each, BadRow)}
        return cls(path, examples, bad)

    def measured(self, vectors: Vectors | None) -> Measured:
        labels = [example.label or "" for example in self.examples]
        extras = {name for example in self.examples[:100] for name in example.extras}
        attributes = {
            name: [value_of(example, name) or "" for example in self.examples] for name in sorted(extras)
        }
        texts = [compared(example) for example in self.examples]
        return Measured(texts, vectors, labels if any(labels) else (), attributes)


def _dataset(path: Path, fields: FieldsConfig) -> DatasetConfig:
    return DatasetConfig(path=path, description="a dataset", fields=fields, format=format_of(path))


class Vectoriser:
    """An open embedder with the user's cache. Raises ConfigError where there is no model to be had."""

    def __init__(self, config: EmbeddingConfig, tell: Tell) -> None:
        if config.endpoint is not None:
            raise ConfigError("embedding.endpoint: this command spends nothing; give a local model (--model)")
        try:
            self._embedder = embedder_of(config)
        except EmbedderUnavailable as error:
            raise ConfigError(str(error)) from None
        self._cache = VectorCache(config.cache)
        self._tell = tell
        self._stack = AsyncExitStack()
        self.embedding = Embedding(self._embedder)

    async def __aenter__(self) -> Vectoriser:
        if isinstance(self._embedder, AbstractAsyncContextManager):
            await self._stack.enter_async_context(self._embedder)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def vectors(self, data: Data) -> Vectors:
        def told(done: int, whole: int) -> None:
            if whole > done:
                self._tell(f"{data.path}: {done:,} of {whole:,} rows embedded.")

        return await self._cache.vectors(
            [compared(example) for example in data.examples], self.embedding, told
        )


@dataclass(frozen=True)
class Loaded:
    """Datasets with their vectors, ready to be measured."""

    datasets: Mapping[str, Measured]
    base: Measured | None

    def measured(self, seed: int) -> dict[str, Any]:
        """Measures of each dataset by its path; with several of different sizes, at equal size too."""
        found: dict[str, Any] = {
            "datasets": {name: measures(data, self.base, seed) for name, data in self.datasets.items()}
        }
        if len({len(data.texts) for data in self.datasets.values()}) > 1:
            found["at_equal_size"] = at_equal_size(self.datasets, seed)
        return found


async def load(
    paths: Sequence[Path],
    against: Path | None,
    reading: Reading,
    embedding: EmbeddingConfig | None,
    tell: Tell,
) -> Loaded:
    """Without `embedding`, datasets have no vectors. Raises ConfigError."""
    read = {str(path): Data.read(path, reading) for path in dict.fromkeys(paths)}
    base = Data.read(against, reading) if against is not None else None
    if embedding is None:
        measured = {name: data.measured(None) for name, data in read.items()}
        return Loaded(measured, base.measured(None) if base is not None else None)
    async with Vectoriser(embedding, tell) as vectoriser:
        datasets = {name: data.measured(await vectoriser.vectors(data)) for name, data in read.items()}
        return Loaded(datasets, base.measured(await vectoriser.vectors(base)) if base is not None else None)


async def calibrate(
    path: Path, reading: Reading, embedding: EmbeddingConfig, seed: int, tell: Tell
) -> list[Confusion]:
    """Raises ConfigError."""
    data = Data.read(path, reading)
    async with Vectoriser(embedding, tell) as vectoriser:
        return await calibrated(
            data.examples, await vectoriser.vectors(data), vectoriser.embedding.all, seed=seed
        )


# --- a map for a run without vectors ---------------------------------------------------------------


async def mapped(folder: RunFolder, config: RunConfig, tell: Tell) -> bool:
    """Draw the run's map by its local embedding model, and keep it; False where there are too few items.

    Raises ConfigError, StoreError.
    """
    with contextlib.closing(connect(folder.database)) as connection:
        fields = Fields(config.dataset.fields, LabelStyle(**read_fact(connection, "style")))
        rows = [(item, record) for item, record, _ in islice(read_accepted(connection), MOST_ITEMS)]
    items = [replace(fields.remembered(orjson.loads(record)), number=item) for item, record in rows]
    base = (
        BaseDataset.load(config.dataset).examples[:MOST_ORIGINALS] if config.dataset.path is not None else []
    )
    if len(items) + len(base) < 3 or not items:
        return False
    async with Vectoriser(config.embedding, tell) as vectoriser:
        some = [await _some(vectoriser, folder.path, examples) for examples in (items, base)]
    found = drawn(*some)
    if found is None:
        return False
    journal = Journal(folder.database)
    try:
        await journal.keep_map(found.points, found.about)
    finally:
        await journal.close()
    return True


async def _some(vectoriser: Vectoriser, path: Path, examples: list[Example]) -> Some | None:
    if not examples:
        return None
    vectors = await vectoriser.vectors(Data(path, examples, {}))
    return finite([each.number for each in examples], [compared(each) for each in examples], vectors)


# --- near-duplicates of a file ---------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What a group check finds in a file: rows that say the same as an earlier one, or as one of the base."""

    same: str
    threshold: float
    rows: int
    unreadable: dict[int, str]
    """Rows that are no items, and why."""
    matches: dict[int, Match]
    """By row number; `ref` is an earlier row's number, or minus that of a row of the base dataset."""

    def to_json(self) -> dict[str, Any]:
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
    reading: Reading,
    same: str,
    threshold: float | None,
    embedding: EmbeddingConfig,
    tell: Tell,
) -> Found:
    """The first of several rows that say the same stays, as in a run. Raises ConfigError."""
    data = Data.read(path, reading)
    base = Data.read(against, reading) if against is not None else None
    kind = suited(data.examples) if same == "auto" else same
    memory = Duplicates(kind, threshold)
    if not memory.needs_vectors:
        if base is not None:
            memory.add((-example.number, example) for example in base.examples)
        return Found(kind, memory.threshold, len(data.examples), data.bad, dict(_checked(data, None, memory)))
    async with Vectoriser(embedding, tell) as vectoriser:
        if base is not None:
            vectors = await vectoriser.vectors(base)
            memory.add(((-example.number, example) for example in base.examples), vectors)
        found = dict(_checked(data, await vectoriser.vectors(data), memory))
    return Found(kind, memory.threshold, len(data.examples), data.bad, found)


def _checked(data: Data, vectors: Vectors | None, memory: Duplicates) -> Iterator[tuple[int, Match]]:
    for start in range(0, len(data.examples), _AT_ONCE):
        examples = data.examples[start : start + _AT_ONCE]
        refs = [example.number for example in examples]
        look = memory.look(examples, None if vectors is None else vectors[start : start + _AT_ONCE])
        for place, number in enumerate(refs):
            match = look.same_text(place, refs) or look.nearest(place, refs)
            if match is None:
                look.take(place)
            else:
                yield number, match
        memory.take(look, refs)


def write_kept(source: Path, found: Found, out: Path) -> int:
    """The file's other items, as they are, as JSON lines; how many. Raises StoreError."""
    count = 0
    with replacing(out) as file:
        for number, row in read_rows(source):
            if number not in found.matches and number not in found.unreadable and isinstance(row, dict):
                file.write(orjson.dumps(row, default=str).decode() + "\n")
                count += 1
    return count

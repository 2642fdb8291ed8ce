"""Prepares a run's items for training: mixes in originals, and splits without near-duplicates across."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config import RunConfig
from engine.dataset.base import BaseDataset
from engine.dataset.examples import Examples
from engine.dataset.fields import Fields
from engine.dataset.forms import Example
from engine.diversity.sameness import compared
from engine.errors import ConfigError
from engine.exports.formats import Splits
from engine.protocols import Notify, Row
from engine.schema.values import loads
from engine.store.folder import RunFolder
from engine.store.reading import connect, read_accepted, read_form, read_items, read_tallies

if TYPE_CHECKING:
    from engine.protocols import Vectors

APART = ("auto", "vectors", "words")


@dataclass(frozen=True)
class Wanted:
    """How to mix and split a run's items."""

    test: float = 0.0
    """Share of the rows to hold out."""
    originals: float = 0.0
    """Share of the rows that come from the base dataset."""
    apart: str = "auto"
    """How near-duplicates are found: by the run's vectors or by runs of 13 words; 'auto': vectors, if any."""
    closeness: float = 0.9
    """The cosine from which on two items are kept on the same side."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        for name, share in (("--test", self.test), ("--originals", self.originals)):
            if not 0 <= share < 1:
                raise ConfigError(f"{name} {share:g}: must be a share from 0 up to, and without, 1")
        if self.apart not in APART:
            raise ConfigError(f"--apart {self.apart}: there is no such way; allowed: {', '.join(APART)}")


@dataclass(frozen=True)
class Mixture:
    """RowSource by part, how many in each, and how many are originals."""

    splits: Splits
    counts: dict[str, int]
    originals: int
    fields: Fields


@contextmanager
def mixture_of(folder: RunFolder, config: RunConfig, wanted: Wanted, notify: Notify) -> Iterator[Mixture]:
    """While the block lasts, every iteration gives the same rows, even if the run continues meanwhile.

    Raises ConfigError where originals, or vectors to detect near-duplicates, are wanted but missing.
    """
    with contextlib.closing(connect(folder.database)) as connection:
        connection.execute("BEGIN")  # one transaction: it does not see later commits
        fields = read_form(connection, config.item_fields)
        accepted = read_tallies(connection).accepted
        there = BaseDataset.load(config.dataset).examples if wanted.originals else []
        chosen = _chosen(there, accepted, wanted)
        originals = [(there[place], _row_of(there, place, fields)) for place in chosen]
        held: set[int] = set()
        if wanted.test:
            texts, kept = _accepted(connection, fields)
            vectors = _vectors(config, kept, there, chosen, wanted, notify)
            held = _held_out(
                [*texts, *(compared(example) for example, _ in originals)], vectors, wanted, notify
            )

        def rows(of: bool | None) -> Iterator[Row]:
            """The rows held out (True), the others (False), or all (None)."""
            for place, row in enumerate(read_items(connection, "accepted")):
                if of is None or (place in held) is of:
                    yield row
            for place, (example, row) in enumerate(originals, accepted):
                if of is None or (place in held) is of:
                    yield {**row, "_meta": {"original": True, "row": example.number}}

        whole = accepted + len(originals)
        if wanted.test:
            splits: Splits = {"train": lambda: rows(False), "test": lambda: rows(True)}
            counts = {"train": whole - len(held), "test": len(held)}
        else:
            splits, counts = {"": lambda: rows(None)}, {"": whole}
        yield Mixture(splits, counts, len(originals), fields)


def _row_of(there: Sequence[Example], place: int, fields: Fields) -> Row:
    """An original row as it stands in the dataset, with all its columns."""
    row = there.row(place) if isinstance(there, Examples) else fields.write(there[place])
    return {name: value for name, value in row.items() if name != "_meta"}


def _chosen(there: Sequence[Example], accepted: int, wanted: Wanted) -> list[int]:
    """Which of the base's examples to add: a random choice that makes up their share, in the base's order."""
    if not wanted.originals:
        return []
    if not there:
        raise ConfigError("--originals: the run has no base dataset")
    count = round(accepted * wanted.originals / (1 - wanted.originals))
    if count > len(there):
        most = len(there) / (len(there) + accepted)
        raise ConfigError(
            f"--originals {wanted.originals:g}: needs {count:,} rows of the base dataset, which has {len(there):,}; "
            f"{most:.3f} is the most beside {accepted:,} items"
        )
    return sorted(random.Random(f"{wanted.seed}/originals").sample(range(len(there)), count))


def _held_out(texts: Sequence[str], vectors: Vectors | None, wanted: Wanted, notify: Notify) -> set[int]:
    """Indices of the rows that are held out."""
    from engine.diversity.split import Groups, held_out, join_by_vectors, join_by_words

    groups = Groups(len(texts))
    join_by_words(groups, texts)
    if vectors is not None:
        join_by_vectors(groups, vectors, wanted.closeness)
    members = groups.members()
    held = held_out(members, wanted.test, wanted.seed)
    by = (
        f"by vectors (cosine {wanted.closeness:g}) and words"
        if vectors is not None
        else "by runs of 13 words"
    )
    largest = max(map(len, members), default=0)
    notify(
        f"{len(held):,} of {len(texts):,} rows are held out ({len(held) / max(1, len(texts)):.1%}); near-duplicates "
        f"told {by} stay on one side: {len(members):,} groups, the largest of {largest:,}."
    )
    if len(held) == len(texts):
        raise ConfigError(f"--test {wanted.test:g}: leaves nothing to train on; lower the share")
    if not held:
        raise ConfigError(
            f"--test {wanted.test:g}: no group of near-duplicates is small enough; raise the share, or --closeness"
        )
    return held


# --- vectors ---------------------------------------------------------------------------------------


def _accepted(connection: sqlite3.Connection, fields: Fields) -> tuple[list[str], list[bytes | None]]:
    """The compared text of each accepted item, and its vector, if the run kept one."""
    texts, kept = [], []
    for _, record, vector in read_accepted(connection):
        texts.append(compared(fields.remembered(loads(record))))
        kept.append(vector)
    return texts, kept


def _vectors(
    config: RunConfig,
    kept: Sequence[bytes | None],
    there: Sequence[Example],
    chosen: Sequence[int],
    wanted: Wanted,
    notify: Notify,
) -> Vectors | None:
    """Vectors of the accepted items and chosen originals; NaN where one has none. None to use words only."""
    if wanted.apart == "words" or not any(vector is not None for vector in kept):
        if wanted.apart == "vectors":
            raise ConfigError(
                "--apart vectors: the run kept none (no group check by meaning); use --apart words"
            )
        return None
    import numpy as np

    from engine.diversity.embedding import restored, stacked

    items = stacked([None if vector is None else restored(vector) for vector in kept])
    assert items is not None
    if not chosen:
        return items
    if config.embedding.endpoint is not None:
        notify("Originals are compared by their words only: their vectors would have to be paid for.")
        return np.concatenate([items, np.full((len(chosen), items.shape[1]), np.nan, np.float32)])
    return np.concatenate([items, asyncio.run(_of_base(config, there, notify))[list(chosen)]])


async def _of_base(config: RunConfig, there: Sequence[Example], notify: Notify) -> Vectors:
    """The base's vectors by the run's own model; cached if the run has compared its items with the base."""
    from engine.analysis.datasets import Data
    from engine.analysis.vectors import Vectoriser

    async with Vectoriser(config.embedding, notify) as vectoriser:
        return await vectoriser.vectors(Data(Path("the base dataset"), there, {}))

"""Check-and-add against n vectors, in micro-batches, with planted near-duplicates; and the paper's loop beside it.

    python benchmarks/groupcheck.py [N ...]      default 100000 1000000

Vectors are clustered as those of texts are: a common mean, topics, subtopics, a falling spectrum. Every fifth
offered vector is a near-duplicate of one that is there, at a similarity of 0.85 to 0.99. Beside it FAISS's flat
index, and the paper's group check: every pair of items in a Python loop.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import result, table
from engine.diversity.duplicates import Duplicates
from engine.diversity.index import Exact, Index, Ivf

DIMENSIONS = 384
THRESHOLD = 0.85
OFFERED = 4096
PLANTED = (0.85, 0.90, 0.95)


class Texts:
    """Items without a text of their own: all that is measured is their vectors."""

    label = None
    choices = ()

    def __init__(self, number: int) -> None:
        self.text = f"item {number}"


def drawn(count: int, seed: int) -> Any:
    """Unit vectors: 0.15 of their square a common mean, 0.30 a topic, 0.25 a subtopic, 0.30 their own."""
    shape = np.random.default_rng(0)
    axes, _ = np.linalg.qr(shape.standard_normal((DIMENSIONS, DIMENSIONS)))
    spectrum = np.arange(1, DIMENSIONS + 1) ** -0.5
    basis = (axes * np.sqrt(spectrum / spectrum.sum())).T.astype(np.float32)
    chance = np.random.default_rng(seed)

    def directions(source: np.random.Generator, rows: int) -> Any:
        found = source.standard_normal((rows, DIMENSIONS), np.float32) @ basis
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    topics, subtopics = directions(shape, 1000), directions(shape, 25_000)
    mean, parent = directions(shape, 1), shape.integers(0, 1000, 25_000)
    found = np.empty((count, DIMENSIONS), np.float32)
    for start in range(0, count, 50_000):
        rows = min(50_000, count - start)
        sub = chance.integers(0, 25_000, rows)
        parts = math.sqrt(0.30) * topics[parent[sub]] + math.sqrt(0.25) * subtopics[sub]
        found[start : start + rows] = (
            math.sqrt(0.15) * mean + parts + math.sqrt(0.30) * directions(chance, rows)
        )
    return rounded(found)


def rounded(vectors: Any) -> Any:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float16).astype(np.float32)


def near(vectors: Any, similarity: Any, seed: int) -> Any:
    """One vector for each, at this cosine to it."""
    away = np.random.default_rng(seed).standard_normal(vectors.shape).astype(np.float32)
    away -= np.einsum("ij,ij->i", away, vectors)[:, None] * vectors
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    cosine = np.asarray(similarity, np.float32).reshape(-1, 1)
    return rounded(cosine * vectors + np.sqrt(1 - cosine**2) * away)


def stream(base: Any) -> Any:
    """What is offered: fresh vectors, every fifth of them near one that is there."""
    offered = drawn(OFFERED, 7)
    chance = np.random.default_rng(3)
    places = np.arange(0, OFFERED, 5)
    targets = base[chance.integers(0, len(base), len(places))]
    offered[places] = near(targets, chance.uniform(0.85, 0.99, len(places)), 4)
    return offered


def check_and_add(memory: Duplicates, offered: Any, size: int) -> float:
    """Items per second through compare, decide, add."""
    items = [Texts(n) for n in range(len(offered))]
    began = time.perf_counter()
    for start in range(0, len(offered), size):
        batch = items[start : start + size]
        comparison = memory.compare(batch, offered[start : start + size])
        refs = list(range(start, start + len(batch)))
        for place in range(len(batch)):
            if comparison.nearest(place, refs) is None:
                comparison.accept(place)
        memory.add_accepted(comparison, refs)
    return len(offered) / (time.perf_counter() - began)


def filled(base: Any, policy: str) -> Duplicates:
    """All of the base, under one key, as if it had been accepted."""
    memory = Duplicates("meaning", THRESHOLD, policy)
    for start in range(0, len(base), 20_000):
        rows = base[start : start + 20_000]
        memory.add([(n, Texts(n)) for n in range(start, start + len(rows))], rows)
    return memory


def recall(index: Index, base: Any) -> list[float]:
    """Of near-duplicates planted at each similarity, the share that is found at that threshold."""
    found = []
    for similarity in PLANTED:
        targets = base[np.random.default_rng(9).integers(0, len(base), 2000)]
        planted = near(targets, np.full(2000, similarity + 0.003), 5)
        found.append(float((index.nearest(planted, similarity).rows >= 0).mean()))
    return found


def flat(base: Any) -> Callable[[Any], Any]:
    import faiss

    index = faiss.IndexFlatIP(DIMENSIONS)
    index.add(base)
    return lambda queries: index.search(queries, 1)


def faiss_flat(base: Any, offered: Any) -> float:
    search = flat(base)
    count = 512 if len(base) <= 200_000 else 256
    began = time.perf_counter()
    for start in range(0, count, 256):
        search(offered[start : start + 256])
    return count / (time.perf_counter() - began)


def papers_loop(vectors: Any) -> float:
    """Seconds: every pair, Euclidean distance below 0.3, as published (a NumPy norm for each pair)."""
    began = time.perf_counter()
    for one, other in itertools.combinations(range(len(vectors)), 2):
        if np.linalg.norm(vectors[one] - vectors[other]) < 0.3:
            pass
    return time.perf_counter() - began


def rebuilt(base: Any) -> float:
    """Seconds to read so many accepted items of a journal back into an empty group check."""
    import asyncio

    from engine.config import FieldsConfig
    from engine.dataset.base import BaseDataset
    from engine.dataset.fields import Fields
    from engine.stages.groupcheck import GroupCheck
    from engine.store.journal import ItemRow, Journal
    from engine.store.reading import connect, read_accepted

    async def whole() -> float:
        with tempfile.TemporaryDirectory(prefix="datagen-bench-") as place:
            journal = Journal(Path(place) / "run.db")
            for start in range(0, len(base), 5_000):
                rows = range(start, min(start + 5_000, len(base)))
                journal.keep_vectors([(n, b"", base[n].astype(np.float16).tobytes()) for n in rows])
                journal.commit(
                    [ItemRow(n, "accepted", None, None, None, f'{{"text":"item {n}"}}', "{}") for n in rows],
                    0,
                )
                await journal.settled()
            began = time.perf_counter()
            group = GroupCheck(Duplicates("meaning", THRESHOLD), BaseDataset(Fields(FieldsConfig())))
            with contextlib.closing(connect(journal.path)) as connection:
                group.remember_accepted(read_accepted(connection))
            taken = time.perf_counter() - began
            await journal.close()
            return taken

    return asyncio.run(whole())


def memory_mb() -> float:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or [100_000, 1_000_000]
    rows: list[list[Any]] = []
    for size in sizes:
        base = drawn(size, 1)
        offered = stream(base)
        for policy in ("exact", "ivf"):
            before = memory_mb()
            memory = filled(base, policy)
            each = (memory_mb() - before) * 1e6 / size
            [bucket] = memory._many.values()
            assert isinstance(bucket.index, Exact if policy == "exact" else Ivf)
            rates = [
                check_and_add(memory, offered[: OFFERED // 2], 32),
                check_and_add(memory, offered[OFFERED // 2 :], 256),
            ]
            found = recall(bucket.index, base)
            rows.append(
                [f"{size:,}", policy, *map(round, rates), *(round(value, 4) for value in found), round(each)]
            )
            del memory, bucket
        rows.append(
            [f"{size:,}", "FAISS flat, search only", "", round(faiss_flat(base, offered)), 1, 1, 1, ""]
        )
    columns = [
        "n",
        "index",
        "items/s by 32",
        "by 256",
        *(f"found at {s:g}" for s in PLANTED),
        "bytes an item",
    ]
    table("Check-and-add; share of planted near-duplicates that is found", columns, rows)

    loops = [(count, papers_loop(drawn(count, 2))) for count in (1_000, 5_000)]
    growth = statistics.fmean(taken / count**2 for count, taken in loops)
    table(
        "The paper's loop over all pairs",
        ["items", "seconds"],
        [
            *([f"{count:,}", round(taken, 2)] for count, taken in loops),
            ["100,000 (extrapolated)", round(growth * 1e10)],
        ],
    )
    taken = rebuilt(drawn(100_000, 1))
    print(f"\nread back from the journal, 100,000 items: {taken:.1f} s")
    result("groupcheck", rows=rows, papers_loop=loops, rebuilt_s=taken)


if __name__ == "__main__":
    main()

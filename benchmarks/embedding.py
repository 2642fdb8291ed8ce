"""The engine's embedder beside sentence-transformers as it comes, on the same texts, in one run.

    python benchmarks/embedding.py [TEXTS] [ROUNDS]      default 1024 texts, 3 rounds taking turns

Texts are GSM8K's problems where DATAGEN_DATA has them, else the example dataset's, over and over. Lag: how late a
sleep of 5 ms returns on an event loop that waits for the vectors meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from common import DATA, result, table
from engine.diversity.embedding import Embedding
from engine.diversity.local_model import LocalModel
from engine.diversity.model_files import located

MODEL = "all-MiniLM-L6-v2"


def texts(count: int) -> list[str]:
    published = Path(os.environ.get("DATAGEN_DATA", "")) / "gsm8k" / "train.jsonl"
    lines = (published if published.is_file() else DATA).read_bytes().splitlines()
    found = [str(orjson.loads(line)["question"]) for line in lines]
    return [found[n % len(found)] for n in range(count)]


async def engine_side(given: list[str], model: LocalModel) -> tuple[float, Any, list[float]]:
    """Texts per second through the micro-batcher, the vectors, and the loop's lags in milliseconds."""
    embedding, lags, busy = Embedding(model), [], True

    async def turning() -> None:
        while busy:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append((time.perf_counter() - began - 0.005) * 1000)

    task = asyncio.create_task(turning())
    began = time.perf_counter()
    vectors = np.stack(await asyncio.gather(*(embedding.one(text) for text in given)))
    taken = time.perf_counter() - began
    busy = False
    await task
    return len(given) / taken, vectors, lags


async def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    given = texts(count)
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(located(MODEL)), device="cpu", local_files_only=True)
    floor, ours, every_lag = [], [], []
    async with LocalModel(MODEL) as model:
        plain.encode(given[:64])
        await model.embed(given[:64])
        for _ in range(rounds):
            began = time.perf_counter()
            whole = plain.encode(given, normalize_embeddings=True)
            floor.append(count / (time.perf_counter() - began))
            rate, vectors, lags = await engine_side(given, model)
            ours.append(rate)
            every_lag.extend(lags)
        precision = model.precision
    moved = np.abs(whole @ whole.T - vectors @ vectors.T)
    ratio = statistics.median(ours) / statistics.median(floor)
    lag = float(np.percentile(every_lag, 99))
    table(
        f"{count:,} texts, medians of {rounds} rounds; the engine in {precision}",
        ["", "texts/s"],
        [
            ["sentence-transformers, its defaults", statistics.median(floor)],
            ["engine, one by one through the micro-batcher", statistics.median(ours)],
            ["ratio", ratio],
        ],
    )
    print(f"\npair similarities moved: at most {moved.max():.4f}, p99 {np.percentile(moved, 99):.4f}")
    print(f"event-loop lag: p99 {lag:.1f} ms, most {max(every_lag):.1f} ms")
    result(
        "embedding", texts=count, precision=precision, plain=floor, engine=ours, ratio=ratio,
        moved=float(moved.max()), lag_p99_ms=lag,
    )  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())

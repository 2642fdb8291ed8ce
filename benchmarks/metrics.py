"""Each measure at several sizes: seconds, and where it is sampled how far it is off.

python benchmarks/metrics.py [N ...]      default 1000 10000 50000
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any

from common import result, table
from engine.diversity.measures import vectors as of_vectors
from engine.diversity.measures import words as of_words
from engine.simulator.content import word_problems
from groupcheck import drawn


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def shown(found: Any) -> str:
    if isinstance(found, of_words.SelfBleu):
        return f"{found.score:.2f} +- {found.half_width:.2f}"
    return f"{found:.4f}"


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or [1_000, 10_000, 50_000]
    rows: dict[str, list[Any]] = {}
    whole = []
    for size in sizes:
        vectors = drawn(size, 1)
        chance = random.Random(0)
        texts = [word_problems.draw(chance).text for _ in range(size)]
        items = [of_words.tokens(text) for text in texts]
        measures: dict[str, Callable[[], Any]] = {
            "remote-clique": lambda v=vectors: of_vectors.remote_clique(v).pairs,
            "APS": lambda v=vectors: of_vectors.average_pairwise_similarity(v),
            "Vendi score": lambda v=vectors: of_vectors.vendi_score(v),
            "nearest neighbours within": lambda v=vectors: float(of_vectors.nearest_similarities(v).mean()),
            "INGF": lambda w=items: of_words.inter_sample_frequency(w),
            "distinct-2": lambda w=items: of_words.distinct(w, 2),
            "self-BLEU, sampled": lambda t=texts: of_words.self_bleu(t),
        }
        total = 0.0
        for name, work in measures.items():
            taken, found = timed(work)
            total += taken
            shown = (
                f"{found.score:.2f} +- {found.half_width:.2f}"
                if isinstance(found, of_words.SelfBleu)
                else f"{found:.4f}"
            )
            rows.setdefault(name, [name]).extend([round(taken, 2), shown])
        whole.append(round(total, 1))
    columns = ["measure", *(f"{size:,}: {what}" for size in sizes for what in ("s", "value"))]
    table("Measures", columns, [*rows.values(), ["all", *(cell for total in whole for cell in (total, ""))]])

    chance = random.Random(1)
    texts = [word_problems.draw(chance).text for _ in range(400)]
    taken, exact = timed(lambda: of_words.self_bleu(texts, most=400, references=399))
    sampled = [of_words.self_bleu(texts, seed, most=100, references=399) for seed in range(10)]
    off = [abs(each.score - exact.score) for each in sampled]
    inside = sum(error <= each.half_width for error, each in zip(off, sampled, strict=True))
    print(f"\nself-BLEU of 400 items: exact {exact.score:.2f} in {taken:.1f} s; from 100 of them off by at most "
          f"{max(off):.2f}, within its interval {inside} of 10 times")  # fmt: skip
    result("metrics", sizes=sizes, rows=list(rows.values()), seconds=whole, self_bleu_error=max(off))


if __name__ == "__main__":
    main()

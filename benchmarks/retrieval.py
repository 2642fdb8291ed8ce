"""Evidence recall: how often the answer to a question stands in the passages retrieved for it.

python benchmarks/retrieval.py [DATA]     DATA holds wikipedia/wikipedia-slice.jsonl and squad-questions.jsonl
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from common import ROOT, result, table
from validators.facts.local import Local, LocalOptions


async def recalls(data: Path) -> list[list[Any]]:
    questions = [orjson.loads(line) for line in (data / "squad-questions.jsonl").read_bytes().splitlines()]
    rows = []
    async with Local(LocalOptions(path=data / "wikipedia-slice.jsonl")) as local:
        for name, entity in (("in the right article", "title"), ("over the whole slice", None)):
            began = time.perf_counter()
            wanted = [(question[entity] if entity else "", question["question"]) for question in questions]
            found = await local.retrieve(wanted, 5)
            each = (time.perf_counter() - began) / len(questions)
            shares = [
                sum(
                    any(answer in passage.text for passage in passages[:k] for answer in question["answers"])
                    for passages, question in zip(found, questions, strict=True)
                )
                / len(questions)
                for k in (1, 3, 5)
            ]
            rows.append([name, *(round(share, 3) for share in shares), round(each * 1000, 2)])
    return rows


def main() -> None:
    data = Path(
        sys.argv[1]
        if len(sys.argv) > 1
        else os.environ.get("DATAGEN_DATA") or ROOT.parent / "shared" / "data"
    )
    rows = asyncio.run(recalls(data / "wikipedia"))
    table("Answer inside the best passages", ["searched", "top 1", "top 3", "top 5", "ms each"], rows)
    result("retrieval", recall=rows)


if __name__ == "__main__":
    main()

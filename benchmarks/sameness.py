"""What each kind of sameness takes for the same, at each threshold, on published datasets.

    DATAGEN_DATA=FOLDER python benchmarks/sameness.py [ROWS]      default 500 rows varied of each dataset

'reworded', 'other names', 'other numbers' are variants of a row made by rules (engine/diversity/variants.py);
'another row' are rows of the dataset that are taken for a different one of its rows.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from common import result, table
from engine.config import DatasetConfig
from engine.dataset.base import every_example
from engine.dataset.forms import Example
from engine.diversity.calibration import THRESHOLDS, calibrated
from engine.diversity.embedding import Embedding
from engine.diversity.local_model import LocalModel
from engine.diversity.sameness import compared
from engine.diversity.vector_cache import embedded

DATASETS: dict[str, dict[str, Any]] = {
    "gsm8k/train.jsonl": {"text": "question", "label": {"field": "answer", "pattern": "#### (.+)"}},
    "mmlu/test.jsonl": {"text": "question", "choices": {"field": "choices"}, "label": {"field": "answer"}},
    "truthfulqa/TruthfulQA.csv": {"text": "Question", "label": {"field": "Best Answer"}},
}
MOST = 6_000
"""Rows of a dataset that are looked at."""


async def main() -> None:
    varied = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    data = os.environ.get("DATAGEN_DATA")
    if data is None:
        sys.exit("set DATAGEN_DATA to the folder of the published datasets")
    found: dict[str, Any] = {}
    async with LocalModel("all-MiniLM-L6-v2") as model:
        embedding = Embedding(model)
        for name, fields in DATASETS.items():
            config = DatasetConfig.model_validate(
                {"path": Path(data) / name, "description": "x", "fields": fields}
            )
            examples = [each for each in every_example(config) if isinstance(each, Example)][:MOST]
            vectors = await embedded([compared(example) for example in examples], embedding)
            for confusion in await calibrated(examples, vectors, embedding.all, most=varied):
                title = (
                    f"{name}, {len(examples):,} rows, same: {confusion.same}; proposed {confusion.proposed:g}"
                )
                rows = [
                    [kind, *(f"{share:.3f}" for share in shares)] for kind, shares in confusion.rows.items()
                ]
                table(title, ["", *(f"{threshold:.2f}" for threshold in THRESHOLDS)], rows)
                found[f"{name} {confusion.same}"] = dict(confusion.rows)
                if all(
                    o >= r
                    for o, r in zip(confusion.rows["another row"], confusion.rows["reworded"], strict=True)
                ):
                    sys.exit(f"{title}: other rows are taken for the same as often as reworded ones.")
    result("sameness", thresholds=THRESHOLDS, found=found)


if __name__ == "__main__":
    asyncio.run(main())

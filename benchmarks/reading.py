"""Reading a base dataset of 400,000 rows: seconds and peak memory, beside pyarrow's own reader on the same file.

python benchmarks/reading.py [--rows 400000] [--words 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from statistics import median

import orjson

from common import folder, measured, result, table

WORDS = [
    first + last for first in ("al", "be", "ga", "de", "ep", "ze") for last in ("pha", "ta", "mma", "lon")
]
_ARROW = """
import pyarrow.json as reader, sys
with reader.open_json(sys.argv[1]) as rows: print(sum(batch.num_rows for batch in rows))
"""
_ROWS = """
import sys
from pathlib import Path
from engine.files.source import rows_of
print(sum(1 for _ in rows_of(Path(sys.argv[1]))))
"""
_BASE = """
import sys
from engine.config import DatasetConfig, FieldsConfig
from engine.dataset.base import BaseDataset
given = {"text": "question", "label": "answer", "extras": ["subject", "score"]}
fields = FieldsConfig.model_validate(given)
print(BaseDataset.HOW(DatasetConfig(path=(sys.argv[1],), description="-", fields=fields)).rows)
"""
WAYS = {
    "pyarrow": _ARROW,
    "every row": _ROWS,
    "for an audit": _BASE.replace("HOW", "streamed"),
    "for a run": _BASE.replace("HOW", "load"),
}


def written(path: Path, rows: int, words: int) -> None:
    """Rows with a question, an answer of as many words, a subject and a score; their questions differ."""
    chance = random.Random(0)
    with path.open("wb") as file:
        for number in range(rows):
            question, answer = (" ".join(chance.choices(WORDS, k=words)) for _ in range(2))
            row = {"id": number, "question": f"{number} {question}", "answer": answer}
            row |= {"subject": chance.choice(WORDS), "score": chance.random()}
            file.write(orjson.dumps(row) + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with folder() as place:
        path = place / "rows.jsonl"
        written(path, options.rows, options.words)
        size = path.stat().st_size
        for _ in range(options.rounds):  # in turn, since the machine's speed drifts
            for name, program in WAYS.items():
                one = measured([sys.executable, "-c", program, str(path)])
                assert one["exit"] == 0, one
                found[name].append(one)
    seconds = {name: median(one["wall_s"] for one in all_of) for name, all_of in found.items()}
    peaks = {name: median(one["rss_mb"] for one in all_of) for name, all_of in found.items()}
    rows = [[name, seconds[name], seconds[name] / seconds["pyarrow"], peaks[name]] for name in WAYS]
    table(
        f"{options.rows:,} rows, {size / 1e6:,.0f} MB of JSON lines",
        ["", "seconds", "of pyarrow's", "RSS MB"],
        rows,
    )
    result("reading", rows=options.rows, megabytes=round(size / 1e6), seconds=seconds, rss_mb=peaks)


if __name__ == "__main__":
    main()

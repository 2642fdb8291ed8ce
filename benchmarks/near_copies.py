"""A validator of one's own, as people write them: plain Python that takes milliseconds for each item."""

from __future__ import annotations

from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import orjson

from engine.items import Item, Verdict
from engine.protocols import Tools

ROWS = Path(__file__).resolve().parent.parent / "examples" / "grade_school.jsonl"
DIST_INFO = {
    "METADATA": "Metadata-Version: 2.1\nName: near-copies\nVersion: 1\n",
    "entry_points.txt": "[datagen.validators]\nnear_copies = near_copies:NearCopies\n",
}


class NearCopies:
    """Rejects what differs from a row of the base dataset in a few letters alone."""

    name = "near_copies"

    def __init__(self, tools: Tools, **options: Any) -> None:
        texts = [str(orjson.loads(line)["question"]) for line in ROWS.read_bytes().splitlines()]
        self._rows = [SequenceMatcher(None, "", text) for text in texts[:40]]

    async def validate(self, item: Item) -> Verdict:
        for row in self._rows:
            row.set_seq1(item.text)
            if row.quick_ratio() >= 0.95 and row.ratio() >= 0.95:
                return Verdict.rejected(self.name, "near_copy", f"hardly differs from {row.b[:60]!r}")
        return Verdict.passed(self.name)


def installed(folder: Path) -> None:
    """Makes the folder one that holds this package, once it is on the path."""
    info = folder / "near_copies-1.dist-info"
    info.mkdir()
    for name, text in DIST_INFO.items():
        (info / name).write_text(text)

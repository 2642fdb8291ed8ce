"""The lengths and labels of a dataset's texts, for comparing two datasets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

from engine.dataset.forms import Example

MOST = 5_000
"""Most texts that are counted."""
_LABELS = 15
_WORD = re.compile(r"\w+")


def profile_of(examples: Iterable[Example]) -> dict[str, Any]:
    """Counts texts by their number of words and by label; `labels` is empty if there are many, `frequent` never."""
    lengths: Counter[int] = Counter()
    labels: Counter[str] = Counter()
    for example in islice(examples, MOST):
        lengths[len(_WORD.findall(example.text))] += 1
        if example.label is not None:
            labels[example.answer] += 1
    count = lengths.total()
    few = len(labels) <= max(2, count // 2)
    return {
        "items": count,
        "lengths": {str(length): number for length, number in sorted(lengths.items())},
        "labels": dict(labels.most_common(_LABELS)) if few else {},
        "frequent": dict(labels.most_common(_LABELS)),
    }

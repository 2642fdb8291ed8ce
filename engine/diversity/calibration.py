"""Measures what each threshold lets through and catches on the user's own dataset, and proposes one."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.dataset.forms import Example
from engine.diversity.duplicates import Duplicates
from engine.diversity.index import similarity
from engine.diversity.sameness import KEYS, compared
from engine.diversity.variants import VARIANTS

if TYPE_CHECKING:
    from engine.protocols import Vectors

THRESHOLDS = (0.80, 0.85, 0.88, 0.90, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98)
KINDS = ("meaning", "meaning+numbers", "meaning+answer")
FALSE_ALARMS = 0.01
"""The share of different rows that a proposed threshold may flag as the same."""
CAUGHT = 0.99
"""The share of reworded rows that a proposed threshold should catch."""


@dataclass(frozen=True)
class Confusion:
    """For one kind of sameness: the share flagged at each threshold."""

    same: str
    rows: Mapping[str, Sequence[float]]
    """By variant, and under 'another row': dataset rows that are flagged as the same as a different row."""

    @property
    def proposed(self) -> float:
        """The highest threshold with few false alarms that catches nearly all reworded rows.

        If there is no such threshold: the lowest with few false alarms, or else the highest of all.
        """
        alarms, caught = self.rows["another row"], self.rows.get("reworded", [1.0] * len(THRESHOLDS))
        fit = [place for place, share in enumerate(alarms) if share <= FALSE_ALARMS]
        good = [place for place in fit if caught[place] >= CAUGHT]
        return THRESHOLDS[good[-1] if good else fit[0] if fit else -1]

    def as_dict(self) -> dict[str, object]:
        rows = {name: list(shares) for name, shares in self.rows.items()}
        return {"same": self.same, "thresholds": list(THRESHOLDS), "flagged": rows, "proposed": self.proposed}


async def calibrated(
    examples: Sequence[Example],
    vectors: Vectors,
    embed: Callable[[Sequence[str]], Awaitable[Vectors]],
    *,
    most: int = 500,
    seed: int = 0,
) -> list[Confusion]:
    """One result for each kind of sameness, from variants of up to `most` rows drawn at random."""
    chance = random.Random(seed)
    sound = [row for row in range(len(examples)) if np.isfinite(vectors[row, 0])]
    drawn = chance.sample(sound, min(most, len(sound)))
    varied: dict[str, tuple[list[Example], list[int], Vectors]] = {}
    for name, change in VARIANTS.items():
        changed = [(row, _variant(examples[row], name, change(examples[row].text, chance))) for row in drawn]
        changed = [(row, example) for row, example in changed if example.text != examples[row].text]
        if changed:
            vectors_changed = await embed([compared(example) for _, example in changed])
            varied[name] = [example for _, example in changed], [row for row, _ in changed], vectors_changed
    return [_confusion(same, examples, vectors, drawn, varied) for same in KINDS]


def _variant(example: Example, name: str, text: str) -> Example:
    """The example with its new text; other numbers also change the answer, to an unknown value."""
    label = f"not {example.label}" if name == "other numbers" and example.label is not None else example.label
    return replace(example, text=text, label=label)


def _confusion(
    same: str,
    examples: Sequence[Example],
    vectors: Vectors,
    drawn: Sequence[int],
    varied: Mapping[str, tuple[list[Example], list[int], Vectors]],
) -> Confusion:
    key = KEYS[same]
    rows: dict[str, list[float]] = {}
    for name, (changed, places, vectors_changed) in varied.items():
        near = similarity(vectors_changed, vectors[places])
        alike = np.array(
            [key(one) == key(examples[place]) for one, place in zip(changed, places, strict=True)]
        )
        rows[name] = [float(((near >= threshold - 1e-6) & alike).mean()) for threshold in THRESHOLDS]
    rows["another row"] = _alarms(same, examples, vectors, drawn)
    return Confusion(same, rows)


def _alarms(same: str, examples: Sequence[Example], vectors: Vectors, drawn: Sequence[int]) -> list[float]:
    """The share of drawn rows with a near row, of the same key but another text, among the undrawn rows."""
    others = sorted(set(range(len(examples))) - set(drawn))
    if not others:
        return [0.0] * len(THRESHOLDS)
    memory = Duplicates(same, THRESHOLDS[0])
    memory.add(((row, examples[row]) for row in others), vectors[others])
    comparison = memory.compare([examples[row] for row in drawn], vectors[list(drawn)])
    refs = list(drawn)
    near = [
        match.similarity
        if (match := comparison.nearest(place, refs)) and not comparison.same_text(place, refs)
        else -1.0
        for place in range(len(drawn))
    ]
    return [sum(value >= threshold for value in near) / len(drawn) for threshold in THRESHOLDS]

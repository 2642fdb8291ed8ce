"""Chooses the examples, temperature, seed and labels of a batch: pure functions."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.config import GenerateConfig
from engine.items import Batch
from engine.planning.few_shot import Selector
from engine.planning.strategies import Choice
from engine.planning.turns import Turns

Labels = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Planner:
    """Makes batches by number. The same seed, number, labels, choice and advice give the same batch."""

    generate: GenerateConfig
    seed: int
    selectors: Mapping[str, Selector]
    """By strategy."""
    rows: Mapping[tuple[str, str], Sequence[int]] = field(default_factory=dict)
    """Rows that have an attribute's value, by (name, value in small letters): they come first where it is asked for."""
    turns: Turns | None = None
    """Which passages batches are made from, where that is documents."""

    def ends_before(self, number: int) -> bool:
        """Whether there is no batch of this number: every passage has had all its turns."""
        return self.turns is not None and number >= self.turns.batches

    def batch(
        self,
        number: int,
        labels: Labels = (),
        choice: Choice | None = None,
        advice: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
    ) -> Batch:
        """`advice`: people's notes, then lessons."""
        notes, lessons = advice
        choice = choice or Choice(next(iter(self.generate.ways)))
        way = self.generate.ways[choice.strategy]
        chance = random.Random(self.seed << 64 | number)
        turn = self.turns.at(number) if self.turns is not None else None
        size = sum(count for _, count in labels) or (
            turn.size if turn is not None else self.generate.batch_size
        )
        examples = self.selectors[choice.strategy].choose(chance, self.generate.few_shot_of(way))
        examples = self._fitting_first(examples, choice, number)
        temperature = self.generate.temperature if way.temperature is None else way.temperature
        if isinstance(temperature, tuple):
            temperature = round(chance.uniform(*temperature), 3)
        return Batch(
            number,
            size,
            chance.getrandbits(31),
            temperature,
            tuple(examples),
            labels,
            strategy=choice.strategy if len(self.generate.ways) > 1 else "",
            attributes=choice.attributes,
            unlike=choice.unlike,
            notes=notes,
            lessons=lessons,
            passages=turn.passages if turn is not None else (),
            unanswerable=turn is not None and turn.unanswerable,
            **self._sampling(number),
        )

    def _sampling(self, number: int) -> dict[str, Any]:
        """top_p and top_k, drawn with dice of their own: whether they are set changes nothing else of a batch."""
        top_p, top_k = self.generate.top_p, self.generate.top_k
        if not isinstance(top_p, tuple) and not isinstance(top_k, tuple):
            return {"top_p": top_p, "top_k": top_k}
        chance = random.Random(f"{self.seed}/sampling/{number}")
        return {
            "top_p": round(chance.uniform(*top_p), 3) if isinstance(top_p, tuple) else top_p,
            "top_k": chance.randint(*top_k) if isinstance(top_k, tuple) else top_k,
        }

    def _fitting_first(self, examples: list[int], choice: Choice, number: int) -> list[int]:
        """Half of the examples, at least one, have the values that are asked for, where there are such rows."""
        asked = [
            set(rows) for cell in choice.attributes if (rows := self.rows.get((cell[0], cell[1].casefold())))
        ]
        if not asked or not examples:
            return examples
        fitting = sorted(set.intersection(*asked)) or sorted(set.union(*asked))
        chance = random.Random(f"{self.seed}/fitting/{number}")
        first = chance.sample(fitting, min(len(fitting), (len(examples) + 1) // 2))
        return [*first, *(each for each in examples if each not in first)][: len(examples)]


def shares(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Divides `total` by weight into whole numbers that add up to it: largest-remainder (Hamilton) method."""
    whole = sum(weights.values())
    exact = {label: total * weight / whole for label, weight in weights.items()}
    parts = {label: int(value) for label, value in exact.items()}
    by_remainder = sorted(exact, key=lambda label: parts[label] - exact[label])
    for label in by_remainder[: total - sum(parts.values())]:
        parts[label] += 1
    return parts


def interleaved(counts: Mapping[str, int]) -> Iterator[str]:
    """Each label as often as its count, spread evenly: in any stretch it gets its share, give or take one."""
    due = [(0.5 / count, label, count, 1) for label, count in counts.items() if count > 0]
    heapq.heapify(due)
    while due:
        _, label, count, nth = heapq.heappop(due)
        yield label
        if nth < count:
            heapq.heappush(due, ((nth + 0.5) / count, label, count, nth + 1))

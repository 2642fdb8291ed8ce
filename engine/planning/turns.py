"""Whose turn it is: which passages each batch is made from, by the seed and the batch's number alone."""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from engine.config.documents import DocumentsConfig
from engine.items import Passage
from engine.planning.attributes import root

_HOPS, _UNANSWERABLE = root(31), root(37)
"""Steps of the walks that spread the kinds of batches evenly; they differ from those of strategies and attributes."""
_WHOLE = 1 << 64
_CANDIDATES = 40
"""Passages of other documents from which one is chosen that goes with another."""
_WORD = re.compile(r"[^\W\d_]{5,}")
_REMEMBERED = 20_000


class Turn(NamedTuple):
    """What one batch is made from."""

    passages: tuple[Passage, ...]
    size: int
    unanswerable: bool


class Turns:
    """Every passage has its turn before any has its second, in an order that is drawn anew for each round.

    Within a round, the passages of a document come in a drawn order, and the documents take turns: by their share of
    passages, or one after the other. A batch of several passages takes those of other documents that have most to do
    with the first, by the rare words that they share; they do not lose their own turn by that.
    Mutable state: what was worked out and may be asked for again.
    """

    def __init__(
        self,
        documents: Sequence[Sequence[int]],
        config: DocumentsConfig,
        size: int,
        seed: int,
        passage: Callable[[int], Passage],
    ) -> None:
        """`documents`: the numbers of their passages. `size`: items in a batch. `passage` gives one by number."""
        self._documents = documents
        self._config = config
        self._seed = seed
        self._passage = passage
        self._sizes = [min(size, config.per_passage - done) for done in range(0, config.per_passage, size)]
        """Items that are asked for of each passage, by round."""
        self.passages = sum(map(len, documents))
        self._bounds = list(accumulate(config.hops.values()))
        self._of = {number: place for place, numbers in enumerate(documents) for number in numbers}
        self._order = lru_cache(maxsize=2)(self._order_of)
        self._words = lru_cache(maxsize=_REMEMBERED)(self._words_of)

    @property
    def batches(self) -> int:
        """How many there are in all."""
        return len(self._sizes) * self.passages

    @property
    def items(self) -> int:
        """How many items are asked for in all."""
        return sum(self._sizes) * self.passages

    def at(self, number: int) -> Turn:
        """Raises IndexError once all passages have had all their turns."""
        turn, place = divmod(number, self.passages)
        if turn >= len(self._sizes):
            raise IndexError(number)
        first = self._order(turn)[place]
        share = self._config.unanswerable
        unanswerable = share > 0 and (number + 1) * _UNANSWERABLE % _WHOLE / _WHOLE < share
        hops = 1 if unanswerable else self._hops(number)
        numbers = self._together(first, hops, number)
        return Turn(tuple(map(self._passage, numbers)), self._sizes[turn], unanswerable)

    def _hops(self, number: int) -> int:
        """How many passages a batch is made from, by their shares, evenly over any stretch of batches."""
        point = (number + 1) * _HOPS % _WHOLE / _WHOLE * self._bounds[-1]
        return list(self._config.hops)[min(bisect_right(self._bounds, point), len(self._bounds) - 1)]

    def _order_of(self, turn: int) -> list[int]:
        chance = random.Random(f"{self._seed}/passages/{turn}")
        drawn = [chance.sample(numbers, len(numbers)) for numbers in self._documents]
        ties = [chance.random() for _ in drawn]
        by_length = self._config.weight == "passages"
        due = (
            (
                (place + 0.5 + ties[document] / 2) / len(numbers) if by_length else place,
                ties[document],
                number,
            )
            for document, numbers in enumerate(drawn)
            for place, number in enumerate(numbers)
        )
        return [number for _, _, number in sorted(due)]

    # --- several passages ---

    def _together(self, first: int, hops: int, number: int) -> list[int]:
        """The first one and those of other documents that go with it."""
        chosen, words = [first], set(self._words(first)) if hops > 1 else set[str]()
        chance = random.Random(f"{self._seed}/hops/{number}")
        while len(chosen) < hops:
            used = {self._of[each] for each in chosen}
            others = [document for document in range(len(self._documents)) if document not in used]
            documents = chance.choices(others, [len(self._documents[each]) for each in others], k=_CANDIDATES)
            candidates = list(dict.fromkeys(chance.choice(self._documents[each]) for each in documents))
            seen = Counter(word for each in candidates for word in self._words(each))
            best = max(candidates, key=lambda each: (self._shared(words, each, seen), -each))
            chosen.append(best)
            words |= self._words(best)
        return chosen

    def _shared(self, words: set[str], other: int, seen: Counter[str]) -> float:
        """What two passages have in common: shared words, each by how rare it is among the candidates."""
        return sum(math.log((_CANDIDATES + 1) / seen[word]) for word in words & self._words(other))

    def _words_of(self, number: int) -> frozenset[str]:
        return frozenset(_WORD.findall(self._passage(number).text.casefold()))

"""Chooses how to request each batch: its strategy, its attributes, and the duplicates that it replaces.

A choice may depend on the outcomes of earlier batches, but not on how fast calls return. So the choice for
batch n depends on exactly the batches up to n - lag, and is journaled before the batch is requested: a
resumed run finds the choices it has made and makes the remaining ones in the same way.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any

from engine.config import GenerateConfig
from engine.items import usd
from engine.planning.attributes import Cell, Cells, root
from engine.planning.delayed import BatchOutcome, DelayedOutcomes

_SHARES, _FLOOR = root(23), root(29)
"""Steps of the walks that distribute batches; they differ from the attributes' steps, so that no strategy is
tied to some attribute's values."""
_WHOLE = 1 << 64
FORGETTING = 0.995
"""An outcome's weight is multiplied by this for each later one: yields fall as a dataset fills."""


@dataclass(frozen=True)
class Choice:
    """The decisions for one batch."""

    strategy: str
    attributes: Cell = ()
    cell: int | None = None
    """The number of the attributes' cell, counted over all batches that have a cell."""
    unlike: tuple[str, ...] = ()
    """Texts that were rejected as duplicates and that this batch replaces."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """The basis of an adaptive choice: the drawn rate of accepted items per dollar, by strategy."""

    def as_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"strategy": self.strategy}
        if self.attributes:
            state |= {"attributes": dict(self.attributes), "cell": self.cell}
        if self.unlike:
            state["unlike"] = list(self.unlike)
        if self.rates:
            state["rates"] = dict(self.rates)
        return state

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Choice:
        return cls(
            state["strategy"],
            tuple(state.get("attributes", {}).items()),
            state.get("cell"),
            tuple(state.get("unlike", ())),
            state.get("rates", {}),
        )


class Mix:
    """Makes the choice for each batch, in order; for a batch that is not decided yet, as often as it is asked.

    Mutable state: the choices for batches that are not decided, cells used so far, the outcomes the bandit has learned
    from, duplicates to replace.
    """

    def __init__(
        self,
        generate: GenerateConfig,
        seed: int,
        cells: Cells | None,
        lag: int | None,
        *,
        retry: bool = False,
        priced: bool = True,
    ) -> None:
        """`lag` in batches; None where no choice depends on an outcome. `priced`: whether calls cost anything."""
        self._ways = generate.ways
        self._generate = generate
        self._seed = seed
        self._cells = cells
        self.delayed = DelayedOutcomes(lag)
        self._retry = retry
        self._cell = 0
        self._yields = Yields(tuple(self._ways), priced=priced)
        self._unlike: deque[tuple[str, Cell, str]] = deque()
        self._made: dict[int, Choice] = {}

    @property
    def trivial(self) -> bool:
        """Whether every batch is requested in the same way, so that there is nothing to journal."""
        return len(self._ways) == 1 and self._cells is None and not self._retry

    def restore(
        self,
        made: Iterable[tuple[int, Mapping[str, Any]]],
        outcomes: Iterable[BatchOutcome],
        partial: Iterable[BatchOutcome] = (),
    ) -> None:
        """Restores earlier starts' choices and outcomes, in order; `partial` are of partly decided batches."""
        for number, state in made:
            self._made[number] = Choice.from_dict(state)
        self.delayed.restore(outcomes, partial)

    def observe(self, outcome: BatchOutcome) -> None:
        """Called for each batch in order, as its items are decided."""
        self._made.pop(outcome.batch, None)
        self.delayed.add(outcome)

    def choose(self, number: int) -> Choice:
        self._learn(number)
        choice = self._made[number] = self._made.get(number) or self._choice(number)
        if choice.cell is not None and choice.cell >= self._cell:
            self._cell = choice.cell + 1
        for _ in choice.unlike:
            if self._unlike:
                self._unlike.popleft()
        return choice

    def skip(self, number: int) -> None:
        """Replays the choices that earlier starts made for batches below `number`, so new ones continue."""
        for earlier in sorted(self._made):
            if earlier < number:
                self.choose(earlier)
                del self._made[earlier]

    def _learn(self, number: int) -> None:
        """Learn from the outcomes that are due for this batch."""
        for outcome in self.delayed.ready(number):
            self._yields.learn(outcome)
            self._unlike.extend((outcome.strategy, *duplicate) for duplicate in outcome.duplicates)

    def _choice(self, number: int) -> Choice:
        if self._retry and self._unlike:
            return self._replacing(number)
        rates: Mapping[str, float] = {}
        if self._generate.strategy == "adaptive" and (spare := self._spare(number)) is None:
            name, rates = self._yields.draw(random.Random(f"{self._seed}/strategy/{number}"))
        elif self._generate.strategy == "adaptive":
            name = spare or ""
        else:
            name = self._by_share(number)
        return self._guided(name, rates)

    def _guided(self, name: str, rates: Mapping[str, float]) -> Choice:
        if self._cells is None or not self._ways[name].attributes:
            return Choice(name, rates=rates)
        return Choice(name, self._cells.at(self._cell), self._cell, rates=rates)

    def _replacing(self, number: int) -> Choice:
        """Replaces the first waiting duplicate and those just behind it of equal strategy and attributes."""
        strategy, attributes, _ = self._unlike[0]
        alike = takewhile(lambda waiting: waiting[:2] == (strategy, attributes), self._unlike)
        texts = tuple(text for _, _, text in islice(alike, self._generate.batch_size))
        return Choice(strategy or self._by_share(number), attributes, unlike=texts)

    def _by_share(self, number: int) -> str:
        """A strategy by its share, evenly over any stretch of batches."""
        shares = [way.share for way in self._ways.values()]
        point = (number + 1) * _SHARES % _WHOLE / _WHOLE * sum(shares)
        for name, share in zip(self._ways, shares, strict=True):
            if point < share:
                return name
            point -= share
        return next(reversed(self._ways))

    def _spare(self, number: int) -> str | None:
        """The strategy that gets this batch under the floor, if any; by share while no outcome is known."""
        if self._yields.unknown:
            return self._by_share(number)
        point = (number + 1) * _FLOOR % _WHOLE / _WHOLE
        if point >= self._generate.floor:
            return None
        names = list(self._ways)
        return names[int(point / self._generate.floor * len(names))]


class Yields:
    """Estimates each strategy's accepted items per dollar: a Gamma-Poisson Thompson sampler.

    A strategy's accepted items are modelled as Poisson in the dollars spent on it; the rate has a Gamma prior
    with the weight of one item at the overall rate. Each draw samples every rate, and the highest wins
    (Thompson, 1933; Chapelle and Li, 2011). Outcomes are discounted by FORGETTING, for rates that drift.
    Mutable state: discounted items and dollars by strategy.
    """

    def __init__(self, names: tuple[str, ...], *, priced: bool = True) -> None:
        """If calls cost nothing (not `priced`), each batch counts as one dollar."""
        self._priced = priced
        self._items = dict.fromkeys(names, 0.0)
        self._dollars = dict.fromkeys(names, 0.0)

    @property
    def unknown(self) -> bool:
        return not any(self._dollars.values())

    def learn(self, outcome: BatchOutcome) -> None:
        for name in self._items:
            self._items[name] *= FORGETTING
            self._dollars[name] *= FORGETTING
        if outcome.strategy in self._items:
            self._items[outcome.strategy] += outcome.accepted
            self._dollars[outcome.strategy] += usd(outcome.cost) if self._priced else 1.0

    def draw(self, chance: random.Random) -> tuple[str, dict[str, float]]:
        """The winner, and the rate drawn for each."""
        items, dollars = sum(self._items.values()), sum(self._dollars.values())
        prior = dollars / (items + 1.0)
        rates = {
            name: chance.gammavariate(self._items[name] + 1.0, 1.0 / (self._dollars[name] + prior))
            for name in self._items
        }
        return max(rates, key=lambda name: rates[name]), {
            name: round(rate, 3) for name, rate in rates.items()
        }

"""Which of a row's answers are kept: the first, all, what most say, the best, or a pair of the best and the worst."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from string import ascii_uppercase
from typing import Any

from engine.answers.scoring import same_label
from engine.config.mapping import CHOSEN, REJECTED, MapConfig
from engine.dataset.fields import Fields
from engine.errors import PermanentError
from engine.items import SHARED, Batch, Item, Usage, Verdict
from engine.prompts.ask import Asking, ModelAsker
from engine.prompts.rows import OWNER, digest
from engine.prompts.template import built_in
from engine.protocols import Question, Reply
from engine.schema.values import dumps

JUDGE = "candidates"
"""The purpose of the calls by which a judge gives points to a row's answers."""
_MOST_JUDGED = 26


class Points(Reply):
    """Of one answer, by its letter."""

    candidate: str
    points: int


class Judged(Reply):
    """A judge's reply."""

    reasoning: str = ""
    points: list[Points]


class Choosing:
    """Decides by the answers and their verdicts alone, but for a judge, who is asked."""

    def __init__(
        self, spec: MapConfig, fields: Fields, judge: ModelAsker, question: Question[Judged] | None
    ) -> None:
        self._spec = spec
        self._fields = fields
        self._judge = judge
        self._question = question

    @classmethod
    def of(cls, spec: MapConfig, fields: Fields, asker: ModelAsker) -> Choosing:
        """Raises ConfigError if the template for a judge cannot be used."""
        asks = spec.by == "judge" and spec.keep in ("best", "pair")
        question = None
        if asks:
            bounds = {"points": {"maxItems": min(spec.samples, _MOST_JUDGED)}}
            question = asker.question(JUDGE, built_in(JUDGE), Judged, max_tokens=1024, bounds=bounds)
        return cls(spec, fields, asker, question)

    @property
    def output(self) -> tuple[str, ...]:
        """The columns that a row gets."""
        return (CHOSEN, REJECTED) if self._spec.keep == "pair" else self._spec.made

    async def kept(self, batch: Batch, made: Sequence[Item], tried: Sequence[Item]) -> Sequence[Item]:
        """Those of a round's items that go on; where none may, one that says why. `tried`: of all rounds.

        Whatever is kept says how many answers there were, and pays for them. Raises what asking raises.
        """
        if self._spec.fan_out > 1 or len(tried) == self._spec.samples == 1:
            return made
        passed = [item for item in made if item.rejection is None]
        if self._spec.keep == "all":
            kept: Sequence[Item] = passed or [_why(made)]
            return [_told(item, _record(made, tried)) for item in kept]
        if not passed:
            return [_told(_paid(_why(made), tried), _record(made, tried))]
        chosen, record = await self._chosen(batch, made, passed)
        return [_told(_paid(chosen, tried), {**_record(made, tried), **record})]

    async def _chosen(
        self, batch: Batch, made: Sequence[Item], passed: Sequence[Item]
    ) -> tuple[Item, Mapping[str, Any]]:
        match self._spec.keep:
            case "majority":
                return self._majority(passed)
            case "best":
                points = await self._points(batch, passed)
                best = max(range(len(passed)), key=lambda place: (points[place], -place))
                return passed[best], {"points": points} if self._question is not None else {}
            case "pair":
                return await self._pair(batch, made, passed)
        return passed[0], {}

    # --- what most say ---

    def _majority(self, passed: Sequence[Item]) -> tuple[Item, Mapping[str, Any]]:
        groups = self.groups(passed)
        most = max(groups, key=len)
        share = len(most) / len(passed)
        record = {"same": len(most), "different": len(groups)}
        if share < self._spec.share or (len(most) == 1 and len(passed) > 1):
            said = f"{len(most)} of {len(passed)} answers are the same"
            return most[0].judged(Verdict.rejected(OWNER, "no_majority", said)), record
        return most[0], record

    def groups(self, items: Sequence[Item]) -> list[list[Item]]:
        """Items that say the same, in the order in which they first came."""
        groups: list[list[Item]] = []
        for item in items:
            group = next((each for each in groups if self._same(each[0], item)), None)
            if group is None:
                groups.append([item])
            else:
                group.append(item)
        return groups

    def _same(self, one: Item, other: Item) -> bool:
        if one.label is None and other.label is None:
            return self._answer(one) == self._answer(other)
        return bool(same_label(one.label, other.label, one.choices, self._fields.closed_labels))

    def _answer(self, item: Item) -> str:
        """What a row's answer says, as one text: its only column's, or all of them by name."""
        row = self._fields.rewritten(item)
        values = {name: row[name] for name in self._spec.made if row.get(name) is not None}
        only = next(iter(values.values()), None)
        return only if len(values) == 1 and isinstance(only, str) else dumps(values)

    # --- the best ---

    async def _points(self, batch: Batch, items: Sequence[Item]) -> list[float]:
        """Of each, in order: more is better."""
        if self._question is not None:
            return await self._judged(batch, items)
        if self._spec.by == "shortest":
            return [-float(len(self._answer(item))) for item in items]
        found = [
            _recorded(item, "agreement" if self._spec.by == "agree" else "tests_passed") for item in items
        ]
        return [0.0 if each is None else each for each in found]

    async def _judged(self, batch: Batch, items: Sequence[Item]) -> list[float]:
        """The mean of two judgements, the second of which sees the answers in reverse: what stands first has no
        advantage. An answer that neither gives points to has none.
        """
        assert self._question is not None
        items = items[:_MOST_JUDGED]
        order = list(range(len(items)))
        random.Random(digest(*map(self._answer, items))).shuffle(order)
        given: list[list[float]] = [[] for _ in items]
        for turn, places in enumerate((order, order[::-1])):
            try:
                judged = await self._asked(batch, [items[place] for place in places], turn)
            except PermanentError:
                continue
            for each in judged.points if judged is not None else ():
                letter = each.candidate.strip().upper()[-1:]
                if letter and (place := ascii_uppercase.find(letter)) < len(places) and place >= 0:
                    given[places[place]].append(float(each.points))
        return [sum(points) / len(points) if points else 0.0 for points in given]

    async def _asked(self, batch: Batch, items: Sequence[Item], turn: int) -> Judged | None:
        assert self._question is not None
        answers = [self._answer(item) for item in items]
        asked = self._fields.question(items[0])
        name = (
            SHARED + digest(dumps(asked), *answers)
            if self._spec.reuse
            else f"{batch.number}-{items[0].position}"
        )
        call = Asking(
            lambda attempt: f"{name}/{OWNER}/{JUDGE}/{turn}.{attempt}", batch.number, f"{batch.number}-0"
        )
        shown = dict(zip(ascii_uppercase, answers, strict=False))
        return (await self._judge.answered(self._question, call, {**asked, "candidates": shown})).reply

    async def _pair(
        self, batch: Batch, made: Sequence[Item], passed: Sequence[Item]
    ) -> tuple[Item, Mapping[str, Any]]:
        """The best of those that pass, and the worst of all that say something else: one that fails a check, if any."""
        points = await self._points(batch, passed)
        ranked = sorted(range(len(passed)), key=lambda place: (-points[place], place))
        best = passed[ranked[0]]
        failed = [item for item in made if item.rejection is not None and item.text]
        worse = [*failed, *(passed[place] for place in reversed(ranked))]
        worst = next((item for item in worse if not self._same(best, item)), None)
        if worst is None:
            said = "all answers say the same"
            return best.judged(Verdict.rejected(OWNER, "no_contrast", said)), {}
        rejection = worst.rejection
        record = {"worst": {"by": rejection.by, "reason": rejection.reason} if rejection is not None else {}}
        row = {**(batch.given or {}), CHOSEN: self._answer(best), REJECTED: self._answer(worst)}
        return best.evolve(origin=row, revisions=0), record


def _recorded(item: Item, name: str) -> float | None:
    """The last number of this name in an item's verdicts."""
    found = (verdict.record.get(name) for verdict in reversed(item.verdicts))
    return next((float(each) for each in found if isinstance(each, int | float)), None)


def _why(made: Sequence[Item]) -> Item:
    """The rejected item that says most: one that could be read, if there is one."""
    return next((item for item in made if item.text), made[0])


def _record(made: Sequence[Item], tried: Sequence[Item]) -> dict[str, Any]:
    """How many answers a row had, how many passed, and why the others did not."""
    rejections = Counter(
        f"{item.rejection.by}: {item.rejection.reason}" for item in tried if item.rejection is not None
    )
    counts = {"of": len(tried), "passed": sum(item.rejection is None for item in tried)}
    return {"samples": {**counts, **({"rejected": dict(rejections)} if rejections else {})}}


def _told(item: Item, record: Mapping[str, Any]) -> Item:
    """With what the choice went by, before its checks: the last verdict is the one that counts."""
    return item.evolve(verdicts=(Verdict.passed(OWNER, record), *item.verdicts))


def _paid(item: Item, tried: Sequence[Item]) -> Item:
    """With what all answers of its row have cost."""
    if len(tried) == 1:
        return item
    return item.evolve(usage=reduce(lambda sum, each: sum + each.usage, tried, Usage()))

"""Rows of a dataset, one a batch: asks for their new columns, checks what comes, keeps what the config says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

from engine.config.mapping import MapConfig
from engine.dataset.fields import Fields
from engine.dataset.forms import FieldProblem
from engine.errors import LEAST_ANSWER, ConfigError, ContextExceeded, PermanentError
from engine.files.rows import BadRow, Numbered
from engine.flow.halt import Halt
from engine.items import SHARED, Batch, Completion, Item, Prompt, Usage, Verdict
from engine.prompts.replies import beside_the_loop
from engine.prompts.rows import OWNER, RowPrompts, Step, digest
from engine.protocols import Ask, Row
from engine.schema.values import dumps
from engine.stages.choosing import Choosing
from engine.stages.dataset_rows import NAME as DATASET
from engine.stages.progress import Progress
from engine.stages.refine import Refine

T = TypeVar("T")

_TRIES = 2
"""How often a step is asked while its reply cannot be read."""


class Rows:
    """The source: a Batch for each row; a row that cannot be read comes as a rejected Item.

    Reads the files once, from the first row that is not decided yet.
    """

    def __init__(self, rows: Iterator[Numbered], progress: Progress, halt: Halt, window: int) -> None:
        self._rows = islice(rows, progress.committed, None)
        self._progress = progress
        self._halt = halt
        self._window = window
        halt.on_set(lambda _: progress.changed.set())

    async def batches(self) -> AsyncIterator[Batch | Item]:
        for number, (place, row) in enumerate(self._rows, self._progress.committed):
            if not await self._progress.room(number, self._window, self._halt):
                return
            self._progress.outstanding += 1
            if isinstance(row, BadRow):
                bare = Item(Batch(number, 1, 0, 0.0, rows=(place,)), 0, 1)
                yield bare.judged(Verdict.rejected(DATASET, row.reason, row.detail))
            else:
                yield Batch(number, 1, 0, 0.0, rows=(place,), given=row)


@dataclass(frozen=True)
class Check:
    """One validator, and for how many items at once."""

    refine: Refine
    places: asyncio.Semaphore


class MapRows:
    """The stage's step: the Batch of a row in, its Items out: those that are kept, or one that says why none is."""

    def __init__(
        self,
        ask: Ask,
        prompts: RowPrompts,
        fields: Fields,
        checks: Sequence[Check],
        choosing: Choosing,
    ) -> None:
        self._ask = ask
        self._prompts = prompts
        self._spec: MapConfig = prompts.spec
        self._fields = fields
        self._checks = checks
        self._choosing = choosing

    async def __call__(self, value: Batch | Item) -> Sequence[Item]:
        if isinstance(value, Item):
            return (value,)
        batch, spec = value, self._spec
        first, given = self._prompts.steps[0], dict(batch.given or {})
        if first.is_empty(given):
            said = f"nothing is in {', '.join(first.used)}"
            return self._out(batch, [self._lost(batch, 0, "empty_row", said, _SoFar({}))])
        if (problem := self._fields.missing(self._readable(given), self._spec.made)) is not None:
            return self._out(
                batch, [self._lost(batch, 0, problem.reason, str(problem), _SoFar({}), by=DATASET)]
            )
        rounds = 1 + (spec.retries if spec.on_reject == "retry" else 0)
        tried: list[Item] = []
        for each in range(rounds):
            made = await self._samples(batch, each * spec.samples)
            tried += made
            kept = await self._choosing.kept(batch, made, tried)
            if any(item.rejection is None for item in kept):
                break
        return self._out(batch, kept)

    def _out(self, batch: Batch, items: Sequence[Item]) -> list[Item]:
        """As they leave the stage: numbered, and none rejected where rows stay without what was asked for them."""
        if self._spec.on_reject == "keep_null":
            items = [self._emptied(item) if item.rejection is not None else item for item in items]
        return [
            item
            if item.position == place and item.batch_total == len(items)
            else item.evolve(position=place, batch_total=len(items))
            for place, item in enumerate(items)
        ]

    def _emptied(self, item: Item) -> Item:
        """The row as it was, with null in its new columns, and why."""
        rejection, row = item.rejection, item.batch.given
        if rejection is None or row is None:
            return item
        empty = {**row, **dict.fromkeys(self._choosing.output)}
        bare = item.evolve(text="", label=None, choices=(), extras={}, parts={}, origin=empty, revisions=0)
        null = {"by": rejection.by, "reason": rejection.reason}
        return bare.judged(Verdict.passed(OWNER, {"null": null}))

    # --- samples ---

    async def _samples(self, batch: Batch, start: int) -> list[Item]:
        """The items of one round, each with its verdicts; `start` is the number of its first sample."""
        numbers = range(start, start + self._spec.samples)
        if self._spec.keep == "first":
            made: list[Item] = []
            for number in numbers:
                made += await self._sample(batch, number)
                if any(item.rejection is None for item in made):
                    break
            return made
        rounds = await _together([self._sample(batch, number) for number in numbers])
        return [item for items in rounds for item in items]

    async def _sample(self, batch: Batch, number: int) -> list[Item]:
        """One answer for the row, or with `fan_out` the rows of one, checked."""
        items = await self._made(batch, number)
        return await _together([self._checked(item) for item in items])

    async def _checked(self, item: Item) -> Item:
        for check in self._checks:
            if item.settled:
                break
            async with check.places:
                [item] = await check.refine(item)
        return item

    async def _made(self, batch: Batch, number: int) -> list[Item]:
        """The items of one sample, unchecked; a single one, rejected, where a step brought nothing."""
        temperature = self._prompts.temperature(self._prompts.steps[-1], number)
        batch = batch if temperature == batch.temperature else replace(batch, temperature=temperature)
        row = {name: value for name, value in (batch.given or {}).items() if name != "_meta"}
        so_far, position = _SoFar(row), number * self._spec.fan_out
        try:
            for step in self._prompts.steps:
                await self._fill(batch, step, number, so_far)
        except PermanentError as error:
            so_far.usage += error.usage or Usage()
            return [self._lost(batch, position, error.reason, str(error), so_far)]
        except FieldProblem as problem:
            return [self._lost(batch, position, problem.reason, str(problem), so_far)]
        except ConfigError as error:  # the template failed over this row's values
            return [self._lost(batch, position, "prompt_error", str(error), so_far)]
        share = _share(so_far.usage, len(so_far.made))
        items = [
            self._item(batch, position + place, new, share, so_far) for place, new in enumerate(so_far.made)
        ]
        for place in range(len(items), self._spec.fan_out):
            lost = self._lost(
                batch, position + place, "missing", "the reply has fewer rows than asked for", so_far
            )
            items.append(lost.evolve(usage=Usage()))
        return items

    def _readable(self, row: Row) -> Row:
        """The row with numbers and lists as texts where it is known by them."""
        parts = self._fields.config.parts
        odd = [name for name in parts if row.get(name) is not None and not isinstance(row[name], str)]
        odd = [name for name in odd if name not in self._fields.spoken]
        return {**row, **{name: dumps(row[name]) for name in odd}} if odd else row

    async def _fill(self, batch: Batch, step: Step, number: int, so_far: _SoFar) -> None:
        """Asks for one step. Raises what a call raises, FieldProblem for a reply that is none, ConfigError."""
        stem, problem = "" if self._spec.reuse else str(batch.number), FieldProblem("unparseable", "")
        for attempt in range(1, _TRIES + 1):
            prompt = self._prompts.prompt(batch, step, so_far.row, number, stem, attempt)
            if self._spec.reuse and attempt == 1:
                so_far.asked.append(prompt.key.partition("/")[0])
            completion = await self._fitting(prompt)
            so_far.usage, so_far.model, so_far.sent = (
                so_far.usage + completion.usage, completion.model, completion.sent,
            )  # fmt: skip
            try:
                made = await beside_the_loop(completion.text, lambda: step.read(completion))  # noqa: B023
            except FieldProblem as error:
                problem = error
                continue
            so_far.made = made
            so_far.row = {**so_far.row, **made[0]}
            return
        raise problem

    async def _fitting(self, prompt: Prompt) -> Completion:
        """Asks for a shorter answer if prompt and answer together exceed the model's context."""
        try:
            return await self._ask(prompt)
        except ContextExceeded as error:
            room = error.room(prompt.max_tokens)
            if room < LEAST_ANSWER:
                raise
            return await self._ask(replace(prompt, max_tokens=room))

    def _item(self, batch: Batch, position: int, new: Row, share: Usage, so_far: _SoFar) -> Item:
        """The row with what was filled in, as an item; rejected where the dataset has no form for it."""
        whole = {**(batch.given or {}), **so_far.row, **new}
        made = so_far.model, share, so_far.sent
        try:
            content = self._fields.read(batch.rows[0], self._readable(whole))
        except FieldProblem as problem:
            lost = self._lost(batch, position, problem.reason, str(problem), so_far, by=DATASET)
            return lost.evolve(origin=whole, usage=share)
        said = content.text, content.label, content.choices, content.extras, content.parts
        item = Item(batch, position, 1, *said, whole, *made, asked=tuple(so_far.asked))
        if self._spec.reuse and self._checks:
            return item.evolve(known_as=SHARED + digest(dumps(self._fields.wire(item))))
        return item

    def _lost(
        self, batch: Batch, place: int, reason: str, said: str, so_far: _SoFar, by: str = OWNER
    ) -> Item:
        """A row of which nothing came."""
        bare = Item(
            batch, place, 1, origin=batch.given or {}, model=so_far.model, usage=so_far.usage,
            asked=tuple(so_far.asked),
        )  # fmt: skip
        return bare.judged(Verdict.rejected(by, reason, said))


@dataclass
class _SoFar:
    """What the steps of one sample have come to. Mutable until the last one is done."""

    row: Row
    """With what the steps so far have filled in."""
    made: Sequence[Row] = ({},)
    """What the last one has filled in: once, or for several rows."""
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    sent: Mapping[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """What the calls are named after, where other rows may ask the same."""


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, at the same time. Each comes to its end before the error of one is raised, so that nothing
    goes on unseen, and whatever can wait is let go together.
    """
    if len(work) == 1:
        return [await work[0]]
    results = await asyncio.gather(*work, return_exceptions=True)
    raised = [each for each in results if isinstance(each, BaseException)]
    if raised:
        raise min(raised, key=lambda each: not isinstance(each, Exception))
    return [each for each in results if not isinstance(each, BaseException)]


def _share(usage: Usage, count: int) -> Usage:
    """The part of a call's usage for one of `count` items."""
    if count == 1:
        return usage
    return Usage(
        usage.prompt_tokens // count,
        usage.completion_tokens // count,
        usage.cached_tokens // count,
        usage.cost // count,
        usage.estimated,
    )

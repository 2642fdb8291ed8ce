"""Requests a batch of k items with one call and reads the items from the reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from engine.dataset.fields import Fields
from engine.dataset.forms import FieldProblem
from engine.errors import (
    LEAST_ANSWER,
    ContextExceeded,
    EndpointError,
    PassageTooLong,
    PermanentError,
    TooSlow,
    Unparseable,
)
from engine.items import POSITIONS, Batch, Completion, Item, Prompt, Usage, Verdict
from engine.llm.tokens import BYTES_A_TOKEN
from engine.prompts.render import QUOTE, QUOTES, ItemPrompts
from engine.prompts.replies import beside_the_loop, items_in
from engine.protocols import Ask

NAME = "generate"
"""The `rejected_by` of items that are missing or cannot be read."""


class Generate:
    """The stage's step: Batch in, its Items out. If the call fails permanently, its items are lost.

    Mutable state: how many examples, and how long an answer, the model's context has room for; for how many items at
    once the model is quick enough.
    """

    def __init__(
        self, ask: Ask, prompts: ItemPrompts, fields: Fields, longest_answer: int | None = None
    ) -> None:
        """`longest_answer`: tokens that the model's context is known to have room for."""
        self._ask = ask
        self._prompts = prompts
        self._fields = fields
        self._examples: int | None = None
        self._answer = longest_answer
        self._size: int | None = None

    async def __call__(self, batch: Batch) -> Sequence[Item]:
        while True:
            size = min(self._size or batch.size, batch.size)
            try:
                parts = [await self._items(batch, place, size) for place in range(0, batch.size, size)]
            except TooSlow:
                self._size = max(1, size // 2)
                continue
            return parts[0] if len(parts) == 1 else joined(batch, parts)

    async def _items(self, batch: Batch, place: int, size: int) -> list[Item]:
        """The items of one call: of the whole batch, or of a part. Raises TooSlow."""
        asked = _part(batch, place, size)
        try:
            shown, prompt, completion = await self._asked(asked, None if asked is batch else place)
        except TooSlow:
            raise
        except PermanentError as error:
            return _lost(asked, error)
        try:
            longest = prompt.max_tokens * BYTES_A_TOKEN
            read = partial(read_items, shown, completion, self._fields, longest)
            return await beside_the_loop(completion.text, read)
        except Exception as error:  # a reply is untrusted text: whatever it holds, only its batch is lost
            return _lost(asked, Unparseable(f"{type(error).__name__}: {error}"))

    async def _asked(self, batch: Batch, place: int | None) -> tuple[Batch, Prompt, Completion]:
        """The completion, its prompt, and the batch with the examples that were shown.

        `place`: of a part, its first item. Where the prompt does not fit the context: fewer examples, then a smaller
        answer. Raises EndpointError where neither helps; PassageTooLong where that is for the batch's own passages.
        """
        own: int | None = None
        while True:
            shown = (
                batch if self._examples is None else replace(batch, examples=batch.examples[: self._examples])
            )
            tags = [f"{len(shown.examples)}"] if shown != batch else []
            tags += [f"part-{place}-{batch.size}"] if place is not None else []
            prompt = self._prompts.render(shown, tag="/".join(tags), max_tokens=own or self._answer)
            try:
                return shown, prompt, await self._ask(prompt)
            except ContextExceeded as error:
                if batch.passages and not shown.examples and prompt.max_tokens <= error.context // 2:
                    own = error.room(prompt.max_tokens)  # for these passages alone: others may be shorter
                    if own < LEAST_ANSWER:
                        raise PassageTooLong(f"lower documents.passages.most: {error}") from None
                else:
                    self._shrink(len(shown.examples), prompt, error)

    def _shrink(self, shown: int, prompt: Prompt, error: ContextExceeded) -> None:
        """Asks for an answer of half the context at most; then leaves out half of the examples.

        Without any left, asks for what there is room for.
        """
        if prompt.max_tokens > error.context // 2 >= LEAST_ANSWER:
            self._answer = error.context // 2
            return
        if shown:
            self._examples = min(shown // 2, self._examples if self._examples is not None else shown)
            return
        room = error.room(prompt.max_tokens)
        if room < LEAST_ANSWER:
            raise EndpointError(
                f"the prompt does not fit the context of {error.context:,} tokens, even without examples: lower "
                f"generate.few_shot, generate.batch_size or generate.max_tokens ({prompt.max_tokens:,}), shorten "
                f"dataset.description, or start the server with a larger context ({error})"
            )
        self._answer = room


def _part(batch: Batch, place: int, size: int) -> Batch:
    """`size` items of the batch, from this one on, with their share of the labels."""
    if size >= batch.size:
        return batch
    labels = [label for label, count in batch.labels for _ in range(count)][place : place + size]
    counted = tuple((label, labels.count(label)) for label in dict.fromkeys(labels))
    return replace(
        batch, size=min(size, batch.size - place), labels=counted, seed=(batch.seed + place) % 2**31
    )


def joined(batch: Batch, parts: Sequence[list[Item]]) -> list[Item]:
    """The items of a batch that was asked for in parts; each keeps the examples that it was shown."""
    items = [item for part in parts for item in part]
    return [
        item.evolve(
            batch=replace(batch, examples=item.batch.examples), position=place, batch_total=len(items)
        )
        for place, item in enumerate(items)
    ]


def read_items(
    batch: Batch, completion: Completion, fields: Fields, longest: int | None = None
) -> list[Item]:
    """Returns an item for each one requested: those that are missing or unreadable are rejected here.

    So is one of more than `longest` bytes, which the tokens that were asked for cannot hold.
    """
    replies = items_in(completion.text, batch.size, fields.marks)[: POSITIONS - 1]
    of = max(len(replies), batch.size)
    share = _share(completion.usage, len(replies) or of)
    items = []
    for position, reply in enumerate(replies):
        try:
            _check_length(reply, completion.text, longest)
            content = fields.content(reply)
            items.append(
                Item(
                    batch, position, of, *content, model=completion.model, usage=share, sent=completion.sent,
                    quotes=quotes_in(reply) if batch.passages else (),
                )
            )  # fmt: skip
        except FieldProblem as problem:
            item = Item(batch, position, of, model=completion.model, usage=share)
            items.append(item.judged(Verdict.rejected(NAME, problem.reason, str(problem))))
    cut = completion.finish_reason == "length"
    why = "truncated" if cut else "missing" if replies else "unparseable"
    for position in range(len(replies), of):
        item = Item(batch, position, of, model=completion.model, usage=Usage() if replies else share)
        items.append(item.judged(Verdict.rejected(NAME, why, completion.text[:200] if not replies else "")))
    return items


def quotes_in(reply: Mapping[str, Any]) -> tuple[str, ...]:
    """What the model says that it has copied from the passages; anything but texts is left out."""
    given = reply.get(QUOTES, reply.get(QUOTE))
    several = given if isinstance(given, list) else [given]
    return tuple(each for each in several if isinstance(each, str) and each.strip())


def _check_length(reply: Mapping[str, Any], text: str, longest: int | None) -> None:
    """Raises FieldProblem."""
    if longest is not None and len(text) * 4 > longest and len(orjson.dumps(reply, default=str)) > longest:
        raise FieldProblem("too_long", f"more than {longest:,} bytes, which the tokens asked for cannot hold")


def _lost(batch: Batch, error: PermanentError) -> list[Item]:
    verdict = Verdict.rejected(NAME, error.reason, str(error))
    share = _share(error.usage or Usage(), batch.size)
    return [Item(batch, position, batch.size, usage=share).judged(verdict) for position in range(batch.size)]


def _share(usage: Usage, count: int) -> Usage:
    """The part of a call's usage for one of `count` items; the journal's calls hold the exact totals."""
    return Usage(
        usage.prompt_tokens // count,
        usage.completion_tokens // count,
        usage.cached_tokens // count,
        usage.cost // count,
        usage.estimated,
    )

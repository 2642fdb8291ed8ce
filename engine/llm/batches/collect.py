"""Takes the answers of a batch into the journal: each once, by its id, whatever order and state they come in."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import orjson

from engine.errors import (
    AuthError,
    BadRequest,
    EndpointError,
    FatalError,
    PermanentError,
    TransientError,
    Truncated,
)
from engine.items import Completion, Usage
from engine.llm.accounts import Accounts, Sent
from engine.llm.backends.failures import failure_of
from engine.llm.backends.limits_told import overrun
from engine.llm.batches.door import Result, Told
from engine.llm.batches.part import Answer, Asked, Book, Fate, Part
from engine.llm.batches.spool import Lane
from engine.llm.charges import Sizes
from engine.veil import veiled

WELL = ("completed", "ended", "success", "succeeded", "written")
"""Words for a batch that has come to its own end."""
_TOGETHER = 256
"""Answers of one transaction."""


@dataclass
class Collected:
    """What a batch has brought. Mutable while it is read."""

    cost: int = 0
    """Picodollars of all answers."""
    lost: int = 0
    """Of these, for answers that are not kept."""
    kept: int = 0
    """Answers that the journal has now."""
    again: int = 0
    """Calls that were not answered."""
    cut: int = 0
    """Answers that were cut short, and are asked for whole."""
    unconfirmed: int = 0
    """Picodollars that calls may have cost that no result tells of, in a batch that its provider calls complete."""
    strangers: int = 0
    """Results of calls that are not of this part."""
    twice: int = 0
    unreadable: int = 0
    refused: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    """Calls that were refused as they are, by purpose and the field at fault."""
    refusals: dict[tuple[str, str | None], BadRequest] = field(default_factory=dict)
    """One of each."""
    stop: FatalError | None = None
    """Why nothing more can be asked there."""

    def said(self) -> str:
        """What people should know of lines that were not as they should be; '' where all were."""
        counts = (
            (self.strangers, "a result of another call", "results of other calls"),
            (self.twice, "a result that came twice", "results that came twice"),
            (self.unreadable, "a line that cannot be read", "lines that cannot be read"),
            (self.cut, "an answer that was cut short", "answers that were cut short"),
        )
        return ", ".join(
            one if count == 1 else f"{count:,} {several}" for count, one, several in counts if count
        )


class Collector:
    """Reads the results of one lane's batches. Mutable state: what `accounts` counts."""

    def __init__(self, lane: Lane, book: Book, accounts: Accounts) -> None:
        self._lane = lane
        self._book = book
        self._accounts = accounts

    async def collect(self, part: Part, told: Told) -> Collected:
        """All that a batch has brought is on disk when this returns. It may be read again from the beginning.

        Raises what the door raises, and StoreError.
        """
        found, seen, group = Collected(), bytearray(), list[Result]()
        async for result in self._lane.door.results(told):
            if result is None:
                found.unreadable += 1
                continue
            group.append(result)
            if len(group) >= _TOGETHER:
                await self._take(part, group, found, seen)
                group = []
        await self._take(part, group, found, seen)
        if found.kept or not found.strangers:  # otherwise it is somebody else's batch
            await self._missing(part, found, is_whole=told.said in WELL)
            self._accounts.counts.unconfirmed += found.unconfirmed
        return found

    async def _take(self, part: Part, group: list[Result], found: Collected, seen: bytearray) -> None:
        known = self._book.asked(part.number, [each.id for each in group])
        answers = []
        for result in group:
            asked = known.get(result.id)
            if asked is None:
                found.strangers += 1
            elif _marked(seen, asked.n):
                found.twice += 1
            else:
                answers.append(self._answer(asked, result, found))
        if answers:
            await self._book.answered(answers)
            self._heard(part, answers)

    async def _missing(self, part: Part, found: Collected, *, is_whole: bool) -> None:
        """Calls of which nothing has come join a later part."""
        while missing := self._book.waiting(part.number, _TOGETHER):
            found.again += len(missing)
            if is_whole:
                found.unconfirmed += sum(self._lane.price.worst(each.bound, each.limit) for each in missing)
            await self._book.answered([Answer(each._replace(fate=Fate.AGAIN), None) for each in missing])

    # --- one call ---

    def _answer(self, asked: Asked, result: Result, found: Collected) -> Answer:
        if result.status is None:
            return self._once_more(asked, found)
        outcome, again = self._outcome(asked, result, found)
        usage = outcome.usage if outcome is not None else None
        cost = usage.cost if usage is not None else 0
        found.cost += cost
        if again:
            found.lost += cost
            found.cut += outcome is not None
            found.again += outcome is None
            return Answer(asked._replace(fate=Fate.AGAIN), None)
        if outcome is None:
            return Answer(asked._replace(fate=Fate.ONLINE), None)
        found.kept += 1
        if asked.fate == Fate.ANSWERED:  # taken before the process was killed
            return Answer(asked, None)
        if self._book.holds(asked.key):  # it was answered elsewhere meanwhile
            found.lost += cost
            return Answer(asked._replace(fate=Fate.ANSWERED), None)
        return Answer(asked._replace(fate=Fate.ANSWERED), outcome)

    def _once_more(self, asked: Asked, found: Collected) -> Answer:
        found.again += 1
        return Answer(asked._replace(fate=Fate.AGAIN), None)

    def _outcome(
        self, asked: Asked, result: Result, found: Collected
    ) -> tuple[Completion | PermanentError | None, bool]:
        """What the journal is to hold, and whether the call is to be made again instead.

        Without either, it is to be made online.
        """
        try:
            if result.status != 200:
                raise failure_of(result.status or 500, {}, result.body)
            reply = self._lane.door.read(result.body)
            completion = self._completion(asked, reply)
            return completion, asked.shortened and completion.finish_reason == "length"
        except TransientError as error:
            found.lost += (cost := self._cost(asked, error.usage))
            found.cost += cost
            return None, True
        except BadRequest as error:
            if overrun(error.told or str(error)) is None:  # too long says nothing about the others
                kind = asked.purpose, error.param
                found.refused[kind] += 1
                found.refusals.setdefault(kind, error)
            return None, False
        except PermanentError as error:
            error.usage = self._counted(asked, error.usage) if error.usage is not None else None
            if isinstance(error, Truncated):
                self._thought_away(asked, error, found)
            return error, asked.shortened and isinstance(error, Truncated)
        except (AuthError, EndpointError) as error:
            found.stop = found.stop or error
            return None, True

    def _heard(self, part: Part, answers: Sequence[Answer]) -> None:
        """How calls were asked that were answered is how further ones are."""
        for purpose in {each.asked.purpose for each in answers if isinstance(each.outcome, Completion)}:
            self._lane.door.answered(purpose, part.terms.get(purpose, {}))

    def _completion(self, asked: Asked, reply: Completion) -> Completion:
        usage = self._counted(asked, reply.usage, reply.text, reply.reasoning)
        endpoint = self._lane.endpoint
        endpoint.allowance.answered(asked.purpose, usage.reasoning_tokens)
        self._accounts.counts.completed += 1
        return replace(
            reply,
            text=veiled(reply.text),
            model=veiled(reply.model),
            usage=usage,
            attempts=asked.tries,
            reasoning=veiled(reply.reasoning) if endpoint.keeps_reasoning else "",
            sent=orjson.loads(asked.sent) if asked.sent else {},
        )

    def _thought_away(self, asked: Asked, error: Truncated, found: Collected) -> None:
        with contextlib.suppress(EndpointError):
            self._lane.endpoint.thought_away(
                asked.purpose, asked.answer, asked.limit - asked.answer, str(error)
            )
            return
        found.stop = found.stop or EndpointError(f"{self._lane.endpoint.name}: {error}")

    def _counted(self, asked: Asked, usage: Usage, text: str = "", reasoning: str = "") -> Usage:
        sizes = Sizes(asked.least, asked.upper)
        route = f"{asked.purpose}@{asked.model}" if asked.model else asked.purpose
        sent = Sent(route, asked.characters, asked.bound, asked.limit, sizes)
        price = self._lane.price
        return self._accounts.counted(sent, self._lane.endpoint, usage, text, reasoning, price=price)

    def _cost(self, asked: Asked, usage: Usage | None) -> int:
        return self._counted(asked, usage).cost if usage is not None else 0


def _marked(seen: bytearray, n: int) -> bool:
    """Marks a place; whether it was marked before."""
    if n >= len(seen):
        seen.extend(bytes(n + 1 - len(seen)))
    before, seen[n] = bool(seen[n]), 1
    return before

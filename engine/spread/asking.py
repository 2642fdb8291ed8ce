"""A worker's calls: asks the head for what the stages ask, and makes the attempts that it lets go."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import Defect, Deferred, EngineError
from engine.items import Completion, Prompt
from engine.protocols import Announcing, Backend, Negotiating, Streaming
from engine.spread.link import Link
from engine.spread.messages import Answered, Asked, Forgotten, Go, Heard, SchemaKnown, Told
from engine.spread.wire import completion_in, completion_out, error_in, error_out, prompt_out

_HEARD_S = 0.25
"""Seconds in which the pieces of a streamed answer are told of together."""
_SCHEMAS = 256
"""Schemas that are kept at a time; the oldest gives its number to the next: some are made for a single prompt."""


@dataclass(eq=False)
class _Call:
    answered: asyncio.Future[Completion]
    prompt: Prompt
    texts: dict[int, str] = field(default_factory=dict)
    """Of its attempts, by their numbers: the head sends back which one counts, and not the text."""


class Calls:
    """Asks the head for what the stages ask, and makes the attempts that it lets go.

    Mutable state: the calls and attempts under way, the numbers given out, the schemas and limits that were sent.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._calls: dict[int, _Call] = {}
        self._attempts: dict[int, asyncio.Task[None]] = {}
        self._number = 0
        self._schemas: OrderedDict[int, tuple[int, Mapping[str, Any]]] = OrderedDict()
        self._limits: dict[int, Any] = {}
        self._terms: dict[int, Mapping[str, Any]] = {}
        self.backends: Sequence[Backend] = ()

    def __len__(self) -> int:
        return len(self._attempts)

    async def ask(self, prompt: Prompt) -> Completion:
        """An Ask. Raises what the head's client raises, and Deferred."""
        await self._link.room()
        self._number += 1
        number = self._number
        call = self._calls[number] = _Call(asyncio.get_running_loop().create_future(), prompt)
        self._link.send(Asked(number, prompt_out(prompt), self._schema(prompt)))
        try:
            return await call.answered
        except asyncio.CancelledError:
            self._link.send(Forgotten(number))
            raise
        finally:
            del self._calls[number]

    def _schema(self, prompt: Prompt) -> int:
        """The number of its schema, which is sent once for all prompts that share it."""
        known = self._schemas.get(id(prompt.schema))
        if known is None:  # one that is kept keeps its id
            number = len(self._schemas)
            if number == _SCHEMAS:
                _, (number, _) = self._schemas.popitem(last=False)
            known = self._schemas[id(prompt.schema)] = number, prompt.schema
            self._link.send(SchemaKnown(number, dict(prompt.schema)))
        return known[0]

    def told(self, message: Told) -> None:
        call = self._calls.get(message.call)
        if call is None or call.answered.done():
            return
        if message.error is not None:
            call.answered.set_exception(error_in(message.error))
        elif message.completion is None:
            call.answered.set_exception(Deferred())
        else:
            known = call.texts[message.of] if message.of is not None else ""
            call.answered.set_result(completion_in(message.completion, known))

    # --- attempts ---

    def go(self, message: Go) -> None:
        task = asyncio.create_task(self._attempt(message), name="attempt")
        self._attempts[message.attempt] = task
        task.add_done_callback(lambda _: self._attempts.pop(message.attempt, None))

    def leave(self, attempt: int) -> None:
        if (task := self._attempts.get(attempt)) is not None:
            task.cancel()

    def leave_all(self) -> None:
        """Sends nothing more, and waits for nothing that was sent."""
        for task in list(self._attempts.values()):
            task.cancel()

    async def _attempt(self, go: Go) -> None:
        call, backend = self._calls.get(go.call), self.backends[go.endpoint]
        if call is None:
            error = Defect("an attempt of a call that nobody waits for")
            self._link.send(Answered(go.attempt, error=error_out(error)))
            return
        prompt = call.prompt
        if go.max_tokens != prompt.max_tokens:
            prompt = replace(prompt, max_tokens=go.max_tokens)
        try:
            if go.streamed and isinstance(backend, Streaming):
                with _Pieces(self._link, go.attempt) as pieces:
                    completion = await backend.streamed(prompt, pieces.heard)
            else:
                completion = await backend.complete(prompt)
        except EngineError as error:
            self._link.send(Answered(go.attempt, error=error_out(error), **self._news(go.endpoint, backend)))
            return
        except Exception as error:
            told = error_out(Defect.caused_by(error))
            self._link.send(Answered(go.attempt, error=told, **self._news(go.endpoint, backend)))
            return
        call.texts[go.attempt] = completion.text
        told = completion_out(completion)
        self._link.send(Answered(go.attempt, told, **self._news(go.endpoint, backend)))

    def _news(self, number: int, backend: Backend) -> dict[str, Any]:
        """What the endpoint has announced, settled and refused since the last time."""
        news: dict[str, Any] = {}
        limits = backend.announced if isinstance(backend, Announcing) else None
        if limits is not None and limits is not self._limits.get(number):
            self._limits[number] = limits
            news["limits"] = (limits.requests, limits.tokens)
        if isinstance(backend, Negotiating):
            if backend.notices:
                news["notices"] = list(backend.notices)
                backend.notices.clear()
            if (terms := backend.terms()) != self._terms.get(number, {}):
                self._terms[number] = dict(terms)
                news["terms"] = dict(terms)
        return news

    def restore(self, terms: Mapping[str, Mapping[str, Any]]) -> None:
        for number, each in terms.items():
            backend = self.backends[int(number)]
            if isinstance(backend, Negotiating):
                backend.restore(each)
                self._terms[int(number)] = dict(backend.terms())


class _Pieces:
    """Tells of the pieces of a streamed answer, a few times a second. Mutable: how many are not told yet."""

    def __init__(self, link: Link, attempt: int) -> None:
        self._link = link
        self._attempt = attempt
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def heard(self) -> None:
        self._count += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_HEARD_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._link.send(Heard(self._attempt, self._count))
        self._count = 0

    def __enter__(self) -> _Pieces:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

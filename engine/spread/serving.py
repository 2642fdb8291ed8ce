"""Serves the calls of workers: the run's own client asks, and the worker whose call it is makes the attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.errors import Defect, Deferred, EngineError, is_deferred
from engine.items import Completion, Prompt, RateLimits
from engine.protocols import Ask
from engine.spread.crew import Attempt, Books, Worker
from engine.spread.lent import SERVED, Lent
from engine.spread.messages import (
    Answered,
    Asked,
    Forgotten,
    Go,
    Heard,
    Leave,
    Message,
    SchemaKnown,
    TermsKnown,
    Told,
)
from engine.spread.wire import completion_in, completion_out, error_in, error_out, prompt_in

Price = Callable[[int, Completion], int]
"""Picodollars of a completion at the endpoint of that number."""


@dataclass(eq=False)
class Served:
    """A worker's call while it is served; a Borrower. Mutable: the attempts that are under way, the last answer."""

    next_attempt: Callable[[], int]
    worker: Worker
    call: int
    prompt: Prompt
    answer: tuple[int, str] | None = None
    """The attempt that was answered last, and its text."""

    async def attempt(self, endpoint: int, prompt: Prompt, heard: Callable[[], None] | None) -> Completion:
        worker, number = self.worker, self.next_attempt()
        under_way = Attempt(self.prompt.key, endpoint, heard, asyncio.get_running_loop().create_future())
        worker.attempts[number] = under_way
        worker.link.send(Go(number, self.call, endpoint, prompt.max_tokens, heard is not None))
        try:
            completion = await under_way.answered
        except asyncio.CancelledError:
            worker.link.send(Leave(number))
            if worker.lost:
                worker.orphans[number] = under_way
            raise
        finally:
            del worker.attempts[number]
        self.answer = number, completion.text
        return completion


class Serving:
    """Mutable state: the tasks under way, the numbers of attempts given out. What each asks is in the workers."""

    def __init__(
        self, ask: Ask, endpoints: Sequence[Lent], workers: Mapping[int, Worker], books: Books, price: Price
    ) -> None:
        """`workers` are those that are ready, at any time."""
        self._ask = ask
        self._endpoints = endpoints
        self._workers = workers
        self._books = books
        self._price = price
        self._attempt = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def hear(self, worker: Worker, message: Message) -> bool:
        """Takes what a worker says of its calls; False for anything else."""
        match message:
            case Asked():
                prompt = prompt_in(message.prompt, worker.schemas[message.schema])
                served = Served(self._next, worker, message.call, prompt)
                task = asyncio.create_task(self._serve(served), name="served")
                worker.serving[message.call] = task
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case Answered():
                self._answered(worker, message)
            case Heard():
                if (under_way := worker.attempts.get(message.attempt)) is not None and under_way.heard:
                    for _ in range(message.pieces):
                        under_way.heard()
            case SchemaKnown():
                worker.schemas[message.number] = message.schema
            case Forgotten():
                if (asked := worker.serving.get(message.call)) is not None:
                    asked.cancel()
            case _:
                return False
        return True

    def greet(self, worker: Worker) -> None:
        """Tells a new worker what is settled with the endpoints."""
        for endpoint in self._endpoints:
            if terms := dict(endpoint.terms()):
                worker.link.send(TermsKnown({str(endpoint.number): terms}))

    def leave(self, worker: Worker) -> None:
        """Waits for none of its calls any more; what is under way is charged at its worst."""
        for task in list(worker.serving.values()):
            task.cancel()

    async def ended(self) -> None:
        """Returns once no call is served."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hear_late(self, worker: Worker, message: Message) -> None:
        """Of a worker that was given up only one thing counts: what an answer has cost."""
        if not isinstance(message, Answered) or message.completion is None:
            return
        under_way = worker.orphans.pop(message.attempt, None)
        if under_way is not None:
            cost = self._price(under_way.endpoint, completion_in(message.completion))
            self._books.late(worker, under_way.key, cost)

    def _next(self) -> int:
        self._attempt += 1
        return self._attempt

    async def _serve(self, served: Served) -> None:
        """Asks for a worker as for anybody else, but that the worker makes the attempts."""
        worker, call = served.worker, served.call
        SERVED.set(served)
        told: Told
        try:
            completion = await self._ask(served.prompt)
            number, text = served.answer or (None, None)
            told = Told(call, completion_out(completion, text), number)
        except EngineError as error:
            told = Told(call, error=error_out(error))
        except Exception as error:
            told = Told(call, error=error_out(Defect.caused_by(error)))
        except (Deferred, BaseExceptionGroup) as error:
            if not is_deferred(error):
                raise
            told = Told(call)
        finally:
            worker.serving.pop(call, None)
        worker.calls += 1
        worker.link.send(told)

    def _answered(self, worker: Worker, message: Answered) -> None:
        under_way = worker.attempts.get(message.attempt)
        if under_way is None:
            return
        self._learn(worker, self._endpoints[under_way.endpoint], message)
        if under_way.answered.done():
            return
        if message.error is not None:
            under_way.answered.set_exception(error_in(message.error))
        else:
            under_way.answered.set_result(completion_in(message.completion))

    def _learn(self, worker: Worker, endpoint: Lent, message: Answered) -> None:
        """Takes in what the endpoint has told this worker; the others hear of the terms before their next attempt."""
        if message.limits is not None:
            endpoint.told(RateLimits(*message.limits))
        endpoint.notices.extend((kind, sentence) for kind, sentence in message.notices)
        if message.terms:
            endpoint.restore(message.terms)
            for other in self._workers.values():
                if other is not worker:
                    other.link.send(TermsKnown({str(endpoint.number): message.terms}))

"""A worker that works on nothing: it answers at once, so that the head is what is measured. See spread.py."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

import orjson

from engine._version import __version__
from engine.diversity.sameness import text_key
from engine.flow.loop import in_loop
from engine.items import Batch, Completion, Item, Prompt, Usage
from engine.runs.lending import python_version
from engine.spread.link import Link
from engine.spread.messages import (
    Answered,
    Asked,
    Beat,
    Go,
    Hello,
    Join,
    Made,
    Message,
    Ready,
    SchemaKnown,
    Stop,
    Told,
    Work,
)
from engine.spread.wire import batch_in, completion_in, completion_out, item_out, prompt_out

TEXT = "a problem of moderate length whose words matter to nobody but whose size is that of a real one " * 5
META = orjson.dumps({"id": "0-0", "verdicts": [], "usage": {}, "cost_usd": 0.0, "model": "raw"}).decode()
SCHEMA = {"type": "object"}


class Instant:
    """Mutable state: the batches whose call is under way."""

    def __init__(self) -> None:
        self.link = Link(self.received, lambda _: self.over.set())
        self.over = asyncio.Event()
        self.batches: dict[int, tuple[int, Batch]] = {}
        self.calls = 0
        self.terms: dict[str, Any] | None = {"items": {}}
        """Settled with the first answer."""

    def received(self, _: Link, messages: Sequence[Message]) -> None:
        for message in messages:
            match message:
                case Work():
                    self.ask(message.unit, batch_in(message.batch))
                case Go():
                    texts = [
                        f"{TEXT}{message.call} {place}" for place in range(self.batches[message.call][1].size)
                    ]
                    said = orjson.dumps({"items": [{"text": text, "label": "42"} for text in texts]}).decode()
                    usage = Usage(400, 160)
                    told = completion_out(Completion(said, "raw", "stop", usage))
                    terms, self.terms = self.terms, None
                    self.link.send(Answered(message.attempt, told, terms=terms))
                case Told():
                    self.made(message)
                case Hello():
                    self.link.epoch = message.epoch
                    self.link.send(SchemaKnown(1, SCHEMA))
                    self.link.send(Ready({}))
                    asyncio.get_running_loop().call_later(1.0, self.beat)
                case Stop():
                    self.over.set()

    def beat(self) -> None:
        self.link.send(Beat())
        asyncio.get_running_loop().call_later(1.0, self.beat)

    def ask(self, unit: int, batch: Batch) -> None:
        self.calls += 1
        self.batches[self.calls] = unit, batch
        prompt = Prompt(
            f"{batch.number}/items", "items", batch.number, "You write problems.", TEXT * 4, SCHEMA, 1.0, 1000,
            batch.seed, owner="generate", size=batch.size,
        )  # fmt: skip
        self.link.send(Asked(self.calls, prompt_out(prompt), 1))

    def made(self, told: Told) -> None:
        unit, batch = self.batches.pop(told.call)
        completion = completion_in(told.completion)
        for place in range(batch.size):
            item = Item(
                batch, place, batch.size, f"{TEXT}{told.call} {batch.number} {place}", "42", model="raw",
                usage=completion.usage,
            )  # fmt: skip
            written = orjson.dumps({"question": item.text, "answer": "42"}).decode(), META
            self.link.send(Made(unit, item_out(item.evolve(text_key=text_key(item), written=written), batch)))


async def main() -> None:
    worker = Instant()
    pipe = socket.socket(fileno=int(sys.argv[1]))
    pipe.setblocking(False)
    await asyncio.get_running_loop().create_unix_connection(lambda: worker.link, sock=pipe)
    worker.link.send(Join("", __version__, python_version(), "here", os.getpid()))
    await worker.over.wait()


if __name__ == "__main__":
    in_loop(main)

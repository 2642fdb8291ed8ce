"""A stand-in provider that misbehaves by a script: raw HTTP/1.1 over TCP, without a server's good manners."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

USED = {"prompt_tokens": 40, "completion_tokens": 30, "total_tokens": 70}


@dataclass(frozen=True)
class Asked:
    """One request: its number from 0, its head as it came, its body."""

    number: int
    head: str
    body: dict[str, Any]

    def header(self, name: str) -> str:
        found = re.search(rf"(?im)^{re.escape(name)}: *(.*?)\r?$", self.head)
        return found[1] if found else ""


class Line:
    """The connection, for a fault to write on. Mutable state: the bytes written so far."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.sent = 0

    async def write(self, data: bytes) -> None:
        """Returns once the other side has taken most of it. Raises ConnectionError once it has hung up."""
        self._writer.write(data)
        await self._writer.drain()
        self.sent += len(data)

    async def reply(self, status: int, body: bytes, **headers: str) -> None:
        lines = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)


Fault = Callable[[Line, Asked], Awaitable[None]]
"""Answers one request; the connection is closed after it, unless it is `good`."""
Script = Callable[[int], Fault | None]
"""By the number of the request; None for a good reply."""


@dataclass
class Account:
    """What the provider knows. Mutable state: all of it."""

    asked: list[Asked] = field(default_factory=list)
    sent: dict[int, int] = field(default_factory=dict)
    """Bytes that were taken of each reply."""
    billed: int = 0
    """Calls that it charges."""


class Provider:
    """Serves chat completions; `script` says which fault each request meets."""

    def __init__(self, script: Script = lambda number: None) -> None:
        self.script = script
        self.account = Account()
        self.serving: set[asyncio.Task[None]] = set()
        self.content: Callable[[Asked], str] = lambda asked: items(asked)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self.serving.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                if head.startswith("GET "):  # what a server says of itself: nothing
                    await line.reply(404, b"{}")
                    continue
                length = re.search(r"(?i)content-length: *(\d+)", head)
                body = orjson.loads(await reader.readexactly(int(length[1]))) if length else {}
                asked = Asked(len(self.account.asked), head, body)
                self.account.asked.append(asked)
                before, fault = line.sent, self.script(asked.number)
                try:
                    if fault is None:
                        self.account.billed += 1
                        await line.reply(200, completion(self.content(asked)))
                    else:
                        await fault(line, asked)
                        break
                finally:
                    self.account.sent[asked.number] = line.sent - before
        writer.close()


@asynccontextmanager
async def provided(provider: Provider) -> AsyncIterator[str]:
    """Its base URL, while the block lasts."""
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, limit=1 << 24)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for task in tuple(provider.serving):
            task.cancel()
        await asyncio.gather(*provider.serving, return_exceptions=True)


def completion(text: str, **changes: Any) -> bytes:
    choices = [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]
    return orjson.dumps({"model": "m", "choices": choices, "usage": USED, **changes})


def items(asked: Asked, count: int = 3) -> str:
    """Items that no other request's are like."""
    number = asked.number
    made = [
        {"question": f"What is {number} plus {place}, asked as number {number * count + place}?",
         "answer": str(number + place)}
        for place in range(count)
    ]  # fmt: skip
    return orjson.dumps({"items": made}).decode()


# --- faults ------------------------------------------------------------------------------------------


def status(code: int, message: str = "no", **headers: str) -> Fault:
    async def fault(line: Line, asked: Asked) -> None:
        await line.reply(code, orjson.dumps({"error": {"message": message}}), **headers)

    return fault


def body(data: bytes, code: int = 200, **headers: str) -> Fault:
    async def fault(line: Line, asked: Asked) -> None:
        await line.reply(code, data, **headers)

    return fault


def echo(code: int = 400) -> Fault:
    """Repeats the request's head in a header and in the message."""

    async def fault(line: Line, asked: Asked) -> None:
        told = orjson.dumps({"error": {"message": f"you sent {asked.head}"}})
        await line.reply(code, told, Location=f"https://elsewhere.example/?{asked.header('Authorization')}")

    return fault


def endless(head: bytes, chunk: bytes, chunks: int = 20_000) -> Fault:
    """A head, and the same piece again and again."""

    async def fault(line: Line, asked: Asked) -> None:
        await line.write(head)
        for _ in range(chunks):
            await line.write(chunk)

    return fault


def dripping(head: bytes, piece: bytes, every_s: float) -> Fault:
    async def fault(line: Line, asked: Asked) -> None:
        await line.write(head)
        while True:
            await line.write(piece)
            await asyncio.sleep(every_s)

    return fault


async def cut(line: Line, asked: Asked) -> None:
    """Half of a good reply."""
    whole = completion(items(asked))
    await line.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole[: len(whole) // 2])


async def closed(line: Line, asked: Asked) -> None:
    """Not a byte."""


OK = b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EVENTS = b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(text: str) -> bytes:
    told = orjson.dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
    return chunk(b"data: " + told + b"\n\n")


def each(*faults: Fault | None) -> Iterator[Fault | None]:
    yield from faults

"""A raw protocol server that answers chat completions, so that the client is what is measured.

    python benchmarks/responder.py --latency 0.5 --random-usage

Prints its port, serves on loopback until standard input closes. It can limit and fail as providers do. GET /stats
tells what was asked: requests, those served twice (byte for byte the same), refusals for the rate, the peak in
flight, the tokens charged, and when the first request came and the last was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import re
import sys
import time
from typing import Any, ClassVar, cast

import orjson

LETTERS = "a problem of moderate length whose words matter to nobody but whose size is that of a real one "
REASONING = "In the afternoon 48 / 2 = 24 are sold, so 48 + 24 = 72 in all; 72 * 3 = 216; ten percent of 216 is 21.60. "
PIECE = b"x" * 262_144
FLOOD = 1 << 30
"""Bytes of one flood, at the most."""
ITEM = re.compile(rb"ITEM-(\d{8})")


class Responder(asyncio.Protocol):
    """One connection; one request at a time."""

    stats: ClassVar[dict[str, Any]] = {
        "requests": 0,
        "served": 0,
        "repeated": 0,
        "limited": 0,
        "in_flight": 0,
        "peak": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "failed": 0,
        "floods": 0,
        "flooded_mb": 0.0,
        "lies": 0,
        "first_at": None,
        "last_at": None,
    }
    seen: ClassVar[set[bytes]] = set()
    refused: ClassVar[set[bytes]] = set()
    options: ClassVar[argparse.Namespace]
    chance = random.Random(1)
    level = 0.0
    filled_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        if self.buffer.startswith(b"GET"):
            self.buffer = b""
            self.send(orjson.dumps({**self.stats, "cpu_s": time.process_time()}))
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 :].split(b"\r", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        body = self.buffer[end + 4 : end + 4 + length]
        self.buffer = b""
        stats, options = self.stats, self.options
        stats["requests"] += 1
        stats["first_at"] = stats["first_at"] or time.time()
        if options.rpm and (wait := self.too_fast()):
            stats["limited"] += 1
            self.send(b'{"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}', 429,
                      f"retry-after: {int(wait) + 1}\r\nretry-after-ms: {wait * 1000:.0f}\r\n")  # fmt: skip
            return
        stats["in_flight"] += 1
        stats["peak"] = max(stats["peak"], stats["in_flight"])
        digest = hashlib.blake2b(body, digest_size=12).digest()
        if options.latency:
            asyncio.get_running_loop().call_later(options.latency, self.answer, body, digest)
        else:
            self.answer(body, digest)

    def too_fast(self) -> float:
        """Seconds until the next may come: a bucket of one second's worth."""
        rate, now = self.options.rpm / 60, time.monotonic()
        kind = type(self)
        kind.level = rate if not kind.filled_at else min(rate, kind.level + (now - kind.filled_at) * rate)
        kind.filled_at = now
        if kind.level >= 1:
            kind.level -= 1
            return 0.0
        return (1 - kind.level) / rate

    def answer(self, body: bytes, digest: bytes) -> None:
        stats, options = self.stats, self.options
        stats["in_flight"] -= 1
        if options.refuse and stats["requests"] % 100 == 50 and len(self.refused) < options.refuse:
            self.refused.add(digest)
        if digest in self.refused:
            self.send(b'{"error": {"message": "This request is refused", "code": "invalid"}}', 400)
            return
        point = self.chance.random()
        if point < options.errors:
            stats["failed"] += 1
            self.send(b'{"error": {"message": "The server had an error"}}', 500)
            return
        if point < options.errors + options.resets:
            self.transport.abort()
            return
        if options.flood and self.chance.random() < options.flood:
            stats["floods"] += 1
            self.send(b'{"choices": [{"message": {"content": "', more="", length=1 << 40)
            self.pour(FLOOD // len(PIECE))
            return
        stats["served"] += 1
        stats["repeated"] += digest in self.seen
        self.seen.add(digest)
        stats["last_at"] = time.time()
        prompt_tokens, completion_tokens = 400, 160
        if options.random_usage:
            prompt_tokens, completion_tokens = self.chance.randint(50, 400), self.chance.randint(1, 1000)
        stats["prompt_tokens"] += prompt_tokens
        stats["completion_tokens"] += completion_tokens
        if options.lie and self.chance.random() < options.lie:
            stats["lies"] += 1
            prompt_tokens = completion_tokens = 99_000_000
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }
        content = wide(body, digest) if options.wide else narrow(digest, options.items)
        if point > 1 - options.cut:
            content = content[: len(content) // 2]
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self.send(
            orjson.dumps(
                {
                    "id": "chatcmpl-1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "raw",
                    "choices": [choice],
                    "usage": usage,
                }
            )
        )

    def pour(self, pieces: int) -> None:
        """Sends as fast as it is read, until the other side hangs up, or a gigabyte is through."""
        if self.transport.is_closing() or not pieces:
            self.transport.abort()
            return
        if self.transport.get_write_buffer_size() < len(PIECE):
            self.transport.write(PIECE)
            self.stats["flooded_mb"] += len(PIECE) / 2**20
            pieces -= 1
        asyncio.get_running_loop().call_later(0.0005, self.pour, pieces)

    def send(self, body: bytes, status: int = 200, more: str = "", length: int | None = None) -> None:
        size = len(body) if length is None else length
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}Content-Length: {size}\r\n\r\n"
        )
        if not self.transport.is_closing():  # a killed client does not read its answers
            self.transport.write(head.encode() + body)


def narrow(digest: bytes, count: int) -> str:
    """So many items, as the engine asks for them."""
    items = (
        f'{{"text": "{LETTERS * 5}{digest.hex()}{place or ""}", "label": "42"}}' for place in range(count)
    )
    return f'{{"items": [{", ".join(items)}]}}'


def wide(body: bytes, digest: bytes) -> str:
    """An answer that each of the engines compared takes: flat fields, with the number of the prompt, and an item."""
    found = ITEM.search(body)
    flat = {
        "id": found[1].decode() if found else digest.hex()[:8],
        "question": LETTERS * 2 + digest.hex(),
        "reasoning": REASONING * 2,
        "answer": "21.60",
        "label": "arithmetic",
        "difficulty": 3,
        "tags": ["percent", "money", "multi-step"],
    }
    return orjson.dumps({**flat, "items": [{"text": flat["question"], "label": "42"}]}).decode()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each reply")
    parser.add_argument("--random-usage", action="store_true")
    parser.add_argument("--items", type=int, default=1, help="items in each reply")
    parser.add_argument("--wide", action="store_true", help="answers that every engine compared can take")
    parser.add_argument("--rpm", type=float, default=0.0, help="requests per minute; 429 beyond")
    parser.add_argument("--errors", type=float, default=0.0, help="share of replies with status 500")
    parser.add_argument("--resets", type=float, default=0.0, help="share of connections reset")
    parser.add_argument("--cut", type=float, default=0.0, help="share of answers cut in half")
    parser.add_argument("--flood", type=float, default=0.0, help="share of answers without an end")
    parser.add_argument(
        "--lie", type=float, default=0.0, help="share of answers that claim 99 million tokens"
    )
    parser.add_argument("--refuse", type=int, default=0, help="so many requests are always refused with 400")
    Responder.options = parser.parse_args()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Responder, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    closed = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), closed.set)
    await closed.wait()


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())

"""A raw protocol server that answers chat completions, so that the client is what is measured.

    python benchmarks/responder.py --latency 0.5 --random-usage

Prints its port, serves on loopback until standard input closes. GET /stats tells requests, those repeated
byte for byte, the peak in flight, and the tokens charged.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import sys
from typing import ClassVar, cast

import orjson

LETTERS = "a problem of moderate length whose words matter to nobody but whose size is that of a real one "


class Responder(asyncio.Protocol):
    """One connection; one request at a time."""

    stats: ClassVar[dict[str, int]] = {
        "requests": 0,
        "repeated": 0,
        "in_flight": 0,
        "peak": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
    }
    seen: ClassVar[set[bytes]] = set()
    latency = 0.0
    random_usage = False
    slow_share = 0.0
    chance = random.Random(1)

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
            self.send(orjson.dumps(self.stats))
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 :].split(b"\r", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        body = self.buffer[end + 4 : end + 4 + length]
        self.buffer = b""
        stats = self.stats
        stats["requests"] += 1
        stats["in_flight"] += 1
        stats["peak"] = max(stats["peak"], stats["in_flight"])
        digest = hashlib.blake2b(body, digest_size=12).digest()
        stats["repeated"] += digest in self.seen
        self.seen.add(digest)
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, self.answer, digest)
        else:
            self.answer(digest)

    def answer(self, digest: bytes) -> None:
        stats = self.stats
        stats["in_flight"] -= 1
        prompt_tokens, completion_tokens = 400, 160
        if self.random_usage:
            prompt_tokens, completion_tokens = self.chance.randint(50, 400), self.chance.randint(1, 1000)
        stats["prompt_tokens"] += prompt_tokens
        stats["completion_tokens"] += completion_tokens
        text = f"{LETTERS * 5}{digest.hex()}"
        self.send(
            orjson.dumps(
                {
                    "id": "chatcmpl-1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "raw",
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": {
                                "role": "assistant",
                                "content": f'{{"items": [{{"text": "{text}", "label": "42"}}]}}',
                            },
                        }
                    ],
                    "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens},
                }
            )
        )

    def send(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        if not self.transport.is_closing():  # a killed client does not read its answers
            self.transport.write(head + body)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each reply")
    parser.add_argument("--random-usage", action="store_true")
    options = parser.parse_args()
    Responder.latency, Responder.random_usage = options.latency, options.random_usage
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

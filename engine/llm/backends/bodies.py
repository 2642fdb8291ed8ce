"""How much of a reply is read: limits that follow from what was asked for, and one budget of bytes for all replies."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from engine.errors import TooLong
from engine.llm.tokens import BYTES_A_TOKEN

_BESIDE = 64 * 1024
"""Bytes of a body beside its answer: names, usage, filters."""
_EXTRA = 1024 * 1024
"""The same where the user's own fields may ask for more, such as log-probabilities or sources."""
EVENT_BYTES = 1024
"""A streamed token's event: OpenAI's have 200 to 400 bytes around the text."""
TOGETHER = 128 * 1024 * 1024
"""Bytes of all replies that are being read at one moment."""
_INFORMATIONAL = 16
"""Replies of status 1xx before the one that counts (RFC 9110, 15.2, sets no limit)."""


def most_bytes(tokens: int, *, extra: bool = False) -> int:
    """The longest body that an answer of so many tokens can have; no tokenizer has tokens of more bytes on average."""
    return (_EXTRA if extra else _BESIDE) + BYTES_A_TOKEN * tokens


class Room:
    """The budget of bytes that all replies share. Mutable state: how many are held, by how many replies.

    Where they are too many, a reply that holds more than its share is given up; the others go on.
    """

    def __init__(self, most: int = TOGETHER) -> None:
        self._most = most
        self._held = 0
        self._readers = 0

    @contextmanager
    def reader(self) -> Iterator[Held]:
        """What one reply holds; it is given back when the block ends."""
        held = Held(self)
        self._readers += 1
        try:
            yield held
        finally:
            self._readers -= 1
            self._held -= held.bytes

    def _take(self, held: Held, count: int) -> None:
        held.bytes += count
        self._held += count
        if self._held > self._most and held.bytes * self._readers > self._most:
            raise TooLong(f"replies of more than {self._most:,} bytes came at the same time")


class Held:
    """The bytes that one reply holds of the room. Mutable state: their number."""

    __slots__ = ("_room", "bytes")

    def __init__(self, room: Room) -> None:
        self._room = room
        self.bytes = 0

    def take(self, count: int) -> None:
        """Raises TooLong."""
        self._room._take(self, count)


SMALL = 32_768
"""Bytes of a reply that takes no room worth counting, where it says so itself: nearly all are."""
ROOM = Room()
"""Of this process."""


async def body_of(response: aiohttp.ClientResponse, most: int, room: Room = ROOM) -> bytes:
    """The body, decompressed where it is compressed. Raises TooLong above `most` bytes."""
    told = response.content_length
    if (told or 0) > most:
        response.close()
        raise too_long(most)
    if told is not None and told <= SMALL and "Content-Encoding" not in response.headers:
        return await response.read()
    with room.reader() as held:
        chunks: list[bytes] = []
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            held.take(len(chunk))
            if held.bytes > most:
                response.close()
                raise too_long(most)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def too_long(most: int) -> TooLong:
    return TooLong(
        f"the reply is longer than {most:,} bytes, which an answer of the length asked for cannot be"
    )


class _Sparing(ResponseHandler):
    """aiohttp's protocol without a queue of informational replies, which an endpoint could fill without end.

    Mutable state: how many have come for the present request, on top of its base's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._informed = 0

    def feed_data(self, data: Any, size: int = 0) -> None:
        message = data[0]
        if not 100 <= message.code < 200 or message.code == 101:
            self._informed = 0
            super().feed_data(data, size)
            return
        self._informed += 1
        if self._informed > _INFORMATIONAL and self.transport is not None:
            error = aiohttp.ClientConnectionError("replies of status 1xx without end")
            self.set_exception(error)
            self.transport.abort()


def connector(concurrency: int) -> aiohttp.TCPConnector:
    """A pool of connections that informational replies cannot fill."""
    pool = aiohttp.TCPConnector(limit=concurrency)
    sparing: Any = functools.partial(_Sparing, loop=asyncio.get_running_loop())
    pool._factory = sparing  # there is no public way
    return pool

"""An ordered pipe of messages between head and worker: over a pair of sockets, a Unix socket or TCP."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence

from engine.spread.messages import VERSION, Message, decoded, encoded

_HEAD = struct.Struct(">IBBI")
"""Bytes that follow, version, whether they must be read exactly, epoch."""
LONGEST = 1 << 28
"""Bytes of one frame. Nothing that is sent comes near; a longer one is no frame of ours."""
FIRST = 1 << 16
"""Bytes of a frame from somebody who has not shown that they may send any."""
BEAT_S = 1.0
"""Seconds between two signs of life, from either side."""
_FULL = 1 << 22
"""Bytes that wait to be sent, beyond which whoever can wait waits."""


class Link(asyncio.Protocol):
    """Messages sent in one turn of the loop travel as one frame: nothing lingers, and many cost little more than one.

    Mutable state: the epoch that outgoing frames carry, the one that is expected, the longest frame that is read, what
    waits to be sent, what has come of the next frame, why it has ended.
    """

    def __init__(
        self,
        received: Callable[[Link, Sequence[Message]], None],
        ended: Callable[[Link], None] = lambda _: None,
        *,
        longest: int = LONGEST,
    ) -> None:
        """`received` is called with what one frame holds, `ended` once nothing more can come."""
        self.epoch = 0
        self.longest = longest
        self.why = ""
        """Why the link has ended; '' while it is open, and where the other side just closed it."""
        self.heard = 0.0
        """When anything last came, by the loop's clock."""
        self.came_under = 0
        """The epoch of the frame that is being received."""
        self._received = received
        self._ended = ended
        self._waiting: list[Message] = []
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._loop = asyncio.get_running_loop()
        self.closed = asyncio.Event()

    @property
    def peer(self) -> str:
        """HOST:PORT of the other side; '' where it has none."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""

    # --- sending ---

    def send(self, message: Message) -> None:
        """Never waits; after the end it goes nowhere."""
        if self._transport is None or self._transport.is_closing():
            return
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(message)

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting or self._transport is None or self._transport.is_closing():
            return
        data, exactly = encoded(waiting)
        head = _HEAD.pack(len(data), VERSION, exactly, self.epoch)
        self._transport.write(head + data if len(data) < 65_536 else head)
        if len(data) >= 65_536:
            self._transport.write(data)

    async def room(self) -> None:
        """Waits while too much waits to be sent; at once after the end."""
        await self._room.wait()

    def close(self) -> None:
        """What was sent still goes out."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Nothing more goes out."""
        if self._transport is not None:
            self._transport.abort()

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=_FULL)  # type: ignore[union-attr]
        self.heard = self._loop.time()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        self._buffer += data
        try:
            while (frame := self._next()) is not None:
                self._received(self, frame)
        except ValueError as error:
            self.why = str(error)
            self.abort()

    def _next(self) -> Sequence[Message] | None:
        """What the next whole frame holds; frames of another epoch are passed with it. Raises ValueError."""
        if len(self._buffer) < _HEAD.size:
            return None
        length, version, exactly, epoch = _HEAD.unpack_from(self._buffer)
        if version != VERSION:
            raise ValueError(f"speaks version {version} of the wire, and this release speaks {VERSION}")
        if length > self.longest:
            raise ValueError(f"sends a frame of {length:,} bytes, where {self.longest:,} are allowed")
        end = _HEAD.size + length
        if len(self._buffer) < end:
            return None
        frame = bytes(memoryview(self._buffer)[_HEAD.size : end])
        del self._buffer[:end]
        self.came_under = epoch
        return decoded(frame, exactly=bool(exactly))

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self.why:
            self.why = str(error)
        self._room.set()
        self.closed.set()
        self._ended(self)

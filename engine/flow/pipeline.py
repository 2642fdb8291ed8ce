"""A source, stages and a sink, joined by bounded channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.errors import FatalError, StopRun
from engine.flow.channel import Channel, ChannelStatistics
from engine.flow.halt import Halt
from engine.flow.stage import Stage


class Sink(Protocol):
    """The end of a pipeline."""

    async def run(self, inbox: Channel[Any]) -> None:
        """Takes everything until the inbox is closed and empty."""
        ...

    def let_go(self, value: Any) -> None:
        """Hears of a value that does not arrive in this pass; see Deferred."""
        ...


@dataclass(frozen=True)
class Pipeline:
    """`run` returns once the source has ended, or the run was halted, and every channel is empty."""

    source: AsyncIterator[Any]
    stages: Sequence[Stage]
    sink: Sink
    halt: Halt
    channels: tuple[Channel[Any], ...]

    @classmethod
    def joined(cls, source: AsyncIterator[Any], stages: Sequence[Stage], sink: Sink, halt: Halt) -> Pipeline:
        inboxes = [Channel[Any](stage.name, capacity=max(1, min(stage.workers, 256))) for stage in stages]
        return cls(source, stages, sink, halt, (*inboxes, Channel[Any]("commit", capacity=256)))

    async def run(self) -> None:
        """Raises what a source, step or sink raised that is neither StopRun nor FatalError."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed(self.channels[0]), name="plan")
            for stage, inbox, outbox in zip(self.stages, self.channels, self.channels[1:], strict=False):
                work = stage.run(inbox, outbox, self.halt, self.sink.let_go)
                group.create_task(work, name=stage.name)
            group.create_task(self._drain(), name="commit")

    async def _feed(self, outbox: Channel[Any]) -> None:
        try:
            async for value in self.source:
                if self.halt.reason is not None:
                    break
                await outbox.put(value)
        except (StopRun, FatalError) as reason:
            self.halt.set(reason)
        finally:
            outbox.close()

    async def _drain(self) -> None:
        try:
            await self.sink.run(self.channels[-1])
        except FatalError as reason:
            self.halt.set(reason)
            async for _ in self.channels[-1]:
                pass  # the journal cannot take them; their completions are asked for again from it

    def statistics(self) -> dict[str, ChannelStatistics]:
        return {channel.name: channel.statistics() for channel in self.channels}

"""Channels, stages, the pipeline: bounded, fair, drained to the last value."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.errors import Deferred, FatalError, Interrupted
from engine.flow.channel import Channel
from engine.flow.halt import Halt
from engine.flow.pipeline import Pipeline
from engine.flow.stage import Stage


async def spin(times: int = 10) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def test_a_full_channel_makes_its_putters_wait() -> None:
    channel = Channel[int]("c", 2)
    tasks = [asyncio.create_task(channel.put(n)) for n in range(5)]
    await spin()
    assert channel.statistics() == (2, 2, 2)
    assert not any(task.done() for task in tasks[2:])
    assert [await channel.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    await asyncio.gather(*tasks)


async def test_a_closed_channel_is_emptied_then_ends() -> None:
    channel = Channel[int]("c", 4)
    await channel.put(1)
    await channel.put(2)
    channel.close()
    assert [value async for value in channel] == [1, 2]
    with pytest.raises(RuntimeError, match="closed"):
        await channel.put(3)


async def test_closing_wakes_those_who_wait() -> None:
    channel = Channel[int]("c", 1)

    async def read() -> list[int]:
        return [value async for value in channel]

    readers = [asyncio.create_task(read()) for _ in range(3)]
    await spin()
    channel.close()
    assert await asyncio.gather(*readers) == [[], [], []]


async def test_get_all_takes_what_is_there() -> None:
    channel = Channel[int]("c", 3)
    for n in range(3):
        await channel.put(n)
    late = asyncio.create_task(channel.put(3))
    await spin()
    assert await channel.get_all() == [0, 1, 2]
    await late
    assert await channel.get_all() == [3]


async def test_a_cancelled_waiter_loses_nothing() -> None:
    channel = Channel[int]("c", 1)
    first, second = asyncio.create_task(channel.get()), asyncio.create_task(channel.get())
    await spin()
    await channel.put(1)  # wakes the first, which is cancelled before it runs
    first.cancel()
    assert await second == 1


def test_a_channel_needs_room() -> None:
    with pytest.raises(ValueError, match="room"):
        Channel[int]("c", 0)


async def numbers(count: int) -> AsyncIterator[int]:
    for n in range(count):
        yield n


class Kept:
    """A sink that keeps what arrives, and what is let go."""

    def __init__(self) -> None:
        self.found: list[int] = []
        self.gone: list[int] = []

    async def run(self, inbox: Channel[int]) -> None:
        self.found.extend([value async for value in inbox])

    def let_go(self, value: int) -> None:
        self.gone.append(value)


async def through(stages: list[Stage], count: int, halt: Halt | None = None) -> list[int]:
    sink = Kept()
    await Pipeline.joined(numbers(count), stages, sink, halt or Halt()).run()
    return sink.found


async def test_every_value_goes_through_every_stage() -> None:
    async def twice(n: int) -> list[int]:
        await asyncio.sleep(0)
        return [n, n]

    async def none_odd(n: int) -> list[int]:
        return [n] if n % 2 == 0 else []

    found = await through([Stage("twice", twice, 3), Stage("even", none_odd, 2)], 100)
    assert sorted(found) == sorted([*range(0, 100, 2)] * 2)


@pytest.mark.parametrize("reason", [Interrupted("stop"), FatalError("broken")])
async def test_a_halt_ends_the_source_and_drains_the_rest(reason: Exception) -> None:
    halt = Halt()

    async def step(n: int) -> list[int]:
        if n == 10:
            raise reason
        return [n]

    found = await through([Stage("s", step, 2)], 1000, halt)
    assert halt.reason is reason
    assert 10 not in found
    assert len(found) < 100
    assert found == sorted(found)


async def test_what_is_deferred_is_let_go_and_the_rest_goes_on() -> None:
    async def step(n: int) -> list[int]:
        async def asked(late: bool) -> None:
            if late:
                raise Deferred

        if n % 5 == 0:
            raise Deferred
        async with asyncio.TaskGroup() as group:  # a validator may ask several things at once
            for _ in range(2):
                group.create_task(asked(n % 3 == 0))
        return [n]

    sink = Kept()
    await Pipeline.joined(numbers(30), [Stage("s", step, 3)], sink, Halt()).run()
    assert sink.found == [n for n in range(30) if n % 5 and n % 3]
    assert sorted(sink.gone) == [n for n in range(30) if not (n % 5 and n % 3)]


async def test_a_bug_in_a_step_is_not_hidden() -> None:
    async def step(n: int) -> list[int]:
        raise KeyError(n)

    with pytest.raises(BaseExceptionGroup) as caught:
        await through([Stage("s", step, 2)], 5)
    assert caught.group_contains(KeyError)


async def test_halt_is_set_once() -> None:
    halt, heard = Halt(), []
    halt.on_set(heard.append)
    first, second = Interrupted("a"), Interrupted("b")
    halt.set(first)
    halt.set(second)
    assert halt.reason is first
    assert heard == [first]
    with pytest.raises(Interrupted):
        halt.check()

"""Batches in virtual time: hours of waiting, losing, expiring and cancelling at a provider that is a few lines long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoints import endpoint
from engine.errors import (
    BadRequest,
    Disconnected,
    EndpointDown,
    EndpointError,
    FatalError,
    Interrupted,
    PermanentError,
    RateLimited,
    Unavailable,
)
from engine.flow.halt import Halt
from engine.items import Completion, Prompt, Usage
from engine.llm.accounts import Accounts
from engine.llm.batches.door import Capacity, Fault, Request, Result, Told
from engine.llm.batches.part import OPEN, Answer, Asked, Fate, Part, State
from engine.llm.batches.room import split_file
from engine.llm.batches.spool import Lane, Pace, Spool, asked
from engine.llm.batches.waves import Waves
from engine.llm.budget import Budget
from engine.llm.call import CallCounts
from engine.llm.prices import Price, Tier
from engine.llm.tokens import TokenEstimator
from engine.simulator.virtual_time import VirtualLoop, in_virtual_time

PRICE = Price((Tier(-1, 10, 10, 20),))
ONE = PRICE.worst(100, 50)
EVENING = 1_000_000.0


def prompt(n: int) -> Prompt:
    return Prompt(f"{n}/items", "items", n, "system", f"prompt {n}", {}, 1.0, 50, 0)


class Memory:
    """A Book in memory, which also knows in which order states were put."""

    nonce = "nonce"

    def __init__(self) -> None:
        self.kept: dict[int, Part] = {}
        self.calls: dict[str, Asked] = {}
        self.outcomes: dict[str, Completion | PermanentError] = {}
        self.history: list[tuple[int, str]] = []

    def parts(self, *states: State) -> list[Part]:
        return [part for _, part in sorted(self.kept.items()) if part.state in states]

    def next_number(self) -> int:
        return max(self.kept, default=0) + 1

    def waves(self) -> int:
        return 0

    def begin(self, part: Part) -> None:
        self.kept[part.number] = part

    def append(self, calls: Sequence[Asked]) -> None:
        self.calls.update((each.id, each) for each in calls)

    async def put(self, *parts: Part) -> None:
        for part in parts:
            self.kept[part.number] = part
            self.history.append((part.number, str(part.state)))

    async def split(self, part: Part, first: Part, second: Part) -> None:
        [last] = self.at(part.number, [first.calls])
        for id, call in self.calls.items():
            if call.part == part.number:
                self.calls[id] = call._replace(part=first.number if call.n <= last.n else second.number)
        await self.put(replace(part, state=State.VOID), first, second)

    def asked(self, part: int, ids: Sequence[str]) -> dict[str, Asked]:
        return {id: call for id, call in self.calls.items() if call.part == part and id in ids}

    def _of(self, part: int) -> list[Asked]:
        return sorted((call for call in self.calls.values() if call.part == part), key=lambda call: call.n)

    def at(self, part: int, lines: Sequence[int]) -> list[Asked]:
        return [self._of(part)[line - 1] for line in lines]

    def waiting(self, part: int, most: int) -> list[Asked]:
        return [call for call in self._of(part) if call.fate == Fate.WAITING][:most]

    def holds(self, key: str) -> bool:
        return key in self.outcomes

    async def answered(self, answers: Sequence[Answer]) -> None:
        for asked_, outcome in answers:
            self.calls[asked_.id] = asked_
            if outcome is not None:
                assert asked_.key not in self.outcomes, "an answer is kept once"
                self.outcomes[asked_.key] = outcome

    async def relent(self, part: int, purpose: str) -> None: ...

    def longest(self) -> dict[str, int]:
        return {}

    def unanswered(self) -> dict[str, tuple[int, bool]]:
        return {}


class Provider:
    """A Door in virtual time. Mutable state: its batches, what it does next, the calls of its methods."""

    capacity = Capacity(1000, 1_000_000)
    name = "provider"

    def __init__(self, loop: VirtualLoop, *, tagged: bool = True, takes: float = 1200.0) -> None:
        self.loop = loop
        self.names_requests_only = not tagged
        self.takes = takes
        self.looks_after = 0.0
        """Seconds after which it has looked at a batch, and says how many calls it has."""
        self.batches: dict[str, dict[str, Any]] = {}
        self.creating: list[Exception | str | None] = []
        """What comes of the next creations: an error, 'lost' for one whose reply is, or None."""
        self.asked: list[tuple[float, str]] = []
        self.answers: Callable[[str, int], Result | None] = lambda id, n: Result(id, 200, b"{}")
        self.listing: Callable[[], None] = lambda: None

    def request(self, prompt: Prompt) -> Request:
        return Request({}, prompt.max_tokens, {})

    def line(self, id: str, request: Request) -> bytes:
        return orjson.dumps({"id": id})

    def settled(self, purpose: str) -> bool:
        return True

    def terms(self, purpose: str) -> Mapping[str, Any]:
        return {}

    def answered(self, purpose: str, terms: Mapping[str, Any]) -> None: ...

    def refused(self, purpose: str, refusal: BadRequest, terms: Mapping[str, Any]) -> bool:
        return False

    async def upload(self, file: Path, name: str) -> str:
        self.asked.append((self.loop.time(), "upload"))
        return f"file-{name}"

    async def create(self, file: Path, file_id: str, tag: str) -> Told:
        self.asked.append((self.loop.time(), "create"))
        comes = self.creating.pop(0) if self.creating else None
        if isinstance(comes, Exception):
            raise comes
        id = f"batch-{len(self.batches)}"
        ids = [orjson.loads(line)["id"] for line in file.read_bytes().splitlines()]
        self.batches[id] = {
            "made": self.loop.time(), "ids": ids, "tag": "" if self.names_requests_only else tag,
            "ends": self.loop.time() + self.takes, "cancelled": False, "faults": (), "said": "completed",
        }  # fmt: skip
        if comes == "lost":
            raise Disconnected("connection lost", paid=True)
        return self.told(id)

    def told(self, id: str) -> Told:
        batch = self.batches[id]
        ended = self.loop.time() >= batch["ends"] or batch["cancelled"]
        stage = "refused" if batch["faults"] and ended else "ended" if ended else "running"
        return Told(
            id, stage, batch["said"] if ended else "in_progress",
            len(batch["ids"]) if self.loop.time() >= batch["made"] + self.looks_after else 0, created=batch["made"],  # type: ignore[arg-type]
            tag=batch["tag"], faults=batch["faults"],
        )  # fmt: skip

    async def made(self, since: float) -> Sequence[Told]:
        self.asked.append((self.loop.time(), "list"))
        return [self.told(id) for id in reversed(self.batches) if self.batches[id]["made"] >= since]

    async def poll(self, ids: Sequence[str]) -> Mapping[str, Told]:
        self.asked.append((self.loop.time(), "poll"))
        self.listing()
        return {id: self.told(id) for id in ids if id in self.batches}

    async def results(self, told: Told) -> AsyncIterator[Result | None]:
        for n, id in enumerate(self.batches[told.id]["ids"]):
            if (result := self.answers(id, n)) is not None:
                yield result

    def read(self, body: bytes) -> Completion:
        return Completion("{}", "m", "stop", Usage(40, 10))

    async def cancel(self, id: str) -> None:
        self.asked.append((self.loop.time(), "cancel"))
        self.batches[id]["cancelled"] = True
        self.batches[id]["said"] = "cancelled"

    async def close(self) -> None: ...

    def times(self, what: str) -> list[float]:
        return [at for at, kind in self.asked if kind == what]


class Night:
    """Waves over one provider. Mutable state: the halt, the events, the sentences."""

    def __init__(
        self, loop: VirtualLoop, provider: Provider, folder: Path, book: Memory | None = None, **settings: Any
    ) -> None:
        self.loop, self.provider, self.folder = loop, provider, folder
        self.book, self.halt, self.budget = book or Memory(), Halt(), Budget(1000 * ONE)
        self.events: list[str] = []
        self.lane = Lane("lane", provider, endpoint(clock=loop.time), PRICE, Pace())
        chosen = {"wait_s": 86_400.0, "outage_s": 3600.0, **settings}
        self.waves = Waves(
            {"lane": self.lane}, self.book, self.budget, Accounts(TokenEstimator(), CallCounts()), self.halt,
            folder, record=lambda *event: self.events.append(event[2]), wall=loop.time, **chosen,
        )  # fmt: skip

    async def spooled(self, calls: int, number: int = 1) -> Part:
        """A part of so many calls, whose money is set aside."""
        spool = Spool(self.folder, self.lane, self.book, 1, number)
        for n in range(calls):
            request = self.provider.request(prompt(n))
            id = spool.next_id
            call = asked(id, number, n, prompt(1000 * number + n), request, 100, 1, shortened=False)
            spool.add(call, self.provider.line(id, request), ONE)
            assert self.budget.put_aside(ONE)
        return await spool.close()

    async def through(self, *parts: Part) -> None:
        await self.waves.send(parts)
        await self.waves.settle()


def night(work: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> None:
    async def later(loop: VirtualLoop) -> None:
        await asyncio.sleep(EVENING)
        await work(loop)

    in_virtual_time(later)


COST = PRICE.cost(40, 10)


def test_a_part_goes_through_its_states_and_is_paid_by_its_answers(tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        one = Night(loop, Provider(loop), tmp_path)
        await one.through(await one.spooled(10))
        states = [state for _, state in one.book.history]
        assert states == ["spooled", "intent", "uploaded", "told", "created", "ended", "collected"]
        assert len(one.book.outcomes) == 10
        assert (one.budget.spent, one.budget.aside) == (10 * COST, 0)
        assert not list(tmp_path.rglob("part-*"))

    night(work)


def test_what_comes_twice_or_of_others_is_told_and_costs_nothing(tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        one = Night(loop, Provider(loop), tmp_path)
        part = await one.spooled(4)
        await one.waves.send([part])
        results = one.provider.results

        async def odd(told: Told) -> AsyncIterator[Result | None]:
            async for result in results(told):
                yield result
                yield result
            yield Result("somebody-elses", 200, b"{}")
            yield None

        one.provider.results = odd  # type: ignore[method-assign]
        await one.waves.settle()
        assert one.budget.spent == 4 * COST
        assert one.events == [
            "part 1 has a result of another call, 4 results that came twice, a line that cannot be read"
        ]

    night(work)


def test_a_provider_is_asked_seldom(tmp_path: Path) -> None:
    """Ten hours, polled after 10 seconds at first and every 5 minutes at last."""

    async def work(loop: VirtualLoop) -> None:
        one = Night(loop, Provider(loop, takes=36_000.0), tmp_path)
        await one.through(await one.spooled(5), await one.spooled(5, 2))
        polls = one.provider.times("poll")
        assert 100 < len(polls) < 140, "one question for all parts"
        gaps = [after - before for before, after in pairwise(polls)]
        assert polls[0] - one.provider.times("create")[0] == pytest.approx(10.0)
        assert max(gaps) == pytest.approx(300.0)

    night(work)


@pytest.mark.parametrize("tagged", [True, False])
def test_a_lost_reply_makes_no_second_batch(tagged: bool, tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        one = Night(loop, Provider(loop, tagged=tagged), tmp_path)
        one.provider.creating = ["lost", None, "lost"]
        await one.through(*[await one.spooled(7, number) for number in (1, 2, 3)])
        assert len(one.provider.batches) == 3
        assert len(one.book.outcomes) == 21
        [first, *_] = one.provider.times("create")
        assert one.provider.times("list")[0] - first >= 60.0, "so long it may take to be listed"

    night(work)


@pytest.mark.parametrize("tagged", [True, False])
def test_a_creation_that_was_not_made_is_made_anew(tagged: bool, tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        one = Night(loop, Provider(loop, tagged=tagged), tmp_path)
        one.provider.creating = [Unavailable("500"), Disconnected("reset", paid=True)]
        await one.through(await one.spooled(7))
        assert len(one.provider.batches) == 1
        assert len(one.provider.times("create")) == 3
        assert len(one.book.outcomes) == 7

    night(work)


def test_somebody_elses_batch_of_as_many_calls_is_given_back(tmp_path: Path) -> None:
    """Anthropic's batches have no name: one of the same size, made at the same time, is known by its calls' ids."""

    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop, tagged=False)
        one = Night(loop, provider, tmp_path)
        part = await one.spooled(3)
        provider.creating = [Disconnected("reset", paid=True)]

        def theirs() -> None:
            provider.batches["theirs"] = {
                "made": loop.time(), "ids": ["a", "b", "c"], "tag": "", "ends": loop.time() + 600,
                "cancelled": False, "faults": (), "said": "completed",
            }  # fmt: skip

        await one.waves.send([part])
        theirs()
        await one.waves.settle()
        assert len(one.book.outcomes) == 3
        assert one.budget.aside == 0
        assert [batch["ids"][0] for batch in provider.batches.values()] == ["a", "nonce-1-0"]

    night(work)


def test_a_batch_that_nobody_ends_is_cancelled_and_collected(tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop, takes=10 * 86_400.0)
        one = Night(loop, provider, tmp_path)
        provider.answers = lambda id, n: (
            Result(id, 200, b"{}") if n % 2 else Result(id, None, b"", "cancelled")
        )
        began = loop.time()
        await one.through(await one.spooled(10))
        [cancelled] = provider.times("cancel")
        assert 26 * 3600 <= cancelled - began <= 26 * 3600 + 300
        assert len(one.book.outcomes) == 5
        fates = [call.fate for call in one.book.calls.values()]
        assert fates.count(Fate.AGAIN) == 5
        assert (one.budget.spent, one.budget.aside) == (5 * COST, 0), "only what was answered is charged"

    night(work)


def test_a_shorter_wait_is_kept(tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        one = Night(loop, Provider(loop, takes=86_400.0), tmp_path, wait_s=3600.0)
        began = loop.time()
        await one.through(await one.spooled(2))
        assert one.provider.times("cancel")[0] - began <= 3600.0 + 300.0

    night(work)


@pytest.mark.parametrize("said", ["Enqueued token limit reached. Limit: 900 enqueued tokens.", ""])
def test_without_room_a_part_waits_or_is_halved(said: str, tmp_path: Path) -> None:
    """At most 12 calls may wait: two parts of 10 go one after the other, one of 40 in pieces."""

    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        one = Night(loop, provider, tmp_path)
        create = provider.create

        async def crowded(file: Path, file_id: str, tag: str) -> Told:
            calls = len(file.read_bytes().splitlines())
            waiting = sum(len(b["ids"]) for b in provider.batches.values() if loop.time() < b["ends"])
            if waiting + calls > 12 and not said:
                raise RateLimited("429: the limit of batch requests in the processing queue", 5.0)
            told = await create(file, file_id, tag)
            if waiting + calls > 12:
                batch = provider.batches[told.id]
                batch |= {"faults": (Fault(None, "token_limit_exceeded", said),), "ends": loop.time() + 300}
            return told

        provider.create = crowded  # type: ignore[method-assign]
        provider.looks_after = 299.0 if said else 0.0
        await one.through(*[await one.spooled(calls, n) for n, calls in enumerate((10, 10, 40), 1)])
        assert len(one.book.outcomes) == 60
        assert one.budget.aside == 0
        assert one.budget.spent == 60 * COST
        assert any("halved" in event for event in one.events)
        assert sum(part.calls for part in one.book.parts(State.COLLECTED)) == 60
        assert len(provider.batches) < 40, "it is not tried again and again"

    night(work)


def test_a_batch_that_is_gone_is_told_and_stays_charged(tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        one = Night(loop, provider, tmp_path)
        missed = [2]

        def now_and_then() -> None:  # it is not found twice, though it is there
            if missed[0]:
                missed[0] -= 1
                hidden = dict(provider.batches)
                provider.batches.clear()
                loop.call_soon(provider.batches.update, hidden)

        provider.listing = now_and_then
        await one.through(await one.spooled(3))
        assert len(one.book.outcomes) == 3
        provider.listing = provider.batches.clear
        await one.waves.send([await one.spooled(3, 2)])
        with pytest.raises(EndpointError, match="does not know the batch batch-1 of part 2"):
            await one.waves.settle()
        assert one.budget.aside == 3 * ONE

    night(work)


def test_results_that_are_deleted_are_told(tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        one = Night(loop, Provider(loop), tmp_path)

        def gone(id: str, n: int) -> Result:
            raise EndpointError("404: No such File object")

        one.provider.answers = gone
        with pytest.raises(EndpointError, match="has no results of the batch batch-0 of part 1"):
            await one.through(await one.spooled(3))
        assert one.budget.aside == 3 * ONE

    night(work)


def test_an_outage_is_waited_for_and_a_long_one_ends_the_start(tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        one = Night(loop, provider, tmp_path)
        began = loop.time()
        until = [began + 1800.0]

        def out() -> None:
            if loop.time() < until[0]:
                raise Unavailable("503: overloaded")

        provider.listing = out
        await one.through(await one.spooled(3))
        assert len(one.book.outcomes) == 3
        until[0] = loop.time() + 86_400.0
        with pytest.raises(EndpointDown, match="no word of batches"):
            await one.through(await one.spooled(3, 2))
        assert one.book.parts(*OPEN)[0].state is State.CREATED, "the next start goes on"

    night(work)


def test_a_stop_leaves_the_batches_where_they_are(tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop)
        one = Night(loop, provider, tmp_path)
        loop.call_later(100.0, one.halt.set, Interrupted("interrupted"))
        with pytest.raises(Interrupted):
            await one.through(await one.spooled(3))
        assert one.book.parts(*OPEN)[0].state is State.CREATED
        assert not provider.times("cancel")
        again = Night(loop, provider, tmp_path, one.book)
        await again.waves.take_over()
        assert again.budget.aside == 3 * ONE
        await again.waves.settle()
        assert len(again.book.outcomes) == 3

    night(work)


class Killed(BaseException):
    """The process is gone at this moment."""


@given(data=st.data())
@settings(max_examples=100)
def test_paid_once_whatever_dies_and_is_lost(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Kills before and after any write, replies lost, creations failed, answers missing: each call is kept once."""
    folder = tmp_path_factory.mktemp("night")
    tagged = data.draw(st.booleans(), "tagged")
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3), "sizes")
    fates = st.sampled_from(
        ["lost", None, Unavailable("500"), Disconnected("reset", paid=True), RateLimited("429", 3.0)]
    )
    creating = data.draw(st.lists(fates, max_size=5), "creations")
    kills = iter(data.draw(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=6), "kills"))
    silent = data.draw(st.sets(st.integers(0, 5)), "not answered")

    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop, tagged=tagged)
        provider.creating = list(creating)  # type: ignore[arg-type]
        provider.answers = lambda id, n: None if n in silent else Result(id, 200, b"{}")
        book = Memory()
        one = Night(loop, provider, folder, book)
        parts = [await one.spooled(size, number) for number, size in enumerate(sizes, 1)]
        await one.waves.send(parts)
        left: list[Any] = [next(kills, None)]
        put = Memory.put

        async def killing(*changed: Part) -> None:
            if left[0] is None:
                return await put(book, *changed)
            count, before = left[0]
            left[0] = (count - 1, before)
            if count == 0 and before:
                left[0] = next(kills, None)
                raise Killed
            await put(book, *changed)
            if count == 0:
                left[0] = next(kills, None)
                raise Killed

        book.put = killing  # type: ignore[method-assign]
        while book.parts(*OPEN):
            one = Night(loop, provider, folder, book)
            try:
                await one.waves.take_over()
                await one.waves.settle()
            except Killed:
                continue
        answered = {call.key for call in book.calls.values() if call.fate == Fate.ANSWERED}
        assert answered == set(book.outcomes)
        assert len(book.outcomes) == sum(n not in silent for size in sizes for n in range(size))
        assert len(provider.batches) == len(sizes), "no batch was made twice"
        collected = book.parts(State.COLLECTED)
        assert sum(part.cost for part in collected) == COST * len(book.outcomes)
        assert sum(part.lost for part in collected) == 0
        assert {call.n for call in book.calls.values() if call.fate == Fate.AGAIN} <= silent
        assert {call.fate for call in book.calls.values()} <= {Fate.ANSWERED, Fate.AGAIN}
        last = Night(loop, provider, folder, book)
        await last.waves.take_over()
        assert last.budget.aside == 0
        assert not list(folder.rglob("part-*"))

    night(work)


def test_a_file_is_split_at_a_line(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.write_bytes(b"".join(b"line %d\n" % n for n in range(7)))
    halves = [tmp_path / "first", tmp_path / "second"]
    sizes = split_file(whole, halves, 4)
    assert halves[0].read_bytes().splitlines() == [b"line %d" % n for n in range(4)]
    assert halves[1].read_bytes().splitlines() == [b"line %d" % n for n in range(4, 7)]
    assert [size for size, _ in sizes] == [28, 21]


def test_an_endpoint_that_the_config_dropped_is_named(tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        one = Night(loop, Provider(loop), tmp_path)
        part = replace(await one.spooled(2), endpoint="m at https://gone.example")
        with pytest.raises(FatalError, match=r"part 1 \(2 calls\) waits at m at https://gone.example"):
            await one.through(part)

    night(work)

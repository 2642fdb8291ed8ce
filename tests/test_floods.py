"""Floods and lies on the wire: no reply takes memory or time without end, and none costs more than its own call."""

from __future__ import annotations

import asyncio
import gzip
import resource
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, lines, run_in
from engine.config import ModelConfig
from engine.errors import (
    CallTimeout,
    Disconnected,
    EngineError,
    MalformedReply,
    TooLong,
    TransientError,
)
from engine.items import Prompt
from engine.llm.backends.bodies import Room, most_bytes
from engine.llm.backends.openai_compatible import OpenAICompatible
from engine.prompts.replies import items_in, objects_in
from faults.provider import (
    CHUNKED,
    EVENTS,
    OK,
    Asked,
    Fault,
    Line,
    Provider,
    body,
    chunk,
    completion,
    dripping,
    endless,
    event,
    provided,
)

PROMPT = Prompt("1/items", "items", 1, "S", "U", {"type": "object"}, 0.5, 500, 5)
MB = 1_000_000
TEXT = b'{"choices": [{"message": {"content": "'


@pytest.fixture
async def rig() -> AsyncIterator[tuple[Provider, OpenAICompatible]]:
    provider = Provider()
    async with provided(provider) as url:
        backend = OpenAICompatible(
            ModelConfig(name="m", base_url=url, api_key="sk-long-key-1"), concurrency=4
        )
        yield provider, backend
        await backend.close()


def flooding(fault: Fault) -> Any:
    return lambda number: fault if number == 0 else None


FLOODS: list[tuple[str, Fault, type[EngineError]]] = [
    ("a body without end", endless(OK + b"\r\n" + TEXT, b"x" * 65536), TooLong),
    ("chunks without end", endless(CHUNKED + chunk(TEXT), chunk(b"x" * 65536)), TooLong),
    ("a length of gigabytes", body(TEXT, Content_Length=str(10**10)), TooLong),
    ("a bomb of gzip", body(gzip.compress(b" " * 200 * MB), Content_Encoding="gzip"), TooLong),
    ("headers without end", endless(OK, b"X-Again: " + b"y" * 4000 + b"\r\n"), Disconnected),
    ("a header without end", endless(OK + b"X-Long: ", b"y" * 65536), Disconnected),
    ("status 1xx without end", endless(b"", b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" * 100), Disconnected),
    ("a refusal without end", endless(OK.replace(b"200", b"400") + b"\r\n", b"x" * 65536), TooLong),
]


@pytest.mark.parametrize(("fault", "expected"), [row[1:] for row in FLOODS], ids=[row[0] for row in FLOODS])
async def test_a_flood_ends_at_its_limit(
    fault: Fault, expected: type[EngineError], rig: tuple[Provider, OpenAICompatible]
) -> None:
    """Little of it is read, memory stays as it is, and the next call goes through."""
    provider, backend = rig
    provider.script = flooding(fault)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with asyncio.timeout(60):
        with pytest.raises(expected):
            await backend.complete(PROMPT)
        assert (await backend.complete(PROMPT)).text
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 40_000, f"{grown:,} kB"
    assert provider.account.sent.get(0, 0) < 20 * MB


async def words(line: Line, asked: Asked) -> None:
    await line.write(EVENTS)
    for number in range(200_000):
        await line.write(event(f"word {number} and the square of it, {number * number}, and so on; "))


STREAMS: list[tuple[str, Fault, type[EngineError]]] = [
    ("events without end", words, TooLong),
    ("empty events without end", endless(EVENTS, event("") * 50), TooLong),
    ("comments without end", endless(EVENTS, chunk(b": waiting\n\n") * 200), TooLong),
    ("an event without end", endless(EVENTS + chunk(b"data: "), chunk(b"x" * 65536)), MalformedReply),
]


@pytest.mark.parametrize(("fault", "expected"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS])
async def test_a_stream_ends_at_its_limit(
    fault: Fault, expected: type[EngineError], rig: tuple[Provider, OpenAICompatible]
) -> None:
    provider, backend = rig
    provider.script = flooding(fault)
    async with asyncio.timeout(60):
        with pytest.raises(expected):
            await backend.streamed(PROMPT, lambda: None)
    assert provider.account.sent.get(0, 0) < 20 * MB


async def test_an_honest_answer_of_the_full_length_passes(rig: tuple[Provider, OpenAICompatible]) -> None:
    """Whatever language it has: 16 bytes a token, escaped as JSON."""
    provider, backend = rig
    said = orjson.dumps({"items": [{"question": "\u8fd9" * 2500, "answer": "1"}]}).decode()
    provider.content = lambda asked: said
    assert (await backend.complete(PROMPT)).text == said


async def test_all_replies_share_one_budget_of_bytes() -> None:
    """The one that holds more than its share is given up, and small ones go on."""
    room = Room(1000)
    with room.reader() as small, room.reader() as large:
        small.take(200)
        large.take(790)
        with pytest.raises(TooLong):
            large.take(100)
        small.take(100)
    with room.reader() as again:
        again.take(990)


async def test_a_reply_that_only_drips_is_given_up(
    tmp_path: Path, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the whole body, then, once the endpoint is asked to stream, one word after another."""
    monkeypatch.setattr("engine.llm.client.SLOWEST_PIECE_S", 0.01)

    async def drip(line: Line, asked: Asked) -> None:
        stream = "stream" in asked.body
        await dripping(EVENTS if stream else CHUNKED, event("w") if stream else chunk(b"x"), 0.05)(
            line, asked
        )

    provider = Provider(lambda number: drip if number < 2 else None)
    async with provided(provider) as url:
        config = configs.load(
            url,
            generate={"target": 3, "batch_size": 3},
            limits={"concurrency": 1, "attempt_timeout_s": 1.0},
        )
        async with asyncio.timeout(60):
            report = await run_in(tmp_path / "run", config)
    assert ["stream" in asked.body for asked in provider.account.asked[:2]] == [False, True]
    assert report.data["calls"]["failed_attempts"] == {CallTimeout.reason: 2}


async def test_an_item_that_no_answer_can_hold_is_too_long(tmp_path: Path, configs: Configs) -> None:
    provider = Provider()
    long = orjson.dumps({"items": [{"question": "long " * 9000, "answer": "1"},
                                   {"question": "What is one and one?", "answer": "2"}]}).decode()  # fmt: skip
    provider.content = lambda asked: long
    async with provided(provider) as url:
        config = configs.load(
            url,
            generate={"target": 1, "batch_size": 2, "max_tokens": 500},
            limits={"concurrency": 1, "attempts": 2},
        )
        await run_in(tmp_path / "run", config)
    [rejected] = [row["_meta"] for row in lines(tmp_path / "run" / "rejected.jsonl")][:1]
    assert rejected["verdicts"][-1]["reason"] == "too_long"
    assert (tmp_path / "run" / "run.db").stat().st_size < MB


async def test_a_reply_that_is_too_long_is_charged_and_not_asked_again(
    tmp_path: Path, configs: Configs
) -> None:
    provider = Provider(flooding(endless(OK + b"\r\n" + TEXT, b"x" * 65536)))
    async with provided(provider) as url:
        config = configs.load(url, generate={"target": 3, "batch_size": 3}, limits={"concurrency": 1})
        report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    rejected = lines(tmp_path / "run" / "rejected.jsonl")
    assert {row["_meta"]["verdicts"][-1]["reason"] for row in rejected} == {"too_long"}
    price_of_the_worst = 2 * (config.generate.max_tokens or 0) / 1e6
    assert report.data["cost"]["spent_usd"] > price_of_the_worst
    seeds = [asked.body["seed"] for asked in provider.account.asked]
    assert len(seeds) == len(set(seeds))


HOSTILE_TEXTS = {
    "a list cut in the middle": '{"items": [' + '{"question": "What is it?", "answer": "1"}, ' * 4000,
    "brackets": "[" * 200_000,
    "braces": "{" * 200_000,
    "quotes": '{"items": [{"question": "' + '\\"' * 90_000,
    "half objects": '{"question": "a", ' * 12_000,
    "fences": "```json\n{" * 20_000,
    "thoughts": "<think>" * 25_000,
    "closed thoughts": "</think>{" * 20_000,
    "backslashes": '{"items": [{"question": "' + "\\" * 190_000,
    "drafts": '[{"question": "a", "answer": "b"}] or ' * 5_000,
    "numbers": '{"items": [' + "1," * 100_000,
    "channels": "<|channel|>analysis<|message|>a" * 6_000,
    "commas": '{"items": [' + "," * 190_000 + "]}",
    "colons": '{"items": [{"question"' + ":" * 190_000 + "}]}",
    "nested lists": '{"items": ' + "[" * 35 + '{"question": "a"}' * 8_000,
    "blanks": '{"items": [{"question":' + " " * 190_000,
    "single quotes": "{'items': [" + "{'question': 'a', 'answer': 'b'}, " * 5_000,
}


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_reading_a_reply_takes_bounded_time(text: str) -> None:
    """A reply of 200 kB, the longest that 4,000 tokens may have, is read in a moment, whatever it holds."""
    assert len(text) > 0.5 * most_bytes(4000)
    began = time.process_time()
    items_in(text, 3, ("question",))
    list(objects_in(text))
    assert time.process_time() - began < 5, "quadratic reading takes minutes"


def test_a_transient_error_is_none_of_a_flood() -> None:
    """What is too long once is too long again: it is not asked for again."""
    assert not issubclass(TooLong, TransientError)


def test_the_limit_follows_from_the_tokens() -> None:
    assert most_bytes(0) == 64 * 1024
    assert most_bytes(4000) - most_bytes(0) == 32 * 4000
    assert len(completion("x")) < most_bytes(0)

"""Weak, slow and local servers: few calls at first, silence is timed, slow batches become smaller."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from conftest import Configs, Start, lines
from endpoints import VirtualClock, client_with
from endpoints import endpoint as scripted
from engine.config import ModelConfig
from engine.errors import CallTimeout, Looped, RetriesExhausted
from engine.items import Completion, Prompt, Usage
from engine.llm.backends.chat_reply import repeats_itself
from engine.llm.backends.server import ServerFacts, asked, is_hosted, read, waiting_in
from engine.llm.client import Client
from engine.llm.concurrency import FIRST, FIRST_HOSTED, STEEP, STEEP_HOSTED, Concurrency
from engine.llm.retry import RetryPolicy
from engine.runs.api import arun
from test_negotiation import Server, prompt, serving

PROPS = {"total_slots": 4, "default_generation_settings": {"n_ctx": 2048, "params": {}}}
LLAMA = {"data": [{"id": "x.gguf", "owned_by": "llamacpp", "meta": {"n_ctx": 2048, "n_ctx_train": 8192}}]}


@pytest.mark.parametrize(
    ("told", "facts"),
    [
        ({"props": PROPS, "models": LLAMA}, ServerFacts("llama.cpp", 4, 2048)),
        ({"props": {"total_slots": 2}, "models": LLAMA}, ServerFacts("llama.cpp", 2, 2048)),
        (
            {"models": {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]}},
            ServerFacts("vLLM", None, 4096),
        ),
        (
            {
                "models": {"data": [{"id": "m", "owned_by": "sglang", "max_model_len": 4096}]},
                "server_info": {"max_running_requests": 48},
            },
            ServerFacts("SGLang", 48, 4096),
        ),
        ({"info": {"max_concurrent_requests": 128, "max_total_tokens": 2048}}, ServerFacts("TGI", 128, 2048)),
        ({"ps": {"models": [{"name": "m", "context_length": 4096}]}}, ServerFacts("Ollama", None, 4096)),
        (
            {"studio": {"data": [{"id": "m", "loaded_context_length": 8192}]}},
            ServerFacts("LM Studio", None, 8192),
        ),
        ({"models": {"data": [{"id": "gpt-4o"}, {"id": "m"}]}}, ServerFacts()),
        ({"models": "busy", "props": [1], "info": None, "ps": {"models": "none"}}, ServerFacts()),
        ({"props": {"total_slots": "four"}}, ServerFacts()),
    ],
)
def test_what_servers_say_of_themselves(told: dict[str, Any], facts: ServerFacts) -> None:
    assert read(told, "m") == facts


@pytest.mark.parametrize(
    ("metrics", "waiting"),
    [
        ("# HELP x\nllamacpp:requests_processing 4\nllamacpp:requests_deferred 12\n", 12),
        ('vllm:num_requests_waiting{engine="0"} 3.0\nvllm:num_requests_waiting{engine="1"} 2.0\n', 5),
        ("tgi_queue_size 1\n", 1),
        ("process_cpu_seconds_total 3\n", None),
    ],
)
def test_how_many_wait_at_a_server(metrics: str, waiting: int | None) -> None:
    assert waiting_in(metrics) == waiting


async def test_no_more_calls_are_sent_than_a_server_works_on(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    _, simulator = await endpoint(latency_s=0.01)

    async def props(_: web.Request) -> web.Response:
        return web.json_response(PROPS)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", simulator.chat)
    app.router.add_get("/props", props)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    there = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    assert await asked(ModelConfig(name="m", base_url=there)) == ServerFacts("llama.cpp", 4, 2048)
    config = configs.load(there, generate={"target": 60, "batch_size": 1}, limits={"concurrency": 64})
    report = await arun(config, tmp_path / "run")
    await runner.cleanup()
    assert report.outcome == "target"
    assert simulator.statistics.in_flight_peak == 4
    assert any("4 calls at once" in event["words"] for event in report.data["events"])


async def test_a_queue_at_the_server_is_congestion(
    endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says only how many wait, and not how many it works on: 8."""
    monkeypatch.setattr("engine.runs.lookout.LOOK_EVERY_S", 0.1)
    url, simulator = await endpoint(dialect="vllm", slots=8, latency_s=0.05, thinking="none")
    config = configs.load(url, generate={"target": 300, "batch_size": 1}, limits={"concurrency": 256})
    report = await arun(config, tmp_path / "run")
    assert report.outcome == "target"
    [event] = [event for event in report.data["events"] if event["kind"] == "queue"]
    assert "calls wait" in event["words"]
    assert 8 <= simulator.statistics.in_flight_peak < 128


def test_a_silence_is_told_of_once() -> None:
    clock, events = VirtualClock(), list[tuple[str, str]]()
    one = scripted(clock=clock, record=lambda _, kind, words: events.append((kind, words)))
    one.check_silence()
    clock.now += 60
    first = one.admit(1)
    assert first is not None
    second = one.admit(1)
    assert second is not None
    for _ in range(12):
        one.check_silence()
        clock.now += 1
    assert events == [("silent", "script: no answer for 10 s; 2 calls wait")]
    one.ended(first, None)
    clock.now += 9
    one.check_silence()
    assert len(events) == 1
    clock.now += 1
    one.check_silence()
    assert events[1:] == [("silent", "script: no answer for 10 s; 1 call waits")]


async def test_an_answer_that_is_not_set_fits_the_context(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    """The server says that its context has 1,000 tokens: nothing is refused, and no example is left out."""
    url, simulator = await endpoint(dialect="llama.cpp", context=1000, thinking="none", kind="word_problems")
    config = configs.load(url, generate={"target": 6, "few_shot": 3})
    report = await arun(config, tmp_path / "run")
    assert report.outcome == "target"
    assert simulator.statistics.refused == 0
    assert all(len(row["_meta"]["examples"]) == 3 for row in lines(tmp_path / "run" / "accepted.jsonl"))


async def test_a_run_begins_with_few_calls(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, simulator = await endpoint(latency_s=0.02)
    first: list[int] = []
    original = simulator._completion

    def counted(*arguments: Any) -> bytes:
        first.append(simulator.statistics.in_flight)
        return original(*arguments)

    simulator._completion = counted  # type: ignore[method-assign]
    config = configs.load(url, generate={"target": 80, "batch_size": 1}, limits={"concurrency": 64})
    await arun(config, tmp_path / "run")
    assert max(first[:5]) <= 4
    assert max(first) > 16, "it grows where that helps"


class Slow:
    """A Backend that takes long, and may stream. Mutable state: how it was asked."""

    name = "slow"

    def __init__(self, pieces: int, pause: float) -> None:
        self.pieces, self.pause = pieces, pause
        self.whole = self.streams = 0

    async def complete(self, prompt: Prompt) -> Completion:
        self.whole += 1
        await asyncio.sleep(self.pieces * self.pause)
        return Completion("{}", "m", "stop", Usage(1, 1))

    async def streamed(self, prompt: Prompt, heard: Any) -> Completion:
        self.streams += 1
        for _ in range(self.pieces):
            await asyncio.sleep(self.pause)
            heard()
        return Completion("{}", "m", "stop", Usage(1, 1))

    async def close(self) -> None: ...


async def test_after_a_timeout_answers_are_streamed_and_only_silence_is_timed() -> None:
    events: list[tuple[str, str, str]] = []
    slow = Slow(pieces=10, pause=0.03)
    one = scripted(slow, record=lambda *event: events.append(event))
    client = patient(client_with(one), 0.15)
    await client.ask(prompt())
    assert (slow.whole, slow.streams) == (1, 1)
    assert [kind for _, kind, _ in events] == ["timeout"]
    assert "limits.attempt_timeout_s" in events[0][2]
    await client.ask(prompt(number=2))
    assert (slow.whole, slow.streams) == (1, 2)


async def test_silence_is_a_timeout_all_the_same() -> None:
    one = scripted(Slow(pieces=2, pause=10))
    one.answered = 1
    client = patient(client_with(one), 0.05)
    with pytest.raises(RetriesExhausted, match="nothing of an answer within"):
        await client.ask(prompt())


def patient(client: Client, seconds: float) -> Client:
    client._policy = RetryPolicy(retries=2, attempt_s=seconds, first_wait=0.001, seconds=5)
    return client


async def test_a_timeout_is_congestion_but_a_lone_straggler_is_not() -> None:
    one = scripted(Slow(1, 0), concurrency=64, first=64)
    one.in_flight = 64
    one.failed(CallTimeout("x"), 1.0, "items", 2.0)
    assert one.concurrency.limit < 64
    another = scripted(Slow(1, 0), concurrency=64, first=64)
    another.answered, another.in_flight = 1000, 64
    another.failed(CallTimeout("x"), 1.0, "items", 2.0)
    assert (another.concurrency.limit, another.streaming) == (64, None)


async def test_a_batch_that_times_out_twice_is_asked_for_in_parts(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    """The server writes one item in time, and never four."""
    url, simulator = await endpoint()
    original = simulator._reply

    async def slow(request: Any, body: bytes, asked: Any, tokens: int) -> Any:
        if asked.purpose == "items" and asked.count > 2:
            await asyncio.sleep(30)
        return await original(request, body, asked, tokens)

    simulator._reply = slow  # type: ignore[method-assign]
    config = configs.load(
        url,
        generate={"target": 8, "batch_size": 4},
        limits={"attempt_timeout_s": 0.3, "concurrency": 2, "attempts": 3},
    )
    report = await arun(config, tmp_path / "run")
    assert report.outcome == "target"
    assert {event["kind"] for event in report.data["events"]} >= {"timeout"}
    rows = lines(tmp_path / "run" / "accepted.jsonl")
    assert len({row["_meta"]["id"] for row in rows}) == 8
    generated = report.data["items"]["generated"]
    assert (
        generated
        == report.data["items"]["accepted"]
        + report.data["items"]["rejected"]
        + report.data["items"]["surplus"]
    )


async def test_a_stream_that_is_refused_is_not_asked_for_again() -> None:
    server = Server(lambda body: "'stream' is not supported" if body.get("stream") else None)
    async with serving(server) as backend:
        from engine.errors import Renegotiated

        with pytest.raises(Renegotiated):
            await backend.streamed(prompt(), lambda: None)
        completion = await backend.streamed(prompt(), lambda: None)
        assert orjson.loads(completion.text) == {}
        assert "stream" not in server.asked[-1]


@pytest.mark.parametrize(
    ("said", "loops"),
    [
        ("It was finished. " * 60, True),
        ('{"broken": [' + '{"rule": 1, "why": "x"}, ' * 40, True),
        ("3" * 600, True),
        ("The text begins well. " + "no, " * 300, True),
        ("ab " * 20, False),
        (" ".join(str(n) for n in range(400)), False),
        ("A table:\n" + "\n".join(f"| {n} | {n * n} |" for n in range(100)), False),
    ],
)
def test_what_is_a_loop(said: str, loops: bool) -> None:
    assert repeats_itself(said) is loops


async def test_a_streamed_loop_is_cut_off_and_charged_by_what_came() -> None:
    sent = 0

    async def chat(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(5_000):
            chunk = {"choices": [{"delta": {"content": "It was finished. "}}]}
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
            sent += 1
            await asyncio.sleep(0)
        return response

    server = Server()
    server.chat = chat  # type: ignore[assignment]
    async with serving(server) as backend:
        one = scripted(backend)
        one.streaming = backend
        client = client_with(one)
        with pytest.raises(Looped, match="repeated itself"):
            await client.ask(prompt(max_tokens=10_000))
    assert sent < 5_000
    assert 300 < client.counts.completion_tokens < 1_000


@pytest.mark.parametrize(
    ("url", "hosted"),
    [
        ("https://api.openai.com/v1", True),
        ("https://mine.openai.azure.com", True),
        ("http://127.0.0.1:8000/v1", False),
        ("https://openai.com.example.org/v1", False),
    ],
)
def test_a_providers_own_host_is_known(url: str, hosted: bool) -> None:
    """There a run begins with more calls."""
    assert is_hosted(ModelConfig(name="m", base_url=url)) is hosted


def test_a_slow_start_is_steeper_where_nothing_queues() -> None:
    def after(round_trips: int, first: int, steep: int) -> int:
        concurrency = Concurrency(1024, first=first, steep=steep)
        for trip in range(round_trips):
            for _ in range(int(concurrency.limit)):  # each answer makes room for the next calls
                concurrency.answered("", 0.5, int(concurrency.limit), trip, trip + 0.5)
        return int(concurrency.limit)

    assert [after(trips, FIRST, STEEP) for trips in (1, 2, 4)] == [16, 32, 128]
    assert [after(trips, FIRST_HOSTED, STEEP_HOSTED) for trips in (1, 2, 4)] == [64, 256, 1024]

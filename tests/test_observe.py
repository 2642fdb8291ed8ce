"""What a run tells of itself: the log, metrics, traces, and in words what happened."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from conftest import Configs, Start, datagen, finished, run_in
from engine.config.observe import ObserveConfig
from engine.errors import ConfigError
from engine.observe.log import RunLog
from engine.report.event_log import EventLog


def logged(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "run.log").read_bytes().splitlines()]


async def test_a_log_of_events_tells_start_and_end(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    await run_in(tmp_path / "run", configs.load(url))
    found = logged(tmp_path / "run")
    assert [line["event"] for line in found] == ["start", "end"]
    assert found[1]["accepted"] == 20
    assert not logging.getLogger("datagen").handlers


async def test_a_log_of_calls_holds_each_call(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint(bad_json=0.1)
    report = await run_in(tmp_path / "run", configs.load(url, observe={"log": "calls"}))
    calls = [line for line in logged(tmp_path / "run") if line["event"] == "call"]
    assert len(calls) == report.data["calls"]["completed"] == simulator.statistics.served
    assert {"key", "purpose", "endpoint", "model", "attempts", "seconds", "usd", "at"} <= set(calls[0])
    assert sum(line["usd"] for line in calls) == pytest.approx(report.data["cost"]["spent_usd"])


async def test_no_log_is_no_file(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    await run_in(tmp_path / "run", configs.load(url, observe={"log": "off"}))
    assert not (tmp_path / "run" / "run.log").exists()


def test_a_long_log_is_rotated(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log", ObserveConfig(log_mb=0.01, log_files=2))
    for number in range(1000):
        log.event("tick", {"number": number, "text": "line\nbreak"})
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["run.log", "run.log.1", "run.log.2"]
    assert all(path.stat().st_size <= 10_000 for path in tmp_path.iterdir())
    assert logged(tmp_path)[-1]["number"] == 999


def test_a_log_that_cannot_be_written_is_not_the_runs_end(tmp_path: Path) -> None:
    (tmp_path / "run.log").mkdir()
    log = RunLog(tmp_path / "run.log", ObserveConfig())
    log.event("tick", {})
    log.close()


async def test_metrics_are_served_while_it_runs(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(latency_s=0.05)
    path = configs.write(
        url, observe={"prometheus_port": 0}, generate={"target": 300}, limits={"concurrency": 2}
    )
    process = await datagen("run", path, "-o", tmp_path / "run")
    assert process.stderr is not None
    line = ""
    while "Metrics at" not in line:
        line = (await process.stderr.readline()).decode()
    async with aiohttp.ClientSession() as session, session.get(line.split()[-1]) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain")
        text = await reply.text()
    process.send_signal(2)
    await finished(process)
    assert 'datagen_items_total{state="accepted"}' in text
    assert "datagen_target_items 300.0" in text
    assert f'datagen_concurrency{{endpoint="m at {url}"}}' in text


async def test_a_port_that_is_taken_is_said_before_anything_is_spent(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint()
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConfigError, match="prometheus_port"):
        await run_in(tmp_path / "run", configs.load(url, observe={"prometheus_port": port}))
    server.close()
    await server.wait_closed()
    assert simulator.statistics.served == 0


async def test_each_call_is_a_span(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    url, _ = await endpoint()
    report = await run_in(tmp_path / "run", configs.load(url, observe={"traces": True}))
    found = spans.get_finished_spans()
    assert len(found) == report.data["calls"]["completed"]
    attributes = found[0].attributes
    assert attributes is not None
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.usage.output_tokens"]
    assert found[0].start_time is not None
    assert found[0].end_time is not None
    assert found[0].end_time > found[0].start_time


def test_what_happens_again_is_counted_and_outages_are_timed() -> None:
    now = 1_000_000.0
    heard = []
    log = EventLog(lambda: now)
    log.listeners.append(lambda kind, facts: heard.append((kind, facts["words"])))
    for _ in range(3):
        log.record("a", "down", "a is taken out")
        now += 60
        log.record("a", "back", "a answers again")
        now += 600
    log.record("b", "limits", "b announces 500 requests per minute; kept")
    down, limits = log.as_list()
    assert (down["times"], down["seconds"]) == (3, 180)
    assert "3 min 00 s in all" in down["words"]
    assert "3 times" in down["words"]
    assert limits["times"] == 1
    assert len(heard) == 7


def test_who_is_still_out_has_been_so_until_now() -> None:
    now = 1_000_000.0
    log = EventLog(lambda: now)
    log.record("a", "down", "a is taken out")
    now += 120
    [down] = log.as_list()
    assert down["seconds"] == 120
    assert "2 min 00 s in all and not back yet" in down["words"]


def test_off_and_on_are_what_yaml_makes_of_them(configs: Configs) -> None:
    for value, expected in ((False, "off"), (True, "events"), ("off", "off"), ("calls", "calls")):
        assert configs.load("http://127.0.0.1:9/v1", observe={"log": value}).observe.log == expected

"""`datagen bench`: the knee is found, the caps hold, what was seen is told."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, Start, datagen, finished
from engine.bench.results import plot, summary
from engine.bench.sweep import Bench, Level, Sweep, knee, quantiles
from engine.config import ModelConfig
from engine.items import Completion, Usage
from engine.llm.budget import Budget
from engine.llm.prices import FREE, Price, Tier
from engine.runs.endpoints import backend_for
from engine.simulator.virtual_time import VirtualLoop, in_virtual_time
from stand_ins import Anthropic, OpenAI, served
from test_adapters import PROMPT
from test_night import Queueing, prompt


def prompts() -> Any:
    number = 0
    while True:
        yield prompt(f"{number}/items")
        number += 1


def level(concurrency: int, rate: float, **changes: Any) -> Level:
    found = Level(concurrency, latencies=[1.0], ended=[1.0] * 100, seconds=100 / rate, **changes)
    assert found.calls_per_s == pytest.approx(rate)
    return found


def test_the_knee_is_the_least_that_brings_nearly_all() -> None:
    levels = [level(1, 10), level(2, 20), level(4, 37), level(8, 40), level(16, 41)]
    assert knee(levels) is levels[2]
    assert knee([Level(1, errors={"timeout": 3})]) is None
    refused = level(32, 90, errors={"rate_limited": 1})
    assert knee([*levels, refused]) is levels[2]


def test_quantiles_are_the_nearest_rank() -> None:
    assert quantiles([]) is None
    assert quantiles([3.0]) == {"p50": 3.0, "p95": 3.0, "p99": 3.0}
    assert quantiles([float(n) for n in range(1, 101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_a_queue_is_found_and_the_sweep_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(loop: VirtualLoop) -> None:
        monkeypatch.setattr("engine.bench.sweep.time.perf_counter", loop.time)
        backend = Queueing(loop, 16, lambda: 1.0)
        sweep = Sweep([1, 2, 4, 8, 16, 32, 64, 128, 256], 5000, 60, 120)
        bench = Bench(backend, FREE.main, Budget(None), prompts(), sweep)
        levels = [each async for each in bench.levels()]
        best = knee(levels)
        assert best is not None
        assert best.concurrency == 16
        assert best.calls_per_s == pytest.approx(16, rel=0.05)
        assert levels[-1].concurrency == 64
        assert "no more answers" in bench.ended
        assert summary(bench, levels, "m")["knee"] == 16

    in_virtual_time(work)


@pytest.mark.parametrize(("calls", "cap"), [(50, None), (10_000, 3000)])
def test_calls_and_dollars_are_capped(calls: int, cap: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(loop: VirtualLoop) -> None:
        monkeypatch.setattr("engine.bench.sweep.time.perf_counter", loop.time)
        backend = Queueing(loop, 1000, lambda: 1.0)
        budget = Budget(cap)
        price = Price((Tier(-1, 0, 0, 1),))
        bench = Bench(backend, price, budget, prompts(), Sweep([1, 2, 4, 8, 16], calls, 600, 120))
        levels = [each async for each in bench.levels()]
        assert backend.served <= calls
        if cap is not None:
            assert budget.spent <= cap
            assert "is spent" in bench.ended
            assert sum(each.calls for each in levels) > 10

    in_virtual_time(work)


def test_a_plot_stands_alone_and_holds_no_markup_of_others() -> None:
    svg = plot([level(1, 10), level(2, 20)], "<script>alert(1)</script>")
    root = ElementTree.fromstring(svg.encode())  # noqa: S314 - our own text
    assert not [each for each in root.iter() if each.tag.endswith("script")]
    assert "href=" not in svg.replace('xlink:href="#', "")


async def test_the_command(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint(latency_s=0.02, requests_per_minute=60_000)
    path = configs.write(url)
    code, out, err = await finished(
        await datagen("bench", path, "--levels", "1,4", "-o", tmp_path / "bench", "--stream")
    )
    assert code == 0, err
    assert "Worth it: limits.concurrency: 4" in out
    assert "60,000 requests per minute" in out
    found = orjson.loads((tmp_path / "bench" / "bench.json").read_bytes())
    assert [each["concurrency"] for each in found["levels"]] == [1, 4]
    assert found["levels"][1]["first_token_s"]["p50"] < found["levels"][1]["latency_s"]["p50"]
    assert found["calls"] + 1 == simulator.statistics.served
    ElementTree.parse(tmp_path / "bench" / "bench.svg")  # noqa: S314 - our own file
    code, out, _ = await finished(await datagen("bench", path, "--calls", "30", "--json"))
    assert code == 0
    assert sum(each["calls"] for each in orjson.loads(out)["levels"]) <= 30


async def test_the_configs_own_limit_is_no_limit_here(endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint(latency_s=0.05)
    path = configs.write(url, limits={"concurrency": 2})
    code, _, err = await finished(await datagen("bench", path, "--levels", "8"))
    assert code == 0, err
    assert simulator.statistics.in_flight_peak == 8


async def test_an_evaluations_endpoint_can_be_measured(endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    settings = configs.settings(url)
    del settings["generate"], settings["dataset"]["path"]
    path = configs.folder / "evaluation.json"
    path.write_bytes(orjson.dumps(settings))  # JSON is YAML
    status, out, err = await finished(await datagen("bench", path, "--levels", "1", "--calls", "2", "--json"))
    assert status == 0, err
    assert len(orjson.loads(out)["levels"]) == 1


async def test_a_run_of_few_prompts_is_asked_over_and_over(endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    path = configs.write(
        url, dataset={"constraints": [{"label_ratio": {"7": 1, "9": 1}}]}, generate={"target": 4}
    )
    code, _, err = await finished(await datagen("bench", path, "--levels", "4"))
    assert code == 0, err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--levels", "0,x"], "--levels 0,x"),
        (["--levels", "8", "--calls", "3"], "--calls 3: is too few for 8"),
        (["-o", "/proc/no/such"], "-o /proc/no/such: cannot be written"),
        (["--endpoint", "3"], "--endpoint 3: the config has 1"),
        (["--set", "limits.concurrency=none"], "limits.concurrency"),
    ],
)
async def test_what_is_wrong_is_said(arguments: list[str], said: str, configs: Configs) -> None:
    path = configs.write("http://127.0.0.1:9/v1")
    code, _, err = await finished(await datagen("bench", path, *arguments))
    assert code == 2
    assert said in err


async def test_an_endpoint_that_refuses_the_key(endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(api_key="right")
    code, _, err = await finished(await datagen("bench", configs.write(url)))
    assert code == 4
    assert "refuses the key" in err


SSE = {
    OpenAI: [
        {"model": "m-2", "choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        {"model": "m-2", "choices": [{"delta": {"content": '{"items"'}, "finish_reason": None}]},
        {"model": "m-2", "choices": [{"delta": {"content": ": []}"}, "finish_reason": "stop"}]},
        {"model": "m-2", "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}},
    ],
    Anthropic: [
        {
            "type": "message_start",
            "message": {"model": "m-2", "usage": {"input_tokens": 11, "output_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "input": {}}},
        {"type": "ping"},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"items"'}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": ": []}"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ],
}


@pytest.mark.parametrize("kind", [OpenAI, Anthropic])
async def test_a_streamed_answer_is_put_together(kind: Any) -> None:
    stand_in = kind()
    async with served(stand_in) as root:
        body = (
            b"".join(b"event: x\ndata: " + orjson.dumps(each) + b"\n\n" for each in SSE[kind])
            + b"data: [DONE]\n\n"
        )
        if kind is Anthropic:
            body = body.removesuffix(b"data: [DONE]\n\n")
        stand_in.faults = [(200, body, {"Content-Type": "text/event-stream"})]
        model = ModelConfig.model_validate(
            {"name": "m", "base_url": root + stand_in.base, **stand_in.settings}
        )
        backend: Any = backend_for(model, "items")(model, concurrency=1)
        firsts: list[int] = []
        found: Completion = await backend.streamed(PROMPT, lambda: firsts.append(1))
        await backend.close()
    assert orjson.loads(found.text) == {"items": []}
    assert (found.model, found.usage) == ("m-2", Usage(11, 7))
    assert len(firsts) >= 1
    assert stand_in.asked[0]["stream"] is True

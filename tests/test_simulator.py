"""The simulated endpoint: deterministic, truthful about its truth, and a faithful bad server."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import CLEAN, Start
from engine.config.simulator import SimulatorConfig
from engine.errors import ConfigError
from engine.simulator.answers import answer
from engine.simulator.content import facts, word_problems
from engine.simulator.limits import Bucket
from engine.simulator.mistakes import errs
from engine.simulator.request import Asked
from engine.simulator.serving import serving
from engine.simulator.truth import is_right, right_label, truth_of

MC = {"text": {"type": "string"}, "choices": {"type": "array"}, "label": {"type": "string"}}
QA = {"text": {"type": "string"}, "label": {"type": "string"}}


def request(purpose: str = "items", user: str = "", count: int = 1, properties: Any = QA) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    if purpose == "items":
        items = {"type": "array", "minItems": count, "items": {"type": "object", "properties": properties}}
        schema["properties"]["items"] = items
    form = {"type": "json_schema", "json_schema": {"name": purpose, "schema": schema}}
    return {"model": "m", "messages": [{"role": "user", "content": user}], "response_format": form}


def ask(body: dict[str, Any], seed: int = 0, **knobs: Any) -> Any:
    config = SimulatorConfig(**{**CLEAN, **knobs})
    return orjson.loads(answer(Asked(body), config, random.Random(seed)))


def about(item: dict[str, Any]) -> str:
    return f"Look at this item.\n```json\n{orjson.dumps(item).decode()}\n```"


@given(st.integers(0, 10**9))
def test_the_truth_can_be_read_back_from_the_text(seed: int) -> None:
    problem, fact = word_problems.draw(random.Random(seed)), facts.draw(random.Random(seed))
    for text, right in ((problem.text, str(problem.answer)), (fact.question, fact.answer)):
        for wrapped in (text, f"Consider this. {text}", f"{text} Think carefully."):
            truth = truth_of(wrapped)
            assert truth is not None
            assert truth.answer == right


def test_programs_print_the_answer() -> None:
    import contextlib
    import io

    for seed in range(200):
        problem = word_problems.draw(random.Random(seed))
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(problem.program)  # noqa: S102 - our own constants
        assert out.getvalue().strip() == str(problem.answer)


@pytest.mark.parametrize(
    ("kind", "properties", "knob"),
    [
        ("word_problems", QA, "wrong_labels"),
        ("short_facts", QA, "wrong_facts"),
        ("multiple_choice", MC, "wrong_facts"),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.56, 1.0])
def test_as_many_labels_are_wrong_as_asked_for(kind: str, properties: Any, knob: str, share: float) -> None:
    items = ask(request(count=1000, properties=properties), kind=kind, **{knob: share})["items"]
    assert len(items) == 1000
    wrong = sum(is_right(item) is False for item in items) / 1000
    assert all(is_right(item) is not None for item in items)
    assert wrong == pytest.approx(share, abs=0.06)


def test_defaults_are_those_of_the_paper() -> None:
    assert SimulatorConfig().wrong_labels == 0.56


def test_labels_asked_for_are_given() -> None:
    user = 'Of these, have 3 with the label "A", 1 with the label "D".'
    items = ask(request(user=user, count=4, properties=MC))["items"]
    assert Counter(item["label"] for item in items) == {"A": 3, "D": 1}
    assert all(is_right(item) for item in items)


def test_extras_are_as_in_the_examples() -> None:
    user = '{"text": "t", "label": "1", "subject": "law"}\n{"text": "u", "label": "2", "subject": "art"}'
    items = ask(request(user=user, count=20, properties={**QA, "subject": {}, "other": {"type": "array"}}))[
        "items"
    ]
    assert {item["subject"] for item in items} == {"law", "art"}
    assert items[0]["other"] == ["general"]


PROBLEM = word_problems.draw(random.Random(5))
RIGHT = {"text": PROBLEM.text, "label": str(PROBLEM.answer)}
WRONG = {**RIGHT, "label": "-1"}


@pytest.mark.parametrize(
    ("purpose", "item", "expected"),
    [
        ("review", RIGHT, {"good": True}),
        ("review", WRONG, {"good": False}),
        ("revision", WRONG, {"item": RIGHT}),
        ("program", WRONG, {"code": PROBLEM.program}),
        ("agree", {"text": RIGHT["text"]}, {"answer": RIGHT["label"]}),
        ("same_answer", {"a": "1,200", "b": "1200"}, {"same": True}),
        ("same_answer", {"a": "1", "b": "2"}, {"same": False}),
        ("answer", RIGHT, {"answer": RIGHT["label"]}),
        ("judgement", {**RIGHT, "answer": f"It is {RIGHT['label']}."}, {"same": True}),
        ("judgement", {**RIGHT, "answer": "It is -5"}, {"same": False}),
        ("entities", RIGHT, {"entities": ["arithmetic"]}),
    ],
)
def test_every_purpose_is_answered_from_the_truth(
    purpose: str, item: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = ask(request(purpose, about(item)))
    assert {key: found[key] for key in expected} == expected


FACT = {"text": "What is the capital of Peru?", "label": "Lima"}
LIMA = '{"title": "Peru", "text": "Peru lies in the Andes. The capital of Peru is Lima."}'
CUSCO = LIMA.replace("Lima", "Cusco")


@pytest.mark.parametrize(
    ("passages", "label", "found"),
    [
        (LIMA, "Lima", {"verdict": "supported", "quote": "The capital of Peru is Lima.", "item": None}),
        (LIMA, "Quito", {"verdict": "refuted", "item": {**FACT, "label": "Lima"}}),
        (LIMA.replace("Lima", "Quito"), "Lima", {"verdict": "refuted", "item": {**FACT, "label": "Quito"}}),
        ('{"title": "Peru", "text": "Bananas are yellow."}', "Lima", {"verdict": "silent", "quote": ""}),
        ("", "Lima", {"verdict": "silent", "item": None}),
    ],
)
def test_a_fact_check_goes_by_its_passages_alone(passages: str, label: str, found: dict[str, Any]) -> None:
    asked = request("fact_check", f"Passages:\n{passages}\n\n{about({**FACT, 'label': label})}")
    said = ask(asked)
    assert {key: said[key] for key in found} == found


def test_models_err_on_the_same_texts_as_far_as_they_are_correlated() -> None:
    """The share of errors is as set; of two models, both err as often as the correlation makes it."""

    def wrong(model: str, correlation: float) -> list[bool]:
        knobs = SimulatorConfig(**{**CLEAN, "answer_accuracy": 0.7}, correlation=correlation)
        drawn = random.Random(3)
        texts = [word_problems.draw(drawn).text for _ in range(1500)]
        return [errs(0.3, text, knobs, random.Random(f"{model}/{text}")) for text in texts]

    for correlation, least, most in ((0.0, 0.06, 0.12), (0.6, 0.15, 0.2), (0.95, 0.22, 0.3)):
        one, other = wrong("one", correlation), wrong("other", correlation)
        assert 0.25 < sum(one) / len(one) < 0.35
        assert least <= sum(map(all, zip(one, other, strict=True))) / len(one) <= most


def test_the_other_purposes_have_their_shapes() -> None:
    assert ask(request("attributes", '{"text": "A garden of roses"}'))["attributes"][0]["index"] == 0
    assert ask(request("enhancement_plan", about({**RIGHT, "choices": ["a"]})))["principles"]
    harder = ask(request("enhancement", about(RIGHT)))["item"]
    assert harder["text"] != RIGHT["text"]
    assert right_label(harder) == RIGHT["label"]
    assert "simulated" in ask(request("anything else"))["answer"]


async def post(url: str, body: Any, **headers: str) -> tuple[int, dict[str, str], Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/chat/completions", data=orjson.dumps(body), headers=headers) as response,
    ):
        return (
            response.status,
            {name.lower(): value for name, value in response.headers.items()},
            await response.read(),
        )


async def stats(url: str) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url.removesuffix("/v1") + "/stats") as response,
    ):
        return dict(orjson.loads(await response.read()))


async def test_the_same_request_gets_the_same_reply_and_is_counted(endpoint: Start) -> None:
    url, _ = await endpoint()
    replies = [orjson.loads((await post(url, request(user=str(n % 2))))[2]) for n in range(4)]
    said = [reply["choices"][0]["message"]["content"] for reply in replies]
    assert said[0] == said[2] != said[1] == said[3]
    found = await stats(url)
    assert (found["served"], found["repeated"], found["purposes"]) == (4, 2, {"items": 4})
    assert found["prompt_tokens"] == sum(reply["usage"]["prompt_tokens"] for reply in replies)
    other, _ = await endpoint(seed=1)
    assert orjson.loads((await post(other, request(user="0")))[2])["choices"] != replies[0]["choices"]


async def test_the_openai_client_takes_it_for_an_endpoint(endpoint: Start) -> None:
    import openai

    url, _ = await endpoint(api_key="k")
    async with openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
        asked = request(count=2)
        completion = await client.chat.completions.create(**asked)
        assert len(orjson.loads(completion.choices[0].message.content or "")["items"]) == 2
        assert completion.usage is not None
        assert completion.usage.total_tokens > 0
        assert [model.id async for model in client.models.list()] == ["simulated"]
        vectors = await client.embeddings.create(model="m", input=["two apples", "two pears"], dimensions=64)
        assert [len(found.embedding) for found in vectors.data] == [64, 64]
        assert vectors.usage.total_tokens > 0
        with pytest.raises(openai.AuthenticationError):
            await client.with_options(api_key="wrong").chat.completions.create(**asked)


async def test_limits_are_enforced_with_real_headers(endpoint: Start) -> None:
    url, _ = await endpoint(requests_per_minute=60)
    found = [await post(url, request(user=str(n))) for n in range(3)]
    assert [status for status, _, _ in found] == [200, 429, 429]
    headers = found[1][1]
    assert int(headers["retry-after"]) >= 1
    assert 0 < int(headers["retry-after-ms"]) <= 1000
    assert headers["x-ratelimit-limit-requests"] == "60"
    assert orjson.loads(found[1][2])["error"]["code"] == "rate_limit_exceeded"
    assert (await stats(url))["limit_violations"] == 2


def test_a_bucket_refills_evenly() -> None:
    now = 0.0
    bucket = Bucket(600, 1.0, lambda: now)
    for _ in range(10):
        assert bucket.wait(1) == 0
        bucket.take(1)
    assert bucket.wait(1) == pytest.approx(0.1)
    now = 0.5
    assert bucket.left == 0
    assert bucket.wait(5) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("knobs", "body", "status", "said"),
    [
        ({"errors": 1.0}, request(), 500, "server_error"),
        ({"api_key": "k"}, request(), 401, "invalid_api_key"),
        ({"json_schema": False}, request(), 400, "response_format"),
        ({}, {"model": "m"}, 400, "'messages' is missing"),
        ({}, "text", 400, "missing"),
    ],
)
async def test_refusals(endpoint: Start, knobs: dict[str, Any], body: Any, status: int, said: str) -> None:
    url, _ = await endpoint(**knobs)
    found, _, reply = await post(url, body)
    assert found == status
    assert said in reply.decode()


async def test_faults_of_transport(endpoint: Start) -> None:
    url, simulator = await endpoint(resets=1.0)
    with pytest.raises(aiohttp.ClientError):
        await post(url, request())
    url, _ = await endpoint(cut_bodies=1.0)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads((await post(url, request()))[2])
    url, _ = await endpoint(no_usage=1.0)
    assert "usage" not in orjson.loads((await post(url, request()))[2])
    assert simulator.statistics.faults == {"resets": 1}


async def test_in_flight_is_counted(endpoint: Start) -> None:
    url, simulator = await endpoint(latency_s=0.02)
    await asyncio.gather(*(post(url, request(user=str(n))) for n in range(6)))
    assert simulator.statistics.in_flight_peak == 6
    assert simulator.statistics.in_flight == 0


async def test_a_port_in_use_is_told(endpoint: Start) -> None:
    url, _ = await endpoint()
    port = int(url.split(":")[2].split("/")[0])
    with pytest.raises(ConfigError, match=f"--port {port}"):
        async with serving(SimulatorConfig(), port):
            pass


def test_a_parent_that_has_gone_leaves_no_trace_on_its_terminal() -> None:
    """It was told to stop twice within its first second: nobody reads where the simulated model is."""
    command = [sys.executable, "-m", "engine.simulator", SimulatorConfig().model_dump_json()]
    here, there = os.pipe()
    os.close(here)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=there, stderr=subprocess.PIPE)
    os.close(there)
    _, said = process.communicate(timeout=60)
    assert said == b""

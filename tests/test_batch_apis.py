"""Batch APIs by what their providers publish: requests by the types of their clients, replies as they were captured."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from pydantic import TypeAdapter

from conftest import Configs, Start, datagen, finished, run_in
from engine.config import ModelConfig, RunConfig
from engine.errors import ContentFiltered, MalformedReply, Truncated, Unparseable
from engine.items import Prompt
from engine.llm.backends.anthropic import AnthropicMessages
from engine.llm.backends.openai_compatible import OpenAICompatible
from engine.llm.batches import anthropic, gemini, openai
from engine.llm.batches.anthropic import MessageBatches
from engine.llm.batches.door import Capacity, Result
from engine.llm.batches.gemini import GeminiBatches
from engine.llm.batches.moments import moment
from engine.llm.batches.openai import FileBatches

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "label": {"type": ["string", "null"]}},
                "required": ["text", "label"],
                "additionalProperties": False,
            },
        },
        "kind": {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}]},
    },
    "required": ["items"],
    "additionalProperties": False,
}


def prompt(**more: Any) -> Prompt:
    return Prompt("1/items", "items", 1, "system", "user", SCHEMA, 0.7, 300, 12, **more)


def model(**settings: Any) -> ModelConfig:
    return ModelConfig.model_validate({"name": "m", "base_url": "http://127.0.0.1:9/v1", **settings})


def whole(value: Any) -> Any:
    """What pydantic validates only when it is read, read."""
    if isinstance(value, Mapping):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, str | bytes | int | float | bool) or value is None:
        return value
    return [whole(inner) for inner in value]


# --- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["openai", "azure", "groq", "together", "mistral"])
async def test_a_line_is_what_openais_types_take(dialect: str) -> None:
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    base = "https://name.openai.azure.com" if dialect == "azure" else "https://api.openai.com/v1"
    api = "azure" if dialect == "azure" else "openai"
    given = model(
        name="gpt-5-mini", base_url=base, api=api, deployment="mini" if dialect == "azure" else None
    )
    backend = OpenAICompatible(given, concurrency=1)
    door = FileBatches(given, backend, dialect)
    line = orjson.loads(door.line("nonce-1-0", door.request(prompt(top_p=0.9))))
    assert line["custom_id"] == "nonce-1-0"
    assert set(line) == (
        {"custom_id", "body"} if dialect == "mistral" else {"custom_id", "method", "url", "body"}
    )
    if dialect != "mistral":
        path = "/chat/completions" if dialect == "azure" else "/v1/chat/completions"
        assert (line["method"], line["url"]) == ("POST", path)
    assert line["body"]["model"] == ("mini" if dialect == "azure" else "gpt-5-mini")
    assert "stream" not in line["body"]
    found = whole(TypeAdapter(CompletionCreateParamsNonStreaming).validate_python(line["body"]))
    assert set(found) >= set(line["body"]) - {"top_k"}
    await door.close()
    await backend.close()


async def test_a_line_is_what_anthropics_types_take() -> None:
    from anthropic.types.messages.batch_create_params import Request

    given = model(api="anthropic", base_url="https://api.anthropic.com", name="claude-haiku-4-5")
    backend = AnthropicMessages(given, concurrency=1)
    door = MessageBatches(given, backend)
    line = orjson.loads(door.line("nonce-1-0", door.request(prompt())))
    found = whole(TypeAdapter(Request).validate_python(line))
    assert set(found["params"]) >= set(line["params"]) - {
        "temperature"
    }  # which its newest models do not take
    assert found["params"]["max_tokens"] == 300
    await door.close()
    await backend.close()


async def test_a_line_is_what_geminis_types_take() -> None:
    from google.genai import types

    given = model(base_url="https://generativelanguage.googleapis.com/v1beta/openai", name="gemini-2.5-flash")
    door = GeminiBatches(given, "gemini")
    line = orjson.loads(door.line("nonce-1-0", door.request(prompt(top_k=40))))
    assert set(line) == {"key", "request"}
    settings = types.GenerationConfig.model_validate(line["request"]["generationConfig"])
    assert (settings.temperature, settings.max_output_tokens, settings.top_k, settings.seed) == (
        0.7,
        300,
        40,
        12,
    )
    schema = types.Schema.model_validate(line["request"]["generationConfig"]["responseSchema"])
    assert schema.title == "items", "its purpose, for whoever stands in"
    assert schema.properties is not None
    label = schema.properties["items"].items
    assert label is not None
    assert label.properties is not None
    assert label.properties["label"].nullable
    assert schema.properties["kind"].nullable
    assert schema.properties["kind"].enum == ["a", "b"]
    for part in line["request"]["contents"], [line["request"]["systemInstruction"]]:
        for content in part:
            types.Content.model_validate(content)
    await door.close()


async def test_ids_fit_every_provider(tmp_path: Path) -> None:
    import re

    from endpoints import endpoint
    from engine.llm.batches.spool import Lane, Pace, Spool
    from test_waves import PRICE, Memory, Provider

    class Long(Memory):
        nonce = "0123456789"

    lane = Lane("lane", Provider(None), endpoint(), PRICE, Pace())  # type: ignore[arg-type]
    spool = Spool(tmp_path, lane, Long(), 1, 99_999)
    spool.part = type(spool.part)(**{**_fields(spool.part), "calls": 999_999})
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", spool.next_id)
    spool.abandon()


def _fields(part: Any) -> dict[str, Any]:
    from dataclasses import fields

    return {each.name: getattr(part, each.name) for each in fields(part)}


def test_parts_keep_to_what_a_provider_takes() -> None:
    ways = {name: Capacity(each.calls, each.bytes) for name, each in openai._WAYS.items()}
    assert ways["openai"] == (50_000, 200_000_000)
    assert ways["azure"].calls == 100_000
    assert ways["mistral"].calls == 1_000_000
    assert MessageBatches.capacity.calls == 100_000
    assert MessageBatches.capacity.bytes < 256_000_000
    assert GeminiBatches.capacity.bytes <= 2_000_000_000


# --- replies --------------------------------------------------------------------------------------

BATCHES: list[tuple[str, dict[str, Any], tuple[str, str, int, tuple[str, ...]]]] = [
    (
        "OpenAI, just made",
        {"id": "b", "status": "validating", "request_counts": {"total": 0, "completed": 0, "failed": 0},
         "output_file_id": None, "error_file_id": None, "created_at": 1711471533, "expires_at": 1711557933,
         "metadata": {"datagen": "n-1"}, "input_file_id": "file-1"},
        ("running", "validating", 0, ()),
    ),
    (
        "OpenAI, expired, with both files",
        {"id": "b", "status": "expired", "request_counts": {"total": 9, "completed": 4, "failed": 5},
         "output_file_id": "file-o", "error_file_id": "file-e"},
        ("ended", "expired", 4, ("file-o", "file-e")),
    ),
    (
        "OpenAI, all failed (BerriAI/litellm#33987)",
        {"id": "b", "status": "completed", "request_counts": {"total": 2, "completed": 0, "failed": 2},
         "output_file_id": None, "error_file_id": "file-e"},
        ("ended", "completed", 0, ("file-e",)),
    ),
    (
        "Azure, capitalised, empty ids, dates as text",
        {"id": "b", "status": "Completed", "request_counts": {"total": None, "completed": None, "failed": None},
         "output_file_id": "file-o", "error_file_id": "", "created_at": "2025-11-03T10:00:00Z", "expires_at": ""},
        ("ended", "completed", 0, ("file-o",)),
    ),
    (
        "Groq, an object in place of a file (tidyverse/ellmer#927)",
        {"id": "b", "status": "completed", "output_file_id": "file-o", "error_file_id": {}},
        ("ended", "completed", 0, ("file-o",)),
    ),
    (
        "Together, wrapped, in capitals, without counts",
        {"job": {"id": "b", "status": "IN_PROGRESS", "progress": 40.0, "input_file_id": "file-1"}, "warning": ""},
        ("running", "in_progress", 0, ()),
    ),
    (
        "Mistral",
        {"id": "b", "status": "TIMEOUT_EXCEEDED", "total_requests": 9, "succeeded_requests": 4, "failed_requests": 5,
         "output_file": "file-o", "error_file": None, "input_files": ["file-1"], "errors": []},
        ("ended", "timeout_exceeded", 4, ("file-o",)),
    ),
    ("a state that nobody knows is waited for", {"id": "b", "status": "pondering"}, ("running", "pondering", 0, ())),
]  # fmt: skip


@pytest.mark.parametrize(("who", "raw", "found"), BATCHES, ids=[each[0] for each in BATCHES])
def test_a_batch_in_anybodys_spelling(who: str, raw: Any, found: tuple[Any, ...]) -> None:
    told = openai.told_of(raw)
    assert (told.stage, told.said, told.done, told.outputs) == found
    if "file-1" in str(raw):
        assert told.file == "file-1"


def test_a_refused_batch_says_which_lines() -> None:
    raw = {
        "id": "b", "status": "failed", "errors": {"object": "list", "data": [
            {"code": "mismatched_model", "line": 7, "message": "The provided model ...", "param": "body.model"}]},
    }  # fmt: skip
    told = openai.told_of(raw)
    assert told.stage == "refused"
    assert told.faults == ((7, "mismatched_model", "The provided model ...", "body.model"),)
    with pytest.raises(MalformedReply):
        openai.told_of({"error": "no batch"})


LINES: list[tuple[str, Any, Result | None]] = [
    ("a success", {"custom_id": "a", "response": {"status_code": 200, "body": {"x": 1}}, "error": None},
     Result("a", 200, b'{"x":1}')),
    ("a rate limit within a batch", {"custom_id": "a", "response": {"status_code": 429, "body": {"error": {}}}},
     Result("a", 429, b'{"error":{}}')),
    ("status 0", {"custom_id": "a", "response": {"status_code": 0, "body": {}}}, Result("a", None, b"{}")),
    ("expired", {"custom_id": "a", "response": None, "error": {"code": "batch_expired", "message": "..."}},
     Result("a", None, b"", "batch_expired")),
    ("Together's error", {"custom_id": "a", "error": {"message": "Invalid model", "code": "invalid_model"}},
     Result("a", 400, b'{"error":{"message":"Invalid model","code":"invalid_model"}}')),
    ("vLLM's error", {"custom_id": "a", "response": {"status_code": 400, "body": None}, "error": {"message": "m"}},
     Result("a", 400, b'{"error":{"message":"m"}}')),
    ("an error as a text", {"custom_id": "a", "response": None, "error": "no"},
     Result("a", 400, b'{"error":{"message":"no"}}')),
    ("no id", {"response": {}}, None),
    ("no object", [1], None),
]  # fmt: skip


@pytest.mark.parametrize(("who", "raw", "found"), LINES, ids=[each[0] for each in LINES])
def test_a_line_of_results_in_anybodys_spelling(who: str, raw: Any, found: Result | None) -> None:
    assert openai.result_of(orjson.dumps(raw)) == found
    assert openai.result_of(orjson.dumps(raw)[:-3]) is None, "one that is cut"


def test_anthropics_batch_and_lines() -> None:
    raw = {
        "id": "msgbatch_1", "type": "message_batch", "processing_status": "canceling",
        "request_counts": {"processing": 3, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
        "created_at": "2024-09-24T18:37:24.100435Z", "expires_at": "2024-09-25T18:37:24.100435Z", "results_url": None,
    }  # fmt: skip
    told = anthropic.told_of(raw)
    assert (told.stage, told.total, told.done) == ("running", 3, 0)
    assert told.expires is not None
    assert told.created is not None
    assert told.expires - told.created == 86_400
    nested = {
        "type": "error",
        "error": {"details": None, "type": "rate_limit_error", "message": "m"},
        "request_id": None,
    }
    lines = {
        200: {"type": "succeeded", "message": {"content": []}},
        429: {"type": "errored", "error": nested},
        400: {
            "type": "errored",
            "error": {"type": "invalid_request_error", "message": "as some projects have it"},
        },
        None: {"type": "expired"},
    }
    for status, result in lines.items():
        found = anthropic.result_of(orjson.dumps({"custom_id": "a", "result": result}))
        assert found is not None
        assert (found.id, found.status) == ("a", status)
    assert anthropic.result_of(b'{"custom_id": "a"') is None


def test_geminis_operation_and_lines() -> None:
    about = {"model": "models/gemini-2.5-flash", "displayName": "n-1", "createTime": "2025-08-26T10:00:00.1Z",
             "batchStats": {"requestCount": "4", "successfulRequestCount": "1", "pendingRequestCount": "3"},
             "state": "BATCH_STATE_RUNNING", "name": "batches/abc"}  # fmt: skip
    told = gemini.told_of({"name": "batches/abc", "metadata": about})
    assert (told.id, told.stage, told.tag, told.total, told.done, told.failed) == (
        "batches/abc", "running", "n-1", 4, 1, 0,
    )  # fmt: skip
    ended = {"name": "batches/abc", "metadata": {**about, "state": "JOB_STATE_SUCCEEDED"}, "done": True}
    for response in (
        {"response": {"responsesFile": "files/batch-1"}},
        {
            "metadata": {
                **about,
                "state": "BATCH_STATE_SUCCEEDED",
                "output": {"responsesFile": "files/batch-1"},
            }
        },
    ):
        assert gemini.told_of({**ended, **response}).outputs == ("files/batch-1",)
    inline = {
        "response": {"inlinedResponses": {"inlinedResponses": [{"metadata": {"key": "a"}, "response": {}}]}}
    }
    [within] = gemini.told_of({**ended, **inline}).outputs
    assert gemini.result_of(within) == Result("a", 200, b"{}")
    failed = {"name": "batches/abc", "metadata": {**about, "state": "BATCH_STATE_FAILED"},
              "error": {"code": 3, "message": "m"}}  # fmt: skip
    assert gemini.told_of(failed).stage == "refused"
    assert gemini.result_of({"key": "a", "error": {"code": 8, "message": "m"}}).status == 429  # type: ignore[union-attr]
    assert gemini.result_of({"key": "a", "error": {"code": 1, "message": "m"}}).status is None  # type: ignore[union-attr]
    assert gemini.result_of({"response": {}}) is None


def test_geminis_answer() -> None:
    usage = {
        "promptTokenCount": 20,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 55,
    }
    parts = [{"text": "hm", "thought": True}, {"text": '{"a": '}, {"text": "1}"}]
    reply = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": usage}
    found = gemini.completion_of(reply, "m")
    assert (found.text, found.reasoning, found.finish_reason) == ('{"a": 1}', "hm", "stop")
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.reasoning_tokens) == (
        20,
        35,
        30,
    )
    with pytest.raises(ContentFiltered):
        gemini.completion_of({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage}, "m")
    with pytest.raises(Truncated) as cut:
        gemini.completion_of({"candidates": [{"finishReason": "MAX_TOKENS"}], "usageMetadata": usage}, "m")
    assert cut.value.usage is not None
    with pytest.raises(Unparseable):
        gemini.completion_of({"candidates": [{"content": {}, "finishReason": "STOP"}]}, "m")
    assert gemini.completion_of(
        {"candidates": [{"content": {"parts": [{"text": "x"}]}}]}, "m"
    ).usage.estimated


def test_times() -> None:
    assert moment(1711471533) == 1711471533.0
    assert moment("2025-11-03T10:00:00Z") == moment("2025-11-03T11:00:00+01:00")
    for nothing in (None, "", "soon", 0, True, {}):
        assert moment(nothing) is None


# --- over the wire --------------------------------------------------------------------------------


async def test_a_key_goes_to_its_own_host_alone(tmp_path: Path) -> None:
    """Together names a place elsewhere for a file, and a provider may for results: neither is sent the key."""
    heard: list[tuple[str, str | None]] = []

    async def elsewhere(request: web.Request) -> web.Response:
        heard.append((request.method, request.headers.get("Authorization")))
        return web.Response(body=b'{"custom_id": "a", "response": {"status_code": 200, "body": {}}}\n')

    async def files(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer key"
        place = f"http://127.0.0.1:{ports[1]}/presigned"
        return web.Response(status=302, headers={"Location": place, "X-Together-File-Id": "file-1"})

    async def preprocess(request: web.Request) -> web.Response:
        return web.json_response({"id": "file-1"})

    ports, runners = [], []
    for routes in (
        [web.post("/v1/files", files), web.get("/v1/files/o/content", files),
         web.post("/v1/files/file-1/preprocess", preprocess)],
        [web.route("*", "/presigned", elsewhere)],
    ):  # fmt: skip
        app = web.Application()
        app.add_routes(routes)
        runners.append(runner := web.AppRunner(app))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports.append(runner.addresses[0][1])
    given = model(base_url=f"http://127.0.0.1:{ports[0]}/v1", api_key="key")
    backend = OpenAICompatible(given, concurrency=1)
    door = FileBatches(given, backend, "together")
    (tmp_path / "part.jsonl").write_text("{}\n")
    assert await door.upload(tmp_path / "part.jsonl", "part.jsonl") == "file-1"
    told = openai.told_of({"id": "b", "status": "COMPLETED", "output_file_id": "o"})
    assert [result async for result in door.results(told)] == [Result("a", 200, b"{}")]
    assert heard == [("PUT", None), ("GET", None)]
    await door.close()
    await backend.close()
    for runner in runners:
        await runner.cleanup()


async def test_a_program_of_ones_own_answers_files(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    """As `vllm run-batch` does: it reads a part's file and writes the results beside it, in its own time."""
    url, simulator = await endpoint()
    config = configs.load(
        url,
        model={
            "name": "m",
            "base_url": url,
            "batch": "files",
            "price": {"input": 1, "output": 2, "batch": 0.5},
        },
        limits={"mode": "batch", "concurrency": 4},
    )
    folder = tmp_path / "run"

    async def run_batch() -> None:
        while True:
            for part in (folder / "batches").glob("part-*.jsonl"):
                results = part.with_suffix(".results.jsonl")
                if part.name.endswith(".results.jsonl") or results.exists():
                    continue
                lines = []
                for line in map(orjson.loads, part.read_bytes().splitlines()):
                    status, body = await simulator._in_a_batch(line["body"])
                    response = {"status_code": status, "request_id": "", "body": body}
                    lines.append(
                        orjson.dumps({"id": "", "custom_id": line["custom_id"], "response": response})
                    )
                results.write_bytes(b"".join(line + b"\n" for line in lines))
            await asyncio.sleep(0.05)

    program = asyncio.create_task(run_batch())
    report = await run_in(folder, config)
    program.cancel()
    assert report.outcome == "target"
    assert report.data["batches"]["calls"] == report.data["calls"]["completed"]
    assert simulator.statistics.in_flight_peak == 0, "nothing went online"


async def test_a_plan_compares_the_ways(tmp_path: Path, configs: Configs) -> None:
    model = {"name": "gpt-5-mini", "base_url": "https://api.openai.com/v1", "price": None}
    path = configs.write("", model=model, generate={"target": 5000}, limits={"requests_per_minute": 500})
    status, out, err = await finished(await datagen("plan", path))
    assert status == 0, err
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith("  ")}
    dollars = {way: float(words[1].strip("$")) for way, words in lines.items() if words[1].startswith("$")}
    assert list(dollars) == ["online", "batch", "auto", "flex"]
    assert dollars["batch"] == pytest.approx(dollars["online"] / 2, rel=0.01) == dollars["flex"]
    assert dollars["batch"] < dollars["auto"] < dollars["online"]
    unknown = configs.write("http://127.0.0.1:9/v1", "unknown.yaml", generate={"target": 5000})
    assert "limits.mode" not in (await finished(await datagen("plan", unknown)))[1]
    assert RunConfig.load(path).limits.mode == "online"


async def test_results_of_a_program_that_never_writes_them_are_not_waited_for(tmp_path: Path) -> None:
    from engine.llm.batches.files import FileExchange

    given = model(batch="files")
    backend = OpenAICompatible(given, concurrency=1)
    door = FileExchange(given, backend, tmp_path)
    (tmp_path / "part-00001.jsonl").write_text('{"custom_id": "a"}\n{"custom_id": "b"}\n')
    told = await door.create(tmp_path / "part-00001.jsonl", "", "tag")
    assert (await door.poll([told.id]))[told.id].stage == "running"
    results = tmp_path / "part-00001.results.jsonl"
    results.write_text('{"garbage\n{"custom_id": "a", "response": {"status_code": 200, "body": {}}}\n')
    found = (await door.poll([told.id]))[told.id]
    assert (found.stage, found.done, found.total) == ("running", 1, 2)
    assert [each async for each in door.results(found)] == [None, Result("a", 200, b"{}")]
    results.unlink()
    await door.cancel(told.id)
    found = (await door.poll([told.id]))[told.id]
    assert (found.stage, found.said) == ("ended", "cancelled")
    assert [each async for each in door.results(found)] == []
    await backend.close()

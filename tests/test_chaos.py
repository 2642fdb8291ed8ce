"""Whole runs through what a night brings, over real sockets: each costs a pause or an item, and is told."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import itertools
import ssl
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from conftest import CLEAN, Configs, Start, contents, datagen, finished, lines, run_in, when_served
from endpoints import endpoint as one_endpoint
from engine.config import ModelConfig, RunConfig
from engine.config.simulator import SimulatorConfig
from engine.errors import ConfigError, Disconnected, EndpointError
from engine.items import Completion
from engine.runs.endpoints import backend_for
from engine.simulator.serving import serving
from engine.simulator.virtual_time import VirtualLoop
from engine.store.writer import GroupWriter
from test_adapters import PROMPT
from test_night import Night, Provider, night


async def asked(url: str) -> Completion:
    model = ModelConfig.model_validate({"name": "m", "base_url": url, "api_key": "sk-x"})
    backend = backend_for(model, "items")(model, concurrency=1)
    try:
        return await backend.complete(PROMPT)
    finally:
        await backend.close()


async def test_a_host_that_no_name_server_knows_is_not_there_and_not_paid() -> None:
    with pytest.raises(Disconnected, match="cannot connect") as caught:
        await asked("http://no-such-host.invalid/v1")
    assert not caught.value.paid


def self_signed(folder: Path) -> ssl.SSLContext:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(*kinds) + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_a_certificate_that_nobody_vouches_for_ends_it_at_once(tmp_path: Path) -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self_signed(tmp_path)).start()
    try:
        with pytest.raises(EndpointError, match="no secure connection"):
            await asked(f"https://127.0.0.1:{runner.addresses[0][1]}/v1")
    finally:
        await runner.cleanup()


async def test_a_server_that_goes_away_and_comes_back(tmp_path: Path, configs: Configs) -> None:
    """The process stops listening in the middle of the run, and listens again some seconds later."""
    knobs = SimulatorConfig.model_validate({**CLEAN, "latency_s": 0.01})
    async with AsyncExitStack() as stack:
        url, simulator = await stack.enter_async_context(serving(knobs))
        some = when_served(simulator, 20)
        config = configs.load(url, generate={"target": 300, "batch_size": 1})
        running = asyncio.create_task(run_in(tmp_path / "run", config))
        await some.wait()
    await asyncio.sleep(1.5)
    async with serving(knobs, int(url.split(":")[2].split("/")[0])):
        report = await running
    assert (report.outcome, report.accepted) == ("target", 300)
    [down] = [event for event in report.data["events"] if event["kind"] == "down"]
    assert down["seconds"] > 1
    assert "taken out after failures in a row" in down["words"]
    assert report.data["calls"]["failed"] == 0


async def test_one_of_two_keys_is_revoked_and_the_run_goes_on(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    (url, first), (other, second) = await endpoint(latency_s=0.01), await endpoint(latency_s=0.01)
    some = when_served(first, 10)
    path = configs.write(url, generate={"target": 200, "batch_size": 1})
    settings = configs.settings(url)["model"]
    both = [{**settings, "api_key": "sk-a"}, {**settings, "base_url": other, "api_key": "sk-b"}]
    config = RunConfig.load(path, {"model": both})
    running = asyncio.create_task(run_in(tmp_path / "run", config))
    await some.wait()
    first.knobs = first.knobs.model_copy(update={"api_key": "sk-new"})
    report = await running
    assert (report.outcome, report.accepted) == ("target", 200)
    assert report.data["calls"]["failed"] == 0
    [retired] = [event for event in report.data["events"] if event["kind"] == "retired"]
    assert "refuses the key (401" in retired["words"]
    assert second.statistics.served > 100
    assert "sk-" not in (tmp_path / "run" / "config.yaml").read_text()


async def test_what_may_change_of_several_endpoints(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint()
    folder = tmp_path / "run"
    one = configs.settings(url)["model"]
    path = configs.write(url)

    def with_model(*models: dict[str, Any], target: int) -> RunConfig:
        return RunConfig.load(path, {"model": list(models), "generate.target": target})

    assert (await run_in(folder, configs.load(url, generate={"target": 5}))).outcome == "target"
    assert (await run_in(folder, with_model(one, one, target=10))).outcome == "target"
    third = {**one, "weight": 3, "limits": {"concurrency": 2}, "api_key": "sk-3"}
    assert (await run_in(folder, with_model(third, one, one, target=20))).outcome == "target"
    assert (await run_in(folder, with_model(one, target=25))).outcome == "target"
    with pytest.raises(ConfigError, match="other settings"):
        await run_in(folder, with_model(one, {**one, "name": "other"}, target=30))
    code, _, err = await finished(
        await datagen("resume", folder, "--target", "30", "--set", "model.0.weight=2")
    )
    assert code == 0, err


async def test_a_purpose_added_to_a_list_is_another_run(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint()
    one, path = configs.settings(url)["model"], configs.write(url)
    await run_in(tmp_path / "run", RunConfig.load(path, {"model": [one, one]}))
    other = {**one, "purposes": {"review": {"name": "other"}}}
    with pytest.raises(ConfigError, match="purposes"):
        await run_in(tmp_path / "run", RunConfig.load(path, {"model": [other, one], "generate.target": 30}))


def test_no_key_is_written_and_none_goes_to_another_host(
    configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K", "sk-from-environment")
    purposes = {
        "review": {"api_key": "sk-review", "extra_body": {"api_token": "${K}"}},
        "program": {"name": "p", "base_url": "http://elsewhere/v1"},
    }
    main = {"name": "m", "api_key": "sk-main", "headers": {"X-Org": "sk-header"}, "purposes": purposes}
    vectors = {"endpoint": {"name": "e", "base_url": "http://other/v1"}}
    for model in (main, [main, {**main, "purposes": {}, "api_key": "sk-second"}]):
        config = configs.load("http://127.0.0.1:9/v1", model=model, embedding=vectors)
        written = str(config.without_secrets())
        assert "sk-" not in written
        assert "DATAGEN_REVIEW_API_KEY" in written
        found = config.purpose_models()
        for purpose in ("program", "embedding"):
            assert (found[purpose].api_key, found[purpose].headers) == (None, {})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ([], "the list names no endpoint"),
        ({"name": "m", "purposes": {"reviewer": {"name": "x"}}}, "did you mean 'review'"),
        ([{"name": "m", "base_url": "ftp://x"}], "model.0.base_url"),
        ([{"name": "m"}, {"name": "m", "weight": 0}], "model.1.weight"),
        (
            [{"name": "m"}, {"name": "m", "purposes": {"review": {"name": "x"}}}],
            "purposes stand with the first",
        ),
        ([{"name": "m"}, {"name": "m", "wieght": 1}], "did you mean 'weight'"),
    ],
)
def test_a_mistake_in_a_list_names_its_place(model: Any, said: str, configs: Configs) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.load("http://127.0.0.1:9/v1", model=model)
    assert said in str(caught.value)


async def test_a_slow_disk_only_makes_it_slow(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact, longest = GroupWriter._transact, 0

    def slow(self: GroupWriter, operations: Any) -> None:
        nonlocal longest
        longest = max(longest, self.queued)
        time.sleep(0.03)
        transact(self, operations)

    monkeypatch.setattr(GroupWriter, "_transact", slow)
    url, _ = await endpoint()
    config = configs.load(url, generate={"target": 300, "batch_size": 1}, limits={"concurrency": 32})
    report = await run_in(tmp_path / "run", config)
    assert (report.outcome, report.accepted) == ("target", 300)
    assert longest < 150


async def test_a_clock_that_is_set_changes_nothing(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = await endpoint(latency_s=0.002)
    limits = {"requests_per_minute": 30_000, "concurrency": 8}
    config = configs.load(url, generate={"target": 100, "batch_size": 1}, limits=limits)
    await run_in(tmp_path / "plain", config)
    real, turn = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: real() + (86_400 if next(turn) % 2 else -86_400))
    report = await run_in(tmp_path / "stepped", config)
    assert report.outcome == "target"
    assert 0 <= report.data["time"]["wall_s"] < 60
    monkeypatch.undo()
    assert contents(tmp_path / "plain" / "accepted.jsonl") == contents(
        tmp_path / "stepped" / "accepted.jsonl"
    )


def test_a_laptop_that_sleeps_loses_its_connections_and_nothing_else() -> None:
    """All calls in flight end at once when it wakes; that is one outage of a second, not fifty retries."""

    async def work(loop: VirtualLoop) -> None:
        provider = Provider(loop, latency=2.0)
        whole, asleep = provider.complete, asyncio.Event()

        async def complete(asked: Any) -> Completion:
            call = asyncio.ensure_future(whole(asked))
            waking = asyncio.ensure_future(asleep.wait())
            await asyncio.wait({call, waking}, return_when=asyncio.FIRST_COMPLETED)
            waking.cancel()
            if not call.done():
                call.cancel()
                raise Disconnected("connection lost: reset", paid=True)
            return call.result()

        provider.complete = complete  # type: ignore[method-assign]
        the_night = Night(loop, one_endpoint(provider, 50, clock=loop.time), retries=1)

        async def sleep() -> None:
            await asyncio.sleep(61)
            asleep.set()
            await asyncio.sleep(0)
            asleep.clear()

        waking = asyncio.create_task(sleep())
        found = await the_night.calls(3000)
        await waking
        assert all(isinstance(each, Completion) for each in found)
        assert the_night.client.counts.errors == {"disconnected": 50}

    night(work)


async def test_an_answer_that_was_cut_short_costs_its_items(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint()
    config = configs.load(
        url,
        generate={"target": 30, "batch_size": 3, "max_tokens": 60},
        limits={"attempts": 2, "least_acceptance": 0},
    )
    report = await run_in(tmp_path / "run", config)
    rejected = lines(tmp_path / "run" / "rejected.jsonl")
    assert {row["_meta"]["reason"] for row in rejected} == {"truncated"}
    assert report.data["items"]["reasons"]["generate"]["truncated"] == len(rejected)


async def test_the_report_tells_of_limits_and_pauses(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(requests_per_minute=3000)
    path = configs.write(url, generate={"target": 120, "batch_size": 1}, limits={"concurrency": 32})
    code, out, _ = await finished(await datagen("run", path, "-o", tmp_path / "run"))
    assert code == 0
    assert "announces 3,000 requests per minute; kept" in out
    report = orjson.loads((tmp_path / "run" / "report.json").read_bytes())
    kinds = {event["kind"] for event in report["events"]}
    assert "limits" in kinds
    assert simulator.statistics.limit_violations < 40
    assert report["calls"]["retried"] == 0
    await finished(await datagen("resume", tmp_path / "run", "--target", "140"))
    report = orjson.loads((tmp_path / "run" / "report.json").read_bytes())
    assert sum(event["kind"] == "limits" for event in report["events"]) == 1, "once, however many starts"

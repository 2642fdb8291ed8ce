"""A word when a run ends or stands still, its figures at a tracker, and a share of accepted items that falls."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from conftest import Configs, Start, datagen, finished, run_in
from engine.config import RunConfig
from engine.errors import ConfigError
from engine.observe.notify import shape_of, shaped, text_of
from engine.runs import telling
from engine.runs.falling import Yield
from engine.stages.progress import Progress


@asynccontextmanager
async def hooked(*statuses: int) -> AsyncIterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A web hook's address, and what came there: headers and body. It answers so; then 200."""
    came: list[tuple[dict[str, str], bytes]] = []
    left = list(statuses)

    async def take(request: web.Request) -> web.Response:
        came.append((dict(request.headers), await request.read()))
        return web.Response(status=left.pop(0) if left else 200, text="hm")

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}/hook", came
    finally:
        await runner.cleanup()


FIGURES = {
    "outcome": "fatal", "message": "the key <was> refused & so on", "accepted": 1234, "target": 2000, "rejected": 5,
    "spent_usd": 0.5, "cap_usd": 2.0, "seconds": 9.0, "folder": "runs/one",
}  # fmt: skip


@pytest.mark.parametrize("form", ["json", "slack", "discord", "ntfy"])
async def test_a_hook_gets_the_outcome_in_its_form(
    form: str, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint()
    async with hooked(503, 429) as (address, came):
        notify = {"webhook": address, "format": form}
        await run_in(tmp_path / "run", configs.load(url, observe={"notify": notify}))
    assert len(came) == 3, "what is refused for a moment is tried again"
    headers, body = came[-1]
    sentence = f"{tmp_path / 'run'} finished: 20 of 20 items accepted"
    if form == "ntfy":
        assert body.decode().startswith(sentence)
        assert headers["Title"] == "DataGen"
        return
    told = orjson.loads(body)
    said = told[{"json": "text", "slack": "text", "discord": "content"}[form]]
    assert said.startswith(sentence)
    if form == "json":
        assert (told["outcome"], told["accepted"], told["target"]) == ("target", 20, 20)
    assert (
        address not in (tmp_path / "run" / "config.yaml").read_text()
    )  # it is a secret: who has it can post


def test_forms_are_known_by_their_address_and_escape() -> None:
    for address, form in (
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://ntfy.sh/topic", "ntfy"),
        ("https://example.org/hooks.slack.com", "json"),
    ):
        assert shape_of("auto", address) == form
    assert "&lt;was&gt; refused &amp; so" in orjson.loads(shaped(FIGURES, "slack")[0])["text"]
    assert orjson.loads(shaped(FIGURES, "discord")[0])["allowed_mentions"] == {"parse": []}
    assert shaped(FIGURES, "ntfy")[1]["Priority"] == "high"
    assert text_of(FIGURES).startswith(
        "runs/one stopped by an error: 1,234 of 2,000 items accepted, $0.5000: the key"
    )


async def test_a_command_has_it_in_its_environment(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    told = tmp_path / "told.json"
    program = tmp_path / "tell.py"
    program.write_text(
        "import json, os, sys\n"
        "json.dump({k: v for k, v in os.environ.items() if k.startswith('DATAGEN_')} | {'arguments': sys.argv[1:]},"
        f" open({str(told)!r}, 'w'))\n"
    )
    command = f"{sys.executable} {program} 'two words' $HOME;"
    path = configs.write(url, observe={"notify": {"command": command}})
    status, _, err = await finished(await datagen("run", path, "-o", tmp_path / "run"))
    assert status == 2
    assert "--allow-code" in err
    status, _, err = await finished(await datagen("run", path, "-o", tmp_path / "run", "--allow-code"))
    assert (status, "notify" in err) == (0, False)
    given = orjson.loads(told.read_bytes())
    assert given["arguments"] == ["two words", "$HOME;"]  # no shell reads it
    assert given["DATAGEN_OUTCOME"] == "target"
    assert given["DATAGEN_ACCEPTED"] == given["DATAGEN_TARGET"] == "20"
    assert given["DATAGEN_FOLDER"] == str(tmp_path / "run")


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ({"webhook": "http://127.0.0.1:9/x"}, "observe.notify.webhook: ClientConnectorError"),
        ({"command": "/no/such/program"}, "observe.notify.command: FileNotFoundError"),
        ({"command": f"{sys.executable} -c 'import sys; sys.exit(\"oh no\")'"}, "ended with 1: oh no"),
    ],
)
async def test_what_cannot_be_told_changes_nothing(
    notify: dict[str, Any], said: str, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint()
    path = configs.write(url, observe={"notify": notify})
    status, _, err = await finished(await datagen("run", path, "-o", tmp_path / "run", "--allow-code"))
    assert status == 0
    assert said in err


async def test_a_standstill_is_told_once_and_why(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(stalls=1.0)
    async with hooked() as (address, came):
        path = configs.write(
            url, limits={"first_answer_s": 60}, observe={"notify": {"webhook": address, "stalled_s": 1}}
        )
        process = await datagen("run", path, "-o", tmp_path / "run")
        async with asyncio.timeout(60):
            while not came:
                await asyncio.sleep(0.1)
        await asyncio.sleep(3)
        process.kill()
        await process.wait()
    [(_, body)] = came
    assert orjson.loads(body)["outcome"] == "stalled"
    assert "no answer for" in orjson.loads(body)["message"]


async def test_only_wanted_endings_are_told(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    async with hooked() as (address, came):
        wanted = {"webhook": address, "when": ["fatal"]}
        await run_in(tmp_path / "run", configs.load(url, observe={"notify": wanted}))
    assert came == []


# --- trackers, by their own libraries, on this machine ------------------------------------------------


def run_tracked(tmp_path: Path, path: Path, folder: Path, **environment: str) -> str:
    """In a process of its own: these libraries leave threads and patched modules behind."""
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", "run", str(path), "-o", str(folder)],
        env={**os.environ, "HOME": str(tmp_path), **environment}, cwd=tmp_path, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "observe.track" not in done.stderr, done.stderr
    return done.stderr


async def test_wandb(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    path = configs.write(url, observe={"track": "wandb"})
    await asyncio.to_thread(run_tracked, tmp_path, path, tmp_path / "run", WANDB_MODE="offline")
    [run] = (tmp_path / "run" / "wandb").glob("offline-run-*")
    [data] = run.glob("*.wandb")
    written = data.read_bytes()
    for name in (b"accepted", b"spent_usd", b"acceptance", b"batch_size"):
        assert name in written


async def test_mlflow(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    path = configs.write(url, observe={"track": {"to": "mlflow", "project": "nights", "name": "first"}})
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    await asyncio.to_thread(run_tracked, tmp_path, path, tmp_path / "run", MLFLOW_TRACKING_URI=store)
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        runs = connection.execute("SELECT name, status FROM runs").fetchall()
        metrics = dict(connection.execute("SELECT key, max(value) FROM metrics GROUP BY key").fetchall())
        params = dict(connection.execute("SELECT key, value FROM params").fetchall())
        tags = dict(connection.execute("SELECT key, value FROM tags").fetchall())
    assert runs == [("first", "FINISHED")]
    assert metrics["accepted"] == 20
    assert params["generate.target"] == "20"
    assert tags["outcome"] == "target"
    assert "api_key" not in str(params) or "sk-" not in str(params)


async def test_trackio(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    path = configs.write(url, observe={"track": {"to": "trackio", "project": "nights"}})
    home = tmp_path / "trackio"
    await asyncio.to_thread(run_tracked, tmp_path, path, tmp_path / "run", TRACKIO_DIR=str(home))
    written = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    assert b"spent_usd" in written
    assert b"nights" in written or list(home.glob("nights*"))


async def test_a_tracker_that_is_not_there_or_fails(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = await endpoint()
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r'pip install "datagen-engine\[wandb\]"'):
        await run_in(tmp_path / "a", configs.load(url, observe={"track": "wandb"}))

    class Broken:
        @staticmethod
        def init(**_: Any) -> Any:
            raise RuntimeError("no network")

    monkeypatch.setitem(sys.modules, "wandb", Broken)
    report = await run_in(tmp_path / "b", configs.load(url, observe={"track": "wandb"}))
    assert report.outcome == "target"


# --- a share that falls -------------------------------------------------------------------------------


def test_a_falling_share_is_told_while_it_falls() -> None:
    progress, told = Progress(10_000), []
    shares = Yield(progress)
    for share in (0.8, 0.8, 0.3, 0.3, 0.1, 0.1, 0.1):
        for _ in range(40):
            progress.accepted += round(10 * share)
            progress.rejected += round(10 * (1 - share))
            progress.rejected_by["groupcheck", "same_text"] += round(10 * (1 - share))
            told += [said] if (said := shares.news()) else []
    assert len(told) in (2, 3)
    assert "% of the last 2" in told[0]
    assert "80% at best before" in told[0]
    assert "rejected by groupcheck as same_text" in told[0]


def test_a_steady_share_is_no_news() -> None:
    import random

    chance, progress, told = random.Random(5), Progress(10**9), Counter[str]()
    shares = Yield(progress)
    for _ in range(20_000):
        if chance.random() < 0.3:
            progress.accepted += 1
        else:
            progress.rejected += 1
        told[shares.news()] += 1
    assert set(told) == {""}


async def test_the_report_has_it_as_an_event(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model with few things to say: after some hundred items nearly all are the same texts again."""
    url, _ = await endpoint(kind="word_problems", different=260, latency_s=0.05)
    monkeypatch.setattr(telling, "_LOOK_S", 0.02)
    config: RunConfig = configs.load(
        url, generate={"target": 2000, "batch_size": 10}, groupcheck={"same": "text"},
        limits={"attempts": 1.2, "concurrency": 8},
    )  # fmt: skip
    report = await run_in(tmp_path / "run", config)
    [event] = [each for each in report.data["events"] if each["kind"] == "yield"]
    assert "fewer items are accepted" in event["words"]

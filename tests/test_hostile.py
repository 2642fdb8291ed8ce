"""Whole runs against what endpoints, plugins, templates and people do wrong: each costs what it must, no more."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, Start, datagen, finished, lines, run_in, when_served
from engine.errors import ConfigError, Unavailable
from engine.items import Decision, Item, Verdict
from engine.simulator.server import Simulator


def instead(simulator: Simulator, first: int, content: str | None = None, **body: Any) -> None:
    """The endpoint's first completions hold `content`, or other fields of the reply."""
    made, count = simulator._completion, 0

    def odd(*arguments: Any) -> bytes:
        nonlocal count
        count += 1
        reply = orjson.loads(made(*arguments))
        if count > first:
            return orjson.dumps(reply)
        if content is not None:
            reply["choices"][0]["message"]["content"] = content
        return orjson.dumps({**reply, **body})

    simulator._completion = odd  # type: ignore[method-assign]


DEEP = '{"items": [{"text": "t", "label": "1", "tag": ' + "[" * 1000 + "]" * 1000 + "}]}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('Sure: {"items": [{"text": "half \\ud83d", "label": "7"}]}', "not_json"),
        ('Sure: {"items": [{"text": "t", "label": "\\ud83d"}]}', "not_json"),
        ('{"items": [{"text": "t", "label": 123456789012345678901234567890}]}', ""),
        (DEEP, "not_json"),
        ("{" * 50_000 + "}", "unparseable"),
        ('{"items": [{"text": {"a": 1}, "label": "1"}]}', "wrong_type"),
    ],
)
@pytest.mark.parametrize("ratio", [False, True])
async def test_an_odd_reply_costs_its_items(
    content: str, reason: str, ratio: bool, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint()
    instead(simulator, 2, content)
    constraints = [{"label_ratio": {"7": 1, "9": 1}}] if ratio else []
    config = configs.load(
        url,
        dataset={"constraints": constraints},
        generate={"target": 8, "batch_size": 1},
        limits={"concurrency": 2},
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    assert report.accepted == 8
    if reason:
        assert report.data["items"]["reasons"]["generate"] == {reason: 2}


async def test_the_choices_and_extras_are_those_of_the_dataset(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    rows = [
        {"question": f"Which {n}?", "choices": ["a", "b", "c"], "answer": n % 3, "level": n, "tags": ["x"]}
        for n in range(6)
    ]
    configs.base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    fields = {"text": "question", "choices": "choices", "label": "answer", "extras": ["level", "tags"]}
    url, simulator = await endpoint()
    good = {"text": "Which?", "choices": ["x", "y", "z"], "label": "B", "level": "4", "tags": ["q"]}
    wrong = [
        {**good, "choices": ["x", "y"]},
        {**good, "level": "high"},
        {**good, "tags": "q"},
        {key: value for key, value in good.items() if key != "tags"},
    ]
    instead(simulator, 1, orjson.dumps({"items": [good, *wrong]}).decode())
    config = configs.load(url, dataset={"fields": fields}, generate={"target": 1, "batch_size": 5})
    report = await run_in(tmp_path / "run", config)
    [accepted] = lines(tmp_path / "run" / "accepted.jsonl")
    assert {key: accepted[key] for key in rows[0]} == {
        "question": "Which?",
        "choices": ["x", "y", "z"],
        "answer": 1,
        "level": 4,
        "tags": ["q"],
    }
    assert report.data["items"]["surplus"] == 4


class Plugin:
    """Does what its class says; the tests set it."""

    name = "plugin"
    verdict: Any = None

    def __init__(self, tools: Any) -> None: ...

    async def validate(self, item: Item) -> Any:
        if item.batch.number > 0:
            return Verdict.passed(self.name)
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict(item) if callable(self.verdict) else self.verdict


@pytest.mark.parametrize(
    "verdict",
    [
        None,
        "pass",
        Unavailable("the wiki is down"),
        lambda item: Verdict(Decision.REVISE, "x", item=item.evolve(extras={"unknown": 1})),
        lambda item: Verdict(Decision.REVISE, "x", item=item.evolve(text=None)),
    ],
    ids=["none", "text", "transient", "unknown extra", "no text"],
)
async def test_a_plugin_that_misbehaves_loses_its_items_only(
    verdict: Any, tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(monkeypatch, verdict)
    url, _ = await endpoint()
    config = configs.load(url, validators=["plugin"], generate={"target": 6, "batch_size": 3})
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    assert report.data["items"]["reasons"] == {"plugin": {"validator_error": 3}}


async def test_a_plugin_cannot_change_who_an_item_is(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(
        monkeypatch, lambda item: Verdict(Decision.REVISE, "x", item=item.evolve(position=0, text="new"))
    )
    url, _ = await endpoint()
    config = configs.load(
        url, validators=["plugin"], generate={"target": 6, "batch_size": 3, "allow_repeats": True}
    )
    report = await run_in(tmp_path / "run", config)
    found = lines(tmp_path / "run" / "accepted.jsonl")
    assert [row["_meta"]["id"] for row in found] == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]
    assert [row["question"] for row in found[:3]] == ["new"] * 3
    assert (found[0]["_meta"]["revisions"], report.data["validators"]["plugin"]["revised"]) == (1, 3)


def _install(monkeypatch: pytest.MonkeyPatch, verdict: Any) -> None:
    class Point:
        name = "plugin"

        def load(self) -> type[Plugin]:
            return Plugin

    monkeypatch.setattr(Plugin, "verdict", staticmethod(verdict) if callable(verdict) else verdict)
    monkeypatch.setattr("engine.runs.plugins.installed_validators", lambda: {Point.name: Point()})


async def test_a_defect_of_the_engine_keeps_what_was_done(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.stages.generate import Generate

    call = Generate.__call__

    async def broken(self: Generate, batch: Any) -> Any:
        if batch.number == 3:
            raise KeyError("impossible")
        return await call(self, batch)

    monkeypatch.setattr(Generate, "__call__", broken)
    url, _ = await endpoint()
    report = await run_in(tmp_path / "run", configs.load(url, limits={"concurrency": 1}))
    assert report.outcome == "fatal"
    assert "a defect in the engine: KeyError: 'impossible' (test_hostile.py line" in report.data["message"]
    monkeypatch.undo()
    assert (await run_in(tmp_path / "run", configs.load(url))).outcome == "target"


@pytest.mark.parametrize(
    "template",
    [
        "{{ examples[0].nope.nope }}",
        "{{ 1 / 0 }}",
        "{% include 'x' %}",
        "{% for l, n in labels %}{{ l.x.y }}{% endfor %}",
    ],
)
async def test_a_template_that_fails_is_told_before_the_run(
    template: str, tmp_path: Path, configs: Configs
) -> None:
    (tmp_path / "own.j2").write_text(
        f"{{% block system %}}{{% endblock %}}{{% block user %}}{template}{{% endblock %}}"
    )
    config = configs.load(
        "http://127.0.0.1:1",
        generate={"template": "own.j2"},
        dataset={"constraints": [{"label_ratio": {"7": 1}}]},
    )
    with pytest.raises(ConfigError, match=r"own\.j2"):
        await run_in(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


async def test_a_cap_below_one_call_is_told_before_the_run(tmp_path: Path, configs: Configs) -> None:
    with pytest.raises(ConfigError, match="less than one call may cost"):
        await run_in(tmp_path / "run", configs.load("http://127.0.0.1:1", limits={"budget_usd": 1e-6}))


async def test_the_target_reached_with_the_last_cent_is_the_target(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint()
    settings = {"generate": {"target": 9, "max_tokens": 300}, "limits": {"concurrency": 1}}
    await run_in(tmp_path / "one", configs.load(url, **settings))
    cost = (simulator.statistics.prompt_tokens + 2 * simulator.statistics.completion_tokens) / 1e6
    for number in range(8):
        settings["limits"]["budget_usd"] = cost + 0.0003 * (number + 2)
        report = await run_in(tmp_path / f"run{number}", configs.load(url, **settings))
        assert report.outcome == ("target" if report.accepted == 9 else "budget")


async def test_what_was_sent_before_a_kill_is_on_record(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """Killed again and again before the first answer: the cap holds all the same."""
    url, simulator = await endpoint(stalls=1.0)
    path = configs.write(url, generate={"max_tokens": 1000}, limits={"budget_usd": 0.05, "concurrency": 3})
    reply, asked, heard = simulator._reply, 0, asyncio.Event()

    async def counted(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        heard.set()
        return await reply(*arguments)

    simulator._reply = counted  # type: ignore[method-assign]
    worst = 0.0
    for _ in range(8):
        heard.clear()
        process = await datagen("run", path, "-o", tmp_path / "run")
        waiting = [asyncio.create_task(heard.wait()), asyncio.create_task(process.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        ended = process.returncode
        for task in waiting:
            task.cancel()
        if ended is None:
            process.kill()
        await process.communicate()
        worst = asked * (1000 * 2.0) / 1e6
        if ended == 3:
            break
    assert ended == 3
    assert worst <= 0.05


async def test_a_folder_with_odd_characters(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    folder = tmp_path / "a#b?c%20d"
    assert (await run_in(folder, configs.load(url))).outcome == "target"
    assert len(lines(folder / "accepted.jsonl")) == 20
    assert {path.name for path in tmp_path.iterdir()} == {"a#b?c%20d", "base.jsonl", "config.yaml"}


async def test_a_run_overwrites_nothing_of_its_users(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint()
    with pytest.raises(ConfigError, match=r"holds config\.yaml, which is not of a run"):
        await run_in(tmp_path, configs.load(url))
    configs.base = configs.base.rename(tmp_path / "accepted.jsonl")
    with pytest.raises(ConfigError, match="overwrite its own base dataset"):
        await run_in(tmp_path, configs.load(url))
    assert simulator.statistics.served == 0


async def test_an_export_spares_the_run_and_devices(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint()
    folder = tmp_path / "run"
    await run_in(folder, configs.load(url))
    for name in ("run.db", "accepted.jsonl", "config.yaml"):
        status, _, err = await finished(await datagen("export", folder, "-o", folder / name))
        assert (status, "is a file of the run itself" in err) == (2, True)
    pipe = tmp_path / "pipe"
    import os

    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    status, _, _ = await finished(await datagen("export", folder, "-o", pipe))
    assert status == 0
    assert len(os.read(reader, 1 << 16).splitlines()) == 20
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


async def test_one_bad_label_does_not_spoil_the_others(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    rows = [{"question": f"Which {n}?", "choices": ["a", "b"], "answer": n % 2} for n in range(9)]
    rows.append({"question": "Hidden?", "choices": ["a", "b"], "answer": -1})
    configs.base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    url, _ = await endpoint()
    fields = {"text": "question", "choices": "choices", "label": "answer"}
    report = await run_in(tmp_path / "run", configs.load(url, dataset={"fields": fields}))
    assert report.data["dataset"]["rows"] == 9
    assert report.data["dataset"]["bad_rows"] == {"bad_label": 1}


async def test_a_cancelled_caller_is_heard(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint(latency_s=0.02)
    some = when_served(simulator, 2)
    config = configs.load(url, generate={"target": 5000})
    task = asyncio.create_task(run_in(tmp_path / "run", config))
    await some.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    report = await run_in(tmp_path / "run", configs.load(url, generate={"target": 12}))
    assert report.outcome == "target"

"""Beside a run in the terminal: watching, previewing, completing, exports that spare what stands, mistakes in words."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from conftest import Configs, Start, datagen, finished, lines, run_in, when_served
from engine.cli.completing import configs as yaml_files
from engine.cli.completing import run_folders, settings


async def exit_of(*arguments: str | Path) -> tuple[int, str, str]:
    return await finished(await datagen(*arguments))


async def test_progress_as_lines_with_the_time_of_day(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint(latency_s=0.3)
    path = configs.write(url, generate={"target": 120}, limits={"concurrency": 2})
    status, _, err = await exit_of("run", path, "-o", tmp_path / "run")
    assert status == 0
    told = [line for line in err.splitlines() if "accepted" in line]
    assert told
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in err.splitlines())


async def test_progress_as_json_and_none(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    path = configs.write(url)
    status, out, err = await exit_of("run", path, "-o", tmp_path / "a", "--progress", "json")
    rows = [orjson.loads(line) for line in err.splitlines()]
    assert status == 0
    assert {row["kind"] for row in rows} <= {"progress", "said", "end"}
    assert (rows[-1]["kind"], rows[-1]["outcome"], rows[-1]["accepted"]) == ("end", "target", 20)
    assert "20 of 20 items accepted" in out
    status, _, err = await exit_of("run", path, "-o", tmp_path / "b", "--progress", "none")
    assert (status, err) == (0, "")
    status, _, err = await exit_of("run", path, "-o", tmp_path / "c", "--progress", "loud")
    assert status == 2


async def test_watch_follows_and_lets_it_be(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint(latency_s=0.1)
    path, folder = configs.write(url, generate={"target": 300}, limits={"concurrency": 2}), tmp_path / "run"
    some = when_served(simulator, 20)
    process = await datagen("run", path, "-o", folder)
    await asyncio.wait_for(some.wait(), 60)
    left = await datagen("watch", folder, "--progress", "json")
    await asyncio.sleep(3)
    left.send_signal(signal.SIGINT)
    status, _, err = await finished(left)
    assert status == 130
    seen = [orjson.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert seen[0]["target"] == 300
    assert 0 < seen[0]["accepted"] < 300
    assert process.returncode is None
    status, out, _ = await exit_of("watch", folder, "--progress", "none")
    assert (status, "300" in out) == (0, True)  # it has ended with the run
    assert (await finished(process))[0] == 0
    status, _, err = await exit_of("watch", tmp_path / "nothing")
    assert (status, "holds no run" in err) == (2, True)


async def test_preview(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    path = configs.write(url)
    before = sorted(tmp_path.rglob("*"))
    status, out, err = await exit_of("preview", path, "-n", "3")
    assert (status, err) == (0, "")
    assert "Write exactly 3 new items" in out
    assert out.count("--- item ") >= 3
    assert "constraints pass" in out
    assert re.search(r"3 accepted.*; \d+ calls?, \$0\.\d+", out)
    assert sorted(tmp_path.rglob("*")) == before
    status, out, _ = await exit_of("preview", path, "-n", "2", "--json")
    assert sum(item["state"] == "accepted" for item in orjson.loads(out)["items"]) == 2
    status, _, err = await exit_of("preview", path, "--set", "model.base_url=http://127.0.0.1:9/v1", "--set",
                                   "limits.first_answer_s=1", "--set", "limits.retries=0")  # fmt: skip
    assert status == 4


async def test_exports_spare_what_they_have_not_written(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint()
    folder = tmp_path / "run"
    await run_in(folder, configs.load(url))
    new = tmp_path / "some" / "folder" / "out.jsonl"
    assert (await exit_of("export", folder, "-o", new))[0] == 0
    assert len(lines(new)) == 20
    assert (await exit_of("export", folder, "-o", new))[0] == 0  # its own it replaces
    new.write_text("mine\n")
    for again in ((), ("--test", "0.2")):
        if again:
            (new.parent / "out-train.jsonl").write_text("mine\n")
        status, _, err = await exit_of("export", folder, "-o", new, *again)
        assert (status, "--force" in err) == (2, True), err
    assert new.read_text() == "mine\n"
    assert (await exit_of("export", folder, "-o", new, "--force"))[0] == 0
    assert len(lines(new)) == 20
    hub = tmp_path / "hub"
    assert (await exit_of("export", folder, "-o", hub, "-f", "hf"))[0] == 0
    assert (await exit_of("export", folder, "-o", hub, "-f", "hf"))[0] == 0
    (hub / "README.md").write_text("mine\n")
    assert (await exit_of("export", folder, "-o", hub, "-f", "hf"))[0] == 2


async def test_check_tells_all_that_is_wrong(tmp_path: Path, configs: Configs) -> None:
    path = configs.write("http://127.0.0.1:9/v1", model={"name": "m", "base_url": "http://127.0.0.1:9/v1"})
    settings = yaml.safe_load(path.read_text())
    settings["dataset"]["fields"]["text"] = "quesiton"
    path.write_text(yaml.safe_dump(settings))
    status, out, _ = await exit_of("check", path)
    assert status == 2
    assert re.search(r"config +ok", out)
    assert re.search(r"dataset +FAILED .*did you mean 'question' for 'quesiton'\?", out)
    assert re.search(r"endpoint +FAILED .*cannot connect", out)
    settings["limit"], settings["generate"]["target"] = {}, -1
    path.write_text(yaml.safe_dump(settings))
    status, out, _ = await exit_of("check", path)
    assert len(re.findall(r"config +FAILED", out)) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--budget", "-3"], "the command line: limits.budget_usd: should be greater than 0"),
        (
            ["--set", "limits.concurency=3"],
            "the command line: limits.concurency: there is no such key; did you mean",
        ),
        (["--set", "generate.target=many"], "the command line: generate.target:"),
        (["--set", "nothing.at.all=1"], "the command line: nothing: there is no such key"),
        (["--set", "generate.few_shot=90"], "the command line: generate.few_shot: 90 examples asked for"),
    ],
)
async def test_the_command_line_is_blamed_for_its_own(
    given: list[str], said: str, tmp_path: Path, configs: Configs
) -> None:
    status, _, err = await exit_of(
        "run", configs.write("http://127.0.0.1:9/v1"), "-o", tmp_path / "run", *given
    )
    assert status == 2
    assert said in err
    assert "line 1" not in err


async def test_the_file_is_blamed_for_what_stands_in_it(tmp_path: Path, configs: Configs) -> None:
    path = configs.write("http://127.0.0.1:9/v1", limits={"budget_usd": -1, "concurrency": 3})
    status, _, err = await exit_of("run", path, "-o", tmp_path / "run", "--set", "limits.concurrency=4")
    assert status == 2
    assert re.search(r"config\.yaml line \d+: limits\.budget_usd", err)


async def test_completion_knows_runs_configs_and_keys(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = await endpoint()
    await run_in(tmp_path / "runs" / "one", configs.load(url))
    configs.write(url)
    monkeypatch.chdir(tmp_path)
    assert list(run_folders("")) == ["runs/one"]
    assert list(run_folders("runs/")) == ["runs/one"]
    assert list(run_folders("x")) == []
    assert "config.yaml" in list(yaml_files(""))
    assert list(yaml_files("conf")) == ["config.yaml"]
    assert list(settings("limits.budget")) == ["limits.budget_usd="]
    assert "validators=[code]" in list(settings("validators="))
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "datagen",
        env={**os.environ, "_DATAGEN_COMPLETE": "complete_bash", "COMP_WORDS": "datagen status ", "COMP_CWORD": "2"},
        stdout=asyncio.subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert out.decode().split() == ["runs/one"]

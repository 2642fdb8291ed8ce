"""The command: exit codes, what it prints, what it leaves behind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from conftest import Configs, Start, datagen, finished, lines, when_served
from engine.cli.app import app

INVOKE = CliRunner()


async def exit_of(*arguments: str | Path) -> tuple[int, str]:
    status, out, err = await finished(await datagen(*arguments))
    assert "Traceback" not in err
    return status, out + err


async def test_0_target(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint()
    path, folder = configs.write(url), tmp_path / "run"
    status, said = await exit_of("run", path, "-o", folder)
    assert (status, "20 of 20 items accepted" in said) == (0, True)
    assert {p.name for p in folder.iterdir()} == {
        "run.db",
        "run.lock",
        "config.yaml",
        "accepted.jsonl",
        "rejected.jsonl",
        "report.json",
        "run.log",
    }
    served = simulator.statistics.served
    assert (await exit_of("run", path, "-o", folder))[0] == 0  # the same line again: nothing left to do
    assert (await exit_of("resume", folder, "--target", "25"))[0] == 0
    assert len(lines(folder / "accepted.jsonl")) == 25
    assert simulator.statistics.served == served + 2


async def test_3_budget_then_raised(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    path, folder = configs.write(url, generate={"max_tokens": 400}), tmp_path / "run"
    status, said = await exit_of("run", path, "-o", folder, "--budget", "0.003")
    assert (status, "--budget USD" in said) == (3, True)
    assert (await exit_of("resume", folder, "--budget", "1"))[0] == 0


@pytest.mark.parametrize(
    ("knobs", "model", "said"),
    [
        ({"api_key": "sk-right"}, {"api_key": "sk-wrong"}, "the endpoint refuses the key (401"),
        ({}, {"base_url": "http://127.0.0.1:1/v1"}, "no answer from m at http://127.0.0.1:1/v1"),
        ({"errors": 1.0}, {}, "no answer from"),
    ],
)
async def test_4_fatal(
    tmp_path: Path, endpoint: Start, configs: Configs, knobs: dict[str, Any], model: dict[str, Any], said: str
) -> None:
    url, _ = await endpoint(**knobs)
    path, folder = configs.write(url, limits={"retries": 0, "first_answer_s": 1}), tmp_path / "run"
    changes = [part for key, value in model.items() for part in ("--set", f"model.{key}={value}")]
    status, out = await exit_of("run", path, "-o", folder, *changes)
    assert (status, said in out) == (4, True), out
    assert "sk-wrong" not in out
    assert orjson.loads((folder / "report.json").read_bytes())["outcome"] == "fatal"
    mended, _ = await endpoint()
    again = ("--set", f"model.base_url={mended}", "--set", "model.api_key=sk-right")
    assert (await exit_of("resume", folder, *again))[0] == 0


async def test_5_attempts(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(refusals=1.0)
    path, folder = configs.write(url, limits={"attempts": 2}), tmp_path / "run"
    status, said = await exit_of("run", path, "-o", folder)
    assert (status, "generate unparseable 42" in said) == (5, True), said
    report = orjson.loads((folder / "report.json").read_bytes())
    assert (report["outcome"], report["items"]["accepted"]) == ("attempts", 0)


SIGNALLED = """
import sys
class Signals:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            exec("import os; os.kill(os.getpid(), {number}); x = [n for n in range(10000)]")
sys.meta_path.insert(0, Signals())
from engine.cli.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "module", ["typer", "engine.cli.app", "engine.config.run", "engine.runs.api", "aiohttp"]
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_130_also_where_it_has_hardly_started(
    number: signal.Signals, module: str, tmp_path: Path, configs: Configs
) -> None:
    path = configs.write("http://127.0.0.1:9/v1")
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED.format(number=int(number), module=module),
         "run", str(path), "-o", str(tmp_path / "run")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout) == (130, "datagen: interrupted\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_130_interrupted_drains_and_resumes(
    number: int, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(latency_s=0.02)
    path, folder = configs.write(url, generate={"target": 300}, limits={"concurrency": 3}), tmp_path / "run"
    some = when_served(simulator, 5)
    before = signal.signal(
        number, signal.SIG_DFL
    )  # under nohup, SIGHUP is ignored, and a process inherits that
    try:
        process = await datagen("run", path, "-o", folder)
    finally:
        signal.signal(number, before)
    await some.wait()
    process.send_signal(number)
    status, _, err = await finished(process)
    assert status == 130
    assert "once more to stop at once" in err
    report = orjson.loads((folder / "report.json").read_bytes())
    assert report["outcome"] == "interrupted"
    assert report["items"]["accepted"] > 0
    assert report["cost"]["unconfirmed_usd"] == 0  # what was in flight was waited for
    assert (await exit_of("resume", folder, "--target", "40"))[0] == 0
    assert simulator.statistics.repeated == 0


async def test_130_a_second_interrupt_stops_at_once(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(stalls=1.0)
    path, folder = configs.write(url), tmp_path / "run"
    reply, stalled = simulator._reply, asyncio.Event()

    async def watched(*arguments: Any) -> Any:
        stalled.set()
        return await reply(*arguments)

    simulator._reply = watched  # type: ignore[method-assign]
    process = await datagen("run", path, "-o", folder)
    await stalled.wait()
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert b"once more to stop at once" in await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    status, _, err = await finished(process)
    assert (status, "Traceback" in err) == (130, False)
    report = orjson.loads((folder / "report.json").read_bytes())
    assert report["cost"]["unconfirmed_usd"] > 0  # those calls may be charged


async def test_2_a_second_process_in_the_same_folder(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(latency_s=0.02)
    path, folder = configs.write(url, generate={"target": 5000}, limits={"concurrency": 2}), tmp_path / "run"
    some = when_served(simulator, 2)
    first = await datagen("run", path, "-o", folder)
    await some.wait()
    status, said = await exit_of("run", path, "-o", folder)
    assert (status, "another process is running in this folder" in said) == (2, True)
    running = orjson.loads((await finished(await datagen("status", folder, "--json")))[1])
    assert (running["running"], running["outcome"]) == (True, "running")
    first.kill()
    await first.communicate()
    stopped = orjson.loads((await finished(await datagen("status", folder, "--json")))[1])
    assert stopped["running"] is False


async def test_2_a_changed_config_names_the_keys(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    path, folder = configs.write(url), tmp_path / "run"
    assert (await exit_of("run", path, "-o", folder))[0] == 0
    status, said = await exit_of("run", path, "-o", folder, "--set", "generate.few_shot=1", "--set", "seed=5")
    assert status == 2
    assert "generate.few_shot (2, now 1); seed (0, now 5)" in said
    more = ("--set", "limits.concurrency=2", "--target", "22", "--budget", "9")
    assert (await exit_of("run", path, "-o", folder, *more))[0] == 0
    configs.base.write_text(configs.base.read_text() + "\n")
    status, said = await exit_of("run", path, "-o", folder)
    assert (status, "dataset.path (the file's content)" in said) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "none.yaml"], "none.yaml: cannot be read: No such file or directory"),
        (["run", "CONFIG", "--set", "generate.target"], "must be KEY=VALUE"),
        (["run", "CONFIG", "--set", "generate.target=[1"], "is not a YAML value"),
        (["run", "CONFIG", "--set", "generate.few_shot=99"], "99 examples asked for, the dataset has 12"),
        (["run", "CONFIG", "--set", "dataset.path=none.jsonl"], "no such file"),
        (
            ["run", "CONFIG", "--set", "validators=[nobody]"],
            "there is no validator 'nobody'; installed: adherence, agree, code, constraints, difficulty, facts,",
        ),
        (
            ["run", "CONFIG", "--set", "validators=[{name: constraints, colour: red}]"],
            "validators: constraints: ",
        ),
        (["run", "CONFIG", "--set", "model.price=null", "--budget", "1"], "the price of 'm' is not known"),
        (["run", "CONFIG", "--set", "limits.tokens_per_minute=100"], "less than one call may take"),
        (["run", "CONFIG", "--set", "dataset.constraints=[{language: qq}]"], "'qq' cannot be told apart"),
        (["plan", "CONFIG", "--set", "generate.batch_sise=3"], "did you mean 'batch_size'?"),
        (["resume", "nowhere"], "holds no run"),
        (["status", "nowhere"], "holds no run"),
        (["export", "nowhere", "-o", "x"], "holds no run"),
        (["simulate", "--set", "wrong_labels=2"], "wrong_labels"),
        (["nonsense"], "No such command"),
        (["run"], "Missing argument"),
    ],
)
def test_2_bad_input_is_one_sentence_and_nothing_is_begun(
    arguments: list[str], said: str, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = configs.write("http://127.0.0.1:1/v1")
    result = INVOKE.invoke(app, [str(path) if argument == "CONFIG" else argument for argument in arguments])
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert not (tmp_path / "runs").exists()


def test_plan_tells_calls_tokens_and_dollars(configs: Configs) -> None:
    path = configs.write("http://127.0.0.1:1/v1", generate={"target": 300})
    result = INVOKE.invoke(app, ["plan", str(path), "--show-prompts", "2", "--budget", "0.01"])
    assert result.exit_code == 0, result.output
    assert "300 items: of" in result.output
    assert "stop at its cap of $0.01" in result.output
    assert result.output.count("Write exactly 3 new items") == 2


async def test_check_tries_everything(endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint(json_schema=False, no_usage=1.0)
    status, said = await exit_of("check", configs.write(url))
    assert (status, "endpoint             ok" in said, "costs will be estimated" in said) == (0, True, True)
    assert simulator.statistics.served == 2
    status, said = await exit_of("check", configs.write(url), "--set", "model.base_url=http://127.0.0.1:1/v1")
    assert (status, "endpoint             FAILED  cannot connect" in said) == (4, True)
    assert (await exit_of("check", configs.write(url), "--set", "seed=x"))[0] == 2


def test_doctor_and_help() -> None:
    doctor = INVOKE.invoke(app, ["doctor"])
    assert "import validators" in doctor.output
    assert "validator constraints" in doctor.output
    for command in ("run", "resume", "plan", "check", "status", "export", "simulate", "doctor"):
        assert INVOKE.invoke(app, [command, "--help"]).exit_code == 0
    assert "wrong_labels=0.56" in INVOKE.invoke(app, ["simulate", "--knobs"]).output


async def test_simulate_serves_until_interrupted() -> None:
    process = await datagen("simulate", "--port", "0", "--set", "seed=3")
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert "A simulation, not a language model, answers at http://127.0.0.1:" in line
    process.send_signal(signal.SIGINT)
    assert (await finished(process))[0] == 0


async def test_a_simulated_model_is_started_for_the_run(tmp_path: Path, configs: Configs) -> None:
    path = configs.write("http://unused", model="simulated")
    status, said = await exit_of("run", path, "-o", tmp_path / "run")
    assert status == 0, said
    path = configs.write("http://127.0.0.1:1/v1", model={"name": "simulated"})
    status, said = await exit_of("run", path, "-o", tmp_path / "another")
    assert status == 2
    assert "base_url has no effect beside a simulated endpoint" in said


async def test_the_golden_run(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    """Seed 0, the simulator's seed 0: these very items. A change here is a change for every user's runs."""
    url, _ = await endpoint()
    assert (await exit_of("run", configs.write(url, generate={"target": 3}), "-o", tmp_path / "run"))[0] == 0
    golden = Path(__file__).with_name("golden.jsonl")
    found = lines(tmp_path / "run" / "accepted.jsonl")
    for row in found:
        for verdict in row["_meta"]["verdicts"]:
            verdict["seconds"] = 0
    assert found == lines(golden)

"""Machines as they are: few descriptors, long paths, full disks, read-only folders, impatient people."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Configs, Start, datagen, finished, lines, run_in
from engine.flow.descriptors import OWN
from engine.store.reading import connect, read_lines

RUN = [sys.executable, "-m", "engine.cli"]


@pytest.mark.parametrize(("descriptors", "code"), [(20, 2), (OWN, 2), (OWN + 4, 0)])
async def test_calls_are_bounded_by_the_descriptors(
    descriptors: int, code: int, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint(latency_s=0.02)
    path = configs.write(url, generate={"target": 60, "batch_size": 1}, limits={"concurrency": 50})

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    process = await asyncio.create_subprocess_exec(
        *RUN, "run", str(path), "-o", str(tmp_path / "run"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=few,
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode == code, err.decode()
    assert b"ulimit -n" in err
    assert b"Traceback" not in err
    if code == 0:
        assert simulator.statistics.in_flight_peak <= 4


@pytest.mark.parametrize(
    "command",
    [["status"], ["report"], ["repair"], ["run"], ["check"], ["plan"], ["metrics"], ["convert"], ["resume"]],
)
async def test_a_path_of_300_characters_is_said(command: list[str], tmp_path: Path) -> None:
    code, out, err = await finished(await datagen(*command, str(tmp_path / ("x" * 300 + ".jsonl"))))
    assert code == 2, err
    assert "File name too long" in out + err
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
async def test_an_output_that_is_full_is_said(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    path = configs.write(url, generate={"target": 4})
    folder = tmp_path / "run"
    with open("/dev/full", "wb") as full:  # noqa: PTH123, ASYNC230 - a device
        process = await asyncio.create_subprocess_exec(
            *RUN, "run", str(path), "-o", str(folder), stdout=full, stderr=full
        )
        assert await process.wait() == 0, "the run is done, whoever hears of it"
        assert len(lines(folder / "accepted.jsonl")) == 4
        for command in (["status", folder], ["export", folder, "-o", "-"], ["plan", path], ["version"]):
            process = await asyncio.create_subprocess_exec(
                *RUN, *map(str, command), stdout=full, stderr=subprocess.PIPE
            )
            _, err = await process.communicate()
            assert process.returncode == 4, command
            assert len(err.strip().splitlines()) == 1, err


async def test_a_reader_that_has_read_enough(tmp_path: Path, configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint()
    path = configs.write(url)
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m engine.cli plan {path} --show-prompts 5000 | head -1", stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    _, err = await process.communicate()
    assert err == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_impatience_ends_no_run_by_a_signal(
    number: signal.Signals, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """Many in a row, at any moment of the finishing: the exit code is the run's own, and its files are whole."""
    url, _ = await endpoint(latency_s=0.02)
    path = configs.write(url, generate={"target": 12, "batch_size": 3})
    for seed in range(5):
        folder = tmp_path / f"run-{seed}"
        process = await datagen("run", path, "-o", folder)
        while not (folder / "run.db").exists():
            await asyncio.sleep(0.01)
        chance = random.Random(seed)
        await asyncio.sleep(0.4 + chance.random() * 0.2)
        while process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(
                    process.pid, number
                )  # process.send_signal would ask first whether it lives, and reap it
            await asyncio.sleep(chance.random() * 0.03)
        code, _, err = await finished(process)
        assert code in (0, 130), err
        assert "Traceback" not in err
        if code == 0 or (folder / "accepted.jsonl").exists():
            ids = [
                row["_meta"]["id"]
                for file in ("accepted", "rejected")
                for row in lines(folder / f"{file}.jsonl")
            ]
            assert len(ids) == len(set(ids))


async def test_a_read_only_folder_is_read_with_its_log(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what a killed run has not merged yet."""
    url, _ = await endpoint()
    folder = tmp_path / "run"
    await run_in(folder, configs.load(url, generate={"target": 6}))
    writer = sqlite3.connect(folder / "run.db")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("UPDATE starts SET counts = counts || ' '")
    writer.commit()
    assert (folder / "run.db-wal").stat().st_size
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with contextlib.closing(connect(folder / "run.db")) as connection:
        assert len(list(read_lines(connection, "accepted"))) == len(lines(folder / "accepted.jsonl"))
    writer.close()


async def test_a_setting_without_effect_is_said(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    path = configs.write(url, embedding={"model": "nope"}, generate={"target": 3})
    code, out, err = await finished(await datagen("check", path))
    assert (code, "embedding" in out, "has no effect" in out) == (0, True, True), err
    code, out, err = await finished(await datagen("run", path, "-o", tmp_path / "run"))
    assert (code, "embedding has no effect" in err) == (0, True)
    plain = configs.write(url, "plain.yaml", generate={"target": 3})
    code, out, err = await finished(await datagen("run", plain, "-o", tmp_path / "plain"))
    assert "has no effect" not in err
    code, out, err = await finished(await datagen("resume", tmp_path / "plain", "--target", "6"))
    assert (code, "has no effect" in err) == (0, False), err

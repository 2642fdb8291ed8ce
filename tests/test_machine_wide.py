"""Law 4 across processes: runs that name the machine-wide coordinator keep one rate for each endpoint and key."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, datagen, finished
from engine.errors import StoreError
from engine.llm.machine_wide import STALE_S, MachineWide, runtime_folder
from engine.llm.pacing import PERIOD
from test_limits import Clock, windows_hold


@given(
    st.integers(1, 5000),
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 50), st.floats(0, 5), st.booleans()), max_size=80),
)
def test_no_minute_of_all_runs_together_holds_too_many(
    tmp_path_factory: pytest.TempPathFactory, limit: int, calls: list[tuple[int, int, float, bool]]
) -> None:
    folder, clock = tmp_path_factory.mktemp("rates"), Clock()
    runs = [MachineWide(folder, clock).rate("e", "tokens", limit) for _ in range(3)]
    log = []
    for run, amount, pause, back in calls:
        clock.now += runs[run].wait(amount) + 1e-9
        assert runs[run].wait(amount) <= 1e-6
        entry = runs[run].take(amount)
        assert entry is not None
        used = min(amount, limit)
        if back:
            runs[(run + 1) % 3].give_back(entry, used // 2)
            used //= 2
        log.append((clock.now, float(used)))
        clock.now += pause
    for run in runs:
        run.close()
    assert windows_hold(log, limit)


def test_the_whole_rate_is_used(tmp_path: Path) -> None:
    clock = Clock()
    both = [MachineWide(tmp_path, clock).rate("e", "requests", 600) for _ in range(2)]
    sent, end = [0, 0], clock.now + 5 * PERIOD
    while clock.now < end:
        for number, rate in enumerate(both):
            while rate.wait() == 0:
                rate.take()
                sent[number] += 1
                if number == 0:
                    break
        clock.now += 0.02
    assert 0.98 < sum(sent) / 3000 <= 1.0
    for rate in both:
        rate.close()


_SENDER = """
import sys, time
from pathlib import Path
from engine.llm.machine_wide import MachineWide
rate = MachineWide(Path(sys.argv[1])).rate("e", "requests", 6000)
sent, end = [], time.monotonic() + 1.5
while time.monotonic() < end:
    wait = rate.wait()
    if wait:
        time.sleep(wait)
    elif rate.take() is not None:
        sent.append(time.monotonic())
print(sent)
"""


def test_three_processes_and_one_that_is_killed(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _SENDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    processes[0].kill()
    sent: list[float] = []
    for process in processes:
        out, _ = process.communicate()
        sent += orjson.loads(out) if out else []
    sent.sort()
    span = sent[-1] - sent[0]
    assert len(sent) <= 100 * (span + 0.1) + 10
    assert len(sent) > 90 * span


def test_what_two_have_seen_to_be_free_only_one_takes(tmp_path: Path) -> None:
    clock = Clock()
    first, second = (MachineWide(tmp_path, clock).rate("e", "requests", 1) for _ in range(2))
    assert first.wait() == second.wait() == 0
    assert first.take() is not None
    assert second.take() is None
    first.close()
    second.close()


def test_more_used_than_was_thought_is_not_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    rate = MachineWide(tmp_path, clock).rate("e", "tokens", 1000)
    entry = rate.take(1000)
    assert entry is not None
    rate.give_back(entry, 5000)
    assert rate.wait(1000) > 200
    rate.close()


def test_what_is_left_of_before_a_reboot_is_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = 10**6
    rate = MachineWide(tmp_path, clock).rate("e", "tokens", 100)
    rate.take(100)
    assert rate.wait(100) > 50
    clock.now = 5.0  # the monotonic clock begins anew
    assert rate.wait(100) == 0
    rate.close()


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "datagen").mkdir(mode=0o777)
    (tmp_path / "datagen").chmod(0o777)
    with pytest.raises(StoreError, match="remove it"):
        runtime_folder()


_HOLDER = """
import os, signal, sys, time
from pathlib import Path
from engine.llm.machine_wide import MachineWide
rate = MachineWide(Path(sys.argv[1])).rate("e", "requests", 600)
rate.take()
with rate._locked() as at:
    print("held", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
tries = 0
while rate.take() is None and tries < 100:
    tries += 1
    time.sleep(max(0.01, rate.wait()))
print(tries < 100 and not rate._file.replaced(), flush=True)
"""


async def test_a_stopped_process_that_has_the_lock_holds_up_nobody(tmp_path: Path) -> None:
    """The loop turns all the while; after a second the others go on, and so does the stopped one once it can."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLDER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    loop, longest, sent = asyncio.get_running_loop(), 0.0, 0
    one, other = (MachineWide(tmp_path).rate("e", "requests", 600) for _ in range(2))
    end = loop.time() + STALE_S + 3
    while loop.time() < end and sent < 10:
        began = loop.time()
        rate = one if sent % 2 else other
        wait = rate.wait()
        if wait == 0 and rate.take() is not None:
            sent += 1
        longest = max(longest, loop.time() - began)
        await asyncio.sleep(wait)
    assert sent == 10
    assert longest < 0.5
    holder.send_signal(signal.SIGCONT)
    assert b"True" in await holder.stdout.read()
    await holder.wait()
    one.close()
    other.close()


def test_a_correction_waits_for_the_lock(tmp_path: Path) -> None:
    clock = Clock()
    one, other = (MachineWide(tmp_path, clock).rate("e", "tokens", 1000) for _ in range(2))
    entry = one.take(1000)
    assert entry is not None
    with other._locked():
        one.give_back(entry, 100)
        assert one.take(1) is None
    assert one.wait(900) <= 1e-6 + one.wait(0)
    assert one._corrections == []
    one.close()
    other.close()


async def test_two_runs_share_one_limit(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone would keep the limit; together they would break it twice over."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    url, simulator = await endpoint(requests_per_minute=1800)
    path = configs.write(
        url,
        generate={"target": 45, "batch_size": 1},
        limits={"requests_per_minute": 1800, "share": "machine", "concurrency": 16},
    )
    started = [await datagen("run", path, "-o", tmp_path / name) for name in ("a", "b")]
    found = await asyncio.gather(*(finished(process) for process in started))
    assert [code for code, _, _ in found] == [0, 0]
    assert simulator.statistics.limit_violations == 0
    folder = tmp_path / "datagen"
    assert len(list(folder.iterdir())) == 1
    assert folder.stat().st_mode & 0o077 == 0


def test_the_file_can_be_taken_over_more_than_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And by two at the same time: the one that was first then follows to the last one's file."""
    clock = Clock()
    one, other = (MachineWide(tmp_path, clock).rate("e", "requests", 60) for _ in range(2))
    for first, second in ((one, other), (other, one), (one, other)):
        monkeypatch.setattr(second._file, "replaced", lambda: False)  # it looked just before
        first._take_over()
        second._take_over()
        first._checked = second._checked = 0.0  # half a second later
        assert first.take() is not None
        assert second.wait() > 0
        assert second.take() is None
        clock.now += PERIOD
    assert [path.name for path in tmp_path.iterdir()] == ["e.requests"]
    one.close()
    other.close()


def test_a_run_that_asks_seldom_takes_nothing_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, now = Clock(), [1000.0]
    one, other = (MachineWide(tmp_path, clock).rate("e", "requests", 600) for _ in range(2))
    monkeypatch.setattr("engine.llm.machine_wide.time.monotonic", lambda: now[0])
    before = (tmp_path / "e.requests").stat().st_ino
    for _ in range(3):
        with other._locked():
            assert one.take() is None
        now[0] += 2 * STALE_S
    assert (tmp_path / "e.requests").stat().st_ino == before
    one.close()
    other.close()

"""When a run stops early, and how it is spread over the time that there is."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from conftest import Configs, Start, contents, datagen, finished, lines, run_in
from engine.config import RunConfig
from engine.errors import ConfigError, NearlyAllRejected
from engine.stages.early_stopping import ACCEPTED, EarlyStopping
from engine.stages.progress import Progress
from engine.stages.schedule import EARLY, Schedule, next_time


def test_too_few_of_the_last_are_too_few() -> None:
    stopping = EarlyStopping(0.1, 50)
    fates = [ACCEPTED] * 100 + [("code", "answer_differs")] * 45
    assert not [fate for fate in fates if stopping.add(fate)]
    said = stopping.add(("code", "answer_differs"))
    assert isinstance(said, NearlyAllRejected)
    assert "of the last 50 items 4 were accepted (code answer_differs 46)" in str(said)


def test_a_limit_of_zero_never_stops() -> None:
    stopping = EarlyStopping(0.0, 20)
    assert not [1 for _ in range(100) if stopping.add(("x", "y"))]


async def test_a_run_that_gets_nowhere_stops_early(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    """Every reply holds the same text, so the group check rejects all but the first."""
    url, simulator = await endpoint()
    same = '{"items": [{"text": "How much is two and two?", "label": "4"}]}'
    from test_hostile import instead

    instead(simulator, 10**9, same)
    path = configs.write(
        url,
        generate={"target": 2000, "batch_size": 1},
        groupcheck={"same": "text"},
        limits={"acceptance_window": 100, "concurrency": 4},
    )
    code, out, _ = await finished(await datagen("run", path, "-o", tmp_path / "run"))
    assert code == 5
    assert "Stopped early: of the last 100 items 1 were accepted (groupcheck" in out
    assert "least_acceptance" in out
    assert simulator.statistics.served < 300
    assert len(lines(tmp_path / "run" / "accepted.jsonl")) == 1
    code, out, _ = await finished(await datagen("resume", tmp_path / "run", "--set", "limits.least_acceptance=0",
                                                "--set", "limits.attempts=1"))  # fmt: skip
    assert code == 5
    assert "Attempts are exhausted" in out


async def test_it_stops_at_the_same_place_whatever_the_timing(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    found = []
    for number, latency in enumerate((0.0, 0.02)):
        url, _ = await endpoint(refusals=0.85, latency_s=latency, latency_p99_s=latency * 3 or None)
        config = configs.load(
            url,
            generate={"target": 500, "batch_size": 1},
            limits={"least_acceptance": 0.2, "acceptance_window": 40, "concurrency": 16},
        )
        report = await run_in(tmp_path / str(number), config)
        assert report.outcome == "attempts"
        assert report.data["stopped_early"]
        found.append(contents(tmp_path / str(number) / "accepted.jsonl"))
    shorter, longer = sorted(found, key=len)
    assert longer[: len(shorter)] == shorter


def test_the_next_time_of_day() -> None:
    noon = datetime(2026, 11, 25, 12, 0).timestamp()
    assert next_time("13:30", noon) - noon == 5400
    assert next_time("07:00", noon) - noon == 19 * 3600
    assert next_time("12:00", noon) - noon == 24 * 3600


@pytest.mark.parametrize("step", [0.0, -1800.0, 1800.0])
def test_a_run_is_spread_until_its_time(step: float) -> None:
    """Also where the clock is set in the middle of it: it ends by the clock on the wall."""
    now = datetime(2026, 11, 25, 22, 0).timestamp()
    schedule = Schedule("06:00", 5, lambda: now)
    progress = Progress(target=1000)
    end, stepped = schedule.end, False
    issued: list[float] = []
    while progress.accepted < 1000:
        if (seconds := schedule.wait(progress)) > 0:
            now += min(seconds, 60)
        else:
            schedule.begun()
            issued.append(now)
            progress.accepted += 4
            progress.rejected += 1
        if not stepped and progress.accepted > 500:
            now, stepped = now + step, True
    assert 0.85 < (now - issued[0]) / (end - issued[0]) <= EARLY + 0.01
    if not step:
        gaps = [later - at for at, later in pairwise(issued)]
        assert max(gaps) < 3 * sorted(gaps)[len(gaps) // 2]


def test_past_its_end_nothing_is_held_up() -> None:
    now = datetime(2026, 11, 25, 22, 0).timestamp()
    schedule = Schedule("23:00", 5, lambda: now)
    now += 3600
    assert schedule.wait(Progress(target=1000)) == 0


def test_a_time_without_quotes_is_understood(configs: Configs) -> None:
    """YAML reads 17:00 as 1020."""
    path = configs.write("http://127.0.0.1:9/v1")
    text = path.read_text().replace("concurrency: 8", "concurrency: 8\n  finish_by: 17:00\n  hedge: true")
    path.write_text(text)
    limits = RunConfig.load(path).limits
    assert limits.finish_by == "17:00"
    assert limits.hedge is not None
    assert limits.hedge.after == 0.95


@pytest.mark.parametrize("value", ["7am", "24:00", "06:60", 5000])
def test_a_time_of_day_is_checked(value: Any, configs: Configs) -> None:
    with pytest.raises(ConfigError, match=r"limits\.finish_by"):
        configs.load("http://127.0.0.1:9/v1", limits={"finish_by": value})

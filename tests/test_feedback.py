"""What people say of items, and what is learnt from those turned away, reaches the generator; or is dropped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, contents, datagen, finished, lines, run_in, when_served
from engine.config.generate import LearnConfig
from engine.escaping import printable
from engine.items import PICO
from engine.planning.delayed import BatchOutcome, Mistake
from engine.planning.feedback import Adviser, Lessons
from engine.planning.lessons import lessons_in

MISTAKE = Mistake("code", "unverified", "no program agrees", "A text")


def outcome(number: int, accepted: int, mistakes: int) -> BatchOutcome:
    return BatchOutcome(number, "", accepted, PICO // 100, (), accepted + mistakes, (MISTAKE,) * mistakes)


async def drawn(number: int, mistakes: Sequence[Mistake], before: Sequence[str]) -> tuple[str, ...]:
    return (f"lesson {number} of {len(mistakes)}",)


def learning(every: int = 10, lag: int = 4, control: float = 0.25) -> Lessons:
    return Lessons(LearnConfig(every=every, control=control), lag, drawn, priced=True)


async def test_a_lesson_is_drawn_once_so_many_are_turned_away_and_is_due() -> None:
    lessons = learning()
    given = []
    for number in range(12):
        given.append(await lessons.lesson(number))
        lessons.delayed.add(outcome(number, 1, 4))
    # The third batch brings the mistakes to 12; it is due four batches later.
    assert given[:6] == [None] * 6
    assert set(given[6:9]) <= {0, 1}
    assert lessons.drawn[:1] == [("lesson 1 of 12",)]
    assert lessons.texts(1) == ("lesson 1 of 12",)
    assert lessons.texts(0) == lessons.texts(None) == ()


@pytest.mark.parametrize(("with_", "without", "off"), [(4, 2, False), (2, 4, True), (3, 3, True)])
async def test_lessons_that_do_not_pay_are_dropped(with_: int, without: int, off: bool) -> None:
    lessons = learning()
    shares: dict[int | None, int] = {}
    for number in range(400):
        lesson = await lessons.lesson(number)
        shares[bool(lesson)] = shares.get(bool(lesson), 0) + 1
        accepted = with_ if lesson else without
        lessons.delayed.add(outcome(number, accepted, 5 - accepted))
    assert lessons.off is off
    assert (lessons.as_dict()["dropped_at_batch"] is None) is not off
    assert await lessons.lesson(400) in ((0,) if off else (0, len(lessons.drawn)))
    if not off:
        assert shares[False] == pytest.approx(100, abs=10)


@given(st.lists(st.integers(0, 5), min_size=20, max_size=60), st.integers(1, 59))
async def test_a_resumed_run_is_advised_alike(accepted: list[int], cut: int) -> None:
    outcomes = [outcome(number, count, 5 - count) for number, count in enumerate(accepted)]
    cut = min(cut, len(outcomes) - 1)
    whole = Adviser(("a", "b"), 5, learning())
    told = []
    for number in range(len(outcomes)):
        told.append(await whole.advice(number))
        whole.observe(outcomes[number])
    again = Adviser(("a", "b"), 5, learning())
    made = [(number, advice.as_dict()) for number, advice in enumerate(told[: cut + 1])]
    await again.restore(made, outcomes[:cut], cut)
    for number in range(cut, len(outcomes)):
        advice = await again.advice(number)
        assert advice == told[number]
        assert again.texts(advice) == whole.texts(told[number])
        again.observe(outcomes[number])


def test_lessons_out_of_a_reply() -> None:
    assert lessons_in('{"lessons": ["Mind  the\\n units.", "", 3]}') == ("Mind the units.",)
    assert lessons_in('{"lessons": []}') is None
    assert lessons_in("no") is None
    assert len(lessons_in(orjson.dumps({"lessons": ["x" * 999] * 99}).decode()) or ()) == 6


async def test_lessons_raise_the_acceptance_and_survive_a_kill(configs: Configs, endpoint: Start) -> None:
    knobs = {"kind": "word_problems", "wrong_labels": 0.6, "heeds_lessons": 0.9}
    sections: dict[str, Any] = {
        "generate": {"target": 150, "learn_from_mistakes": {"every": 20}},
        "validators": ["code"],
        "limits": {"concurrency": 4, "attempts": 20},
    }
    url, _ = await endpoint(**knobs)
    report = await run_in(configs.folder / "whole", configs.load(url, **sections))
    found = report.data["lessons"]
    assert found["drawn"] >= 2
    assert found["dropped_at_batch"] is None
    assert "unverified" in found["lessons"][0]
    arms = found["acceptance"]
    assert arms["with"]["acceptance"] > arms["before"]["acceptance"] + 0.2
    assert arms["with"]["acceptance"] > arms["without"]["acceptance"] + 0.2
    assert report.data["calls"]["by_purpose"]["lessons"] >= found["drawn"]

    url, simulator = await endpoint(**knobs)
    path = configs.write(url, **sections)
    served = when_served(simulator, 150)
    process = await datagen("run", path, "-o", configs.folder / "killed")
    await asyncio.wait_for(served.wait(), 60)
    process.kill()
    await process.wait()
    status, _, err = await finished(await datagen("run", path, "-o", configs.folder / "killed"))
    assert status == 0, err
    killed, whole = (contents(configs.folder / name / "accepted.jsonl") for name in ("killed", "whole"))
    assert killed == whole


async def test_lessons_that_bring_nothing_are_dropped_in_a_run(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint(kind="word_problems", wrong_labels=0.5, heeds_lessons=0.0)
    config = configs.load(
        url,
        generate={"target": 300, "learn_from_mistakes": {"every": 10, "control": 0.5}},
        validators=["code"],
        limits={"concurrency": 2, "attempts": 20},
    )
    report = await run_in(configs.folder / "run", config)
    assert report.data["lessons"]["drawn"] >= 1
    assert report.outcome == "target"
    # Lessons cost tokens and bring nothing here; by chance alone they may seem to for a while.
    assert report.data["lessons"]["dropped_at_batch"] is not None


async def reviewed(folder: Path, said: str, *options: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "engine.cli", "review", folder, *options,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate(said.encode())
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_notes_guide_what_comes_later_and_rejections_are_made_up_for(
    configs: Configs, endpoint: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, simulator = await endpoint(kind="word_problems")
    folder = configs.folder / "run"
    await run_in(folder, configs.load(url, generate={"target": 12}))
    before = {row["_meta"]["id"]: row for row in lines(folder / "accepted.jsonl")}
    out = await reviewed(folder, "x\na\nr too easy ``` now\nn\nmore about trains\ns\nq\n")
    assert "Please answer with one of these letters." in out
    assert "Reviewed so far: 1 accepted, 1 rejected, 1 noted. 11 items are accepted." in out
    assert f"datagen resume {folder} --set generate.feedback=human" in out
    [away] = lines(folder / "rejected.jsonl")
    assert away["_meta"]["rejected_by"] == "review"
    assert away["_meta"]["verdicts"][-1]["feedback"] == "too easy ``` now"
    assert len(lines(folder / "accepted.jsonl")) == 11
    report = orjson.loads((folder / "report.json").read_bytes())
    assert report["items"]["rejected_by"] == {"review": 1}

    seen: list[str] = []
    read = simulator._read

    def reading(request: Any, body: bytes, *arguments: Any) -> Any:
        seen.append(orjson.loads(body)["messages"][-1]["content"])
        return read(request, body, *arguments)

    monkeypatch.setattr(simulator, "_read", reading)
    status, _, err = await finished(
        await datagen("resume", folder, "--set", "generate.feedback=human", "--set", "generate.target=14")
    )
    assert status == 0, err
    after = {row["_meta"]["id"]: row for row in lines(folder / "accepted.jsonl")}
    assert len(after) == 14
    assert away["_meta"]["id"] not in after
    assert len(set(after) - set(before)) == 3
    assert seen
    for prompt in seen:
        assert "Reviewers said this of earlier items" in prompt
        assert '"note":"too easy ``` now","decision":"reject"' in prompt
        assert "more about trains" in prompt
    out = await reviewed(folder, "", "-n", "3")
    assert "1 of 3" in out  # the end of the input ends the review
    assert len(lines(folder / "accepted.jsonl")) == 14


async def test_a_run_that_is_running_is_not_reviewed(configs: Configs, endpoint: Start) -> None:
    url, simulator = await endpoint(latency_s=0.3)
    served = when_served(simulator, 1)
    path = configs.write(url, generate={"target": 500}, limits={"concurrency": 2})
    process = await datagen("run", path, "-o", configs.folder / "run")
    await asyncio.wait_for(served.wait(), 60)
    status, _, err = await finished(await datagen("review", configs.folder / "run"))
    process.kill()
    await process.wait()
    assert (status, "another process is running" in err) == (2, True)


def test_an_item_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\r\u202ec\n\td") == "a<U+001B>[2Jb<U+000D><U+202E>c\n\td"


async def test_a_drawing_that_yields_nothing_is_a_call_of_its_own() -> None:
    keys: list[int] = []

    async def draw(number: int, mistakes: Sequence[Mistake], before: Sequence[str]) -> tuple[str, ...] | None:
        keys.append(number)
        return None if number < 3 else (f"lesson {number}",)

    lessons = Lessons(LearnConfig(every=5), 2, draw, priced=False)
    for number in range(12):
        await lessons.lesson(number)
        lessons.delayed.add(outcome(number, 0, 5))
    assert keys == list(range(1, len(keys) + 1))
    assert lessons.texts(1) == ("lesson 3",)
    assert lessons.texts(99) == lessons.drawn[-1]  # of settings that have changed since


async def test_a_small_run_learns_too(configs: Configs, endpoint: Start) -> None:
    """Without a concurrency, as a config that says nothing of it."""
    url, _ = await endpoint(kind="word_problems", wrong_labels=0.6, heeds_lessons=0.9)
    config = configs.load(
        url,
        generate={"target": 120, "learn_from_mistakes": {"every": 20}},
        validators=["code"],
        limits={"concurrency": None},
    )
    report = await run_in(configs.folder / "run", config)
    assert report.data["lessons"]["drawn"] >= 1

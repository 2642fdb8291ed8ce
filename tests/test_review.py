"""Decisions in the browser: kept beside the run, taken in once, taken back, never against uniqueness; by keys alone."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, Start, datagen, finished, held, lines, when_served
from engine.runs.decisions import take_in
from engine.store.folder import RunFolder
from engine.store.pending import Pending, append, read_pending
from engine.store.reading import connect, read_notes, read_reviews
from engine.view import deciding
from engine.view.folders import key_of
from test_view import a_run, browsing, needs_browser, text_of, visiting


@pytest.fixture
async def run(configs: Configs, endpoint: Start, tmp_path: Path) -> RunFolder:
    await a_run(configs, endpoint, tmp_path / "run", observe={"page": False})
    return RunFolder(tmp_path / "run")


def numbers(run: RunFolder, state: str, but: tuple[str, ...] = ()) -> list[int]:
    with contextlib.closing(connect(run.database)) as connection:
        rows = connection.execute(
            "SELECT item, rejected_by FROM items WHERE state = ? ORDER BY item", (state,)
        )
        return [item for item, by in rows if by not in but]


def contents(run: RunFolder) -> list[Any]:
    """The items as they stand, and what is said of them; not when."""
    with contextlib.closing(connect(run.database)) as connection:
        items = connection.execute(
            "SELECT item, state, rejected_by, record, meta FROM items ORDER BY item"
        ).fetchall()
        return [
            *items,
            [(each.item, each.decision, each.note, each.undone) for each in read_reviews(connection)],
        ]


async def test_decisions_give_fates_and_files(run: RunFolder) -> None:
    one, two, three = numbers(run, "accepted")[:3]
    away = numbers(run, "rejected", ("groupcheck", "repeats"))[0]
    append(run, Pending("reject", [one], "ann", "too easy"))
    append(
        run, Pending("edit", [two], "ann", record={"question": "How many legs have 7 cats?", "answer": "28"})
    )
    append(run, Pending("note", [three], "bob", "more of these"))
    append(run, Pending("accept", [away], "bob"))
    append(run, Pending("right", [three], "bob", scores={"clear": 4}))
    assert await asyncio.to_thread(take_in, run) == 5
    accepted, rejected = lines(run.accepted), lines(run.rejected)
    by_number = {each["_meta"]["id"]: each for each in (*accepted, *rejected)}
    assert numbers(run, "rejected").count(one) == 1
    assert by_number[_id(one)]["_meta"]["verdicts"][-1] == {
        "by": "review", "verdict": "reject", "seconds": 0.0, "reason": "human", "feedback": "too easy"
    }  # fmt: skip
    edited = by_number[_id(two)]
    assert (edited["question"], edited["answer"]) == ("How many legs have 7 cats?", "28")
    assert set(edited["_meta"]["verdicts"][-1]["record"]["before"]) == {"question", "answer"}
    assert _id(away) in {each["_meta"]["id"] for each in accepted}
    assert "rejected_by" not in by_number[_id(away)]["_meta"]
    with contextlib.closing(connect(run.database)) as connection:
        assert [orjson.loads(each)["note"] for each in read_notes(connection)] == [
            "too easy",
            "more of these",
        ]
        assert connection.execute("SELECT person, right FROM opinions").fetchall() == [("bob", 1)]
        assert not connection.execute("SELECT 1 FROM vectors WHERE item = ?", (two,)).fetchall()
    assert not run.pending.exists()


def _id(number: int) -> str:
    return f"{number >> 16}-{number & 0xFFFF}"


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_taken_in_bit_by_bit_or_twice_is_the_same(
    run: RunFolder, seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    items = numbers(run, "accepted")[:4] + numbers(run, "rejected")[:3]
    kinds = ("accept", "reject", "note", "edit", "undo")
    decisions = [
        Pending(kind := chance.choice(kinds), chance.sample(items, chance.randint(1, 2)), chance.choice("ab"),
                note="said" if kind == "note" else "", record={"answer": str(n)} if kind == "edit" else None)
        for n in range(12)
    ]  # fmt: skip
    other = RunFolder(tmp_path / "other")
    shutil.copytree(run.path, other.path)
    for each in decisions:
        append(run, each)
    await asyncio.to_thread(take_in, run)
    for each in decisions:
        append(other, each)
        if chance.random() < 0.3:
            append(other, each)  # as after a kill between the journal and the file
            await asyncio.to_thread(take_in, other)
    await asyncio.to_thread(take_in, other)
    assert contents(run) == contents(other)
    assert run.accepted.read_bytes() == other.accepted.read_bytes()


async def test_everything_can_be_taken_back(run: RunFolder) -> None:
    before = contents(run)[:-1]
    items = numbers(run, "accepted")[:3]
    append(run, Pending("reject", items, "ann"))
    append(run, Pending("edit", [items[0]], "ann", record={"answer": "-1"}))
    append(run, Pending("edit", [items[1]], "bob", record={"answer": "-2"}))
    append(run, Pending("undo", [items[1]], "ann"))  # bob has decided since
    append(run, Pending("undo", [items[1]], "bob"))
    append(run, Pending("undo", [items[0]], "ann"))
    append(run, Pending("undo", items, "ann"))
    said: list[str] = []
    await asyncio.to_thread(take_in, run, said.append)
    assert contents(run)[:-1] == before
    assert len(said) == 1
    assert "somebody else has decided since" in said[0]
    with contextlib.closing(connect(run.database)) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM reviews WHERE NOT undone AND decision NOT IN ('undo', 'refused')"
        )
        assert rows.fetchone() == (0,)


async def test_nobody_rescues_a_second_of_its_kind(run: RunFolder) -> None:
    """Neither by its text nor by its meaning; nor does an edit make one, or what is taken back."""
    one, two, three = numbers(run, "accepted")[:3]
    away = numbers(run, "rejected", ("groupcheck", "repeats"))[0]
    with contextlib.closing(connect(run.database)) as connection:
        texts = dict(connection.execute("SELECT item, json_extract(record, '$.question') FROM items"))
    append(run, Pending("edit", [away], "ann", record={"question": f"  {texts[one].upper()}"}))
    append(run, Pending("accept", [away], "ann"))
    append(run, Pending("edit", [two], "ann", record={"question": f"{texts[three]} Well?"}))
    append(run, Pending("reject", [three], "ann"))
    append(run, Pending("edit", [two], "bob", record={"question": f"{texts[three]} Well?"}))
    append(run, Pending("undo", [three], "ann"))
    said: list[str] = []
    await asyncio.to_thread(take_in, run, said.append)
    first, second, third = said
    assert f"its text is that of {_id(one)}" in first
    assert f"it is too near to {_id(three)}" in second
    assert f"it is too near to {_id(two)}" in third
    assert {one, two} <= set(numbers(run, "accepted"))
    assert {away, three} <= set(numbers(run, "rejected"))


async def test_the_policy_is_that_of_the_run_not_only_of_its_config(
    configs: Configs, endpoint: Start, tmp_path: Path
) -> None:
    """`same: auto` is settled by the dataset: the journal knows as what."""
    await a_run(configs, endpoint, tmp_path / "run", groupcheck={}, observe={"page": False})
    run = RunFolder(tmp_path / "run")
    one, two = numbers(run, "accepted")[:2]
    with contextlib.closing(connect(run.database)) as connection:
        texts = dict(connection.execute("SELECT item, json_extract(record, '$.question') FROM items"))
    append(run, Pending("edit", [two], "ann", record={"question": f"{texts[one]} Well?"}))
    append(
        run,
        Pending("edit", [one], "ann", record={"question": "How many legs have 91 cats?", "answer": "364"}),
    )
    said: list[str] = []
    await asyncio.to_thread(take_in, run, said.append)
    assert [f"it is too near to {_id(one)}" in each for each in said] == [True]


async def test_what_cannot_be_taken_in_waits_and_says_why(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(folder: RunFolder) -> int:
        raise KeyError("something unforeseen")

    monkeypatch.setattr(deciding, "take_in", failing)
    monkeypatch.setattr(deciding, "_RESTS_S", 0.01)
    async with visiting(run.path) as (there, visitor):
        base = f"/r/{key_of(run.path)}/review"
        token = _token(await text_of(visitor, there, base))
        form = {"form_token": token, "item": _id(numbers(run, "accepted")[0]), "decision": "accept"}
        async with visitor.post(f"http://127.0.0.1:{there.port}{base}", data=form) as answer:
            assert answer.status == 200
        async with asyncio.timeout(60):
            while "something unforeseen" not in await text_of(visitor, there, base):
                await asyncio.sleep(0.05)
    assert [each.decision for each in read_pending(run)] == ["accept"]
    monkeypatch.undo()
    assert await asyncio.to_thread(take_in, run) == 1


async def test_a_line_that_was_cut_off_costs_itself(run: RunFolder) -> None:
    append(run, Pending("note", [0], "ann", "one"))
    with run.pending.open("ab") as file:
        file.write(b'{"decision": "reject", "ite')
    append(run, Pending("note", [0], "ann", "two"))
    assert [each.note for each in read_pending(run)] == ["one", "two"]


async def test_lines_that_make_no_sense_are_none(run: RunFolder) -> None:
    append(run, Pending("note", [0], "ann", "good"))
    good = orjson.loads(run.pending.read_bytes())
    wrong: dict[str, list[Any]] = {
        "items": ["0-0", 7, ["0"], [-1], [True], [1 << 62], None], "note": [5, None], "person": [["a"]], "at": ["now"],
        "key": [None], "record": [[], "x"], "scores": [[], {"clear": "5"}], "decision": ["drop", 3, None],
    }  # fmt: skip
    with run.pending.open("ab") as file:
        for name, values in wrong.items():
            file.writelines(orjson.dumps({**good, "key": "k", name: value}) + b"\n" for value in values)
        file.write(b'[1]\n"x"\nnull\n{}\n\xff\n')
    assert [each.note for each in read_pending(run)] == ["good"]
    assert await asyncio.to_thread(take_in, run) == 1


async def test_a_run_takes_in_what_was_decided_while_it_went_on(
    configs: Configs, endpoint: Start, tmp_path: Path
) -> None:
    url, simulator = await endpoint(kind="word_problems", latency_s=0.05)
    path, folder = (
        configs.write(url, generate={"target": 60}, limits={"concurrency": 2}),
        RunFolder(tmp_path / "run"),
    )
    some, decided = when_served(simulator, 12), asyncio.Event()
    held(simulator, decided, after=12)
    process = await datagen("run", path, "-o", folder.path)
    await asyncio.wait_for(some.wait(), 60)
    async with visiting(folder.path) as (there, visitor):
        base = f"/r/{key_of(folder.path)}"
        token = _token(await text_of(visitor, there, f"{base}/review?at=0-0"))
        form = {"form_token": token, "item": "0-0", "decision": "reject", "note": "while it ran"}
        async with visitor.post(f"http://127.0.0.1:{there.port}{base}/review?who=ann", data=form) as answer:
            assert answer.status == 200
        assert "waits" in await text_of(visitor, there, f"{base}/review?at=0-0&who=ann")
        decided.set()
        status, _, err = await finished(process)
    assert status == 0
    assert "Taken in what people have decided: 1 decision." in err
    assert "Going on: 1 item fewer" in err
    assert len(lines(folder.accepted)) == 60
    [away] = [each for each in lines(folder.rejected) if each["_meta"]["id"] == "0-0"]
    assert away["_meta"]["rejected_by"] == "review"


def _token(page: str) -> str:
    return page.partition('name="form_token" value="')[2].partition('"')[0]


async def test_only_pages_of_the_view_decide(run: RunFolder) -> None:
    async with visiting(run.path) as (there, visitor):
        place = f"http://127.0.0.1:{there.port}/r/{key_of(run.path)}/review"
        token = _token(await text_of(visitor, there, f"/r/{key_of(run.path)}/review"))
        good = {"form_token": token, "item": _id(numbers(run, "accepted")[0]), "decision": "reject"}
        elsewhere = {"Origin": "http://evil.example"}
        for form, headers in (
            ({**good, "form_token": "x"}, {}),
            ({**good, "form_token": ""}, {}),
            (good, elsewhere),
        ):
            async with visitor.post(place, data=form, headers=headers) as answer:
                assert answer.status == 403
        assert not run.pending.exists()
        for form, status, said in (
            ({**good, "decision": "drop"}, 400, "no such decision"),
            ({**good, "decision": "note"}, 422, "needs words"),
            ({**good, "decision": "edit"}, 422, "nothing is changed"),
            ({**good, "decision": "edit", "field:question": " "}, 422, "would not be one of this dataset"),
            ({**good, "decision": "accept", "item": _repeat(run)}, 422, "not for a person to overrule"),
        ):
            async with visitor.post(place, data=form) as answer:
                assert (answer.status, said in await answer.text()) == (status, True), await answer.text()
        assert not run.pending.exists()
        for count, status in (("3", 409), (str(len(numbers(run, "accepted"))), 200)):
            form = {"form_token": token, "decision": "reject", "count": count}
            async with visitor.post(f"{place}/all?state=accepted&who=ann", data=form) as answer:
                assert answer.status == status
    assert numbers(run, "accepted") == []  # taken in when the server ended
    assert orjson.loads(run.report.read_bytes())["items"]["rejected_by"]["review"] == 40


def _repeat(run: RunFolder) -> str:
    with contextlib.closing(sqlite3.connect(run.database)) as connection:
        [item] = connection.execute("SELECT item FROM items WHERE rejected_by = 'groupcheck'").fetchone()
    return _id(item)


@needs_browser
async def test_forty_by_keys(run: RunFolder) -> None:
    """Accept, reject with a note, edit, skip, take back: no hand leaves the keys."""
    async with visiting(run.path) as (there, _), browsing(there) as (page, _):
        await page.goto(f"http://127.0.0.1:{there.port}/r/{key_of(run.path)}/review?who=ann")

        async def item() -> str:
            return str(await page.locator("h2 a").first.inner_text())

        async def press(*keys: str) -> str:
            before = page.url
            for key in keys:
                await page.keyboard.press(key)
            await page.wait_for_url(lambda url: url != before)
            return await item()

        first = await item()
        second = await press("a")
        assert second != first
        await page.keyboard.press("w")
        await page.keyboard.type("asks nothing")
        third = await press("Escape", "r")
        fourth = await press("s")
        await page.keyboard.press("e")
        await page.keyboard.press("Control+A")
        await page.keyboard.type("How many legs have 9 cats?")
        await page.get_by_role("button", name="Keep what is edited").click()
        await page.wait_for_url(f"**after={fourth}*")
        fifth = await item()
        await press("r")
        assert await press("u") == fifth
        assert len({first, second, third, fourth, fifth}) == 5
    told = {each["_meta"]["id"]: each for each in (*lines(run.accepted), *lines(run.rejected))}
    assert told[second]["_meta"]["verdicts"][-1]["feedback"] == "asks nothing"
    assert told[fourth]["question"] == "How many legs have 9 cats?"
    with contextlib.closing(connect(run.database)) as connection:
        made = [(_id(each.item), each.decision, each.undone) for each in read_reviews(connection)]
    assert made == [
        (first, "accept", 0), (second, "reject", 0), (fourth, "edit", 0), (fifth, "reject", 1), (fifth, "undo", 0)
    ]  # fmt: skip


async def test_two_reviewers_and_how_far_they_agree(run: RunFolder) -> None:
    async with visiting(run.path) as (there, visitor):
        base = f"/r/{key_of(run.path)}/review"
        seen: dict[str, list[str]] = {"ann": [], "bob": []}
        for who, answers in (("ann", "right wrong right right"), ("bob", "right wrong wrong right")):
            for answer in answers.split():
                text = await text_of(
                    visitor, there, f"{base}?way=judge&who={who}&blind=1&criterion=clear%3D3"
                )
                item = text.partition('name="item" value="')[2].partition('"')[0]
                assert 'class="fate accepted"' not in text
                seen[who].append(item)
                form = {"form_token": _token(text), "item": item, "decision": answer, "score:clear": "2"}
                place = f"http://127.0.0.1:{there.port}{base}?way=judge&who={who}&criterion=clear%3D3"
                async with visitor.post(place, data=form) as posted:
                    assert posted.status == 200
            await asyncio.sleep(2.5)  # it rests, and is taken in
        assert seen["ann"] == seen["bob"]  # first what others have judged
        people = await text_of(visitor, there, f"{base}/people")
    assert "ann and bob" in people
    assert "clear: 2 on average" in people
    assert "95 %" in people

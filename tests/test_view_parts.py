"""The parts of the view that need no server: addresses, searches, differences, the index, and files of others."""

from __future__ import annotations

import hashlib
import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ROOT, Configs, Start
from engine.config import FieldsConfig
from engine.dataset.fields import Fields
from engine.items import PICO, POSITIONS
from engine.runs.api import arun
from engine.store.folder import RunFolder
from engine.store.journal import set_up
from engine.view.diff import word_diff
from engine.view.evidence import programs_of, quotes_of
from engine.view.filters import SORTS, Filter, facets_of, number_of
from engine.view.index import Index
from engine.view.live import standing
from engine.view.neighbours import read_neighbours
from engine.view.pages import highlighted
from engine.view.tokens import TOKENIZER, query, searchable
from hostile_strings import hostile_strings

WORDS = ["train", "tram", "Straße", "café", "18", "x_1", "東京都", "ราคา", "кот", "قطار"]


# --- addresses ---------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
several = st.lists(texts.filter(bool), max_size=2).map(tuple)
filters = st.builds(
    Filter,
    q=texts, state=texts, by=texts, reason=texts, label=st.none() | texts, strategy=texts, model=texts,
    verdict=several, attr=several,
    batch=texts, review=texts, revised=texts, items=texts, cost_min=texts, cost_max=texts, cols=texts,
    sort=st.sampled_from(list(SORTS)), page=st.integers(1, 10**7),
)  # fmt: skip


@given(filters)
def test_a_filter_is_its_address(filter_: Filter) -> None:
    address = filter_.address(page=filter_.page)
    assert Filter.read(parse_qsl(address.removeprefix("?"), keep_blank_values=True)) == filter_


@given(st.lists(st.tuples(st.sampled_from([*vars(Filter()), "page", "token", "x"]), texts)))
def test_any_address_is_a_filter(pairs: list[tuple[str, str]]) -> None:
    filter_ = Filter.read(pairs)
    assert filter_.page >= 1
    assert filter_.sort in SORTS
    filter_.batches(), filter_.numbers(), filter_.costs()


@given(filters, texts.filter(bool))
def test_a_value_is_chosen_and_let_go_again(filter_: Filter, value: str) -> None:
    for name in ("state", "verdict", "label"):
        there = Filter.read(parse_qsl(filter_.with_value(name, value)[1:], keep_blank_values=True))
        if not filter_.has(name, value):
            assert there.has(name, value)
        back = Filter.read(parse_qsl(there.with_value(name, value)[1:], keep_blank_values=True))
        assert back.has(name, value) != there.has(name, value)


def test_ids() -> None:
    assert number_of("3-1") == 3 * POSITIONS + 1
    for wrong in ("", "3", "-1", "3-", "3--1", "3-65536", "a-1", "1" * 13 + "-1", "3-1/..", "\u0663-1x"):
        assert number_of(wrong) is None


def test_a_facet_of_one_value_tells_nothing() -> None:
    counted = {"state": ("fate", {"accepted": 3}), "model": ("model", {"a": 2, "b": 1})}
    assert [each.name for each in facets_of(counted, Filter())] == ["model"]
    assert [each.name for each in facets_of(counted, Filter(state="accepted"))] == ["state", "model"]


# --- searches ----------------------------------------------------------------------------------------


def searching(*said: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute(
        f"CREATE VIRTUAL TABLE words USING fts5(text, content='', detail=none, tokenize={TOKENIZER})"
    )
    for number, text in enumerate(said):
        connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, searchable(text)))
    return connection


def found(connection: sqlite3.Connection, asked: str) -> list[int]:
    said = query(asked)
    return (
        [row for (row,) in connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (said,))]
        if said
        else []
    )


@given(st.text())
def test_whatever_is_typed_is_searched_for(typed: str) -> None:
    connection = searching("nothing")
    found(connection, typed)
    connection.close()


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.randoms())
def test_words_are_found_in_any_order(words: list[str], chance: random.Random) -> None:
    connection = searching(" and ".join(words), "other")
    chance.shuffle(words)
    assert found(connection, " ".join(words)) == [0]
    connection.close()


@pytest.mark.parametrize(
    ("text", "asked", "there"),
    [
        ("The train to Bern", "train bern", True),
        ("The train to Bern", "trai", True),  # the last word may be unfinished
        ("The train to Bern", "trai bern", False),
        ("The train to Bern", "train -bern", False),
        ("The train to Bern", "train -rome", True),
        ("Café", "cafe", True),
        ("STRASSE", "strasse", True),
        ("東京都に住む", "京都", True),  # a sign that two words share is found in both
        ("東京都に住む", "東京", True),
        ("東京都に住む", "住", True),
        ("東京都に住む", "大阪", False),
        ("買った3個", "3個", True),
        ("What is 1,200 * 3?", "1,200", True),
        ('say "no"', '"no"', True),
        ("a AND b", "AND", True),
        ("x_1 and y", "x_1", True),
        ("\u0915\u093f\u0924\u093e\u092c", "\u0915\u093f\u0924\u093e\u092c", True),
        ("\u0e23\u0e32\u0e04\u0e32\u0e16\u0e39\u0e01", "\u0e16\u0e39\u0e01", True),
        ("\uff34\uff52\uff41\uff49\uff4e", "train", True),
        ("plain", "NEAR( * ^ : col:x", False),
    ],
)
def test_searches(text: str, asked: str, there: bool) -> None:
    connection = searching(text)
    assert (found(connection, asked) == [0]) is there
    connection.close()


# --- differences -------------------------------------------------------------------------------------

prose = st.lists(st.sampled_from(["a", "b", "cat", " ", "\n", ".", "18", "é"]), max_size=30).map("".join)


@given(prose, prose)
def test_a_difference_holds_both_texts(before: str, after: str) -> None:
    pieces = word_diff(before, after)
    assert "".join(piece.text for piece in pieces if piece.kind != "new") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "gone") == after


def test_a_long_text_is_compared_by_lines() -> None:
    before = "\n".join(f"line {n} of many words" for n in range(3_000))
    after = before.replace("line 7 ", "row 7 ")
    pieces = word_diff(before, after)
    assert [piece.text for piece in pieces if piece.kind == "new"] == ["row 7 of many words"]


# --- the index ---------------------------------------------------------------------------------------


def journal(path: Path, began: float = 1.0) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    set_up(connection)
    connection.execute("INSERT INTO starts (start, began) VALUES (1, ?)", (began,))
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('validators', '[\"code\"]')")
    return connection


def put(connection: sqlite3.Connection, number: int, state: str, text: str = "x", **meta: object) -> None:
    told = {"cost_usd": 0.001, "verdicts": [{"by": "code", "verdict": "pass"}], **meta}
    row = (
        number,
        state,
        "code" if state == "rejected" else None,
        orjson.dumps({"q": text}).decode(),
        orjson.dumps(told),
    )
    connection.execute(
        "INSERT OR REPLACE INTO items (item, state, rejected_by, record, meta) VALUES (?, ?, ?, ?, ?)",
        (*row[:4], row[4].decode()),
    )


def commit(connection: sqlite3.Connection, batches: int) -> None:
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('committed', ?)", (str(batches),))


steps = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(["accepted", "rejected", "surplus"]), st.booleans()),
    max_size=25,
)


@settings(max_examples=40)
@given(steps=steps, chance=st.randoms())
def test_an_index_filled_on_the_way_is_that_of_the_end(
    steps: list[tuple[int, str, bool]], chance: random.Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Items come out of order, and surplus ones are decided again, as in a run; the index looks now and then."""
    folder = tmp_path_factory.mktemp("index")
    fates: dict[int, str] = {}
    committed = 0
    with ExitStack() as stack:
        connection = stack.enter_context(closing(journal(folder / "run.db")))

        def opened(cache: str) -> Index:
            return stack.enter_context(closing(Index(folder / "run.db", folder / cache, "q")))

        index, beside = opened("cache"), opened("cache")  # the second one as another process would
        for batch, state, look in steps:
            if fates.get(batch, "surplus") == "surplus":
                fates[batch] = state
                put(connection, batch * POSITIONS, state, f"text {batch}")
            while fates.get(committed, "surplus") != "surplus":
                committed += 1
            commit(connection, committed)
            if look:
                index.catch_up()
            if look and chance.random() < 0.3:
                beside.catch_up()
                index.close()
                index = opened("cache")
        fresh = opened("other")
        for each in (index, beside, fresh):
            each.catch_up()
            assert each.chosen(Filter()).numbers() == sorted(batch * POSITIONS for batch in fates)
            for state in ("accepted", "rejected", "surplus"):
                wanted = sorted(batch * POSITIONS for batch, fate in fates.items() if fate == state)
                assert each.chosen(Filter(state=state)).numbers() == wanted
            for batch in fates:
                assert each.chosen(Filter(q=f"text {batch} ")).numbers() == [batch * POSITIONS]
        assert index.counts() == beside.counts() == fresh.counts()


def reviewed(connection: sqlite3.Connection, review: int, number: int) -> None:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS reviews"
        " (review INTEGER PRIMARY KEY, item INTEGER, decision TEXT, note TEXT, text TEXT, at REAL)"
    )
    connection.execute("INSERT INTO reviews VALUES (?, ?, 'reject', '', '', 0)", (review, number))
    connection.execute(
        "UPDATE items SET state = 'rejected', rejected_by = 'review' WHERE item = ?", (number,)
    )


@pytest.fixture
def run_of_three(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = journal(tmp_path / "run.db")
    for batch in range(3):
        put(connection, batch * POSITIONS, "accepted")
    commit(connection, 3)
    yield connection
    connection.close()


@pytest.mark.parametrize("looked", [True, False])
def test_a_person_changes_a_fate(looked: bool, run_of_three: sqlite3.Connection, tmp_path: Path) -> None:
    """Whether the index knew the item before, or not; and it still knows of it where the item is decided again."""
    with closing(Index(tmp_path / "run.db", tmp_path / "cache")) as index:
        if looked:
            assert index.catch_up()
            assert not index.catch_up()
        reviewed(run_of_three, 1, POSITIONS)
        reviewed(run_of_three, 2, 0)
        assert index.catch_up()
        commit(run_of_three, 0)  # reopened: every fate is decided anew
        run_of_three.execute("UPDATE items SET state = 'accepted' WHERE item = 0")
        assert index.catch_up()
        for each in (index, Index(tmp_path / "run.db", tmp_path / "cache")):
            each.catch_up()
            assert each.chosen(Filter(review="reject")).numbers() == [0, POSITIONS]
            assert each.chosen(Filter(state="rejected", by="review")).numbers() == [POSITIONS]
            assert each.chosen(Filter(review="none")).numbers() == [2 * POSITIONS]
            each.close()


def test_what_is_known_later_is_counted_then(run_of_three: sqlite3.Connection, tmp_path: Path) -> None:
    """A run that is looked at from its first second on has not extracted its attributes yet."""
    with closing(Index(tmp_path / "run.db", tmp_path / "cache")) as index:
        index.catch_up()
        run_of_three.execute(
            """INSERT INTO facts VALUES ('diversity', '{"attributes": [{"name": "topic"}]}')"""
        )
        put(run_of_three, 3 * POSITIONS, "accepted", attributes={"topic": "cats"})
        index.catch_up()
        assert index.counts()["attr:topic"][1]["cats"] == 1
        assert index.chosen(Filter(attr=("topic=cats",))).numbers() == [3 * POSITIONS]
        assert len(index.chosen(Filter())) == 4


@pytest.mark.parametrize("damage", [b"", b"not a database" * 999])
def test_a_damaged_index_is_made_anew(
    damage: bytes, run_of_three: sqlite3.Connection, tmp_path: Path
) -> None:
    with closing(Index(tmp_path / "run.db", tmp_path / "cache")) as index:
        index.catch_up()
    index.path.write_bytes(damage)
    with closing(Index(tmp_path / "run.db", tmp_path / "cache")) as index:
        index.catch_up()
        assert len(index.chosen(Filter())) == 3


def test_a_cache_that_cannot_be_written_is_done_without(
    run_of_three: sqlite3.Connection, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    with closing(Index(tmp_path / "run.db", tmp_path / "cache")) as index:
        index.catch_up()
        assert len(index.chosen(Filter())) == 3
        assert index.path.is_file()
    assert not index.path.exists()


def test_another_run_in_the_same_folder_is_indexed_anew(tmp_path: Path) -> None:
    """Also while it is being looked at."""
    connection = journal(tmp_path / "run.db")
    put(connection, 0, "accepted", "before")
    with closing(Index(tmp_path / "run.db", tmp_path / "cache")) as index:
        index.catch_up()
        connection.close()
        for file in tmp_path.glob("run.db*"):
            file.unlink()
        connection = journal(tmp_path / "run.db", began=2.0)
        put(connection, 0, "accepted", "after")
        index.catch_up()
        assert index.chosen(Filter(q="before")).numbers() == []
        assert index.chosen(Filter(q="after")).numbers() == [0]
    connection.close()


async def test_counts_are_those_of_the_run(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(kind="word_problems", wrong_labels=0.3, violations=0.2)
    config = configs.load(
        url, generate={"target": 40, "attributes": {"topic": ["cats", "dogs"]}}, validators=["reflection"]
    )
    report = await arun(config, tmp_path / "run")
    index = Index(tmp_path / "run" / "run.db", tmp_path / "cache", "answer")
    index.catch_up()
    index.close()
    counts = index.counts()
    items = report.data["items"]
    assert {name: counts["state"][1].get(name, 0) for name in ("accepted", "rejected", "surplus")} == {
        name: items[name]
        for name in ("accepted", "rejected", "surplus")  # type: ignore[literal-required]
    }
    assert counts["by"][1] == items["rejected_by"]
    assert set(counts["attr:topic"][1]) == {"cats", "dogs"}
    both = [index.chosen(Filter(attr=(f"topic={name}",))) for name in ("cats", "dogs")]
    assert sum(map(len, both)) == sum(counts["attr:topic"][1].values())
    dear = index.chosen(Filter(sort="-cost"))
    costs = dear.columns["cost"][dear.places]
    assert list(costs) == sorted(costs, reverse=True)


# --- neighbours, and how a run stands ---


def test_why_two_items_are_the_same_or_not(tmp_path: Path) -> None:
    connection = journal(tmp_path / "run.db")
    about = {"groupcheck": {"same": "meaning+numbers", "threshold": 0.85}}
    connection.execute("INSERT INTO facts VALUES ('diversity', ?)", (orjson.dumps(about).decode(),))
    near, angles = (0.0, 0.2, 0.3, 1.2), ("12 cats", "12 dogs", "13 cats", "12 hats")
    for place, (angle, text) in enumerate(zip(near, angles, strict=True)):
        put(connection, place * POSITIONS, "accepted", text)
        vector = np.array([np.cos(angle), np.sin(angle)], np.float16)
        connection.execute("INSERT INTO vectors VALUES (?, x'', ?)", (place * POSITIONS, vector.tobytes()))
    fields = Fields(FieldsConfig.model_validate({"text": "q"}))
    found = read_neighbours(connection, fields, 0)
    assert [(each.id, each.text) for each in found.neighbours] == list(
        zip(("1-0", "2-0", "3-0"), angles[1:], strict=True)
    )
    same, numbers, far = (each.why for each in found.neighbours)
    assert same == "the same by meaning+numbers, from 0.85 on"
    assert numbers == "not the same: their numbers differ"
    assert far.startswith("not the same: 0.36")
    assert read_neighbours(connection, fields, 9).problem
    connection.close()


@pytest.mark.parametrize("running", [True, False])
def test_what_a_run_will_have_cost(running: bool, run_of_three: sqlite3.Connection, tmp_path: Path) -> None:
    """Ten items a second for a cent each, of a hundred: three are decided, and the rest takes ten seconds."""
    (tmp_path / "config.yaml").write_text(
        "dataset: {path: x.jsonl, description: d, fields: {text: q}}\ngenerate: {target: 103}\n"
        "model: {name: m, base_url: 'http://127.0.0.1:9/v1'}\nlimits: {budget_usd: 9}\n"
    )
    for at in range(4):
        row = (1, float(at), 10 * at, 0, 20 * at, PICO // 10 * at, 5)
        run_of_three.execute("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    with closing(Index(tmp_path / "run.db", tmp_path / "cache")) as index:
        index.catch_up()
        now = standing(run_of_three, index, RunFolder(tmp_path), str, running=running)
    assert (now.accepted, now.target, now.cap, now.calls) == (3, 103, 9.0, 60)
    assert now.spent == pytest.approx(0.3)
    if running:
        assert now.items_per_s == pytest.approx(10)
        assert now.ends_at_usd == pytest.approx(0.3 + 100 * 0.01)
        assert now.left == "8 s to 12 s"  # as the terminal tells it
    else:
        assert (now.state, now.ends_at_usd, now.left, now.in_flight) == ("killed", None, "", 0)


# --- files of others ---------------------------------------------------------------------------------


def test_vendored_files_are_unmodified() -> None:
    folder = ROOT / "engine" / "view" / "vendored"
    table = orjson.loads((folder / "vendored.json").read_bytes())
    named = {f"{name}/{file}" for name, about in table.items() for file in about["files"]} | {"vendored.json"}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == named
    for name, about in table.items():
        assert about["licence"] == "MIT"
        assert "LICENSE" in about["files"]
        for file, digest in about["files"].items():
            assert hashlib.sha256((folder / name / file).read_bytes()).hexdigest() == digest


# --- what stands behind a check's word ----------------------------------------------------------------


class Made(NamedTuple):
    key: str
    owner: str
    user: str
    answer: str


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ('{"reasoning": "long words, longer than any code", "code": "print(0)"}', "print(0)"),
        ('{"why": "x", "programme": "print(1 + 1)  # two"}', "print(1 + 1)  # two"),
        ("Here:\n```python\nprint(2)\n```\nor\n```\nprint(22)\n```", "print(22)\n"),
        ("print(3)", "print(3)"),
    ],
)
def test_programs_come_from_the_replies_that_brought_them(answer: str, code: str) -> None:
    calls = [Made("3-1/code/program/1", "code", "", answer), Made("3-1/agree/1", "agree", "", "no")]
    record = {
        "programs": [
            {"call": "program/1", "status": "ok", "answer": "2"},
            {"call": "program/2", "status": "cpu", "error": "E"},
        ]
    }
    first, second = programs_of(record, "code", calls)
    assert (first.code, first.status, first.printed) == (code, "ok", "2")
    assert (second.code, second.error) == ("", "E")


@given(st.text("ab cé.\n", min_size=30, max_size=200), st.integers(0, 60), st.integers(1, 60))
def test_a_quote_is_marked_where_it_stands(text: str, begin: int, length: int) -> None:
    quote = " ".join(text[begin : begin + length].split())
    shown = orjson.dumps({"title": "T", "text": text}).decode()
    record = {"checks": [{"quote": quote}], "passages": [{"title": "T", "url": "https://x.org"}]}
    [found] = quotes_of(record, "facts", [Made("1-1/facts/x", "facts", f"See\n{shown}\nend", "")])
    words = re.findall(r"\w+", quote)
    assert re.findall(r"\w+", found.quote) == words or not words
    assert found.before + found.quote + found.after in text
    assert quotes_of(record, "facts", [Made("k", "other", shown, "")]) == []


def test_code_is_marked_and_escaped() -> None:
    for text in (
        "x = '<script>alert(1)</script>' & 1",
        "</pre><img src=x onerror=alert(1)>",
        *hostile_strings()[:200],
    ):
        for language in ("python", "json"):
            marked = str(highlighted(text, language))
            assert not re.search(r"<(?!/?span\b)", marked), marked
    assert 'class="k"' in str(highlighted("def f(): return 1"))

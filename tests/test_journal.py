"""The journal: idempotent by id, whole after any end, refused to a second writer."""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.errors import BadRequest, ConfigError, DiskFull, StoreError
from engine.files.writing import replacing, spooled
from engine.items import POSITIONS, Completion, Prompt, Usage
from engine.store.folder import RunFolder
from engine.store.identity import differences, identity
from engine.store.journal import ItemRow, Journal
from engine.store.migrations import VERSION
from engine.store.reading import connect, read_fact, read_items, read_lines

DONE = Completion("text \ud800", "m", "stop", Usage(1, 2, 0, 3, True), 2, 0.5)


def prompt(key: str, batch: int = 0) -> Prompt:
    return Prompt(key, "items", batch, "s", "u", {}, 1.0, 10, 0)


def row(batch: int, position: int, state: str = "accepted", reason: str | None = None) -> ItemRow:
    record = f'{{"text":"{batch}-{position}"}}'
    by = "v" if state == "rejected" else None
    return ItemRow(batch * POSITIONS + position, state, "x", by, reason, record, '{"id":1}')


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    found = Journal(tmp_path / "run.db")
    await found.begin({"seed": 1})
    yield found
    await found.close()


async def reopened(journal: Journal) -> Journal:
    await journal.close()
    again = Journal(journal.path)
    await again.begin({"seed": 2})
    return again


async def test_a_completion_is_found_by_the_next_start(journal: Journal) -> None:
    await journal.record(prompt("0/items"), DONE)
    await journal.record(prompt("0/items"), Completion("other", "m", "stop", Usage()))
    refusal = BadRequest("no")
    refusal.usage = Usage(5, 0, 0, 7)
    await journal.record(prompt("1/items", 1), refusal)
    again = await reopened(journal)
    found, failed = again.find("0/items"), again.find("1/items")
    assert isinstance(found, Completion)
    assert found == Completion("text ?", "m", "stop", DONE.usage, 2, 0.5)
    assert isinstance(failed, BadRequest)
    assert failed.usage == Usage(5, 0, 0, 7)
    assert again.find("2/items") is None
    assert again.spent() == 3 + 7
    assert again.fact("seed") == 1
    await again.close()


async def test_calls_of_committed_batches_are_not_held_in_memory(journal: Journal) -> None:
    for batch in range(5):
        await journal.record(prompt(f"{batch}/items", batch), DONE)
    journal.commit([], 3)
    again = await reopened(journal)
    assert again._held == {"3/items", "4/items"}
    await again.close()


async def test_a_fate_stands_but_for_surplus(journal: Journal) -> None:
    journal.commit([row(0, 0), row(0, 1, "rejected", "r"), row(0, 2, "surplus")], 0)
    journal.commit([row(0, 0, "rejected", "r"), row(0, 1), row(0, 2)], 1)
    await journal.settled()
    assert journal.tallies() == (2, 1, 0)
    assert journal.decided(0) == {0: {0, 1, 2}}
    assert journal.committed == 1
    assert journal.rejections("v") == 1
    assert journal.labels("accepted") == {"x": 2}


async def test_items_come_out_in_the_order_of_the_plan(journal: Journal) -> None:
    journal.commit([row(2, 0), row(0, 1), row(1, 0), row(0, 0)], 3)
    await journal.settled()
    connection = connect(journal.path)
    assert [item["text"] for item in read_items(connection, "accepted")] == ["0-0", "0-1", "1-0", "2-0"]
    assert next(iter(read_lines(connection, "accepted"))) == '{"text":"0-0","_meta":{"id":1}}\n'
    connection.close()


async def test_many_writes_share_a_transaction(journal: Journal) -> None:
    import asyncio

    before = journal._writer.groups
    await asyncio.gather(*(journal.record(prompt(f"{n}/items", n), DONE) for n in range(500)))
    assert journal._writer.groups - before <= 20


async def test_what_was_under_way_at_a_kill_counts_as_spent(journal: Journal) -> None:
    await journal.record(prompt("0/items"), DONE)  # cost 3
    await journal.authorize(1234)
    await journal.record_counts({"unconfirmed": 50})
    again = await reopened(journal)  # the first start has no outcome, as after a kill
    assert again.spent() == 1234
    await again.authorize(99)
    await again.record_counts({"unconfirmed": 6}, "target")
    assert again.spent() == 1240
    await again.close()


async def test_a_full_disk_is_told_and_what_was_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "full.db"
    journal = Journal(path)
    await journal.begin({})
    await journal.record(prompt("0/items"), DONE)
    journal._writer._connection.execute("PRAGMA max_page_count = 30")
    with pytest.raises(DiskFull, match="no space left"):
        for number in range(1, 100):
            big = Completion("x" * 20_000, "m", "stop", Usage())
            await journal.record(prompt(f"{number}/items", number), big)
    with pytest.raises(DiskFull):
        journal.commit([row(0, 0)], 1)
    with pytest.raises(DiskFull):
        await journal.settled()
    await journal.close()
    again = Journal(path)
    await again.begin({})
    assert isinstance(again.find("0/items"), Completion)
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    await again.close()


async def test_a_file_that_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "run.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Journal(tmp_path / "run.db")
    with pytest.raises(StoreError):
        connect(tmp_path / "none.db")


async def test_a_journal_of_another_version(journal: Journal) -> None:
    await journal.remember("version", 99)
    await journal.close()
    with pytest.raises(StoreError, match="journal version 99"):
        Journal(journal.path)


def test_one_folder_one_writer(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert not folder.in_use()
    with folder.locked():
        assert RunFolder(tmp_path / "run").in_use()
        with pytest.raises(ConfigError, match="another process"), RunFolder(tmp_path / "run").locked():
            pass
    assert not folder.in_use()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("before")
    with pytest.raises(KeyError), replacing(path) as file:
        file.write("half")
        raise KeyError
    assert path.read_text() == "before"
    with replacing(path) as file:
        file.write("after")
    assert path.read_text() == "after"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_key_that_the_run_was_started_without_is_the_same_at_its_default() -> None:
    before = identity({"generate": {"few_shot": 2}}, {"dataset.path": "x"})
    now = identity({"generate": {"few_shot": 2, "selection": "random", "floor": 0.1}}, {"dataset.path": "x"})
    assert differences(before, now, {"generate": {"few_shot": 2}}) == []
    changed = {"generate": {"few_shot": 2, "floor": 0.1}}
    assert differences(before, now, changed) == ["generate.floor (None, now 0.1)"]


def test_identity_knows_what_may_change() -> None:
    before = {
        "generate": {"target": 1, "few_shot": 2},
        "limits": {"concurrency": 3},
        "model": {"base_url": "a"},
    }
    after = {
        "generate": {"target": 9, "few_shot": 3},
        "limits": {"concurrency": 9},
        "model": {"base_url": "b"},
    }
    first, second = identity(before, {"dataset.path": "x"}), identity(after, {"dataset.path": "y"})
    assert differences(first, second, {}) == [
        "dataset.path (the file's content)",
        "generate.few_shot (2, now 3)",
    ]


def test_a_files_permissions_are_those_of_any_new_file_and_the_umask_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask is the process's: to ask for it is to change it for every thread."""
    expected = tmp_path / "plain"
    expected.write_text("")
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was touched"))
    with replacing(tmp_path / "file") as file:
        file.write("x")
    assert (tmp_path / "file").stat().st_mode == expected.stat().st_mode


# --- folders that cannot be written, or are of a later release ------------------------------------------


async def test_a_folder_that_may_not_be_written_is_read(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a read-only file system, where SQLite may not put its files beside the journal."""
    await journal.remember("colour", "blue")
    await journal.close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with contextlib.closing(connect(tmp_path / "run.db")) as connection:
        assert read_fact(connection, "colour") == "blue"
        assert [path.name for path in tmp_path.iterdir()] == ["run.db"]


async def test_a_journal_of_a_later_release_is_not_read_either(journal: Journal, tmp_path: Path) -> None:
    await journal.remember("version", VERSION + 1)
    await journal.close()
    with pytest.raises(StoreError, match=f"of journal version {VERSION + 1}; this release reads"):
        connect(tmp_path / "run.db")


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """Nor can what was begun be removed there: the first error is the one that is told."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match=r"file/page\.html: cannot be written"),
        replacing(tmp_path / "file" / "page.html"),
    ):
        pass


def test_piped_input_goes_where_no_run_begins(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), spooled(io.BytesIO(b"a"), tmp_path):
        raise ConfigError("no")
    assert list(tmp_path.iterdir()) == []
    with spooled(io.BytesIO(b"a"), tmp_path) as path:
        assert path.read_bytes() == b"a"
    with pytest.raises(ConfigError), spooled(io.BytesIO(b"a"), tmp_path):
        raise ConfigError("no")
    assert list(tmp_path.iterdir()) == [path]

"""What calls were asked is kept in the journal, as it was sent, and costs little room."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start
from engine.items import Completion, Prompt, Usage
from engine.runs.api import arun
from engine.store.journal import Journal
from engine.store.prompts import Packing, read_prompt
from engine.store.reading import connect
from engine.veil import hide

ANSWER = Completion("{}", "m", "stop", Usage(1, 1))


def prompt(key: str, system: str, user: str, purpose: str = "items") -> Prompt:
    return Prompt(key, purpose, 0, system, user, {}, 0.5, 10, 0, owner="generate")


def table(rows: list[tuple[str, str, str, str]]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE prompts (key PRIMARY KEY, at, after, packed)")
    packing = Packing()
    for key, purpose, system, user in rows:
        connection.execute(
            "INSERT INTO prompts VALUES (?,?,?,?)", packing.packed((key, 1.5, purpose, system, user))
        )
    return connection


def plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\x1e", "")


@given(st.lists(st.tuples(st.sampled_from(["items", "review"]), st.text(), st.text()), max_size=8))
def test_what_is_packed_comes_out_again(rows: list[tuple[str, str, str]]) -> None:
    clean = [(f"{n}", purpose, plain(system), plain(user)) for n, (purpose, system, user) in enumerate(rows)]
    connection = table(clean)
    for key, _, system, user in clean:
        assert read_prompt(connection, key) == (1.5, system, user)
    assert read_prompt(connection, "nothing") is None
    connection.close()


def test_a_damaged_one_is_not_shown() -> None:
    connection = table(
        [("0", "items", "system", "user " * 99), ("1", "items", "system", "user " * 98 + "other")]
    )
    [[packed]] = connection.execute("SELECT packed FROM prompts WHERE key = '1'").fetchall()
    for place in range(len(packed)):
        broken = bytes([*packed[:place], packed[place] ^ 4, *packed[place + 1 :]])
        connection.execute("UPDATE prompts SET packed = ? WHERE key = '1'", (broken,))
        assert read_prompt(connection, "1") is None
    connection.execute("DELETE FROM prompts WHERE key = '0'")
    assert read_prompt(connection, "1") is None
    connection.close()


async def test_the_journal_keeps_them_without_secrets(tmp_path: Path) -> None:
    hide("sk-very-secret-0123456789")
    journal = Journal(tmp_path / "run.db", prompts=True)
    await journal.begin({})
    await journal.record(prompt("0/items", "s", "key sk-very-secret-0123456789."), ANSWER)
    await journal.record(prompt("embedding/0", "", "[]", "embedding"), ANSWER)
    await journal.close()
    connection = connect(tmp_path / "run.db")
    found = read_prompt(connection, "0/items")
    assert found is not None
    assert "very-secret" not in found.user
    assert found.user.startswith("key ")
    assert read_prompt(connection, "embedding/0") is None
    connection.close()


@pytest.mark.parametrize("kept", [True, False])
async def test_a_run_keeps_what_it_asked(
    kept: bool, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint()
    config = configs.load(url, generate={"target": 6, "batch_size": 2}, observe={"prompts": kept})
    await arun(config, tmp_path / "run")
    connection = connect(tmp_path / "run" / "run.db")
    keys = [key for (key,) in connection.execute("SELECT key FROM calls WHERE purpose != 'embedding'")]
    found = [read_prompt(connection, key) for key in keys]
    connection.close()
    assert keys
    assert all((each is not None) == kept for each in found)
    if kept:
        assert all(each is not None and "Write exactly 2 new items" in each.user for each in found[:1])

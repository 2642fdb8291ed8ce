"""A damaged journal is noticed, said in one sentence, overwrites nothing, and what is readable of it is rescued."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import CLEAN, Configs, Start, command, lines, run_in
from engine.errors import ConfigError, StoreError
from engine.runs.api import resumed
from engine.store.folder import RunFolder
from engine.store.reading import connect, read_lines
from engine.store.repair import repair

PAGE = 4096
Damage = Callable[[bytearray, random.Random], bytearray]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 40 items."""
    folder = tmp_path_factory.mktemp("whole")
    base = folder / "base.jsonl"
    base.write_text(
        "".join(f'{{"question": "What is {n} plus one?", "answer": "{n + 1}"}}\n' for n in range(12))
    )
    settings = Configs(folder, base).settings("", generate={"target": 40})
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**settings, "model": {"name": "simulated", "simulator": CLEAN}}))
    command = [sys.executable, "-m", "engine.cli", "run", path, "-o", folder / "run"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "run"


def flipped(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(20):
        data[chance.randrange(PAGE, len(data))] ^= 1 << chance.randrange(8)
    return data


def truncated(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randrange(PAGE, len(data))]


def zeroed(data: bytearray, chance: random.Random) -> bytearray:
    page = chance.randrange(1, len(data) // PAGE) * PAGE
    data[page : page + PAGE] = bytes(PAGE)
    return data


def beheaded(data: bytearray, chance: random.Random) -> bytearray:
    data[: chance.randrange(1, 100)] = b"\xff" * 10
    return data


def emptied(data: bytearray, chance: random.Random) -> bytearray:
    return bytearray()


@pytest.mark.parametrize("damage", [flipped, truncated, zeroed, beheaded, emptied])
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_what_is_left_is_rescued_and_nothing_false_is(
    damage: Damage, seed: int, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every item of the files is there again, as it was; a second repair finds nothing to do."""
    folder = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(whole, folder)
    database = folder / "run.db"
    database.write_bytes(damage(bytearray(database.read_bytes()), random.Random(seed)))
    before = (folder / "accepted.jsonl").read_bytes()
    repair(RunFolder(folder))
    assert (folder / "accepted.jsonl").read_bytes().count(b"\n") == before.count(b"\n")
    assert lines(folder / "accepted.jsonl") == lines(whole / "accepted.jsonl")
    assert repair(RunFolder(folder)).whole


@pytest.mark.parametrize("damage", [flipped, truncated, zeroed])
def test_a_journal_alone_gives_what_it_still_holds(damage: Damage, whole: Path, tmp_path: Path) -> None:
    """Without the files beside it, as after a kill: what is delivered is what was written, and never anything else."""
    wanted = (whole / "accepted.jsonl").read_text().splitlines()
    for seed in range(40):
        folder = tmp_path / f"run-{seed}"
        folder.mkdir()
        data = damage(bytearray((whole / "run.db").read_bytes()), random.Random(seed))
        (folder / "run.db").write_bytes(data)
        try:
            rescue = repair(RunFolder(folder))
        except StoreError:
            continue  # its first pages are gone
        if rescue.whole:
            continue  # what was hit is no item and no call
        assert set((folder / "accepted.jsonl").read_text().splitlines()) <= set(wanted)


def test_a_flipped_bit_in_an_item_is_noticed(whole: Path, tmp_path: Path) -> None:
    """SQLite does not look into the texts that it stores."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    with sqlite3.connect(folder / "run.db") as connection:
        connection.execute("UPDATE items SET record = replace(record, 'a', 'b') WHERE item = 0")
    connection.close()
    with pytest.raises(StoreError, match="item 0-0 is damaged"):
        reading = connect(folder / "run.db")
        try:
            list(read_lines(reading, "accepted"))
        finally:
            reading.close()
    rescue = repair(RunFolder(folder))
    assert (rescue.damaged, rescue.from_files) == ({"items": 1}, 1)
    assert lines(folder / "accepted.jsonl") == lines(whole / "accepted.jsonl")


async def test_an_empty_journal_begins_no_run_over_another(
    whole: Path, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint()
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "run.db").write_bytes(b"")
    before = (folder / "accepted.jsonl").read_bytes()
    with pytest.raises(StoreError, match="datagen repair"):
        await run_in(folder, configs.load(url, generate={"target": 40}))
    assert (folder / "accepted.jsonl").read_bytes() == before
    (folder / "run.db").unlink()
    with pytest.raises(ConfigError, match="not of a run"):
        await run_in(folder, configs.load(url, generate={"target": 40}))
    assert (folder / "accepted.jsonl").read_bytes() == before


async def test_a_rescued_run_goes_on_and_repays_only_what_is_lost(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint()
    config = configs.load(url, generate={"target": 30, "batch_size": 3})
    await run_in(tmp_path / "run", config)
    served = simulator.statistics.served
    with sqlite3.connect(tmp_path / "run" / "run.db") as connection:
        connection.execute("UPDATE items SET meta = '{' WHERE item IN (1, 65537)")
        connection.execute("UPDATE calls SET text = 'x' WHERE batch = 1")
    connection.close()
    for name in ("accepted.jsonl", "rejected.jsonl"):
        (tmp_path / "run" / name).unlink()
    rescue = repair(RunFolder(tmp_path / "run"))
    assert rescue.damaged == {"calls": 1, "items": 2}
    assert rescue.to_ask_again == 2
    report = await resumed(
        config.changed(generate=config.generate.model_copy(update={"target": 36})), tmp_path / "run"
    )
    assert report.accepted >= 36
    rows = [row["_meta"]["id"] for row in lines(tmp_path / "run" / "accepted.jsonl")]
    assert len(rows) == len(set(rows)) == report.accepted
    assert {"0-1", "1-1"} & set(rows)
    assert simulator.statistics.served - served <= 4


@pytest.mark.parametrize("damage", [flipped, truncated, zeroed, beheaded, emptied])
def test_every_command_says_it_in_one_sentence(damage: Damage, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    database = folder / "run.db"
    database.write_bytes(damage(bytearray(database.read_bytes()), random.Random(5)))
    for arguments in (["status", folder], ["export", folder, "-o", tmp_path / "x.jsonl"], ["resume", folder]):
        code, out, err = command(*arguments)
        assert code in (0, 2, 4), (arguments, out, err)
        assert "Traceback" not in err
        assert len(err.strip().splitlines()) <= 3
    code, out, err = command("repair", folder)
    assert code == 0, err
    assert "Rescued 4" in out
    code, out, err = command("status", folder)
    assert code == 0, err


def test_a_journal_of_an_earlier_release_is_rescued(tmp_path: Path) -> None:
    """Its rows carry no checksums, and fewer columns."""
    golden = Path(__file__).parent / "golden"
    folder = tmp_path / "run"
    folder.mkdir()
    with sqlite3.connect(folder / "run.db") as connection:
        connection.executescript((golden / "run-0.1.sql").read_text())
        [[items]] = connection.execute("SELECT count(*) FROM items").fetchall()
        [[calls]] = connection.execute("SELECT count(*) FROM calls").fetchall()
        connection.execute("UPDATE facts SET value = '{' WHERE name = 'measures'")
    connection.close()
    rescue = repair(RunFolder(folder))
    assert (rescue.damaged, rescue.kept["items"], rescue.kept["calls"]) == ({"facts": 1}, items, calls)
    assert repair(RunFolder(folder)).whole

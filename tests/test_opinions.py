"""What people's answers on a few items say of all: who is asked about what, and whether the interval holds."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, Start, run_in
from engine.quality.estimates import Seen, estimated, kappa, stratified
from engine.simulator.truth import is_right
from engine.store.opinions import sample_of


def population(chance: random.Random, size: int, *, knowing: float) -> tuple[list[Seen], dict[int, float]]:
    """Items of three patterns, and the truth; `knowing`: how much the proxy knows of it."""
    items, truth = [], {}
    for number in range(size):
        stratum, share = chance.choices([("plain", 0.9), ("mended", 0.6), ("rare", 0.3)], [80, 15, 5])[0]
        right = chance.random() < share
        truth[number] = float(right)
        told = right if chance.random() < knowing else chance.random() < 0.5
        items.append(Seen(number, stratum, True, 0.9 if told else 0.4))
    return items, truth


@pytest.mark.parametrize("knowing", [0.0, 0.6, 1.0])
def test_the_interval_holds_the_true_share(knowing: float) -> None:
    chance, held, widths = random.Random(9), 0, []
    for seed in range(200):
        items, truth = population(chance, 2000, knowing=knowing)
        drawn = stratified(items, 60, seed)
        found = estimated(items, {each.number: truth[each.number] for each in drawn})
        assert found is not None
        true = sum(truth.values()) / len(truth)
        held += found["low"] <= true <= found["high"]
        widths.append(found["high"] - found["low"])
    assert held >= 180
    assert sum(widths) / 200 < 0.25


def test_a_proxy_that_knows_makes_the_interval_narrower() -> None:
    widths = {}
    for knowing in (0.0, 1.0):
        items, truth = population(random.Random(2), 4000, knowing=knowing)
        drawn = stratified(items, 100, 1)
        found = estimated(items, {each.number: truth[each.number] for each in drawn})
        assert found is not None
        widths[knowing] = found["high"] - found["low"]
    assert widths[1.0] < 0.75 * widths[0.0]


def test_rare_patterns_are_seen_and_any_first_part_is_a_sample() -> None:
    items, _ = population(random.Random(1), 3000, knowing=0.5)
    for count in (10, 40, 200):
        drawn = stratified(items, count, 3)
        counts = Counter(each.stratum for each in drawn)
        assert set(counts) == {"plain", "mended", "rare"}
        assert counts["rare"] >= 0.1 * count
        assert drawn == stratified(items, len(items), 3)[:count]
    assert len({each.number for each in stratified(items, 3000, 3)}) == 3000


def test_rare_patterns_are_seen_more_than_their_share_and_common_ones_more_than_they() -> None:
    items = [Seen(number, "rare" if number < 100 else "plain", True, 0.5) for number in range(1000)]
    drawn = Counter(each.stratum for each in stratified(items, 40, 7))
    assert drawn["plain"] in range(29, 32)
    assert drawn["rare"] in range(9, 12)


@given(st.data())
def test_any_answers(data: st.DataObject) -> None:
    items = [Seen(n, data.draw(st.sampled_from("abc")), True, data.draw(st.floats(0, 1))) for n in range(12)]
    known = data.draw(st.dictionaries(st.integers(0, 11), st.sampled_from([0.0, 0.5, 1.0])))
    found = estimated(items, known)
    if found is None:
        assert not known
    else:
        assert 0 <= found["low"] <= found["share"] + 1e-9
        assert found["share"] <= found["high"] + 1e-9 <= 1 + 1e-8


def test_kappa() -> None:
    assert kappa([(True, True, 1.0), (False, False, 1.0)]) == 1.0
    assert kappa([(True, False, 1.0), (False, True, 1.0)]) == -1.0
    assert kappa(
        [(True, True, 20), (True, False, 5), (False, True, 10), (False, False, 15)]
    ) == pytest.approx(0.4)
    assert kappa([(True, True, 1.0)]) is None
    assert kappa([]) is None


async def judged(folder: Path, text: str, *options: str) -> str:
    code, out, err = await reviewed(folder, text, *options)
    assert code == 0, err
    return out


async def reviewed(folder: Path, text: str, *options: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "engine.cli", "review", str(folder), *options]
    done = await asyncio.to_thread(
        subprocess.run, command, input=text, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


async def test_forty_answers_say_how_many_are_right(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint(kind="word_problems", wrong_labels=0.4, answer_accuracy=0.9)
    folder = tmp_path / "run"
    await run_in(
        folder,
        configs.load(url, generate={"target": 60}, validators=[{"name": "agree", "agree": 1, "answers": 1}]),
    )
    rows = [
        orjson.loads(line)
        for name in ("accepted", "rejected")
        for line in (folder / f"{name}.jsonl").read_bytes().splitlines()
    ]
    right = {
        row["_meta"]["id"]: is_right({"text": row.get("question", ""), "label": row.get("answer")})
        for row in rows
    }
    seen, _ = sample_of(folder.joinpath("run.db"))
    drawn = stratified(seen, 40, 0)
    truth = "".join(
        "y\n4\n" if right[f"{each.number >> 16}-{each.number & 65535}"] else "n\n2\n" for each in drawn
    )
    before = (folder / "accepted.jsonl").read_bytes()
    out = await judged(folder, truth, "--sample", "40", "--by", "ann", "--blind", "--criterion", "clear=4")
    assert "agree pass" not in out
    assert "Accepted items that are right: " in out
    assert "Agreement of people and agree: kappa" in out
    assert "clear: " in out
    assert (folder / "accepted.jsonl").read_bytes() == before, "opinions change no fate"
    people = orjson.loads((folder / "report.json").read_bytes())["quality"]["people"]
    assert people["answers"] == 40
    assert people["right"]["low"] <= 0.95 <= people["right"]["high"]
    assert people["validators"]["agree"] > 0.7

    # A second person gets what the first has judged, and says the same but once.
    out = await judged(folder, "y\n" * 5 + "q\n", "--sample", "6", "--by", "bob")
    assert "agree pass" in out or "agree reject" in out
    assert "Agreement of ann and bob, on 5 items" in out
    assert "Agreement of ann and bob, on 5 items" in await judged(folder, "", "--estimate")


async def test_answers_end_where_the_input_ends(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, _ = await endpoint()
    await run_in(tmp_path / "run", configs.load(url, generate={"target": 5}))
    out = await judged(tmp_path / "run", "maybe\n?\ns\n", "--sample", "9")
    assert "Please answer with one of these letters." in out
    out = await judged(tmp_path / "run", "", "--sample", "3")
    assert "Accepted items that are right" not in out


@pytest.mark.parametrize("given", ["=3", "clear=1", "clear=x"])
async def test_a_criterion_that_cannot_be(
    endpoint: Start, configs: Configs, tmp_path: Path, given: str
) -> None:
    url, _ = await endpoint()
    await run_in(tmp_path / "run", configs.load(url, generate={"target": 3}))
    code, _, err = await reviewed(tmp_path / "run", "", "--sample", "3", "--criterion", given)
    assert (code, "must be NAME or NAME=MOST" in err) == (2, True)


async def test_audits_and_evaluations_too(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    from engine.runs.api import audit, evaluate

    url, _ = await endpoint(answer_accuracy=0.7)
    rows: list[dict[str, Any]] = [
        {"question": f"What is {n} and {n}?", "answer": str(2 * n)} for n in range(12)
    ]
    data = tmp_path / "sums.jsonl"
    data.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    await audit(configs.load(url, dataset={"path": str(data)}), tmp_path / "audit")
    assert "from 4 that were judged of 12" in await judged(tmp_path / "audit", "y\n" * 4, "--sample", "4")
    await evaluate(configs.load(url), tmp_path / "eval", data=[data])
    out = await judged(tmp_path / "eval", "n\n" * 4, "--sample", "4")
    assert "answer of " in out
    assert "from 4 that were judged of" in out

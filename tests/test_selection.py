"""Few-shot selection: the same under the same seed, and what each kind promises."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Configs, Start, run_in
from engine.errors import ConfigError
from engine.planning.few_shot import Farthest, FromGroups, Randomly, Selector, balanced, clustered


def groups_of_vectors(groups: int, each: int, seed: int = 0) -> Any:
    chance = np.random.default_rng(seed)
    centres = np.linalg.qr(chance.standard_normal((32, 32)))[0][:groups]
    found = np.repeat(centres, each, axis=0) + 0.02 * chance.standard_normal((groups * each, 32))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


VECTORS = groups_of_vectors(5, 30)
SELECTORS: dict[str, Selector] = {
    "random": Randomly(150),
    "clustered": clustered(VECTORS, 5, 0),
    "farthest": Farthest(VECTORS),
    "balanced": balanced([str(row % 3) for row in range(150)]),
}


@pytest.mark.parametrize("name", SELECTORS)
@given(seed=st.integers(0, 10**9), count=st.integers(0, 20))
@settings(max_examples=30)
def test_every_selector_chooses_different_rows_and_repeats_itself(name: str, seed: int, count: int) -> None:
    chosen = SELECTORS[name].choose(random.Random(seed), count)
    assert len(set(chosen)) == len(chosen) == count
    assert all(0 <= row < 150 for row in chosen)
    assert chosen == SELECTORS[name].choose(random.Random(seed), count)


@pytest.mark.parametrize("name", ["clustered", "farthest"])
def test_one_from_each_cluster(name: str) -> None:
    for seed in range(20):
        chosen = SELECTORS[name].choose(random.Random(seed), 5)
        assert sorted(row // 30 for row in chosen) == [0, 1, 2, 3, 4]


def test_each_batch_draws_anew() -> None:
    for selector in SELECTORS.values():
        assert len({tuple(selector.choose(random.Random(seed), 5)) for seed in range(50)}) > 40


def test_the_same_seed_gives_the_same_clusters() -> None:
    assert clustered(VECTORS, 5, 7) == clustered(VECTORS, 5, 7)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 40), st.integers(0, 99))
def test_groups_are_drawn_from_evenly(sizes: list[int], count: int, seed: int) -> None:
    rows = iter(range(sum(sizes)))
    groups = FromGroups([[next(rows) for _ in range(size)] for size in sizes])
    if count > sum(sizes):
        with pytest.raises(ValueError, match="fewer rows"):
            groups.choose(random.Random(seed), count)
        return
    chosen = groups.choose(random.Random(seed), count)
    place = {row: number for number, group in enumerate(groups.groups) for row in group}
    drawn = Counter(place[row] for row in chosen)
    open_groups = [drawn[number] for number, size in enumerate(sizes) if drawn[number] < size]
    assert max(open_groups, default=0) - min(open_groups, default=0) <= 1  # but for groups that are used up


def test_rows_without_a_vector_are_drawn_too() -> None:
    vectors = VECTORS.copy()
    vectors[:40] = np.nan
    for selector in (clustered(vectors, 4, 0), Farthest(vectors)):
        seen = {row for seed in range(300) for row in selector.choose(random.Random(seed), 5)}
        assert min(seen) < 40


def test_fewer_rows_than_clusters() -> None:
    assert sorted(clustered(VECTORS[:3], 5, 0).choose(random.Random(0), 3)) == [0, 1, 2]


# --- in a run --------------------------------------------------------------------------------------


@pytest.mark.parametrize("selection", ["clustered", "farthest"])
async def test_a_run_selects_by_vectors_of_the_base_dataset(
    selection: str, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    topics = ("apple pear plum fruit", "train track rail station", "cello viola music string")
    rows = [{"question": f"{topics[n % 3]} number {n}", "answer": str(n)} for n in range(30)]
    configs.base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    url, _ = await endpoint()
    config = configs.load(
        url,
        generate={"target": 12, "few_shot": 3, "selection": selection},
        embedding={"function": "hashing_embedder:hashed"},
    )
    await run_in(tmp_path / "run", config)
    accepted = [
        orjson.loads(line) for line in (tmp_path / "run" / "accepted.jsonl").read_bytes().splitlines()
    ]
    for row in accepted:
        assert sorted((number - 1) % 3 for number in row["_meta"]["examples"]) == [0, 1, 2]


async def test_examples_balanced_by_a_field(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    levels = ["hard" if n % 10 == 0 else "easy" for n in range(40)]
    rows = [
        {"question": f"Question {n}?", "answer": str(n), "level": level} for n, level in enumerate(levels)
    ]
    configs.base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    url, _ = await endpoint()
    fields = {"text": "question", "label": "answer", "extras": ["level"]}
    config = configs.load(
        url,
        dataset={"fields": fields},
        generate={"target": 12, "few_shot": 4, "selection": "balanced", "balance": "level"},
    )
    await run_in(tmp_path / "run", config)
    for line in (tmp_path / "run" / "accepted.jsonl").read_bytes().splitlines():
        examples = orjson.loads(line)["_meta"]["examples"]
        assert sum((number - 1) % 10 == 0 for number in examples) == 2


@pytest.mark.parametrize(
    ("generate", "said"),
    [
        ({"selection": "balanced", "balance": "level"}, "generate.balance: no row has a value of 'level'"),
        ({"selection": "nearest"}, "generate.selection: should be 'random'"),
        ({"few_shot": 13}, "generate.few_shot: 13 examples asked for, the dataset has 12"),
        (
            {"strategies": {"wide": {"few_shot": 20}, "plain": {}}},
            "generate.strategies.wide.few_shot: 20 examples asked for, the dataset has 12",
        ),
    ],
)
async def test_wrong_settings(generate: dict[str, Any], said: str, tmp_path: Path, configs: Configs) -> None:
    with pytest.raises(ConfigError) as told:
        await run_in(tmp_path / "run", configs.load("http://127.0.0.1:9/v1", generate=generate))
    assert said in str(told.value)

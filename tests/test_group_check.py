"""The group check in whole runs: over HTTP, through kills, against the base dataset, with retries."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import hashing_embedder
from conftest import Configs, Start, contents, datagen, finished, lines, run_in, when_served
from engine.config import FieldsConfig, RunConfig
from engine.conformance import item
from engine.dataset.base import BaseDataset
from engine.dataset.fields import Fields
from engine.diversity.duplicates import Duplicates
from engine.diversity.embedding import restored
from engine.diversity.index import similarity
from engine.errors import ConfigError
from engine.items import Item
from engine.simulator.content import word_problems
from engine.stages.groupcheck import GroupCheck
from test_laws import FAULTS, check_conservation

ENDPOINT = {"endpoint": {"name": "hashed", "price": {"input": 0.02}}}
FUNCTION = {"function": "hashing_embedder:hashed"}
GROUP = {"same": "meaning", "threshold": 0.8}
REPEATING: dict[str, Any] = {"near_duplicates": 0.5, "kind": "word_problems"}


def rows(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "run.db")) as connection:
        return connection.execute(sql).fetchall()


def check_law_6(folder: Path, threshold: float) -> None:
    """No accepted pair at the threshold; every near-duplicate names an accepted item that it is near to."""
    vectors = {item: restored(vector) for item, vector in rows(folder, "SELECT item, vector FROM vectors")}
    accepted = [
        item for (item,) in rows(folder, "SELECT item FROM items WHERE state = 'accepted' ORDER BY item")
    ]
    stacked = np.stack([vectors[item] for item in accepted])
    near = stacked @ stacked.T
    np.fill_diagonal(near, -1)
    assert near.max() < threshold + 1e-6
    number = {f"{item >> 16}-{item & 0xFFFF}": item for item in accepted}
    named = 0
    for row in lines(folder / "rejected.jsonl"):
        meta = row["_meta"]
        if meta["reason"] == "near_duplicate":
            record = meta["verdicts"][-1]["record"]
            if "item" in record:
                batch, position = map(int, meta["id"].split("-"))
                own = vectors[batch << 16 | position]
                [value] = similarity(own[None], vectors[number[record["item"]]][None])
                assert abs(float(value) - record["similarity"]) < 1e-3
                named += 1
            assert record["similarity"] >= threshold
    assert named


@pytest.mark.parametrize(("seed", "concurrency", "size"), [(1, 1, 3), (2, 8, 5), (3, 24, 1)])
async def test_law_6_whatever_the_order_and_the_batches(
    seed: int, concurrency: int, size: int, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint(seed=seed, **{**FAULTS, **REPEATING, "errors": 0.02, "resets": 0.0})
    config = configs.load(
        url,
        generate={"target": 120, "batch_size": size},
        limits={"concurrency": concurrency, "retries": 20, "attempts": 50},
        embedding=ENDPOINT,
        groupcheck=GROUP,
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    check_conservation(tmp_path / "run", dict(report.data))
    check_law_6(tmp_path / "run", 0.8)
    assert report.data["items"]["rejected_by"]["groupcheck"] > 10
    assert report.data["calls"]["by_purpose"]["embedding"] >= 2
    assert report.data["cost"]["by_purpose"]["embedding"] > 0
    assert report.data["diversity"]["groupcheck"] == {"same": "meaning", "threshold": 0.8}
    measures = report.data["diversity"]["measures"]
    assert measures["items"] == 120
    assert measures["nearest_within"]["1"] <= 0.8  # rounded


async def test_timing_changes_nothing(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    found = []
    for concurrency in (2, 16):
        url, _ = await endpoint(latency_s=0.002, latency_p99_s=0.03, **REPEATING)
        config = configs.load(
            url,
            generate={"target": 100},
            limits={"concurrency": concurrency},
            embedding=FUNCTION,
            groupcheck=GROUP,
        )
        await run_in(tmp_path / str(concurrency), config)
        found.append(contents(tmp_path / str(concurrency) / "accepted.jsonl"))
    assert found[0] == found[1]


@pytest.mark.parametrize("on_duplicate", ["reject", "retry"])
async def test_law_6_through_kills(
    on_duplicate: str, tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """Killed twice, the run accepts what an undisturbed one accepts, and makes no vector twice."""
    url, simulator = await endpoint(latency_s=0.004, **REPEATING)
    path = configs.write(
        url,
        generate={"target": 200},
        limits={"concurrency": 4},
        embedding={"endpoint": {"name": "hashed", "inputs": 8, "price": {"input": 0.02}}},
        groupcheck={**GROUP, "on_duplicate": on_duplicate},
    )
    folder = tmp_path / "run"
    for kill_at in (20, 50):
        reached = when_served(simulator, kill_at)
        process = await datagen("run", path, "-o", folder)
        await asyncio.wait_for(reached.wait(), 60)
        process.kill()
        await process.communicate()
    status, _, err = await finished(await datagen("run", path, "-o", folder))
    assert status == 0, err
    check_law_6(folder, 0.8)
    embedded = simulator.statistics.embedded
    [[vectors]] = rows(folder, "SELECT count(*) FROM vectors")
    in_flight = 2 * 8 * 8  # two kills, calls at once, texts in each
    assert embedded <= vectors + in_flight + 12  # and the base dataset's rows
    clean = await run_in(tmp_path / "clean", RunConfig.load(path))
    assert clean.outcome == "target"
    assert contents(folder / "accepted.jsonl") == contents(tmp_path / "clean" / "accepted.jsonl")


async def test_a_finished_run_embeds_nothing_again(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(**REPEATING)
    path = configs.write(url, generate={"target": 30}, embedding=FUNCTION, groupcheck=GROUP)
    await run_in(tmp_path / "run", RunConfig.load(path))
    hashing_embedder.CALLS.clear()
    again = await run_in(tmp_path / "run", RunConfig.load(path))
    assert again.outcome == "target"
    assert hashing_embedder.CALLS == []


async def test_a_raised_target_goes_on_from_the_same_memory(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint(**REPEATING)
    sections: dict[str, Any] = {"embedding": FUNCTION, "groupcheck": GROUP}
    await run_in(tmp_path / "run", configs.load(url, generate={"target": 33}, **sections))
    await run_in(tmp_path / "run", configs.load(url, generate={"target": 90}, **sections))
    await run_in(tmp_path / "once", configs.load(url, generate={"target": 90}, **sections))
    check_law_6(tmp_path / "run", 0.8)
    assert contents(tmp_path / "run" / "accepted.jsonl") == contents(tmp_path / "once" / "accepted.jsonl")


async def test_a_vector_that_is_kept_is_not_made_again(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """Items that had their vector when the target was reached are decided by it when the target is raised."""
    url, simulator = await endpoint(**REPEATING)
    made, others, first = simulator._reply, when_served(simulator, 5), True

    async def reply(*arguments: Any) -> Any:
        nonlocal first
        if first:  # the batch that comes first waits, while those behind it are embedded
            first = False
            await others.wait()
            while sum(hashing_embedder.CALLS) < 9:
                await asyncio.sleep(0)
        return await made(*arguments)

    simulator._reply = reply  # type: ignore[method-assign]
    base: dict[str, Any] = {
        "limits": {"concurrency": 16},
        "embedding": FUNCTION,
        "groupcheck": {**GROUP, "against_base": False},
    }
    hashing_embedder.CALLS.clear()
    await run_in(tmp_path / "run", configs.load(url, generate={"target": 20}, **base))
    kept = "SELECT count(*) FROM vectors JOIN items USING (item) WHERE state = 'surplus'"
    assert rows(tmp_path / "run", kept)[0][0] > 0
    await run_in(tmp_path / "run", configs.load(url, generate={"target": 90}, **base))
    assert sum(hashing_embedder.CALLS) == rows(tmp_path / "run", "SELECT count(*) FROM vectors")[0][0]


async def test_the_base_dataset_counts_as_accepted(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    """Half of what comes is from twelve texts; these are the base dataset."""
    import random

    chances = [random.Random(f"0/word_problems//{n}") for n in range(12)]
    problems = [word_problems.draw(chance) for chance in chances]
    configs.base.write_bytes(
        b"\n".join(orjson.dumps({"question": each.text, "answer": str(each.answer)}) for each in problems)
    )
    url, _ = await endpoint(seed=0, near_duplicates=0.5, kind="word_problems")
    for against in (True, False):
        config = configs.load(
            url,
            generate={"target": 40},
            embedding=FUNCTION,
            groupcheck={**GROUP, "threshold": 0.7, "against_base": against},
        )
        await run_in(tmp_path / str(against), config)
        records = [
            row["_meta"]["verdicts"][-1]["record"]
            for row in lines(tmp_path / str(against) / "rejected.jsonl")
            if row["_meta"]["rejected_by"] == "groupcheck"
        ]
        assert any("base_row" in record for record in records) == against
    texts = {row["question"] for row in lines(tmp_path / "True" / "accepted.jsonl")}
    assert not texts & {problem.text for problem in problems}


async def test_a_retry_asks_for_something_unlike(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(**REPEATING)
    config = configs.load(
        url,
        generate={"target": 150, "batch_size": 3},
        limits={"concurrency": 2},
        embedding=FUNCTION,
        groupcheck={**GROUP, "on_duplicate": "retry"},
    )
    await run_in(tmp_path / "run", config)
    replacing = {
        batch: orjson.loads(state)
        for batch, state in rows(tmp_path / "run", "SELECT batch, state FROM plans")
        if "unlike" in orjson.loads(state)
    }
    assert replacing
    asked_for = [text for state in replacing.values() for text in state["unlike"]]
    away = [
        row
        for row in lines(tmp_path / "run" / "rejected.jsonl")
        if row["_meta"]["rejected_by"] == "groupcheck"
    ]
    first = [row["question"] for row in away if "replaces" not in row["_meta"]]
    assert asked_for == first[: len(asked_for)]  # each once, in the order in which they were turned away
    assert not {row["_meta"]["batch"] for row in away if "replaces" in row["_meta"]} - set(replacing)


async def test_labels_and_the_group_check_together(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    """Exactly the ratio wanted, and no near-duplicates in it."""
    url, _ = await endpoint(kind="word_problems", near_duplicates=0.3)
    config = configs.load(
        url,
        dataset={"constraints": [{"label_ratio": {"yes": 2, "no": 1}}]},
        generate={"target": 60},
        limits={"attempts": 30},
        embedding=FUNCTION,
        groupcheck=GROUP,
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    labels = [row["answer"] for row in lines(tmp_path / "run" / "accepted.jsonl")]
    assert (labels.count("yes"), labels.count("no")) == (40, 20)
    check_law_6(tmp_path / "run", 0.8)


async def test_vectors_of_a_simulated_endpoint_are_no_real_one_s(tmp_path: Path, configs: Configs) -> None:
    """They may not be found in the cache where a model of the same name is asked for real."""
    simulated: dict[str, Any] = {"name": "simulated", "simulator": {"kind": "word_problems"}}
    sections: dict[str, Any] = {"generate": {"target": 5}, "embedding": ENDPOINT, "groupcheck": GROUP}
    settings = {**configs.settings("http://127.0.0.1:9/v1", **sections), "model": simulated}
    path = tmp_path / "simulated.yaml"
    path.write_bytes(orjson.dumps(settings))
    report = await run_in(tmp_path / "run", RunConfig.load(path))
    assert report.outcome == "target"
    assert report.data["diversity"]["embedding"]["version"] == "endpoint hashed at a simulated endpoint"


async def test_by_text_alone(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(**REPEATING)
    config = configs.load(url, generate={"target": 60}, groupcheck={"same": "text"})
    report = await run_in(tmp_path / "run", config)
    assert set(report.data["items"]["reasons"]["groupcheck"]) == {"same_text"}
    texts = [row["question"] for row in lines(tmp_path / "run" / "accepted.jsonl")]
    assert len(set(texts)) == 60
    assert "embedding" not in report.data["diversity"]


async def test_an_audit_checks_the_group(
    tmp_path: Path, configs: Configs, endpoint: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    url, _ = await endpoint()
    told = [{"question": f"What is {n} plus {n % 7}?", "answer": str(n + n % 7)} for n in range(40)]
    data = tmp_path / "old.jsonl"
    data.write_bytes(
        b"\n".join(map(orjson.dumps, [*told, *told[:10], {"question": "WHAT is 3 plus 3", "answer": "6"}]))
    )
    path = configs.write(
        url, embedding=FUNCTION, groupcheck={"same": "auto", "threshold": 0.9}, validators=[]
    )
    status, _, err = await finished(await datagen("audit", data, path, "-o", tmp_path / "run"))
    assert status == 0, err
    report = orjson.loads((tmp_path / "run" / "report.json").read_bytes())
    assert report["diversity"]["groupcheck"]["same"] == "meaning+numbers"
    assert report["items"]["accepted"] == 40
    assert [row["_meta"]["row"] for row in lines(tmp_path / "run" / "rejected.jsonl")] == list(range(41, 52))


async def test_a_label_that_does_not_read_back_costs_one_item(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    """And a journal that holds such items, of an earlier engine, can be gone on with."""
    url, _ = await endpoint(kind="short_facts")
    config = configs.load(
        url,
        dataset={
            "fields": {
                "text": "question",
                "label": {"field": "answer", "pattern": r"^(\d+)$", "write": "{label}"},
            }
        },
        generate={"target": 5},
        limits={"attempts": 3},
        embedding=FUNCTION,
        groupcheck=GROUP,
    )
    report = await run_in(tmp_path / "run", config)
    assert "bad_label" in report.data["items"]["reasons"]["generate"]
    with closing(sqlite3.connect(tmp_path / "run" / "run.db")) as connection:
        connection.execute(
            "INSERT INTO items VALUES (1 << 30, 'accepted', NULL, NULL, NULL, ?, '{}', NULL)",
            ('{"question":"How?","answer":"some"}',),
        )
        connection.commit()
    assert (await run_in(tmp_path / "run", config)).outcome in ("target", "attempts")


async def test_ctrl_c_while_the_base_dataset_is_embedded(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    url, simulator = await endpoint()
    many = (orjson.dumps({"question": f"What is {n}?", "answer": str(n)}) for n in range(3000))
    configs.base.write_bytes(b"\n".join(many))
    path = configs.write(url, embedding={"function": "hashing_embedder:slow"}, groupcheck=GROUP)
    process = await datagen("run", path, "-o", tmp_path / "run")
    assert process.stderr is not None
    line = await process.stderr.readline()
    assert b"Embedding the base dataset, once: 512 of 3,000 rows." in line
    process.send_signal(signal.SIGINT)
    status, out, err = await finished(process)
    assert status == 130, err
    assert "Interrupted" in out
    assert simulator.statistics.served == 0
    report = orjson.loads((tmp_path / "run" / "report.json").read_bytes())
    assert (report["outcome"], report["cost"]["spent_usd"]) == ("interrupted", 0)


# --- what can go wrong -----------------------------------------------------------------------------


async def test_a_text_without_a_vector_costs_one_item(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, _ = await endpoint()
    config = configs.load(
        url, generate={"target": 40}, embedding={"function": "hashing_embedder:flawed"}, groupcheck=GROUP
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    assert set(report.data["items"]["reasons"]["embedding"]) == {"unembeddable"}
    check_conservation(tmp_path / "run", dict(report.data))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("failing", "ValueError: no vectors today"),
        ("short", "gave an array of shape"),
        ("changing", "vectors of 64 dimensions before and of 32 now"),
        ("leaving", "SystemExit: 3"),
    ],
)
async def test_an_embedder_that_fails_ends_the_run_and_loses_nothing(
    function: str,
    said: str,
    tmp_path: Path,
    endpoint: Start,
    configs: Configs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, simulator = await endpoint()
    place = f"hashing_embedder:{function}"
    config = configs.load(
        url,
        generate={"target": 60},
        limits={"concurrency": 2},
        embedding={"function": place},
        groupcheck={**GROUP, "against_base": False},
    )
    hashing_embedder.CALLS.clear()
    report = await run_in(tmp_path / "run", config)
    assert (report.outcome, said in report.data["message"]) == ("fatal", True), report.data["message"]
    assert report.data["calls"]["completed"] == simulator.statistics.served  # on record, and not paid again
    monkeypatch.setattr(hashing_embedder, function, hashing_embedder.hashed)
    served = simulator.statistics.served
    again = await run_in(tmp_path / "run", config)
    assert again.outcome == "target"
    assert again.data["calls"]["completed"] == simulator.statistics.served
    assert simulator.statistics.repeated == 0
    assert simulator.statistics.served >= served


async def test_no_vector_at_all_ends_the_run_before_a_call(
    tmp_path: Path, endpoint: Start, configs: Configs
) -> None:
    url, simulator = await endpoint()
    config = configs.load(url, embedding={"function": "hashing_embedder:empty"}, groupcheck=GROUP)
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "fatal"
    assert "gives no vector for any of 12 texts" in report.data["message"]
    assert simulator.statistics.served == 0


async def test_to_name_a_default_changes_nothing(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    base: dict[str, Any] = {"generate": {"target": 5}, "embedding": FUNCTION}
    await run_in(tmp_path / "run", configs.load(url, groupcheck=True, **base))
    named = configs.load(url, groupcheck={"same": "meaning+numbers", "threshold": 0.85}, **base)
    assert (await run_in(tmp_path / "run", named)).outcome == "target"
    other = configs.load(url, groupcheck={"threshold": 0.9}, **base)
    with pytest.raises(ConfigError, match=r"groupcheck\.threshold \(0\.85, now 0\.9\)"):
        await run_in(tmp_path / "run", other)


async def test_an_endpoint_that_changes_dimensions_midway(
    tmp_path: Path, endpoint: Start, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.simulator import server

    url, simulator = await endpoint()
    made = server.embedding_reply

    def reply(texts: Any, model: str, dimensions: int, form: str) -> Any:
        return made(texts, model, dimensions if simulator.statistics.embedded < 30 else 128, form)

    monkeypatch.setattr(server, "embedding_reply", reply)
    config = configs.load(
        url, generate={"target": 100}, limits={"concurrency": 2}, embedding=ENDPOINT, groupcheck=GROUP
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "fatal"
    assert "vectors of 256 dimensions before and of 128 now" in report.data["message"]
    check_conservation(tmp_path / "run", dict(report.data))


async def test_the_budget_holds_for_vectors_too(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(**REPEATING)
    config = configs.load(
        url,
        generate={"target": 500, "max_tokens": 200},
        limits={"concurrency": 4, "budget_usd": 0.05},
        embedding={"endpoint": {"name": "hashed", "price": {"input": 20.0}}},
        groupcheck=GROUP,
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "budget"
    assert 0 < report.data["cost"]["by_purpose"]["embedding"] <= report.data["cost"]["spent_usd"] <= 0.05


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"groupcheck": {"threshold": 0}}, "groupcheck.threshold: should be greater than 0"),
        ({"groupcheck": {"threshold": 1.2}}, "groupcheck.threshold: should be less than or equal to 1"),
        ({"groupcheck": {"same": "text", "threshold": 0.9}}, "compares no vectors"),
        (
            {
                "groupcheck": {"same": "meaning+answer"},
                "dataset": {"fields": {"text": "question"}},
            },
            "meaning+answer compares labels, and dataset.fields names none",
        ),
        (
            {"groupcheck": True, "embedding": {"model": "all-MiniLM-L6-v2", "revision": "deadbeef"}},
            "is not on this machine, nor to be fetched",
        ),
        ({"groupcheck": {"same": "sound"}}, "groupcheck.same: should be 'auto'"),
        (
            {"groupcheck": True, "embedding": {"model": "/no/such/folder"}},
            "there is no folder /no/such/folder",
        ),
        ({"groupcheck": True, "embedding": {"model": "nobody/no-such-model"}}, "set embedding.endpoint"),
        ({"groupcheck": True, "embedding": {"function": "hashing_embedder:gone"}}, "cannot be imported"),
        (
            {"groupcheck": True, "embedding": {"function": "hashing_embedder:NOT_A_FUNCTION"}},
            "is no function",
        ),
        ({"groupcheck": True, "embedding": {"function": "f", "model": "x"}}, "embedding.function"),
        (
            {"embedding": {"function": "a:b", "endpoint": {"name": "x"}}, "groupcheck": True},
            "either 'endpoint' or 'function'",
        ),
        (
            {
                "groupcheck": True,
                "embedding": {"endpoint": {"name": "unheard-of"}},
                "limits": {"budget_usd": 1.0},
            },
            "the price of 'unheard-of' is not known, so a cap cannot be kept; set embedding.endpoint.price",
        ),
    ],
)
async def test_wrong_settings_are_told_before_anything_is_spent(
    sections: dict[str, Any], said: str, tmp_path: Path, configs: Configs
) -> None:
    with pytest.raises(ConfigError) as told:
        await run_in(tmp_path / "run", configs.load("http://127.0.0.1:9/v1", **sections))
    assert said in str(told.value)


async def test_another_model_is_another_run(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    await run_in(
        tmp_path / "run", configs.load(url, generate={"target": 5}, embedding=FUNCTION, groupcheck=GROUP)
    )
    other = configs.load(
        url, generate={"target": 5}, embedding={"function": "hashing_embedder:hashed_later"}, groupcheck=GROUP
    )
    with pytest.raises(ConfigError, match=r"embedding\.model"):
        await run_in(tmp_path / "run", other)


def new_item(number: int) -> Item:
    vector = np.eye(1, 64, number, dtype=np.float32)[0]
    return item(f"text {number}", position=number).evolve(vector=vector)


async def test_texts_are_known_while_vectors_are_searched_by_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stage before the commit asks for texts on the event loop; the commit's searches run in a thread."""
    memory = Duplicates("meaning", 0.99)
    group = GroupCheck(memory, BaseDataset(Fields(FieldsConfig())))
    first = await group.compare([new_item(0)])
    first.accept(new_item(0))
    await group.remember(first)

    entered, gate, threads = 0, threading.Event(), set()
    compare = memory.compare

    def held(*arguments: Any) -> Any:
        nonlocal entered
        entered += 1
        threads.add(threading.get_ident())
        gate.wait(10)
        return compare(*arguments)

    monkeypatch.setattr(memory, "compare", held)
    searches = [asyncio.create_task(group.compare([new_item(number)])) for number in range(1, 4)]
    while not entered:
        await asyncio.sleep(0)
    for _ in range(200):
        await asyncio.sleep(0)
    assert entered == 1
    assert group.same_text(new_item(0)) is not None  # not held up, and no thread writes what it reads
    gate.set()
    await asyncio.gather(*searches)
    assert entered == 3
    assert threading.get_ident() not in threads

"""What each step of an item's way costs by itself, called again and again, beside the bare loop of throughput.py.

    python benchmarks/steps.py [-r 5]

In a run the same steps take two to three times as long, since a thousand functions an item do not stay in a
processor's nearest cache. So this is what no order of the same steps can undercut.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from common import config, folder, responder, result, table
from engine import RunConfig
from engine.dataset.base import BaseDataset
from engine.diversity.sameness import text_key
from engine.llm.accounts import Accounts, Sent
from engine.llm.backends.openai_compatible import OpenAICompatible
from engine.llm.call import CallCounts
from engine.llm.concurrency import Concurrency
from engine.llm.endpoint import Endpoint
from engine.llm.tokens import TokenEstimator
from engine.planning.few_shot import Randomly
from engine.planning.plan import Planner
from engine.prompts.render import ItemPrompts
from engine.stages.generate import read_items
from engine.stages.written import written_of
from engine.store.checksums import sealed
from engine.store.prompts import Packing
from throughput import floor

FEW, MANY = 4_000, 20_000
TEXT = "A farmer picks 48 apples and sells half as many in the afternoon, at 1.50 each. " * 4
USAGE = {"prompt_tokens": 400, "completion_tokens": 90, "total_tokens": 490}

Steps = dict[str, Callable[[], Any]]


async def steps(path: Path) -> dict[str, float]:
    """Microseconds of each step, in the order of an item's way."""
    told = RunConfig.load(path)
    dataset = BaseDataset.load(told.dataset)
    planner = Planner(
        told.generate, 1, {name: Randomly(len(dataset.examples)) for name in told.generate.ways}
    )
    prompts = ItemPrompts(told, dataset)
    batch = planner.batch(7)
    prompt = prompts.render(batch)
    backend = OpenAICompatible(told.model, concurrency=1)
    terms = backend.negotiations.of("items").terms
    said = orjson.dumps({"items": [{"text": TEXT, "label": "72"}]}).decode()
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    body = orjson.dumps({"model": "raw", "choices": [choice], "usage": USAGE})
    completion = backend.read(body)
    endpoint = Endpoint(backend, Concurrency(1))
    accounts = Accounts(TokenEstimator(), CallCounts())
    item = read_items(batch, completion, dataset.fields, 32_000)[0]
    assert item.label == "72", item
    record, meta = written_of(item, dataset, None)
    asked = (prompt.key, 0.0, prompt.purpose, prompt.system, prompt.user)
    packing = Packing()
    packing.packed(asked)
    call = (
        prompt.key,
        7,
        "items",
        1,
        "raw",
        said,
        "stop",
        None,
        400,
        90,
        0,
        10**8,
        0,
        1,
        0.5,
        "generate",
        0,
        "",
        "",
    )
    of_way: Steps = {
        "plan": lambda: planner.batch(7),
        "prompt": lambda: prompts.render(batch),
        "request's body": lambda: orjson.dumps(backend.fields(prompt, terms)),
        "completion out of the reply": lambda: backend.read(body),
        "tokens and cost": lambda: accounts.counted(
            Sent.of(prompt, 9_000, 1_000), endpoint, completion.usage, completion.text
        ),
        "items out of the completion": lambda: read_items(batch, completion, dataset.fields, 32_000),
        "key of the text": lambda: text_key(item),
        "record and origin": lambda: written_of(item, dataset, None),
        "rows: checksums, prompt packed": lambda: (
            sealed(call), sealed((7, "accepted", None, None, None, record, meta)), packing.packed(asked)
        ),
    }  # fmt: skip
    found = {
        name: min(timeit.repeat(step, number=2_000, repeat=5)) / 2_000 * 1e6 for name, step in of_way.items()
    }
    await backend.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-r", "--repeats", type=int, default=5)
    options = parser.parse_args()
    taken: list[dict[str, float]] = []
    with folder() as place, responder() as url:
        path = config(place / "config.yaml", url, 10)
        for _ in range(options.repeats):
            found = asyncio.run(steps(path))
            found["all of these"] = sum(found.values())
            few, many = floor(url, FEW), floor(url, MANY)
            found["a call of the bare loop"] = (many["cpu_s"] - few["cpu_s"]) / (MANY - FEW) * 1e6
            found["ratio"] = found["all of these"] / found["a call of the bare loop"]
            taken.append(found)
    median = {name: statistics.median(each[name] for each in taken) for name in taken[0]}
    table(
        f"Microseconds of an item's steps, each by itself (medians of {options.repeats})",
        ["step", "µs"],
        [[name, value] for name, value in median.items()],
    )
    result("steps", **median)


if __name__ == "__main__":
    main()

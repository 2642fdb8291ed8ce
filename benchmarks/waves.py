"""Half-price nights in virtual time: hours and dollars online, in batches and both; what a pass over the journal takes.

    python benchmarks/waves.py [--items 10000 50000]

Everything is real but the provider and the clock. Online it takes 500 requests a minute; a batch takes 20 minutes in
the middle (a lognormal with 90 % below an hour), and a twentieth of the batches answers only part of its calls.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import math
import random
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

import engine.runs.instruments
import engine.runs.plugins
import engine.runs.session
from common import config as written
from common import folder, result, table
from engine.config import RunConfig
from engine.errors import BadRequest, RateLimited
from engine.items import Completion, Item, Prompt, Usage, Verdict
from engine.llm.batches.door import Capacity, Request, Result, Told
from engine.llm.batches.spool import Lane, Pace
from engine.llm.limiter import Limiter
from engine.protocols import Tools
from engine.runs.endpoints import Backends, OpenBackend
from engine.runs.inputs import Inputs
from engine.runs.lanes import batch_price, lane_name
from engine.runs.modes import GenerateMode
from engine.runs.passes import Passes
from engine.runs.session import opened as session_opened
from engine.simulator.virtual_time import VirtualLoop
from engine.store.folder import RunFolder

RPM = 500
PRICE = {"input": 0.15, "output": 0.6, "batch": 0.5}
CHECKS = 2
"""Calls of each item, one after the other, besides the fifth of one that makes it."""
ACCEPTED = 0.8
MEDIAN_S, SPREAD = 1_200.0, math.log(3) / 1.2816
"""Of a batch's time: 90 % of them within three times the median."""
BROKEN = 0.05
"""Batches that end with a third of their calls unanswered."""


def reply_to(purpose: str, text: str, size: int) -> tuple[str, Usage]:
    """What the model answers: a function of the prompt, so that the dataset is the same however it is asked."""
    seed = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    chance = random.Random(seed)
    if purpose == "items":
        items = [{"question": f"problem {seed}-{n} " + "word " * 40, "answer": "4"} for n in range(size)]
        said = orjson.dumps({"items": items}).decode()
    else:
        said = orjson.dumps({"good": chance.random() < ACCEPTED ** (1 / CHECKS)}).decode()
    return said, Usage(len(text) // 4, len(said) // 4 + 1)


class Online:
    """The provider's online endpoint: its limit in a sliding minute, in virtual time. Mutable state: that minute."""

    announced = None
    name = "provider"

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._log: deque[float] = deque()
        self._chance = random.Random(1)

    async def complete(self, prompt: Prompt) -> Completion:
        now, log = self._loop.time(), self._log
        while log and log[0] <= now - 60:
            log.popleft()
        if len(log) >= RPM:
            raise RateLimited("429: too fast", 1.0)
        log.append(now)
        await asyncio.sleep(4 * math.exp(self._chance.gauss(0, 0.6)))
        return Completion(*_answer(prompt.purpose, prompt.system + prompt.user, prompt.size))

    async def close(self) -> None: ...


def _answer(purpose: str, text: str, size: int) -> tuple[str, str, str, Usage]:
    said, usage = reply_to(purpose, text, size)
    return said, "m", "stop", usage


class Batches:
    """The provider's batches, in virtual time. Mutable state: they."""

    capacity = Capacity(50_000, 200_000_000)
    names_requests_only = False
    name = "provider"

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._made: dict[str, tuple[Path, float, bool]] = {}
        self._chance = random.Random(2)

    def request(self, prompt: Prompt) -> Request:
        body = {"purpose": prompt.purpose, "text": prompt.system + prompt.user, "size": prompt.size}
        return Request(body, prompt.max_tokens, {})

    def line(self, id: str, request: Request) -> bytes:
        return orjson.dumps({"id": id, "body": request.body})

    def settled(self, purpose: str) -> bool:
        return True

    def terms(self, purpose: str) -> Mapping[str, Any]:
        return {}

    def answered(self, purpose: str, terms: Mapping[str, Any]) -> None: ...

    def refused(self, purpose: str, refusal: BadRequest, terms: Mapping[str, Any]) -> bool:
        return False

    async def upload(self, file: Path, name: str) -> str:
        return name

    async def create(self, file: Path, file_id: str, tag: str) -> Told:
        takes = MEDIAN_S * math.exp(self._chance.gauss(0, SPREAD))
        self._made[tag] = file, self._loop.time() + takes, self._chance.random() < BROKEN
        return Told(tag, "running", "in_progress", created=self._loop.time(), tag=tag)

    async def made(self, since: float) -> Sequence[Told]:
        return ()

    async def poll(self, ids: Sequence[str]) -> Mapping[str, Told]:
        return {id: self._told(id) for id in ids}

    def _told(self, id: str) -> Told:
        ended = self._loop.time() >= self._made[id][1]
        return Told(id, "ended" if ended else "running", "completed" if ended else "in_progress", tag=id)

    async def results(self, told: Told) -> AsyncIterator[Result | None]:
        file, _, broken = self._made[told.id]
        with file.open("rb") as lines:
            for number, line in enumerate(lines):
                call = orjson.loads(line)
                if broken and number % 3 == 0:
                    yield Result(call["id"], None, b"", "expired")
                else:
                    yield Result(call["id"], 200, orjson.dumps(call["body"]))

    def read(self, body: bytes) -> Completion:
        asked = orjson.loads(body)
        return Completion(*_answer(asked["purpose"], asked["text"], asked["size"]))

    async def cancel(self, id: str) -> None: ...

    async def close(self) -> None: ...


class Judge:
    """A validator of two calls, one after the other."""

    name = "critic"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def validate(self, item: Item) -> Verdict:
        for number in range(CHECKS):
            key = f"{item.id}/{self.name}/review/{number}"
            text = f"{number} {item.text}"
            asked = Prompt(
                key, "review", item.batch.number, "Judge it.", text, {}, 0.0, 200, 0, self._tools.priority
            )
            said = self._tools.read((await self._tools.ask(asked)).text)
            if not said or not said["good"]:
                return Verdict.rejected(self.name, "not_good")
        return Verdict.passed(self.name)


class _Point:
    name = "critic"

    @staticmethod
    def load() -> type[Judge]:
        return Judge


def play(place: Path, mode: str) -> None:
    """One run in a process of its own; its last line says what it took."""
    engine.runs.plugins.installed_validators = lambda: {_Point.name: _Point}  # type: ignore[assignment,attr-defined]
    engine.runs.instruments.SAMPLE_EVERY_S = 300.0  # type: ignore[attr-defined]
    loop = VirtualLoop(start=1_000_000.0, grain=0.05)
    passes: list[tuple[float, int]] = []

    async def work() -> dict[str, Any]:
        runs = RunFolder(place / mode)
        generate = GenerateMode()
        inputs = generate.load(RunConfig.load(place / "waves.yaml", {"limits.mode": mode}))

        @asynccontextmanager
        async def opened(inputs: Inputs) -> AsyncIterator[Backends]:
            yield Backends([OpenBackend(Online(loop), inputs.config.main)], {})

        @asynccontextmanager
        async def lanes(backends: Backends, limiter: Limiter, _: Path) -> AsyncIterator[Mapping[str, Lane]]:
            model = backends.main[0].model
            price = batch_price(model)
            assert price is not None
            name = lane_name(model)
            yield {name: Lane(name, Batches(loop), limiter.endpoints[0], price, Pace())}  # type: ignore[arg-type]

        engine.runs.session.opened_lanes = lanes  # type: ignore[assignment,attr-defined]
        with runs.locked():
            clocks = {"clock": loop.time, "wall": loop.time}
            async with session_opened(generate, inputs, runs, backends=opened, **clocks) as session:
                loop.outside = lambda: session.journal.unanswered > 0
                once = Passes._pass

                async def timed(self: Passes, *given: Any, **named: Any) -> int:
                    began, before = time.perf_counter(), session._counts.replayed
                    count = await once(self, *given, **named)
                    passes.append((time.perf_counter() - began, session._counts.replayed - before))
                    return count

                Passes._pass = timed  # type: ignore[method-assign]
                report = await session.run()
        replayed = [(seconds, calls) for seconds, calls in passes if calls > 1000]
        return {
            "outcome": report.outcome,
            "hours": (loop.time() - 1_000_000.0) / 3600,
            "usd": report.data["cost"]["spent_usd"],
            "calls": report.data["calls"]["completed"],
            "waves": (report.data.get("batches") or {}).get("waves", 0),
            "passes": len(passes),
            "ms_a_replayed_call": 1000 * sum(s for s, _ in replayed) / max(1, sum(n for _, n in replayed)),
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "sha": hashlib.sha256(b"".join(_contents(runs.accepted))).hexdigest()[:16],
        }

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        print(orjson.dumps(runner.run(work())).decode())


def _contents(file: Path) -> list[bytes]:
    rows = (orjson.loads(line) for line in file.read_bytes().splitlines())
    return [orjson.dumps([row["question"], row["answer"], row["_meta"]["id"]]) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--play", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        play(Path(options.play[0]), options.play[1])
        return
    rows, found = [], {}
    for items in options.items:
        with folder() as place:
            path = written(place / "waves.yaml", "http://127.0.0.1:9/v1", items, generate__batch_size=5)
            settings = yaml.safe_load(path.read_text())
            settings["model"] |= {"price": PRICE, "batch": "openai"}
            settings["limits"] = {"concurrency": 64, "requests_per_minute": RPM}
            settings["validators"] = ["critic"]
            path.write_text(yaml.safe_dump(settings))
            for mode in ("online", "batch", "auto"):
                began = time.perf_counter()
                command = [sys.executable, __file__, "--play", str(place), mode]
                out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                told = orjson.loads(out.strip().splitlines()[-1])
                found[f"{items}/{mode}"] = told
                rows.append(
                    [f"{items:,}", mode, told["hours"], told["usd"], told["calls"], told["waves"],
                     told["ms_a_replayed_call"], told["rss_mb"], time.perf_counter() - began]
                )  # fmt: skip
            shas = {found[f"{items}/{mode}"]["sha"] for mode in ("online", "batch", "auto")}
            assert len(shas) == 1, "the dataset depends on how it was asked for"
    heads = [
        "items",
        "mode",
        "hours",
        "USD",
        "calls",
        "waves",
        "ms a replayed call",
        "peak MB",
        "real seconds",
    ]
    table("A night in waves", heads, rows)
    result("waves", **found)


if __name__ == "__main__":
    main()

"""A night in virtual time: the whole engine, a simulated provider, outages, a revoked key, a SIGKILL; laws checked.

    python benchmarks/night.py [--items 100000]

Everything is real but the endpoints and the clock: plan, prompts, limiter, budget, retries, journal with fsync,
commit, report. The clock jumps to the next timer whenever there is nothing to do, so a night takes minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

import engine.runs.instruments
import engine.runs.plugins
from common import config as written
from common import folder, result, table
from engine.config import ModelConfig, RunConfig
from engine.errors import AuthError, Disconnected, RateLimited, Unavailable
from engine.items import PICO, Completion, Item, Prompt, Usage, Verdict
from engine.llm.prices import price_of
from engine.protocols import Tools
from engine.runs.endpoints import Backends, OpenBackend
from engine.runs.inputs import Inputs
from engine.runs.modes import GenerateMode
from engine.runs.session import Session
from engine.runs.session import opened as session_opened
from engine.simulator.virtual_time import VirtualLoop
from engine.store.folder import RunFolder

CALLS = 5
"""Of each item: one that makes it, four that judge it."""
RPM, TPM = 10_000, 2_000_000
EVENING = 1_000_000.0
"""The clock at the start; any number will do."""
OUTAGES = ((1200, 600, "all", "502"), (4200, 1260, "all", "no route to host"), (7800, 300, "north", "reset"))
"""(begins, seconds, which endpoint, how), in seconds after the start."""
REVOKED = 8400
"""When the key of the endpoint 'south' is revoked."""
KILLED = 6600
"""When the process is killed with SIGKILL."""
CAP = 500.0
SHARES = {"north": 0.6, "south": 0.4}
PRICE = {"input": 0.15, "output": 0.6}


RUBRIC = "Judge whether the problem is clear, solvable from its text alone, and rightly labelled. " * 16


class Provider:
    """One endpoint of a provider that enforces its limits in a sliding minute, in virtual time."""

    announced = None

    def __init__(self, name: str, loop: VirtualLoop, served: int) -> None:
        """`served` is a file descriptor: the key of each answered call is written there, whatever happens next."""
        self.name = name
        self._loop = loop
        self._served = served
        self._chance = random.Random(f"{name}/{loop.time()}")
        self._requests, self._tokens = RPM * SHARES[name], TPM * SHARES[name]
        self._log: deque[tuple[float, int]] = deque()
        self._held = 0
        self.refused = 0
        self.in_flight = 0
        self.peak = 0

    async def complete(self, prompt: Prompt) -> Completion:
        self._raise_for_the_hour()
        usage = self._usage(prompt)
        self._limit(usage.prompt_tokens + usage.completion_tokens)
        if self._chance.random() < 0.005:
            raise Unavailable("500: the server had an error")
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(8 * math.exp(self._chance.gauss(0, 0.7)))
        finally:
            self.in_flight -= 1
        self._raise_for_the_hour()  # an outage takes what is in flight with it
        os.write(self._served, f"{prompt.key} {usage.prompt_tokens} {usage.completion_tokens}\n".encode())
        text = '{"good": true}'
        if prompt.purpose == "items":
            text = orjson.dumps(
                {"items": [{"text": f"problem {prompt.key} " + "word " * 60, "label": "4"}]}
            ).decode()
        return Completion(text, "night-1", "stop", usage)

    async def close(self) -> None: ...

    def _raise_for_the_hour(self) -> None:
        at = self._loop.time() - EVENING
        for begins, seconds, who, how in OUTAGES:
            if begins < at < begins + seconds and who in ("all", self.name):
                raise Unavailable(how) if how == "502" else Disconnected(how)
        if self.name == "south" and at > REVOKED:
            raise AuthError("401: this key has been revoked")

    def _usage(self, prompt: Prompt) -> Usage:
        completion = round(120 * math.exp(self._chance.gauss(0, 0.4))) if prompt.purpose == "items" else 40
        return Usage((len(prompt.system) + len(prompt.user)) // 4, min(completion, prompt.max_tokens))

    def _limit(self, tokens: int) -> None:
        now, log = self._loop.time(), self._log
        while log and log[0][0] <= now - 60:
            self._held -= log.popleft()[1]
        if len(log) + 1 > self._requests or self._held + tokens > self._tokens * 1.02:  # ours are estimates
            self.refused += 1
            raise RateLimited("429: too fast", 1.0)
        log.append((now, tokens))
        self._held += tokens


class Judge:
    """A validator of four calls."""

    name = "critic"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def validate(self, item: Item) -> Verdict:
        for number in range(CALLS - 1):
            key = f"{item.id}/{self.name}/review/{number}"
            asked = Prompt(
                key, "review", item.batch.number, RUBRIC, item.text, {}, 0.0, 200, 0, self._tools.priority
            )
            await self._tools.ask(asked)
        return Verdict.passed(self.name)


class _Point:
    name = "critic"

    @staticmethod
    def load() -> type[Judge]:
        return Judge


def settings(place: Path, items: int) -> Path:
    """The config of the night."""
    path = written(place / "night.yaml", "http://127.0.0.1:9/v1", items, generate__max_tokens=600)
    import yaml

    found = yaml.safe_load(path.read_text())
    found["model"] = [
        {"name": "night", "base_url": f"http://{name}.example/v1", "price": PRICE,
         "limits": {"requests_per_minute": RPM * share, "tokens_per_minute": TPM * share}}
        for name, share in SHARES.items()
    ]  # fmt: skip
    found["limits"] = {"concurrency": 1200, "budget_usd": CAP, "share": "machine"}
    found["validators"] = ["critic"]
    path.write_text(yaml.safe_dump(found))
    return path


def play(place: Path, start: float) -> None:
    """One process of the night, from `start` on; it ends, or kills itself at its hour."""
    engine.runs.plugins.installed_validators = lambda: {_Point.name: _Point}  # type: ignore[assignment,attr-defined]
    engine.runs.instruments.SAMPLE_EVERY_S = 60.0  # type: ignore[attr-defined]
    loop = VirtualLoop(start=start, grain=0.05)
    served = os.open(place / "served", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def work() -> None:
        mode = GenerateMode()
        inputs = mode.load(RunConfig.load(place / "night.yaml"))
        providers: list[Provider] = []

        @asynccontextmanager
        async def opened(inputs: Inputs) -> AsyncIterator[Backends]:
            names = [model.base_url.split("//")[1].split(".")[0] for model in inputs.config.endpoints]
            providers.extend(Provider(name, loop, served) for name in names)
            yield Backends(
                [OpenBackend(*pair) for pair in zip(providers, inputs.config.endpoints, strict=True)], {}
            )

        runs = RunFolder(place / "run")
        with runs.locked():
            clocks = {"clock": loop.time, "wall": loop.time}
            async with session_opened(mode, inputs, runs, backends=opened, **clocks) as session:
                loop.outside = lambda: session.journal.unanswered > 0
                watching = asyncio.create_task(watch(session, providers, loop, place, start))
                report = await session.run()
                watching.cancel()
        facts = {
            "refused": sum(each.refused for each in providers),
            "ended": loop.time(),
            "outcome": report.outcome,
        }
        (place / "ended.json").write_bytes(orjson.dumps(facts))

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work())


async def watch(
    session: Session, providers: list[Provider], loop: VirtualLoop, place: Path, start: float
) -> None:
    """The timeline; and law 3 at every minute. Kills this very process at its hour, as a power cut would."""
    began = time.perf_counter()
    while True:
        await asyncio.sleep(60)
        at = loop.time() - EVENING
        budget = session.budget
        assert budget.spent + budget.reserved <= int(CAP * PICO), "law 3"
        flying = sum(each.in_flight for each in providers)
        if start == EVENING and at >= KILLED:
            (place / "killed.json").write_bytes(orjson.dumps({"at": loop.time(), "in_flight": flying,
                "refused": sum(each.refused for each in providers)}))  # fmt: skip
            os.kill(os.getpid(), signal.SIGKILL)
        if round(at / 60) % 10 == 0 and session.instruments is not None:
            states = " ".join(
                f"{each.name.split('.')[0]}:{each.statistics().state}"
                for each in session.instruments.limiter.endpoints
            )
            print(f"{clock(at)}  {session.instruments.progress.accepted:>7,} accepted  {flying:>5} in flight  "
                  f"${budget.spent / PICO:6.2f}  {rss():4.0f} MB  {states}  "
                  f"({time.perf_counter() - began:.0f} s)", flush=True)  # fmt: skip


def clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:02}:{int(seconds) % 3600 // 60:02}"


def rss() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def laws(place: Path, items: int) -> dict[str, Any]:
    """What the provider saw against what the run says; raises AssertionError where a law is broken."""
    report = orjson.loads((place / "run" / "report.json").read_bytes())
    killed, ended = (orjson.loads((place / f"{name}.json").read_bytes()) for name in ("killed", "ended"))
    found = report["items"]
    assert report["outcome"] == "target", report["message"]
    assert found["accepted"] == items
    assert found["generated"] == found["accepted"] + found["rejected"] + found["surplus"], "law 1"
    lines = (place / "run" / "accepted.jsonl").read_bytes().splitlines()
    assert len({orjson.loads(line)["_meta"]["id"] for line in lines}) == items, "law 1"
    served: Counter[str] = Counter()
    price = price_of(ModelConfig.model_validate({"name": "night", "price": PRICE}))
    assert price is not None
    charged = 0
    for line in (place / "served").read_text().splitlines():
        key, prompt, completion = line.split()
        served[key] += 1
        charged += price.cost(int(prompt), int(completion))
    again = sum(served.values()) - len(served)
    assert again <= killed["in_flight"] + 1500, "law 2"
    assert charged <= CAP * PICO, "law 3"
    assert charged / PICO <= report["cost"]["spent_usd"] + 1e-9, "law 3"
    refused = killed["refused"] + ended["refused"]
    return {
        "calls": sum(served.values()),
        "paid_again": again,
        "in_flight_at_kill": killed["in_flight"],
        "charged_usd": charged / PICO,
        "said_usd": report["cost"]["spent_usd"],
        "refused": refused,
        "failed_calls": report["calls"]["failed"],
        "hours": (ended["ended"] - EVENING) / 3600,
        "events": [event["words"] for event in report["events"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--play", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--start", type=float, default=EVENING, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        play(options.play, options.start)
        return
    began = time.perf_counter()
    with folder() as place:
        settings(place, options.items)
        (place / "runtime").mkdir(mode=0o700)
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(place / "runtime"), "TZ": "UTC"}
        command = [sys.executable, __file__, "--play", str(place), "--start"]
        print(f"{options.items:,} items of {CALLS} calls; {RPM:,} requests and {TPM:,} tokens a minute\n")
        first = subprocess.run([*command, str(EVENING)], env=environment)
        assert first.returncode == -signal.SIGKILL, "it ended before its hour: use more items"
        print("       SIGKILL; the same again")
        killed = orjson.loads((place / "killed.json").read_bytes())
        subprocess.run([*command, str(killed["at"] + 30)], env=environment, check=True)
        found = laws(place, options.items)
    print("\nWhat the report tells of it:")
    for words in found.pop("events"):
        print(f"  {words}")
    seconds = time.perf_counter() - began
    table("The night", ["", ""], [[name, value] for name, value in found.items()])
    result("night", items=options.items, real_seconds=seconds, **found)


if __name__ == "__main__":
    main()

"""One run against a misbehaving provider, stopped in the middle or not, and the rules that hold whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import re
import signal
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml

from conftest import datagen, finished, lines
from engine.items import PICO
from engine.store.reading import read_spent
from faults.provider import (
    CHUNKED,
    OK,
    Asked,
    Fault,
    Line,
    Provider,
    body,
    chunk,
    closed,
    completion,
    cut,
    echo,
    endless,
    items,
    provided,
    status,
)

KEY = "sk-of-the-driver-4711"
IN, OUT = 1_000_000, 2_000_000
"""Picodollars a token, as in the config."""
EXITS = (0, 3, 4, 5, 130, -signal.SIGKILL)


def lying(usage: Any) -> Fault:
    """A good answer, and a bill that cannot be."""

    async def fault(line: Line, asked: Asked) -> None:
        await line.reply(200, completion(items(asked), usage=usage))

    return fault


def saying(text: str) -> Fault:
    return body(completion(text))


async def slow(line: Line, asked: Asked) -> None:
    await asyncio.sleep(0.3)
    await line.reply(200, completion(items(asked)))


FAULTS: Mapping[str, Fault] = {
    "500": status(500),
    "502": status(502),
    "503": status(503),
    "429": status(429, retry_after="0"),
    "400": status(400, "this prompt is refused"),
    "echo": echo(500),
    "cut": cut,
    "closed": closed,
    "slow": slow,
    "bomb": body(gzip.compress(b" " * 30_000_000), Content_Encoding="gzip"),
    "flood": endless(CHUNKED, chunk(b"x" * 65536), 200),
    "headers": endless(OK, b"X-Again: " + b"y" * 4000 + b"\r\n", 500),
    "1xx": endless(b"", b"HTTP/1.1 103 Early\r\n\r\n" * 50, 50),
    "billions": lying({"prompt_tokens": 99_000_000, "completion_tokens": 99_000_000}),
    "nothing": lying({"prompt_tokens": 0, "completion_tokens": 0}),
    "negative": lying({"prompt_tokens": -5, "completion_tokens": -5}),
    "words": lying({"prompt_tokens": "many", "completion_tokens": None}),
    "silence": lying(None),
    "prose": saying("I am sorry, I cannot do that."),
    "empty": saying(""),
    "types": saying('{"items": [7, null, {"question": ["a"], "answer": {"b": 1}}]}'),
    "long": saying('{"items": [{"question": "' + "long " * 20_000 + '", "answer": "1"}]}'),
}
"""By name. Each is one reply; what comes after it is good again."""
DELIVERING = frozenset({"slow", "billions", "nothing", "negative", "words", "silence"})
"""Those whose items are as good as any."""


@dataclass(frozen=True)
class Case:
    """What happens to one run: faults by the number of the request, stops by a signal and the seconds before it."""

    faults: Mapping[int, str] = field(default_factory=dict)
    stops: tuple[tuple[signal.Signals, float], ...] = ()
    target: int = 40
    size: int = 3
    concurrency: int = 8
    cap: float | None = None

    @classmethod
    def of_seed(cls, seed: int) -> Case:
        """Any of them, for a soak."""
        chance = random.Random(seed)
        kinds = chance.sample(sorted(FAULTS), chance.randint(1, len(FAULTS)))
        share = chance.choice((0.02, 0.1, 0.3))
        faults = {number: chance.choice(kinds) for number in range(600) if chance.random() < share}
        signals = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
        stops = tuple((chance.choice(signals), 0.7 + chance.random()) for _ in range(chance.randint(0, 3)))
        cap = chance.choice((None, 0.01, 0.05))
        return cls(faults, stops, chance.randint(20, 300), chance.randint(1, 4), chance.randint(1, 32), cap)


def settings_of(case: Case, url: str, base: Path) -> dict[str, Any]:
    return {
        "dataset": {
            "path": str(base),
            "description": "Sums of small numbers. The label is the final answer.",
            "fields": {"text": "question", "label": "answer"},
        },
        "generate": {"target": case.target, "batch_size": case.size, "few_shot": 1, "max_tokens": 500},
        "model": {"name": "m", "base_url": url, "api_key": KEY, "price": {"input": 1.0, "output": 2.0}},
        "limits": {
            "concurrency": case.concurrency,
            "retries": 3,
            "attempts": 30,
            "least_acceptance": 0,
            "first_answer_s": 5,
            "outage_s": 8,
            "drain_s": 3,
            **({"budget_usd": case.cap} if case.cap is not None else {}),
        },
        "observe": {"page": False},
    }


async def checked(case: Case, folder: Path) -> None:
    """Runs it in `folder` to its end, and checks every rule. Raises AssertionError."""
    provider = Provider(lambda number: FAULTS[case.faults[number]] if number in case.faults else None)
    provider.content = lambda asked: items(asked, case.size)
    base = folder / "base.jsonl"
    base.write_bytes(
        b"".join(orjson.dumps({"question": f"{n} and 1?", "answer": str(n + 1)}) + b"\n" for n in range(8))
    )
    run, path = folder / "run", folder / "config.yaml"
    async with provided(provider) as url:
        path.write_text(yaml.safe_dump(settings_of(case, url, base)))
        for number, seconds in case.stops:
            process = await datagen("run", path, "-o", run)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), seconds)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            code, _, err = await finished(process)
            assert code in (*EXITS, -number), (code, err)  # before Python runs, a process dies as any
            assert "Traceback" not in err, err
        process = await datagen("run", path, "-o", run)
        try:
            code, out, err = await asyncio.wait_for(finished(process), 90)
        except TimeoutError:
            process.kill()
            await finished(process)
            raise AssertionError("the run does not end") from None
    assert code in EXITS, err
    assert "Traceback" not in err, err
    assert "defect" not in out + err, out + err
    rules_hold(case, provider, run, out + err)


def rules_hold(case: Case, provider: Provider, run: Path, said: str) -> None:
    """What the accountant outside knows, against what the run says."""
    connection = sqlite3.connect(run / "run.db")
    try:
        spent = read_spent(connection)
        rows = connection.execute("SELECT item, state, record FROM items").fetchall()
        texts = "\n".join(text for (text,) in connection.execute("SELECT text FROM calls"))
        keys = connection.execute("SELECT count(*), count(DISTINCT key) FROM calls").fetchone()
    finally:
        connection.close()
    assert keys[0] == keys[1], "no answer stands twice"
    by_state = {state: sum(1 for row in rows if row[1] == state) for state in ("accepted", "rejected")}
    for state, count in by_state.items():
        assert len(lines(run / f"{state}.jsonl")) == count, "the files hold what the journal holds"
    questions = [orjson.loads(record).get("question") for _, state, record in rows if state == "accepted"]
    assert len(questions) == len(set(questions)), "no item stands twice"
    if case.cap is not None:
        assert spent <= case.cap * PICO, "never over"
    billed = 0
    for asked in provider.account.asked:
        fault = case.faults.get(asked.number)
        if fault is None or fault in DELIVERING or fault in ("cut", "prose", "types", "long"):
            billed += 40 * IN + 30 * OUT
    uncounted = len(case.stops) * case.concurrency + 2
    assert billed <= spent + uncounted * (40 * IN + 30 * OUT), (
        "what was billed is counted, but for a kill's last moment"
    )
    numbers = {int(number) for number in re.findall(r"asked as number (\d+)", texts)}
    known = {int(number) for number in re.findall(r"asked as number (\d+)", " ".join(row[2] for row in rows))}
    whole = {number for number in numbers if number not in known}
    assert len(whole) <= case.size * case.concurrency * 2, "what is paid and complete is delivered"
    everything = said + "".join(
        path.read_bytes().decode("utf-8", "replace") for path in run.rglob("*") if path.is_file()
    )
    assert KEY not in everything, "no secret is written or shown"

"""What the view's pages take at 10,000, 100,000 and 1,000,000 items, and what three open pages cost a run.

    python benchmarks/view.py [--items 10000 100000 1000000] [--run 4000]

Items are of one journal made here, in the form that runs write. Seconds are those of the first request over HTTP, with
nothing remembered, to a server process of its own; memory is that process's. The run is the same with and without three
readers of its live page.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

from common import DATA, ROOT, config, responder, result, table

WORDS = (ROOT / "examples" / "grade_school.jsonl").read_text("utf-8").split()
PAGES = {
    "first page of items": "/items",
    "page 10,000 of them": "/items?page=10000",
    "search, one word": "/items?q=trains",
    "search, two words and a fate": "/items?q=how+many&state=rejected",
    "dearest first": "/items?sort=-cost",
    "counts of all": "/facets",
    "counts of a search": "/facets?q=how&state=accepted",
    "one item": "/item/7-3",
    "live": "/",
    "batches": "/batches?from=1000",
    "map": "/map",
    "points of the map": "/points",
    "points by model": "/points?colour=model",
    "pairs": "/pairs",
    "review, in random order": "/review",
    "review, doubtful ones first": "/review?queue=doubtful",
    "review of a search": "/review?queue=filter&q=how",
    "persons who have judged": "/review/people",
    "cost over time": "/cost",
}
MAPPED = 20_000
"""Items with a vector and a place on the map: a run draws no more."""
COMPARED = 50_000
"""Items of the run that another is compared with: of more, no more are read."""


def journal(folder: Path, count: int, seed: int = 1) -> None:
    """A run of so many items, five a batch."""
    import numpy as np

    from engine.store.checksums import sealed
    from engine.store.journal import set_up

    folder.mkdir(parents=True)
    settings = {
        "dataset": {"path": str(DATA), "description": "d", "fields": {"text": "question", "label": "answer"}},
        "generate": {"target": count},
        "model": {"name": "m", "base_url": "http://127.0.0.1:9/v1"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    chance, noise = random.Random(seed), np.random.default_rng(seed)
    connection = sqlite3.connect(folder / "run.db", isolation_level=None)
    set_up(connection)
    connection.execute("INSERT INTO starts VALUES (1, 1.0, 2.0, 'target', 0, '{}')")
    for name, value in (("validators", ["code", "agree"]), ("committed", count // 5), ("mode", "run")):
        connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, orjson.dumps(value).decode()))
    connection.execute("BEGIN")
    for number in range(count):
        batch, position = divmod(number, 5)
        text = " ".join(chance.choices(WORDS, k=40))
        away = chance.random() < 0.25
        by = chance.choice(["code", "agree", "groupcheck"]) if away else None
        verdicts = [
            {"by": "code", "verdict": "pass", "seconds": 0.1},
            {"by": "agree", "verdict": "pass", "seconds": 0.2},
        ]
        meta = {
            "id": f"{batch}-{position}", "batch": batch, "model": f"model-{batch % 3}", "examples": [1, 2, 3],
            "attributes": {}, "temperature": 0.8, "verdicts": verdicts, "revisions": int(chance.random() < 0.1),
            "usage": {"prompt_tokens": 400, "completion_tokens": 90}, "cost_usd": chance.random() / 1000,
        }  # fmt: skip
        record = {"question": text, "answer": str(chance.randrange(1000))}
        row = (
            batch * 65_536 + position, "rejected" if away else "accepted", None, by, "wrong" if away else None,
            orjson.dumps(record).decode(), orjson.dumps(meta).decode(),
        )  # fmt: skip
        connection.execute("INSERT INTO items VALUES (?,?,?,?,?,?,?,?)", sealed(row))
        if number < MAPPED:
            vector = noise.standard_normal(384).astype(np.float16).tobytes()
            connection.execute("INSERT INTO vectors VALUES (?, ?, ?)", (row[0], b"%d" % number, vector))
            if not away:
                place = (row[0], chance.gauss(0, 1), chance.gauss(0, 1), text[:80])
                connection.execute("INSERT INTO points VALUES ('accepted', ?, ?, ?, ?)", place)
    connection.execute(
        "INSERT INTO samples VALUES (1, 1.0, ?, ?, ?, 10, 0)", (count * 3 // 4, count // 4, count // 5)
    )
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


class Viewing:
    """A server process for one folder."""

    def __init__(self, folder: Path, cache: Path) -> None:
        command = [sys.executable, "-m", "engine.cli", "view", str(folder), "--no-open", "--port", "0"]
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        said = ""
        while "Ctrl-C" not in said:
            said += self.process.stderr.readline()
        self.address = re.findall(r"http://\S+", said)[0]

    def __enter__(self) -> Viewing:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(120)

    def memory_mb(self) -> float:
        """The most that it has held so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


async def pages(viewing: Viewing, count: int) -> dict[str, Any]:
    root = viewing.address.partition("/?")[0]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:

        async def get(url: str) -> tuple[float, int, str]:
            began = time.perf_counter()
            async with visitor.get(url) as answer:
                body = await answer.read()
                assert answer.status == 200, body
                return time.perf_counter() - began, len(body), str(answer.url)

        first, _, there = await get(viewing.address)
        base = there.rstrip("/")
        assert base.startswith(root)
        began = time.perf_counter()
        longest = 0.0
        while True:
            seconds, _, _ = await get(f"{base}/items")
            longest = max(longest, seconds)
            async with visitor.get(f"{base}/items") as answer:
                if f"{count:,} of {count:,} items" in await answer.text():
                    break
            await asyncio.sleep(0.2)
        found: dict[str, Any] = {
            "opened": first, "indexed": time.perf_counter() - began, "longest meanwhile": longest
        }  # fmt: skip
        largest = 0
        for name, path in PAGES.items():
            found[name], size, _ = await get(f"{base}{path}")
            largest = max(largest, size)
        found["a decision, and the next item"] = await decision(visitor, base)
        return {**found, "largest page, kB": largest / 1e3}


async def decision(visitor: aiohttp.ClientSession, base: str) -> float:
    """Seconds from an item's rejection to the page of the next one."""
    async with visitor.get(f"{base}/review") as answer:
        shown = await answer.text()
    form = {name: re.findall(rf'name="{name}" value="([^"]+)"', shown)[0] for name in ("form_token", "item")}
    began = time.perf_counter()
    async with visitor.post(f"{base}/review", data={**form, "decision": "note", "note": "seen"}) as answer:
        assert answer.status == 200, await answer.text()
        await answer.read()
    return time.perf_counter() - began


async def compared(viewing: Viewing, *names: str) -> tuple[float, float, float]:
    """Seconds until a comparison of two runs shows, and until their texts are compared; the most memory, in MB."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:
        async with visitor.get(viewing.address) as answer:
            shown = await answer.text()
        keys = [re.findall(rf'/r/([^/"]+)/">{name}</a>', shown)[0] for name in names]
        root = viewing.address.partition("/?")[0]
        seconds = []
        for part in ("compare", "compare/texts"):
            began = time.perf_counter()
            async with visitor.get(f"{root}/{part}?run={keys[0]}&run={keys[1]}") as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()
            seconds.append(time.perf_counter() - began)
        return seconds[0], seconds[1], viewing.memory_mb()


def run_alone_and_watched(count: int, repeats: int) -> tuple[float, float]:
    """Seconds of a run without and with three open live pages; medians."""
    alone, watched = [], []
    with responder() as url, tempfile.TemporaryDirectory(prefix="datagen-bench-") as name:
        place = Path(name)
        path = config(place / "config.yaml", url, count)
        for repeat in range(repeats):
            for readers, times in ((0, alone), (3, watched)):
                folder = place / f"runs-{repeat}-{readers}" / "run"
                times.append(asyncio.run(_timed(path, folder, place, readers)))
    return statistics.median(alone), statistics.median(watched)


async def _timed(path: Path, folder: Path, place: Path, readers: int) -> float:
    """Seconds of one run. The server is there before; pages are opened once there is a run."""
    command = [
        sys.executable,
        "-m",
        "engine.cli",
        "run",
        str(path),
        "-o",
        str(folder),
        "--set",
        "observe.page=false",
    ]
    folder.parent.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        viewing = stack.enter_context(Viewing(folder.parent, place / "cache")) if readers else None
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        if viewing is None:
            await process.wait()
            return time.perf_counter() - began
        while not (folder / "config.yaml").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:
            async with visitor.get(viewing.address) as answer:
                base = str(answer.url).rstrip("/")
            tasks = [asyncio.create_task(_read(visitor, f"{base}/events")) for _ in range(readers)]
            await process.wait()
            seconds = time.perf_counter() - began
            assert not any(task.done() for task in tasks), "the pages were open all the time"
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return seconds


async def _read(visitor: aiohttp.ClientSession, url: str) -> None:
    async with visitor.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer:
        async for _ in answer.content:
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--run", type=int, default=8_000, help="items of the run; 0 for none")
    parser.add_argument("-r", "--repeats", type=int, default=3)
    options = parser.parse_args()
    columns: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="datagen-bench-") as name:
        for count in options.items:
            both = Path(name) / f"runs-{count}"
            folder = both / "run"
            journal(folder, count)
            journal(both / "other", min(count, COMPARED), 2)
            with Viewing(folder, Path(name) / "cache") as viewing:
                columns[count] = asyncio.run(pages(viewing, count))
                columns[count]["memory, MB"] = viewing.memory_mb()
            with Viewing(folder, Path(name) / "cache") as viewing:
                columns[count]["opened again"] = asyncio.run(pages(viewing, count))["opened"]
                columns[count]["memory then, MB"] = viewing.memory_mb()
            with Viewing(both, Path(name) / "cache") as viewing:
                page, texts, memory = asyncio.run(compared(viewing, "run", "other"))
                columns[count] |= {"compared with another run": page, "their texts": texts}
                columns[count] |= {"memory for that, MB": memory}
    if columns:
        names = list(next(iter(columns.values())))
        heads = ["seconds", *(f"{count:,} items" for count in columns)]
        table(
            "The view's pages",
            heads,
            [[name, *(found[name] for found in columns.values())] for name in names],
        )
    figures: dict[str, Any] = {f"{count} items": found for count, found in columns.items()}
    if options.run:
        alone, watched = run_alone_and_watched(options.run, options.repeats)
        table(
            f"A run of {options.run:,} items",
            ["", "seconds"],
            [["alone", alone], ["with three live pages open", watched], ["ratio", watched / alone]],
        )
        figures |= {"run_alone_s": alone, "run_watched_s": watched}
    result("view", **figures)


if __name__ == "__main__":
    main()

"""Evidence recall: how often the answer to a question stands in the passages retrieved for it.

As the validator asks: by the item's text and its label, which is wrong as often as it is right. Control: the passages
of another article, by the same words; where they hold the answer as often, the exit is 1.

python benchmarks/retrieval.py [DATA]     DATA holds wikipedia/wikipedia-slice.jsonl and squad-questions.jsonl
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from common import ROOT, folder, result, table
from validators.facts.check import in_turn
from validators.facts.local import Local, LocalOptions
from validators.facts.mediawiki import MediaWiki, MediaWikiOptions
from validators.facts.wiki_api import page_of, query


async def recalls(data: Path) -> list[list[Any]]:
    questions = [orjson.loads(line) for line in (data / "squad-questions.jsonl").read_bytes().splitlines()]
    chance = random.Random(2)
    by_title: dict[str, list[str]] = {}
    for question in questions:
        by_title.setdefault(question["title"], []).append(question["answers"][0])
    titles = sorted(by_title)

    def right(question: Any) -> str:
        return str(question["answers"][0])

    def wrong(question: Any) -> str:
        return chance.choice(by_title[question["title"]])

    def another(question: Any) -> str:
        return chance.choice([title for title in titles if title != question["title"]])

    cases: list[tuple[str, Any, Any]] = [
        ("right article; right label", lambda q: q["title"], right),
        ("right article; wrong label", lambda q: q["title"], wrong),
        ("whole slice; right label", lambda q: "", right),
        ("whole slice; wrong label", lambda q: "", wrong),
        ("control: another article; right label", another, right),
    ]
    rows = []
    async with Local(LocalOptions(path=data / "wikipedia-slice.jsonl")) as local:
        for name, entity, label in cases:
            began = time.perf_counter()
            asked = [(entity(q), q["question"], f"{q['question']} {label(q)}") for q in questions]
            plain = await local.retrieve([(title, text) for title, text, _ in asked], 5)
            claims = await local.retrieve([(title, claim) for title, _, claim in asked], 5)
            found = [in_turn(lists)[:5] for lists in zip(plain, claims, strict=True)]
            each = (time.perf_counter() - began) / len(questions)
            shares = [
                sum(
                    any(answer in passage.text for passage in passages[:k] for answer in question["answers"])
                    for passages, question in zip(found, questions, strict=True)
                )
                / len(questions)
                for k in (1, 3, 5)
            ]
            rows.append([name, *(round(share, 3) for share in shares), round(each * 1000, 2)])
    return rows


def pages(data: Path) -> list[dict[str, str]]:
    articles = [orjson.loads(line) for line in (data / "wikipedia-slice.jsonl").read_bytes().splitlines()]
    return [
        {"title": f"{article['title']} {number}", "text": paragraph}
        for article in articles
        for number, paragraph in enumerate(article["text"].split("\n\n"), 1)
    ]


@contextlib.contextmanager
def wiki_of(made: list[dict[str, str]]) -> Iterator[str]:
    script = str(ROOT / "scripts" / "mediawiki")
    with folder() as place:
        (place / "pages.jsonl").write_bytes(b"\n".join(map(orjson.dumps, made)))
        began = subprocess.run(
            [script, "start", str(place / "pages.jsonl")], capture_output=True, text=True, check=True
        )
        try:
            yield began.stdout.strip().splitlines()[-1]
        finally:
            subprocess.run([script, "stop"], check=True)


async def fetched(api_url: str, lookups: list[tuple[str, str]], cache: Path) -> tuple[float, int]:
    """(seconds, requests)."""
    options = MediaWikiOptions(
        api_url=api_url,
        contact="benchmark@example.org",
        at_once=8,
        per_second=1000,
        cache=cache,
        search=False,
    )
    async with MediaWiki(options) as wiki:
        began = time.perf_counter()
        await wiki.retrieve(lookups, 3)
        return time.perf_counter() - began, wiki.requests


async def one_by_one(api_url: str, lookups: list[tuple[str, str]]) -> tuple[float, int]:
    """As it is commonly done: each lookup a request, eight at once, nothing remembered."""
    left = iter(lookups)

    async with aiohttp.ClientSession() as session:

        async def worker() -> None:
            for name, _ in left:
                async with session.post(api_url, data=query([name])) as reply:
                    page_of(orjson.loads(await reply.read())["query"]["pages"][0])

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(8)))
        return time.perf_counter() - began, len(lookups)


def speeds(data: Path) -> list[list[Any]]:
    made = pages(data)
    chance = random.Random(5)
    titles = [page["title"] for page in made] + [f"Missing {n}" for n in range(110)]
    chance.shuffle(titles)
    weights = [1 / place for place in range(1, len(titles) + 1)]
    lookups = [(title, "what is it") for title in chance.choices(titles, weights, k=30_000)]
    unique = len({title for title, _ in lookups})
    with wiki_of(made) as api_url, folder() as place:
        tenth, asked = asyncio.run(one_by_one(api_url, lookups[:3000]))
        rows: list[list[Any]] = [["one title a request (10 x a tenth)", round(tenth * 10, 1), asked * 10, ""]]
        for name in ("cold", "warm cache on disk"):
            seconds, requests = asyncio.run(fetched(api_url, lookups, place / "wiki.db"))
            rows.append([name, round(seconds, 2), requests, round(tenth * 10 / seconds, 1)])
    table(f"30,000 lookups of {unique:,} titles", ["", "seconds", "requests", "times faster"], rows)
    return rows


def main() -> None:
    data = Path(
        sys.argv[1]
        if len(sys.argv) > 1
        else os.environ.get("DATAGEN_DATA") or ROOT.parent / "shared" / "data"
    )
    rows = asyncio.run(recalls(data / "wikipedia"))
    table("A right answer inside the best passages", ["searched", "top 1", "top 3", "top 5", "ms each"], rows)
    if rows[-1][2] >= min(row[2] for row in rows[:-1]) - 0.2:
        sys.exit("Another article holds the answers as often: these figures say nothing of retrieval.")
    result("retrieval", recall=rows, speed=speeds(data / "wikipedia"))


if __name__ == "__main__":
    main()

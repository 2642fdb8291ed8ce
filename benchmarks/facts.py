"""What the fact check says of right and wrong answers, with the evidence, and with it replaced.

SQuAD's questions on a slice of Wikipedia; the right answer, and the answer of another question on the same article.
The validator itself, its own retrieval; a reader that goes by the passages' words alone answers for the model, so that
the figures are of what the validator does with evidence. Control: every article is about bananas. There it must be
silent on all of them, or the exit is 1: a check that still finds support goes by something else than its evidence.

    python benchmarks/facts.py [DATA] [QUESTIONS]     DATA holds wikipedia/; 600 questions
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from common import ROOT, folder, result, table
from engine.config.simulator import SimulatorConfig
from engine.conformance import item, tools_for
from engine.items import Prompt
from engine.simulator.answers import answer
from engine.simulator.request import Asked
from validators.facts.check import FactCheck

KNOBS = SimulatorConfig(bad_json=0, prose=0, refusals=0)
FOUND = ("supported", "refuted", "silent")


async def confusion(articles: Path, asked: Sequence[tuple[str, str, str]]) -> Counter[str]:
    """How often the check says what of these (title, question, answer)."""
    titles = {question: title for title, question, _ in asked}

    def says(prompt: Prompt) -> Mapping[str, Any] | str:
        body = {
            "messages": [{"role": "user", "content": prompt.user}],
            "response_format": {"json_schema": {"name": prompt.purpose, "schema": dict(prompt.schema)}},
        }
        request = Asked(body)
        if prompt.purpose == "entities":
            return {"entities": [titles[str(request.item["text"])]]}
        return answer(request, KNOBS, random.Random(0))

    source = {"kind": "local", "path": str(articles)}
    counts: Counter[str] = Counter()
    async with FactCheck(tools_for(says), source=source, unverifiable="flag") as check:
        for place, (_, question, given) in enumerate(asked):
            verdict = await check.validate(item(question, given, position=place))
            checks = verdict.record.get("checks")
            counts[checks[0]["verdict"] if checks else "silent"] += 1
    return counts


def questions(data: Path, most: int) -> list[tuple[str, str, str, str]]:
    """(title, question, right answer, answer of another question on the same article)."""
    rows = [orjson.loads(line) for line in (data / "squad-questions.jsonl").read_bytes().splitlines()]
    chance = random.Random(11)
    by_title: dict[str, list[str]] = {}
    for row in rows:
        by_title.setdefault(row["title"], []).append(row["answers"][0])
    drawn = []
    for row in chance.sample(rows, len(rows)):
        others = [other for other in by_title[row["title"]] if other not in row["answers"]]
        if others and len(drawn) < most:
            drawn.append((row["title"], row["question"], row["answers"][0], chance.choice(others)))
    return drawn


def main() -> None:
    data = Path(
        sys.argv[1]
        if len(sys.argv) > 1
        else os.environ.get("DATAGEN_DATA") or ROOT.parent / "shared" / "data"
    )
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 600
    wiki = data / "wikipedia"
    drawn = questions(wiki, most)
    right = [(title, question, answer) for title, question, answer, _ in drawn]
    wrong = [(title, question, other) for title, question, _, other in drawn]
    rows: list[list[Any]] = []
    with folder() as place:
        bananas = place / "bananas.jsonl"
        titles = [
            orjson.loads(line)["title"] for line in (wiki / "wikipedia-slice.jsonl").read_bytes().splitlines()
        ]
        bananas.write_bytes(
            b"\n".join(orjson.dumps({"title": title, "text": "Bananas are yellow."}) for title in titles)
        )
        for name, articles in (("evidence", wiki / "wikipedia-slice.jsonl"), ("control: bananas", bananas)):
            for kind, asked in (("right", right), ("wrong", wrong)):
                counts = asyncio.run(confusion(articles, asked))
                rows.append([name, kind, *(round(counts[found] / len(asked), 3) for found in FOUND)])
    table(f"{len(drawn):,} questions", ["", "answer", *FOUND], rows)
    result("facts", questions=len(drawn), rows=rows)
    if any(row[4] < 1 for row in rows if row[0].startswith("control")) or rows[0][2] <= rows[1][2]:
        sys.exit("The check says as much without evidence as with it.")


if __name__ == "__main__":
    main()

"""Label precision, acceptance and programs per item of each policy, on real solutions of four language models.

Labels come from one model's solutions, programs from the other three models' own steps, run by the real
validator in the real sandbox. A program that fails is not mended: the models are not there to be asked.
Control: each problem gets the programs of another one. They must confirm next to nothing, or the exit is 1.

    python benchmarks/code_labels.py [DATA]     DATA holds gsm8k/model_solutions_dev.jsonl
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from common import ROOT, result, table
from engine.answers.same import same
from engine.conformance import item, tools_for
from engine.items import Decision, Prompt
from validators.code.check import CodeCheck

LABELLER = "175b_finetuning"
PROGRAMMERS = ("175b_verification", "6b_verification", "6b_finetuning")
"""Strongest first: whoever writes programs would use the best model for it."""
POLICIES: dict[str, dict[str, Any]] = {
    "relabel (the paper's)": {"policy": "relabel"},
    "vote": {"policy": "vote"},
    "confirm (default)": {},
    "confirm, one program, no appeal": {"max_programs": 1},
    "confirm, lead of 2 after a disagreement": {"margin": 2},
    "confirm, relabel on a lead of 1": {"relabel_margin": 1},
    "confirm, relabel on a lead of 2": {"relabel_margin": 2},
    "confirm, two must agree": {"agree": 2},
    "confirm, two must agree, relabel on a lead of 2": {"agree": 2, "relabel_margin": 2},
}


def final(solution: str) -> str:
    """What stands after 'A:'."""
    return solution.rpartition("A:")[2].strip()


def program(solution: str) -> str:
    """The solution's own steps as a program that prints the last one's value."""
    steps = re.findall(r"<<([^=<>]+)=[^<>]*>>", solution)
    plain = (step.replace("$", "").replace(",", "") for step in steps)
    lines = ["step = " + re.sub(r"([0-9.]+)%", r"(\1/100)", step) for step in plain]
    return "\n".join([*lines, "print(step)"])


async def measured(rows: list[dict[str, Any]], options: dict[str, Any], shift: int = 0) -> dict[str, float]:
    """`shift`: whose programs a problem gets: those of so many problems further on."""
    counts: Counter[str] = Counter()
    prompts: list[Prompt] = []
    programs: dict[str, list[str]] = {}

    def answers(prompt: Prompt) -> dict[str, Any]:
        key, tag = prompt.key.split("/")[0], prompt.key.rpartition("/")[2]
        number = int(re.split("[-.]", tag)[0])
        if prompt.purpose != "program":
            return {"same": False}
        return {"analysis": "", "code": programs[key][(number - 1) % 3]}

    check = CodeCheck(tools_for(answers, asked=prompts), fixes=0, **options)
    place = asyncio.Semaphore(16)

    async def one(number: int, row: dict[str, Any]) -> None:
        made = item(row["question"], final(row[LABELLER]["solution"]), position=number)
        other = rows[(number + shift) % len(rows)]
        programs[made.id] = [program(other[m]["solution"]) for m in PROGRAMMERS]
        async with place:
            verdict = await check.validate(made)
        truth = final(row["ground_truth"])
        raw_right = same(made.label or "", truth) is True
        counts["items"] += 1
        counts["raw right"] += raw_right
        if verdict.decision is Decision.REJECT:
            return
        label = verdict.item.label if verdict.item is not None else made.label
        counts["accepted"] += 1
        counts["right"] += same(label or "", truth) is True
        counts["raw right kept"] += raw_right and verdict.decision is Decision.PASS

    async with check:
        await asyncio.gather(*(one(number, row) for number, row in enumerate(rows)))
    return {
        "precision": counts["right"] / max(1, counts["accepted"]),
        "acceptance": counts["accepted"] / counts["items"],
        "right items kept": counts["raw right kept"] / max(1, counts["raw right"]),
        "programs per item": sum(p.purpose == "program" for p in prompts) / counts["items"],
        "raw": counts["raw right"] / counts["items"],
    }


def main() -> None:
    data = Path(
        sys.argv[1]
        if len(sys.argv) > 1
        else os.environ.get("DATAGEN_DATA") or ROOT.parent / "shared" / "data"
    )
    rows = [
        orjson.loads(line)
        for line in (data / "gsm8k" / "model_solutions_dev.jsonl").read_bytes().splitlines()
    ]
    shown, raw = [], 0.0
    for name, options in POLICIES.items():
        found = asyncio.run(measured(rows, options))
        raw = found.pop("raw")
        shown.append([name, *(round(value, 3) for value in found.values())])
    control = asyncio.run(measured(rows, {}, shift=1))
    shown.append(
        ["control: the programs of another problem", *(round(v, 3) for n, v in control.items() if n != "raw")]
    )
    columns = ["policy", "label precision", "accepted", "right labels kept", "programs per item"]
    table(
        f"{len(rows)} problems, labels of {LABELLER}",
        columns,
        [["no check", round(raw, 3), 1.0, 1.0, 0.0], *shown],
    )
    result("code_labels", rows=len(rows), raw=raw, policies={row[0]: row[1:] for row in shown})
    if control["acceptance"] > 0.1:
        sys.exit("Programs of other problems confirm labels, too: these figures say nothing of the check.")


if __name__ == "__main__":
    main()

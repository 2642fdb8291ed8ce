"""Whether a calibration's figures hold: on real solutions of four language models, and where models err alike.

GSM8K: labels of one model's solutions, programs and answers of the other three models' own steps, through
`datagen calibrate` itself. The frontier of checks; then 200 resamples of 200 problems: how often the interval of the
estimated precision holds the precision over all problems. MMLU: `agree` with three models that are right 70 % of the
time, whose errors are correlated 0, 0.3 and 0.6, labels of a fourth; beside the precision that agreement alone would
claim (Dawid and Skene's independence: that errors have nothing in common).

Controls, which must be bad, or the exit is 1: a check that passes and rejects by chance must not raise the precision;
and with the known labels shuffled, no check may look good.

    python benchmarks/calibration.py [DATA]     DATA holds gsm8k/model_solutions_dev.jsonl and mmlu/test.jsonl
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import orjson
import yaml

from code_labels import LABELLER, PROGRAMMERS, final, program
from common import ROOT, folder, result, table
from engine.config import RunConfig
from engine.config.simulator import SimulatorConfig
from engine.items import Completion, Prompt, Usage
from engine.llm.backends.server import UNKNOWN
from engine.quality.calibration import calibration
from engine.quality.cases import Case
from engine.quality.figures import told
from engine.quality.intervals import wilson
from engine.quality.together import measured, named
from engine.runs.endpoints import Backends, OpenBackend
from engine.runs.modes.calibrate import SIZE, CalibrateMode, cases_of
from engine.runs.session import opened
from engine.simulator.mistakes import errs, tempted
from engine.store.folder import RunFolder
from engine.store.reading import connect

RESAMPLES, DRAWN = 200, 200
Answers = Callable[[Prompt, Mapping[str, Any]], Mapping[str, Any]]


class Replay:
    """A Backend whose answers are known: by what is asked, of the item that the prompt shows."""

    name = "replay"

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def complete(self, prompt: Prompt) -> Completion:
        shown = re.findall(r"```json\s*(\{.*?\})\s*```", prompt.user, re.DOTALL)
        said = self._answers(prompt, orjson.loads(shown[-1]) if shown else {})
        return Completion(orjson.dumps(said).decode(), "replay", "stop", Usage(100, 50))

    async def close(self) -> None: ...


async def calibrated(settings: dict[str, Any], rows: int, answers: Answers, place: Path) -> list[Case]:
    """The cases of a calibration over these rows, out of its own journal."""
    (place / "config.yaml").write_text(yaml.safe_dump(settings))
    mode, run = CalibrateMode(rows), RunFolder(place / "run")
    inputs = mode.load(RunConfig.load(place / "config.yaml"))

    @asynccontextmanager
    async def backends(_: Any) -> AsyncIterator[Backends]:
        model = inputs.config.main
        yield Backends([OpenBackend(Replay(answers), model, UNKNOWN)], {})

    with run.locked():
        async with opened(mode, inputs, run, backends=backends) as session:
            report = await session.run()
    assert report.outcome == "target", report.data["message"]
    assert inputs.target == rows * SIZE
    with closing(connect(run.database)) as connection:
        return list(cases_of(connection))


# --- GSM8K -----------------------------------------------------------------------------------------


def gsm8k(data: Path, place: Path, *, shuffled: bool = False) -> list[Case]:
    rows = [
        orjson.loads(line)
        for line in (data / "gsm8k" / "model_solutions_dev.jsonl").read_bytes().splitlines()
    ]
    by_text = {row["question"].strip(): row for row in rows}
    truths = [final(row["ground_truth"]) for row in rows]
    if shuffled:
        random.Random(1).shuffle(truths)
    base = [{"question": row["question"], "answer": truth} for row, truth in zip(rows, truths, strict=True)]
    (place / "base.jsonl").write_bytes(b"\n".join(map(orjson.dumps, base)))

    def answers(prompt: Prompt, shown: Mapping[str, Any]) -> Mapping[str, Any]:
        row = by_text.get(str(shown.get("text", "")).strip())
        number = (
            int(re.findall(r"\d+", prompt.key.rpartition("/")[2] or "1")[0])
            if prompt.purpose != "label"
            else 1
        )
        model = PROGRAMMERS[(number - 1) % 3]
        match prompt.purpose:
            case "label":
                return {"label": final(row[LABELLER]["solution"]) if row else "0"}
            case "program":
                return {
                    "analysis": "",
                    "code": program(row[model]["solution"]) if row else "raise SystemExit",
                }
            case "agree":
                return {"reasoning": "", "answer": final(row[model]["solution"]) if row else "unknown"}
        return {"same": False, "final_answer": ""}

    settings = {
        "dataset": {
            "path": str(place / "base.jsonl"),
            "description": "Grade-school word problems.",
            "fields": {"text": "question", "label": "answer"},
        },
        "generate": {"target": 100, "few_shot": 1},
        "model": {"name": "replay", "base_url": "http://127.0.0.1:9/v1", "price": {"input": 1, "output": 1}},
        "limits": {"concurrency": 16},
        "validators": [{"name": "code", "fixes": 0}, "agree"],
        "groupcheck": None,
    }
    return asyncio.run(calibrated(settings, len(rows) - 1, answers, place))


def coverage(cases: Sequence[Case], choice: Any) -> tuple[float, float, float, float]:
    """(precision over all, mean estimate, share of intervals that hold it, mean half-width) of 200 resamples."""
    by_row: dict[int, list[Case]] = {}
    for case in cases:
        by_row.setdefault(case.row, []).append(case)
    true = measured(cases, choice)["precision"]["share"]
    chance, rows = random.Random(7), sorted(by_row)
    held, estimates, widths = 0, [], []
    for _ in range(RESAMPLES):
        drawn = chance.choices(rows, k=DRAWN)
        figure = measured([case for row in drawn for case in by_row[row]], choice)["precision"]
        held += figure["low"] <= true <= figure["high"]
        estimates.append(figure["share"] or 0.0)
        widths.append((figure["high"] - figure["low"]) / 2)
    return true, sum(estimates) / RESAMPLES, held / RESAMPLES, sum(widths) / RESAMPLES


# --- MMLU ------------------------------------------------------------------------------------------


def mmlu(data: Path, place: Path, correlation: float, rows: int = 600) -> list[Case]:
    """Three models that answer choices, right 70 % of the time, and a fourth that labels."""
    lines = (data / "mmlu" / "test.jsonl").read_bytes().splitlines()
    read = [orjson.loads(line) for line in random.Random(5).sample(lines, rows + 40)]
    base = [
        {"question": row["question"], "choices": row["choices"], "answer": int(row["answer"])} for row in read
    ]
    (place / "base.jsonl").write_bytes(b"\n".join(map(orjson.dumps, base)))
    known = {row["question"].strip(): (row["choices"], int(row["answer"])) for row in base}
    knobs = SimulatorConfig(correlation=correlation)

    def answer(prompt: Prompt, shown: Mapping[str, Any]) -> Mapping[str, Any]:
        text = str(shown.get("text", "")).strip()
        found = known.get(text)
        if found is None:
            return {"reasoning": "", "answer": "A", "label": "A", "same": False, "final_answer": ""}
        choices, right = found
        who = f"{prompt.purpose}/{prompt.key.rpartition('/')[2]}/{text}"
        chance = random.Random(hashlib.sha256(who.encode()).hexdigest())
        place = right
        if errs(0.3, text, knobs, chance):
            others = [number for number in range(len(choices)) if number != right]
            place = tempted(text, knobs, chance).choice(others)
        return {"reasoning": "", "answer": "ABCDEFGH"[place], "label": "ABCDEFGH"[place], "same": False}

    settings = {
        "dataset": {
            "path": str(place / "base.jsonl"),
            "description": "Exam questions with four choices.",
            "fields": {"text": "question", "choices": {"field": "choices"}, "label": "answer"},
        },
        "generate": {"target": 100, "few_shot": 1},
        "model": {"name": "replay", "base_url": "http://127.0.0.1:9/v1", "price": {"input": 1, "output": 1}},
        "limits": {"concurrency": 16},
        "validators": [{"name": "agree", "agree": 2}],
        "groupcheck": None,
    }
    return asyncio.run(calibrated(settings, rows, answer, place))


def claimed(cases: Sequence[Case]) -> float:
    """What agreement alone would claim of the accepted labels, if errors had nothing in common.

    With the accuracy that explains how often two answers are the same, among four choices, wrong ones evenly spread;
    the label and `k` answers that all say the same are then right with this probability (Bayes).
    """
    natural = [case for case in cases if case.natural]
    pairs = [not case.checks["agree"]["answers: 1, agree: 1"].rejected for case in natural]
    alike = sum(pairs) / len(pairs)
    best = min(
        (abs(p * p + (1 - p) ** 2 / 3 - alike), p) for p in (each / 1000 for each in range(250, 1000))
    )[1]
    right, wrong = best**3, 3 * ((1 - best) / 3) ** 3
    return right / (right + wrong)


# --- controls --------------------------------------------------------------------------------------


def by_chance(cases: Sequence[Case]) -> tuple[float, float]:
    """(precision unchecked, precision of a check that decides by a coin)."""
    chance = random.Random(3)
    natural = [case for case in cases if case.natural and case.right is not None]
    kept = [case for case in natural if chance.random() < 0.5]
    return sum(bool(case.right) for case in natural) / len(natural), sum(
        bool(case.right) for case in kept
    ) / len(kept)


def main() -> None:
    data = Path(
        sys.argv[1]
        if len(sys.argv) > 1
        else os.environ.get("DATAGEN_DATA") or ROOT.parent / "shared" / "data"
    )
    with folder() as place:
        cases = gsm8k(data, place)
    found = calibration(cases, ["code", "agree"], precision=0.9)
    shown = [
        [", ".join(named(each["checks"])) or "none", told(each["precision"]), told(each["yield"])]
        for each in found["frontier"]
    ]
    table("GSM8K: ways to check that no other beats", ["checks", "right", "accepted"], shown)
    unseen = found["held_out"]
    print(
        f"For precision 0.9, on rows that it was not chosen by: {told(unseen['precision']) if unseen else 'none'}"
    )

    ways = [(), (("code", ""),), (("code", "agree: 2"),), (("agree", ""),), (("code", ""), ("agree", ""))]
    rows: list[list[Any]] = []
    for choice in ways:
        true, mean, holds, width = coverage(cases, choice)
        label = ", ".join(named(dict(choice))) or "none"
        rows.append([label, round(true, 3), round(mean, 3), round(holds, 3), round(width, 3)])
    table(
        f"GSM8K: {RESAMPLES} resamples of {DRAWN} problems",
        ["checks", "precision of all", "mean estimate", "intervals that hold it", "half-width"],
        rows,
    )

    choices: list[list[Any]] = []
    for correlation in (0.0, 0.3, 0.6):
        with folder() as place:
            alike = mmlu(data, place, correlation)
        one = measured(alike, (("agree", "answers: 1, agree: 1"),))
        two = measured(alike, (("agree", ""),))
        three = measured(alike, (("agree", "answers: 3, agree: 3"),))
        true, mean, holds, width = coverage(alike, (("agree", ""),))
        raw = told(measured(alike, ())["precision"])
        choices.append(
            [correlation, raw, told(one["precision"]), told(two["precision"]), told(three["precision"]),
             round(claimed(alike), 3), round(holds, 3), round(width, 3)]
        )  # fmt: skip
    table(
        "MMLU: right labels among those that agree, by how much models err alike",
        ["correlation", "unchecked", "1 of 1", "2 of 3", "3 of 3", "claimed by agreement alone",
         "intervals that hold it", "half-width"],
        choices,
    )  # fmt: skip

    raw, coin = by_chance(cases)
    with folder() as place:
        shuffled = calibration(gsm8k(data, place, shuffled=True), ["code", "agree"])
    nothing = shuffled["accepted"]["precision"]
    print(f"Control: unchecked {raw:.3f}, by a coin {coin:.3f}; known labels shuffled: {told(nothing)}")
    result("calibration", frontier=shown, coverage=rows, mmlu=choices, coin=[raw, coin], shuffled=nothing)
    low, high = wilson(round(raw * 330), 330)
    if not low <= coin <= high or (nothing["share"] or 0) > 0.2 or min(row[3] for row in rows) < 0.9:
        sys.exit(
            "A control does as well as the real thing, or an interval does not hold: these figures show nothing."
        )


if __name__ == "__main__":
    main()

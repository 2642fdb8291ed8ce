"""Items as tasks for reinforcement learning: a prompt, what an answer is verified by, how hard the task was.

Sources of the shapes: TRL's GRPOTrainer (a prompt; every other column is passed on to the reward functions), verifiers'
environments (prompt, answer, info as JSON text, task), which prime-rl trains on, and veRL's preparation of data
(data_source, prompt, ability, reward_model with style and ground_truth, extra_info), a Parquet file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from engine.answers.numbers import readings
from engine.config import RunConfig
from engine.dataset.chats import Message
from engine.dataset.fields import Fields
from engine.errors import ConfigError
from engine.exports.files import write_jsonl, write_parquet
from engine.exports.training import is_empty, kind_of, training_of
from engine.protocols import Row
from engine.schema.columns import schema_of

TESTS = "tests"
"""The validator that runs an item's tests."""


@dataclass(frozen=True)
class Task:
    """One item as a task. `verifier` is how an answer is verified: number, choice, label, text, tests or io."""

    id: str
    prompt: list[Message]
    verifier: str
    answer: str
    """The right answer; of code, a solution that passes."""
    tests: Any = None
    """Of code: tests in its language; or `inputs` and `outputs`."""
    language: str = ""
    difficulty: float | None = None
    """The share of the answers asked for that were right: near 0 is hard; None where only one was asked for."""


def tasks_of(rows: Iterable[Row], fields: Fields, config: RunConfig) -> Iterator[Task]:
    """The items as tasks. Raises ConfigError for a row that is no item."""
    spec = next((each.options for each in config.validators if each.name == TESTS), None)
    for row in rows:
        meta = row.get("_meta") or {}
        item = {name: value for name, value in row.items() if name != "_meta"}
        if is_empty(item, fields):
            continue
        training = training_of(item, fields, config.dataset.description)
        example = fields.read(0, item)
        answer = str(training.messages[-1]["content"])
        verifier, tests, language = _verifier(fields, example, answer), None, ""
        if spec is not None:
            held = example.extras.get(str(spec.get("tests", "tests")))
            verifier = "io" if _told(meta, "verify") == "io" else "tests"
            tests, language = _tests(held, verifier), _told(meta, "language")
        elif verifier != "text" and example.label is not None and isinstance(example.label, str):
            answer = example.label  # without the way to it
        yield Task(
            str(meta.get("id", "")), training.prompt, verifier, answer, tests, language, difficulty_of(meta)
        )


def difficulty_of(meta: Mapping[str, Any]) -> float | None:
    """By the answers that the row had, else by those that a check asked for."""
    samples = meta.get("samples")
    if isinstance(samples, Mapping) and samples.get("of", 0) > 1:
        return round(float(samples["passed"]) / float(samples["of"]), 4)
    agreement = meta.get("agreement")
    return float(agreement) if isinstance(agreement, int | float) else None


def _verifier(fields: Fields, example: Any, answer: str) -> str:
    if example.choices:
        return "choice"
    if fields.closed_labels:
        return "label"
    return (
        "number" if isinstance(example.label, str) and readings(example.label) else "text" if answer else ""
    )


def _tests(held: Any, verifier: str) -> Any:
    """As they are run; inputs and outputs as two lists, which is what trainers read."""
    if isinstance(held, str) and held.strip()[:1] in "[{":
        try:
            held = orjson.loads(held)
        except orjson.JSONDecodeError:
            return held
    if verifier == "io" and isinstance(held, list):
        return {"inputs": [each["input"] for each in held], "outputs": [each["output"] for each in held]}
    return held


def _told(meta: Mapping[str, Any], name: str) -> str:
    """What the check of an item's tests has noted."""
    told = (verdict.get("record", {}) for verdict in meta.get("verdicts", ()) if verdict.get("by") == TESTS)
    return next((str(each[name]) for each in told if name in each), "")


def write(form: str, rows: Callable[[], Iterable[Row]], fields: Fields, config: RunConfig, path: Path) -> int:
    """Writes the tasks as `form`; how many there are. Raises ConfigError, StoreError."""
    if (why := misfit(fields)) is not None:
        raise ConfigError(f"-f {form}: {why}")
    if next(tasks_of(rows(), fields, config), None) is None:
        raise ConfigError(f"-f {form}: there is no accepted item to export")
    return FORMS[form](lambda: tasks_of(rows(), fields, config), path)


def misfit(fields: Fields) -> str | None:
    """Why items of this dataset are no tasks; None where they are."""
    kind = kind_of(fields)
    if kind in ("preference", "judged", "prompt"):
        return "needs items with an answer that can be verified"
    return None if fields.config.all_labels or kind == "conversation" else "needs items with a label"


Tasks = Callable[[], Iterator[Task]]


def _grpo(tasks: Tasks, path: Path) -> int:
    return write_jsonl(lambda: map(_of_trl, tasks()), path)


def _of_trl(task: Task) -> Row:
    """Every row has the same columns, which reward functions get by name."""
    return {
        "prompt": task.prompt,
        "answer": task.answer,
        "verifier": task.verifier,
        "tests": _as_text(task.tests),
        "language": task.language,
        "difficulty": task.difficulty,
        "id": task.id,
    }


def _verifiers(tasks: Tasks, path: Path) -> int:
    return write_jsonl(lambda: map(_of_verifiers, tasks()), path)


def _of_verifiers(task: Task) -> Row:
    info = {
        "id": task.id,
        "verifier": task.verifier,
        **({"tests": task.tests, "language": task.language} if task.tests is not None else {}),
        **({"difficulty": task.difficulty} if task.difficulty is not None else {}),
    }
    return {
        "prompt": task.prompt,
        "answer": task.answer,
        "info": orjson.dumps(info).decode(),
        "task": task.verifier,
    }


_ABILITIES = {"number": "math", "tests": "code", "io": "code"}


def _verl(tasks: Tasks, path: Path) -> int:
    def rows() -> Iterator[Row]:
        for index, task in enumerate(tasks()):
            truth = _as_text(task.tests) if task.tests is not None else task.answer
            yield {
                "data_source": path.stem,
                "prompt": [{"role": each["role"], "content": each["content"]} for each in task.prompt],
                "ability": _ABILITIES.get(task.verifier, "reasoning"),
                "reward_model": {"style": "rule", "ground_truth": truth},
                "extra_info": {
                    "index": index,
                    "split": "train",
                    "id": task.id,
                    "answer": task.answer,
                    "verifier": task.verifier,
                    "difficulty": task.difficulty if task.difficulty is not None else -1.0,
                },
            }

    return write_parquet(rows, path, schema=schema_of(rows()))


def _as_text(tests: Any) -> str:
    return tests if isinstance(tests, str) else "" if tests is None else orjson.dumps(tests).decode()


FORMS: Mapping[str, Callable[[Tasks, Path], int]] = {"grpo": _grpo, "verifiers": _verifiers, "verl": _verl}
READERS = {
    "grpo": "TRL: GRPO and its kin, with reward functions",
    "verifiers": "verifiers' environments, prime-rl",
    "verl": "veRL, as Parquet",
}
"""Who reads it."""

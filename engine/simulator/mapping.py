"""The simulated answer to what is asked of a row: new columns, right where the simulator knows what the row asks."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

import orjson

from engine.config.simulator import SimulatorConfig
from engine.simulator.content import code_tasks, facts, word_problems
from engine.simulator.items import code_fields, written_code
from engine.simulator.likeness import scalar, sentences
from engine.simulator.mistakes import errs, tempted, wrong_number
from engine.simulator.request import Asked


def mapped(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    """A value for each column; of several rows for one, each with values of its own."""
    row = asked.row_text
    whole = asked.reply_schema.get("properties", {})
    several = whole.get("rows") if isinstance(whole, dict) else None
    if isinstance(several, dict) and several.get("type") == "array":
        count, of = int(several.get("minItems", 2)), several.get("items", {})
        return {"rows": [_row(of, row, place, asked, knobs, chance) for place in range(1, count + 1)]}
    return _row(asked.reply_schema, row, 0, asked, knobs, chance)


def _row(
    schema: Mapping[str, Any],
    row: str,
    place: int,
    asked: Asked,
    knobs: SimulatorConfig,
    chance: random.Random,
) -> dict[str, Any]:
    fields = schema.get("properties", {})
    task = code_tasks.known(row)
    if task is not None and code_fields(fields)[0]:
        written = written_code(task, fields, knobs, chance)
        others = {name: _value(name, of, row, asked, chance) for name, of in fields.items()}
        return {name: written.get(name, others[name]) for name in fields}
    given = _answer(row, knobs, chance)
    made: dict[str, Any] = {}
    answered = False
    for name, of in fields.items():
        is_free = _is_free(of)
        if given is not None and is_free and not answered and not _is_explanation(name, fields):
            made[name] = _as(given, of)
            answered = True
        elif given is not None and _kind(of) == "string" and "enum" not in of:
            made[name] = f"Step by step from the text, this comes to {given}."
        else:
            made[name] = _value(name, of, row, asked, chance)
        if place and isinstance(made[name], str) and "enum" not in of:
            made[name] = f"{made[name]} ({place})"
    return made


def _is_free(of: Mapping[str, Any]) -> bool:
    """Whether any text, or any number, may stand there."""
    return _kind(of) in ("string", "integer", "number") and not {"enum", "minimum", "maximum"} & of.keys()


def _is_explanation(name: str, fields: Mapping[str, Any]) -> bool:
    """Whether a text is for the way to the answer, where another column is for the answer itself."""
    free = [each for each, of in fields.items() if _is_free(of)]
    answers = [each for each in free if re.search(r"answer|label|result", each)]
    return bool(answers) and name not in answers


def _answer(row: str, knobs: SimulatorConfig, chance: random.Random) -> str | None:
    """What the row asks, answered: wrong as often as the knob says, and alike where models err alike."""
    problem, fact = word_problems.known(row), facts.known(row)
    right = str(problem.answer) if problem is not None else fact.answer if fact is not None else None
    if right is None or not errs(1 - knobs.answer_accuracy, row, knobs, chance):
        return right
    source = tempted(row, knobs, chance)
    if problem is not None:
        return str(wrong_number(row, problem.answer, source))
    return source.choice(fact.wrong) if fact is not None and fact.wrong else "I do not know"


def _kind(of: Mapping[str, Any]) -> str:
    kind = of.get("type")
    kind = next((each for each in kind if each != "null"), "string") if isinstance(kind, list) else kind
    return str(kind or "string")


def _as(given: str, of: Mapping[str, Any]) -> Any:
    if _kind(of) == "string" or not re.fullmatch(r"-?\d+", given):
        return given
    return int(given) if _kind(of) == "integer" else float(given)


def _value(name: str, of: Mapping[str, Any], row: str, asked: Asked, chance: random.Random) -> Any:
    """A value that the schema allows, for a row of which nothing is known."""
    if options := [each for each in of.get("enum", ()) if each is not None]:
        return chance.choice(options)
    match _kind(of):
        case "array":
            inner = of.get("items", {})
            if inner.get("type") == "object":
                return [_span(inner, row, asked, chance) for _ in range(chance.randint(1, 2))]
            if "enum" in inner:
                return [chance.choice(inner["enum"])]
            words = _names(row) or ["general"]
            return sorted({chance.choice(words) for _ in range(2)})
        case "object":
            return {
                each: _value(each, inner, row, asked, chance)
                for each, inner in of.get("properties", {}).items()
            }
        case "string":
            return _text(name, row, of, chance)
        case "boolean":
            return chance.random() < 0.5
    return scalar(of, chance)


def _span(of: Mapping[str, Any], row: str, asked: Asked, chance: random.Random) -> dict[str, Any]:
    """An object of a list: texts in it are words of the row."""
    words = _names(row) or ["general"]
    return {
        name: chance.choice(words)
        if _kind(inner) == "string" and "enum" not in inner
        else _value(name, inner, row, asked, chance)
        for name, inner in of.get("properties", {}).items()
    }


def _names(row: str) -> list[str]:
    """Names, or else words, of what a row's prompt is about: its longest line."""
    subject = max(row.splitlines(), key=len, default="")
    return re.findall(r"[A-Z][a-z]+(?: [A-Z][a-z]+)*", subject) or re.findall(r"\w{4,}", subject)


def _text(name: str, row: str, of: Mapping[str, Any], chance: random.Random) -> str:
    words = " ".join(re.findall(r"\w+", row)[-8:])
    said = sentences(of, chance)
    return f"{said} ({words})" if words else said


def points(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    """A judge's points for candidates: high for those that are right, and now and then the wrong way round."""
    candidates = asked.item.get("candidates")
    given = candidates if isinstance(candidates, dict) else {}
    row = orjson.dumps({name: value for name, value in asked.item.items() if name != "candidates"}).decode()
    right = right_answer(row)
    rated = []
    for letter, answer in given.items():
        good = right is not None and re.search(rf"(?<!\w){re.escape(right)}(?!\w)", str(answer)) is not None
        if errs(1 - knobs.review_accuracy, f"{row}/{answer}", knobs, chance):
            good = not good
        rated.append({"candidate": letter, "points": chance.randint(7, 10) if good else chance.randint(1, 3)})
    return {"reasoning": "By what is asked.", "points": rated}


def right_answer(row: str) -> str | None:
    """What a row asks, where the simulator knows it."""
    if (problem := word_problems.known(row)) is not None:
        return str(problem.answer)
    fact = facts.known(row)
    return fact.answer if fact is not None else None

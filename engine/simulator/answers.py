"""The simulated answer for every purpose on the wire, based on what the simulator knows to be true."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from string import ascii_uppercase
from typing import Any

import orjson

from engine.config.simulator import SimulatorConfig
from engine.simulator.content import facts, word_problems
from engine.simulator.evidence import fact_check
from engine.simulator.grounding import answerable, closed_book, grounding
from engine.simulator.harder import harder, is_harder, plain_choice, plan
from engine.simulator.items import filled, is_violation, new_items
from engine.simulator.mapping import mapped, points
from engine.simulator.mistakes import errs, tempted, wrong_number
from engine.simulator.request import Asked
from engine.simulator.truth import is_right, right_label, truth_of

_STOP_WORDS = frozenset(
    "the and for that with how many what which are was has have does from into each".split()
)


def answer(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> str:
    """The message content for a request: JSON, unless a format defect is drawn."""
    if chance.random() < knobs.refusals:
        return "I'm sorry, but I can't help with that request."
    content = _ANSWERS.get("map" if asked.is_of_row else asked.purpose, _free)(asked, knobs, chance)
    text = orjson.dumps(content).decode()
    if chance.random() < knobs.bad_json:
        return _broken(text, chance)
    if chance.random() < knobs.prose:
        return f"Sure, here is what you asked for:\n\n```json\n{text}\n```\n\nLet me know if you need more."
    return text


def _broken(text: str, chance: random.Random) -> str:
    """The text with a trailing comma or without its end."""
    if chance.random() < 0.5 and text.endswith("]}"):
        return text[:-2] + ",]}"
    return text[: int(len(text) * chance.uniform(0.5, 0.95))]


def _items(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    return {"items": new_items(asked, knobs, chance)}


def _attributes(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    entries = []
    for index, example in enumerate(asked.examples or [asked.item]):
        words = re.findall(r"[a-z]{4,}", str(example.get("text", "")).casefold())
        keywords = list(dict.fromkeys(word for word in words if word not in _STOP_WORDS))[:4]
        entries.append({"index": index, "keywords": keywords or ["general"]})
    return {"attributes": entries}


def _review(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    good = is_right(asked.item) is not False
    if errs(1 - knobs.review_accuracy, str(asked.item.get("text", "")), knobs, chance):
        good = not good
    said = "The label fits the text." if good else "The label does not fit the text."
    points = {name: part.get("maximum", 5) if good else 1 for name, part in asked.scores.items()}
    return {"analysis": said, **({"scores": points} if points else {}), "good": good}


def _revision(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    item = dict(asked.item)
    right = right_label(item)
    if right is not None and "label" in item and chance.random() < knobs.review_accuracy:
        item["label"] = right
    return {"item": item}


def _program(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    truth = truth_of(str(asked.item.get("text", "")) or asked.text)
    code = truth.program if truth is not None and truth.program else _guess(asked)
    text = str(asked.item.get("text", ""))
    if errs(knobs.program_errors, text, knobs, chance):
        source = tempted(text, knobs, chance)
        if truth is None or not truth.program or source.random() < _CRASHES:
            code = f"{code}\nraise ValueError('no answer')"
        else:
            wrong = wrong_number(text, int(truth.answer), source)
            code = re.sub(r"print\(.*\)", f"print({wrong})", code)
    return {"analysis": "Compute from the numbers in the text.", "code": code}


_CRASHES = 0.5
"""Of programs that are wrong: those that end in an error."""


def _guess(asked: Asked) -> str:
    """For a text that the simulator did not write: the sum of its numbers."""
    numbers = re.findall(r"\d+", str(asked.item.get("text", "")).replace(",", ""))[:10]
    return f"print(sum([{', '.join(numbers) or '0'}]))"


def _same_answer(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    values = [_plain(plain_choice(str(value))) for value in asked.item.values()]
    return {"same": len(values) >= 2 and values[0] == values[1]}


def _constraint_check(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    """Treats the simulator's own violations as broken rules, and errs as often as a review does."""
    kept = not is_violation(str(asked.item.get("text", "")))
    if chance.random() >= knobs.review_accuracy:
        kept = not kept
    broken = [] if kept else [{"rule": 1, "why": "The text is not what the rule asks for."}]
    return {"analysis": "Compared with each rule.", "broken": broken}


def _entities(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    text = str(asked.item.get("text", ""))
    truth = truth_of(text)
    capitals = re.findall(r"\b[A-Z][a-z]+(?: [A-Z][a-z]+)*", text)
    return {"entities": [truth.subject] if truth is not None else capitals[-3:]}


def _fact_check(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    return fact_check(asked, knobs, chance)


def _enhancement_plan(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    return plan(asked, chance)


def _answer(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    right = right_label(asked.item)
    if right is None and (labels := _LABELS.search(asked.text)) is not None:
        return {"answer": chance.choice(labels[1].split(", "))}
    harder = knobs.harder_accuracy is not None and is_harder(asked.item)
    accuracy = (
        knobs.harder_accuracy if harder and knobs.harder_accuracy is not None else knobs.answer_accuracy
    )
    given = _worked_out(asked, accuracy, knobs, chance)
    wordy = chance.random() < knobs.wordy_answers
    return {"answer": f"All things considered, it comes down to {given}" if wordy else given}


def _adherence(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    """Says of each attribute whether the item's text holds a word of it, and errs as a review does."""
    text = " ".join(str(value) for value in asked.item.values()).casefold()
    kept, broken = list[str](), list[str]()
    for name, value in re.findall(r"^- ([^:\n]+): (.+)$", asked.text, re.MULTILINE):
        has = any(word[:5] in text for word in re.findall(r"\w+", value.casefold()))
        if errs(1 - knobs.review_accuracy, f"{name}/{text}", knobs, chance):
            has = not has
        (kept if has else broken).append(name)
    return {"items": [{"index": 0, "kept": kept, "broken": broken}]}


def _preference(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    """The right one of two versions, as often as a review is right; by chance where both are, or neither is."""
    versions = [asked.item.get(name) for name in ("first", "second")]
    right = [isinstance(each, dict) and is_right(each) is True for each in versions]
    better = (
        "first"
        if right[0] > right[1]
        else "second"
        if right[1] > right[0]
        else chance.choice(["first", "second"])
    )
    if errs(1 - knobs.review_accuracy, str(versions), knobs, chance):
        better = "second" if better == "first" else "first"
    return {"reasoning": "By their labels.", "better": better}


def _unknown(item: Mapping[str, Any], chance: random.Random) -> str:
    """An answer to a question that the simulator did not write: a letter, or what comes of two of its numbers."""
    if choices := item.get("choices"):
        return ascii_uppercase[chance.randrange(len(choices))]
    numbers = [int(number) for number in re.findall(r"\d+", str(item.get("text", "")))][:6]
    return str(sum(chance.sample(numbers, min(2, len(numbers))))) if numbers else "I do not know"


def _any(name: str, schema: Mapping[str, Any], asked: Asked, chance: random.Random) -> Any:
    """A value that the schema allows, where it names those that it does; else one of the examples'."""
    if "enum" in schema:
        return chance.choice(schema["enum"])
    if schema.get("type") == "object" and not asked.examples:
        inner = schema.get("properties", {})
        return {each: _any(each, of, asked, chance) for each, of in inner.items()}
    if schema.get("type") == "array" and "enum" in schema.get("items", {}):
        return [chance.choice(schema["items"]["enum"])]
    return filled(name, schema, asked, chance)


def _label(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    """The label of an item, as often wrong as in new items, with a solution that ends in it.

    Several labels are any that the examples have, or that may be.
    """
    if any(schema.get("type") in ("object", "array") for schema in asked.properties.values()):
        return {name: _any(name, schema, asked, chance) for name, schema in asked.properties.items()}
    right, text = right_label(asked.item), str(asked.item.get("text", ""))
    share = knobs.wrong_labels if word_problems.known(text) is not None else knobs.wrong_facts
    if right is None:
        given: Any = chance.choice(asked.allowed_labels or [_unknown(asked.item, chance)])
    else:
        wrong = errs(share, text, knobs, chance)
        given = _wrong(asked.item, right, tempted(text, knobs, chance)) if wrong else right
    reply = {
        name: f"Step by step from the text, this comes to {given}."
        for name in asked.properties
        if name != "label"
    }
    return {**reply, "label": given}


def _agree(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    if right_label(asked.item) is None and (labels := asked.answers):
        return {"reasoning": "By its tone.", "answer": chance.choice(labels)}
    given = _worked_out(asked, knobs.answer_accuracy, knobs, chance)
    return {"reasoning": "Step by step from what is given.", "answer": given}


def _worked_out(asked: Asked, accuracy: float, knobs: SimulatorConfig, chance: random.Random) -> str:
    """The right answer, or a wrong one as a model would arrive at it."""
    right, text = right_label(asked.item), str(asked.item.get("text", ""))
    if right is None:
        return _unknown(asked.item, chance)
    if errs(1 - accuracy, text, knobs, chance):
        return _wrong(asked.item, right, tempted(text, knobs, chance))
    return right


_LABELS = re.compile(r"\bof: ([^.\n]+)\.")
"""A list that the question is to be answered from."""


def _wrong(item: Mapping[str, Any], right: str | None, chance: random.Random) -> str:
    choices = item.get("choices")
    if isinstance(choices, list) and choices:
        place = ascii_uppercase.find(right or "-")
        others = sorted({str(choice) for number, choice in enumerate(choices) if number != place})
        return ascii_uppercase[[*map(str, choices)].index(chance.choice(others))] if others else "A"
    if right is not None and right.lstrip("-").isdigit():
        return str(wrong_number(str(item.get("text", "")), int(right), chance))
    fact = facts.known(str(item.get("text", "")))
    return chance.choice(fact.wrong) if fact is not None and fact.wrong else "I do not know"


def _judgement(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    given = str(asked.item.get("answer", asked.item.get("response", "")))
    right = str(asked.item.get("label") or right_label(asked.item) or "")
    return {"final_answer": given, "same": _plain(given) == _plain(right) or _ends_with(given, right)}


def _ends_with(given: str, right: str) -> bool:
    """Whether the given answer ends with the right one as whole words."""
    said, wanted = _plain(given), _plain(right)
    return bool(wanted) and said.endswith(wanted) and not said[: -len(wanted)][-1:].isalnum()


def _plain(value: Any) -> str:
    return str(value).strip().casefold().replace(",", "").strip("$.")


def _free(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    return {"answer": "This is a simulated endpoint; it plays a language model and is none."}


def _lessons(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    reasons = asked.item.get("reasons")
    named = list(reasons)[:6] if isinstance(reasons, dict) else []
    return {"lessons": [f"Mind what is turned away as {reason}." for reason in named] or ["Take more care."]}


_ANSWERS: Mapping[str, Callable[[Asked, SimulatorConfig, random.Random], dict[str, Any]]] = {
    "items": _items,
    "attributes": _attributes,
    "review": _review,
    "revision": _revision,
    "program": _program,
    "same_answer": _same_answer,
    "constraint_check": _constraint_check,
    "entities": _entities,
    "fact_check": _fact_check,
    "enhancement_plan": _enhancement_plan,
    "enhancement": harder,
    "answer": _answer,
    "agree": _agree,
    "label": _label,
    "preference": _preference,
    "adherence": _adherence,
    "judgement": _judgement,
    "lessons": _lessons,
    "grounding": grounding,
    "closed_book": closed_book,
    "answerable": answerable,
    "map": mapped,
    "candidates": points,
}

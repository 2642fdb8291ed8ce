"""The simulated answer to a request for new items, with the configured share of defects."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from engine.config.simulator import SimulatorConfig
from engine.simulator.content import facts, word_problems
from engine.simulator.request import Asked

_POOL = 12
"""Items that near-duplicates are made from, for each kind and request: guidance leads to other items."""
_REWORDINGS = ("Here is a question: {}", "Consider this. {}", "{} Think carefully.", "Please answer: {}")
_FOREIGN = (
    "Ein Händler verkauft am Vormittag vierzehn Körbe und am Nachmittag neun weitere. Wie viele Körbe sind das?",
    "La maestra reparte treinta lápices entre cinco mesas. ¿Cuántos lápices recibe cada mesa de la clase?",
    "Une fermière ramasse vingt œufs le matin et douze le soir. Combien d'œufs ramasse-t-elle dans la journée?",
)
_DEFECTS = ("wrong_labels", "wrong_facts", "near_duplicates", "violations")
_PADDING = (
    "It was a long day, and many things happened that have nothing to do with the question, such as the weather,"
    " which was fair, and the traffic, which was slow, and the news, which nobody listened to for very long."
)


def new_items(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> list[dict[str, Any]]:
    """The requested number of items in the requested form; some of them are defective."""
    kind = kind_of(asked, knobs)
    if asked.advised:
        left = 1.0 - knobs.heeds_lessons
        defects = {name: getattr(knobs, name) * left for name in _DEFECTS}
        knobs = knobs.model_copy(update=defects)
    labels = list(asked.labels) or [chance.choice(asked.allowed_labels) for _ in range(_enumerated(asked))]
    chance.shuffle(labels)
    items = []
    for number in range(asked.count):
        wanted = labels[number] if number < len(labels) else None
        items.append(_item(kind, asked, knobs, chance, wanted))
    if chance.random() < knobs.wrong_count:
        items = items[:-1] if chance.random() < 0.5 and len(items) > 1 else [*items, items[0]]
    return items


def _enumerated(asked: Asked) -> int:
    return asked.count if asked.allowed_labels else 0


def kind_of(asked: Asked, knobs: SimulatorConfig) -> str:
    """The configured kind, or the kind that the request suggests."""
    if knobs.kind != "auto":
        return knobs.kind
    if "choices" in asked.properties:
        return "multiple_choice"
    labels = [str(example.get("label", "")) for example in asked.examples]
    numeric = sum(_NUMBER_LAST.search(label) is not None for label in labels)
    if labels:
        return "word_problems" if 2 * numeric > len(labels) else "short_facts"
    said = asked.text.casefold()
    return (
        "word_problems" if any(w in said for w in ("math", "arithmetic", "word problem")) else "short_facts"
    )


_NUMBER_LAST = re.compile(r"(?:^|#### ?)-?\$?\d[\d.,]*$")
"""A number alone, or after the worked solution that GSM8K's labels are."""


def _item(
    kind: str, asked: Asked, knobs: SimulatorConfig, chance: random.Random, wanted: str | None
) -> dict[str, Any]:
    worn = chance.random() < knobs.near_duplicates
    source = _worn(kind, asked, knobs, chance) if worn else chance
    content = _WRITERS[kind](source, knobs, wanted)
    if worn:
        content["text"] = chance.choice(_REWORDINGS).format(content["text"])
    if chance.random() < knobs.violations:
        content["text"] = _violating(content["text"], chance)
    if wanted is not None and "choices" not in asked.properties:
        content["label"] = wanted
    return {
        name: content.get(name, _extra(name, schema, asked, chance))
        for name, schema in asked.properties.items()
    }


def _worn(kind: str, asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> random.Random:
    return random.Random(f"{knobs.seed}/{kind}/{asked.attributes}/{chance.randrange(_POOL)}")


def _word_problem(chance: random.Random, knobs: SimulatorConfig, wanted: str | None) -> dict[str, Any]:
    problem = word_problems.draw(chance)
    label = problem.answer
    if chance.random() < knobs.wrong_labels:
        while label == problem.answer:
            label = problem.answer + chance.choice((-10, -5, -3, -2, -1, 1, 2, 3, 5, 10, problem.answer))
    return {"text": problem.text, "label": str(label)}


def _short_fact(chance: random.Random, knobs: SimulatorConfig, wanted: str | None) -> dict[str, Any]:
    fact = facts.draw(chance)
    wrong = chance.random() < knobs.wrong_facts
    return {"text": fact.question, "label": chance.choice(fact.wrong) if wrong else fact.answer}


def _multiple_choice(chance: random.Random, knobs: SimulatorConfig, wanted: str | None) -> dict[str, Any]:
    fact = facts.draw(chance)
    others = chance.sample(fact.wrong, min(3, len(fact.wrong)))
    choices = [fact.answer, *others]
    chance.shuffle(choices)
    right = choices.index(fact.answer)
    if wanted is not None and wanted in ascii_uppercase[: len(choices)]:
        place = ascii_uppercase.index(wanted)
        choices[right], choices[place] = choices[place], choices[right]
        right = place
    label = ascii_uppercase[right]
    if chance.random() < knobs.wrong_facts:
        label = chance.choice([letter for letter in ascii_uppercase[: len(choices)] if letter != label])
    return {"text": fact.question, "choices": choices, "label": label}


_WRITERS = {
    "word_problems": _word_problem,
    "short_facts": _short_fact,
    "multiple_choice": _multiple_choice,
}


def _violating(text: str, chance: random.Random) -> str:
    """A text that is far too long, or in another language."""
    return chance.choice(_FOREIGN) if chance.random() < 0.5 else f"{text} {_PADDING} {_PADDING}"


def is_violation(text: str) -> bool:
    """Whether a text is one that the knob `violations` produces."""
    return text in _FOREIGN or _PADDING in text


def _extra(name: str, schema: Any, asked: Asked, chance: random.Random) -> Any:
    """A value for an additional field of the dataset: from one of the examples, or a default."""
    seen = [example[name] for example in asked.examples if example.get(name) is not None]
    if seen:
        return chance.choice(seen)
    declared = schema.get("type") if isinstance(schema, Mapping) else None
    return {"array": ["general"], "integer": 1, "number": 1.0, "boolean": True}.get(str(declared), "general")

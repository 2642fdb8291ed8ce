"""The simulated answer to a request for new items, with the configured share of defects."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from string import ascii_uppercase
from typing import Any

from engine.config.simulator import SimulatorConfig
from engine.simulator.content import code_tasks, facts, word_problems
from engine.simulator.grounding import from_passages
from engine.simulator.likeness import like_examples
from engine.simulator.mistakes import errs, tempted, wrong_number
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
    if asked.passages:
        order = chance.random()
        return [from_passages(asked, knobs, chance, number, order) for number in range(asked.count)]
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
    if not {"text"} <= asked.properties.keys() or asked.properties.keys() & _OTHER_FORMS:
        return "like_examples"
    if code_fields(asked.properties)[1]:
        return "code"
    questions = _are_questions(asked)
    if "choices" in asked.properties:
        return "multiple_choice" if questions and _choices(asked) <= _MOST_CHOICES else "like_examples"
    label = asked.properties.get("label", {})
    if label.get("enum") or label.get("type") not in ("string", None) or not questions:
        numbers = label.get("type") in ("integer", "number") and questions
        return "word_problems" if numbers and not label.get("enum") else "like_examples"
    labels = [str(example.get("label", "")) for example in asked.examples]
    numeric = sum(_NUMBER_LAST.search(label) is not None for label in labels)
    if labels:
        return "word_problems" if 2 * numeric > len(labels) else "short_facts"
    said = asked.text.casefold()
    return (
        "word_problems" if any(w in said for w in ("math", "arithmetic", "word problem")) else "short_facts"
    )


_OTHER_FORMS = frozenset(("messages", "chosen", "rejected", "labels"))


_MOST_CHOICES = 4
"""A fact with its wrong answers has so many choices."""


def _choices(asked: Asked) -> int:
    """How many choices an item is to have at least."""
    return int(asked.properties["choices"].get("minItems", 2))


def _are_questions(asked: Asked) -> bool:
    """Whether the examples ask something, or there are none to say otherwise."""
    texts = [str(example.get("text", "")).rstrip() for example in asked.examples]
    return not texts or 2 * sum("?" in text[-200:] for text in texts) > len(texts)


_NUMBER_LAST = re.compile(r"(?:^|#### ?)-?\$?\d[\d.,]*$")
"""A number alone, or after the worked solution that GSM8K's labels are."""


def _item(
    kind: str, asked: Asked, knobs: SimulatorConfig, chance: random.Random, wanted: str | None
) -> dict[str, Any]:
    worn = chance.random() < knobs.near_duplicates
    source = _worn(kind, asked, knobs, chance) if worn else chance
    if knobs.different is not None:
        source = random.Random(f"{knobs.seed}/{kind}/{chance.randrange(knobs.different)}")
    if kind == "multiple_choice":
        most = int(asked.properties.get("choices", {}).get("maxItems", _MOST_CHOICES))
        content = _multiple_choice(source, knobs, wanted, min(most, _MOST_CHOICES))
    elif kind == "code":
        content = written_code(code_tasks.draw(source), asked.properties, knobs, source)
    elif kind == "like_examples":
        content = like_examples(asked, source, wanted)
    else:
        content = _WRITERS[kind](source, knobs, wanted)
    if "text" not in content:
        return content
    if worn:
        content["text"] = chance.choice(_REWORDINGS).format(content["text"])
    if chance.random() < knobs.violations:
        content["text"] = _violating(content["text"], chance)
    if wanted is not None and "choices" not in asked.properties and kind != "like_examples":
        content["label"] = wanted
    solution = f"Step by step from the numbers in the text, this comes to {content.get('label')}."
    item = {}
    for name, schema in asked.properties.items():
        other = filled(
            name, schema, asked, chance
        )  # drawn for each field, so that a seed gives the same items
        item[name] = content.get(name, solution if _is_solution(name, asked) else other)
    return item


def code_fields(names: Iterable[str]) -> tuple[str, str]:
    """The names of the fields for code and for its tests; '' for tests where there is none."""
    tests = next((name for name in names if re.fullmatch(r"(unit_)?tests?", name)), "")
    others = [name for name in names if name not in (tests, "text")]
    named = next((name for name in others if re.search(r"code|solution|program", name)), None)
    return named or (others[0] if others else ""), tests


def written_code(
    task: code_tasks.Task, names: Iterable[str], knobs: SimulatorConfig, chance: random.Random
) -> dict[str, Any]:
    """A task with its code and its tests, by these names: some code is wrong, some tests test nothing."""
    names = list(names)
    code, tests = code_fields(names)
    written = task.wrong if errs(knobs.failing_code, task.text, knobs, chance) else task.code
    tested = code_tasks.vacuous(task, chance) if chance.random() < knobs.vacuous_tests else task.tests
    return {"text": task.text, **({code: written} if code else {}), **({tests: tested} if tests else {})}


def _is_solution(name: str, asked: Asked) -> bool:
    """Whether a further field holds whole sentences, as a worked solution does."""
    values = [example.get(name) for example in asked.examples]
    return bool(values) and all(
        isinstance(value, str) and len(value) > 40 and " " in value for value in values
    )


def _worn(kind: str, asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> random.Random:
    return random.Random(f"{knobs.seed}/{kind}/{asked.guidance}/{chance.randrange(_POOL)}")


def _word_problem(chance: random.Random, knobs: SimulatorConfig, wanted: str | None) -> dict[str, Any]:
    problem = word_problems.draw(chance)
    label = problem.answer
    if errs(knobs.wrong_labels, problem.text, knobs, chance):
        label = wrong_number(problem.text, problem.answer, tempted(problem.text, knobs, chance))
    return {"text": problem.text, "label": str(label)}


def _short_fact(chance: random.Random, knobs: SimulatorConfig, wanted: str | None) -> dict[str, Any]:
    fact = facts.draw(chance)
    if not errs(knobs.wrong_facts, fact.question, knobs, chance):
        return {"text": fact.question, "label": fact.answer}
    return {"text": fact.question, "label": tempted(fact.question, knobs, chance).choice(fact.wrong)}


def _multiple_choice(
    chance: random.Random, knobs: SimulatorConfig, wanted: str | None, count: int = 4
) -> dict[str, Any]:
    fact = facts.draw(chance)
    others = chance.sample(fact.wrong, min(count - 1, len(fact.wrong)))
    choices = [fact.answer, *others]
    chance.shuffle(choices)
    right = choices.index(fact.answer)
    if wanted is not None and wanted in ascii_uppercase[: len(choices)]:
        place = ascii_uppercase.index(wanted)
        choices[right], choices[place] = choices[place], choices[right]
        right = place
    label = ascii_uppercase[right]
    if errs(knobs.wrong_facts, fact.question, knobs, chance):
        wrong = sorted(set(choices) - {fact.answer})
        label = ascii_uppercase[choices.index(tempted(fact.question, knobs, chance).choice(wrong))]
    return {"text": fact.question, "choices": choices, "label": label}


_WRITERS = {
    "word_problems": _word_problem,
    "short_facts": _short_fact,
}


def _violating(text: str, chance: random.Random) -> str:
    """A text that is far too long, or in another language."""
    return chance.choice(_FOREIGN) if chance.random() < 0.5 else f"{text} {_PADDING} {_PADDING}"


def is_violation(text: str) -> bool:
    """Whether a text is one that the knob `violations` produces."""
    return text in _FOREIGN or _PADDING in text


def filled(name: str, schema: Any, asked: Asked, chance: random.Random) -> Any:
    """A value for an additional field of the dataset: from one of the examples, or a default."""
    seen = [example[name] for example in asked.examples if example.get(name) is not None]
    if seen:
        return chance.choice(seen)
    declared = schema.get("type") if isinstance(schema, Mapping) else None
    return {"array": ["general"], "integer": 1, "number": 1.0, "boolean": True}.get(str(declared), "general")

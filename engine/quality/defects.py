"""Defects that are planted into good items, to see who catches them: each kind a pure function.

What is planted is taken from the item itself or from other items of the dataset, so that its wording does not give it
away: a number that a slip would lead to, another item's name, a sentence less.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

from engine.answers.numbers import readings
from engine.answers.same import same
from engine.constraints import Constraint, Contains, Excludes, Length, Regex
from engine.dataset.forms import Example
from engine.dataset.texts import known_by
from engine.diversity.variants import in_other_words
from engine.items import Label


@dataclass(frozen=True)
class Around:
    """What a defect may be made of."""

    chance: random.Random
    others: Sequence[Example]
    """Other rows of the dataset."""
    constraints: Sequence[Constraint] = ()
    solution: str = ""
    """The extra that holds the worked solution, which must not give a wrong label away."""
    labels: Sequence[str] = ()
    """The closed set of labels, where there is one."""


Plant = Callable[[Example, Around], Example | None]
"""The item with the defect; None where the item has no place for it."""


def plant(kind: str, example: Example, around: Around) -> Example | None:
    """The item with a defect of this kind; None where it cannot have one, or it would change nothing."""
    planted = KINDS[kind](example, around)
    return None if planted == example else planted


# --- labels ----------------------------------------------------------------------------------------


def slips(text: str, right: int) -> list[int]:
    """Numbers that somebody arrives at who takes a wrong step with the numbers of a text, or leaves one out."""
    numbers = [int(number) for number in re.findall(r"\d+", text.replace(",", ""))][:6]
    most = 50 * max(1, abs(right))
    steps = {one + other for one in numbers for other in numbers}
    steps |= {one * other for one in numbers for other in numbers}
    steps |= {abs(right - one) for one in numbers} | {right + one for one in numbers} | {*numbers}
    steps |= {right + 1, right - 1, right + 10, 2 * right}
    return sorted(step for step in steps - {right} if abs(step) <= most and (step >= 0) == (right >= 0))


def _wrong_number(example: Example, around: Around) -> Example | None:
    number = _whole(example.label)
    if number is None or example.choices:
        return None
    wrong = around.chance.choice(slips(example.text, number) or [number + 1])
    return _labelled(example, re.sub(r"-?\d[\d,]*", str(wrong), str(example.label), count=1), around)


def _whole(label: Label | None) -> int | None:
    """The whole number that a label is; None for any other label."""
    if not isinstance(label, str) or len(re.findall(r"\d[\d,]*", label)) != 1:
        return None
    found = readings(label)
    return int(found[0].value) if found and found[0].value.denominator == 1 else None


def _flipped_choice(example: Example, around: Around) -> Example | None:
    letters = ascii_uppercase[: len(example.choices)]
    others = [letter for letter in letters if letter != example.label]
    return replace(example, label=around.chance.choice(others)) if others else None


def _label_of_another(example: Example, around: Around) -> Example | None:
    label = example.label
    if label is None or example.choices:
        return None
    if isinstance(label, Mapping):
        return _one_label_of_another(example, label, around)
    if around.labels and isinstance(label, str):
        others: list[Label] = [other for other in around.labels if other != label]
    else:
        others = [other.label for other in around.others if other.label and _differs(other.label, label)]
    return _labelled(example, around.chance.choice(others), around) if others else None


def _one_label_of_another(example: Example, labels: Mapping[str, Any], around: Around) -> Example | None:
    """Of labels that have names, one is another item's."""
    theirs = [other.label for other in around.others if isinstance(other.label, Mapping)]
    wrong = [
        (name, each[name])
        for each in theirs
        for name, value in labels.items()
        if name in each and _differs(each[name], value)
    ]
    return replace(example, label={**labels, **dict([around.chance.choice(wrong)])}) if wrong else None


def _differs(one: Label, other: Label) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return same(one, other) is not True
    return type(one) is type(other) and one != other


def _labelled(example: Example, label: Label, around: Around) -> Example:
    """With another label, also where the worked solution states it."""
    extras = dict(example.extras)
    worked = extras.get(around.solution)
    if isinstance(worked, str) and isinstance(label, str) and isinstance(example.label, str):
        place = worked.rfind(example.label)
        if place >= 0:
            extras[around.solution] = worked[:place] + label + worked[place + len(example.label) :]
    return replace(example, label=label, extras=extras)


# --- texts -----------------------------------------------------------------------------------------


def _with_text(example: Example, change: Callable[[str], str | None]) -> Example | None:
    """With a text, or the first part that can be, changed; None where none can."""
    if not example.parts:
        changed = change(example.text)
        return replace(example, text=changed) if changed else None
    for name, part in example.parts.items():
        if isinstance(part, str) and (changed := change(part)):
            parts = {**example.parts, name: changed}
            return replace(example, text=known_by(parts), parts=parts)
    return None


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text.strip())


def _missing_condition(example: Example, around: Around) -> Example | None:
    """Without a sentence that states a number; neither the question itself, nor the only sentence."""

    def change(text: str) -> str | None:
        sentences = _sentences(text)
        telling = [
            place
            for place, each in enumerate(sentences)
            if re.search(r"\d", each) and not each.endswith("?") and len(sentences) > 1
        ]
        if not telling:
            return None
        left_out = around.chance.choice(telling)
        return " ".join(each for place, each in enumerate(sentences) if place != left_out)

    return _with_text(example, change)


_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][\w'-]+(?: [A-Z][\w'-]+)*")
"""A name within a sentence, by its capitals."""


def _swapped_entity(example: Example, around: Around) -> Example | None:
    """With another item's name in place of one of its own, everywhere. Where the label is a number, names decide
    nothing, so that such an item has no place for it."""
    if _whole(example.label) is not None and not example.choices:
        return None
    theirs = sorted({name for other in around.others for name in _NAME.findall(other.text)})

    def change(text: str) -> str | None:
        names = sorted(set(_NAME.findall(text)))
        others = [name for name in theirs if name not in text]
        if not names or not others:
            return None
        return text.replace(around.chance.choice(names), around.chance.choice(others))

    return _with_text(example, change)


_YEAR = re.compile(r"(?<![\d,.])(1[0-9]\d\d|20[0-4]\d)(?![\d,]|\.\d)")


def _changed_date(example: Example, around: Around) -> Example | None:
    """With another year, in the label where it is one, else in the text; no year of a sum with numbers."""

    def moved(year: str) -> str:
        step = around.chance.choice([-30, -20, -10, -5, -3, -2, -1, 1, 2, 3, 5, 10, 20, 30])
        return str(int(year) + step)

    label = example.label
    if isinstance(label, str) and not example.choices and (found := _YEAR.search(label)) is not None:
        return _labelled(example, label[: found.start()] + moved(found[0]) + label[found.end() :], around)
    if _whole(label) is not None and not example.choices:
        return None

    def change(text: str) -> str | None:
        found = _YEAR.search(text)
        return text[: found.start()] + moved(found[0]) + text[found.end() :] if found is not None else None

    return _with_text(example, change)


# --- answers of an assistant -----------------------------------------------------------------------


def _answer_of_another(example: Example, around: Around) -> Example | None:
    """A conversation that ends with what the assistant says at the end of another one."""
    said = _last_said(example)
    others = [other for each in around.others if (other := _last_said(each)) and other != said]
    if not said or not others:
        return None
    *before, last = example.parts["messages"]
    messages = [*before, {**last, "content": around.chance.choice(others)}]
    parts = {**example.parts, "messages": messages}
    return replace(example, text=known_by(parts), parts=parts)


def _last_said(example: Example) -> str:
    """The assistant's words that end a conversation; '' where it ends otherwise, or is to be answered yet."""
    last = example.parts.get("messages", [{}])[-1]
    if last.get("role") != "assistant" or last.get("tool_calls") or "chosen" in example.parts:
        return ""
    content = last.get("content")
    return content if isinstance(content, str) else ""


def _swapped_pair(example: Example, around: Around) -> Example | None:
    """The worse answer in place of the better one."""
    if not {"chosen", "rejected"} <= example.parts.keys():
        return None
    parts = {**example.parts, "chosen": example.parts["rejected"], "rejected": example.parts["chosen"]}
    return replace(example, text=known_by(parts), parts=parts)


# --- rules and repeats -----------------------------------------------------------------------------


def _broken_constraint(example: Example, around: Around) -> Example | None:
    """Breaks one of the rules that a program can check, where it can be broken by what items are made of."""
    for rule in around.chance.sample(list(around.constraints), len(around.constraints)):
        broken = _broken(rule, example, around)
        if broken is not None:
            return broken
    return None


def _broken(rule: Constraint, example: Example, around: Around) -> Example | None:
    match rule:
        case Length(field="text", max=int(most)):
            return _with_text(example, lambda text: _longer(text, most, rule.unit, around))
        case Length(field="text", min=int(least)) if least > 1:
            return _with_text(example, lambda text: _shorter(text, least, rule.unit))
        case Excludes(field="text", words=words) if words:
            return _with_text(example, lambda text: f"{text} {around.chance.choice(words)}")
        case Contains(field="text", words=words) if words:
            gone = re.compile(rf"\s*{re.escape(around.chance.choice(words))}", re.IGNORECASE)
            return _with_text(example, lambda text: gone.sub("", text))
        case Regex(field="label", pattern=pattern) if isinstance(example.label, str):
            wrong = f"about {example.label}"
            return replace(example, label=wrong) if _never(pattern, wrong) else None
    return None


def _never(pattern: str, text: str) -> bool:
    """Whether the pattern is none for this text; False for one of another dialect than Python's."""
    try:
        return re.search(pattern, text) is None
    except re.error:
        return False


def _size(text: str, unit: str) -> int:
    return {"characters": len(text), "sentences": len(_sentences(text))}.get(unit, len(text.split()))


def _longer(text: str, most: int, unit: str, around: Around) -> str | None:
    """With sentences of other items before it, until it is clearly too long."""
    for other in around.chance.sample(list(around.others), len(around.others)):
        if _size(text, unit) > most + most // 5:
            break
        text = f"{other.text} {text}"
    return text if _size(text, unit) > most + most // 5 else None


def _shorter(text: str, least: int, unit: str) -> str | None:
    """Its last words alone."""
    words = text.split()
    while len(words) > 1 and _size(" ".join(words), unit) >= least:
        words = words[1:]
    short = " ".join(words)
    return short if _size(short, unit) < least else None


def _near_duplicate(example: Example, around: Around) -> Example | None:
    """Another item of the dataset in slightly other words, with its own label."""
    for other in around.chance.sample(list(around.others), len(around.others)):
        reworded = _with_text(other, _reworded)
        if reworded is not None:
            return reworded
    return None


def _reworded(text: str) -> str | None:
    """The text in other words; None where the list has none for it."""
    changed = in_other_words(text)
    return changed if changed != text else None


KINDS: Mapping[str, Plant] = {
    "wrong_number": _wrong_number,
    "flipped_choice": _flipped_choice,
    "label_of_another": _label_of_another,
    "answer_of_another": _answer_of_another,
    "swapped_pair": _swapped_pair,
    "missing_condition": _missing_condition,
    "swapped_entity": _swapped_entity,
    "changed_date": _changed_date,
    "broken_constraint": _broken_constraint,
    "near_duplicate": _near_duplicate,
}
"""Every kind of planted defect, by the name in calibration.json."""

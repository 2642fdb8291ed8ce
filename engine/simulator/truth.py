"""The right answers to items that the simulated endpoint wrote, so that quality can be measured."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any, NamedTuple

from engine.simulator.content import facts, word_problems
from engine.simulator.harder import plain_choice


class Truth(NamedTuple):
    """`answer` is the right label's text; `program` prints it if it is a number."""

    answer: str
    subject: str
    program: str = ""


def truth_of(text: str) -> Truth | None:
    """The right answer to a text that this simulator wrote; None for any other."""
    if (problem := word_problems.known(text)) is not None:
        return Truth(str(problem.answer), "arithmetic", problem.program)
    if (fact := facts.known(text)) is not None:
        return Truth(fact.answer, fact.subject)
    return None


def right_label(item: Mapping[str, Any]) -> str | None:
    """The right label for an item on the wire: for multiple choice, a letter."""
    truth = truth_of(str(item.get("text", "")))
    if truth is None:
        return None
    choices = item.get("choices")
    if isinstance(choices, list | tuple) and choices:
        plain = [plain_choice(str(choice)) for choice in choices]
        return ascii_uppercase[plain.index(truth.answer)] if truth.answer in plain else None
    return truth.answer


def is_right(item: Mapping[str, Any]) -> bool | None:
    """Whether the item's label is right; None if this simulator cannot know."""
    right = right_label(item)
    return None if right is None else str(item.get("label", "")).strip().casefold() == right.casefold()

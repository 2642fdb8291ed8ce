"""Small tasks in Python from patterns; a solution and tests can be derived from the text."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

_NUMBERS: Sequence[Any] = (
    [*range(1, 21)],
    [3, 8, -2, 15, 7, 21, 4],
    [30, 1, 9, 12, 6, 18],
    [5, 40, 11, 2, 2, 27, 16, 13],
    [],
)
_WORDS: Sequence[Any] = ("orchard", "a Zebra crossing", "xyz", "")


@dataclass(frozen=True)
class Pattern:
    """`text` and `body` are over {name} and {k}; `right` gives what the function does to one argument."""

    text: str
    argument: str
    body: str
    right: Callable[[Any, int], Any]
    inputs: Sequence[Any]
    wrong: str
    """A body that fails a test."""


def _caesar(text: str, k: int) -> str:
    return "".join(chr((ord(c) - 97 + k) % 26 + 97) if "a" <= c <= "z" else c for c in text)


PATTERNS = (
    Pattern(
        "Write the Python function `{name}(values)` that returns the sum of all numbers in a list above {k}.",
        "values", "return sum(v for v in values if v > {k})", lambda v, k: sum(n for n in v if n > k), _NUMBERS,
        "return sum(v for v in values if v < {k})",
    ),
    Pattern(
        "Write the Python function `{name}(values)` that counts the numbers in a list that are multiples of {k}.",
        "values", "return sum(1 for v in values if v % {k} == 0)",
        lambda v, k: sum(1 for n in v if n % k == 0), _NUMBERS, "return len(values) // {k} + 1",
    ),
    Pattern(
        "Write the Python function `{name}(values)` that returns every {k}th item of a list, counted from 1.",
        "values", "return values[{k} - 1 :: {k}]", lambda v, k: v[k - 1 :: k], _NUMBERS, "return values[::{k}]",
    ),
    Pattern(
        "Write the Python function `{name}(values)` that rotates a list to the left by {k} places.",
        "values",
        "if not values:\n        return []\n    k = {k} % len(values)\n    return values[k:] + values[:k]",
        lambda v, k: v[k % len(v) :] + v[: k % len(v)] if v else [], _NUMBERS, "return values[{k}:]",
    ),
    Pattern(
        "Write the Python function `{name}(values)` that splits a list into pieces of {k} items, or fewer at its end.",
        "values", "return [values[i : i + {k}] for i in range(0, len(values), {k})]",
        lambda v, k: [v[i : i + k] for i in range(0, len(v), k)], _NUMBERS, "return [values]",
    ),
    Pattern(
        "Write the Python function `{name}(text)` that shifts each lower-case letter by {k} places in the alphabet.",
        "text", "return ''.join(chr((ord(c) - 97 + {k}) % 26 + 97) if 'a' <= c <= 'z' else c for c in text)",
        _caesar, _WORDS, "return text.upper()",
    ),
    Pattern(
        "Write the Python function `{name}(text)` that returns a text without every {k}th character, counted from 1.",
        "text", "return ''.join(c for i, c in enumerate(text, 1) if i % {k} != 0)",
        lambda t, k: "".join(c for i, c in enumerate(t, 1) if i % k), _WORDS, "return text[{k}:]",
    ),
    Pattern(
        "Write the Python function `{name}(values)` giving the place, from 0, of the first number above {k}, or -1.",
        "values",
        "for place, value in enumerate(values):\n        if value > {k}:\n            return place\n    return -1",
        lambda v, k: next((i for i, n in enumerate(v) if n > k), -1), _NUMBERS, "return 0",
    ),
)  # fmt: skip
NAMES = (
    "pick gather select combine arrange process_items transform rearrange compute handle_list work_out reduce_items"
).split()


@dataclass(frozen=True)
class Task:
    text: str
    code: str
    tests: str
    wrong: str
    """Code that fails the tests."""
    name: str


VACUOUS = ("def test_it():\n    assert True", "assert callable({name})", "def test_types():\n    {name}")
"""Tests that test nothing."""


def draw(chance: random.Random) -> Task:
    """One task; the same state of `chance` gives the same."""
    return _task(chance.choice(PATTERNS), chance.choice(NAMES), chance.randint(2, 9))


def known(text: str) -> Task | None:
    """The task that a text is or contains; None if it is not from here."""
    for pattern, regex in _regexes():
        if (match := regex.search(text)) is not None:
            return _task(pattern, match["name"], int(match["k"]))
    return None


def vacuous(task: Task, chance: random.Random) -> str:
    """Tests of a task that test nothing."""
    return chance.choice(VACUOUS).format(name=task.name)


def _task(pattern: Pattern, name: str, k: int) -> Task:
    def function(body: str) -> str:
        return f"def {name}({pattern.argument}):\n    {body.format(k=k)}\n"

    tests = "\n".join(f"assert {name}({given!r}) == {pattern.right(given, k)!r}" for given in pattern.inputs)
    text = pattern.text.format(name=name, k=k)
    return Task(text, function(pattern.body), tests, function(pattern.wrong), name)


@cache
def _regexes() -> tuple[tuple[Pattern, re.Pattern[str]], ...]:
    def of(text: str) -> re.Pattern[str]:
        source = (
            re.escape(text)
            .replace(re.escape("{name}"), r"(?P<name>\w+)")
            .replace(re.escape("{k}"), r"(?P<k>\d+)")
        )
        return re.compile(source)

    return tuple((pattern, of(pattern.text)) for pattern in PATTERNS)

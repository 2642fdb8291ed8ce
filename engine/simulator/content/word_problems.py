"""Grade-school word problems from patterns; the answer can be derived from the text."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

NAMES = (
    "Amara Ben Chloe Dmitri Elena Farid Grace Hiro Ines Jonas Kavya Liam Mina Noah Olga Pablo Quinn Rosa Samir"
    " Tara Umar Vera Wen Ximena Yusuf Zoe Anton Bella Carlos Daisy Emil Fatima Gus Hana Ivan Julia Kofi Lena"
    " Marco Nadia"
).split()
THINGS = (
    "apples pencils stickers marbles books shells cookies stamps cards ribbons buttons coins flowers pebbles"
    " candles bottles muffins balloons tickets magnets crayons peaches notebooks bracelets kites puzzles"
).split()
PLACES = (
    "At the market|Before the school fair|On a rainy Saturday|During the summer camp|At the library sale"
    "|After the football match|In the community garden|On the first day of the holidays|At the harbour"
    "|While packing for a trip|At the bakery on the corner|For the class project|During the spring cleaning"
    "|At the village festival|On the way to the museum|In the workshop"
).split("|")


@dataclass(frozen=True)
class Pattern:
    """`formula` is Python over the slots a, b, c; `ranges` are their bounds; `holds` must be true."""

    text: str
    formula: str
    ranges: dict[str, tuple[int, int]]
    holds: str = "True"

    @property
    def answer(self) -> Callable[..., int]:
        return _function(self.formula)

    @property
    def sensible(self) -> Callable[..., int]:
        return _function(self.holds)


@cache
def _function(source: str) -> Callable[..., int]:
    return eval(f"lambda a=0, b=0, c=0: {source}")  # type: ignore[no-any-return] # noqa: S307 - the constants below


_SMALL, _MIDDLE, _LARGE = (2, 12), (10, 60), (40, 240)

PATTERNS = tuple(
    Pattern(*parts)
    for parts in (
        ("{name} has {a} {things} and gets {b} more from a friend. How many {things} does {name} have now?",
         "a + b", {"a": _MIDDLE, "b": _MIDDLE}),
        ("{name} had {a} {things} and gave {b} of them away. How many {things} are left?",
         "a - b", {"a": _LARGE, "b": _MIDDLE}, "a > b"),
        ("{name} fills {a} boxes with {b} {things} each. How many {things} is that in all?",
         "a * b", {"a": _SMALL, "b": _MIDDLE}),
        ("{name} shares {a} {things} equally among {b} children. How many {things} does each child get?",
         "a // b", {"a": _LARGE, "b": _SMALL}, "a % b == 0"),
        ("{name} buys {a} packs of {b} {things} and then loses {c} of the {things}. How many are left?",
         "a * b - c", {"a": _SMALL, "b": _SMALL, "c": (1, 9)}, "a * b > c"),
        ("A ticket costs ${a}. {name} buys {b} tickets and pays with ${c}. How many dollars of change come back?",
         "c - a * b", {"a": _SMALL, "b": _SMALL, "c": (50, 200)}, "c > a * b"),
        ("{name} reads {a} pages on each weekday and {b} pages on each day of the weekend. "
         "How many pages does {name} read in one week?",
         "5 * a + 2 * b", {"a": _MIDDLE, "b": _MIDDLE}),
        ("{name} collects {a} {things} on Monday, twice as many on Tuesday and {b} on Wednesday. "
         "How many {things} does {name} collect in the three days?",
         "3 * a + b", {"a": _MIDDLE, "b": _MIDDLE}),
        ("A farmer plants {a} rows of {b} trees. A storm knocks down {c} trees. How many trees still stand?",
         "a * b - c", {"a": _SMALL, "b": _MIDDLE, "c": (3, 40)}, "a * b > c"),
        ("{name} earns ${a} an hour and works {b} hours a day for {c} days. How many dollars does {name} earn?",
         "a * b * c", {"a": (8, 25), "b": (3, 9), "c": _SMALL}),
        ("{name} saves ${a} a week. After {b} weeks {name} spends ${c}. How many dollars are left?",
         "a * b - c", {"a": _SMALL, "b": (5, 30), "c": _SMALL}, "a * b > c"),
        ("A train travels {a} kilometres an hour. How many kilometres does it cover in {b} hours, "
         "if it starts {c} kilometres down the line?",
         "a * b + c", {"a": (40, 160), "b": _SMALL, "c": _MIDDLE}),
        ("{name} bakes {a} trays of {b} rolls and sells all but {c}. How many rolls are sold?",
         "a * b - c", {"a": _SMALL, "b": _SMALL, "c": (1, 9)}, "a * b > c"),
        ("{name} is {a} years old. {name}'s aunt is {b} times as old. How old will the aunt be in {c} years?",
         "a * b + c", {"a": (6, 15), "b": (2, 5), "c": _SMALL}),
        ("A tank holds {a} litres and loses {b} litres a day. How many litres are in it after {c} days?",
         "a - b * c", {"a": _LARGE, "b": (2, 9), "c": (2, 9)}, "a > b * c"),
        ("{name} cuts a rope of {a} metres into pieces of {b} metres and throws {c} pieces away. "
         "How many pieces remain?",
         "a // b - c", {"a": _LARGE, "b": _SMALL, "c": (1, 5)}, "a % b == 0 and a // b > c"),
        ("There are {a} red and {b} blue {things} in a bag. {name} takes out {c}. How many stay in the bag?",
         "a + b - c", {"a": _MIDDLE, "b": _MIDDLE, "c": (2, 20)}, "a + b > c"),
        ("{name} walks {a} metres to school and back each day. How many metres is that in {b} days?",
         "2 * a * b", {"a": (100, 900), "b": _SMALL}),
        ("A class of {a} pupils forms teams of {b}. Each team gets {c} {things}. How many {things} are needed?",
         "a // b * c", {"a": (12, 60), "b": (2, 6), "c": _SMALL}, "a % b == 0"),
        ("{name} scores {a}, {b} and {c} points in three games. How many points is that altogether?",
         "a + b + c", {"a": _MIDDLE, "b": _MIDDLE, "c": _MIDDLE}),
        ("A shop sells {things} at ${a} each. {name} has ${b} and buys as many as possible. "
         "How many dollars does {name} keep?",
         "b % a", {"a": (3, 12), "b": _LARGE}, "b % a > 0"),
        ("{name} has {a} {things}. Lena's brother has {b} fewer. How many {things} do they have together?",
         "2 * a - b", {"a": _MIDDLE, "b": (2, 9)}, "a > b"),
        ("A bus leaves with {a} passengers. At the next stop {b} get off and {c} get on. "
         "How many passengers are on the bus then?",
         "a - b + c", {"a": _MIDDLE, "b": (2, 9), "c": (2, 20)}, "a > b"),
        ("{name} paints {a} fence posts an hour in the morning for {b} hours, and {c} more posts after lunch. "
         "How many posts are painted?",
         "a * b + c", {"a": _SMALL, "b": (2, 6), "c": _SMALL}),
    )
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """A problem and its answer. `program` is Python that prints the answer."""

    text: str
    answer: int
    program: str


def draw(chance: random.Random) -> Problem:
    """One problem; the same state of `chance` gives the same problem."""
    pattern = chance.choice(PATTERNS)
    while True:
        numbers = {slot: chance.randint(*bounds) for slot, bounds in pattern.ranges.items()}
        if pattern.sensible(**numbers):
            break
    text = pattern.text.format(name=chance.choice(NAMES), things=chance.choice(THINGS), **numbers)
    if chance.random() < 0.6:
        opening = chance.choice(PLACES)
        text = f"{opening}, {text[0].lower() if text.startswith(('A ', 'There ')) else text[0]}{text[1:]}"
    return Problem(text, pattern.answer(**numbers), _program(pattern, numbers))


def known(text: str) -> Problem | None:
    """The problem that this text is or contains; None if it is not from here."""
    for pattern, regex in _regexes():
        if (match := regex.search(text)) is not None:
            numbers = {slot: int(match[slot]) for slot in pattern.ranges}
            return Problem(text, pattern.answer(**numbers), _program(pattern, numbers))
    return None


def _program(pattern: Pattern, numbers: dict[str, int]) -> str:
    lines = [f"{slot} = {value}" for slot, value in numbers.items()]
    return "\n".join([*lines, f"print({pattern.formula})"])


@cache
def _regexes() -> tuple[tuple[Pattern, re.Pattern[str]], ...]:
    return tuple((pattern, re.compile(_regex(pattern.text), re.IGNORECASE)) for pattern in PATTERNS)


def _regex(text: str) -> str:
    seen: set[str] = set()
    parts = []
    for piece in re.split(r"(\{\w+\})", text):
        slot = piece.strip("{}")
        if piece == slot:
            parts.append(re.escape(piece))
        elif slot in seen:
            parts.append(f"(?P={slot})")
        else:
            seen.add(slot)
            parts.append(f"(?P<{slot}>{r'[0-9]+' if slot in 'abc' else r'[A-Za-z]+'})")
    return "".join(parts)

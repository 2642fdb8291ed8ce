"""Tables of short facts with several question forms; the right answer can be derived from the question."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

import orjson


@dataclass(frozen=True)
class Relation:
    """`pairs` maps subject to value; a question has one {subject}."""

    name: str
    questions: tuple[str, ...]
    pairs: dict[str, str]


@dataclass(frozen=True)
class Fact:
    """A question with its right answer, and wrong answers of the same kind."""

    question: str
    answer: str
    subject: str
    relation: str
    wrong: tuple[str, ...]


@cache
def relations() -> tuple[Relation, ...]:
    file = resources.files("engine.simulator.content") / "facts.json"
    return tuple(
        Relation(name, tuple(table["questions"]), table["pairs"])
        for name, table in orjson.loads(file.read_bytes()).items()
    )


def draw(chance: random.Random) -> Fact:
    """One fact: from a table, or a Roman numeral, so that facts do not run out soon."""
    if chance.random() < 0.25:
        return _computed(chance)
    relation = chance.choices(relations(), weights=[len(candidate.pairs) for candidate in relations()])[0]
    subject = chance.choice(list(relation.pairs))
    return _fact(relation, subject, chance.choice(relation.questions))


def known(question: str) -> Fact | None:
    """The fact that a text asks for; None if the text is not from here."""
    for relation, asked, regex in _regexes():
        match = regex.search(question)
        if match is not None and match["subject"] in relation.pairs:
            return _fact(relation, match["subject"], asked)
    return _known_sum(question)


def _fact(relation: Relation, subject: str, question: str) -> Fact:
    answer = relation.pairs[subject]
    wrong = tuple(sorted({value for value in relation.pairs.values() if value != answer}))
    return Fact(question.format(subject=subject), answer, subject, relation.name, wrong)


@cache
def _regexes() -> tuple[tuple[Relation, str, re.Pattern[str]], ...]:
    def each() -> Iterator[tuple[Relation, str, re.Pattern[str]]]:
        for relation in relations():
            subjects = "|".join(sorted(map(re.escape, relation.pairs), key=len, reverse=True))
            for question in relation.questions:
                before, after = map(re.escape, question.split("{subject}"))
                yield relation, question, re.compile(f"{before}(?P<subject>{subjects}){after}")

    return tuple(each())


_ROMAN = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
    (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip
_ASKED = (
    "How is the number {} written in Roman numerals?",
    "Which Roman numeral stands for {}?",
    "What are the Roman numerals for {}?",
)


def roman(number: int) -> str:
    numeral = ""
    for value, letters in _ROMAN:
        count, number = divmod(number, value)
        numeral += letters * count
    return numeral


def _computed(chance: random.Random) -> Fact:
    return _sum(chance.randint(4, 3999), chance.choice(_ASKED))


def _sum(number: int, question: str) -> Fact:
    near = {number + step for step in (-10, -5, -1, 1, 4, 5, 10, 50) if number + step > 0}
    wrong = tuple(sorted(roman(value) for value in near))
    return Fact(question.format(number), roman(number), str(number), "roman numeral", wrong)


def _known_sum(question: str) -> Fact | None:
    for asked in _ASKED:
        before, after = map(re.escape, asked.split("{}"))
        match = re.search(f"{before}([0-9]{{1,4}}){after}", question)
        if match is not None:
            return _sum(int(match[1]), asked)
    return None

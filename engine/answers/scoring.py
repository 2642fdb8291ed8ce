"""Compares a model's answer with a label: right, wrong, or left to a reader."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from engine.answers.numbers import readings
from engine.answers.same import letter_of, same
from engine.items import Label, said

_MARKED = re.compile(
    r"\\boxed\s*\{([^{}]+)\}|####\s*([^\n]+)|\banswer\s*(?:is|:|=)\s*\**\s*([^\n]+?)\s*\**(?:\.(?=\s|$)|$|\n)",
    re.IGNORECASE | re.MULTILINE,
)
_LETTERS = re.compile(r"\(([A-Z])\)|\b([A-Z])[).:](?=\s|$)|\b(?:option|choice|answer)\s+(?:is\s+)?([A-Z])\b")
_NUMBERS = re.compile(r"(?:\b(?:minus|negative)\s+)?[-\u2212]?[$\u20ac\u00a3]?\d[\d,]*(?:\.\d+)?%?")
_GOES_ON = re.compile(
    r"\s*(?:hundred|thousand|million|billion|trillion|dozen|half|halves|third|quarter|fifth|k\b|m\b|bn?\b|/|\^|\u00bd"
    r"|and\s+(?:a|an|one|two|three|\d)\b)",
    re.IGNORECASE,
)
"""Text after digits that makes them part of a different number."""
_DOUBT = re.compile(
    r"\b(?:not|no|nor|neither|none|never|cannot|unsure|unclear|unknown|wrong|incorrect|except|instead|rather)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
"""Words that make it doubtful whether what a text names is its answer."""


@dataclass(frozen=True, slots=True)
class Score:
    """`correct` is None where no rule can decide; `by` names the rule."""

    final: str
    correct: bool | None
    by: str


def scored(answer: str, label: Label, choices: Sequence[str] = (), labels: Sequence[str] = ()) -> Score:
    """Scores the answer by a rule, if one decides. With choices, `label` is a letter.

    In a whole sentence, the part marked as the answer counts, then the only letter or number in it. With `labels`,
    the closed set of them, an answer that is none is wrong.
    """
    if labels:
        return _of_set(answer, label, labels)
    if isinstance(label, tuple):
        return _any_of(answer, label)
    label = said(label)
    by = "letter" if choices else "number" if readings(label) else "text"
    for candidate in _candidates(answer, label, choices):
        decided = same(candidate, label, choices)
        if decided is not None:
            return Score(_shown(candidate, choices), decided, by)
    return Score(answer, None, "")


def same_label(
    given: Label | None, known: Label | None, choices: Sequence[str] = (), labels: Sequence[str] = ()
) -> bool | None:
    """Whether two labels of one item are the same, whatever their kind; None where no rule can tell.

    Several labels are a set; of labels by name, each must be the same. `labels`: the closed set, where there is one.
    """
    if given is None or known is None or given == known:
        return given == known
    if isinstance(given, Mapping) and isinstance(known, Mapping):
        if given.keys() != known.keys():
            return False
        each = [same_label(given[name], known[name]) for name in known]
        return False if False in each else None if None in each else True
    if isinstance(given, tuple) and isinstance(known, tuple):
        return {_folded(label) for label in given} == {_folded(label) for label in known}
    if not isinstance(given, str) or not isinstance(known, str):
        return False
    return scored(given, known, choices, labels).correct


def _of_set(answer: str, label: Label, labels: Sequence[str]) -> Score:
    """By the labels of the set that the answer names: those it consists of, or those in the part marked as it."""
    wanted = set(label) if isinstance(label, tuple) else {said(label)}
    named = labels_named(answer, labels, several=isinstance(label, tuple))
    return Score(", ".join(sorted(named)) or answer, named == wanted, "label")


def labels_named(answer: str, labels: Sequence[str], *, several: bool = False) -> set[str]:
    """The labels of a closed set that an answer names; empty where it names none, or it is doubtful which."""
    found = (_labels_in(text, labels, several=several) for text in _marked_last(answer))
    return next((named for named in found if named), set())


def _marked_last(answer: str) -> Iterator[str]:
    yield answer
    marked = [next(group for group in match.groups() if group) for match in _MARKED.finditer(answer)]
    yield from marked[-1:]


def _labels_in(text: str, labels: Sequence[str], *, several: bool) -> set[str]:
    """The labels that a text consists of; else the only one that it names without a doubt."""
    known = {_folded(label): label for label in labels}
    pieces = re.split(r"[,;\n]|\band\b", text) if several else [text]
    whole = {known.get(_folded(piece)) for piece in pieces if _folded(piece)}
    if whole and None not in whole:
        return {label for label in whole if label is not None}
    if _DOUBT.search(text):
        return set()
    found = {label for label in labels if re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE)}
    # Of labels that are parts of one another, the longest is named.
    longest = {
        one
        for one in found
        if not any(one != other and one.casefold() in other.casefold() for other in found)
    }
    return longest if several or len(longest) == 1 else set()


def _folded(text: str) -> str:
    return " ".join(text.strip().strip("\"'`*.[]() ").casefold().replace("_", " ").split())


def _any_of(answer: str, labels: Sequence[str]) -> Score:
    """With several right answers, as SQuAD has, one of them is enough; none at all is an answer of its own."""
    if not labels:
        return Score(answer, True if _folded(answer) in _NO_ANSWER else None, "text")
    scores = [scored(answer, each) for each in labels]
    right = next((score for score in scores if score.correct), None)
    if right is not None:
        return right
    return scores[0] if all(score.correct is False for score in scores) else Score(answer, None, "")


_NO_ANSWER = frozenset(("", "none", "no answer", "unanswerable", "not answerable", "unknown"))


def _candidates(answer: str, label: str, choices: Sequence[str]) -> Iterator[str]:
    """The answer itself; then its part marked as the answer; then, without doubts, its only candidate."""
    yield answer
    marked = [next(group for group in match.groups() if group) for match in _MARKED.finditer(answer)]
    if marked and not _DOUBT.search(marked[-1]):
        yield marked[-1]
    if _DOUBT.search(answer):
        return
    if choices:
        letters = {next(group for group in match.groups() if group) for match in _LETTERS.finditer(answer)}
        known = letters & set(ascii_uppercase[: len(choices)])
        if known:
            yield from known if len(known) == 1 else ()
            return
        named = [
            choice
            for choice in choices
            if re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", answer, re.IGNORECASE)
        ]
        if len(named) == 1:
            yield named[0]
    elif readings(label):
        matches = list(_NUMBERS.finditer(answer))
        numbers = {match[0].replace("\u2212", "-") for match in matches}
        if len(numbers) == 1 and not any(_GOES_ON.match(answer, match.end()) for match in matches):
            yield re.sub(r"(?i)(?:minus|negative)\s+", "-", numbers.pop())


def _shown(candidate: str, choices: Sequence[str]) -> str:
    return (letter_of(candidate, choices) or candidate) if choices else candidate

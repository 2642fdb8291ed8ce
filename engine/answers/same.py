"""Are two answers the same? Decided by rule where a rule can; None where only a reader could tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from string import ascii_uppercase

from engine.answers.numbers import readings, same_number, unlatexed

_YES = frozenset("yes true correct right y".split())
_NO = frozenset("no false incorrect wrong n".split())
_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%dT00:00:00", "%Y-%m-%d 00:00:00", "%B %d %Y", "%b %d %Y", "%d %B %Y",
    "%d %b %Y", "%A %B %d %Y", "%A %d %B %Y", "%Y %B %d",
)  # fmt: skip
_LEAD = re.compile(
    r"^(?:(?:so|thus|therefore|hence)\W+)?(?:the\s+)?(?:final\s+|correct\s+|right\s+)?answer(?:\s+is|\s*[:=])\s*"
    r"|^(?:result|solution)\s*[:=]\s*|^[a-z](?:_\w+)?\s*=\s*|^=\s*",
    re.IGNORECASE,
)
_LETTER = re.compile(r"(?:option|choice|answer)?\s*\(?([A-Za-z])\s*(?:[).:\]]\s*(.*))?", re.DOTALL)
_LONGEST = 4000


def same(answer: str, label: str, choices: Sequence[str] = ()) -> bool | None:
    """Whether `answer` means what `label` says; None where no rule decides.

    With choices, the label is a letter, and the answer a letter or a choice's text.
    """
    answer, label = bare(answer), bare(label)
    if not answer or not label or max(len(answer), len(label)) > _LONGEST:
        return False if bool(answer) != bool(label) else None
    if choices:
        named = label.upper() in ascii_uppercase[: len(choices)]
        right = label.upper() if named else letter_of(label, choices)
        given = letter_of(answer, choices)
        return given == right if given is not None and right is not None else None
    return _same_value(answer, label)


def _same_value(a: str, b: str) -> bool | None:
    if _normal(a) == _normal(b):
        return True
    yes_a, yes_b = _yes(a), _yes(b)
    if yes_a is not None and yes_b is not None:
        return yes_a == yes_b
    dates_a, dates_b = _dates(a), _dates(b)
    if dates_a and dates_b:
        return _same_date(dates_a, dates_b)
    numbers_a, numbers_b = readings(a), readings(b)
    if numbers_a and numbers_b:
        return same_number(numbers_a, numbers_b)
    return None


def bare(answer: str) -> str:
    """Without "The answer is", "x =", \\boxed{}, quotes and a full stop."""
    text = unlatexed(answer.strip())
    text = _LEAD.sub("", text, count=1).strip()
    return text.strip("\"'`* ").removesuffix(".").strip()


def letter_of(answer: str, choices: Sequence[str]) -> str | None:
    """The letter of the choice that an answer names, by letter or by text; None where it names none, or two."""
    letters = ascii_uppercase[: len(choices)]
    exact = [
        letter for letter, choice in zip(letters, choices, strict=False) if _normal(choice) == _normal(answer)
    ]
    if len(exact) == 1:
        other = len(answer) == 1 and answer.upper() in letters and answer.upper() != exact[0]
        return None if other else exact[0]  # a letter that is another choice's text could mean either
    match = _LETTER.fullmatch(answer.strip())
    if match is not None and match[1].upper() in letters:
        named, rest = match[1].upper(), (match[2] or "").strip()
        if not rest or _normal(rest) == _normal(choices[letters.index(named)]):
            return named
        return None
    meant = [
        letter for letter, choice in zip(letters, choices, strict=False) if _same_value(answer, bare(choice))
    ]
    return meant[0] if len(meant) == 1 else None


def _normal(text: str) -> str:
    text = " ".join(unlatexed(text).casefold().split())
    text = re.sub(r"^(?:the|an?)\s+", "", text.strip("\"'`* ").rstrip(". "))
    return re.sub(r"\s*([,:;/()])\s*", r"\1", text)


def _yes(text: str) -> bool | None:
    word = re.split(r"[\s,.;:!]", text.casefold(), maxsplit=1)
    if word[0] in _YES | _NO and (len(word) == 1 or not word[1].strip() or text[len(word[0])] != " "):
        return word[0] in _YES
    return None


def _dates(text: str) -> set[date]:
    """The days that a text may mean: two for 02/03/2024, which is read differently here and there."""
    if not re.search(r"\d", text) or len(text) > 60:
        return set()
    plain = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", text.replace(",", " "), flags=re.IGNORECASE)
    plain = " ".join(re.sub(r"\bof\b", " ", plain).split())
    found = {day for form in _DATES if (day := _read_date(plain, form)) is not None}
    for form in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y"):
        if (day := _read_date(plain, form)) is not None:
            found.add(day)
    return found


def _read_date(text: str, form: str) -> date | None:
    try:
        return datetime.strptime(text, form).date()
    except ValueError:
        return None


def _same_date(one: set[date], other: set[date]) -> bool | None:
    if not one & other:
        return False
    return True if len(one) == len(other) == 1 else None

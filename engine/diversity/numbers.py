"""The numbers in a text, however they are spelled: 1,200 and 1200.0, three and 3, twenty-five, 2.5 million, minus 5."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import regex

from engine.answers.number_words import TENS, WORDS

_WORDS: Mapping[str, int] = {**WORDS, "dozen": 12}
_SCALES: Mapping[str, int] = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_TOKEN = regex.compile(
    r"(?:(?<![\w.,)])[-\u2212])?\$?(?:\d{1,3}(?:,\d{2,3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|(?<![\w.])\.\d+)"
    r"|\p{L}+|[^\s\p{L}\d]"
)
_PLAIN = regex.compile(r"\$?([-+\u2212]?)\$?(\d{1,3}(?:,\d{2,3})+|\d*)(?:\.(\d*))?")
_LONGEST = 60
"""The most characters of a number; longer ones are treated as text."""


def numbers_in(text: str) -> list[str]:
    """Every number in the text, in a common spelling, in order.

    A lone 'one' is left out, because it is mostly a pronoun. A minus does not count directly after a word or
    number: 10-20 is 10 and 20.
    """
    return list(_numbers(_TOKEN.findall(text.casefold())))


def plain_number(text: str) -> str:
    """A number without currency, thousands separators, leading and trailing zeros; other text unchanged."""
    match = _PLAIN.fullmatch(text.strip())
    if match is None or not (match[2] or match[3]) or len(text) > _LONGEST:
        return text
    whole = _digits(match[2].replace(",", "")).lstrip("0") or "0"
    part = _digits(match[3] or "").rstrip("0")
    sign = "-" if match[1] in ("-", "\u2212") and (whole != "0" or part) else ""
    return f"{sign}{whole}.{part}" if part else f"{sign}{whole}"


def _digits(text: str) -> str:
    """Digits of any script in ASCII."""
    return text if text.isascii() else "".join(str(unicodedata.digit(character)) for character in text)


def _numbers(tokens: Sequence[str]) -> Iterator[str]:
    place = 0
    while place < len(tokens):
        if tokens[place][-1].isdigit():
            value, place = _scaled(tokens, place)
            yield value
        elif tokens[place] in _WORDS or tokens[place] in _SCALES:
            words, after = _spelled(tokens, place)
            if words != ["one"]:
                yield str(_value(words))
            place = after
        else:
            place += 1


def _scaled(tokens: Sequence[str], place: int) -> tuple[str, int]:
    """Digits, times the scale words that follow (2.5 million), and the place after them."""
    value, after = plain_number(tokens[place]), place + 1
    factor = 1
    while after < len(tokens) and tokens[after] in _SCALES:
        factor *= _SCALES[tokens[after]]
        after += 1
    return (value if factor == 1 else plain_number(f"{Decimal(value) * factor:f}")), after


def _spelled(tokens: Sequence[str], place: int) -> tuple[list[str], int]:
    """The words that make up one number (two hundred and twenty-five), and the place after them."""
    words = [tokens[place]]
    after = place + 1
    while after < len(tokens):
        joint = after + 1 if tokens[after] in ("-", "and") else after
        if joint >= len(tokens) or not _continues(words, tokens[joint], linked=tokens[after]):
            break
        words.append(tokens[joint])
        after = joint + 1
    return words, after


def _continues(words: Sequence[str], word: str, *, linked: str) -> bool:
    """Whether a word continues the same number: a scale, a unit after tens, anything after a scale."""
    if word in _SCALES:
        return linked != "and"
    if word not in _WORDS or word == "dozen":
        return False
    if words[-1] in _SCALES:
        return True
    return words[-1] in TENS and 0 < _WORDS[word] < 10 and linked != "and"


def _value(words: Sequence[str]) -> int:
    whole = part = 0
    for word in words:
        if word == "hundred":
            part = max(part, 1) * 100
        elif word in _SCALES:
            whole += max(part, 1) * _SCALES[word]
            part = 0
        else:
            part += _WORDS[word]
    return whole + part

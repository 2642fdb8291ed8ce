"""Defines when two items count as the same: the text that is compared, and a key that must be equal."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import regex

from engine.diversity.numbers import numbers_in, plain_number
from engine.items import Label, said

Key = bytes
"""Items with different keys are never the same, however similar they are."""


class Comparable(Protocol):
    """An item, or an example of the base dataset."""

    @property
    def text(self) -> str: ...
    @property
    def label(self) -> Label | None: ...
    @property
    def choices(self) -> tuple[str, ...]: ...


def compared(item: Comparable) -> str:
    """The text that is embedded and compared; it includes the choices, which often contain the question."""
    return "\n".join((item.text, *item.choices))


def text_key(item: Comparable) -> Key:
    """Equal for texts that differ only in case, spacing and marks that carry no meaning.

    These carry meaning and are kept: letters with their vowel signs, numbers with their points, every symbol
    (+ < = $), # % & @ * / ( ), a minus before a number, the ! of a factorial. An item that carries its key has it.
    """
    known: Key | None = getattr(item, "text_key", None)
    if known is not None:
        return known
    return _digest(_pieces(compared(item)))


def _pieces(text: str) -> list[str]:
    """What of a text carries meaning, in order; all of a text in which nothing does."""
    if text.isascii():  # the same pieces, found in half of the time
        plain = text.lower()
        return _MEANINGFUL_ASCII.findall(plain) or [plain]
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _MEANINGFUL.findall(plain) or [plain]


_MEANINGFUL = regex.compile(
    r"\d+(?:[.,]\d+)*|(?<=\d)!|[\p{L}\p{M}\p{N}]+|\p{S}|[#%&@*/\\()\[\]{}]|[-\u2212\u2013](?=\s*\d)"
)
_MEANINGFUL_ASCII = re.compile(
    r"[a-z][a-z0-9]*|[0-9]+(?:[.,][0-9]+)*|[$+<=>^`|~#%&@*/\\()\[\]{}]|(?<=[0-9])!|-(?=\s*[0-9])", re.ASCII
)


# --- kinds of sameness -----------------------------------------------------------------------------

#  same              two items are the same if their similarity reaches the threshold and
#  meaning           (no other condition)
#  meaning+numbers   both contain the same numbers, each equally often
#  meaning+answer    both have the same right answer


def _meaning(item: Comparable) -> Key:
    return b""


def _with_numbers(item: Comparable) -> Key:
    return _digest(sorted(numbers_in(compared(item))))


def _with_answer(item: Comparable) -> Key:
    return _digest([answer_of(item)])


KEYS: Mapping[str, Callable[[Comparable], Key]] = {
    "text": text_key,
    "meaning": _meaning,
    "meaning+numbers": _with_numbers,
    "meaning+answer": _with_answer,
}

THRESHOLDS: Mapping[str, float] = {
    "text": 1.0,
    "meaning": 0.92,
    "meaning+numbers": 0.85,
    "meaning+answer": 0.85,
}
"""Cosines for all-MiniLM-L6-v2; benchmarks/sameness.py prints what each lets through and catches."""


def answer_of(item: Comparable) -> str:
    """The right answer in a common spelling; for multiple choice, the choice's text instead of its letter."""
    label = said(item.label)
    place = ord(label) - ord("A") if len(label) == 1 else -1
    chosen = item.choices[place] if 0 <= place < len(item.choices) else label
    return plain_number(" ".join(chosen.casefold().split()))


def suited(examples: Iterable[Comparable]) -> str:
    """The kind of sameness that suits most items of a dataset.

    meaning+answer if they have choices: questions of one form have similar vectors, whatever they ask.
    meaning+numbers if their labels end in a number, as '18' and '#### 18' do. Otherwise meaning.
    """
    kinds = Counter(
        "meaning+answer"
        if example.choices
        else "meaning+numbers"
        if _ends_in_number(said(example.label))
        else "meaning"
        for example in examples
    )
    most = kinds.most_common(1)
    return most[0][0] if most and 2 * most[0][1] > kinds.total() else "meaning"


def _ends_in_number(label: str) -> bool:
    last = label.split()[-1:]
    return bool(last) and re.fullmatch(r"[-+$]*\d[\d,]*\.?\d*%?\.?", last[0]) is not None


def _digest(parts: Iterable[str]) -> Key:
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=12).digest()

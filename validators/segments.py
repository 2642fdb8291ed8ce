"""Words and sentences as Unicode's segmentation (UAX 29) and ICU's dictionaries tell them, in any script."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TITLE = re.compile(r"\b(?:Capt|Col|Dr|Gen|Hon|Lt|Mt|Prof|Rep|Rev|Sen|Sgt|St|vs)\.\s*$")
"""Abbreviations with which no sentence ends, and which CLDR's lists of some languages lack: Dr. in English."""


def words(text: str, language: str = "en") -> int:
    """Segments that hold a letter or a digit: 喜欢 is one word, so are don't and 3.50."""
    from icu4py.breakers import WordBreaker

    return _saying(map(str, WordBreaker(text, language)))


def sentences(text: str, language: str = "en") -> int:
    """Sentences that hold a letter or a digit; the abbreviations that CLDR lists for the language end none."""
    from icu4py.breakers import SentenceBreaker

    said = list(map(str, SentenceBreaker(text, f"{language}@ss=standard")))
    return _saying(said) - sum(_TITLE.search(segment) is not None for segment in said[:-1])


def _saying(segments: Iterable[str]) -> int:
    return sum(any(map(str.isalnum, segment)) for segment in segments)

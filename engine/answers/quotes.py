"""Where a quote stands in its source, however its blanks, hyphens, quotation marks and letters are written.

No fuzzy matching: a dropped "not" or another number scores above 96 of 100 with edit distances, and harmless
punctuation below. What is folded away says nothing; all else has to be there, in order.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from engine.items import Passage

LEAST = 8
"""Folded characters of a quote: a shorter one stands anywhere."""
_ALIKE = {
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032`\u00b4\u2039\u203a", "'"),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d", "-"),
    "\u2026": "...", "\u2022": "-", "\u2192": "->", "\u00d7": "x",
    **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff\ufffe\x02", ""),
}  # fmt: skip


@lru_cache(maxsize=4_096)
def folded(text: str) -> tuple[str, tuple[int, ...]]:
    """The text without blanks, in small letters, with marks unified; and where each character comes from."""
    kept: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        if char.isspace():
            continue
        known = _ALIKE.get(char)
        if known is None:
            known = char.lower() if char.isascii() else unicodedata.normalize("NFKC", char).casefold()
            if not char.isascii():
                known = "".join(_ALIKE.get(each, each) for each in known if not each.isspace())
        for each in known:
            kept.append(each)
            places.append(place)
    return "".join(kept), tuple(places)


def located(quote: str, text: str) -> tuple[int, int] | None:
    """The characters of `text`, from one place up to another, that are the quote; None where it does not stand there.

    A hyphen at a line's end may be missing in the quote, or in the text; so may quotation marks around it.
    """
    found = _located(quote, text)
    bare = quote.strip().strip(_AROUND).strip()
    return _located(bare, text) if found is None and bare != quote.strip() else found


_AROUND = "\"'`\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"


def _located(quote: str, text: str) -> tuple[int, int] | None:
    there, places = folded(text)
    wanted = folded(quote)[0]
    if len(wanted) < LEAST:
        return _whole_word(quote, text) if wanted else None
    found = there.find(wanted)
    if found >= 0:
        return places[found], places[found + len(wanted) - 1] + 1
    bare, kept = _without_hyphens(there, places)
    wanted = wanted.replace("-", "")
    found = bare.find(wanted) if len(wanted) >= LEAST else -1
    if found < 0:
        return None
    start, end = kept[found], kept[found + len(wanted) - 1] + 1
    return (start, end) if _same_but_for_line_ends(text[start:end], quote) else None


def _without_hyphens(there: str, places: Sequence[int]) -> tuple[str, list[int]]:
    kept = [place for char, place in zip(there, places, strict=True) if char != "-"]
    return there.replace("-", ""), kept


def _same_but_for_line_ends(one: str, other: str) -> bool:
    """Whether hyphens differ between letters alone, as where a line has ended: 3-5 is not 35, nor -5 the same as 5."""
    return _significant(one) == _significant(other)


def _significant(text: str) -> int:
    """Hyphens that stand beside anything but letters."""
    there = folded(text)[0].strip("-\"'")
    return sum(
        char == "-" and not (there[place - 1 : place].isalpha() and there[place + 1 : place + 2].isalpha())
        for place, char in enumerate(there)
    )


def _whole_word(quote: str, text: str) -> tuple[int, int] | None:
    """A quote of a word or a number: it must stand there as such, not within another."""
    wanted, start = quote.strip(), 0
    while wanted and (found := text.find(wanted, start)) >= 0:
        end = found + len(wanted)
        before, after = text[found - 1 : found] if found else "", text[end : end + 1]
        if not (before.isalnum() and wanted[0].isalnum()) and not (after.isalnum() and wanted[-1].isalnum()):
            return found, end
        start = found + 1
    return None


def located_in(quotes: Sequence[str], passages: Sequence[Passage]) -> list[tuple[int, int] | None]:
    """For each passage the place of its quote: the one at its own place in order, else any that stands in it."""
    found: list[tuple[int, int] | None] = []
    for number, passage in enumerate(passages):
        own = quotes[number : number + 1]
        spans = (located(quote, passage.text) for quote in (*own, *quotes))
        found.append(next((span for span in spans if span is not None), None))
    return found

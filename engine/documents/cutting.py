"""Cuts a document into passages: at sentences, rows and ends of blocks, near headings rather than anywhere."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from engine.documents.document import Document

VERSION = 1
"""Changes with where a document is cut; part of a run's identity."""
_SHORT = 0.25
"""The share of the target below which a piece joins the one before it."""
_NEW = 0.5
"""The share of the target from which on a heading begins a new passage."""


class Span(NamedTuple):
    """Characters of a document's text."""

    start: int
    end: int


def cut(document: Document, target: int, most: int) -> list[Span]:
    """Passages of about `target` characters, `most` at most, in order, without overlap, all of the text in one of them.

    None begins or ends within a word, a row or a sentence, unless that alone has more than `most` characters; a heading
    is never parted from what follows it.
    """
    text, heads = document.text, [each.start for each in document.headings]
    spans: list[Span] = []
    start = end = -1
    for unit in _units(document, most):
        new = _has(heads, unit.start)
        if start < 0:
            start, end = unit
        elif (
            unit.end - start > most
            or (new and end - start >= _NEW * target)
            or (unit.end - start > target and end - start >= _SHORT * target)
        ):
            back = _without_heading(text, heads, start, end)
            if unit.end - back > most:
                back = end
            spans.append(Span(start, back))
            start, end = (back if back < end else unit.start), unit.end
        else:
            end = unit.end
    if start >= 0:
        short = end - start < _SHORT * target
        if spans and short and end - spans[-1].start <= most:
            spans[-1] = Span(spans[-1].start, end)
        else:
            spans.append(Span(start, end))
    return [trimmed for span in spans if (trimmed := _trimmed(text, span)).end > trimmed.start]


def _has(places: list[int], place: int) -> bool:
    found = bisect_left(places, place)
    return found < len(places) and places[found] == place


def _without_heading(text: str, heads: list[int], start: int, end: int) -> int:
    """Where a passage ends that would end with headings: before them, unless nothing were left."""
    back = end
    last = bisect_left(heads, end) - 1
    while last >= 0 and start < heads[last] and "\n" not in text[heads[last] : back].strip():
        back = heads[last]
        last -= 1
    return back


def _trimmed(text: str, span: Span) -> Span:
    piece = text[span.start : span.end]
    return Span(span.start + len(piece) - len(piece.lstrip()), span.start + len(piece.rstrip()))


# --- units -----------------------------------------------------------------------------------------


def _units(document: Document, most: int) -> Iterator[Span]:
    """What is not cut: sentences, rows, blocks of code that fit; and pieces of those that are too long."""
    for span, is_code in _areas(document):
        if is_code and span.end - span.start <= most:
            yield span
            continue
        ends = _line_ends(document.text, span) if is_code else _sentence_ends(document.text, span)
        start = span.start
        for end in ends:
            yield from _pieces(document.text, Span(start, end), most)
            start = end


def _areas(document: Document) -> Iterator[tuple[Span, bool]]:
    """The text in order, parted by headings, rows and code: each area, and whether it is code or a row."""
    fixed = sorted(
        [(Span(*each), True) for each in (*document.rows, *document.code)], key=lambda each: each[0].start
    )
    heads = [each.start for each in document.headings]
    place = 0
    for span, _ in [*fixed, (Span(len(document.text), len(document.text)), True)]:
        first, last = bisect_right(heads, place), bisect_right(heads, span.start)
        for cut_at in [*heads[first:last], span.start]:
            if cut_at > place:
                yield Span(place, cut_at), False
                place = cut_at
        if span.end > place:
            yield Span(place, span.end), True
            place = span.end


_SINGLE = re.compile(r"(?<!\n)\n(?!\n|\s*(?:[-•◦▪‣●○–—*]|\(?\d{1,3}[.)]|\d+(?:\.\d+)+)\s)")
"""A line's end within a sentence: the next line is neither a paragraph nor an item of a list."""


def _sentence_ends(text: str, span: Span) -> Iterator[int]:
    """By ICU, with its list of abbreviations; a line's end alone ends no sentence."""
    from icu4py.breakers import SentenceBreaker

    place = span.start
    for segment in SentenceBreaker(_SINGLE.sub(" ", text[span.start : span.end]), "en@ss=standard"):
        place += len(str(segment))
        yield place


def _line_ends(text: str, span: Span) -> Iterator[int]:
    place = span.start
    for line in text[span.start : span.end].splitlines(keepends=True):
        place += len(line)
        yield place


def _pieces(text: str, span: Span, most: int) -> Iterator[Span]:
    """A unit, or pieces of it where it is too long: cut at lines, then at clauses, then at words, then anywhere."""
    start = span.start
    while span.end - start > most:
        found = max(text.rfind("\n", start, start + most), text.rfind("; ", start, start + most))
        if found <= start + most // 4:
            found = text.rfind(" ", start, start + most)
        end = found + 1 if found > start else start + most
        yield Span(start, end)
        start = end
    if start < span.end:
        yield Span(start, span.end)

"""Pages of a PDF made one text: without running heads and page numbers, with lines and words joined again."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from engine.documents.document import Document, Heading


class Bookmark(NamedTuple):
    """An entry of the outline."""

    page: int
    """From 0."""
    level: int
    title: str


_PLAIN = (
    *((mark, "") for mark in "\r\0\u200b\ufeff"),
    *((blank, " ") for blank in "\xa0\u2007\u202f\t"),
    ("\f", "\n"), ("\x02", "\ufffe"), ("\xad", "\ufffe"), ("\ufb00", "ff"), ("\ufb01", "fi"), ("\ufb02", "fl"),
    ("\ufb03", "ffi"), ("\ufb04", "ffl"), ("\ufb05", "st"), ("\ufb06", "st"),
)  # fmt: skip
"""What stands for what: a search for each takes a tenth of the time of a translation of all characters."""
_DIGITS = re.compile(r"\d+|\b[ivxlcdm]+\b", re.IGNORECASE)
_BULLET = re.compile(r"[•◦▪‣●○–—*\-]\s|\(?\d{1,3}[.)]\s|\d+(?:\.\d+)+\s|\(?[a-z][.)]\s")
_ENDED = tuple('.!?:;。！？”"')
_LETTERED = frozenset("abcdefghij")
"""Letters that may number the items of a list."""
_NEAR = 5
"""Pages on either side on which a running head is looked for: even and odd ones may have their own."""
_RECURS = 3
"""On so many of them, the page itself included, it is one."""
_EDGES = 3
"""Lines at most that are dropped at the top, and at the bottom, of a page."""
_FULL = 0.6
"""The share of the widest lines' length that a line has which goes on in the next."""


def document_of(raw: Sequence[str], outline: Sequence[Bookmark], notes: Sequence[str] = ()) -> Document:
    """One text out of the pages' texts as pdfium gives them.

    Pages are told by place, not handed down: a sentence that runs over a page's end belongs to both.
    """
    pages = [list(_lines(text)) for text in raw]
    _drop_furniture(pages, {(entry.page, _bare(entry.title)) for entry in outline})
    whole, starts = _joined(pages, _width(pages))
    whole, starts = _mended(whole, starts)
    return Document(whole, tuple(starts), tuple(_headings(whole, starts, outline)), notes=tuple(notes))


def _lines(text: str) -> Iterator[str]:
    plain = text
    for mark, meant in _PLAIN:
        if mark in plain:
            plain = plain.replace(mark, meant)
    if not plain.isascii():
        plain = unicodedata.normalize("NFC", plain)
    while "  " in plain:
        plain = plain.replace("  ", " ")
    for line in plain.split("\n"):
        if bare := line.strip():
            yield bare


def _drop_furniture(pages: list[list[str]], titles: set[tuple[int, str]]) -> None:
    """Drops, at each edge, the outermost line as long as it recurs on neighbouring pages, numbers apart, or counts
    the pages as its neighbours do.

    `titles` are those of the outline with their pages: there, they are headings.
    """
    for top in (True, False):
        for _ in range(_EDGES):
            edges = [page[0 if top else -1] if page else "" for page in pages]
            masked = [_DIGITS.sub("#", edge) for edge in edges]
            counts = [_counting(edges, pattern) for pattern in _AT_ENDS]
            dropped = [
                place
                for place, edge in enumerate(edges)
                if edge
                and (
                    _recurring(masked, place)
                    or any(each[place] is not None and _recurring(each, place) for each in counts)
                )
                and (place, _bare(edge)) not in titles
            ]
            for place in dropped:
                pages[place].pop(0 if top else -1)
            if not dropped:
                break


_AT_ENDS = (re.compile(r"\D{0,3}(\d{1,4})(?![\d.])"), re.compile(r".*?(?<![\d.])(\d{1,4})\D{0,3}\Z"))
_LONGEST_EDGE = 120


def _counting(edges: Sequence[str], pattern: re.Pattern[str]) -> list[int | None]:
    """Of lines that hold a page's number at that end: the one that the first page would have by it."""
    found = (pattern.match(edge) if len(edge) <= _LONGEST_EDGE else None for edge in edges)
    return [int(match[1]) - place if match is not None else None for place, match in enumerate(found)]


def _recurring(edges: Sequence[object], place: int) -> bool:
    near = edges[max(0, place - _NEAR) : place + _NEAR + 1]
    return near.count(edges[place]) >= _RECURS


def _width(pages: Sequence[Sequence[str]]) -> int:
    """The length that one line in ten exceeds: that of a full line."""
    lengths = sorted(len(line) for page in pages for line in page)
    return lengths[len(lengths) * 9 // 10] if lengths else 0


def _joined(pages: Sequence[Sequence[str]], width: int) -> tuple[str, list[int]]:
    """The text, and where each page begins in it."""
    parts: list[str] = []
    starts: list[int] = []
    length, before = 0, ""
    for page in pages:
        first = True
        for line in page:
            between = _between(before, line, width, new_page=first) if before else ""
            parts.append(between)
            length += len(between)
            if first:
                starts.append(length)
                first = False
            parts.append(line)
            length += len(line)
            before = line
        if first:
            starts.append(length)
    return "".join(parts), starts


def _between(before: str, line: str, width: int, *, new_page: bool) -> str:
    """A blank where a paragraph goes on, else a new line. A page may end within a line that is not full."""
    first = line[0]
    if len(before) < width * _FULL:
        return " " if new_page and first.islower() and not before.endswith(_ENDED) else "\n"
    if first.islower():
        return "\n" if before[-1] in "\ufffe-" or (first in _LETTERED and _BULLET.match(line)) else " "
    if before[-1] in _ENDED or (not first.isalpha() and _BULLET.match(line)):
        return "\n"
    return " "


_HYPHEN = re.compile(r"(?:\ufffe\n?|-\n(?=[^\W\d_]))(\w*)")
_BEFORE = re.compile(r"\w+\Z")
_LONGEST_WORD = 60


def _mended(text: str, starts: list[int]) -> tuple[str, list[int]]:
    """Words that a line's end has parted: joined if the word occurs elsewhere, else with their hyphen."""
    matches = list(_HYPHEN.finditer(text))
    if not matches:
        return text, starts
    plain = text.lower()
    parts: list[str] = []
    cuts: list[tuple[int, int]] = []
    end = shift = 0
    for match in matches:
        before = _BEFORE.search(text, max(end, match.start() - _LONGEST_WORD), match.start())
        whole = f"{before[0] if before is not None else ''}{match[1]}".lower()
        hyphen = "" if whole in plain or (not match[1] and match[0][0] == "\ufffe") else "-"
        parts += [text[end : match.start()], hyphen, match[1]]
        end = match.end()
        shift += len(match[0]) - len(hyphen) - len(match[1])
        cuts.append((match.end(), shift))
    parts.append(text[end:])
    return "".join(parts), [_moved(start, cuts) for start in starts]


def _moved(start: int, cuts: Sequence[tuple[int, int]]) -> int:
    place = bisect_right(cuts, start, key=lambda cut: cut[0])
    return start - cuts[place - 1][1] if place else start


_MARKS = re.compile(r"[\W_]+")


def _bare(line: str) -> str:
    return _MARKS.sub("", line).casefold()


def _headings(text: str, starts: Sequence[int], outline: Sequence[Bookmark]) -> Iterator[Heading]:
    """The outline's entries where their titles stand on their pages; else where the page begins."""
    last = 0
    for entry in outline:
        if entry.page >= len(starts):
            continue
        start = starts[entry.page]
        end = starts[entry.page + 1] if entry.page + 1 < len(starts) else len(text)
        found = _line_of(text, max(start, last if last < end else start), end, entry.title)
        last = found if found is not None else max(start, last)
        yield Heading(last, entry.level, entry.title)


def _line_of(text: str, start: int, end: int, title: str) -> int | None:
    wanted = _bare(title)
    place = start
    for line in text[start:end].split("\n"):
        said = _bare(line)
        if wanted and (said.endswith(wanted) or said.startswith(wanted)) and len(said) <= len(wanted) + 24:
            return place
        place += len(line) + 1
    return None

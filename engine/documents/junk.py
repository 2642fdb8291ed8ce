"""Passages from which nothing can be asked: tables of contents, indexes, licences, pages without words."""

from __future__ import annotations

import re
from collections.abc import Sequence

_DOTTED = re.compile(r"(?:\. ?){4,}\s*(?:\d|[ivxlc])|…{2,}\s*\d")
_ENTRIES = re.compile(
    r"[^\W\d_][^\n,;.!?]{0,60}, \d{1,4}(?:[-–]\d{1,4})?(?=[,\s]|$)|[^\W\d_][^\n.!?]{1,60} \d{1,4}$",
    re.MULTILINE,
)
"""A term with the first of its pages."""
_SENTENCES = re.compile(r"[^\W\d_]{2,}[.!?。](?:\s|$)")
_NUMBER = re.compile(r"\d+")
_FEW = 6
_A_SENTENCE = 250
"""Characters: with fewer sentences than one in so many, what stands under the heading of an index is one."""
_CONTENTS = frozenset(
    "contents|table of contents|brief contents|list of figures|list of tables|list of examples|inhalt|"
    "inhaltsverzeichnis|table des matières|sommaire|índice|indice|contenido|sumário|spis treści|inhoud|"
    "inhoudsopgave|содержание|оглавление|目录|目次|目錄|차례".split("|")
)
_INDEX = re.compile(
    r"(?:.* )?index(?:es)?(?: of .*)?|.*register|sachverzeichnis|stichwortverzeichnis|索引|индекс|"
    r"bibliography|references|literatur(?:verzeichnis)?|bibliographie|bibliografía|参考文献",
    re.IGNORECASE,
)
_LEGAL = re.compile(
    r"(?:.* )?(?:copyright|licen[cs]e|colophon|imprint|legal notices?|disclaimer|terms of use|impressum|trademarks?|"
    r"gnu free documentation licen[cs]e|gnu general public licen[cs]e)(?: notices?| information|s)?",
    re.IGNORECASE,
)
_NOTICES = (
    "all rights reserved", "permission is hereby granted", "permission is granted", "without warranty of any kind",
    "redistribution and use in source", "free documentation licen", "under the terms of the", "creative commons",
    "licensed under",
)  # fmt: skip
_LEAST = 80
"""Characters: what is shorter says too little to ask from."""
_LETTERS = 0.5
"""The share of characters, blanks apart, that are letters in what can be read."""


def junk(text: str, headings: Sequence[str]) -> str:
    """Why nothing can be asked from a passage under these headings, as a slug; '' for one that will do."""
    last = _plain(headings[-1]) if headings else ""
    first = _plain(text.split("\n", 1)[0])
    if last in _CONTENTS or first in _CONTENTS or _is_contents(text):
        return "contents"
    if any(_INDEX.fullmatch(_plain(each)) for each in headings[-2:]) and (
        _is_index(text, 120) or len(_SENTENCES.findall(text)) * _A_SENTENCE <= len(text)
    ):
        return "index"
    if _is_index(text, 45):
        return "index"
    if any(_LEGAL.fullmatch(_plain(each)) for each in headings) or _is_notice(text):
        return "legal"
    solid = "".join(text.split())
    if len(solid) < _LEAST and not _is_dense(solid):
        return "short"
    if sum(map(str.isalpha, solid)) < _LETTERS * len(solid):
        return "symbols"
    return ""


def _plain(heading: str) -> str:
    return re.sub(r"^[\W\d]+|[\W\d]+$", "", " ".join(heading.split())).casefold()


def _is_notice(text: str) -> bool:
    plain = text.casefold()
    return sum(plain.count(notice) for notice in _NOTICES) >= 2


def _is_contents(text: str) -> bool:
    """Whether lines that lead to page numbers are most of it."""
    if not any(leader in text for leader in ("....", ". . .", "……")):
        return False
    dotted = len(_DOTTED.findall(text))
    return dotted >= 3 and dotted * 120 >= len(text)


def _is_index(text: str, spacing: int) -> bool:
    """Whether terms with page numbers stand in it, one in so many characters, and hardly a sentence."""
    if len(_NUMBER.findall(text)) < max(_FEW, len(text) // spacing):
        return False  # most texts: what follows takes a hundred times as long
    entries = len(_ENTRIES.findall(text))
    sentences = len(_SENTENCES.findall(text))
    return entries >= _FEW and entries * spacing >= len(text) and sentences * 4 <= entries


def _is_dense(solid: str) -> bool:
    """Whether the script has a word in a character or two, so that little says much."""
    wide = sum("\u3040" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7af" for char in solid)
    return wide * 2 > len(solid) and len(solid) >= _LEAST // 3

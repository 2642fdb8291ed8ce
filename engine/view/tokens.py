"""What of a text is searched for: its words, without case and accents; of scripts without spaces, signs in pairs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import regex

TOKENIZER = "ascii"
"""FTS5's: it takes what `searchable` gives it as it is."""
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(r"[\p{L}\p{N}\p{M}]+")
_RUN = regex.compile(rf"[{_UNSPACED}]+")
_ACCENTS = regex.compile("[\u0300-\u036f]+")
_MOST_WORDS = 32
"""Words of a search that count."""


def searchable(text: str) -> str:
    """The text as it is indexed: plain ASCII as it is; of any other its words, folded.

    Signs of scripts without spaces stand alone, and each two neighbours together.
    """
    return text if text.isascii() else " ".join(_indexed(_folded(text)))


def _indexed(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        for piece, unspaced in _pieces(word):
            if unspaced:
                yield from piece
                yield from _pairs(piece)
            else:
                yield piece


def query(said: str) -> str:
    """A search in FTS5's language: all words must occur, the last one may be unfinished; -word must not.

    Of a script without spaces each two neighbouring signs must. '' where nothing is searched for. Whatever is typed
    is only ever a quoted word.
    """
    wanted: list[str] = []
    unwanted: list[str] = []
    parts = said.split()
    for part in parts:
        without = part.startswith("-") and len(part) > 1
        (unwanted if without else wanted).extend(_asked(_folded(part)))
    if not wanted:
        return ""
    quoted = [f'"{word}"' for word in wanted[:_MOST_WORDS]]
    if not said[-1].isspace() and not parts[-1].startswith("-") and len(wanted) <= _MOST_WORDS:
        quoted[-1] += "*"
    return " AND ".join(quoted) + "".join(f' NOT "{word}"' for word in unwanted[:_MOST_WORDS])


def _asked(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        for piece, unspaced in _pieces(word):
            if unspaced and len(piece) > 1:
                yield from _pairs(piece)
            else:
                yield piece


def _folded(text: str) -> str:
    """Without case and accents; what is written in several ways is written in one."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    if plain.isascii():
        return plain
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", plain)))


def _pieces(word: str) -> Iterator[tuple[str, bool]]:
    """The parts of a word, each with whether it is of a script without spaces."""
    place = 0
    for run in _RUN.finditer(word):
        if run.start() > place:
            yield word[place : run.start()], False
        yield run[0], True
        place = run.end()
    if place < len(word):
        yield word[place:], False


def _pairs(run: str) -> Iterator[str]:
    return (run[place : place + 2] for place in range(len(run) - 1))

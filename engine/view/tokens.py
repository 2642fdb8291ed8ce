"""What of a text is searched for: its words; where a script has no spaces, its signs and each two of them together."""

from __future__ import annotations

import re

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003134f"  # CJK
)
_RUN = re.compile(f"[{_UNSPACED}]+")
_WORD = re.compile(r"\w+")
_MOST_WORDS = 32
"""Words of a search that count."""


def searchable(text: str) -> str:
    """The text as it is indexed. Signs of scripts without spaces stand alone, and in pairs."""
    return text if text.isascii() else _RUN.sub(_apart, text)


def _apart(match: re.Match[str]) -> str:
    run = match[0]
    pairs = (run[place : place + 2] for place in range(len(run) - 1))
    return f" {' '.join(run)} {' '.join(pairs)} "


def query(said: str) -> str:
    """A search in SQLite's FTS5 language: all words must occur, the last one may be unfinished; -word must not.

    Of a script without spaces each two neighbouring signs must. '' where nothing is searched for. Whatever is typed
    is only ever a quoted word.
    """
    wanted: list[str] = []
    unwanted: list[str] = []
    for part in said.split():
        without = part.startswith("-") and len(part) > 1
        (unwanted if without else wanted).extend(_words(part.removeprefix("-") if without else part))
    wanted, unwanted = wanted[:_MOST_WORDS], unwanted[:_MOST_WORDS]
    if not wanted:
        return ""
    quoted = [f'"{word}"' for word in wanted]
    if not said[-1:].isspace() and not said.split()[-1].startswith("-"):
        quoted[-1] += "*"
    return " AND ".join(quoted) + "".join(f' NOT "{word}"' for word in unwanted)


def _words(part: str) -> list[str]:
    words: list[str] = []
    for word in _WORD.findall(part):
        place = 0
        for run in _RUN.finditer(word):
            words += [word[place : run.start()]] if run.start() > place else []
            words += [run[0][at : at + 2] for at in range(max(1, len(run[0]) - 1))]
            place = run.end()
        words += [word[place:]] if place < len(word) else []
    return words

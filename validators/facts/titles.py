"""Finds an article's title by name: exact, then ignoring case and accents, then by similar spelling."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher

from validators.facts.paragraphs import terms

_LIKENESS = 0.8
"""Share of letters, in the same order, that two spellings must have in common."""
_SHORTEST_FUZZY = 5


def normal(title: str) -> str:
    """A title as MediaWiki spells it: NFC, spaces for underscores, no fragment, upper-case first letter."""
    title = " ".join(unicodedata.normalize("NFC", title).replace("_", " ").partition("#")[0].split())
    return title[:1].upper() + title[1:]


def folded(title: str) -> str:
    """A title without case, accents and a final bracket, to find one that is spelled slightly differently."""
    plain = unicodedata.normalize("NFKD", normal(title).casefold())
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return " ".join(re.sub(r"\s*\([^()]*\)$", "", plain).split())


class Titles:
    """The known titles. Mutable state: the tables."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._db.executescript(
            "CREATE VIRTUAL TABLE pieces USING fts5(folded, title UNINDEXED, tokenize='trigram');"
            "CREATE VIRTUAL TABLE words USING fts5(folded, title UNINDEXED, tokenize='porter unicode61');"
        )
        self._exact: dict[str, str] = {}
        self._folded: dict[str, str] = {}

    def add(self, titles: Iterable[str]) -> None:
        rows = []
        for title in titles:
            self._exact.setdefault(normal(title), title)
            self._folded.setdefault(folded(title), title)
            rows.append((folded(title), title))
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO pieces VALUES (?, ?)", rows)
        self._db.executemany("INSERT INTO words VALUES (?, ?)", rows)
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()

    def find(self, name: str) -> str | None:
        """The title that a name means, or None."""
        if (exact := self._exact.get(normal(name))) is not None:
            return exact
        plain = folded(name)
        if not plain:
            return None
        return self._folded.get(plain) or self._by_words(plain) or self._by_spelling(plain)

    def _by_words(self, plain: str) -> str | None:
        """A title with the same words, in any order and with any endings."""
        wanted = terms(plain)
        if not wanted:
            return None
        match = " AND ".join(f'"{term}"' for term in wanted)
        row = self._db.execute(
            "SELECT title, folded FROM words WHERE words MATCH ? ORDER BY length(folded) LIMIT 1", (match,)
        ).fetchone()
        return str(row[0]) if row is not None and len(terms(row[1])) == len(wanted) else None

    def _by_spelling(self, plain: str) -> str | None:
        """A title with a similar spelling: a letter dropped, doubled or swapped."""
        if len(plain) < _SHORTEST_FUZZY:
            return None
        pieces = _pieces(plain)
        match = " OR ".join('"' + piece.replace('"', '""') + '"' for piece in sorted(pieces))
        rows = self._db.execute(
            "SELECT title, folded FROM pieces WHERE pieces MATCH ? ORDER BY rank LIMIT 8", (match,)
        ).fetchall()
        likeness = [(SequenceMatcher(None, plain, other).ratio(), str(title)) for title, other in rows]
        best = max(likeness, default=(0.0, ""))
        return best[1] if best[0] >= _LIKENESS else None


def _pieces(text: str) -> set[str]:
    return {text[start : start + 3] for start in range(len(text) - 2)}

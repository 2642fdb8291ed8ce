"""Pages cached on disk between runs: found pages, missing pages, and the names that were looked up."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple


class Page(NamedTuple):
    """A whole article. `revid` is its revision."""

    title: str
    text: str
    revid: int | None
    url: str


def default_path(folder: Path, api_url: str) -> Path:
    """One file for each wiki."""
    return folder / f"wiki-{blake2b(api_url.encode(), digest_size=6).hexdigest()}.db"


class PageCache:
    """Names, each with its page or marked as missing. Use from one thread at a time."""

    def __init__(self, path: Path | str, fresh_s: float, negative_s: float) -> None:
        """`fresh_s`, `negative_s`: how many seconds a page, and a missing one, may be used from the cache.

        Raises sqlite3.Error or OSError.
        """
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._fresh, self._negative = fresh_s, negative_s
        self._db = sqlite3.connect(path, timeout=10, check_same_thread=False, isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            "CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY, title TEXT, at REAL NOT NULL) WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS pages"
            " (title TEXT PRIMARY KEY, text TEXT NOT NULL, revid INTEGER, url TEXT NOT NULL);"
        )

    def find(self, names: Iterable[str], *, however_old: bool = False) -> dict[str, Page | None]:
        """The names that are in the cache, each with its page; None for a page that does not exist."""
        now, pages = time.time(), dict[str, Page | None]()
        for name in names:
            row = self._db.execute(
                "SELECT n.title, n.at, p.text, p.revid, p.url"
                " FROM names n LEFT JOIN pages p USING (title) WHERE name = ?",
                (name,),
            ).fetchone()
            if row is None:
                continue
            title, at, text, revid, url = row
            if however_old or now - at < (self._negative if text is None else self._fresh):
                pages[name] = Page(title, text, revid, url) if text is not None else None
        return pages

    def keep(self, found: dict[str, Page | None]) -> None:
        now = time.time()
        pages = [(page.title, page.text, page.revid, page.url) for page in found.values() if page is not None]
        names = [(name, page.title if page is not None else None, now) for name, page in found.items()]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?)", pages)
            self._db.executemany("INSERT OR REPLACE INTO names VALUES (?, ?, ?)", names)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()

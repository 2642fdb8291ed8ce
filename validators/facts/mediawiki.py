"""Evidence from Wikipedia or any other MediaWiki: whole articles, fifty per request, each fetched once."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from engine.errors import RetrieverUnavailable
from engine.protocols import Evidence
from validators.facts.cache import Page, PageCache, default_path
from validators.facts.paragraphs import Paragraphs, terms
from validators.facts.titles import normal
from validators.facts.wiki_api import (
    MOST_TITLES,
    Endless,
    Gathered,
    Refused,
    TooMuch,
    Unanswered,
    WikiApi,
    page_of,
    query,
    search_query,
    titles_found,
)

_DAY_S = 86_400.0
_MOST_ENDLESS = 3
"""Queries without an end, one after another, after which the wiki counts as gone."""
_MOST_PAGES = 2_000
"""How many articles are held in memory for searching."""
_CONTACT = re.compile(r"\S+@\S+\.\S+|https?://\S+")


class MediaWikiOptions(BaseModel):
    """This source's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mediawiki"] = "mediawiki"
    api_url: str = Field(default="https://en.wikipedia.org/w/api.php", pattern=r"^https?://")
    contact: str | None = None
    """Your mail or web address: Wikimedia asks programs to name their operator and blocks others."""
    offline: bool = False
    """Read everything from the cache and never use the network."""
    cache: Path | None = None
    """The cache file; by default one in the user's cache folder."""
    fresh_days: float = Field(default=30.0, gt=0)
    negative_days: float = Field(default=7.0, gt=0)
    """For how many days a page, and a missing one, is served from the cache."""
    at_once: int = Field(default=1, ge=1, le=50)
    per_second: float = Field(default=3.0, gt=0, le=1000)
    timeout_s: float = Field(default=60.0, gt=0)
    linger_s: float = Field(default=0.01, ge=0)
    """Seconds that a request waits for more titles."""
    search: bool = True
    """Search the wiki's full text if no page has the name."""
    licence: str = "CC BY-SA 4.0"


@dataclass(frozen=True)
class _Connected:
    """What a source holds while it is open."""

    api: WikiApi
    cache: PageCache


class MediaWiki:
    """name -> memory -> a request under way -> disk -> the next batch.

    Mutable state: pages in memory, names being asked for, names waiting for a request.
    """

    def __init__(self, options: MediaWikiOptions, folder: Path | None = None) -> None:
        """`folder` holds the cache by default. Raises ValueError without a place for the cache or a contact."""
        if not options.offline and not _CONTACT.search(options.contact or ""):
            raise ValueError(
                "source.contact: is missing; give your mail or web address, which the wiki's operators ask for "
                "(or set source.offline)"
            )
        cache = options.cache
        if cache is None and folder is not None:
            cache = default_path(folder, options.api_url)
        if cache is None:
            raise ValueError("source.cache: is missing; name a file for the pages")
        self._options = options
        self._cache_path = cache
        self._pages: OrderedDict[str, Page | None] = OrderedDict()
        self._asked: dict[str, asyncio.Future[Page | None]] = {}
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._paragraphs = Paragraphs()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evidence")
        self._connected: _Connected | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._endless = 0
        self.counts: Counter[str] = Counter()

    @property
    def _wiki(self) -> _Connected:
        assert self._connected is not None, "the source is not open"
        return self._connected

    @property
    def requests(self) -> int:
        """Requests sent since it was opened."""
        return self._wiki.api.requests

    async def __aenter__(self) -> Self:
        """Raises RetrieverUnavailable where the cache cannot be opened."""
        o = self._options
        path = self._cache_path
        try:
            cache = PageCache(path, o.fresh_days * _DAY_S, o.negative_days * _DAY_S)
        except (sqlite3.Error, OSError) as error:
            raise RetrieverUnavailable(f"the cache {path} cannot be opened: {error}") from None
        api = WikiApi(
            o.api_url, o.contact or "", at_once=o.at_once, per_second=o.per_second, timeout_s=o.timeout_s
        )
        self._connected = _Connected(api, cache)
        self._tasks = [asyncio.create_task(self._dispatch(), name="wiki") for _ in range(o.at_once)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for future in self._asked.values():
            future.cancel()
        await self._wiki.api.close()
        self._thread.shutdown()
        self._wiki.cache.close()
        self._paragraphs.close()

    @property
    def called(self) -> str:
        """What it is, for prompts."""
        host = urlsplit(self._options.api_url).hostname or ""
        return "Wikipedia" if host.endswith(".wikipedia.org") else f"the wiki at {host}"

    def describe(self) -> dict[str, Any]:
        return {"source": "mediawiki", "api_url": self._options.api_url, "offline": self._options.offline}

    async def retrieve(self, wanted: Sequence[tuple[str, str]], k: int) -> list[list[Evidence]]:
        """Raises RetrieverUnavailable if the wiki does not answer; a page that it refuses is no evidence."""
        entities = list(dict.fromkeys(entity for entity, _ in wanted))
        found = dict(zip(entities, await asyncio.gather(*map(self._pages_of, entities)), strict=True))
        return list(
            await asyncio.gather(*(self._passages(found[entity], claim, k) for entity, claim in wanted))
        )

    async def _pages_of(self, entity: str) -> list[Page]:
        """The entity's own article; else some that mention it."""
        page = await self._page(entity)
        return [page] if page is not None else await self._searched(entity)

    async def _passages(self, pages: Sequence[Page], claim: str, k: int) -> list[Evidence]:
        return await self._in_thread(self._best, pages, claim, k) if pages else []

    async def _in_thread(self, step: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, step, *arguments)

    def _best(self, pages: Sequence[Page], claim: str, k: int) -> list[Evidence]:
        if len(self._paragraphs) > _MOST_PAGES:
            self._paragraphs.close()
            self._paragraphs = Paragraphs()
        heads = (
            (Evidence(p.title, "", p.revid, p.url, self._options.licence, "mediawiki"), p.text) for p in pages
        )
        self._paragraphs.add(heads)
        return self._paragraphs.best(claim, k, [page.title for page in pages])

    # --- pages ---

    async def _page(self, name: str) -> Page | None:
        """The article of this name, or None. Concurrent callers share one fetch of a name."""
        name = normal(name)
        self.counts["lookups"] += 1
        if not name or any(character in name for character in "<>[]{}\x1f"):
            return None
        if name in self._pages:
            self._pages.move_to_end(name)
            self.counts["memory"] += 1
            return self._pages[name]
        future = self._asked.get(name)
        if future is None:
            future = self._asked[name] = asyncio.get_running_loop().create_future()
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._waiting.put_nowait(name)
        else:
            self.counts["shared"] += 1
        try:
            return await asyncio.shield(future)  # a cancelled caller must not cancel the others' answer
        except Unanswered as error:
            raise RetrieverUnavailable(f"{self._options.api_url} does not answer: {error}") from None
        except (Refused, TooMuch) as error:
            if self._wiki.api.answered == 0:
                raise RetrieverUnavailable(f"{self._options.api_url} answers nothing: {error}") from None
            self.counts["refused"] += 1
            return None

    async def _dispatch(self) -> None:
        """Sends one request at a time; meanwhile the names for the next one are collected."""
        while True:
            names = [await self._waiting.get()]
            until = asyncio.get_running_loop().time() + self._options.linger_s
            while len(names) < MOST_TITLES:
                if self._waiting.empty():
                    left = until - asyncio.get_running_loop().time()
                    if left <= 0:
                        break
                    await asyncio.sleep(left)
                    continue
                names.append(self._waiting.get_nowait())
            await self._answer(names)

    async def _answer(self, names: Sequence[str]) -> None:
        try:
            offline = self._options.offline
            known: dict[str, Page | None] = await self._in_thread(
                lambda: self._wiki.cache.find(names, however_old=offline)
            )
            self.counts["disk"] += len(known)
            missing = [name for name in names if name not in known]
            for name, page in known.items():
                self._settle(name, page)
            if offline:
                for name in missing:
                    self._settle(name, None)
            elif missing:
                await self._fetch(missing)
        except (Unanswered, Refused, TooMuch) as error:
            for name in names:
                self._fail(name, error)
        except Exception as error:  # whatever the error: fail these names and serve the next ones
            for name in names:
                self._fail(name, Refused(f"{type(error).__name__}: {error}"))

    async def _fetch(self, names: Sequence[str]) -> None:
        """Fetches from the wiki. A failed batch is split, so that one bad title does not fail the others."""
        try:
            pages = await self._queried(names)
        except (Refused, TooMuch) as error:
            self._endless = self._endless + 1 if isinstance(error, Endless) else 0
            if self._endless >= _MOST_ENDLESS:
                raise Unanswered(str(error)) from None
            whole = isinstance(error, Endless) or (
                isinstance(error, Refused) and self._wiki.api.answered == 0
            )
            if len(names) == 1 or whole:
                for name in names:
                    self._fail(name, error)
                return
            middle = len(names) // 2
            await self._fetch(names[:middle])
            await self._fetch(names[middle:])
            return
        await self._in_thread(self._wiki.cache.keep, pages)
        for name, page in pages.items():
            self._settle(name, page)

    async def _queried(self, names: Sequence[str]) -> dict[str, Page | None]:
        gathered, further = Gathered(), dict[str, str]()
        while True:
            follow = gathered.add(await self._wiki.api.ask({**query(names), **further}))
            if follow is None:
                break
            further = follow
        return {name: await self._in_thread(self._read, gathered.page(name)) for name in names}

    def _read(self, raw: dict[str, Any] | None) -> Page | None:
        """A page that cannot be parsed counts as missing; other pages are unaffected."""
        try:
            return page_of(raw)
        except Exception:  # anybody can write wikitext
            self.counts["unreadable"] += 1
            return None

    def _settle(self, name: str, page: Page | None) -> None:
        self._pages[name] = page
        while len(self._pages) > _MOST_PAGES:
            self._pages.popitem(last=False)
        future = self._asked.pop(name, None)
        if future is not None and not future.done():
            future.set_result(page)

    def _fail(self, name: str, error: Exception) -> None:
        future = self._asked.pop(name, None)
        if future is not None and not future.done():
            future.set_exception(error)

    async def _searched(self, entity: str) -> list[Page]:
        """Articles that mention an entity which has no article of its own."""
        words = " ".join(terms(entity)[:6])
        if not self._options.search or self._options.offline or not words:
            return []
        try:
            reply = await self._wiki.api.ask(search_query(words, 3))
        except (Refused, TooMuch):
            return []
        except Unanswered as error:
            raise RetrieverUnavailable(f"{self._options.api_url} does not answer: {error}") from None
        titles = titles_found(reply)
        pages = await asyncio.gather(*(self._page(title) for title in titles))
        return [page for page in pages if page is not None]

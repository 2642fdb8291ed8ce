"""Requests to a MediaWiki's api.php and parsing of its replies: pure functions, and one class with I/O."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import aiohttp
import orjson
from asyncio_throttle import Throttler  # type: ignore[attr-defined,unused-ignore]

from validators.facts.cache import Page
from validators.facts.titles import normal

MOST_TITLES = 50
"""Titles per request; the API refuses more (with status 200)."""
_SEPARATOR = "\x1f"
"""Written before and between titles, so that a title may contain a '|'."""
_TRIES = 8
_REFUSALS = 3
"""How many of these tries may be answered with an error."""
_LONGEST_WAIT_S = 120.0
_MOST_BYTES = 32 * 1024 * 1024
"""Of one reply: MediaWiki's own limit is 8 MB (APIMaxResultSize), before it is written as JSON."""
MOST_PARTS = MOST_TITLES + 10
"""Of one query: each part brings at least one page, or the categories of one."""
_REFER = re.compile(r"\bmay (?:also )?(?:refer|mean)\b[^.]*:?\s*$|\bmay (?:also )?refer to\b", re.MULTILINE)


class Unanswered(Exception):
    """The wiki did not reply to any of the tries."""


class Refused(Exception):
    """The wiki answers this request with an error each time. Other requests may succeed."""


class Endless(Refused):
    """A query that goes on and on: no smaller one would end either."""


class Slow(Exception):
    """The wiki asks us to wait: status 429 or 503, or its replicas lag."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__("asked to wait")
        self.seconds = seconds


class TooMuch(Exception):
    """This request is too large; a smaller one may succeed."""


def query(titles: Sequence[str]) -> dict[str, str]:
    """The parameters that fetch these pages' whole wikitext, redirects resolved."""
    return {
        "action": "query",
        "format": "json",
        "formatversion": "2",
        "redirects": "1",
        "converttitles": "1",
        "maxlag": "5",
        "prop": "revisions|pageprops|info",
        "rvslots": "main",
        "rvprop": "ids|content",
        "ppprop": "disambiguation",
        "inprop": "url",
        "titles": _SEPARATOR + _SEPARATOR.join(titles),
    }


def search_query(words: str, limit: int) -> dict[str, str]:
    """The parameters of a full-text search."""
    return {
        "action": "query",
        "format": "json",
        "formatversion": "2",
        "maxlag": "5",
        "list": "search",
        "srwhat": "text",
        "srsearch": words,
        "srlimit": str(limit),
        "srprop": "",
    }


def titles_found(reply: Mapping[str, Any]) -> list[str]:
    """The titles in the reply to a search; none in one of another form."""
    found = reply.get("query")
    listed = found.get("search") if isinstance(found, Mapping) else None
    entries = listed if isinstance(listed, list) else ()
    return [
        each["title"] for each in entries if isinstance(each, Mapping) and isinstance(each.get("title"), str)
    ]


class Gathered:
    """Combines the parts of one query's reply. Mutable state: pages and aliases so far, the parts, where to go on."""

    def __init__(self) -> None:
        self._pages: dict[str, dict[str, Any]] = {}
        self._aliases: dict[str, str] = {}
        self._parts = 0
        self._follow: dict[str, str] | None = None

    def add(self, reply: Mapping[str, Any]) -> dict[str, str] | None:
        """Adds one part. Returns the parameters to add for the next part, or None at the end.

        Raises Refused for a part that has not the form of the API's, and for a query without an end.
        """
        self._parts += 1
        try:
            follow = self._add(reply)
        except (TypeError, AttributeError, KeyError, ValueError) as error:
            raise Refused(
                f"the reply has another form than the API's ({type(error).__name__}: {error})"
            ) from None
        if follow is not None and (follow == self._follow or self._parts >= MOST_PARTS):
            raise Endless(f"a query goes on after {self._parts} parts")
        self._follow = follow
        return follow

    def _add(self, reply: Mapping[str, Any]) -> dict[str, str] | None:
        query = reply.get("query") or {}
        for kind in ("normalized", "converted", "redirects"):
            for each in query.get(kind, ()):
                self._aliases[each["from"]] = each["to"]
        for page in query.get("pages", ()):
            known = self._pages.setdefault(str(page.get("title", "")), {})
            # A part may repeat a page without the revision that another part brought.
            known.update({name: value for name, value in page.items() if value not in ([], None)})
        follow = reply.get("continue")
        return {name: str(value) for name, value in follow.items()} if follow else None

    def page(self, asked: str) -> dict[str, Any] | None:
        """The page for a title, with all aliases resolved."""
        title, seen = asked, set[str]()
        while title in self._aliases and title not in seen:
            seen.add(title)
            title = self._aliases[title]
        return self._pages.get(title) or self._pages.get(normal(title))


def page_of(raw: Mapping[str, Any] | None) -> Page | None:
    """The article; None if it is missing, invalid, empty or a disambiguation page."""
    if raw is None or raw.get("missing") or raw.get("invalid") or not raw.get("revisions"):
        return None
    revision = raw["revisions"][0]
    wikitext = str(revision.get("slots", {}).get("main", {}).get("content", ""))
    text = plain_text(wikitext)
    if not text or "disambiguation" in raw.get("pageprops", {}) or _REFER.search(text[:300]):
        return None
    return Page(str(raw["title"]), text, revision.get("revid"), str(raw.get("canonicalurl") or ""))


def plain_text(wikitext: str) -> str:
    """Wikitext without templates, references, tables, files and markup; headings stay as lines."""
    if not re.search(r"[\[\]{}<=']", wikitext):
        return wikitext.strip()
    import mwparserfromhell

    wikitext = re.sub(r"\{\|.*?\|\}", "", wikitext, flags=re.DOTALL)
    code = mwparserfromhell.parse(wikitext, skip_style_tags=False)
    for tag in code.filter_tags(recursive=False, matches=lambda tag: str(tag.tag).casefold() == "ref"):
        code.remove(tag)
    for link in code.filter_wikilinks(recursive=False):
        if str(link.title).partition(":")[0].strip().casefold() in ("file", "image", "category"):
            code.remove(link)
    text = code.strip_code(normalize=True, collapse=True)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


async def _body(reply: aiohttp.ClientResponse) -> bytes:
    """Raises TooMuch for a reply beyond any that the API sends; a smaller request may be answered."""
    body = bytearray()
    async for chunk in reply.content.iter_any():
        body += chunk
        if len(body) > _MOST_BYTES:
            reply.close()
            raise TooMuch
    return bytes(body)


def understood(status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The reply as an object. Raises Slow, TooMuch, or ValueError for any other reply."""
    wait = headers.get("Retry-After", "")
    seconds = float(wait) if wait.isdigit() else None
    if status in (429, 503):
        raise Slow(seconds)
    if status in (413, 414):
        raise TooMuch
    if status != 200:
        raise ValueError(f"status {status}")
    reply = orjson.loads(body)
    if not isinstance(reply, dict):
        raise ValueError("the reply is not an object")
    error = reply.get("error") or {}
    if not isinstance(error, dict):
        raise ValueError("the reply's error is not an object")
    code = str(error.get("code", ""))
    if code in ("maxlag", "ratelimited", "readonly"):
        raise Slow(seconds)
    if code in ("toomanyvalues", "too-many-titles"):
        raise TooMuch
    if code:
        raise ValueError(f"{code}: {error.get('info', '')}")
    return reply


class WikiApi:
    """Asks politely: identifies itself, limits concurrency and rate, and pauses while the wiki asks it to.

    Mutable state: the pause, and the counts.
    """

    def __init__(self, url: str, contact: str, *, at_once: int, per_second: float, timeout_s: float) -> None:
        self._url = url
        agent = f"DataGen/{version('datagen-engine')} ({contact}) aiohttp/{aiohttp.__version__}"
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": agent},
            timeout=timeout,
            trust_env=True,  # the proxy of the environment
        )
        self._places = asyncio.Semaphore(at_once)
        # Whoever waits looks again once a period: its own default, and any shorter one, would poll.
        self._pace = Throttler(rate_limit=1, period=1 / per_second, retry_interval=1 / per_second)
        self._resume = 0.0
        self.requests = 0
        self.answered = 0

    async def close(self) -> None:
        await self._session.close()

    async def ask(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Raises Unanswered and Refused after several tries, TooMuch immediately."""
        trouble, refusals = "", 0
        for attempt in range(_TRIES):
            try:
                return await self._once(parameters)
            except Slow as slow:
                trouble = "it asks to wait"
                self._pause(slow.seconds if slow.seconds is not None else 2.0**attempt)
            except ValueError as error:
                refusals += 1
                if refusals == _REFUSALS:
                    raise Refused(str(error)) from None
                await asyncio.sleep(0.25 * refusals)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                trouble = f"{type(error).__name__}: {error}"
                await asyncio.sleep(0.25 * 2**attempt)
        raise Unanswered(trouble)

    def _pause(self, seconds: float) -> None:
        """Pauses all requests to the wiki, not only this one."""
        until = asyncio.get_running_loop().time() + min(seconds, _LONGEST_WAIT_S)
        self._resume = max(self._resume, until)

    async def _once(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        async with self._places:
            while (rest := self._resume - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110 - it may be set anew
                await asyncio.sleep(rest)
            async with self._pace:
                self.requests += 1
                # POST: fifty titles may exceed the permitted length of a URL.
                async with self._session.post(
                    self._url, data=dict(parameters), allow_redirects=False
                ) as reply:
                    answer = understood(reply.status, reply.headers, await _body(reply))
        self.answered += 1
        return answer

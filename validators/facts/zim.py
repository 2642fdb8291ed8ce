"""Evidence from a ZIM file, such as a whole offline Wikipedia in one file (needs the extra `zim`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from engine.errors import RetrieverUnavailable
from engine.protocols import Evidence
from validators.facts.paragraphs import Paragraphs
from validators.facts.titles import folded, normal

_MOST_PAGES = 2_000
"""How many articles are held in memory for searching."""
_SUGGESTIONS = 5


class ZimOptions(BaseModel):
    """This source's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["zim"] = "zim"
    path: Path
    licence: str = "CC BY-SA 4.0"


class Zim:
    """Finds articles by title, or by the file's own title search. Mutable state: the articles read so far."""

    def __init__(self, options: ZimOptions) -> None:
        """Raises ValueError if the file does not exist or the package libzim is missing."""
        if find_spec("libzim") is None:
            raise ValueError("source: a ZIM file needs the package libzim: pip install 'datagen-engine[zim]'")
        if not options.path.is_file():
            raise ValueError(f"source.path: {options.path} does not exist")
        self._options = options
        self._archive: Any = None
        self._paragraphs = Paragraphs()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evidence")

    async def __aenter__(self) -> Self:
        """Raises RetrieverUnavailable if the file is not a ZIM file."""
        from libzim.reader import Archive

        try:
            self._archive = Archive(self._options.path)
        except RuntimeError as error:
            raise RetrieverUnavailable(f"{self._options.path}: cannot be read: {error}") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        self._thread.shutdown()
        self._paragraphs.close()

    @property
    def called(self) -> str:
        """What it is, for prompts."""
        return "an archive of articles"

    def describe(self) -> dict[str, Any]:
        return {"source": "zim", "articles": self._archive.article_count}

    async def retrieve(self, wanted: Sequence[tuple[str, str]], k: int) -> list[list[Evidence]]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._found, wanted, k)

    def _found(self, wanted: Sequence[tuple[str, str]], k: int) -> list[list[Evidence]]:
        return [self._one(entity, claim, k) for entity, claim in wanted]

    def _one(self, entity: str, claim: str, k: int) -> list[Evidence]:
        entry = self._entry(normal(entity))
        if entry is None:
            return []
        item = entry.get_item()
        if entry.title not in self._paragraphs:
            if len(self._paragraphs) >= _MOST_PAGES:
                self._paragraphs.close()
                self._paragraphs = Paragraphs()
            head = Evidence(entry.title, "", None, entry.path, self._options.licence, "zim")
            self._paragraphs.add([(head, text_of(bytes(item.content).decode("utf-8", "replace")))])
        return self._paragraphs.best(claim, k, [entry.title])

    def _entry(self, title: str) -> Any:
        if not title:
            return None
        if self._archive.has_entry_by_title(title):
            return self._archive.get_entry_by_title(title)
        from libzim.suggestion import SuggestionSearcher

        search = SuggestionSearcher(self._archive).suggest(title)
        for path in search.getResults(0, _SUGGESTIONS):
            entry = self._archive.get_entry_by_path(path)
            if folded(entry.title) == folded(title):
                return entry
        return None


class _Text(HTMLParser):
    """Collects the visible text of paragraphs, headings and lists."""

    _BLOCKS = frozenset("p li h1 h2 h3 h4 h5 h6 dd dt blockquote".split())
    _HIDDEN = frozenset("script style table sup figure nav head".split())

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self._hidden += tag in self._HIDDEN
        if tag in self._BLOCKS:
            self.blocks.append("")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in self._HIDDEN and self._hidden > 0

    def handle_data(self, data: str) -> None:
        if not self._hidden and self.blocks:
            self.blocks[-1] += data


def text_of(html: str) -> str:
    """The article's text, with a blank line between paragraphs."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    return "\n\n".join(block.strip() for block in parser.blocks if block.strip())

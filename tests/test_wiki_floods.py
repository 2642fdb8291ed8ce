"""A wiki that floods or lies: bounded memory, bounded requests, and never a mistake of ours."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from engine.errors import RetrieverUnavailable
from validators.facts.mediawiki import MediaWiki, MediaWikiOptions
from validators.facts.wiki_api import MOST_PARTS

Answer = Callable[[int, web.Request], Any]


class Wiki:
    """A real HTTP server in the place of api.php."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        found = self.answer(self.asked, request)
        if asyncio.iscoroutine(found):
            return await found  # type: ignore[no-any-return]
        return web.Response(body=orjson.dumps(found), content_type="application/json")


@asynccontextmanager
async def wiki_of(answer: Answer, tmp_path: Path) -> AsyncIterator[tuple[Wiki, MediaWiki]]:
    wiki = Wiki(answer)
    app = web.Application()
    app.router.add_post("/w/api.php", wiki.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    options = MediaWikiOptions(
        api_url=f"http://127.0.0.1:{port}/w/api.php", contact="tests@example.org", per_second=1000,
        cache=tmp_path / "pages.db", timeout_s=20,
    )  # fmt: skip
    try:
        async with MediaWiki(options) as source:
            yield wiki, source
    finally:
        await runner.cleanup()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(3000):
        await response.write(b" " * 65536)
    return response


async def test_a_body_without_end_takes_no_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with wiki_of(lambda number, request: endless(request), tmp_path) as (_, source):
        async with asyncio.timeout(60):
            with pytest.raises(RetrieverUnavailable):
                await source.retrieve([("Oxygen", "it is a gas")], 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 120_000


@pytest.mark.parametrize("same", [True, False])
async def test_a_query_without_end_is_left(same: bool, tmp_path: Path) -> None:
    def further(number: int, request: web.Request) -> Any:
        return {
            "continue": {"rvcontinue": "x" if same else str(number), "continue": "||"},
            "query": {"pages": []},
        }

    async with wiki_of(further, tmp_path) as (wiki, source), asyncio.timeout(60):
        assert await source.retrieve([("Oxygen", "it is a gas")], 3) == [[]]
        with pytest.raises(RetrieverUnavailable, match="goes on"):
            for name in ("Gold", "Iron", "Lead"):
                await source.retrieve([(name, "it is a metal")], 3)
    assert wiki.asked <= 4 * (MOST_PARTS + 2)


WRONG: list[Any] = [
    [], "text", 7, None, {"query": []}, {"query": 7}, {"query": {"pages": {"7": {"title": "x"}}}},
    {"query": {"pages": [7, "x", None]}}, {"query": {"pages": "Oxygen"}}, {"query": {"normalized": [7]}},
    {"query": {"redirects": [{"from": "Oxygen"}]}}, {"continue": [1], "query": {}}, {"error": "no"}, {"error": [1]},
    {"query": {"search": 7}}, {"query": {"search": [{"title": 7}, 8]}}, {"continue": 7},
    {"query": {"pages": [{"title": ["Oxygen"], "revisions": [{"slots": {"main": {"content": "x"}}}]}]}},
    {"query": {"pages": [{"title": "Oxygen", "revisions": 7}]}},
    {"query": {"pages": [{"title": "Oxygen", "revisions": [{"slots": 7}]}]}},
    {"query": {"pages": [{"title": "Oxygen", "revisions": [{"slots": {"main": {"content": 7}}}], "pageprops": 8}]}},
]  # fmt: skip


@pytest.mark.parametrize("reply", WRONG, ids=lambda reply: str(reply)[:40])
async def test_a_reply_of_another_form_is_no_evidence(reply: Any, tmp_path: Path) -> None:
    async with wiki_of(lambda number, request: reply, tmp_path) as (_, source), asyncio.timeout(60):
        try:
            found = await source.retrieve([("Oxygen", "it is a gas")], 3)
        except RetrieverUnavailable:
            return
    assert all(isinstance(passage.text, str) for passage in found[0])

"""Against a real MediaWiki, which scripts/mediawiki installs and starts on loopback."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from conftest import PUBLISHED, ROOT, needs_published
from validators.facts.mediawiki import MediaWiki, MediaWikiOptions
from validators.facts.wiki_api import TooMuch, WikiApi, query

pytestmark = [
    needs_published,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("apt-get") is None,
        reason="installing a wiki needs root and apt-get",
    ),
]
MORE = [
    {"title": "US", "text": "#REDIRECT [[Oxygen]]"},
    {"title": "Gone", "text": "#REDIRECT [[Nowhere at all]]"},
    {"title": "Hydra", "text": "'''Hydra''' may refer to:\n* [[Oxygen]]"},
    {
        "title": "Größe",
        "text": "'''Größe''' is a word of nine letters in some other spelling.",
    },
    *(
        {"title": f"Thing {n}", "text": f"Thing {n} is the {n}th thing, found at place {n * 7}."}
        for n in range(300)
    ),
]


@pytest.fixture(scope="module")
def api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pages = tmp_path_factory.mktemp("wiki") / "pages.jsonl"
    articles = (PUBLISHED / "wikipedia" / "wikipedia-slice.jsonl").read_bytes()
    pages.write_bytes(b"\n".join([articles.strip(), *map(orjson.dumps, MORE)]))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "MEDIAWIKI_PORT": str(port), "MEDIAWIKI_HOME": str(ROOT / ".mediawiki")}
    script = str(ROOT / "scripts" / "mediawiki")
    began = subprocess.run(
        [script, "start", str(pages)], capture_output=True, text=True, env=environment, check=False
    )
    if began.returncode != 0 and not os.environ.get("CI"):
        pytest.skip(f"the wiki cannot be installed here: {began.stderr.strip()[-300:]}")
    assert began.returncode == 0, began.stderr
    try:
        yield began.stdout.strip().splitlines()[-1]
    finally:
        subprocess.run([script, "stop"], env=environment, check=True)


def opened(api_url: str, cache: Path | str = ":memory:", **options: Any) -> MediaWiki:
    given = {
        "api_url": api_url,
        "contact": "tests@example.org",
        "per_second": 100,
        "cache": Path(cache),
        **options,
    }
    return MediaWiki(MediaWikiOptions(**given))


async def test_evidence_from_a_real_wiki_holds_the_answer(api_url: str) -> None:
    lines = (PUBLISHED / "wikipedia" / "squad-questions.jsonl").read_bytes().splitlines()[::10]
    questions = [orjson.loads(line) for line in lines]
    async with opened(api_url) as wiki:
        found = await wiki.retrieve([(question["title"], question["question"]) for question in questions], 3)
        held = [
            any(answer in passage.text for passage in passages for answer in question["answers"])
            for passages, question in zip(found, questions, strict=True)
        ]
        assert sum(held) >= 0.92 * len(held)
        assert wiki._wiki.api.requests <= 4
        passage = found[0][0]
        assert passage.revid
        assert passage.url.startswith("http")


async def test_names_of_every_kind(api_url: str, tmp_path: Path) -> None:
    names = ["oxygen", "US", "Gone", "Hydra", "Nowhere at all", "Gro\u0308ße", "A|B", "C#", "<x>", "Thing 7"]
    expected = ["Oxygen", "Oxygen", None, None, None, "Größe", None, None, None, "Thing 7"]
    for requests in (1, 0):
        async with opened(api_url, tmp_path / "wiki.db", search=False) as wiki:
            found = await wiki.retrieve([(name, "what is it") for name in names], 1)
            assert [passages[0].title if passages else None for passages in found] == expected
            assert wiki._wiki.api.requests == requests
    async with opened(api_url) as wiki:
        [[passage]] = await wiki.retrieve([("word nine letters spelling", "which word")], 1)
        assert passage.title == "Größe"


async def test_few_requests_for_many_names(api_url: str) -> None:
    async with opened(api_url, search=False) as wiki:
        names = [f"Thing {n % 300}" for n in range(3_000)]
        found = await wiki.retrieve([(name, "at which place") for name in names], 1)
        assert [passages[0].title for passages in found] == names
        assert wiki._wiki.api.requests <= 300 / 15


async def test_what_the_wiki_refuses_is_known(api_url: str) -> None:
    api = WikiApi(api_url, "tests@example.org", at_once=1, per_second=100, timeout_s=30)
    try:
        with pytest.raises(TooMuch):
            await api.ask(query([f"Thing {n}" for n in range(51)]))
    finally:
        await api.close()


@asynccontextmanager
async def faulty(api_url: str, faults: list[Any]) -> AsyncIterator[str]:
    """A proxy before the wiki that fails as told, one request after another, and packs what it passes on."""

    async def serve(request: web.Request) -> web.StreamResponse:
        given = await request.post()
        fault = faults.pop(0) if faults else None
        if isinstance(fault, int):
            return web.Response(status=fault, headers={"Retry-After": "0"})
        if fault == "maxlag":
            return web.json_response({"error": {"code": "maxlag"}}, headers={"Retry-After": "0"})
        async with aiohttp.ClientSession() as session, session.post(api_url, data=dict(given)) as reply:  # type: ignore[arg-type]
            body = await reply.read()
        body = body[: len(body) // 2] if fault == "cut" else body
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=gzip.compress(body), headers=headers)

    app = web.Application()
    app.router.add_post("/api.php", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api.php"
    finally:
        await runner.cleanup()


async def test_a_real_wiki_on_a_bad_day(api_url: str) -> None:
    faults: list[Any] = [429, "cut", 503, "maxlag", "cut"]
    async with faulty(api_url, faults) as url, opened(url, search=False) as wiki:
        names = [f"Thing {n}" for n in range(120)]
        found = await wiki.retrieve([(name, "at which place") for name in names], 1)
        assert [passages[0].title for passages in found] == names
        assert faults == []
        assert wiki._wiki.api.requests <= 3 + 5 + 2

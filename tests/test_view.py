"""The view as its server gives it and a real browser shows it: every page, a live run, foreign texts, who may look."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from conftest import Configs, Start, datagen, finished, lines
from engine.report.summary import Report
from engine.runs.api import arun, audit
from engine.store.folder import RunFolder
from engine.view.folders import key_of
from engine.view.serving import Served, served
from hostile_strings import hostile_strings

CHROMIUM = shutil.which("chromium")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
TOKEN = "a-token-for-these-tests"  # noqa: S105
MOST = 300_000
"""Bytes of a page."""


@asynccontextmanager
async def visiting(root: Path) -> AsyncIterator[tuple[Served, aiohttp.ClientSession]]:
    """The server for this folder, and a visitor who has its cookie."""
    async with (
        served(root, port=0, token=TOKEN) as there,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor,
    ):
        async with visitor.get(there.address) as answer:
            assert answer.status == 200
        yield there, visitor


async def text_of(visitor: aiohttp.ClientSession, there: Served, path: str) -> str:
    async with visitor.get(f"http://127.0.0.1:{there.port}{path}") as answer:
        text = await answer.text()
        assert answer.status == 200, text
        assert len(text) < MOST
        return text


async def a_run(configs: Configs, endpoint: Start, folder: Path, **sections: Any) -> Report:
    url, _ = await endpoint(kind="word_problems", wrong_labels=0.3, near_duplicates=0.2, violations=0.3)
    given: dict[str, Any] = {
        "generate": {"target": 40, "attributes": {"topic": ["cats", "trains"]}},
        "validators": ["constraints", "reflection", "difficulty"],
        "dataset": {"constraints": [{"length": {"max": 60, "unit": "words"}}]},
        "groupcheck": {"same": "meaning+numbers"},
        "embedding": {"function": "hashing_embedder:hashed"},
        "observe": {"page": True},
        **sections,
    }
    return await arun(configs.load(url, **given), folder)


PAGES = (
    "/",
    "/items",
    "/items?q=how",
    "/review",
    "/review?way=judge&criterion=clear",
    "/pairs",
    "/pairs?threshold=0.9",
    "/batches",
    "/log",
    "/report",
)


async def test_every_page_of_a_run(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    report = await a_run(configs, endpoint, run)
    accepted, rejected = lines(run / "accepted.jsonl"), lines(run / "rejected.jsonl")
    async with visiting(tmp_path / "runs" / "one") as (there, visitor):
        base = f"/r/{key_of(run)}"
        pages = {path: await text_of(visitor, there, base + path) for path in PAGES if path != "/report"}
        assert f"of {report.data['items']['target']}" in pages["/"]
        assert f"{report.data['items']['generated']} items" in pages["/items"]
        for row in (*accepted[:3], *rejected[:3]):
            item, meta = await text_of(visitor, there, f"{base}/item/{row['_meta']['id']}"), row["_meta"]
            assert row["question"][:20].replace("'", "&#39;") in item
            for verdict in meta["verdicts"]:
                assert f"<b>{verdict['by']}</b>" in item
            assert "Write exactly 3 new items" in item  # what was asked for its batch
            assert await text_of(visitor, there, f"{base}/near/{meta['id']}")
        revised = next(row for row in accepted if row["_meta"]["revisions"])
        assert "<ins>" in await text_of(visitor, there, f"{base}/item/{revised['_meta']['id']}")
        batch = await text_of(visitor, there, f"{base}/batch/0")
        assert "Write exactly 3 new items" in batch
        reason, by = next((row["_meta"]["reason"], row["_meta"]["rejected_by"]) for row in rejected)
        shown = await text_of(visitor, there, f"{base}/items?by={by}&reason={reason}")
        count = report.data["items"]["reasons"][by][reason]
        assert f"{count} of {report.data['items']['generated']} items" in shown
        for nothing in ("/item/99999-0", "/item/x", "/batch/x", "/nothing", "/item/..%2f..%2fetc"):
            async with visitor.get(f"http://127.0.0.1:{there.port}{base}{nothing}") as answer:
                assert answer.status == 404
                assert "<" not in await answer.text()
            browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
            async with visitor.get(
                f"http://127.0.0.1:{there.port}{base}{nothing}", headers=browser
            ) as answer:
                assert (answer.status, answer.content_type) == (404, "text/html")
                assert answer.headers["Content-Security-Policy"]
                assert "<h1>Not found</h1>" in await answer.text()


async def test_what_is_shown_is_saved(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    run = tmp_path / "run"
    await a_run(configs, endpoint, run)
    async with visiting(run) as (there, visitor):
        base = f"/r/{key_of(run)}"
        saved = await text_of(visitor, there, f"{base}/export?state=accepted")
        assert [orjson.loads(line) for line in saved.splitlines()] == lines(run / "accepted.jsonl")
        saved = await text_of(visitor, there, f"{base}/export?state=rejected&sort=-plan")
        assert [orjson.loads(line) for line in saved.splitlines()] == lines(run / "rejected.jsonl")[::-1]


async def test_a_folder_of_runs(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for name in ("one", "deeper/two"):
        await a_run(configs, endpoint, root / name, validators=[], groupcheck=False)
    (root / "broken").mkdir()
    (root / "broken" / "run.db").write_bytes(b"not a database" * 99)
    shutil.copy(root / "one" / "config.yaml", root / "broken")
    async with visiting(root) as (there, visitor):
        text = await text_of(visitor, there, "/")
        for name in ("one", "deeper/two", "broken"):
            assert f">{name}</a>" in text
        assert "damaged" in text
        async with visitor.get(f"http://127.0.0.1:{there.port}/r/{key_of(root / 'broken')}/items") as answer:
            assert answer.status == 500
            assert "datagen repair" in await answer.text()


async def test_runs_of_other_kinds(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    """One that a person has only begun, and one over rows that asks nobody."""
    url, _ = await endpoint()
    run = tmp_path / "audit"
    await audit(configs.load(url, validators=["constraints"], model={"name": "m", "base_url": url}), run)
    async with visiting(run) as (there, visitor):
        base = f"/r/{key_of(run)}"
        for path in PAGES:
            if path != "/report":
                await text_of(visitor, there, base + path)
        assert "it was not asked for" in await text_of(visitor, there, f"{base}/item/0-0")


async def test_only_who_has_the_token_may_look(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    run = tmp_path / "run"
    await a_run(configs, endpoint, run, validators=[], groupcheck=False)
    async with served(run, port=0, token=TOKEN) as there, aiohttp.ClientSession() as stranger:
        root = f"http://127.0.0.1:{there.port}"
        page = f"{root}/r/{key_of(run)}/items"

        async def status(url: str, **more: Any) -> int:
            async with stranger.request(
                more.pop("method", "GET"), url, allow_redirects=False, **more
            ) as answer:
                for name in ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"):
                    assert name in answer.headers
                assert answer.headers["Cache-Control"] != "public"
                return answer.status

        assert await status(page) == 403
        assert await status(f"{root}/static/view.css") == 403
        assert await status(f"{page}?token=wrong") == 403
        assert await status(page, headers={"Cookie": f"datagen-view-{there.port}={TOKEN}"}) == 403
        async with stranger.get(f"{page}?q=a&token={TOKEN}", allow_redirects=False) as answer:
            assert answer.status == 302
            assert TOKEN not in answer.headers["Location"]
            cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert TOKEN not in cookie
        known = {"Cookie": cookie.partition(";")[0]}
        assert await status(page, headers=known) == 200
        for name in ("evil.example", f"evil.example:{there.port}", "127.0.0.1", "localhost:1"):
            assert await status(page, headers={**known, "Host": name}) == 421
        assert await status(page, headers=known, method="POST") == 403
        from_afar = {**known, "Origin": "http://evil.example", "X-Form-Token": "x"}
        assert await status(page, headers=from_afar, method="POST") == 403


async def test_it_only_reads(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    run = tmp_path / "run"
    await a_run(configs, endpoint, run)

    def there_is() -> dict[Path, bytes]:  # but for what SQLite shares between those that read
        return {path: path.read_bytes() for path in run.iterdir() if not path.name.endswith(("-shm", "-wal"))}

    before = there_is()
    for path in (*run.iterdir(), run):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        async with visiting(run) as (there, visitor):
            for path in PAGES:
                if path != "/report":
                    await text_of(visitor, there, f"/r/{key_of(run)}{path}")
    finally:
        run.chmod(0o755)
    assert there_is() == before


async def test_all_who_watch_hear_of_the_end(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    """The last thing that a run does is to give its folder back, which changes nothing in run.db."""
    run = tmp_path / "run"
    await a_run(configs, endpoint, run, validators=[], groupcheck=False)
    async with visiting(run) as (there, visitor):
        url = f"http://127.0.0.1:{there.port}/r/{key_of(run)}/events"

        async def heard(answer: aiohttp.ClientResponse, words: str) -> None:
            async with asyncio.timeout(60):
                while words not in (await answer.content.readline()).decode():
                    pass

        async with contextlib.AsyncExitStack() as stack:
            with RunFolder(run).locked():
                answers = [await stack.enter_async_context(visitor.get(url)) for _ in range(3)]
                for answer in answers:
                    await heard(answer, 'class="fate running"')
            for answer in answers:
                await heard(answer, 'class="fate target"')


# --- in a browser ------------------------------------------------------------------------------------


@asynccontextmanager
async def browsing(
    there: Served, width: int = 1280, scheme: str = "light"
) -> AsyncIterator[tuple[Any, list[str]]]:
    """A page that has the cookie, and what its console said of errors."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        page = await context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
        await page.goto(there.address)
        try:
            yield page, said
        finally:
            await browser.close()


async def until(page: Any, true: str, seconds: float = 20.0) -> None:
    """Waits for an expression; the browser's own way to wait is refused by the pages' policy."""
    async with asyncio.timeout(seconds):
        while not await page.evaluate(true):
            await asyncio.sleep(0.05)


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
async def test_everybody_can_use_every_page(
    width: int, scheme: str, configs: Configs, endpoint: Start, tmp_path: Path
) -> None:
    """axe-core finds nothing, nothing is wider than the screen, nothing is refused by the pages' own policy."""
    from axe_playwright_python.async_playwright import Axe

    root = tmp_path / "runs"
    for name in ("one", "two"):
        await a_run(configs, endpoint, root / name)
    rejected = lines(root / "one" / "rejected.jsonl")[0]["_meta"]["id"]
    base = f"/r/{key_of(root / 'one')}"
    async with served(root, port=0, token=TOKEN) as there, browsing(there, width, scheme) as (page, said):
        for path in (
            "/",
            *(f"{base}{each}" for each in PAGES if each != "/report"),
            f"{base}/item/{rejected}",
            f"{base}/batch/0",
        ):
            await page.goto(f"http://127.0.0.1:{there.port}{path}")
            await until(page, "!document.querySelector('[data-src] > .said')?.textContent.endsWith('...')")
            found = await Axe().run(page)
            assert found.violations_count == 0, f"{path}: {found.generate_report()}"
            over = await page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert over <= 0, path
        assert said == []


@needs_browser
async def test_by_keys_alone(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    run = tmp_path / "run"
    await a_run(configs, endpoint, run)
    async with served(run, port=0, token=TOKEN) as there, browsing(there) as (page, _):
        await page.goto(f"http://127.0.0.1:{there.port}/r/{key_of(run)}/items")
        await page.keyboard.press("/")
        await page.keyboard.type("how")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**q=how**")
        await page.keyboard.press("j")
        await page.keyboard.press("j")
        second = await page.evaluate("document.activeElement.textContent")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/item/{second}")
        await page.keyboard.press("n")
        await page.wait_for_url(lambda url: not url.endswith(f"/{second}"))


@needs_browser
async def test_foreign_texts_act_on_nothing(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint()
    texts = [text.encode("utf-8", "replace").decode() for text in hostile_strings()]
    rows = [{"question": text or "x", "answer": text or "y"} for text in texts]
    configs.base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    run = tmp_path / "run"
    await audit(
        configs.load(
            url,
            validators=["constraints"],
            dataset={"constraints": [{"length": {"max": 3, "unit": "words"}}]},
        ),
        run,
    )
    async with served(run, port=0, token=TOKEN) as there, browsing(there) as (page, said):
        base = f"http://127.0.0.1:{there.port}/r/{key_of(run)}"
        await page.goto(f"{base}/items")
        seen = 0
        while True:
            await until(page, "!document.querySelector('#facets')?.textContent.includes('Counting')")
            seen += await page.locator("tr[data-row]").count()
            assert await page.locator("main script, main img, main iframe, main svg").count() == 0
            following = page.locator("a[rel=next]")
            if not await following.count():
                break
            await following.click()
        assert seen == len(lines(run / "accepted.jsonl")) + len(lines(run / "rejected.jsonl")) > 900
        ids = [
            row["_meta"]["id"] for name in ("accepted", "rejected") for row in lines(run / f"{name}.jsonl")
        ]
        for shown in ids[::23]:
            await page.goto(f"{base}/item/{shown}")
            assert await page.locator("main script, main img, main iframe").count() == 0
        await page.goto(
            f"{base}/items?q=%3Cscript%3E&by=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E&attr=a=%22onx"
        )
        assert await page.locator("main img").count() == 0
        assert said == []


@needs_browser
async def test_a_run_as_it_goes_on(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    """Begun, killed, resumed to its end, with one page open all the time."""
    url, _ = await endpoint(latency_s=0.05)
    run = tmp_path / "run"
    path = configs.write(url, generate={"target": 300, "batch_size": 1}, limits={"concurrency": 4})
    first = await datagen("run", path, "-o", run)
    while not (run / "report.json").exists() and not (run / "run.db").exists():
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    accepted = "Number(document.querySelector('#standing .tile b').textContent.replace(',', ''))"
    async with served(run, port=0, token=TOKEN) as there, browsing(there) as (page, said):
        await until(page, "document.querySelector('.state .fate').textContent === 'running'")
        before = await page.evaluate(accepted)
        await until(page, f"{accepted} > {before} + 10", 20)
        await page.evaluate("window.still = true")
        first.send_signal(signal.SIGKILL)
        await first.wait()
        second = await datagen("resume", run)
        await until(page, f"{accepted} === 300", 40)
        await until(page, "document.querySelector('.state .fate').textContent === 'target'", 20)
        assert await page.evaluate("window.still")  # it was never loaded again
        assert await page.locator(".u-wrap").count() == 3
        assert said == []
    assert (await finished(second))[0] == 0
    with contextlib.suppress(ProcessLookupError):
        first.kill()


# --- the command -------------------------------------------------------------------------------------


async def test_the_command(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    run = tmp_path / "run"
    await a_run(configs, endpoint, run, validators=[], groupcheck=False)
    process = await datagen("view", run, "--no-open")
    assert process.stderr is not None
    said = ""
    while "Ctrl-C" not in said:
        said += (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
    [address] = re.findall(r"http://127\.0\.0\.1:\d+/\?token=\S+", said)
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor,
        visitor.get(address) as answer,
    ):
        assert answer.status == 200
        assert "accepted" in await answer.text()
    process.send_signal(signal.SIGINT)
    assert (await asyncio.wait_for(finished(process), 60))[0] in (0, 130)


async def test_beside_a_run(
    configs: Configs, endpoint: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER", "true")
    url, _ = await endpoint(latency_s=0.1)
    path = configs.write(url, generate={"target": 150, "batch_size": 1}, limits={"concurrency": 4})
    process = await datagen("run", path, "-o", tmp_path / "run", "--view")
    assert process.stderr is not None
    said = ""
    while "Ctrl-C" not in said:
        said += (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
    [address] = re.findall(r"http://127\.0\.0\.1:\d+/\?token=\S+", said)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:
        async with asyncio.timeout(60):
            text = ""
            while "accepted of 150" not in text:
                async with visitor.get(address) as answer:
                    text = await answer.text()
                await asyncio.sleep(0.1)
        code, _, err = await finished(process)
        assert code == 0
        assert "datagen view" in err
        with pytest.raises(aiohttp.ClientConnectionError):
            await visitor.get(address)


async def test_a_wrong_config_leaves_no_folder(configs: Configs, tmp_path: Path) -> None:
    path = configs.write("http://127.0.0.1:9/v1", dataset={"path": str(tmp_path / "nothing.jsonl")})
    code, _, _ = await finished(await datagen("run", path, "-o", tmp_path / "run", "--view"))
    assert code == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nowhere"], "there is no such folder"),
        ([".", "--host", "0.0.0.0"], "--token"),  # noqa: S104
        ([".", "--token", "short"], "at least 16"),
    ],
)
async def test_what_is_wrong_is_said(options: list[str], said: str, tmp_path: Path) -> None:
    code, _, err = await finished(await datagen("view", "--no-open", *options, cwd=tmp_path))
    assert code == 2
    assert said in err

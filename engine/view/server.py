"""The server of the pages: addresses, and what each of them shows."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from engine.errors import EngineError
from engine.runs.modes import MODES
from engine.store.reading import read_starts
from engine.view.batches import ORDERS, ranked_batches, read_batch, read_batches
from engine.view.desk import user
from engine.view.feed import Feed
from engine.view.files import file
from engine.view.filters import ON_A_PAGE, SORTS, Filter, facets_of, number_of
from engine.view.folders import key_of, read_run, runs_below
from engine.view.guard import Guard, protected_headers
from engine.view.index import Found
from engine.view.item import read_item
from engine.view.items import COLUMNS, export_lines, noted, read_rows
from engine.view.live import lines, standing
from engine.view.map import area_of
from engine.view.neighbours import read_neighbours, read_pairs
from engine.view.opening import OpenRun, cache_folder
from engine.view.overviews import Overviews
from engine.view.pages import page
from engine.view.reviewing import Reviewing

_CURVES_EVERY = 5
"""Changes for one of which the curves are told: a night has thousands of points."""
_PATIENCE_S = 0.25
"""Seconds that a page waits for the index: what it shows then is what is taken in by then."""
_MOST_SENT = 16 << 20
"""Bytes of a form: an edited item may be long."""
_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "img-src data: blob:"
)
"""The report brings its scripts along; in a sandbox it belongs to no site, and reaches nothing of this one."""


class Server:
    """Serves the runs below a folder. Mutable state: the runs that have been opened."""

    def __init__(self, root: Path, guard: Guard) -> None:
        self._root = root
        self._guard = guard
        self._open: dict[str, OpenRun] = {}
        self._feeds: dict[str, Feed] = {}
        self._overviews = Overviews(self._run, self._opened, self._page, self._alone)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard.middleware, _told], client_max_size=_MOST_SENT)
        app.on_cleanup.append(self._close)
        reviewing = Reviewing(self._run, self._chosen, self._page, self._guard.form_token)
        app.add_routes(
            [
                *reviewing.routes(),
                *self._overviews.routes(),
                web.get("/", self.runs),
                web.get("/static/{name:.+}", _static),
                web.get("/r/{run}/", self.live),
                web.get("/r/{run}/events", self.events),
                web.get("/r/{run}/lines", self.lines),
                web.get("/r/{run}/items", self.items),
                web.get("/r/{run}/facets", self.facets),
                web.get("/r/{run}/export", self.export),
                web.get("/r/{run}/item/{item}", self.item),
                web.get("/r/{run}/near/{item}", self.near),
                web.get("/r/{run}/pairs", self.pairs),
                web.get("/r/{run}/batches", self.batches),
                web.get("/r/{run}/batch/{batch}", self.batch),
                web.get("/r/{run}/log", self.log),
                web.get("/r/{run}/report", self.report),
            ]
        )
        return app

    async def _close(self, _: web.Application) -> None:
        for run in self._open.values():
            await run.decisions.close()
            run.close()

    # --- runs ---

    async def runs(self, request: web.Request) -> web.StreamResponse:
        paths = await asyncio.to_thread(runs_below, self._root)
        if len(paths) == 1:
            raise web.HTTPFound(f"/r/{key_of(paths[0])}/")
        shown = await asyncio.gather(*(asyncio.to_thread(read_run, path, self._root) for path in paths))
        return _html("runs", root=str(self._root), runs=shown)

    async def _run(self, request: web.Request) -> OpenRun:
        return await self._opened(request.match_info["run"])

    async def _opened(self, key: str) -> OpenRun:
        if key not in self._open:
            paths = await asyncio.to_thread(runs_below, self._root)
            path = next((each for each in paths if key_of(each) == key), None)
            if path is None:
                raise web.HTTPNotFound(text="There is no such run here.\n")
            name = str(path.relative_to(self._root)) if path != self._root else path.resolve().name
            self._open[key] = await asyncio.to_thread(OpenRun, path, name)
            self._open[key].decisions.settle(0)  # what an earlier server left behind
        run = self._open[key]
        await run.filled(_PATIENCE_S)
        return run

    def _alone(self, name: str, **values: Any) -> web.Response:
        return _html(name, **values)

    def _page(self, name: str, run: OpenRun, tab: str, **values: Any) -> web.Response:
        several = not (self._root / "run.db").is_file()
        return _html(
            name,
            run=run,
            base=f"/r/{run.key}",
            tab=tab,
            tests=MODES[run.folder.mode()].answers,
            several=several,
            **values,
        )

    # --- live ---

    async def _standing(self, run: OpenRun) -> Any:
        running = await asyncio.to_thread(run.folder.in_use)
        return await run.ask(
            lambda connection: standing(
                connection, run.index, run.folder, lambda record: run.fields.remembered(record).text[:200],
                running=running,
            )
        )  # fmt: skip

    async def live(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request)
        return self._page("live", run, "live", now=await self._standing(run))

    async def lines(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request)
        return web.Response(body=await run.ask(lines), content_type="application/json")

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the state of the run, whole, whenever it has changed; once a second at most."""
        run = await self._run(request)
        headers = {**protected_headers(), "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        feed = self._feeds.setdefault(run.key, Feed(run, partial(self._state, run)))
        with contextlib.suppress(ConnectionError):  # whoever watched has left
            async with contextlib.aclosing(feed.states()) as states:
                async for state in states:
                    await response.write(state)
        return response

    async def _state(self, run: OpenRun, number: int) -> bytes:
        """The events that tell how a run stands."""
        now = await self._standing(run)
        told = _event("standing", page("standing", base=f"/r/{run.key}", now=now), number)
        if now.state != "running" or number % _CURVES_EVERY == 1:
            told += _event("lines", (await run.ask(lines)).decode(), number)
        return told

    # --- items ---

    async def _chosen(self, run: OpenRun, filter_: Filter) -> Found:
        """The items that a filter lets through."""
        notes = await run.ask(lambda connection: noted(connection, filter_.q)) if filter_.q else []
        within = None
        if (area := area_of(filter_.area)) is not None:
            there = await self._overviews.drawn(run)
            within = await asyncio.to_thread(there.inside, area) if there is not None else []
        return await asyncio.to_thread(run.index.chosen, filter_, notes, within)

    async def items(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request)
        filter_ = Filter.read(request.query.items())
        found = await self._chosen(run, filter_)
        first = (filter_.page - 1) * ON_A_PAGE
        shown = found.numbers(first, first + ON_A_PAGE)
        rows = await run.ask(lambda connection: read_rows(connection, run.fields, shown))
        chosen = [name for name in filter_.cols.split(",") if name in COLUMNS] or ["label", "why"]
        return self._page(
            "items", run, "items", filter=filter_, rows=rows, found=len(found), first=first, sorts=SORTS,
            form_token=self._guard.form_token, who=user(), columns=COLUMNS, chosen=chosen, whole=len(run.index),
            behind=await asyncio.to_thread(run.index.behind),
            last_page=max(1, -(-len(found) // ON_A_PAGE)),
        )  # fmt: skip

    async def facets(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request)
        filter_ = Filter.read(request.query.items())
        found = await self._chosen(run, filter_) if filter_.narrows else None
        counted = await asyncio.to_thread(run.index.counts, found)
        return _html("facets", facets=facets_of(counted, filter_), filter=filter_)

    async def export(self, request: web.Request) -> web.StreamResponse:
        """What the filter shows, as JSON lines, in its order."""
        run = await self._run(request)
        filter_ = Filter.read(request.query.items())
        found = await self._chosen(run, filter_)
        headers = {
            **protected_headers(),
            "Content-Type": "application/x-ndjson",
            "Content-Disposition": 'attachment; filename="items.jsonl"',
        }
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        for first in range(0, len(found), 1_000):
            numbers = found.numbers(first, first + 1_000)
            await response.write(await run.ask(partial(export_lines, numbers=numbers)))
        await response.write_eof()
        return response

    async def item(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request)
        number = _number(request)
        found = await run.ask(lambda connection: read_item(connection, run.fields, number))
        if found is None:
            raise web.HTTPNotFound(text=f"The run has no item {request.match_info['item']}.\n")
        return self._page("item", run, "items", item=found)

    async def near(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request)
        number = _number(request)
        found = await run.ask(lambda connection: read_neighbours(connection, run.fields, number))
        return _html("near", base=f"/r/{run.key}", found=found)

    async def pairs(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request)
        threshold = _between(request.query.get("threshold", ""), 0.5, 1.0)
        found = await run.ask(lambda connection: read_pairs(connection, run.fields, threshold))
        return self._page("pairs", run, "pairs", found=found)

    # --- batches ---

    async def batches(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request)
        first = request.query.get("from", "")
        begin = int(first) if first.isdecimal() and len(first) < 12 else 0
        order, page_ = request.query.get("order", "plan"), Filter.read(request.query.items()).page
        if order in ORDERS and order != "plan":
            found = await asyncio.to_thread(ranked_batches, run.index, order, page_)
        else:
            order, found = "plan", await asyncio.to_thread(read_batches, run.index, begin)
        return self._page(
            "batches", run, "batches", found=found, begin=begin, order=order, orders=ORDERS, page=page_
        )

    async def batch(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request)
        given = request.match_info["batch"]
        if not given.isdecimal() or len(given) > 12:
            raise web.HTTPNotFound(text="There is no such batch.\n")
        found = await run.ask(lambda connection: read_batch(connection, run.fields, int(given)))
        return self._page("batch", run, "batches", batch=found)

    # --- the rest ---

    async def log(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request)
        return self._page("log", run, "log", **await run.ask(_log))

    async def report(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request)
        if not run.folder.page.is_file():
            raise web.HTTPNotFound(text="This run has no page yet: datagen report RUN_DIR writes one.\n")
        return web.FileResponse(run.folder.page, headers={"Content-Security-Policy": _REPORT_POLICY})


def _log(connection: Any) -> dict[str, Any]:
    """What happened in each start, in words, and what each purpose has cost."""
    starts = read_starts(connection)
    costs = connection.execute(
        "SELECT purpose, owner, count(*), sum(cost) / 1e12, sum(prompt_tokens), sum(completion_tokens),"
        " avg(seconds), sum(error IS NOT NULL) FROM calls GROUP BY 1, 2 ORDER BY 4 DESC"
    ).fetchall()
    return {"starts": starts, "costs": costs, "whole": sum(row[3] for row in costs)}


def _event(kind: str, data: str, number: int) -> bytes:
    said = "".join(f"data: {line}\n" for line in data.splitlines())
    return f"id: {number}\nevent: {kind}\n{said}\n".encode()


def _number(request: web.Request) -> int:
    number = number_of(request.match_info["item"])
    if number is None:
        raise web.HTTPNotFound(text="There is no such item.\n")
    return number


def _between(said: str, least: float, most: float) -> float | None:
    try:
        value = float(said)
    except ValueError:
        return None
    return min(most, max(least, value)) if value == value else None


def _html(name: str, **values: Any) -> web.Response:
    return web.Response(text=page(name, **values), content_type="text/html")


async def _static(request: web.Request) -> web.StreamResponse:
    found = file(request.match_info["name"])
    if found is None:
        raise web.HTTPNotFound(text="There is no such file.\n")
    return web.Response(
        body=found.data, content_type=found.kind, headers={"Cache-Control": "private, max-age=3600"}
    )


@web.middleware
async def _told(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """What cannot be shown says why: on a page to a browser, in one line to anything else."""
    try:
        response: web.StreamResponse = await handler(request)
        return response
    except web.HTTPException as error:
        if error.status < 400:
            raise
        ours = error.text is not None and not error.text.startswith(f"{error.status}:")
        status, said = error.status, str(error.text) if ours else "There is no such page here.\n"
    except EngineError as error:
        status, said = 500, f"{error}\n"
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, ConnectionError):
            raise
        where = f"what stands in {cache_folder()} can be deleted without loss"
        status, said = 500, f"{type(error).__name__}: {error}; {where}\n"
    if "text/html" not in request.headers.get("Accept", ""):
        return web.Response(status=status, text=said)
    title = "Not found" if status == 404 else "This cannot be shown" if status >= 500 else "Not understood"
    shown = page("wrong", title=title, said=said.strip())
    return web.Response(status=status, text=shown, content_type="text/html")

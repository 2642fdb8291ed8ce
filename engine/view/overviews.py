"""The pages that look at a run as a whole, or at two: compare, map, evaluation, cost over time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from markupsafe import Markup

from engine.report.page.charts import Figure, Line, Lines, dollars, drawn, table
from engine.report.page.figures import unit_of
from engine.view.compare import MOST, Side, base_of, compare, overlap, side_of, texts_of, texts_of_base
from engine.view.filters import Filter
from engine.view.map import COLOURS, Drawn, points_json, read_map
from engine.view.opening import OpenRun
from engine.view.reviewing import Shown
from engine.view.tested import ON_A_PAGE, SHOWN, read_tested
from engine.view.totals import read_report

_BINS = 60


class Overviews:
    """The handlers. Mutable state: the maps that have been read, and of how many items."""

    def __init__(
        self,
        opened: Callable[[web.Request], Awaitable[OpenRun]],
        named: Callable[[str], Awaitable[OpenRun]],
        shown: Shown,
        alone: Callable[..., web.Response],
    ) -> None:
        """`named` opens a run by its key, `alone` renders a page of no one run."""
        self._opened = opened
        self._named = named
        self._shown = shown
        self._alone = alone
        self._maps: dict[str, tuple[int, Drawn | None]] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/compare", self.compare),
            web.get("/compare/texts", self.texts),
            web.get("/r/{run}/map", self.map),
            web.get("/r/{run}/points", self.points),
            web.get("/r/{run}/evaluation", self.evaluation),
            web.get("/r/{run}/cost", self.cost),
        ]

    # --- compare ---

    async def compare(self, request: web.Request) -> web.StreamResponse:
        """`run` twice, or once with `base`."""
        runs, base = await self._two(request)
        sides = list(await asyncio.gather(*(asyncio.to_thread(_side, run) for run in runs)))
        if base:
            sides.insert(0, await asyncio.to_thread(base_of, runs[0]))
        found = await asyncio.to_thread(compare, *sides)
        charts = [(title, *_figure(chart, title)) for title, chart in found.charts]
        return self._alone("compare", found=found, charts=charts, query=request.rel_url.raw_query_string)

    async def texts(self, request: web.Request) -> web.StreamResponse:
        """The part of `compare` that every text is read for."""
        runs, base = await self._two(request)
        sides = [await asyncio.to_thread(texts_of, run) for run in runs]
        if base:
            sides.insert(0, await asyncio.to_thread(texts_of_base, runs[0]))
        found = await asyncio.to_thread(overlap, *sides)
        return self._alone("texts", sides=sides, found=found, most=MOST)

    async def _two(self, request: web.Request) -> tuple[list[OpenRun], bool]:
        """The runs, and whether their base dataset is meant, too."""
        keys = request.query.getall("run", [])
        base = "base" in request.query
        if len(keys) + base != 2:
            raise web.HTTPBadRequest(text="Choose two runs, or one and its base dataset.\n")
        return [await self._named(key) for key in keys], base

    # --- map ---

    async def map(self, request: web.Request) -> web.StreamResponse:
        run = await self._opened(request)
        colour = request.query.get("colour", "fate")
        there = await self.drawn(run)
        return self._shown(
            "map", run, "map", colour=colour if colour in COLOURS else "fate", colours=COLOURS,
            items=0 if there is None else len(there.numbers), originals=0 if there is None else len(there.originals),
        )  # fmt: skip

    async def points(self, request: web.Request) -> web.StreamResponse:
        run = await self._opened(request)
        there = await self.drawn(run)
        colour = request.query.get("colour", "fate")
        if there is None or colour not in COLOURS:
            raise web.HTTPNotFound(text="There is no map.\n")
        body = await asyncio.to_thread(points_json, there, run.index, colour)
        return web.Response(body=body, content_type="application/json")

    async def drawn(self, run: OpenRun) -> Drawn | None:
        """The run's map, read once for as many items as there are."""
        known = self._maps.get(run.key)
        if known is None or known[0] != len(run.index):
            known = len(run.index), await run.ask(read_map)
            self._maps[run.key] = known
        return known[1]

    # --- evaluation ---

    async def evaluation(self, request: web.Request) -> web.StreamResponse:
        run = await self._opened(request)
        shown = request.query.get("show", "all")
        shown = shown if shown in SHOWN else "all"
        page = Filter.read(request.query.items()).page
        found = await run.ask(lambda connection: read_tested(connection, run.fields, shown, page))
        last = max(1, -(-found.found // ON_A_PAGE))
        return self._shown(
            "evaluation", run, "evaluation", found=found, show=shown, kinds=SHOWN, page=page, last=last
        )

    # --- cost ---

    async def cost(self, request: web.Request) -> web.StreamResponse:
        run = await self._opened(request)
        lines = await run.ask(_spent_over_time)
        if lines is None:
            return self._shown("cost", run, "log", svg="", heads=[], rows=[])
        svg, heads, rows = _figure(lines, "Cost by purpose over time")
        return self._shown("cost", run, "log", svg=svg, heads=heads, rows=rows)


def _figure(figure: Figure, title: str) -> tuple[Markup, list[str], list[list[str]]]:
    """Drawn, and as a table."""
    return Markup(drawn(figure, title)), *table(figure)  # noqa: S704 - charts escapes every text


def _side(run: OpenRun) -> Side:
    accepted = run.index.chosen(Filter(state="accepted"))
    counted = run.index.counts(accepted)
    attributes = {title: counts for name, (title, counts) in counted.items() if name.startswith("attr:")}
    report: Mapping[str, Any] = read_report(run.folder) or {}
    return side_of(run, len(accepted), report, attributes)


def _spent_over_time(connection: sqlite3.Connection) -> Lines | None:
    """Dollars by purpose, added up, by when the calls were made; None where that is not kept."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'prompts'").fetchone():
        return None
    first, last = connection.execute("SELECT min(at), max(at) FROM prompts").fetchone()
    if first is None or last <= first:
        return None
    width = (last - first) / _BINS
    rows = connection.execute(
        "SELECT min(CAST((at - ?1) / ?2 AS INTEGER), ?3), purpose, sum(cost) / 1e12 FROM calls JOIN prompts USING (key)"
        " GROUP BY 1, 2",
        (first, width, _BINS - 1),
    ).fetchall()
    by_purpose: dict[str, list[float]] = {}
    for place, purpose, cost in rows:
        by_purpose.setdefault(purpose, [0.0] * _BINS)[place] += cost
    ordered = sorted(by_purpose, key=lambda name: -sum(by_purpose[name]))[:5]
    unit, size = unit_of(last - first)
    x = [round((place + 1) * width / size, 3) for place in range(_BINS)]
    kinds = ("accepted", "revised", "surplus", "rejected", "original")
    lines = []
    for name, kind in zip(ordered, kinds, strict=False):
        total, y = 0.0, []
        for value in by_purpose[name]:
            total += value
            y.append(total)
        lines.append(Line(name, kind, x, y))
    return Lines(lines, unit, "US dollars", dollars) if lines else None

"""The pages on which people review: one item at a time, or all that a filter shows; and what their answers say."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from engine.errors import ConfigError
from engine.items import item_id
from engine.quality.estimates import stratified
from engine.runs.modes import MODES
from engine.schema.values import loads
from engine.store.opinions import in_order, people_of, read_opinions, read_seen
from engine.store.pending import JUDGED, Pending
from engine.view.deciding import Waiting, as_form, edited, labels_of, objection, relabelled, undo, waiting
from engine.view.desk import QUEUES, WAYS, Desk, Next, next_to_decide, next_to_judge
from engine.view.filters import Filter, number_of
from engine.view.index import Found
from engine.view.item import read_item
from engine.view.opening import OpenRun

_TYPED = {"accept", "reject", "note", "edit", *JUDGED}
_MOST_AT_ONCE = 100_000
"""Items that can be decided on with one word."""


class Shown(Protocol):
    """Renders a page of a run."""

    def __call__(self, name: str, run: OpenRun, tab: str, **values: Any) -> web.Response: ...


@dataclass(frozen=True)
class _Asked:
    """A request, read."""

    run: OpenRun
    desk: Desk
    filter: Filter


class Reviewing:
    """The handlers. Mutable state: by run and seed, the order of the sample, and of how many items it was drawn."""

    def __init__(
        self,
        opened: Callable[[web.Request], Awaitable[OpenRun]],
        chosen: Callable[[OpenRun, Filter], Awaitable[Found]],
        shown: Shown,
        form_token: str,
    ) -> None:
        """`chosen` gives the items that a filter lets through."""
        self._opened = opened
        self._chosen = chosen
        self._shown = shown
        self._form_token = form_token
        self._orders: dict[tuple[str, int], tuple[int, list[Any]]] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/r/{run}/review", self.review),
            web.post("/r/{run}/review", self.decide),
            web.post("/r/{run}/review/all", self.decide_all),
            web.get("/r/{run}/review/people", self.people),
        ]

    async def _read(self, request: web.Request) -> _Asked:
        run = await self._opened(request)
        way = "judge" if MODES[run.folder.mode()].answers else "decide"
        filter_ = Filter.read(request.query.items())
        return _Asked(run, Desk.read(request.query.items(), way), filter_)

    # --- one item ---

    async def review(self, request: web.Request) -> web.StreamResponse:
        return await self._page(await self._read(request))

    async def _page(self, asked: _Asked, problem: str = "", item: int | None = None) -> web.Response:
        run, desk = asked.run, asked.desk
        there = await asyncio.to_thread(waiting, run.folder)
        following = await self._next(asked, there)
        number = item if item is not None else number_of(desk.at) if desk.at else following.item
        found, record = None, {}
        if number is not None:
            found = await run.ask(lambda connection: read_item(connection, run.fields, number))
            record = await run.ask(lambda connection: _record(connection, number))
        for each in there.about(number) if number is not None else ():
            record = {**record, **(each.record or {})}
        response = self._shown(
            "review", run, "review", desk=desk, filter=asked.filter, item=found, left=following.left,
            problem=problem, stuck=run.decisions.problem, form_token=self._form_token, ways=WAYS, queues=QUEUES,
            labels=labels_of(run.fields, record), form={name: as_form(value) for name, value in record.items()},
            waiting=there.about(number) if number is not None else [], pending=len(there.decisions),
            running=await asyncio.to_thread(run.folder.in_use),
            answers=_answers(found.meta) if found is not None else [],
            label=run.fields.remembered(record).answer if record else "",
        )  # fmt: skip
        if problem:
            response.set_status(422)
        return response

    async def _next(self, asked: _Asked, there: Waiting) -> Next:
        run, desk = asked.run, asked.desk
        if desk.way == "judge":
            order = await self._order(run, desk)
            return next_to_judge(order, there.judged(desk.who), desk.after)
        filter_ = asked.filter
        if desk.queue != "filter" and not filter_.narrows:
            filter_ = Filter(state="accepted")
        found = await self._chosen(run, filter_)
        return await asyncio.to_thread(next_to_decide, found, desk, filter_, there.decided())

    async def _order(self, run: OpenRun, desk: Desk) -> list[int]:
        """The sample, without what this person has judged; first what others have."""

        def drawn(connection: sqlite3.Connection) -> list[Any]:
            seen = [each for each, _ in read_seen(connection)]
            return stratified(seen, len(seen), desk.seed)

        known = self._orders.get((run.key, desk.seed))
        if known is None or known[0] != len(run.index):
            known = len(run.index), await run.ask(drawn)
            self._orders[run.key, desk.seed] = known
        opinions = await run.ask(read_opinions)
        return [each.number for each in in_order(known[1], opinions, desk.who)]

    async def decide(self, request: web.Request) -> web.StreamResponse:
        asked, form = await self._read(request), await request.post()
        run, desk = asked.run, asked.desk
        given = {name: value for name, value in form.items() if isinstance(value, str)}
        kind = given.get("decision") or ("label" if "label" in given else "")
        if kind == "undo":
            return await self._undone(asked)
        number = number_of(given.get("item", ""))
        if number is None or (kind not in _TYPED and kind != "label"):
            raise web.HTTPBadRequest(text="There is no such decision.\n")
        try:
            decision = await self._decision(run, desk, kind, number, given)
            await run.decisions.keep(decision)
        except ConfigError as error:
            return await self._page(asked, str(error), number)
        onward = desk.address(asked.filter, after=item_id(number), at="")
        raise web.HTTPSeeOther(f"/r/{run.key}/review{onward}")

    async def _decision(
        self, run: OpenRun, desk: Desk, kind: str, number: int, given: Mapping[str, str]
    ) -> Pending:
        """Raises ConfigError where it cannot stand."""
        note = given.get("note", "").strip()[:2000]
        if kind == "note" and not note:
            raise ConfigError("a note needs words")
        record: dict[str, Any] | None = None
        if kind in ("edit", "label"):
            before = await run.ask(lambda connection: _record(connection, number))
            if kind == "label":
                record = relabelled(run.fields, before, given.get("label", ""))
            else:
                fields = {name[6:]: said for name, said in given.items() if name.startswith("field:")}
                record = edited(before, fields)
            if not record:
                raise ConfigError("nothing is changed")
        scores = {}
        for name, most in desk.criteria.items():
            said = given.get(f"score:{name}", "")
            if said.isdecimal() and 1 <= int(said[:3]) <= most:
                scores[name] = float(said)
        decision = Pending("edit" if kind == "label" else kind, [number], desk.who, note, record, scores)
        if said := await run.ask(lambda connection: objection(connection, decision, run.fields)):
            raise ConfigError(said)
        return decision

    async def _undone(self, asked: _Asked) -> web.StreamResponse:
        run, desk = asked.run, asked.desk
        there = await asyncio.to_thread(waiting, run.folder)
        taken = await run.ask(lambda connection: undo(connection, there, desk.who))
        if taken is None:
            return await self._page(asked, f"{desk.who} has decided nothing that could be taken back.")
        await run.decisions.keep(taken)
        shown = item_id(taken.items[0]) if len(taken.items) == 1 else ""
        raise web.HTTPSeeOther(f"/r/{run.key}/review{desk.address(asked.filter, at=shown, after='')}")

    # --- all that a filter shows ---

    async def decide_all(self, request: web.Request) -> web.StreamResponse:
        """One word on every item that a filter shows, if they are still as many as the page has said."""
        asked, form = await self._read(request), await request.post()
        run, kind = asked.run, form.get("decision")
        if kind not in ("accept", "reject"):
            raise web.HTTPBadRequest(text="There is no such decision.\n")
        found = await self._chosen(run, asked.filter)
        if str(len(found)) != form.get("count") or len(found) > _MOST_AT_ONCE:
            said = (
                f"The filter shows {len(found):,} items now; look again. At most {_MOST_AT_ONCE:,} at once.\n"
            )
            raise web.HTTPConflict(text=said)
        numbers = [int(number) for number in found.numbers(0, len(found))]
        decision = Pending(str(kind), numbers, asked.desk.who, str(form.get("note", "")).strip()[:2000])
        await run.decisions.keep(decision)
        back = asked.desk.address(Filter(), after="", at="")
        raise web.HTTPSeeOther(f"/r/{run.key}/review{back}")

    # --- what people's answers say ---

    async def people(self, request: web.Request) -> web.StreamResponse:
        asked = await self._read(request)
        return self._shown("people", asked.run, "review", people=await asked.run.ask(people_of))


def _answers(meta: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a tested model answered, of an evaluation."""
    told = [each.get("record") or {} for each in meta.get("verdicts") or ()]
    model = str(meta.get("model") or "the model")
    return [
        {"model": model, "text": str(each["answer"])} for each in told if {"answer", "correct"} <= each.keys()
    ]


def _record(connection: sqlite3.Connection, number: int) -> dict[str, Any]:
    row = connection.execute("SELECT record FROM items WHERE item = ?", (number,)).fetchone()
    record = loads(row[0]) if row is not None else {}
    return record if isinstance(record, dict) else {}

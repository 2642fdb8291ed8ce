"""Pages over whole runs: two compared, the map with what is drawn around, an evaluation by models, batches by yield."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st

from conftest import CLEAN, Configs, Start, lines, run_in
from engine.runs.api import evaluate
from engine.store.reading import connect
from engine.view.compare import Overlap, Side, Texts, compare, overlap
from engine.view.folders import key_of
from engine.view.map import Drawn, area_of, read_map
from test_view import a_run, browsing, needs_browser, text_of, until, visiting


def side(name: str, count: int, **report: object) -> Side:
    profile = {"items": count, "lengths": {"3": count}, "labels": {}, "frequent": {}}
    return Side(name, "/r/x", count, profile, report)


def test_what_is_in_both() -> None:
    one = Texts("a", "/r/x", {b"1": ("0-0", "x"), b"2": ("0-1", "y")}, partly=False)
    other = Texts("b", "/r/y", {b"2": ("3-0", "Y"), b"3": ("3-1", "z")}, partly=False)
    assert overlap(one, other) == Overlap(1, (1, 1), ([("0-0", "x")], [("3-1", "z")]))


def test_what_is_more_than_chance() -> None:
    one = side("a", 2, items={"accepted": 50, "rejected": 50, "reasons": {}})
    other = side("b", 2, items={"accepted": 90, "rejected": 10, "reasons": {}})
    found = compare(one, other)
    rows = {row.name: row for row in found.rows}
    assert rows["yield"].difference.startswith("+40.0% (+27.8%")
    assert rows["yield"].said == "more than chance"
    same = compare(one, side("c", 0, items={"accepted": 52, "rejected": 48, "reasons": {}}))
    assert {row.name: row for row in same.rows}["yield"].said == ""


async def test_two_runs_and_a_base_side_by_side(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    await a_run(configs, endpoint, root / "one")
    await a_run(
        configs,
        endpoint,
        root / "two",
        generate={"target": 20, "few_shot": 3, "attributes": {"topic": ["cats"]}},
    )
    one, two = key_of(root / "one"), key_of(root / "two")
    async with visiting(root) as (there, visitor):
        text = await text_of(visitor, there, f"/compare?run={one}&run={two}")
        assert "<code>generate.target</code>" in text
        assert "generate.few_shot" in text
        assert f'data-src="/compare/texts?run={one}&amp;run={two}"' in text
        assert "Rejected, of all that were decided" in text
        text = await text_of(visitor, there, f"/compare/texts?run={one}&run={two}")
        assert f'href="/r/{one}/item/' in text
        texts = {row["question"] for row in lines(root / "one" / "accepted.jsonl")}
        others = {row["question"] for row in lines(root / "two" / "accepted.jsonl")}
        said = re.search(
            r"([\d,]+) texts? (?:are|is) in both; ([\d,]+) only in one, ([\d,]+) only in two", text
        )
        assert said
        assert [int(value) for value in said.groups()] == [
            len(texts & others), len(texts - others), len(others - texts)
        ]  # fmt: skip
        text = await text_of(visitor, there, f"/compare?run={one}&base=on")
        assert "base dataset" in text
        text = await text_of(visitor, there, f"/compare/texts?run={one}&base=on")
        assert re.search(r"only in base dataset, ([\d,]+) only in one", text)
        for query in ("", f"?run={one}", f"?run={one}&run={two}&base=on", "?run=x&run=y"):
            async with visitor.get(f"http://127.0.0.1:{there.port}/compare{query}") as answer:
                assert answer.status in (400, 404)
        pages = await text_of(visitor, there, "/")
        assert f'name="run" value="{one}"' in pages


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=40),
    st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(0.05, 1),
)  # fmt: skip
def test_a_square_holds_what_lies_in_it(
    points: list[tuple[float, float]], x: float, y: float, size: float
) -> None:
    xs, ys = np.array(points).T
    drawn = Drawn(np.arange(len(points)), xs, ys, np.empty((0, 2)))
    square = [(x, y), (x + size, y), (x + size, y + size), (x, y + size)]

    def within(edge: float) -> set[int]:
        low, high = (x - edge, y - edge), (x + size + edge, y + size + edge)
        return {n for n, (a, b) in enumerate(points) if low[0] < a < high[0] and low[1] < b < high[1]}

    surely, maybe = within(-1e-9), within(1e-9)
    assert surely <= set(drawn.inside(square)) <= maybe


def test_an_area_is_a_polygon_or_nothing() -> None:
    assert area_of("0,0,1,0,1,1") == [(0, 0), (1, 0), (1, 1)]
    for said in (
        "",
        "0,0,1,0",
        "0,0,1,0,1",
        "a,b,c,d,e,f",
        "nan,0,1,0,1,1",
        "1e99,0,1,0,1,1",
        ",".join("0" * 402),
    ):
        assert area_of(said) is None


async def test_rejected_items_lie_where_they_would_have(
    configs: Configs, endpoint: Start, tmp_path: Path
) -> None:
    """A near-duplicate lies beside what it is near to."""
    await a_run(configs, endpoint, tmp_path / "run", generate={"target": 200})
    with contextlib.closing(connect(tmp_path / "run" / "run.db")) as connection:
        drawn = read_map(connection)
        pairs = connection.execute(
            "SELECT item, json_extract(meta, '$.verdicts[#-1].record.item') FROM items WHERE rejected_by = 'groupcheck'"
            " AND item IN (SELECT item FROM vectors)"
        ).fetchall()
    assert drawn is not None
    place = {int(n): (x, y) for n, x, y in zip(drawn.numbers, drawn.x, drawn.y, strict=True)}
    spread = float(np.hypot(np.ptp(drawn.x), np.ptp(drawn.y)))
    near = []
    for item, other in pairs:
        batch, _, position = str(other).partition("-")
        there = int(batch) * 65536 + int(position) if position.isdecimal() else -1
        if item in place and there in place:
            near.append(np.hypot(*(np.array(place[item]) - np.array(place[there]))) / spread)
    assert len(near) > 3
    assert float(np.median(near)) < 0.15


@needs_browser
async def test_what_is_drawn_around_is_listed(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    await a_run(configs, endpoint, tmp_path / "run")
    async with visiting(tmp_path / "run") as (there, visitor), browsing(there) as (page, said):
        base = f"http://127.0.0.1:{there.port}/r/{key_of(tmp_path / 'run')}"
        await page.goto(f"{base}/map?colour=label")
        await until(page, "document.querySelector('#map')?.dataset.drawn === 'true'")
        box = await page.locator("#map").bounding_box()
        corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)]
        at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
        await page.mouse.move(*at[0])
        await page.mouse.down()
        for x, y in at[1:]:
            await page.mouse.move(x, y, steps=6)
        await page.mouse.up()
        await page.wait_for_url("**/items?area=*")
        assert said == []
        area = parse_qs(urlsplit(page.url).query)["area"][0]
        with contextlib.closing(connect(tmp_path / "run" / "run.db")) as connection:
            drawn = read_map(connection)
        assert drawn is not None
        polygon = area_of(area)
        assert polygon is not None
        count = len(drawn.inside(polygon))
        assert count > 0.8 * len(drawn.numbers)
        assert f"{count} of" in await page.inner_text("[role=status]")
        saved = await text_of(visitor, there, f"/r/{key_of(tmp_path / 'run')}/export?area={area}")
        assert len(saved.splitlines()) == count
        await page.goto(f"{base}/map")
        await until(page, "document.querySelector('#map')?.dataset.drawn === 'true'")
        await page.focus("#map")
        for key in (
            "ArrowLeft",
            "Shift+ArrowRight",
            "Shift+ArrowUp",
            *["Shift+ArrowRight", "Shift+ArrowUp"] * 9,
        ):
            await page.keyboard.press(key)
        told = re.fullmatch(
            r"(\d+) items in the frame; Enter lists them\.", await page.inner_text("#map-said")
        )
        assert told
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/items?area=*")
        assert f"{told[1]} of" in await page.inner_text("[role=status]")
        assert int(told[1]) > 0.5 * len(drawn.numbers)


async def test_an_evaluation_by_items_and_models(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint(**{**CLEAN, "kind": "word_problems", "answer_accuracy": 0.6})
    config = configs.load(
        url, validators=[], evaluate={"models": [{"name": each, "base_url": url} for each in "mn"]}
    )
    await evaluate(config, tmp_path / "out", data=[configs.base])
    told: dict[int, dict[str, bool]] = {}
    for row in (*lines(tmp_path / "out" / "accepted.jsonl"), *lines(tmp_path / "out" / "rejected.jsonl")):
        meta = row["_meta"]
        marks = [
            each["record"]["correct"] for each in meta["verdicts"] if "correct" in each.get("record", {})
        ]
        told.setdefault(meta["row"], {})[meta["model"]] = bool(marks and marks[-1])
    assert len(told) == len(lines(configs.base))
    one = sum(sum(each.values()) == 1 for each in told.values())
    none = sum(not any(each.values()) for each in told.values())
    async with visiting(tmp_path / "out") as (there, visitor):
        base = f"/r/{key_of(tmp_path / 'out')}"
        text = await text_of(visitor, there, f"{base}/evaluation?show=one")
        assert f"that only one got right ({one})" in text
        assert f"that no model got right ({none})" in text
        assert text.count("<tr data-row>") == one
        assert ">Evaluation</a>" in text


async def test_batches_by_yield_and_cost_over_time(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    await a_run(configs, endpoint, tmp_path / "run")
    async with visiting(tmp_path / "run") as (there, visitor):
        base = f"/r/{key_of(tmp_path / 'run')}"
        for order, sign in (("yield", 1), ("-yield", -1)):
            text = await text_of(visitor, there, f"{base}/batches?order={order}")
            shares = [float(share) for share in re.findall(r'<td class="n">(\d+)%</td>', text)]
            assert shares == sorted(shares, key=lambda share: sign * share)
            assert len(set(shares)) > 1
        cost = await text_of(visitor, there, f"{base}/cost")
        assert "<polyline" in cost
        spent = orjson.loads((tmp_path / "run" / "report.json").read_bytes())["cost"]["by_purpose"]
        last = re.findall(r"<tr><th[^>]*>[^<]*</th>(.*?)</tr>", cost)[-1]
        shown = sorted(float(value) for value in re.findall(r"\$([\d.]+)", last))
        assert np.allclose(shown, sorted(value for value in spent.values() if value)[-5:], rtol=0.06)


async def test_a_run_without_a_map_says_so(configs: Configs, endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint()
    await run_in(tmp_path / "run", configs.load(url, observe={"prompts": False}))
    async with visiting(tmp_path / "run") as (there, visitor):
        base = f"/r/{key_of(tmp_path / 'run')}"
        assert "There is no map" in await text_of(visitor, there, f"{base}/map")
        assert "is not kept" in await text_of(visitor, there, f"{base}/cost")
        async with visitor.get(f"http://127.0.0.1:{there.port}{base}/points") as answer:
            assert answer.status == 404


def test_nothing_compared_with_nothing_has_no_chart() -> None:
    found = compare(side("a", 0), side("b", 0))
    assert (found.charts, found.settings) == ([], [])

"""report.html: whole, offline, safe, and drawn by a real browser."""

from __future__ import annotations

import base64
import gzip
import random
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import orjson
import pytest
from axe_playwright_python.async_playwright import Axe
from hypothesis import given
from hypothesis import strategies as st

from conftest import CLEAN, Configs, Start, datagen, finished, lines, run_in
from engine.config import RunConfig
from engine.report.mapping import Some, finite, mapped
from engine.report.page.charts import Bar, Bars, Flow, Line, Lines, Step, drawn, table, ticks
from engine.report.page.figures import OTHER, flow_figure, labels_figure, spend_figure
from engine.report.page.page_data import FlowStep, Series
from engine.runs.api import evaluate
from engine.simulator.content import word_problems
from engine.simulator.embeddings import embedding
from hostile_strings import hostile_strings

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> & \"quoted\""
CHROMIUM = shutil.which("chromium")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


async def made(configs: Configs, endpoint: Start, **sections: Any) -> Path:
    """A run with a map, corrections, rejections of several kinds."""
    url, _ = await endpoint(
        kind="word_problems", wrong_labels=0.3, near_duplicates=0.2, violations=0.1, enhancement_errors=0.2
    )
    rows = [
        {"question": f"How many legs have {n} {EVIL if n == 3 else 'cats'}?", "answer": str(4 * n)}
        for n in range(12)
    ]
    configs.base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    given: dict[str, Any] = {
        "generate": {"target": 40},
        "dataset": {
            "constraints": [{"length": {"max": 60, "unit": "words"}}],
            "description": f"Sums. {EVIL}",
        },
        "validators": ["constraints", "code", "difficulty"],
        "groupcheck": {"same": "meaning+numbers"},
        "embedding": {"function": "hashing_embedder:hashed"},
        "observe": {"page": True},
        **sections,
    }
    await run_in(configs.folder / "run", configs.load(url, **given))
    return configs.folder / "run"


def figures_in(page: Path) -> list[str]:
    return re.findall(r'data-figure="(\w+)"', page.read_text("utf-8"))


def table_of(page: Path, figure: str) -> list[list[str]]:
    """The rows of the table behind a figure."""
    section = page.read_text("utf-8").partition(f'data-figure="{figure}"')[2].partition("</section>")[0]
    body = section.partition("<tbody>")[2].partition("</tbody>")[0]
    return [re.findall(r"<t[hd][^>]*>([^<]*)</t", row) for row in body.split("</tr>") if "<t" in row]


def unpacked(page: Path) -> Any:
    match = re.search(
        r'<script id="data" type="text/plain">([A-Za-z0-9+/=]*)</script>', page.read_text("utf-8")
    )
    assert match
    return orjson.loads(gzip.decompress(base64.b64decode(match[1])))


class Tags(HTMLParser):
    """Tags of a page, and whatever would be fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.on: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.on += [name for name, _ in attrs if name.startswith("on")]


async def test_the_page_is_whole_and_alone(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint)
    text = (run / "report.html").read_text("utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.fetched == []
    assert tags.on == []
    assert tags.tags.count("script") == 2
    assert len(text) < 1_000_000
    assert "default-src 'none'" in text
    page = run / "report.html"
    assert set(figures_in(page)) >= {"flow", "throughput", "in_flight", "spend", "cost", "lengths"}
    data = unpacked(page)
    report = orjson.loads((run / "report.json").read_bytes())
    accepted = report["items"]["accepted"]
    assert {kind: len(each["texts"]) for kind, each in data.items()} == {"original": 12, "accepted": accepted}
    assert EVIL[:40] in data["original"]["texts"][3]
    assert "Nearest pairs" in text
    for by in report["items"]["rejected_by"]:
        assert f"<b>{by}</b>" in text
    assert "api_key" in text  # the settings, which hold no secret
    assert table_of(page, "throughput")[-1][1] == f"{accepted:,}"
    for row in lines(run / "accepted.jsonl")[:1]:
        assert f"<b>{row['_meta']['id']}</b>" in text  # accepted items can be read
    if "groupcheck" in report["items"]["rejected_by"]:
        assert "The other one: " in text


def test_charts_escape_and_keep_to_their_frame() -> None:
    for name in hostile_strings()[:300]:
        bars = Bars([name], [(name, "accepted", [Bar(0.5, 0.4, 0.6)]), (name, "original", [None])], name)
        for figure in (bars, Lines([Line(name, "accepted", [0, 1, 2], [0, 5, 3])], name, name),
                       Flow([Step(name, 3, 1, 2)], 4, 1, 7)):  # fmt: skip
            svg = drawn(figure, name)
            xml = re.sub("[\ufffe\uffff]", "", svg)  # no characters of XML, and harmless in HTML
            ElementTree.fromstring(xml)  # noqa: S314 - our own, and what is tested
            assert "<script" not in svg.lower()


@given(low=st.floats(-1e3, 1e3), span=st.floats(1e-2, 1e9))
def test_ticks_are_round_and_inside(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert len(found) <= 12
    assert all(low - 1e-6 * span <= each <= low + span * (1 + 1e-6) for each in found)


def test_the_flow_adds_up() -> None:
    steps = [FlowStep("code", 60, 20, 20), FlowStep("groupcheck", 70, 0, 10)]
    figure = flow_figure(steps, {"accepted": 70, "rejected": 30, "surplus": 5})  # type: ignore[typeddict-item]
    assert figure is not None
    assert (figure.came, figure.accepted, figure.surplus) == (105, 70, 5)
    heads, rows = table(figure)
    assert heads == ["step", "passed", "corrected", "rejected"]
    assert rows == [
        ["code", "60", "20", "20"], ["groupcheck", "70", "0", "10"], ["accepted", "70", "", ""],
        ["not needed", "5", "", ""],
    ]  # fmt: skip
    root = ElementTree.fromstring(drawn(figure, "flow"))  # noqa: S314 - our own
    said = ["".join(each.itertext()) for each in root.iter("{*}text")] or [
        "".join(each.itertext()) for each in root.iter("text")
    ]
    assert {"asked for 105", "rejected 20", "rejected 10", "not needed 5", "70"} <= set(said)


async def test_the_flow_of_a_run_is_that_of_its_items(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint)
    rows = {name: rest for name, *rest in table_of(run / "report.html", "flow")}
    report = orjson.loads((run / "report.json").read_bytes())
    away = {name: int(rest[2]) for name, rest in rows.items() if rest[2:] and rest[2] not in ("", "0")}
    assert away == report["items"]["rejected_by"]
    changed = [row for row in lines(run / "accepted.jsonl") if row["_meta"]["revisions"]]
    assert int(rows["difficulty"][1]) >= len(changed) > 5


async def test_a_run_without_vectors_gets_a_map_afterwards(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint, groupcheck=None)
    assert 'id="map"' not in (run / "report.html").read_text()
    assert "There is no map" in (run / "report.html").read_text()
    (run / "report.html").unlink()
    status, _, err = await finished(await datagen("report", run))
    assert status == 0, err
    assert 'id="map"' not in (run / "report.html").read_text()
    status, _, err = await finished(await datagen("report", run, "--vectors", cwd=Path(__file__).parent))
    assert status == 0, err
    assert set(unpacked(run / "report.html")) == {"original", "accepted"}
    status, _, err = await finished(await datagen("report", configs.folder))
    assert (status, "holds no run" in err) == (2, True)


async def test_a_journal_of_an_earlier_version_has_a_page_too(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint)
    connection = sqlite3.connect(run / "run.db")
    connection.executescript("DROP TABLE samples; DROP TABLE points;")
    connection.close()
    status, _, err = await finished(await datagen("report", run))
    assert status == 0, err
    assert "throughput" not in figures_in(run / "report.html")


async def test_an_evaluation_has_a_page_of_its_own(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint(**CLEAN)
    config = configs.load(url, observe={"page": True}, validators=[])
    problems = [word_problems.draw(random.Random(n)) for n in range(8)]
    rows = [{"question": each.text, "answer": str(each.answer)} for each in problems]
    configs.base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    await evaluate(config, configs.folder / "out", data=[configs.base])
    page = configs.folder / "out" / "report.html"
    assert {"accuracy", "throughput"} <= set(figures_in(page))
    assert "Accuracy of the models" in page.read_text()


async def test_twenty_thousand_items_stay_under_three_megabytes(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint)
    texts = [row["question"] for row in lines(run / "accepted.jsonl")]
    connection = sqlite3.connect(run / "run.db")
    record, meta = connection.execute(
        "SELECT record, meta FROM items WHERE state = 'accepted' LIMIT 1"
    ).fetchone()
    rows = ((1 << 30) + n for n in range(20_000))
    connection.executemany(
        "INSERT INTO items VALUES (?, 'accepted', NULL, NULL, NULL, ?, ?, NULL)",
        ((r, record, meta) for r in rows),
    )
    # No two alike, as far as compression goes: words in an order of their own.
    words = " ".join(texts).split()
    points = [
        (
            "accepted",
            n,
            n % 997 / 997,
            n % 991 / 991,
            " ".join(words[(n * k) % len(words)] for k in range(1, 30))[:160],
        )
        for n in range(20_000)
    ]
    connection.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?)", points)
    connection.commit()
    connection.close()
    status, _, err = await finished(await datagen("report", run))
    assert status == 0, err
    assert (run / "report.html").stat().st_size < 3_000_000
    if CHROMIUM is not None:
        async with opened(run / "report.html", 1280) as (page, said):
            assert await page.evaluate("document.getElementById('map').width") > 100
            assert said == []


def test_the_map_keeps_the_longest_axes() -> None:
    vectors = np.array([embedding(f"word{n % 3} text {n}", 64) for n in range(30)], np.float32)
    some = Some(list(range(30)), [f"text {n}" for n in range(30)], vectors)
    found = mapped(some, None)
    assert found is not None
    first, second = found.about["explained"]
    assert 1 >= first >= second >= 0
    assert found.about["against"] == []
    similarities = [pair["similarity"] for pair in found.about["within"]]
    assert similarities == sorted(similarities, reverse=True)
    near = vectors @ vectors.T
    assert similarities[0] == pytest.approx(max(near[i, j] for i in range(30) for j in range(i)), abs=1e-3)
    assert mapped(None, some) is None


# --- in a browser ------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(path: Path, width: int, scheme: str = "light") -> AsyncIterator[tuple[Any, list[str]]]:
    """The page, drawn, and what the console has said of errors."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            offline=True,  # type: ignore[arg-type]
        )
        page = await context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        await page.goto(path.resolve().as_uri())
        if await page.locator("#map").count():
            await page.wait_for_function("document.body.dataset.drawn === 'true'", timeout=60_000)
        try:
            yield page, said
        finally:
            await browser.close()


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
async def test_a_browser_draws_it_without_a_word(
    configs: Configs, endpoint: Start, width: int, scheme: str
) -> None:
    run = await made(configs, endpoint)
    async with opened(run / "report.html", width, scheme) as (page, said):
        assert said == []
        assert await page.title() == "run"  # nothing in the items has run
        assert await page.locator("section svg.chart").count() >= 6
        found = await Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) is (scheme == "dark")


@needs_browser
async def test_the_maps_points_can_be_read(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint)
    texts = [text for each in unpacked(run / "report.html").values() for text in each["texts"]]
    async with opened(run / "report.html", 1280) as (page, said):
        box = await page.locator("#map").bounding_box()
        await page.evaluate("document.getElementById('map').scrollIntoView()")
        box, seen = await page.locator("#map").bounding_box(), set()
        for across in range(4, int(box["width"]), 16):
            for down in range(4, int(min(box["height"], 800)), 40):
                await page.mouse.move(box["x"] + across, box["y"] + down)
                if await page.locator("#tip").is_visible():
                    seen.add(await page.locator("#tip").inner_text())
            if len(seen) > 3:
                break
        assert seen
        assert {text.split()[0] for text in seen} <= {text.split()[0] for text in texts}
        assert said == []


async def test_the_page_can_be_left_out(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint, observe={"page": False})
    assert not (run / "report.html").exists()
    assert RunConfig.load(run / "config.yaml").observe.page is False


async def test_what_cannot_be_measured_or_drawn_costs_no_item(
    configs: Configs, endpoint: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: Any) -> Any:
        raise ValueError("no")

    monkeypatch.setattr("engine.report.diversity.mapped", failing)
    monkeypatch.setattr("engine.runs.finish.write_page", failing)
    run = await made(configs, endpoint)
    assert len(lines(run / "accepted.jsonl")) == 40
    report = orjson.loads((run / "report.json").read_bytes())
    assert report["outcome"] == "target"
    assert not (run / "report.html").exists()


def test_a_map_without_usable_originals() -> None:
    vectors = np.eye(4, 8, dtype=np.float32)
    accepted = Some([1, 2, 3, 4], list("abcd"), vectors)
    found = mapped(accepted, finite([1], ["x"], np.full((1, 1), np.nan, np.float32)))
    assert found is not None
    assert found.about["originals"] == 0
    assert mapped(finite([1], ["x"], np.array([[1.0, np.inf]], np.float32)), None) is None


async def test_the_page_of_an_evaluation_under_way_tells_what_is_known(
    configs: Configs, endpoint: Start
) -> None:
    url, _ = await endpoint(**CLEAN)
    config = configs.load(url, validators=[])
    await evaluate(config, configs.folder / "out", data=[configs.base])
    (configs.folder / "out" / "results.json").unlink()
    status, _, err = await finished(await datagen("report", configs.folder / "out"))
    assert status == 0, err
    text = (configs.folder / "out" / "report.html").read_text("utf-8")
    assert "<h2>Accuracy</h2>" in text
    assert "From asked for to accepted" not in text
    status, _, err = await finished(await datagen("report", configs.folder / "out", "--vectors"))
    assert (status, "is the folder of an evaluation" in err) == (2, True)


def test_labels_stand_under_their_bars() -> None:
    figure = labels_figure({"items": 4, "labels": {"yes": 3, "no": 1}}, None, "generated")
    assert figure is not None
    assert figure.names == ["no", "yes"]
    assert [bar and bar.value for bar in figure.series[0][2]] == [0.25, 0.75]


def test_labels_outside_the_bases_set_are_shown() -> None:
    base = {"items": 10, "labels": {"yes": 5, "no": 5}, "frequent": {"yes": 5, "no": 5}}
    new = {
        "items": 40,
        "labels": {},
        "frequent": {"yes": 1, "maybe": 20, **{f"other {n}": 1 for n in range(14)}},
    }
    figure = labels_figure(new, base, "generated")
    assert figure is not None
    assert {"yes", "no", "maybe"} <= set(figure.names)
    assert figure.names[-1] == OTHER
    answers = {"items": 100, "labels": {}, "frequent": {str(n): 1 for n in range(15)}}
    assert labels_figure({**answers, "labels": {"1": 1}}, answers, "generated") is None


def test_a_far_cap_does_not_press_the_curve_down() -> None:
    series = Series([0.0, 1.0, 2.0], [0, 1, 2], [0, 0, 0], [0, 1, 2], [0.0, 0.1, 0.2], [1, 1, 1])
    for cap, lines_drawn in ((0.3, 2), (500.0, 1)):
        figure = spend_figure(series, {"priced": True, "cap_usd": cap})  # type: ignore[typeddict-item]
        assert figure is not None
        assert len(figure.lines) == lines_drawn
        assert ("far above" in figure.note) is (lines_drawn == 1)

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

import numpy as np
import orjson
import plotly.graph_objects as go
import pytest

from conftest import CLEAN, Configs, Start, datagen, finished, lines, run_in
from engine.config import RunConfig
from engine.report.mapping import Some, finite, mapped
from engine.report.page.figures import flow_figure
from engine.report.page.page_data import FlowStep
from engine.runs.api import evaluate
from engine.simulator.content import word_problems
from engine.simulator.embeddings import embedding

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
    assert tags.tags.count("script") == 3
    assert "default-src 'none'" in text
    data = unpacked(run / "report.html")
    figures = data["figures"]
    assert set(figures) >= {"flow", "throughput", "in_flight", "spend", "cost", "map", "lengths"}
    for figure in figures.values():
        go.Figure(figure)  # knows every key and its type, and says so where one is wrong
    report = orjson.loads((run / "report.json").read_bytes())
    accepted = report["items"]["accepted"]
    originals, items = figures["map"]["data"]
    assert (len(originals["x"]), len(items["x"])) == (12, accepted)
    assert [len(part) for part in data["texts"]] == [12, accepted]
    assert EVIL[:40] in data["texts"][0][3]
    assert "Nearest pairs" in text
    for by in report["items"]["rejected_by"]:
        assert f"<b>{by}</b>" in text
    assert "api_key" in text  # the settings, which hold no secret
    assert figures["throughput"]["data"][0]["y"][-1] == accepted
    assert figures["spend"]["data"][0]["y"][-1] == pytest.approx(report["cost"]["spent_usd"], rel=0.2)


def test_the_flow_adds_up() -> None:
    steps = [FlowStep("code", 60, 20, 20), FlowStep("groupcheck", 70, 0, 10)]
    figure = flow_figure(steps, {"accepted": 70, "rejected": 30, "surplus": 5})
    assert figure is not None
    [trace] = figure["data"]
    link, label = trace["link"], trace["node"]["label"]
    for node, name in enumerate(label):
        came = sum(
            value for value, target in zip(link["value"], link["target"], strict=True) if target == node
        )
        went = sum(
            value for value, source in zip(link["value"], link["source"], strict=True) if source == node
        )
        assert came == went or not came or not went, name
    assert label[0] == "generated 105"
    assert sum(v for v, s in zip(link["value"], link["source"], strict=True) if s == 0) == 105


async def test_the_flow_of_a_run_is_that_of_its_items(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint)
    [trace] = unpacked(run / "report.html")["figures"]["flow"]["data"]
    label, link = trace["node"]["label"], trace["link"]
    flows = list(zip(link["source"], link["target"], link["value"], link["customdata"], strict=True))
    rejected = {label[source]: value for source, _, value, said in flows if said == "rejected"}
    report = orjson.loads((run / "report.json").read_bytes())
    assert rejected == report["items"]["rejected_by"]
    revised = sum(
        value for source, _, value, said in flows if said == "revised" and label[source] == "difficulty"
    )
    changed = [row for row in lines(run / "accepted.jsonl") if row["_meta"]["revisions"]]
    assert revised >= len(changed) > 5


async def test_a_run_without_vectors_gets_a_map_afterwards(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint, groupcheck=None)
    assert "map" not in unpacked(run / "report.html")["figures"]
    assert "There is no map" in (run / "report.html").read_text()
    (run / "report.html").unlink()
    status, _, err = await finished(await datagen("report", run))
    assert status == 0, err
    assert "map" not in unpacked(run / "report.html")["figures"]
    status, _, err = await finished(await datagen("report", run, "--vectors", cwd=Path(__file__).parent))
    assert status == 0, err
    assert len(unpacked(run / "report.html")["figures"]["map"]["data"]) == 2
    status, _, err = await finished(await datagen("report", configs.folder))
    assert (status, "holds no run" in err) == (2, True)


async def test_a_journal_of_an_earlier_version_has_a_page_too(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint)
    connection = sqlite3.connect(run / "run.db")
    connection.executescript("DROP TABLE samples; DROP TABLE points;")
    connection.close()
    status, _, err = await finished(await datagen("report", run))
    assert status == 0, err
    assert "throughput" not in unpacked(run / "report.html")["figures"]


async def test_an_evaluation_has_a_page_of_its_own(configs: Configs, endpoint: Start) -> None:
    url, _ = await endpoint(**CLEAN)
    config = configs.load(url, observe={"page": True}, validators=[])
    problems = [word_problems.draw(random.Random(n)) for n in range(8)]
    rows = [{"question": each.text, "answer": str(each.answer)} for each in problems]
    configs.base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    await evaluate(config, configs.folder / "out", data=[configs.base])
    page = configs.folder / "out" / "report.html"
    assert {"accuracy", "throughput"} <= set(unpacked(page)["figures"])
    assert "Accuracy of the models" in page.read_text()


async def test_twenty_thousand_items_stay_under_eight_megabytes(configs: Configs, endpoint: Start) -> None:
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
    assert (run / "report.html").stat().st_size < 8_000_000
    if CHROMIUM is not None:
        async with opened(run / "report.html", 1280) as (page, said):
            assert await page.evaluate("document.getElementById('map').data[1].x.length") > 20_000
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
        await page.wait_for_function("document.body.dataset.drawn === 'true'", timeout=60_000)
        try:
            yield page, said
        finally:
            await browser.close()


POINT = """() => {
  const map = document.getElementById("map"), data = map.data[map.data.length - 1], full = map._fullLayout;
  map.scrollIntoView({ block: "center" });
  const box = map.getBoundingClientRect();
  const at = (axis, value) => axis._offset + axis.l2p(value);
  return [box.left + at(full.xaxis, data.x[3]), box.top + at(full.yaxis, data.y[3])];
}"""


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
async def test_a_browser_draws_it_without_a_word(
    configs: Configs, endpoint: Start, width: int, scheme: str
) -> None:
    run = await made(configs, endpoint)
    async with opened(run / "report.html", width, scheme) as (page, said):
        assert said == []
        assert await page.title() == "run"  # nothing in the items has run
        drawn = await page.evaluate(
            "[...document.querySelectorAll('.figure')].map((f) => f.querySelectorAll('svg').length)"
        )
        assert len(drawn) >= 7
        assert all(drawn)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) is (scheme == "dark")


@needs_browser
async def test_the_maps_points_can_be_read(configs: Configs, endpoint: Start) -> None:
    run = await made(configs, endpoint)
    texts = unpacked(run / "report.html")["texts"]
    async with opened(run / "report.html", 1280) as (page, said):
        x, y = await page.evaluate(POINT)
        await page.mouse.move(x - 4, y - 4)
        await page.mouse.move(x, y)
        await page.wait_for_function("!document.getElementById('tip').hidden", timeout=10_000)
        shown = await page.evaluate("document.getElementById('tip').textContent")
        assert shown in [text for part in texts for text in part]
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
    assert "From generated to accepted" not in text
    status, _, err = await finished(await datagen("report", configs.folder / "out", "--vectors"))
    assert (status, "is the folder of an evaluation" in err) == (2, True)


def test_labels_stand_under_their_bars() -> None:
    from engine.report.page.figures import labels_figure

    figure = labels_figure({"items": 4, "labels": {"yes": 3, "no": 1}}, None)
    assert figure is not None
    assert figure["layout"]["xaxis"]["ticktext"] == ["no", "yes"]

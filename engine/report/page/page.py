"""Lays out the page_data values of a run as one HTML file, with every value escaped."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, cast

import orjson
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from engine.escaping import printable
from engine.protocols import Compliance, Tally
from engine.quality.intervals import wilson
from engine.report.formatting import counted, duration
from engine.report.page.charts import drawn, table
from engine.report.page.documents import document_tables
from engine.report.page.figures import figures
from engine.report.page.growth import growth_tables
from engine.report.page.page_data import PageData
from engine.report.page.workers import worker_tables
from engine.report.shape import ReportData, ValidatorEntry
from engine.report.tables import Listing, ending

_FILES = "engine.report.page"


def page(page_data: PageData, title: str, description: str, results: Sequence[Listing] = ()) -> bytes:
    """The whole file, which loads nothing else; `results` are an evaluation's tables."""
    report = page_data.report.data
    shown = {name: _Shown(drawn(each, _TITLES[name][0]), *table(each), getattr(each, "note", ""))
             for name, each in figures(page_data).items()}  # fmt: skip
    pairs = []
    if page_data.about_map is not None:
        kinds = ((f"{page_data.new.capitalize()} items", "within"), ("A new item and an original", "against"))
        pairs = [(name, page_data.about_map[kind]) for name, kind in kinds if page_data.about_map.get(kind)]
    text = _template().render(
        title=title,
        description=description,
        report=report,
        outcome=ending(report, page_data.completed),
        tiles=list(_tiles(report, page_data.results)),
        figures=shown,
        titles=_TITLES,
        tables=list(_tables(page_data)),
        results=results,
        examples=page_data.examples,
        pairs=pairs,
        points=_points(page_data),
        rejected=page_data.rejected,
        lessons=_lessons(report),
        events=report["events"],
        config=page_data.config,
        style=Markup(_file("report.css") + _file("chart.css")),  # noqa: S704 - our own file
        script=Markup(_file("report.js")),  # noqa: S704 - our own file
        html_table=_html_table,
    )
    return str(text).encode()


_TITLES = {
    "accuracy": ("Accuracy of the models", "Thin lines reach over the 95 % interval (Wilson)."),
    "flow": (
        "From asked for to accepted",
        "Blue passed, amber was corrected on the way, red was rejected there.",
    ),
    "coverage": (
        "What of the documents was used",
        "The darker, the more of the passages there have an item.",
    ),
    "throughput": ("Items over time", ""),
    "in_flight": ("Calls in flight", ""),
    "spend": ("Spent over time", ""),
    "cost": ("What an accepted item costs, by purpose", ""),
    "growth": ("What it brings as it grows", ""),
    "repeats": ("How often it repeats itself", ""),
    "lengths": ("Length", ""),
    "labels": ("Labels", ""),
}
"""Title and remark by figure, in the order of the page."""


@dataclass(frozen=True)
class _Shown:
    """A figure as the page has it: drawn, and as a table."""

    svg: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str

    @property
    def drawn(self) -> Markup:
        return Markup(self.svg)  # noqa: S704 - charts escapes every text


def _points(page_data: PageData) -> dict[str, Any] | None:
    """The map, packed for the page's script; None without one."""
    if not page_data.points or page_data.about_map is None:
        return None
    kinds: dict[str, list[Any]] = {"original": [], "accepted": []}
    for kind, x, y, text in page_data.points:
        if kind in kinds:
            kinds[kind].append((round(x, 4), round(y, 4), printable(text)))
    data = {
        kind: {"x": [p[0] for p in found], "y": [p[1] for p in found], "texts": [p[2] for p in found]}
        for kind, found in kinds.items()
        if found
    }
    first, second = page_data.about_map["explained"]
    axes = f"Across the first component ({first:.0%} of the variance), up the second ({second:.0%})."
    names = {"original": "original", "accepted": page_data.new}
    counts = [(kind, names[kind], len(found)) for kind, found in kinds.items() if found]
    return {"packed": _packed(data), "axes": axes, "counts": counts}


def _packed(data: Mapping[str, Any]) -> str:
    """Compressed JSON in base64, so that no text in it can break out into the page."""
    return base64.b64encode(gzip.compress(orjson.dumps(data), 6, mtime=0)).decode()


@cache
def _file(name: str) -> str:
    return (resources.files(_FILES) / "templates" / name).read_text("utf-8")


def _seen(value: Any) -> Any:
    """Foreign text with what would act on the page, such as an override of the direction of writing, made visible."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _template() -> Any:
    environment = Environment(
        undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_seen
    )
    return environment.from_string(_file("report.html.j2"))


_TABLE = """
<section class="card{{ ' wide' if table.wide else '' }}"><h2>{{ table.title }}</h2>
{% if table.said %}<p class="said">{{ table.said }}</p>{% endif %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ table.title }}"><table>
<thead><tr>
{% for head in table.heads %}<th scope="col"{{ number(loop.index0) }}>{{ head }}</th>{% endfor %}
</tr></thead>
<tbody>
{% for row in table.rows %}
<tr>
{% for cell in row %}
{% if loop.first %}<th scope="row"{{ number(0) }}>{{ cell }}</th>
{% else %}<td{{ number(loop.index0) }}>{{ cell }}</td>{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div></section>
"""


@cache
def _table_template() -> Any:
    environment = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, finalize=_seen)
    return environment.from_string(_TABLE)


def _html_table(table: Listing) -> Markup:
    def number(column: int) -> Markup:
        return Markup(' class="number"' if column >= table.numbers else "")  # noqa: S704 - one of two constants

    return Markup(_table_template().render(table=table, number=number))  # noqa: S704 - escaped by the template


# --- the top ---------------------------------------------------------------------------------------


def _tiles(report: ReportData, results: Mapping[str, Any] | None) -> Iterator[tuple[str, str, str]]:
    items, cost, calls = report["items"], report["cost"], report["calls"]
    decided = items["accepted"] + items["rejected"]
    if results is not None:
        yield "answers", f"{items['accepted']:,}", f"{items['rejected']:,} without one"
    else:
        yield "accepted", f"{items['accepted']:,}", f"of {items['target']:,}"
        yield (
            "acceptance",
            f"{items['accepted'] / decided:.0%}" if decided else "-",
            f"{items['rejected']:,} rejected",
        )
    people = report["quality"].get("people", {}).get("right")
    if people is not None:
        yield (
            "right, by people",
            f"{people['share']:.2f}",
            (f"{people['low']:.2f} to {people['high']:.2f}, from {people['seen']:,} judged"),
        )
    if (right := report["quality"].get("labels_right")) is not None:
        rows = report["quality"]["rows"]
        yield (
            "labels right",
            f"{right['share']:.2f}",
            f"{right['low']:.2f} to {right['high']:.2f}, from {rows:,} known",
        )
    elif report["quality"]:
        yield "labels right", "unknown", "no calibration"
    if cost["priced"]:
        cap = f"of ${cost['cap_usd']:g}" if cost["cap_usd"] else "no cap"
        yield "spent", _dollars(cost["spent_usd"]), cap
        if items["accepted"]:
            yield (
                "for each",
                _dollars(cost["per_accepted_usd"]),
                "answer" if results is not None else "accepted item",
            )
    else:
        yield "spent", "unknown", "the model's price is not known"
    batches = report.get("batches")
    there = (
        f", {batches['calls']:,} in {counted(batches['waves'], 'wave')} of batches"
        if batches is not None
        else ""
    )
    yield (
        "calls",
        f"{calls['completed']:,}",
        f"{calls['failed']:,} failed, {calls['retried']:,} tried again{there}",
    )
    speed = f"{report['time']['items_per_s']:,.1f} items/s" if report["time"]["items_per_s"] else ""
    yield "last start took", duration(report["time"]["wall_s"]), speed
    if report["starts"] > 1:
        yield "starts", f"{report['starts']:,}", ""
    if results is None:
        yield "model", str(report["model"]), ""


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}" if amount >= 0.001 else f"${amount:.6f}"


# --- tables ----------------------------------------------------------------------------------------


def _tables(page_data: PageData) -> Iterator[Listing]:
    report = page_data.report.data
    if page_data.results is None:
        yield from _validator_tables(report)
        yield from _section_tables(page_data)
        yield from _diversity_tables(report)
        yield from growth_tables(report)
    yield from document_tables(report.get("documents"))
    yield from worker_tables(report.get("workers"))


def _validator_tables(report: ReportData) -> Iterator[Listing]:
    if report["validators"]:
        rows = []
        for name, each in report["validators"].items():
            catch = each["usd_per_catch"]
            rows.append(
                [name, f"{each['seen']:,}", f"{each['passed']:,}", f"{each['revised']:,}", f"{each['rejected']:,}",
                 f"{each['calls']:,}", _dollars(each["cost_usd"]), _catch(each, catch)]
            )  # fmt: skip
        heads = [
            "validator",
            "checked",
            "passed",
            "corrected",
            "rejected",
            "calls",
            "cost",
            "for each defect caught",
        ]
        said = "These are checks, not items: a changed item is checked again."
        yield Listing("What each validator did, and what it cost", said, heads, rows, wide=True)


def _catch(each: ValidatorEntry, dollars: float | None) -> str:
    """What one defect took; a validator that asks nobody finds them for nothing."""
    if dollars is not None and (dollars or each["calls"]):
        return _dollars(dollars)
    return "nothing" if not each["calls"] and each["rejected"] + each["revised"] else "-"


def _section_tables(page_data: PageData) -> Iterator[Listing]:
    """The sections that the validators describe themselves."""
    data = cast(Mapping[str, Any], page_data.report.data)  # sections are the validators' own
    for _, section in page_data.sections:
        counted = data.get(section.name)
        if not counted:
            continue
        listing = _tally(section, counted) if isinstance(section, Tally) else _compliance(section, counted)
        if listing.rows:
            yield listing


def _tally(section: Tally, counted: Mapping[str, Mapping[str, int]]) -> Listing:
    """A tally's table; with two columns, the second one is also shown as a share of the first."""
    columns = list(section.columns)
    rows = [[value, *(f"{counts[column]:,}" for column in columns)] for value, counts in counted.items()]
    if len(columns) == 2:
        for row, counts in zip(rows, counted.values(), strict=True):
            row.append(f"{counts[columns[1]] / counts[columns[0]]:.0%}" if counts[columns[0]] else "-")
        columns.append("share")
    return Listing(section.title, "", [section.value, *columns], rows)


def _compliance(section: Compliance, counted: Sequence[Mapping[str, Any]]) -> Listing:
    rows = [
        [each["rule"], model, f"{counts['checked']:,}", _kept(counts)]
        for each in counted
        for model, counts in each["by_model"].items()
    ]
    heads = ["constraint", "model", "checked", "kept (95 %)"]
    return Listing(section.title, "", heads, rows, 2)


def _kept(counts: Mapping[str, Any]) -> str:
    low, high = wilson(round(counts["kept"] * counts["checked"]), counts["checked"])
    return f"{counts['kept']:.1%} ({low:.1%} to {high:.1%})"


_MEASURES = (
    ("remote-clique", ("remote_clique", "pairs"), "higher"),
    ("remote-clique, as the paper counts it", ("remote_clique", "paper"), "higher"),
    ("average pairwise similarity (APS)", ("aps",), "lower"),
    ("Vendi score", ("vendi",), "higher"),
    ("inter-sample trigram frequency (INGF)", ("ingf",), "lower"),
    ("self-BLEU", ("self_bleu", "score"), "lower"),
    ("distinct bigrams", ("distinct_2",), "higher"),
    ("nearest pair", ("nearest_within", "1"), "lower"),
    ("texts that occur in the base", ("contamination", "exact"), "lower"),
    ("share a run of 13 words with the base", ("contamination", "ngram_13"), "lower"),
)


def _diversity_tables(report: ReportData) -> Iterator[Listing]:
    measures = report["diversity"].get("measures")
    if not measures:
        return
    base = measures.get("base")
    rows = []
    for name, keys, better in _MEASURES:
        value = _at(measures, keys)
        if value is not None:
            beside = [_figure(_at(base, keys))] if base else []
            rows.append([name, better, _figure(value), *beside])
    heads = ["measure", "better", f"generated ({measures['items']:,})"]
    said = "Most measures move with the number of items."
    if base:
        heads.append(f"original ({base['items']:,})")
        said = "Both are measured by the same code, on equally many items if there are enough originals."
    yield Listing("Diversity", said, heads, rows, 2)


def _at(measures: Mapping[str, Any] | None, keys: Sequence[str]) -> Any:
    for key in keys:
        measures = measures.get(key) if isinstance(measures, Mapping) else None
    return measures


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"


def _lessons(report: ReportData) -> dict[str, Any] | None:
    lessons = report["lessons"]
    if not lessons:
        return None
    arms = ", ".join(
        f"{name} {arm['acceptance']:.0%} of {arm['items']:,}" for name, arm in lessons["acceptance"].items()
    )
    dropped = lessons["dropped_at_batch"]
    end = "" if dropped is None else f" They were dropped at batch {dropped:,}, since they did not pay."
    return {"lessons": lessons["lessons"], "said": f"Accepted: {arms}.{end}"}

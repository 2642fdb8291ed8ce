"""The charts of a run's page, as Plotly figures: plain values, drawn in the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.report.page.page_data import FlowStep, PageData, Series
from engine.report.shape import Cost, Items, ReportData

Figure = dict[str, Any]
ACCEPTED, REVISED, REJECTED, ORIGINAL, SURPLUS = "#3a8fd6", "#c98a1b", "#c9484f", "#8d95a0", "#9b8bb4"
"""Most people can distinguish these, on a light and on a dark background."""
_BINS = 40


def figures(page_data: PageData) -> dict[str, Figure]:
    """The figures by their place on the page; a figure without data is left out."""
    drawn = {
        "flow": flow_figure(page_data.flow, page_data.report.data["items"])
        if page_data.results is None
        else None,
        "throughput": throughput_figure(page_data.series),
        "in_flight": in_flight_figure(page_data.series),
        "spend": spend_figure(page_data.series, page_data.report.data["cost"]),
        "cost": cost_figure(page_data.report.data),
        "growth": growth_figure(page_data.report.data["growth"].get("points") or []),
        "map": map_figure(page_data),
        "lengths": lengths_figure(page_data.accepted, page_data.original),
        "labels": labels_figure(page_data.accepted, page_data.original),
        "accuracy": accuracy_figure(page_data.results),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def flow_figure(steps: list[FlowStep], items: Items) -> Figure | None:
    """A Sankey diagram from generated through each step to accepted, with the items rejected at each step."""
    whole = items["accepted"] + items["rejected"] + items["surplus"]
    if not whole:
        return None
    names, colours = [f"generated {whole:,}"], [ORIGINAL]
    links: list[tuple[int, int, int, str, str]] = []

    def node(name: str, colour: str) -> int:
        names.append(name)
        colours.append(colour)
        return len(names) - 1

    here, coming = 0, [(items["accepted"] + items["rejected"], ACCEPTED, "")]
    for step in steps:
        there = node(step.name, ORIGINAL)
        links += [(here, there, count, colour, said) for count, colour, said in coming if count]
        if step.rejected:
            links.append(
                (there, node(f"rejected {step.rejected:,}", REJECTED), step.rejected, REJECTED, "rejected")
            )
        here = there
        coming = [(step.passed, ACCEPTED, "passed"), (step.revised, REVISED, "revised")]
    end = node(f"accepted {items['accepted']:,}", ACCEPTED)
    links += [(here, end, count, colour, said) for count, colour, said in coming if count]
    if items["surplus"]:
        links.append(
            (0, node(f"surplus {items['surplus']:,}", SURPLUS), items["surplus"], SURPLUS, "not needed")
        )
    trace = {
        "type": "sankey",
        "arrangement": "snap",
        "node": {"label": names, "color": colours, "pad": 18, "thickness": 14, "line": {"width": 0}},
        "link": {
            "source": [link[0] for link in links],
            "target": [link[1] for link in links],
            "value": [link[2] for link in links],
            "color": [f"{link[3]}66" for link in links],
            "customdata": [link[4] for link in links],
            "hovertemplate": "%{source.label} to %{target.label}<br>%{value:,} %{customdata}<extra></extra>",
        },
    }
    return _figure([trace], height=360)


def throughput_figure(series: Series) -> Figure | None:
    if len(series.seconds) < 2:
        return None
    unit, x = _time(series)
    traces = [
        _line(x, series.accepted, "accepted", ACCEPTED),
        _line(x, series.rejected, "rejected", REJECTED),
    ]
    return _over_time(traces, series, unit, "items")


def in_flight_figure(series: Series) -> Figure | None:
    if len(series.seconds) < 2:
        return None
    unit, x = _time(series)
    return _over_time([_line(x, series.in_flight, "calls in flight", REVISED)], series, unit, "calls at once")


def spend_figure(series: Series, cost: Cost) -> Figure | None:
    if len(series.seconds) < 2 or not cost["priced"]:
        return None
    unit, x = _time(series)
    traces = [_line(x, series.spent, "spent", ACCEPTED)]
    if cost["cap_usd"]:
        cap = {**_line([x[0], x[-1]], [cost["cap_usd"]] * 2, "cap", REJECTED)}
        cap["line"] = {"color": REJECTED, "width": 1, "dash": "dot"}
        traces.append(cap)
    return _over_time(traces, series, unit, "US dollars")


def _time(series: Series) -> tuple[str, list[float]]:
    """The unit that suits the length of the run, and the times in that unit."""
    last = series.seconds[-1]
    unit, size = ("seconds", 1) if last < 180 else ("minutes", 60) if last < 3 * 3600 else ("hours", 3600)
    return unit, [round(second / size, 4) for second in series.seconds]


def _line(x: list[float], y: list[Any], name: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": name,
        "line": {"color": colour, "width": 2},
    }


def _over_time(traces: list[dict[str, Any]], series: Series, unit: str, title: str) -> Figure:
    size = {"seconds": 1, "minutes": 60, "hours": 3600}[unit]
    resumed = [
        {"type": "line", "x0": at / size, "x1": at / size, "y0": 0, "y1": 1, "yref": "paper",
         "line": {"color": ORIGINAL, "width": 1, "dash": "dot"}}
        for at in series.starts
    ]  # fmt: skip
    layout = {"xaxis": {"title": {"text": unit}}, "yaxis": {"title": {"text": title}, "rangemode": "tozero"}}
    return _figure(traces, height=260, shapes=resumed, **layout)


def cost_figure(report: ReportData) -> Figure | None:
    """Dollars for each accepted item, by purpose."""
    accepted = report["items"]["accepted"]
    spent = {name: dollars for name, dollars in report["cost"]["by_purpose"].items() if dollars > 0}
    if not accepted or not spent:
        return None
    ordered = sorted(spent, key=lambda name: spent[name])
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [spent[name] / accepted for name in ordered],
        "y": ordered,
        "marker": {"color": ACCEPTED},
        "hovertemplate": "%{y}: $%{x:.6f} for each accepted item<extra></extra>",
    }
    height = 90 + 28 * len(ordered)
    return _figure(
        [trace], height=height, xaxis={"title": {"text": "US dollars"}, "tickformat": "$.2~g", "nticks": 6}
    )


def growth_figure(points: Sequence[Mapping[str, Any]]) -> Figure | None:
    """New items in 100 calls, and the share of repeats, by how many items were accepted by then."""
    if len(points) < 2:
        return None
    sizes = [point["items"] for point in points]
    new = _line(sizes, [point["new_per_100_calls"] for point in points], "new items in 100 calls", ACCEPTED)
    repeats = _line(sizes, [point["repeats"] for point in points], "repeats", REJECTED)
    return _figure(
        [{**new, "mode": "lines+markers"}, {**repeats, "mode": "lines+markers", "yaxis": "y2"}],
        height=280,
        margin={"l": 56, "r": 64, "t": 16, "b": 48},
        xaxis={
            "title": {"text": "accepted items"}, "type": "log", "tickvals": sizes,
            "ticktext": [f"{size:,}" for size in sizes],
        },
        yaxis={"title": {"text": "new items in 100 calls"}, "rangemode": "tozero"},
        yaxis2={
            "title": {"text": "repeats"}, "overlaying": "y", "side": "right", "tickformat": ".0%",
            "rangemode": "tozero", "showgrid": False,
        },
    )  # fmt: skip


def map_figure(page_data: PageData) -> Figure | None:
    """Drawn with WebGL. The texts are stored separately, and the page's own script shows them."""
    if not page_data.points or page_data.about_map is None:
        return None
    traces = []
    for kind, name, colour, opacity in (
        ("original", "original", ORIGINAL, 0.4),
        ("accepted", "generated", ACCEPTED, 0.75),
    ):
        points = [point for point in page_data.points if point[0] == kind]
        if points:
            traces.append(
                {
                    "type": "scattergl",
                    "mode": "markers",
                    "name": f"{name} ({len(points):,})",
                    "x": [point[1] for point in points],
                    "y": [point[2] for point in points],
                    "marker": {"color": colour, "size": 5, "opacity": opacity},
                    "hoverinfo": "none",
                }
            )
    first, second = page_data.about_map["explained"]
    axis = {"zeroline": False, "showticklabels": False}
    return _figure(
        traces,
        height=520,
        xaxis={**axis, "title": {"text": f"first component, {first:.0%} of the variance"}},
        yaxis={**axis, "title": {"text": f"second, {second:.0%}"}},
        hovermode="closest",
        dragmode="pan",
    )


def lengths_figure(accepted: Mapping[str, Any], original: Mapping[str, Any] | None) -> Figure | None:
    """Shares of the texts by their number of words, in the same bins for both."""
    there = [
        (name, profile, colour)
        for name, profile, colour in (("original", original, ORIGINAL), ("generated", accepted, ACCEPTED))
        if profile and profile["items"]
    ]
    if not there:
        return None
    longest = max(int(length) for _, profile, _ in there for length in profile["lengths"])
    width = max(1, -(-(longest + 1) // _BINS))
    traces = []
    for name, profile, colour in there:
        shares = [0.0] * (longest // width + 1)
        for length, count in profile["lengths"].items():
            shares[int(length) // width] += count / profile["items"]
        x = [width * place + (width - 1) / 2 for place in range(len(shares))]
        traces.append({**_bars(x, shares, name, colour), "opacity": 0.65, "width": width})
    return _figure(
        traces,
        height=280,
        barmode="overlay",
        bargap=0.05,
        xaxis={"title": {"text": "words"}},
        yaxis={"title": {"text": "share of the items"}, "tickformat": ".0%"},
    )


def labels_figure(accepted: Mapping[str, Any], original: Mapping[str, Any] | None) -> Figure | None:
    """Shares of the items by label, for datasets with few labels."""
    if not accepted or not accepted["labels"]:
        return None
    there = [("generated", accepted, ACCEPTED)]
    if original and original["labels"]:
        there.insert(0, ("original", original, ORIGINAL))
    names = sorted({label for _, profile, _ in there for label in profile["labels"]})
    traces = [
        _bars(list(range(len(names))), [profile["labels"].get(name, 0) / profile["items"] for name in names],
              title, colour)
        for title, profile, colour in there
    ]  # fmt: skip
    layout = {
        "xaxis": _named(names),
        "yaxis": {"title": {"text": "share of the items"}, "tickformat": ".0%"},
    }
    return _figure(traces, height=280, barmode="group", **layout)


def _bars(x: list[Any], y: list[float], name: str, colour: str) -> dict[str, Any]:
    shares = [round(share, 5) for share in y]
    return {
        "type": "bar", "x": x, "y": shares, "name": name, "marker": {"color": colour},
        "hovertemplate": "%{x}: %{y:.1%}<extra>%{fullData.name}</extra>",
    }  # fmt: skip


def _short(label: str) -> str:
    """Cuts a label and escapes what Plotly would read as markup: a label is untrusted text."""
    return label[:24].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def accuracy_figure(results: Mapping[str, Any] | None) -> Figure | None:
    """Accuracy with its interval: one group of bars for each model, one bar for each dataset."""
    if not results or not any(result["n"] for result in results["results"]):
        return None
    colours = (ACCEPTED, REVISED, ORIGINAL, SURPLUS, REJECTED)
    datasets = list(dict.fromkeys(result["dataset"] for result in results["results"]))
    models = list(dict.fromkeys(result["model"] for result in results["results"]))
    traces = []
    for place, dataset in enumerate(datasets):
        rows = [result for result in results["results"] if result["dataset"] == dataset and result["n"]]
        x = [models.index(row["model"]) for row in rows]
        # While answers await a judge, the bar is what is sure, and its line leads to what may be.
        sure = [row["bounds"][0] if row["pending"] else row["accuracy"] for row in rows]
        spans = [row["bounds"] if row["pending"] else row["interval"] for row in rows]
        trace = _bars(x, sure, _short(dataset), colours[place % len(colours)])
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [high - at for at, (_, high) in zip(sure, spans, strict=True)],
            "arrayminus": [at - low for at, (low, _) in zip(sure, spans, strict=True)],
            "color": ORIGINAL,
        }
        traces.append(trace)
    layout = {"yaxis": {"title": {"text": "accuracy"}, "tickformat": ".0%", "range": [0, 1]}}
    return _figure(traces, height=360, barmode="group", xaxis=_named(models), **layout)


def _named(names: Sequence[str]) -> dict[str, Any]:
    """An axis with numbers as positions, so that two names that are equal when cut short stay distinct."""
    return {"tickvals": list(range(len(names))), "ticktext": [_short(name) for name in names]}


def _figure(traces: list[dict[str, Any]], **layout: Any) -> Figure:
    shown = {
        "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "showlegend": len(traces) > 1,
        **layout,
    }
    return {"data": traces, "layout": shown}

"""Draws figures as SVG: lines, bars, a flow. Colours are classes, so that a page can be light or dark.

Every text in them is escaped here. What a figure shows stands in a table behind it as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from engine.escaping import printable

_WIDTH = 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 12, 40


def plain(value: float) -> str:
    """1,234 or 0.123."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def percent(value: float) -> str:
    return f"{value:.0%}" if value == 0 or abs(value) >= 0.01 else f"{value:.1%}"


def dollars(value: float) -> str:
    if value >= 1 or value == 0:
        return f"${value:,.2f}"
    return f"${value:.{min(8, 1 - math.floor(math.log10(value)))}f}"  # two figures that count


Format = Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """A curve. `kind` is its class: accepted, rejected, revised, original, surplus."""

    name: str
    kind: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Lines:
    """Curves over a common axis. `marks` are places on it, such as where a run was resumed."""

    lines: Sequence[Line]
    x_title: str
    y_title: str
    y_format: Format = plain
    x_format: Format = plain
    marks: Sequence[float] = ()
    logarithmic: bool = False
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar; `low` and `high` are the ends of its interval, if it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bars:
    """Bars in groups, one of each series in a group; lying ones where names are long."""

    names: Sequence[str]
    series: Sequence[tuple[str, str, Sequence[Bar | None]]]
    """(name, kind, a bar for each group)."""
    y_title: str
    y_format: Format = percent
    x_title: str = ""
    lying: bool = False
    most: float | None = None
    """The end of the axis; as the bars need where absent."""
    note: str = ""


@dataclass(frozen=True)
class Step:
    """One step of a flow, and what came out of it."""

    name: str
    passed: int
    revised: int
    rejected: int


@dataclass(frozen=True)
class Flow:
    """From what came in through steps to what is left."""

    steps: Sequence[Step]
    accepted: int
    surplus: int = 0
    came: int = field(default=0)


@dataclass(frozen=True)
class Strip:
    """One row of cells, each from 0 to 1."""

    name: str
    cells: Sequence[float]
    said: str


@dataclass(frozen=True)
class Strips:
    """Rows of cells, the darker the more."""

    rows: Sequence[Strip]
    x_title: str
    note: str = ""


Figure = Lines | Bars | Flow | Strips


def drawn(figure: Figure, label: str) -> str:
    """The figure as SVG."""
    if isinstance(figure, Lines):
        return _lines(figure, label)
    if isinstance(figure, Bars):
        return _lying(figure, label) if figure.lying else _bars(figure, label)
    if isinstance(figure, Strips):
        return _strips(figure, label)
    return _flow(figure, label)


def table(figure: Figure, most: int = 40) -> tuple[list[str], list[list[str]]]:
    """(heads, rows) of the same figures."""
    if isinstance(figure, Lines):
        heads = [figure.x_title, *(each.name for each in figure.lines)]
        first = figure.lines[0]
        step = max(1, math.ceil(len(first.x) / most))
        places = [place for place in range(len(first.x)) if place % step == 0 or place == len(first.x) - 1]
        rows = [
            [figure.x_format(first.x[place]),
             *(figure.y_format(each.y[place]) if place < len(each.y) else "" for each in figure.lines)]
            for place in places
        ]  # fmt: skip
        return heads, rows
    if isinstance(figure, Bars):
        heads = [figure.x_title, *(name for name, _, _ in figure.series)]
        return heads, [
            [name, *(_said(bars[place], figure.y_format) for _, _, bars in figure.series)]
            for place, name in enumerate(figure.names)
        ]
    if isinstance(figure, Strips):
        return ["", "share", ""], [
            [each.name, percent(sum(each.cells) / max(1, len(each.cells))), each.said] for each in figure.rows
        ]
    heads = ["step", "passed", "corrected", "rejected"]
    return heads, [
        *(
            [each.name, f"{each.passed:,}", f"{each.revised:,}", f"{each.rejected:,}"]
            for each in figure.steps
        ),
        ["accepted", f"{figure.accepted:,}", "", ""],
        *([["not needed", f"{figure.surplus:,}", "", ""]] if figure.surplus else []),
    ]


def _said(bar: Bar | None, shown: Format) -> str:
    if bar is None:
        return "-"
    between = "" if bar.low is None or bar.high is None else f" ({shown(bar.low)} to {shown(bar.high)})"
    return f"{shown(bar.value)}{between}"


# --- the parts ---------------------------------------------------------------------------------------


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{_safe(label)}" class="chart">'
        f"{''.join(parts)}</svg>"
    )


def _safe(text: str) -> str:
    return escape(printable(text), quote=True)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{_safe(text)}</text>'


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values from the first at or above `low` to the last at or below `high`."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    rough = span / about
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * each for each in (1, 2, 2.5, 5, 10) if size * each >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _legend(series: Sequence[tuple[str, str]], x: float, y: float) -> str:
    if len(series) < 2:
        return ""
    parts, at = [], x
    for name, kind in series:
        parts.append(f'<rect x="{at:.1f}" y="{y - 9:.1f}" width="10" height="10" class="fill {kind}"/>')
        parts.append(_text(at + 15, y, _cut(name, 28), "start"))
        at += 34 + 6.6 * min(28, len(name))
    return "".join(parts)


# --- lines -------------------------------------------------------------------------------------------


def _lines(figure: Lines, label: str) -> str:
    height = 250.0
    several = len(figure.lines) > 1
    top = _TOP + (20 if several else 0)
    xs = [x for each in figure.lines for x in each.x]
    at = (lambda x: math.log10(max(x, 1e-9))) if figure.logarithmic else (lambda x: x)
    low, high = at(min(xs)), at(max(xs))
    most = max([y for each in figure.lines for y in each.y] + [1e-12]) * 1.05

    def across(x: float) -> float:
        return _LEFT + (at(x) - low) / ((high - low) or 1) * (_WIDTH - _LEFT - _RIGHT)

    def up(y: float) -> float:
        return height - _BOTTOM - y / most * (height - _BOTTOM - top)

    parts = [_legend([(each.name, each.kind) for each in figure.lines], _LEFT, _TOP + 4)]
    parts += _grid(ticks(0, most), up, figure.y_format, _WIDTH)
    shown = list(figure.lines[0].x) if figure.logarithmic else ticks(min(xs), max(xs), 6)
    for x in shown[:: max(1, len(shown) // 8)]:
        last = across(x) > _WIDTH - _RIGHT - 16
        at_edge = _WIDTH - 2 if last else across(x)
        parts.append(_text(at_edge, height - _BOTTOM + 16, figure.x_format(x), "end" if last else "middle"))
    parts += [
        f'<line x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{top}" y2="{height - _BOTTOM}" class="mark"/>'
        for x in figure.marks
    ]
    for each in figure.lines:
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in zip(each.x, each.y, strict=False))
        parts.append(f'<polyline points="{path}" class="stroke {each.kind}"/>')
        if len(each.x) <= 24:
            parts += [
                f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" class="fill {each.kind}">'
                f"<title>{_safe(f'{each.name}: {figure.y_format(y)} at {figure.x_format(x)}')}</title></circle>"
                for x, y in zip(each.x, each.y, strict=False)
            ]
    parts.append(_text((_LEFT + _WIDTH) / 2, height - 4, figure.x_title, kind="title"))
    parts.append(_up(figure.y_title, height))
    return _svg(_WIDTH, height, label, parts)


def _grid(values: Sequence[float], up: Callable[[float], float], shown: Format, width: float) -> list[str]:
    return [
        f'<line x1="{_LEFT}" x2="{width - _RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}" class="grid"/>'
        + _text(_LEFT - 6, up(value) + 4, shown(value), "end")
        for value in values
    ]


def _up(title: str, height: float) -> str:
    middle = height / 2
    turned = f'transform="rotate(-90 12 {middle:.1f})"'
    return f'<text x="12" y="{middle:.1f}" text-anchor="middle" class="title" {turned}>{_safe(title)}</text>'


# --- bars --------------------------------------------------------------------------------------------


def _most(figure: Bars) -> float:
    if figure.most is not None:
        return figure.most
    values = [
        max(bar.value, bar.high or 0) for _, _, bars in figure.series for bar in bars if bar is not None
    ]
    return max([*values, 1e-12]) * 1.05


def _bars(figure: Bars, label: str) -> str:
    long = max((len(name) for name in figure.names), default=0) > 8 and len(figure.names) > 4
    bottom = _BOTTOM + (44 if long else 0)
    height, top = 250.0 + (44 if long else 0), _TOP + (20 if len(figure.series) > 1 else 0)
    most = _most(figure)

    def up(y: float) -> float:
        return height - bottom - y / most * (height - bottom - top)

    parts = [_legend([(name, kind) for name, kind, _ in figure.series], _LEFT, _TOP + 4)]
    parts += _grid(ticks(0, most), up, figure.y_format, _WIDTH)
    room = (_WIDTH - _LEFT - _RIGHT) / max(1, len(figure.names))
    each = room * 0.8 / max(1, len(figure.series))
    widest = max((min(len(name), 16) for name in figure.names), default=1)
    fits = (_WIDTH - _LEFT - _RIGHT) / (18 if long else 7.0 * widest + 6)
    every = max(1, math.ceil(len(figure.names) / fits))
    for place, name in enumerate(figure.names):
        begin = _LEFT + place * room + room * 0.1
        for number, (series, kind, bars) in enumerate(figure.series):
            if (bar := bars[place]) is None:
                continue
            x = begin + number * each
            said = f"{name}, {series}: {_said(bar, figure.y_format)}"
            parts.append(
                f'<rect x="{x:.2f}" y="{up(bar.value):.2f}" width="{max(0.8, each * 0.94):.2f}" '
                f'height="{max(0.0, up(0) - up(bar.value)):.2f}" class="fill {kind}">'
                f"<title>{_safe(said)}</title></rect>"
            )
            if bar.low is not None and bar.high is not None:
                middle = x + each / 2
                parts.append(
                    f'<path d="M{middle:.1f} {up(bar.low):.1f}V{up(bar.high):.1f}" class="interval"/>'
                )
        if place % every == 0:
            x, y = begin + room * 0.4, height - bottom + 16
            if long:
                parts.append(
                    f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="end" transform="rotate(-35 {x:.1f} {y:.1f})">'
                    f"{_safe(_cut(name, 16))}</text>"
                )
            else:
                parts.append(_text(x, y, _cut(name, 14)))
    if figure.x_title:
        parts.append(_text((_LEFT + _WIDTH) / 2, height - 4, figure.x_title, kind="title"))
    parts.append(_up(figure.y_title, height))
    return _svg(_WIDTH, height, label, parts)


def _lying(figure: Bars, label: str) -> str:
    left, row = 150.0, 26.0
    height = 16 + row * len(figure.names) + 30
    most = _most(figure)
    [(_, kind, bars)] = figure.series

    def across(value: float) -> float:
        return left + value / most * (_WIDTH - left - 70)

    parts = []
    for place, (name, bar) in enumerate(zip(figure.names, bars, strict=True)):
        y = 10 + place * row
        parts.append(_text(left - 8, y + 14, _cut(name, 22), "end"))
        if bar is not None:
            wide = max(1.0, across(bar.value) - left)
            parts.append(
                f'<rect x="{left}" y="{y:.1f}" width="{wide:.1f}" height="18" class="fill {kind}">'
                f"<title>{_safe(f'{name}: {figure.y_format(bar.value)}')}</title></rect>"
            )
            parts.append(_text(left + wide + 6, y + 14, figure.y_format(bar.value), "start"))
    parts.append(_text((left + _WIDTH) / 2, height - 6, figure.y_title, kind="title"))
    return _svg(_WIDTH, height, label, parts)


# --- strips ------------------------------------------------------------------------------------------


def _strips(figure: Strips, label: str) -> str:
    left, row = 170.0, 22.0
    height = 12 + row * len(figure.rows) + 28
    wide = _WIDTH - left - 20
    parts = []
    for place, each in enumerate(figure.rows):
        y = 8 + place * row
        parts.append(_text(left - 8, y + 12, _cut(each.name, 26), "end"))
        size = wide / max(1, len(each.cells))
        cells = "".join(
            f'<rect x="{left + number * size:.1f}" y="{y:.1f}" width="{max(0.5, size - 0.6):.1f}" height="15" '
            f'class="fill accepted" fill-opacity="{_SHADE + (1 - _SHADE) * cell:.2f}"/>'
            for number, cell in enumerate(each.cells)
        )
        parts.append(f"<g><title>{_safe(f'{each.name}: {each.said}')}</title>{cells}</g>")
    parts.append(_text(left + wide / 2, height - 6, figure.x_title, kind="title"))
    return _svg(_WIDTH, height, label, parts)


_SHADE = 0.12
"""How dark a cell of nothing is."""


# --- the flow ----------------------------------------------------------------------------------------


def _flow(figure: Flow, label: str) -> str:
    count = len(figure.steps)
    width, high, top = max(720.0, 130.0 * (count + 2)), 150.0, 46.0
    whole = max(1, figure.came or figure.accepted)
    below = top + high + 70
    gap = (width - 150) / (count + 1)

    def size(items: float) -> float:
        return max(1.5, items / whole * high) if items else 0.0

    parts: list[str] = []
    coming: list[tuple[int, str]] = [(whole - figure.surplus, "accepted")]
    x = 40.0
    parts.append(_node(x, top, size(whole), "original", f"asked for {whole:,}", ""))
    if figure.surplus:
        parts += _down(x, top + size(whole - figure.surplus), gap, below, size(figure.surplus), "surplus",
                       f"not needed {figure.surplus:,}")  # fmt: skip
    for step in figure.steps:
        onward = x + gap
        parts += _bands(x, onward, top, [(size(items), kind) for items, kind in coming])
        came = step.passed + step.revised + step.rejected
        parts.append(_node(onward, top, size(came), "original", step.name, f"{came:,}"))
        if step.rejected:
            parts += _down(onward, top + size(step.passed + step.revised), gap, below, size(step.rejected),
                           "rejected", f"rejected {step.rejected:,}")  # fmt: skip
        coming = [(step.passed, "accepted"), (step.revised, "revised")]
        x = onward
    parts += _bands(x, x + gap, top, [(size(items), kind) for items, kind in coming])
    parts.append(_node(x + gap, top, size(figure.accepted), "accepted", "accepted", f"{figure.accepted:,}"))
    return _svg(width, below + 60, label, parts)


def _node(x: float, top: float, high: float, kind: str, name: str, said: str) -> str:
    names = _text(x + 6, top - 22, _cut(name, 18)) + (
        _text(x + 6, top - 7, said, kind="title") if said else ""
    )
    return f'<rect x="{x:.1f}" y="{top:.1f}" width="12" height="{max(2.0, high):.1f}" class="fill {kind}"/>{names}'


def _bands(begin: float, end: float, top: float, bands: Sequence[tuple[float, str]]) -> Iterator[str]:
    y = top
    for high, kind in bands:
        if high:
            yield (
                f'<rect x="{begin + 12:.1f}" y="{y:.1f}" width="{end - begin - 12:.1f}" height="{high:.1f}" '
                f'class="band {kind}"/>'
            )
            y += high


def _down(x: float, y: float, gap: float, below: float, high: float, kind: str, said: str) -> Iterator[str]:
    """A branch that leaves the stream, and where it ends."""
    begin, end = x + 12, x + gap * 0.62
    middle = (begin + end) / 2
    yield (
        f'<path d="M{begin:.1f} {y:.1f}C{middle:.1f} {y:.1f} {middle:.1f} {below:.1f} {end:.1f} {below:.1f}'
        f'V{below + high:.1f}C{middle:.1f} {below + high:.1f} {middle:.1f} {y + high:.1f} {begin:.1f} {y + high:.1f}Z" '
        f'class="band {kind}"/>'
    )
    yield f'<rect x="{end:.1f}" y="{below:.1f}" width="8" height="{max(2.0, high):.1f}" class="fill {kind}"/>'
    yield _text(end + 4, below + high + 15, said)

"""A run in a notebook's cell: its progress, and its result. Every value is escaped; styles are in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from engine.escaping import printable
from engine.report.formatting import duration
from engine.report.live import Snapshot, expected

_TEXT = 160
_CELL = 'style="text-align:left;vertical-align:top;padding:2px 12px 2px 0"'


def progress_html(snapshot: Snapshot, said: Sequence[str]) -> str:
    """How far a run is."""
    share = min(1.0, snapshot.accepted / snapshot.target) if snapshot.target else 0.0
    left = snapshot.left.words if snapshot.left is not None else ""
    passing = "" if snapshot.acceptance is None else f", {snapshot.acceptance:.0%} of those decided"
    rows = [
        ("items", f"{snapshot.accepted:,} of {snapshot.target:,}{passing}"),
        ("time", f"{duration(snapshot.elapsed_s)}{f'; {left} left' if left else ''}"),
        ("spent", f"${snapshot.spent_usd:.4f}{f' of ${snapshot.cap_usd:g}' if snapshot.cap_usd else ''}"
                  f"{'; ' + told if (told := expected(snapshot)) else ''}"),
        ("calls", f"{snapshot.calls:,}, {snapshot.calls_per_s:.1f} a second, {snapshot.in_flight} in flight"),
        ("rejected", ", ".join(f"{by} {count:,}" for by, count in snapshot.rejected_by.items()) or "none"),
        *((("now", snapshot.note),) if snapshot.note else ()),
    ]  # fmt: skip
    lines = "".join(f"<div>{_safe(each)}</div>" for each in said)
    return (
        f'<progress max="1" value="{share:.4f}" style="width:24em" aria-label="accepted items"></progress>'
        f"{_table([], rows)}{lines}"
    )


def result_html(
    figures: Mapping[str, Any], items: Iterable[Mapping[str, Any]], rejections: Mapping[str, int], folder: str
) -> str:
    """What a run came to: figures, some of its items, why the others were rejected."""
    shown = [{name: value for name, value in each.items() if name != "_meta"} for each in items]
    names = list(dict.fromkeys(name for each in shown for name in each))
    rows = [[_short(each.get(name, "")) for name in names] for each in shown]
    parts = [_table([], list(figures.items()))]
    if rows:
        parts.append(f"<p>The first {len(rows):,} accepted items:</p>{_table(names, rows)}")
    if rejections:
        parts.append(
            f"<p>Rejected:</p>{_table([], [(by, f'{count:,}') for by, count in rejections.items()])}"
        )
    parts.append(
        f"<p>All of it is in <code>{_safe(folder)}</code>; <code>.view()</code> shows it in a browser.</p>"
    )
    return "".join(parts)


def prompt_html(title: str, *texts: tuple[str, str]) -> str:
    """Named texts that unfold."""
    inner = "".join(
        f"<div><b>{_safe(name)}</b></div><pre style='white-space:pre-wrap;text-align:left'>{_safe(text)}</pre>"
        for name, text in texts
    )
    return f"<details><summary>{_safe(title)}</summary>{inner}</details>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f'<th scope="col" {_CELL}>{_safe(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td {_CELL}>{_safe(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if heads else ''}<tbody>{body}</tbody></table>"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]} …"


def _safe(value: Any) -> str:
    return escape(printable(str(value)))

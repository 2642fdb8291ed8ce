"""What the command prints about a run, as tables and lines for people."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.escaping import printable
from engine.quality.richness import more_to_be_had
from engine.report.formatting import clock, counted, duration
from engine.report.shape import Cost, EventEntry, Items, ReportData, RowsSection
from engine.report.summary import Report

if TYPE_CHECKING:
    from rich.table import Table


class Listing(NamedTuple):
    """A table, to be shown on a terminal or on a page. Columns from index `numbers` on hold numbers."""

    title: str
    said: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int = 1
    wide: bool = False


def listed(listing: Listing) -> Table:
    """The listing as a table for a terminal."""
    table = text_table(*listing.heads)
    for row in listing.rows:
        table.add_row(*row)
    table.title, table.title_justify = listing.title, "left"
    return table


SAID = {
    "target": "The target is reached",
    "budget": "Stopped at the budget",
    "fatal": "Stopped by a fatal error",
    "attempts": "Attempts are exhausted",
    "interrupted": "Interrupted",
    "running": "Running",
}
NEXT = {
    "budget": "Raise it and continue: datagen resume {folder} --budget USD",
    "fatal": "Fix the cause and continue: datagen resume {folder}",
    "attempts": "Allow more than now and continue: datagen resume {folder} --set limits.attempts=NUMBER",
    "interrupted": "Continue: datagen resume {folder}",
}


def outcome_lines(report: Report, folder: Path, completed: str = "") -> Iterator[str]:
    """How a run ended, its cost and its files. `completed` is the message for one that has read all rows."""
    data = report.data
    items, cost, calls, seconds = data["items"], data["cost"], data["calls"], data["time"]["wall_s"]
    failed = f" and {calls['failed']:,} failed" if calls["failed"] else ""
    yield ending(data, completed)
    yield (
        f"{items['accepted']:,} of {items['target']:,} items accepted, {items['rejected']:,} rejected, "
        f"{items['surplus']:,} surplus; {calls['completed']:,} calls{failed}, {duration(seconds)}."
    )
    cap = f" of ${cost['cap_usd']:g}" if cost["cap_usd"] else ""
    each = f", ${cost['per_accepted_usd']:.6f} for each accepted item" if items["accepted"] else ""
    yield from _spent(cost, f"{cap}{each}")
    yield from _unfinished(items, report.outcome)
    if data["items"]["rejected"]:
        yield f"Rejected: {_reasons(data['items']['reasons'])}."
    yield from _left_to_be_had(data)
    if said := data["quality"].get("said"):
        yield f"{said[:1].upper()}{said[1:]}."
    for differs in data["quality"].get("differs", ()):
        yield f"The calibration is of other checks: {differs}."
    if data["lessons"]:
        arms = ", ".join(
            f"{arm['acceptance']:.0%} {name}" for name, arm in data["lessons"]["acceptance"].items()
        )
        dropped = (
            "; dropped, since they did not pay" if data["lessons"]["dropped_at_batch"] is not None else ""
        )
        yield f"Lessons drawn: {data['lessons']['drawn']}; accepted: {arms}{dropped}."
    if data["mode"] not in ("merge", "audit"):  # nothing was asked for anew
        yield from _copies(items)
    yield from _events(data["events"])
    if (measures := data.get("diversity", {}).get("measures")) and "aps" in measures:
        clique, nearest = measures["remote_clique"]["pairs"], measures["nearest_within"].get("1", 0)
        yield (
            f"Diversity: remote-clique {clique:.3f}, average similarity {measures['aps']:.3f}, Vendi score "
            f"{measures['vendi']:.1f}, nearest pair {nearest:.3f}."
        )
    bad_rows = data["dataset"]["bad_rows"] if data["dataset"] is not None else {}
    if (bad := sum(bad_rows.values())) > 0:
        yield f"{bad:,} bad rows of the base dataset were left out: {_counts(bad_rows)}."
    if (folder / "report.json").exists():
        page = f"   Page: {folder / 'report.html'}" if (folder / "report.html").exists() else ""
        yield f"Items: {folder / 'accepted.jsonl'}   Report: {folder / 'report.json'}{page}"
    yield from _batches(data, folder)
    if report.outcome in NEXT and not data["stopped_early"] and not _is_used_up(data):
        yield NEXT[report.outcome].format(folder=folder)


def _batches(data: ReportData, folder: Path) -> Iterator[str]:
    """What went in batches, and what of it is still under way."""
    batches = data.get("batches")
    if batches is None:
        return
    if batches["calls"]:
        answered = counted(batches["calls"], "call was", "calls were")
        waves = counted(batches["waves"], "wave")
        yield f"{answered} answered in {waves} of batches, for ${batches['cost_usd']:.4f}."
    if batches["open_parts"]:
        until = _clock(batches["until"])
        yield (
            f"{counted(batches['open_calls'], 'call is', 'calls are')} under way in "
            f"{counted(batches['open_parts'], 'batch', 'batches')}{until}, "
            f"${batches['set_aside_usd']:.4f} set aside at most; datagen resume {folder} collects them, datagen cancel "
            f"{folder} stops them."
        )


def _clock(until: float | None) -> str:
    return f" until {clock(until, time.time())} at the latest" if until is not None else ""


def _unfinished(items: Items, outcome: str) -> Iterator[str]:
    """What is paid for and not validated yet, where a resume would go on with it."""
    if items["undecided"] and outcome != "target":
        yield (
            f"{items['undecided']:,} more items are paid for and not decided yet; a resume finishes them first, for "
            f"about ${items['finishing_usd']:.4f}."
        )


REPEATING = 0.1
"""The share of repeats beyond which it is worth saying how many more items there are."""


def _left_to_be_had(data: ReportData) -> Iterator[str]:
    """How many more different items this config has, where they begin to run out."""
    richness = data.get("growth", {}).get("richness")
    if not richness or richness["more"] is None:
        return
    items = data["items"]
    missing = max(0, items["target"] - items["accepted"])
    repeats = 1 - richness["distinct"] / max(1, richness["drawn"])
    if repeats >= REPEATING or richness["high"] < missing:
        said = more_to_be_had(richness)
        yield f"{said[:1].upper()}{said[1:]}; generate.attributes, more examples or another model bring others."


COPIES = 0.2
"""The share of items beyond which it is worth saying that the model copies."""


def _copies(items: Items) -> Iterator[str]:
    """What helps where the model writes its examples or its own earlier items down again."""
    reasons = items["reasons"]
    copied = sum(sum(reasons.get(by, {}).values()) for by in ("repeats",))
    copied += reasons.get("groupcheck", {}).get("same_text", 0)
    if copied >= 5 and copied > COPIES * max(1, items["generated"]):
        yield (
            f"{copied:,} of {items['generated']:,} items were copies of base rows or of earlier items. What helps: a "
            "higher generate.temperature, generate.attributes, fewer generate.few_shot, a larger model."
        )


def evaluation_lines(
    report: Report, folder: Path, results: Mapping[str, Any] | None, completed: str, unscored: str
) -> Iterator[str]:
    """How an evaluation ended, its cost, what is left to do. `unscored`: the message for unscored answers."""
    data = report.data
    items, calls, cost = data["items"], data["calls"], data["cost"]
    done = ending(data, completed)
    per_model = results["results"] if results is not None else []
    without = sum(each["unanswered"] for each in per_model)
    yield f"{done} {items['accepted']:,} answers, {without:,} questions without one; {calls['completed']:,} calls."
    for name, count in (results["unreadable_rows"] if results is not None else {}).items():
        if count:
            yield f"{count:,} rows of {name} could not be read: see {folder / 'rejected.jsonl'}."
    yield from _spent(cost)
    yield from _events(data["events"])
    yield f"Results: {folder / 'results.json'}, {folder / 'results.csv'}   Answers: {folder / 'accepted.jsonl'}"
    pending = sum(each["pending"] for each in per_model)
    if report.outcome in NEXT:
        yield NEXT[report.outcome].format(folder=folder)
    elif pending:
        yield unscored.format(pending=pending, folder=folder)


def _spent(cost: Cost, more: str = "") -> Iterator[str]:
    """What was spent, as far as it is known. `more` is added to the sum."""
    if not cost["priced"]:
        yield "The price of a model is not known; costs were not counted."
        return
    yield f"Spent ${cost['spent_usd']:.4f}{more}."
    if cost["unconfirmed_usd"]:
        yield f"${cost['unconfirmed_usd']:.4f} of that is the most that attempts without a reply may have cost."


USED_UP = "The documents are used up"
"""How the message begins of a run whose passages have all had their turns."""


def _is_used_up(data: ReportData) -> bool:
    return data["outcome"] == "attempts" and data["message"].startswith(USED_UP)


def ending(data: ReportData, completed: str, *, reason: bool = True) -> str:
    """How a run ended, as a sentence; of one over rows that reached their end, what `completed` says."""
    outcome, items = data["outcome"], data["items"]
    if outcome == "target" and completed:
        return completed
    if _is_used_up(data):
        return f"{data['message']}."
    said = "Stopped early" if data["stopped_early"] else SAID[outcome]
    if outcome == "target" and items["accepted"] < items["target"]:
        said = "A review has left fewer items than the target; resume the run to replace them"
    why = (
        f": {data['message']}"
        if reason and data["message"] and outcome not in ("target", "interrupted")
        else ""
    )
    return f"{said}{why}."


def _events(events: Sequence[EventEntry]) -> Iterator[str]:
    """The last events in words; report.json has all of them."""
    for event in events[-_EVENTS:]:
        yield f"{event['words'].rstrip('.')}."
    if len(events) > _EVENTS:
        yield f"And {len(events) - _EVENTS:,} more: see events in report.json."


_EVENTS = 8


def _reasons(reasons: dict[str, dict[str, int]]) -> str:
    return "; ".join(f"{by} {_counts(counts)}" for by, counts in reasons.items())


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]))


def status_table(report: Report, running: bool, completed: str = "") -> Table:
    """The present state of a run; `completed` as for `outcome_lines`."""
    data = report.data
    items, calls, cost = data["items"], data["calls"], data["cost"]
    table = text_table("", "", heading=False)
    killed = report.outcome == "running" and not running
    state = (
        "Stopped abruptly, for example by a kill; resume it"
        if killed
        else ending(data, completed, reason=False).rstrip(".")
    )
    table.add_row("state", SAID["running"] if running else state)
    table.add_row("items", f"{items['accepted']:,} of {items['target']:,} accepted, {items['rejected']:,} rejected, "
                  f"{items['surplus']:,} surplus")  # fmt: skip
    table.add_row("rejected", _reasons(items["reasons"]) or "none")
    table.add_row("calls", f"{calls['completed']:,} completed, {calls['retried']:,} retried, "
                  f"{calls['rate_limited']:,} rate-limited, {calls['failed']:,} failed")  # fmt: skip
    cap = "no cap" if cost["cap_usd"] is None else f"cap ${cost['cap_usd']:g}"
    table.add_row(
        "spent", f"${cost['spent_usd']:.4f} ({cap})" if cost["priced"] else "not counted: price unknown"
    )
    if (batches := data.get("batches")) is not None:
        where = f"{batches['open_calls']:,} under way in {counted(batches['open_parts'], 'batch', 'batches')}"
        spent = f"{batches['calls']:,} calls answered for ${batches['cost_usd']:.4f}"
        table.add_row("batches", f"{spent}; {where}{_clock(batches['until'])}")
    if items["undecided"] and data["outcome"] != "target":
        left = f"{items['undecided']:,} items, about ${items['finishing_usd']:.4f} to finish"
        table.add_row("undecided", left)
    table.add_row("starts", str(data["starts"]))
    for line in _events(data["events"]):
        table.add_row("event", line)
    return table


def text_table(*columns: str, heading: bool = True) -> Table:
    """A table without a frame. Control characters in its cells cannot affect the terminal."""
    from rich.table import Table

    class Plain(Table):
        def add_row(self, *cells: Any, **options: Any) -> None:
            super().add_row(
                *(printable(cell) if isinstance(cell, str) else cell for cell in cells), **options
            )

    table = Plain(show_header=heading, box=None, pad_edge=False)
    for column in columns:
        table.add_column(printable(column), overflow="fold")
    return table


def rows_listing(section: RowsSection) -> Listing:
    """The same as a table."""
    told = [
        ("rows decided", section["decided"]),
        ("with an answer", section["kept"]),
        ("kept without one", section["without"]),
        ("left out", section["dropped"]),
        ("answers asked for", section["answers"]),
        ("of these, another row's answer", section["reused"]),
        ("spared, since an earlier one passed", section["spared"]),
    ]
    shown = [
        (name, f"{count:,}") for name, count in told if count or name in ("rows decided", "with an answer")
    ]
    return Listing("Rows", "What became of the rows, and what was asked for them.", ("", "count"), shown)

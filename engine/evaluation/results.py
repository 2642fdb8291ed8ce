"""The results of an evaluation, read from its journal: shares, intervals, differences, comparisons."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import IO, Any

import orjson

from engine.escaping import quoted_cell
from engine.evaluation.answering import ANSWER, JUDGE
from engine.evaluation.shape import Against, Counted, Difference, ModelComparison, Result, Results
from engine.items import usd
from engine.quality.intervals import mcnemar, newcombe, wilson

_GROUPS = 50
"""Most values of one field by which results are broken down; the most frequent are kept."""


@dataclass
class Count:
    """A count of scored, of right and of pending answers. Mutable."""

    scored: int = 0
    right: int = 0
    pending: int = 0

    def add(self, right: bool) -> None:
        self.scored += 1
        self.right += right

    def counted(self) -> Counted:
        low, high = wilson(self.right, self.scored)
        whole = self.scored + self.pending
        return {
            "n": self.scored,
            "right": self.right,
            "accuracy": self.right / self.scored if self.scored else None,
            "interval": [low, high],
            "bounds": [self.right / whole, (self.right + self.pending) / whole] if whole else [0.0, 1.0],
        }


@dataclass
class Tested:
    """One model on one dataset. Mutable while the journal is read."""

    dataset: str
    model: str
    right: dict[int, bool] = field(default_factory=dict)
    """By row number, for scored answers; a question without an answer counts as wrong."""
    unanswered: int = 0
    pending: list[int] = field(default_factory=list)
    """The rows whose answers await a judge."""
    cost_usd: float = 0.0
    groups: dict[int, Mapping[str, str]] = field(default_factory=dict)

    def count(self, rows: Mapping[int, bool] | None = None) -> Count:
        """Counts all rows, or only those that are true in `rows`."""
        counted = Count()
        for row, right in self.right.items():
            if rows is None or rows.get(row):
                counted.add(right)
        counted.pending = sum(rows is None or bool(rows.get(row)) for row in self.pending)
        return counted

    def broken_down(self) -> dict[str, dict[str, Counted]]:
        counts: dict[str, dict[str, Count]] = {}
        for row, right in self.right.items():
            for name, value in self.groups.get(row, {}).items():
                counts.setdefault(name, {}).setdefault(value, Count()).add(right)
        for row in self.pending:
            for name, value in self.groups.get(row, {}).items():
                counts.setdefault(name, {}).setdefault(value, Count()).pending += 1
        return {
            name: {
                value: count.counted()
                for value, count in sorted(values.items(), key=_largest_first)[:_GROUPS]
            }
            for name, values in counts.items()
        }


def _largest_first(pair: tuple[str, Count]) -> tuple[int, str]:
    return -pair[1].scored, pair[0]


def results_of(
    connection: sqlite3.Connection, datasets: Sequence[str], models: Sequence[str], against: str | None
) -> Results:
    """The content of results.json. Accuracy covers all scored rows; unanswered rows count as wrong."""
    tested = {(dataset, model): Tested(dataset, model) for dataset in datasets for model in models}
    solvable: dict[str, dict[int, bool]] = {dataset: {} for dataset in datasets}
    unreadable = dict.fromkeys(datasets, 0)
    for dataset, row, model, answer, judged, cost, by in _rows(connection):
        one = tested.get((dataset, model))
        if one is None:
            continue
        one.cost_usd += cost
        if by not in (None, ANSWER):
            unreadable[dataset] += model == models[0]
            continue
        if answer.get("confirmed") is not None:
            solvable[dataset][row] = bool(answer["confirmed"])
        one.groups[row] = answer.get("groups", {})
        right = judged.get("correct", answer.get("correct"))
        if by == ANSWER:
            one.unanswered += 1
            one.right[row] = False
        elif right is None:
            one.pending.append(row)
        else:
            one.right[row] = bool(right)
    [judge] = connection.execute(
        "SELECT coalesce(sum(cost), 0) FROM calls WHERE purpose = 'judgement'"
    ).fetchone()
    return {
        "results": [_shown(one, solvable[one.dataset]) for one in tested.values()],
        "unreadable_rows": unreadable,
        "differences": list(_differences(tested, solvable, datasets, models, against)),
        "comparisons": list(_comparisons(tested, datasets, models)),
        "judge_cost_usd": usd(judge),
    }


def _rows(connection: sqlite3.Connection) -> Iterator[tuple[str, int, str, Any, Any, float, str | None]]:
    """(dataset, row, model, answer record, judge record, dollars, rejected by) of each item."""
    rows = connection.execute("SELECT meta, rejected_by FROM items WHERE state != 'surplus' ORDER BY item")
    for text, by in rows:
        meta = orjson.loads(text)
        records = {verdict["by"]: verdict.get("record", {}) for verdict in meta["verdicts"]}
        answer, judged = records.get(ANSWER, {}), records.get(JUDGE, {})
        cost = answer.get("cost_usd", meta["cost_usd"] if by == ANSWER else 0.0)
        yield meta.get("dataset", ""), meta.get("row", 0), meta["model"], answer, judged, cost, by


def _shown(one: Tested, solvable: Mapping[int, bool]) -> Result:
    return {
        "dataset": one.dataset,
        "model": one.model,
        **_counted(one),
        "unanswered": one.unanswered,
        "pending": len(one.pending),
        "cost_usd": round(one.cost_usd, 12),
        "solvability": {
            "checked": len(solvable),
            "confirmed": sum(solvable.values()),
            "on_confirmed": one.count(solvable).counted() if solvable else None,
        },
        "by": one.broken_down(),
    }


def _counted(one: Tested) -> Counted:
    """Without an accuracy while answers await a judge: those that rules could score are not all answers."""
    counted = one.count().counted()
    return {**counted, "accuracy": None} if one.pending else counted


def _differences(
    tested: Mapping[tuple[str, str], Tested],
    solvable: Mapping[str, Mapping[int, bool]],
    datasets: Sequence[str],
    models: Sequence[str],
    against: str | None,
) -> Iterator[Against]:
    """Each dataset's accuracy less the original's, by model; also on confirmed items only, if known."""
    if against is None:
        return
    for dataset, model in product((each for each in datasets if each != against), models):
        new, old = tested[dataset, model], tested[against, model]
        found = _difference(new.count(), old.count())
        difference: Against = {
            "dataset": dataset,
            "against": against,
            "model": model,
            "difference": found["difference"],
            "interval": found["interval"],
        }
        if solvable[dataset]:
            old_rows = solvable[against] or None
            difference["on_confirmed"] = _difference(new.count(solvable[dataset]), old.count(old_rows))
        yield difference


def _difference(new: Count, old: Count) -> Difference:
    if not new.scored or not old.scored or new.pending or old.pending:
        return {"difference": None, "interval": [-1.0, 1.0]}
    low, high = newcombe(new.right, new.scored, old.right, old.scored)
    return {"difference": new.right / new.scored - old.right / old.scored, "interval": [low, high]}


def _comparisons(
    tested: Mapping[tuple[str, str], Tested], datasets: Sequence[str], models: Sequence[str]
) -> Iterator[ModelComparison]:
    """Compares each pair of models on the rows of a dataset for which both have a score."""
    for dataset in datasets:
        for first, second in combinations(models, 2):
            one, other = tested[dataset, first].right, tested[dataset, second].right
            both = [(one[row], other[row]) for row in one.keys() & other.keys()]
            only_first, only_second = both.count((True, False)), both.count((False, True))
            yield {
                "dataset": dataset,
                "models": [first, second],
                "n": len(both),
                "only_first": only_first,
                "only_second": only_second,
                "p": mcnemar(only_first, only_second),
            }


_COLUMNS = (
    "dataset", "model", "group", "value", "n", "right", "accuracy", "low", "high", "unanswered", "pending",
    "confirmed", "checked", "accuracy_on_confirmed", "cost_usd",
)  # fmt: skip


def write_csv(results: Results, file: IO[str]) -> None:
    """Writes a line for each model and dataset, and for each value by which results are broken down."""
    writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
    writer.writeheader()

    def write(row: Mapping[str, Any]) -> None:
        """Names of models, datasets and groups so that no spreadsheet runs them."""
        cells = {name: quoted_cell(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
        writer.writerow(cells)

    for result in results["results"]:
        whole = {"dataset": result["dataset"], "model": result["model"]}
        solvability = result["solvability"]
        confirmed = solvability["on_confirmed"]
        write(
            {
                **whole,
                **_cells(result),
                "unanswered": result["unanswered"],
                "pending": result["pending"],
                "confirmed": solvability["confirmed"] if solvability["checked"] else "",
                "checked": solvability["checked"],
                "accuracy_on_confirmed": confirmed["accuracy"] if confirmed is not None else "",
                "cost_usd": result["cost_usd"],
            }
        )
        for group, values in result["by"].items():
            for value, counted in values.items():
                write({**whole, "group": group, "value": value, **_cells(counted)})


def _cells(counted: Counted) -> dict[str, Any]:
    low, high = counted["interval"]
    return {
        "n": counted["n"],
        "right": counted["right"],
        "accuracy": counted["accuracy"],
        "low": low,
        "high": high,
    }

"""An evaluation as items by models: who got what right, and what only one did."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from engine.dataset.fields import Fields
from engine.items import item_id
from engine.schema.values import loads

SHOWN = {
    "all": "all", "disagree": "where models differ", "none": "that no model got right",
    "one": "that only one got right",
    "every": "that every model got right", "open": "that await a judge",
}  # fmt: skip
ON_A_PAGE = 50


@dataclass(frozen=True)
class Question:
    """One row of a dataset, and how each model did: right, wrong, open or none."""

    dataset: str
    row: int
    text: str
    label: str
    marks: Mapping[str, tuple[str, str]]
    """By model: (mark, the id of its answer)."""

    def fits(self, shown: str) -> bool:
        marks = [mark for mark, _ in self.marks.values()]
        right = marks.count("right")
        return {
            "all": True,
            "disagree": 0 < right < len(marks),
            "none": not right and "open" not in marks,
            "one": right == 1 and len(marks) > 1,
            "every": right == len(marks),
            "open": "open" in marks,
        }[shown]


@dataclass(frozen=True)
class Tested:
    models: Sequence[str]
    questions: Sequence[Question]
    counts: Mapping[str, int]
    """By what is shown."""
    found: int


def read_tested(connection: sqlite3.Connection, fields: Fields, shown: str, page: int) -> Tested:
    """A page of the questions of this kind, in the order of their datasets."""
    grid: dict[tuple[str, int], dict[str, tuple[str, str, int]]] = {}
    models: dict[str, None] = {}
    for number, meta_text in connection.execute(
        "SELECT item, meta FROM items WHERE state != 'surplus' ORDER BY item"
    ):
        meta = orjson.loads(meta_text)
        model, place = (
            str(meta.get("model") or "model"),
            (str(meta.get("dataset") or ""), int(meta.get("row") or 0)),
        )
        models.setdefault(model)
        grid.setdefault(place, {})[model] = _mark(meta), item_id(number), number
    known = list(models)
    every = [
        (
            place,
            Question(place[0], place[1], "", "", {m: (answers.get(m) or ("none", "", 0))[:2] for m in known}),
        )
        for place, answers in sorted(grid.items())
    ]
    counts = {kind: sum(each.fits(kind) for _, each in every) for kind in SHOWN}
    chosen = [(place, each) for place, each in every if each.fits(shown)]
    questions = []
    for place, each in chosen[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]:
        first = next(iter(grid[place].values()))[2]
        [record] = connection.execute("SELECT record FROM items WHERE item = ?", (first,)).fetchone()
        example = fields.remembered(loads(record))
        questions.append(
            Question(each.dataset, each.row, example.text[:300], example.answer[:80], each.marks)
        )
    return Tested(known, questions, counts, len(chosen))


def _mark(meta: Mapping[str, object]) -> str:
    verdicts = meta.get("verdicts")
    for verdict in reversed(verdicts if isinstance(verdicts, list) else []):
        told = verdict.get("record") or {}
        if told.get("correct") is not None:
            return "right" if told["correct"] else "wrong"
        if "answer" in told:
            return "open"
    return "wrong"  # a question without an answer counts as wrong

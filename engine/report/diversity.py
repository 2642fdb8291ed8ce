"""The diversity part of report.json: attributes requested and accepted, each strategy's yield, measures."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from engine.dataset.fields import Fields
from engine.dataset.forms import Example, FieldProblem
from engine.items import POSITIONS, usd
from engine.report.mapping import Map, accepted_with_vectors, mapped, originals_of
from engine.schema.values import loads

if TYPE_CHECKING:
    from engine.diversity.measures.dataset import Measured
    from engine.protocols import Vectors

MEASURED = 5_000
"""Size of the random sample of accepted items that a report measures; `datagen metrics` measures all."""
BLEU_ITEMS = BLEU_REFERENCES = 100
_CELLS = 200
"""Most cells that are shown, the most requested first."""

ReadRow = Callable[[int, dict[str, Any]], Example]


def coverage(connection: sqlite3.Connection) -> dict[str, Any]:
    """By attribute and value, and by cell: items requested and decided so far, and how many were accepted."""
    asked: Counter[tuple[tuple[str, str], ...]] = Counter()
    accepted: Counter[tuple[tuple[str, str], ...]] = Counter()
    for attributes, state, count in connection.execute(
        "SELECT json_extract(meta, '$.attributes'), state, count(*) FROM items"
        " WHERE state != 'surplus' AND json_extract(meta, '$.attributes') != '{}' GROUP BY 1, 2"
    ):
        cell = tuple(orjson.loads(attributes).items())
        asked[cell] += count
        accepted[cell] += count if state == "accepted" else 0
    values: dict[str, dict[str, dict[str, int]]] = {}
    for cell, count in asked.items():
        for name, value in cell:
            counts = values.setdefault(name, {}).setdefault(value, {"asked": 0, "accepted": 0})
            counts["asked"] += count
            counts["accepted"] += accepted[cell]
    for name, value in _verified(connection):
        counts = values.setdefault(name, {}).setdefault(value, {"asked": 0, "accepted": 0})
        counts["verified"] = counts.get("verified", 0) + 1
    cells = [
        {"attributes": dict(cell), "asked": count, "accepted": accepted[cell]}
        for cell, count in asked.most_common(_CELLS)
    ]
    return {"values": values, "cells": cells, "cells_in_all": len(asked)} if asked else {}


def _verified(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """(name, value) of each attribute that a check has found an accepted item to have."""
    for attributes, kept in connection.execute(
        "SELECT json_extract(meta, '$.attributes'), json_extract(v.value, '$.record.attributes.kept')"
        " FROM items, json_each(items.meta, '$.verdicts') AS v WHERE state = 'accepted'"
        " AND json_extract(v.value, '$.record.attributes.kept') IS NOT NULL"
    ):
        asked = orjson.loads(attributes)
        yield from ((name, asked[name]) for name in orjson.loads(kept) if name in asked)


def strategies(connection: sqlite3.Connection) -> dict[str, Any]:
    """The batches and the yield of each strategy; the last rates that an adaptive mix drew."""
    by_name: dict[str, Any] = {}
    for name, batches, items, accepted, duplicates, cost in connection.execute(
        f"SELECT json_extract(plans.state, '$.strategy'), count(DISTINCT plans.batch), count(*),"  # noqa: S608
        " sum(items.state = 'accepted'), sum(items.rejected_by = 'groupcheck'),"
        " sum(CAST(round(json_extract(items.meta, '$.cost_usd') * 1e12) AS INTEGER))"
        f" FROM plans JOIN items ON items.item / {POSITIONS} = plans.batch"
        " WHERE items.state != 'surplus' GROUP BY 1"
    ):
        dollars = usd(cost or 0)
        by_name[name] = {
            "batches": batches,
            "items": items,
            "accepted": accepted,
            "duplicates": duplicates or 0,
            "cost_usd": round(dollars, 12),
            "accepted_per_usd": round(accepted / dollars, 3) if dollars else None,
        }
    last = connection.execute(
        "SELECT state FROM plans WHERE json_extract(state, '$.rates') IS NOT NULL ORDER BY batch DESC LIMIT 1"
    ).fetchone()
    return (
        {"by_name": by_name, "last_rates": orjson.loads(last[0])["rates"] if last else {}} if by_name else {}
    )


def lessons(connection: sqlite3.Connection) -> dict[str, Any]:
    """Acceptance before the first lessons, with lessons, and in batches without them; empty without lessons.

    Items that were rejected only for the label ratio are left out.
    """
    arms: dict[str, dict[str, Any]] = {}
    for lesson, items, accepted in connection.execute(
        "SELECT json_extract(plans.state, '$.lesson'), count(*), sum(items.state = 'accepted')"  # noqa: S608
        f" FROM items LEFT JOIN plans ON items.item / {POSITIONS} = plans.batch"
        " WHERE items.state != 'surplus' AND coalesce(items.rejected_by, '') != 'label_ratio' GROUP BY 1"
    ):
        arm = arms.setdefault(
            "before" if lesson is None else "with" if lesson else "without", {"items": 0, "accepted": 0}
        )
        arm["items"] += items
        arm["accepted"] += accepted
    if set(arms) <= {"before"}:
        return {}
    for arm in arms.values():
        arm["acceptance"] = round(arm["accepted"] / arm["items"], 4)
    return arms


@dataclass(frozen=True)
class RunMeasures:
    """A run's accepted items, to be measured and mapped beside its base dataset."""

    fields: Fields
    base: Sequence[Example]
    base_vectors: Vectors | None
    """One row for each of `base`; None where the run made none."""
    seed: int

    def measured(self, connection: sqlite3.Connection) -> Mapping[str, Any] | None:
        """Measures the accepted items, or a sample if there are many; None for fewer than two.

        `base` holds the measures of the same number of originals, or of all if there are fewer.
        """
        from engine.diversity.measures.dataset import Measured, measures

        rows = _sample(connection, self.seed)
        if len(rows) < 2:
            return None
        against = self._originals(range(len(self.base)))
        result = measures(
            _data(connection, rows, self.fields.read), against, self.seed, BLEU_ITEMS, BLEU_REFERENCES
        )
        [accepted] = connection.execute("SELECT count(*) FROM items WHERE state = 'accepted'").fetchone()
        if accepted > len(rows):
            result["sampled_from"] = accepted
        if isinstance(against, Measured) and len(self.base) > 1:
            chosen = random.Random(f"{self.seed}/base").sample(
                range(len(self.base)), min(len(self.base), len(rows))
            )
            some = self._originals(sorted(chosen))
            assert some is not None
            result["base"] = measures(some, None, self.seed, BLEU_ITEMS, BLEU_REFERENCES)
        return result

    def mapped(self, connection: sqlite3.Connection) -> Map | None:
        """The run's map; None where the items have no vectors."""
        accepted = accepted_with_vectors(connection, self.fields, self.seed)
        return mapped(accepted, originals_of(self.base, self.base_vectors, self.seed))

    def _originals(self, rows: Sequence[int]) -> Measured | None:
        from engine.diversity.measures.dataset import Measured
        from engine.diversity.sameness import compared

        if not self.base:
            return None
        texts = [compared(self.base[row]) for row in rows]
        labels = [self.base[row].answer for row in rows]
        vectors = None if self.base_vectors is None else self.base_vectors[list(rows)]
        return Measured(texts, vectors, labels if any(labels) else ())


def _sample(connection: sqlite3.Connection, seed: int) -> list[int]:
    numbers = [
        item
        for (item,) in connection.execute("SELECT item FROM items WHERE state = 'accepted' ORDER BY item")
    ]
    return sorted(random.Random(seed).sample(numbers, MEASURED)) if len(numbers) > MEASURED else numbers


def _data(connection: sqlite3.Connection, numbers: list[int], read: ReadRow) -> Measured:
    from engine.diversity.embedding import restored, stacked
    from engine.diversity.measures.dataset import Measured
    from engine.diversity.sameness import compared

    texts: list[str] = []
    labels: list[str] = []
    vectors = []
    attributes: list[dict[str, str]] = []
    for number in numbers:
        record, meta, vector = connection.execute(
            "SELECT record, json_extract(meta, '$.attributes'), vector FROM items LEFT JOIN vectors USING (item)"
            " WHERE items.item = ?",
            (number,),
        ).fetchone()
        try:
            example = read(number, loads(record))
        except FieldProblem:
            continue
        texts.append(compared(example))
        labels.append(example.answer)
        attributes.append(orjson.loads(meta or "{}"))
        vectors.append(None if vector is None else restored(vector))
    names = sorted({name for each in attributes for name in each})
    by_name = {name: [each.get(name, "") for each in attributes] for name in names}
    return Measured(texts, stacked(vectors), labels if any(labels) else (), by_name)

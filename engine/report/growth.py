"""What became of a run as it grew: new items, repeats, dollars and diversity at each size; what is left to be had."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.dataset.fields import Fields
from engine.diversity.sameness import compared
from engine.items import POSITIONS
from engine.quality.richness import Richness
from engine.schema.values import loads
from engine.stages.repeats import OF_ITEM, REPEATS, digest_of

if TYPE_CHECKING:
    from engine.diversity.measures.dataset import Measured

DRAWN = 200
"""Accepted items of which diversity is measured at each size: always so many, since the measures move with it."""
_FIRST = 100
_SCORED, _REFERENCES = 16, 24
"""Of the drawn items, those whose BLEU is measured, and with how many others each is compared: the curve costs seconds
of processor time at a run's end, and the score of the whole dataset is measured apart from it, with more."""
GROUP_CHECK = "groupcheck"


@dataclass(frozen=True)
class Growth:
    """Reads a run's journal; see `grown`."""

    fields: Fields
    seed: int

    def richness(self, connection: sqlite3.Connection) -> Richness:
        """From the items that said the same as an accepted one; repeats of base rows are not counted."""
        [distinct] = connection.execute("SELECT count(*) FROM items WHERE state = 'accepted'").fetchone()
        again: Counter[Any] = Counter()
        for (place,) in connection.execute(
            "SELECT json_extract(meta, '$.verdicts[#-1].record.item') FROM items WHERE rejected_by = ?",
            (GROUP_CHECK,),
        ):
            if place is not None:
                again[place] += 1
        for (record,) in connection.execute(
            "SELECT record FROM items WHERE rejected_by = ? AND reason = ?", (REPEATS, OF_ITEM)
        ):
            again[digest_of(self.fields.remembered(loads(record)))] += 1
        return Richness.of(distinct, again.values())

    def grown(self, connection: sqlite3.Connection) -> list[dict[str, Any]]:
        """A point for each size: 100 accepted items, then twice as many each time, and all of them.

        What a point says of new items, repeats and dollars is of the items since the point before it; diversity is of
        200 drawn from all so far.
        """
        points: list[dict[str, Any]] = []
        numbers: list[int] = []
        since, size = Counter[str](), _FIRST
        asked = dict(
            connection.execute(
                "SELECT batch, count(*) FROM calls WHERE purpose = 'items' GROUP BY batch"
            ).fetchall()
        )
        cost, seen = 0.0, -1
        for number, state, by, usd in self._decided(connection):
            if number // POSITIONS != seen:
                seen = number // POSITIONS
                since["calls"] += asked.get(seen, 0)
            since[
                "accepted"
                if state == "accepted"
                else "repeats"
                if by in (GROUP_CHECK, REPEATS)
                else "rejected"
            ] += 1
            cost += usd or 0.0
            if state == "accepted":
                numbers.append(number)
            if len(numbers) == size:
                points.append(self._point(connection, numbers, since, cost))
                since, cost, size = Counter(), 0.0, size * 2
        if since["accepted"] >= max(20, len(numbers) // 20):
            points.append(self._point(connection, numbers, since, cost))
        return points

    def _decided(self, connection: sqlite3.Connection) -> Iterator[tuple[int, str, str | None, float | None]]:
        return iter(
            connection.execute(
                "SELECT item, state, rejected_by, json_extract(meta, '$.cost_usd') FROM items "
                "WHERE state != 'surplus' ORDER BY item"
            )
        )

    def _point(
        self, connection: sqlite3.Connection, numbers: Sequence[int], since: Counter[str], cost: float
    ) -> dict[str, Any]:
        passed = since["accepted"] + since["repeats"]
        return {
            "items": len(numbers),
            "new_per_100_calls": round(100 * since["accepted"] / since["calls"], 1)
            if since["calls"]
            else None,
            "repeats": round(since["repeats"] / passed, 4) if passed else None,
            "usd_per_accepted": cost / since["accepted"] if since["accepted"] else None,
            **self._diversity(connection, numbers),
        }

    def _diversity(self, connection: sqlite3.Connection, numbers: Sequence[int]) -> dict[str, Any]:
        if len(numbers) < DRAWN:
            return {}
        from engine.diversity.measures.dataset import measures

        chosen = sorted(random.Random(f"{self.seed}/{len(numbers)}").sample(numbers, DRAWN))
        found = measures(self._drawn(connection, chosen), None, self.seed, _SCORED, _REFERENCES)
        shown: dict[str, Any] = {"self_bleu": found["self_bleu"]["score"], "distinct_2": found["distinct_2"]}
        if "aps" in found:
            shown |= {
                "remote_clique": found["remote_clique"]["pairs"],
                "aps": found["aps"],
                "vendi": found["vendi"],
            }
        return shown

    def _drawn(self, connection: sqlite3.Connection, numbers: Sequence[int]) -> Measured:
        from engine.diversity.embedding import restored, stacked
        from engine.diversity.measures.dataset import Measured

        texts, vectors = [], []
        for number in numbers:
            record, vector = connection.execute(
                "SELECT record, vector FROM items LEFT JOIN vectors USING (item) WHERE items.item = ?",
                (number,),
            ).fetchone()
            texts.append(compared(self.fields.remembered(loads(record))))
            vectors.append(None if vector is None else restored(vector))
        return Measured(texts, stacked(vectors))

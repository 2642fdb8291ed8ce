"""People's opinions on a sample of a run's items: kept in run.db beside the fates, which they do not change."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from engine.quality.estimates import Seen, estimated, kappa
from engine.schema.values import loads
from engine.store.reading import connect
from engine.store.writer import opened_table, translated

TABLE = (
    "CREATE TABLE IF NOT EXISTS opinions (item INTEGER NOT NULL, person TEXT NOT NULL, right INTEGER,"
    " scores TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (item, person)) WITHOUT ROWID"
)


@dataclass(frozen=True)
class Opinion:
    """`right` is None where the person cannot tell; `scores` are points by criterion."""

    item: int
    person: str
    right: bool | None
    scores: Mapping[str, float]


@contextmanager
def opened_opinions(database: Path) -> Iterator[Opinions]:
    """Opens the opinions for the block; each is on disk when `keep` returns. Raises StoreError."""
    with opened_table(database, TABLE) as connection:
        yield Opinions(database, connection)


class Opinions:
    """The opinions on one run's items."""

    def __init__(self, database: Path, connection: sqlite3.Connection) -> None:
        self._database = database
        self._connection = connection

    def keep(self, opinion: Opinion) -> None:
        """A person's later opinion replaces the earlier one."""
        right = None if opinion.right is None else int(opinion.right)
        scores = orjson.dumps(dict(opinion.scores)).decode()
        with translated(self._database):
            self._connection.execute(
                "INSERT OR REPLACE INTO opinions VALUES (?, ?, ?, ?, ?)",
                (opinion.item, opinion.person, right, scores, time.time()),
            )

    def read(self, item: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """(record, meta) of an item."""
        with translated(self._database):
            record, meta = self._connection.execute(
                "SELECT record, meta FROM items WHERE item = ?", (item,)
            ).fetchone()
        return loads(record), orjson.loads(meta)


def read_opinions(connection: sqlite3.Connection) -> list[Opinion]:
    """All opinions, in the order of the items."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'opinions'").fetchone():
        return []
    rows = connection.execute("SELECT item, person, right, scores FROM opinions ORDER BY item, person")
    return [
        Opinion(item, person, None if right is None else bool(right), orjson.loads(scores))
        for item, person, right, scores in rows
    ]


def read_seen(connection: sqlite3.Connection) -> Iterator[tuple[Seen, dict[str, bool]]]:
    """Each decided item that has a text, as an estimate sees it, and which validators passed it."""
    for item, state, meta in connection.execute(
        "SELECT item, state, meta FROM items WHERE state != 'surplus' AND record != '{}' ORDER BY item"
    ):
        told = orjson.loads(meta)
        verdicts = told.get("verdicts", ())
        passed = {str(each["by"]): each["verdict"] != "reject" for each in verdicts}
        pattern = ", ".join(f"{each['by']} {each['verdict']}" for each in verdicts)
        accepted = state == "accepted"
        correct = next(
            (r["correct"] for each in verdicts if "correct" in (r := each.get("record", {}))), None
        )
        if correct is not None:  # an answer of a tested model: right or wrong by its score
            pattern = f"{pattern}, {'right' if correct else 'wrong'}"
        yield Seen(item, f"{state}: {pattern}", accepted, _proxy(told, verdicts, accepted, correct)), passed


def _proxy(meta: Mapping[str, Any], verdicts: Any, accepted: bool, correct: bool | None) -> float:
    """How sure the checks are: the share of answers or programs that agree, where some were asked."""
    if correct is not None:
        return float(correct)
    if isinstance(meta.get("agreement"), float):
        return float(meta["agreement"])
    for each in reversed(verdicts):
        votes = [int(answer["votes"]) for answer in each.get("record", {}).get("answers", ())]
        if votes and sum(votes):
            return votes[0] / sum(votes)
    return float(accepted)


def people_of(connection: sqlite3.Connection) -> dict[str, Any]:
    """What people's opinions say of all items; empty where there are none.

    `right`: of the accepted items. `validators`: how far each agrees with people (Cohen's kappa, weighted by how many
    items each opinion stands for). `persons`: how far each two persons agree, on the items that both have seen.
    """
    opinions = read_opinions(connection)
    if not opinions:
        return {}
    seen, passed = [], {}
    for each, by in read_seen(connection):
        seen.append(each)
        passed[each.number] = by
    truth = _mean_truth(opinions)
    accepted = [each for each in seen if each.accepted]
    weights = _weights(seen, truth)
    names = list(dict.fromkeys(name for by in passed.values() for name in by))
    validators = {
        name: kappa(
            (truth[each.number] >= 0.5, passed[each.number][name], weights[each.stratum])
            for each in seen
            if each.number in truth and name in passed[each.number]
        )
        for name in names
    }
    criteria = list(dict.fromkeys(name for each in opinions for name in each.scores))
    return {
        "answers": len(opinions),
        "right": estimated(accepted, truth) if accepted else None,
        "validators": {name: _rounded(value) for name, value in validators.items()},
        "persons": _persons(opinions),
        "scores": {
            name: round(sum(each.scores[name] for each in opinions if name in each.scores)
                        / sum(name in each.scores for each in opinions), 3)
            for name in criteria
        },
    }  # fmt: skip


def _mean_truth(opinions: list[Opinion]) -> dict[int, float]:
    """By item, the share of those who could tell that call it right."""
    told: dict[int, list[bool]] = {}
    for each in opinions:
        if each.right is not None:
            told.setdefault(each.item, []).append(each.right)
    return {item: sum(votes) / len(votes) for item, votes in told.items()}


def _weights(seen: list[Seen], truth: Mapping[int, float]) -> dict[str, float]:
    whole: dict[str, int] = {}
    known: dict[str, int] = {}
    for each in seen:
        whole[each.stratum] = whole.get(each.stratum, 0) + 1
        known[each.stratum] = known.get(each.stratum, 0) + (each.number in truth)
    return {name: count / known[name] if known[name] else 0.0 for name, count in whole.items()}


def _persons(opinions: list[Opinion]) -> list[dict[str, Any]]:
    by_person: dict[str, dict[int, bool]] = {}
    for each in opinions:
        if each.right is not None:
            by_person.setdefault(each.person, {})[each.item] = each.right
    names, found = sorted(by_person), []
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            both = by_person[one].keys() & by_person[other].keys()
            if both:
                value = kappa((by_person[one][item], by_person[other][item], 1.0) for item in both)
                found.append({"persons": [one, other], "items": len(both), "kappa": _rounded(value)})
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def sample_of(database: Path) -> tuple[list[Seen], list[Opinion]]:
    """All items that can be drawn, and the opinions so far. Raises StoreError."""
    with closing(connect(database)) as connection:
        return [each for each, _ in read_seen(connection)], read_opinions(connection)


def in_order(drawn: Sequence[Seen], opinions: Sequence[Opinion], person: str) -> list[Seen]:
    """Without what this person has judged; first what others have, so that two can be compared."""
    own = {each.item for each in opinions if each.person == person}
    others = {each.item for each in opinions if each.person != person}
    left = [each for each in drawn if each.number not in own]
    return [each for each in left if each.number in others] + [
        each for each in left if each.number not in others
    ]

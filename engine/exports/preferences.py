"""Preference pairs out of what a run already knows: of two texts, a check has found one better.

revised      an item as a validator corrected it, and as the model first wrote it
rejected     an accepted item, and one of the same request that a validator rejected
answers      of an evaluation: an answer that is right, and another model's that is wrong
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import orjson

from engine.dataset.chats import Message
from engine.dataset.fields import Fields
from engine.dataset.forms import Example, FieldProblem
from engine.dataset.pairs import folded
from engine.errors import ConfigError
from engine.exports.training import Training, training_of
from engine.items import POSITIONS
from engine.prompts.replies import items_in
from engine.schema.values import dumps, loads

_NOT_CHECKS = frozenset(
    ("generate", "dataset", "embedding", "groupcheck", "repeats", "label_ratio", "review")
)
"""Who rejects for other reasons than that an item is bad."""


class _Stored(NamedTuple):
    """An item as the journal has it."""

    item: int
    state: str
    by: str
    reason: str
    record: str
    meta: Mapping[str, Any]

    @property
    def batch(self) -> int:
        return self.item // POSITIONS


def pairs_of(
    connection: sqlite3.Connection, fields: Fields, description: str, *, answers: bool
) -> Iterator[Training]:
    """The pairs of a run; of an evaluation, whose items are `answers`, by its scores. Chosen and rejected differ."""
    found = _of_answers(connection, fields) if answers else _of_items(connection, fields, description)
    for pair in found:
        if folded(str(pair.chosen[-1]["content"])) != folded(str(pair.rejected[-1]["content"])):
            yield pair


def _stored(connection: sqlite3.Connection) -> Iterator[_Stored]:
    rows = connection.execute(
        "SELECT item, state, coalesce(rejected_by, ''), coalesce(reason, ''), record, meta FROM items"
        " WHERE state != 'surplus' ORDER BY item"
    )
    for item, state, by, reason, record, meta in rows:
        yield _Stored(item, state, by, reason, record, orjson.loads(meta))


# --- items -----------------------------------------------------------------------------------------


def _of_items(connection: sqlite3.Connection, fields: Fields, description: str) -> Iterator[Training]:
    for batch, group in groupby(_stored(connection), lambda each: each.batch):
        items = list(group)
        accepted = [each for each in items if each.state == "accepted"]
        for item in accepted:
            if item.meta.get("revisions"):
                yield from _revised(connection, item, batch, fields, description)
        for item in items if accepted else ():
            if item.state == "rejected" and item.by not in _NOT_CHECKS:
                better = accepted[item.item % len(accepted)]
                why = f"{item.by}: {item.reason}"
                yield from _whole(loads(better.record), loads(item.record), fields, description, why)


def _revised(
    connection: sqlite3.Connection, item: _Stored, batch: int, fields: Fields, description: str
) -> Iterator[Training]:
    """The item before and after its revision: its answer alone, where the question has stayed the same."""
    raw = _as_written(connection, item, batch, fields)
    if raw is None:
        return
    by: Mapping[str, Any] = next((v for v in item.meta["verdicts"] if v.get("verdict") == "revise"), {})
    why = f"{by.get('by', '?')}: {by.get('reason', 'revised')}"
    margin = _margin(by.get("record") or {})
    before, after = fields.write(raw), loads(item.record)
    try:
        one, other = (training_of(row, fields, description) for row in (after, before))
    except Exception:
        return
    if one.prompt == other.prompt:
        yield Training(
            one.prompt, one.tools, one.messages[-1:], other.messages[-1:], margin=margin, reason=why
        )
    else:
        yield from _whole(after, before, fields, description, why, margin)


def _as_written(connection: sqlite3.Connection, item: _Stored, batch: int, fields: Fields) -> Example | None:
    """The item as the model's reply first had it; None where several calls made the batch, or it cannot be read."""
    replies = connection.execute(
        "SELECT text FROM calls WHERE batch = ? AND purpose = 'items' AND error IS NULL", (batch,)
    ).fetchall()
    if len(replies) != 1:
        return None
    written = items_in(replies[0][0], None, fields.marks)
    place = item.item % POSITIONS
    if place >= len(written):
        return None
    try:
        content = fields.content(written[place])
    except FieldProblem:
        return None
    return Example(0, content.text, content.label, content.choices, content.extras, content.parts)


def _margin(record: Mapping[str, Any]) -> float:
    """By how much of the votes the chosen one leads, where a check took votes; else 1."""
    votes = sorted((int(each.get("votes", 0)) for each in record.get("answers") or ()), reverse=True)
    cast = sum(votes)
    return (votes[0] - votes[1]) / cast if len(votes) > 1 and cast else 1.0


def _whole(
    better: Any, worse: Any, fields: Fields, description: str, why: str, margin: float = 1.0
) -> Iterator[Training]:
    """Two whole items, as answers to the request to write one."""
    asked = [{"role": "user", "content": f"{description}\n\nWrite one item of this dataset."}]
    try:
        said = [dumps(fields.wire(fields.read(0, row))) for row in (better, worse)]
    except FieldProblem:
        return
    one, other = ([{"role": "assistant", "content": text}] for text in said)
    yield Training(asked, [], one, other, margin=margin, reason=why)


# --- answers ---------------------------------------------------------------------------------------


def _of_answers(connection: sqlite3.Connection, fields: Fields) -> Iterator[Training]:
    """For each question, the first right answer with each wrong one of another model."""
    by_row: dict[tuple[str, int], list[_Stored]] = {}
    for item in _stored(connection):
        by_row.setdefault((item.meta.get("dataset", ""), item.meta.get("row", 0)), []).append(item)
    for items in by_row.values():
        scores = [(item, _score(item)) for item in items]
        right = next((pair for pair in scores if pair[1][0] is True), None)
        if right is None:
            continue
        item, (_, answer, by) = right
        asked = _question(item, fields)
        if asked is None:
            continue
        share = sum(1 for _, score in scores if score[0] is True) / len(scores)
        for other, (correct, wrong, _) in scores:
            if correct is False and wrong:
                why = f"{item.meta['model']} is right and {other.meta['model']} is wrong, by {by or 'the judge'}"
                one, two = ([{"role": "assistant", "content": text}] for text in (answer, wrong))
                yield Training(asked, [], one, two, margin=share, reason=why)


def _question(item: _Stored, fields: Fields) -> list[Message] | None:
    """What was asked; None for a row that cannot be read."""
    try:
        return training_of(loads(item.record), fields, "").prompt
    except ConfigError:
        return None


def _score(item: _Stored) -> tuple[bool | None, str, str]:
    """(whether the answer is right, the answer, the rule that decided)."""
    records = {verdict["by"]: verdict.get("record", {}) for verdict in item.meta["verdicts"]}
    answer, judged = records.get("answer", {}), records.get("judge", {})
    correct = judged.get("correct", answer.get("correct"))
    return correct, str(answer.get("answer", "")), str(answer.get("by", ""))

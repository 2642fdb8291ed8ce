"""What a person decides in the browser: checked, kept beside the run, and taken into it as soon as it rests."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.dataset.fields import Fields
from engine.dataset.forms import LETTERS, FieldProblem
from engine.errors import ConfigError
from engine.runs.decisions import take_in
from engine.runs.reports import write_report
from engine.schema.values import dumps, loads
from engine.store.folder import RunFolder
from engine.store.pending import JUDGED, Pending, append, read_pending

_RESTS_S = 2.0
"""Seconds without a decision after which the journal takes them in, and the files are written anew."""
_RESTS_TIMES = 9
"""The rest is also so many times as long as the last writing took: of a million items it takes half a minute."""
AS_REPEAT = ("groupcheck", "repeats")
"""What rejects an item because there is another one like it."""


class Decisions:
    """The decisions on one run.

    Mutable state: the task that takes them in once it rests, how long that took; why they still wait.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.problem = ""
        """Why what waits could not be taken in; nothing of it is lost."""
        self._folder = folder
        self._settling: asyncio.Task[None] | None = None
        self._took_s = 0.0

    async def keep(self, decision: Pending) -> None:
        """It is on disk when this returns. Raises ConfigError where the folder cannot be written."""
        await asyncio.to_thread(append, self._folder, decision)
        self.settle()

    def settle(self, after: float | None = None) -> None:
        """Takes in what waits after so many seconds of rest, unless a process is running in the folder."""
        if self._settling is not None:
            self._settling.cancel()
        rest = max(_RESTS_S, _RESTS_TIMES * self._took_s) if after is None else after
        self._settling = asyncio.create_task(self._settled(rest), name="decisions")

    async def _settled(self, after: float) -> None:
        await asyncio.sleep(after)
        await asyncio.shield(asyncio.to_thread(self._settle))

    def _settle(self) -> None:
        began = time.monotonic()
        try:
            settle(self._folder)
            self.problem = ""
            self._took_s = time.monotonic() - began
        except Exception as error:  # whatever it is, they wait on, and the page says why
            self.problem = f"{type(error).__name__}: {error}"

    async def close(self) -> None:
        """Takes in what waits at once."""
        if self._settling is not None:
            self._settling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._settling
        await asyncio.to_thread(self._settle)


def settle(folder: RunFolder) -> None:
    """Takes in what waits, where no process is running in the folder; else that one does so when it ends.

    Raises StoreError, ConfigError.
    """
    if not folder.pending.exists() or folder.in_use():
        return
    with folder.locked():
        take_in(folder)
    write_report(folder)


@dataclass(frozen=True)
class Waiting:
    """The decisions that wait, by what they are about."""

    decisions: Sequence[Pending] = ()

    def decided(self) -> set[int]:
        """The items of which something is decided, and not taken back."""
        found: set[int] = set()
        for each in self._standing():
            found.update(each.items)
        return found

    def judged(self, who: str) -> set[int]:
        """The items that this person has judged."""
        return {
            i for each in self.decisions if each.decision in JUDGED and each.person == who for i in each.items
        }

    def about(self, item: int) -> list[Pending]:
        return [each for each in self.decisions if item in each.items]

    def last(self, who: str) -> Pending | None:
        """This person's last decision that stands."""
        own = [each for each in self._standing() if each.person == who]
        return own[-1] if own else None

    def _standing(self) -> list[Pending]:
        standing: list[Pending] = []
        for each in self.decisions:
            if each.decision == "undo":
                taken = next((one for one in reversed(standing) if one.person == each.person), None)
                if taken is not None:
                    standing.remove(taken)
            elif each.decision not in JUDGED:
                standing.append(each)
        return standing


def waiting(folder: RunFolder) -> Waiting:
    return Waiting(read_pending(folder))


def undo(connection: sqlite3.Connection, there: Waiting, who: str) -> Pending | None:
    """What takes back this person's last decision; None where there is none."""
    if (last := there.last(who)) is not None:
        return Pending("undo", last.items, who)
    taken = {
        item
        for each in there.decisions
        if each.decision == "undo" and each.person == who
        for item in each.items
    }
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(reviews)")}
    if "undone" not in columns:
        return None
    rows = connection.execute(
        "SELECT item, key FROM reviews WHERE person = ? AND NOT undone AND decision NOT IN ('undo', 'refused')"
        " ORDER BY review DESC LIMIT 1000",
        (who,),
    )
    for item, key in rows:
        if item not in taken:
            alike = connection.execute(
                "SELECT item FROM reviews WHERE key = ? AND key != ''", (key,)
            ).fetchall()
            return Pending("undo", [one for (one,) in alike] or [item], who)
    return None


def objection(connection: sqlite3.Connection, decision: Pending, fields: Fields) -> str:
    """Why a decision on one item cannot stand, as far as that is known at once; '' where it can."""
    if decision.decision not in ("accept", "edit") or len(decision.items) != 1:
        return ""
    row = connection.execute(
        "SELECT state, coalesce(rejected_by, ''), record FROM items WHERE item = ?", (decision.items[0],)
    ).fetchone()
    if row is None:
        return "The run has no such item."
    state, by, record = row
    if decision.decision == "accept" and state != "accepted" and by in AS_REPEAT:
        return (
            f"It was rejected by {by}, as another item says the same: that is not for a person to overrule."
        )
    if decision.decision == "accept" and record == "{}":
        return "There is no item: the reply could not be read."
    if decision.record is not None:
        try:
            fields.read(0, {**loads(record), **decision.record})
        except FieldProblem as problem:
            return f"The item would not be one of this dataset: {problem}."
    return ""


def labels_of(fields: Fields, record: Mapping[str, Any]) -> list[str]:
    """The labels that a digit can set: those of a closed set, or the letters of the choices."""
    if fields.config.label is None:
        return []
    choices = fields.remembered(dict(record)).choices
    return list(LETTERS[: len(choices)])[:9] if choices else list(fields.closed_labels)[:9]


def relabelled(fields: Fields, record: Mapping[str, Any], label: str) -> dict[str, Any]:
    """The fields that change with the label. Raises ConfigError where the item cannot be read."""
    try:
        before = fields.read(0, dict(record))
        now, was = fields.write(replace(before, label=label)), fields.write(before)
    except FieldProblem as problem:
        raise ConfigError(f"the item cannot be read: {problem}") from None
    return {name: value for name, value in now.items() if value != was.get(name)}


def edited(record: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The fields that a form has changed; what was no text is read as JSON. Raises ConfigError."""
    changed: dict[str, Any] = {}
    for name, said in given.items():
        if name not in record:
            continue
        was, text = record[name], said.replace("\r\n", "\n")
        if isinstance(was, str):
            now: Any = text if text != was.replace("\r\n", "\n") else was
        else:
            try:
                now = loads(text)
            except ValueError:
                raise ConfigError(f"{name}: must be JSON, as it was before") from None
        if now != was:
            changed[name] = now
    return changed


def as_form(value: Any) -> str:
    """A field's value as it stands in a form."""
    return value if isinstance(value, str) else dumps(value)

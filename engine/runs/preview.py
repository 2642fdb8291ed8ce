"""A few items through the whole pipeline, to be looked at before a run: nothing is kept, and nothing of it counts."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from engine.config import RunConfig
from engine.config.spread import SpreadConfig
from engine.items import usd
from engine.report.notebook import prompt_html, result_html
from engine.report.showing import Shown
from engine.runs.modes import mode_for
from engine.runs.session import opened
from engine.store.folder import RunFolder
from engine.store.prompts import read_prompt
from engine.store.reading import connect, read_items

ITEMS = 5
_AT_ONCE = 8
_TRIES = 3.0
"""Items asked for, for each that is wanted: a preview of a config that rejects nearly all should end soon."""


@dataclass(frozen=True)
class Call:
    """One call of a preview."""

    key: str
    purpose: str
    model: str
    system: str
    user: str
    answer: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    seconds: float


@dataclass(frozen=True)
class Tried:
    """One item of a preview, whatever became of it."""

    id: str
    state: str
    record: Mapping[str, Any]
    meta: Mapping[str, Any]
    calls: Sequence[Call]
    """Those for it alone; the one that brought it is that of its batch."""

    @property
    def verdicts(self) -> Sequence[Mapping[str, Any]]:
        return self.meta.get("verdicts") or ()


@dataclass(frozen=True)
class Preview:
    """What some items, the calls behind them and the money came to."""

    outcome: str
    message: str
    items: Sequence[Tried]
    batches: Sequence[Call]
    """The calls that brought the items."""
    spent_usd: float
    priced: bool

    def _repr_html_(self) -> str:
        figures = {
            "items": ", ".join(f"{each.id} {each.state}" for each in self.items) or "none",
            "spent": f"${self.spent_usd:.6f}" if self.priced else "not known",
            **(
                {"ended": f"{self.outcome}: {self.message}"}
                if self.message and self.outcome != "target"
                else {}
            ),
        }
        rejected: dict[str, int] = {}
        for each in self.items:
            if each.state == "rejected":
                why = f"{each.meta.get('rejected_by')}: {each.meta.get('reason')}"
                rejected[why] = rejected.get(why, 0) + 1
        records = [each.record for each in self.items if each.state == "accepted"]
        calls = "".join(
            prompt_html(
                f"{each.purpose}: {each.prompt_tokens:,} + {each.completion_tokens:,} tokens, ${each.usd:.6f}",
                ("system", each.system), ("user", each.user), ("answer", each.answer),
            )
            for each in (*self.batches, *(call for item in self.items for call in item.calls))
        )  # fmt: skip
        return result_html(figures, records, rejected, "nothing: a preview is not kept") + calls


async def preview(config: RunConfig, n: int = ITEMS, *, show: TextIO | Shown | None = None) -> Preview:
    """About `n` items as the config makes and checks them; the same as `datagen preview`.

    It makes real calls, within the config's cap. Raises ConfigError if nothing can begin.
    """
    small = _small(config, n)
    with tempfile.TemporaryDirectory(prefix="datagen-preview-", ignore_cleanup_errors=True) as place:
        folder = RunFolder(Path(place) / "run")
        mode = mode_for(small, n)
        inputs = mode.load(small)
        with folder.locked():
            async with opened(mode, inputs, folder, show=show) as session:
                report = await session.run()
        return _read(folder, report.outcome, report.data["message"], priced=report.data["cost"]["priced"])


def _small(config: RunConfig, n: int) -> RunConfig:
    generate = config.generate.model_copy(update={"target": n})
    limits = config.limits.model_copy(
        update={
            "mode": "online", "finish_by": None, "attempts": min(config.limits.attempts, _TRIES),
            "concurrency": min(config.limits.concurrency or _AT_ONCE, _AT_ONCE), "least_acceptance": 0.0,
        }
    )  # fmt: skip
    quiet = {
        "log": "off",
        "page": False,
        "prompts": True,
        "prometheus_port": None,
        "notify": None,
        "track": None,
    }
    observe = config.observe.model_copy(update=quiet)
    return config.changed(generate=generate, limits=limits, observe=observe, spread=SpreadConfig())


def _read(folder: RunFolder, outcome: str, message: str, *, priced: bool) -> Preview:
    with contextlib.closing(connect(folder.database)) as connection:
        rows = connection.execute(
            "SELECT key, purpose, model, CASE WHEN error IS NULL THEN text ELSE error || ': ' || text END,"
            " prompt_tokens, completion_tokens, cost, seconds, batch FROM calls ORDER BY rowid"
        ).fetchall()
        calls: dict[str, list[Call]] = {}
        for key, purpose, model, text, asked, answered, cost, seconds, batch in rows:
            prompt = read_prompt(connection, key)
            owner = key.partition("/")[0].partition(".")[0]
            calls.setdefault(owner if "-" in owner else f"batch {batch}", []).append(
                Call(key, purpose, model, prompt.system if prompt else "", prompt.user if prompt else "", text,
                     asked, answered, usd(cost), seconds)
            )  # fmt: skip
        items = [
            Tried(
                str(row["_meta"]["id"]), state, {k: v for k, v in row.items() if k != "_meta"}, row["_meta"],
                calls.get(str(row["_meta"]["id"]), []),
            )
            for state in ("accepted", "rejected", "surplus")
            for row in read_items(connection, state)
        ]  # fmt: skip
        items.sort(key=lambda each: [int(part) for part in each.id.split("-")])
        brought = [call for owner, made in calls.items() if owner.startswith("batch") for call in made]
        spent = sum(usd(row[6]) for row in rows)
        return Preview(outcome, message, items, brought, spent, priced)

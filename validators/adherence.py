"""Checks that an item has the attributes that were asked of it: by its own fields where they say, else by a model.

The paper controls diversity by attributes and does not look whether they came (arXiv 2406.18966, section 3.2): what was
asked for and what is there are two figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from engine.errors import Unparseable
from engine.items import Item, Verdict
from engine.protocols import Expected, Reply, Tools
from validators.options import parsed
from validators.templates import template

NAME = "adherence"


class AdherenceOptions(BaseModel):
    """This validator's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_tokens: int = Field(default=512, ge=64)


class Kept(Reply):
    """What one item keeps and breaks, by name."""

    index: int
    kept: list[str]
    broken: list[str]


class Adherence(Reply):
    """The wire's `adherence`."""

    items: list[Kept]


class AdherenceCheck:
    """PASS if an item has every attribute that its batch was asked for, else REJECT (`attribute:NAME`).

    An attribute that is also a field of the item is compared by program, and so is the label; a model is asked about
    the others, once for each item: its answer is kept under the item's own key, so that a resumed run need not ask
    again. The record lists the attributes that are kept and broken, which the report counts of any validator, and
    which of them a model was asked about.
    """

    name = NAME

    def __init__(self, tools: Tools, **options: Any) -> None:
        """Raises ValueError for invalid options."""
        self._options = parsed(AdherenceOptions, options)
        self._tools = tools
        self._asker = tools.asker(NAME)
        self._question = self._asker.question(
            "adherence",
            template("adherence"),
            Adherence,
            max_tokens=self._options.max_tokens,
            bounds={"items": {"minItems": 1, "maxItems": 1}},
        )

    def describe(self) -> dict[str, Any]:
        return {
            "caveat": "Attributes were checked by a language model, which can err, where no field states them."
        }

    def foresees(self) -> tuple[list[Expected], tuple[float, float, float]]:
        return [Expected(self._question, (0, 1, 2), 40)], (0.4, 0.85, 1.0)

    async def validate(self, item: Item) -> Verdict:
        """Raises what asking raises; Unparseable for a reply that leaves an attribute out."""
        asked = dict(item.batch.attributes)
        if not asked:
            return Verdict.passed(NAME)
        known = {name: _states(item, name, value) for name, value in asked.items()}
        open_ = {name: value for name, value in asked.items() if known[name] is None}
        if False not in known.values() and open_:
            known |= await self._told(item, open_)
        broken = [name for name, kept in known.items() if kept is False]
        record = {
            "attributes": {"kept": [name for name, kept in known.items() if kept], "broken": broken},
            "by_model": [name for name in open_ if known[name] is not None],
        }
        if not broken:
            return Verdict.passed(NAME, record)
        said = "; ".join(f"asked for {name}: {asked[name]}" for name in broken)
        return Verdict.rejected(NAME, f"attribute:{broken[0]}", said, record)

    async def _told(self, item: Item, asked: Mapping[str, str]) -> dict[str, bool]:
        reply = await self._asker.ask(
            self._question,
            item,
            self._tools.shown(item),
            asked=dict(asked),
            description=self._tools.description,
        )
        told: dict[str, bool] = {}
        for each in reply.items[:1]:
            told |= {name: True for name in each.kept if name in asked}
            told |= {name: False for name in each.broken if name in asked}
        if missing := asked.keys() - told.keys():
            raise Unparseable(f"the reply to 'adherence' says nothing of {', '.join(sorted(missing))}")
        return told


def _states(item: Item, name: str, value: str) -> bool | None:
    """Whether the item's own field says so; None where it has no such field."""
    held: Any = item.answer if name == "label" and isinstance(item.label, str) else None
    if held is None:
        held = item.extras.get(name, item.parts.get(name))
    if held is None or isinstance(held, dict):
        return None
    values = held if isinstance(held, list | tuple) else [held]
    return _plain(value) in {_plain(each) for each in values}


def _plain(value: Any) -> str:
    return " ".join(str(value).casefold().split())

"""Self-reflection: review, revise, review again; a revision is kept only if a review calls it good.

arXiv 2406.18966 keeps its last revision without a review. Here a review always comes last: the item is kept
unchanged (PASS), replaced by a revision that passed its review (REVISE), or rejected (REJECT `not_good`).
"""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from engine.errors import PermanentError
from engine.items import Item, Verdict
from engine.protocols import Expected, Reply, Tools
from validators.options import parsed
from validators.templates import template

NAME = "reflection"
_BOUNDS = {"analysis": {"maxLength": 2000}}
_SHOWN = 400
"""How many characters of a review are recorded."""


class ReflectionOptions(BaseModel):
    """This validator's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_rounds: int = Field(default=2, ge=0, le=10)
    """Maximum number of revisions of one item; each is reviewed. 0 means review only."""
    max_tokens: int = Field(default=1024, ge=64)


class Review(Reply):
    """The wire's `review`."""

    analysis: str
    good: bool


class Revision(Reply):
    """The wire's `revision`."""

    item: dict[str, Any]


class Reflection:
    """Asks two questions, `review` and `revision`; `model.purposes` can set a separate model for each.

    `_meta` records the trajectory (each review's result, in order). An unreviewable item is rejected.
    """

    name = NAME

    def __init__(self, tools: Tools, **options: Any) -> None:
        """Raises ValueError for invalid options."""
        self._options = parsed(ReflectionOptions, options)
        self._tools = tools
        self._asker = asker = tools.asker(NAME)
        size = self._options.max_tokens
        self._review = asker.question("review", template("review"), Review, max_tokens=size, bounds=_BOUNDS)
        self._revision = asker.question(
            "revision", template("revision"), Revision, temperature=0.3, max_tokens=size
        )
        self._context: dict[str, Any] = {
            "description": tools.description,
            "rules": [constraint.sentence() for constraint in tools.constraints],
        }

    def foresees(self) -> tuple[list[Expected], tuple[float, float, float]]:
        rounds = self._options.max_rounds
        revised = min(rounds, 0.4)
        return [
            Expected(self._review, (1, 1 + revised, 1 + rounds), 80),
            Expected(self._revision, (0, revised, rounds), 120),
        ], (0.4, 0.8, 1.0)

    def describe(self) -> dict[str, Any]:
        """A sentence for the card of an exported dataset."""
        return {
            "edits": ["improved"],
            "caveat": "Items were reviewed by a language model, which can err like the one that wrote them.",
        }

    async def validate(self, item: Item) -> Verdict:
        """Raises what the first review raises; a later failure only ends the rounds."""
        trajectory: list[dict[str, Any]] = []
        candidate = item
        review = await self._reviewed(item, candidate, 0, trajectory)
        for round_ in range(1, self._options.max_rounds + 1):
            if review.good:
                break
            try:
                before, candidate = candidate, await self._revised(item, candidate, review, round_)
                if self._tools.shown(candidate) == self._tools.shown(before):
                    trajectory.append({"round": round_, "failed": "unchanged"})
                    break
                review = await self._reviewed(item, candidate, round_, trajectory)
            except PermanentError as error:
                trajectory.append({"round": round_, "failed": error.reason})
                break
        return self._verdict(item, candidate, review, trajectory)

    def _verdict(
        self, item: Item, candidate: Item, review: Review, trajectory: list[dict[str, Any]]
    ) -> Verdict:
        record = {"reviews": trajectory}
        if not review.good:
            return Verdict.rejected(NAME, "not_good", review.analysis[:_SHOWN], record)
        if candidate is item or self._tools.shown(candidate) == self._tools.shown(item):
            return Verdict.passed(NAME, record)
        return Verdict.revised(NAME, "improved", candidate, trajectory[0]["analysis"], record)

    async def _reviewed(
        self, item: Item, candidate: Item, round_: int, trajectory: list[dict[str, Any]]
    ) -> Review:
        shown = self._tools.shown(candidate)
        review = await self._asker.ask(self._review, item, shown, tag=f"{round_}", **self._context)
        trajectory.append({"round": round_, "good": review.good, "analysis": review.analysis[:_SHOWN]})
        return review

    async def _revised(self, item: Item, candidate: Item, review: Review, round_: int) -> Item:
        said = orjson.dumps(review.analysis, default=str).decode()  # a quoted string: it quotes the item
        shown = self._tools.shown(candidate)
        reply = await self._asker.ask(
            self._revision, item, shown, tag=f"{round_}", analysis=said, **self._context
        )
        return self._tools.revised(candidate, reply.item)

"""Self-reflection: review, revise, review again; a revision is kept only if a review calls it good.

arXiv 2406.18966 keeps its last revision without a review. Here a review always comes last: the item is kept
unchanged (PASS), replaced by a revision that passed its review (REVISE), or rejected (REJECT `not_good`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from engine.errors import PermanentError
from engine.items import Item, Verdict
from engine.protocols import Expected, Reply, Tools
from validators.options import parsed
from validators.templates import template

NAME = "reflection"
_SHOWN = 400
"""How many characters of a review are recorded."""


class Criterion(BaseModel):
    """What a review gives points for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z]\w*$")
    description: str = Field(min_length=1)
    scale: int = Field(default=5, ge=2, le=100)
    """The most points; 1 is the least."""
    least: int = Field(default=4, ge=1)
    """An item with fewer is not good."""

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.least > self.scale:
            raise ValueError(f"{self.name}: least is {self.least}, and there are {self.scale} points at most")
        return self


def _as_criterion(value: Any) -> Any:
    """Also `{correct: The label is right.}`."""
    if isinstance(value, dict) and len(value) == 1:
        [(name, said)] = value.items()
        return {"name": name, "description": said} if isinstance(said, str) and name != "name" else value
    return value


class ReviewExample(BaseModel):
    """A review as it should be, which prompts show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    item: dict[str, Any]
    analysis: str
    good: bool


class ReflectionOptions(BaseModel):
    """This validator's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_rounds: int = Field(default=2, ge=0, le=10)
    """Maximum number of revisions of one item; each is reviewed. 0 means review only."""
    max_tokens: int = Field(default=1024, ge=64)
    criteria: tuple[Annotated[Criterion, BeforeValidator(_as_criterion)], ...] = ()
    """What a review gives points for; an item is good if it has enough of each, and the review calls it good."""
    examples: tuple[ReviewExample, ...] = ()
    compare: bool = False
    """Whether a model is asked, in both orders, which is better, the item or its revision; the better one is kept."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [each.name for each in self.criteria]
        if len(set(names)) < len(names):
            raise ValueError("criteria: names one of them twice")
        return self


class Review(Reply):
    """The wire's `review`. With criteria, `scores` holds the points of each, by name."""

    analysis: str
    good: bool


def review_with(criteria: Sequence[Criterion]) -> type[Review]:
    """The form of a review with these criteria."""
    if not criteria:
        return Review
    points: dict[str, Any] = {each.name: (int, ...) for each in criteria}
    scores = create_model("Scores", __base__=Reply, **points)
    given: dict[str, Any] = {"analysis": (str, ...), "scores": (scores, ...), "good": (bool, ...)}
    return create_model("Review", __base__=Review, **given)


class Preference(Reply):
    """The wire's `preference`."""

    reasoning: str
    better: Literal["first", "second"]


class Revision(Reply):
    """The wire's `revision`."""

    item: dict[str, Any]


class Reflection:
    """Asks `review` and `revision`, and `preference` with `compare`; `model.purposes` can set a model for each.

    `_meta` records the trajectory (each review's result, in order). An unreviewable item is rejected.
    """

    name = NAME

    def __init__(self, tools: Tools, **options: Any) -> None:
        """Raises ValueError for invalid options."""
        self._options = parsed(ReflectionOptions, options)
        self._tools = tools
        self._asker = asker = tools.asker(NAME)
        size = self._options.max_tokens
        criteria = self._options.criteria
        bounds: dict[str, Mapping[str, Any]] = {"analysis": {"maxLength": 2000}}
        bounds |= {f"scores.{each.name}": {"minimum": 1, "maximum": each.scale} for each in criteria}
        self._review = asker.question(
            "review", template("review"), review_with(criteria), max_tokens=size, bounds=bounds
        )
        self._preference = asker.question(
            "preference",
            template("preference"),
            Preference,
            max_tokens=size,
            bounds={"reasoning": {"maxLength": 2000}},
        )
        self._revision = asker.question(
            "revision", template("revision"), Revision, temperature=0.3, max_tokens=size
        )
        self._context: dict[str, Any] = {
            "description": tools.description,
            "rules": [constraint.sentence() for constraint in tools.constraints],
        }
        self._shown: dict[str, Any] = {
            "criteria": [each.model_dump() for each in criteria],
            "examples": [orjson.dumps(each.model_dump()).decode() for each in self._options.examples],
        }

    def foresees(self) -> tuple[list[Expected], tuple[float, float, float]]:
        rounds = self._options.max_rounds
        revised = min(rounds, 0.4)
        return [
            Expected(self._review, (1, 1 + revised, 1 + rounds), 80),
            Expected(self._revision, (0, revised, rounds), 120),
            *([Expected(self._preference, (0, 2 * revised * 0.8, 2), 60)] if self._options.compare else []),
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
            if self._good(review):
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
        return await self._verdict(item, candidate, review, trajectory)

    async def _verdict(
        self, item: Item, candidate: Item, review: Review, trajectory: list[dict[str, Any]]
    ) -> Verdict:
        record: dict[str, Any] = {"reviews": trajectory}
        if not self._good(review):
            return Verdict.rejected(NAME, "not_good", review.analysis[:_SHOWN], record)
        if candidate is item or self._tools.shown(candidate) == self._tools.shown(item):
            return Verdict.passed(NAME, record)
        if self._options.compare:
            record["better"] = better = await self._better(item, candidate)
            if better == 0:
                return Verdict.passed(NAME, record)  # the item before is the better one
        return Verdict.revised(NAME, "improved", candidate, trajectory[0]["analysis"], record)

    async def _reviewed(
        self, item: Item, candidate: Item, round_: int, trajectory: list[dict[str, Any]]
    ) -> Review:
        shown = self._tools.shown(candidate)
        review = await self._asker.ask(
            self._review, item, shown, tag=f"{round_}", **self._context, **self._shown
        )
        entry = {"round": round_, "good": self._good(review), "analysis": review.analysis[:_SHOWN]}
        trajectory.append({**entry, "scores": _points(review)} if self._options.criteria else entry)
        return review

    def _good(self, review: Review) -> bool:
        points = _points(review)
        return review.good and all(points[each.name] >= each.least for each in self._options.criteria)

    async def _better(self, item: Item, candidate: Item) -> float | None:
        """How often the revision is found better than the item, of both orders: 1, 0.5 or 0; None where nobody says.

        Models favour what stands first (Zheng et al., 2023, arXiv 2306.05685): one order alone says little.
        """
        before, after = self._tools.shown(item), self._tools.shown(candidate)
        wins = []
        for order, (first, second) in {"first": (after, before), "second": (before, after)}.items():
            try:
                reply = await self._asker.ask(
                    self._preference, item, {"first": first, "second": second}, tag=order, **self._context
                )
            except PermanentError:
                return None
            wins.append(reply.better == order)
        return sum(wins) / 2

    async def _revised(self, item: Item, candidate: Item, review: Review, round_: int) -> Item:
        said = orjson.dumps(review.analysis, default=str).decode()  # a quoted string: it quotes the item
        shown = self._tools.shown(candidate)
        reply = await self._asker.ask(
            self._revision, item, shown, tag=f"{round_}", analysis=said, **self._context
        )
        return self._tools.revised(candidate, reply.item)


def _points(review: Review) -> dict[str, int]:
    scores = getattr(review, "scores", None)
    return dict(scores) if scores is not None else {}

"""Checks a label with independent answers: models answer the item alone, and so many must give the label.

They are asked one after another, and no more once the outcome is settled. This is self-consistency (Wang et al.,
2023, arXiv 2203.11171) used to check a label; where several models are named, each answer is of the next one. Their
errors are not independent: `datagen calibrate` measures what agreement is worth.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.answers.same import bare
from engine.errors import PermanentError
from engine.items import Item, Verdict, said
from engine.protocols import Expected, Question, Reply, Tools
from validators.ballot import LABEL, Ballot, Counting, as_label
from validators.options import parsed
from validators.templates import template

NAME = "agree"
DISAGREED, SCATTERED = "disagreed", "scattered"
_ABSTAINED = frozenset(
    (
        "",
        "unknown",
        "not known",
        "i do not know",
        "i don't know",
        "cannot be told",
        "cannot be determined",
        "not enough information",
        "n/a",
    )
)
"""Answers that are none."""


class AgreeOptions(BaseModel):
    """This validator's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    answers: int = Field(default=3, ge=1, le=20)
    """Answers asked for at most, for one item."""
    agree: int = Field(default=2, ge=1, le=20)
    """Answers that must be the same, for the label or against it."""
    relabel: Literal["never", "majority"] = "never"
    """`majority`: an answer that `agree` answers give replaces the label."""
    scattered: Literal["reject", "keep"] = "reject"
    """What to do with an item of which no answer was given so often."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    max_tokens: int = Field(default=1024, ge=64)


class Outcome(StrEnum):
    """What the answers so far say of the label."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    SCATTERED = "scattered"


def outcome_of(votes: list[int], left: int, options: AgreeOptions) -> Outcome:
    """The outcome once it is settled, whatever the `left` answers would be; `votes[0]` are the label's."""
    if votes[LABEL] >= options.agree:
        return Outcome.CONFIRMED
    others = max(votes[1:], default=0)
    if others >= options.agree and (options.relabel == "majority" or votes[LABEL] + left < options.agree):
        return Outcome.CONTRADICTED
    if max(votes) + left < options.agree:
        return Outcome.SCATTERED
    lost = votes[LABEL] + left < options.agree and options.relabel == "never"
    if lost and (options.scattered == "reject" or left == 0):
        # Whatever comes, the label is not confirmed, and both of the other outcomes reject it.
        return Outcome.SCATTERED
    return Outcome.OPEN


class Answer(Reply):
    """The wire's `agree`."""

    reasoning: str
    answer: str


class Agree:
    """PASS if enough answers give the label, REVISE if they give another that replaces it, else REJECT.

    The reason of a rejection is `disagreed` where they agree on another answer, and `scattered` where on none. The
    record has the answers with their votes, how many were asked, and how many more might have been (`saved`).
    """

    name = NAME
    confirms = True

    def __init__(self, tools: Tools, **options: Any) -> None:
        """Raises ValueError for invalid options, and for items without a label."""
        self._options = chosen = parsed(AgreeOptions, options)
        if chosen.agree > chosen.answers:
            raise ValueError(f"agree: {chosen.agree} of {chosen.answers} answers cannot agree; raise answers")
        if not tools.label:
            raise ValueError(
                "items have no label that answers could confirm; leave it out, or name it: dataset.fields.label"
            )
        self._tools = tools
        self._asker = asker = tools.asker(NAME)
        self._models = tuple(tools.models("agree")) or ("",)
        self._free = self._question({"maxLength": 500})
        self._one_of = self._question({"enum": list(tools.labels)}) if tools.labels else self._free
        self._counting = Counting.of(asker, tools)

    def _question(self, answer: Mapping[str, Any]) -> Question[Answer]:
        """The question, with these bounds of the answer."""
        return self._asker.question(
            "agree",
            template("agree"),
            Answer,
            temperature=self._options.temperature,
            max_tokens=self._options.max_tokens,
            bounds={"reasoning": {"maxLength": 2000}, "answer": answer},
        )

    def foresees(self) -> tuple[list[Expected], tuple[float, float, float]]:
        options = self._options
        likely = (options.agree + options.answers) / 2
        asked = Expected(self._free, (min(2, options.agree), likely, options.answers), 120)
        compared = Expected(
            self._counting.question, (0, 0 if self._tools.labels else 0.3, 2 * options.answers), 8
        )
        return [asked, compared], (0.2, 0.6, 0.95)

    def policies(self) -> Iterator[tuple[Mapping[str, Any], Agree]]:
        """Fewer answers, and a stricter agreement."""
        for options in (
            {"answers": 1, "agree": 1},
            {"agree": 2},
            {"answers": 3, "agree": 3},
            {"relabel": "majority"},
        ):
            chosen = self._options.model_copy(update=options)
            if chosen != self._options and chosen.agree <= chosen.answers:
                yield options, self._with(chosen)

    def _with(self, options: AgreeOptions) -> Agree:
        other = copy.copy(self)
        other._options = options
        return other

    def describe(self) -> dict[str, Any]:
        several = len(self._models) > 1
        by = f"answers of {', '.join(self._models)}" if several else "answers of one model"
        return {"caveat": f"Labels were confirmed by agreeing {by}; models can be wrong in the same way."}

    async def validate(self, item: Item) -> Verdict:
        """Raises what asking raises, but for an answer that cannot be had: that one is no vote."""
        if not isinstance(item.label, str | tuple) or not item.answer:
            return Verdict.rejected(NAME, "no_label", "there is no label to answer for")
        ballot, given = Ballot.about(item), list[dict[str, Any]]()
        outcome = Outcome.OPEN
        while outcome is Outcome.OPEN:
            given.append(await self._another(item, ballot, len(given) + 1))
            outcome = outcome_of(ballot.votes, self._options.answers - len(given), self._options)
        return self._verdict(item, ballot, given, outcome)

    async def _another(self, item: Item, ballot: Ballot, number: int) -> dict[str, Any]:
        """Asks for one more answer and counts it. Returns its record."""
        model = self._models[(number - 1) % len(self._models)]
        record = {"model": model} if model else {}
        several = isinstance(item.label, tuple)
        try:
            reply = await self._asker.ask(
                self._free if several or item.choices else self._one_of,
                item,
                self._tools.question(item),
                tag=f"{number}",
                model=model,
                description=self._tools.description,
                choices=bool(item.choices),
                labels=() if item.choices else self._tools.labels,
                several=several,
            )
        except PermanentError as error:
            return {**record, "failed": error.reason}
        answer = reply.answer.strip()
        if bare(answer).casefold() in _ABSTAINED and bare(item.answer).casefold() not in _ABSTAINED:
            return {**record, "abstained": True}
        place = await self._counting.add(ballot, answer, f"{number}")
        return {**record, "answer": answer[:200], "agrees": place == LABEL}

    def _verdict(self, item: Item, ballot: Ballot, given: list[dict[str, Any]], outcome: Outcome) -> Verdict:
        asked, options = len(given), self._options
        best = max(range(len(ballot.votes)), key=lambda place: (ballot.votes[place], place == LABEL))
        record = {
            "given": given,
            "answers": ballot.counted(),
            "asked": asked,
            "saved": options.answers - asked,
            "agreement": round(ballot.votes[best] / asked, 4),
        }
        support = f"the label {item.answer!r} has {ballot.votes[LABEL]} of {asked} answers"
        why = f"{support}; others: {ballot.others() or 'none'}"
        if outcome is Outcome.CONFIRMED:
            return Verdict.passed(NAME, record)
        if outcome is Outcome.CONTRADICTED:
            label = as_label(said(ballot.answers[best]), item, self._tools.labels)
            if options.relabel == "majority" and label is not None:
                return Verdict.revised(NAME, "relabelled", item.evolve(label=label), why, record)
            return Verdict.rejected(NAME, DISAGREED, why, record)
        if options.scattered == "keep":
            return Verdict.passed(NAME, {**record, "scattered": True})
        return Verdict.rejected(NAME, SCATTERED, why, record)

"""Makes an item harder by named principles, and keeps the harder version only if its answer is unchanged.

The four principles are those of arXiv 2406.18966, section 3.3. A model first chooses those that fit, then
rewrites the item by them. The paper checks by eye whether the answer is unchanged. Here it is tested: the
question keeps its numbers and does not reveal its answer, the choices stay one to one and the right one stays
right, and the earlier validators (code, facts) check the harder item. If a test fails, the original is kept.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from engine.answers.same import same
from engine.errors import PermanentError
from engine.items import Decision, Item, Verdict
from engine.protocols import Expected, Reply, Tally, Tools
from validators.options import parsed
from validators.same_answer import Same
from validators.tags import mark
from validators.templates import template

NAME = "difficulty"

PRINCIPLES: Mapping[str, str] = {
    "paraphrase_question": "Say the question in other words, more involved ones, without changing what is asked.",
    "add_context": "Add context to the question that is related to it and not needed to answer it.",
    "paraphrase_choices": "Say the choices in other words, each in its place and with the meaning it has.",
    "add_choice": "Add one more choice at the end that is wrong and seems right.",
}
REWORDS, ADDS = "paraphrase_choices", "add_choice"
ABOUT_CHOICES = frozenset({REWORDS, ADDS})
_KEPT = ("text", "choices")
"""The fields of the original item that are recorded."""
_SHOWN = 400
"""How many characters of an analysis are recorded."""


class DifficultyOptions(BaseModel):
    """This validator's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    principles: Mapping[str, str] = Field(default_factory=lambda: dict(PRINCIPLES), min_length=1)
    """Names of the four, or your own with a sentence each: a list of names, or a mapping name to sentence."""
    at_most: int = Field(default=2, ge=1, le=10)
    """Maximum number of principles applied to one item."""
    keep_numbers: bool = True
    """Whether every number of the question must also be in the harder one."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    max_tokens: int = Field(default=1024, ge=64)

    @field_validator("principles", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        """Turns a list of names, or of `{name: sentence}`, into one mapping."""
        entries: list[Any] = given if isinstance(given, list) else [given]
        principles: dict[str, Any] = {}
        for entry in entries:
            if isinstance(entry, Mapping):
                principles.update(entry)
            elif entry in PRINCIPLES:
                principles[entry] = PRINCIPLES[entry]
            else:
                raise ValueError(
                    f"{entry!r} needs a sentence that says what to do; known: {', '.join(PRINCIPLES)}"
                )
        return principles

    @field_validator("principles")
    @classmethod
    def _named(cls, principles: Mapping[str, str]) -> Mapping[str, str]:
        for name, sentence in principles.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"{name!r} is not a valid name; use lower-case letters, digits and _")
            if not sentence.strip():
                raise ValueError(f"{name} has no sentence that says what to do")
        return principles


class Plan(Reply):
    """The wire's `enhancement_plan`."""

    analysis: str
    principles: list[str]


class Enhancement(Reply):
    """The wire's `enhancement`."""

    item: dict[str, Any]


class AnswerLost(Exception):
    """The answer has changed, or cannot be shown to be unchanged. `reason` is a stable slug."""

    def __init__(self, reason: str, said: str = "") -> None:
        super().__init__(said)
        self.reason = reason


class Difficulty:
    """REVISE `harder`, tentatively: the engine reverts it if an earlier validator does not pass it.

    PASS if the original is kept, with the reason: `no_principle`, `unchanged`, or the check that failed.
    """

    name = NAME

    def __init__(self, tools: Tools, **options: Any) -> None:
        """Raises ValueError for invalid options."""
        self._options = parsed(DifficultyOptions, options)
        self._tools = tools
        self._asker = asker = tools.asker(NAME)
        size = self._options.max_tokens
        self._plan = asker.question(
            "enhancement_plan",
            template("enhancement_plan"),
            Plan,
            max_tokens=size,
            bounds={
                "analysis": {"maxLength": 2000},
                "principles": {"maxItems": self._options.at_most},
                "principles[]": {"enum": list(self._options.principles)},
            },
        )
        self._enhancement = asker.question(
            "enhancement",
            template("enhancement"),
            Enhancement,
            temperature=self._options.temperature,
            max_tokens=size,
        )
        self._same_answer = asker.question("same_answer", template("same_answer"), Same, max_tokens=64)
        self._context: dict[str, Any] = {
            "description": tools.description,
            "rules": [constraint.sentence() for constraint in tools.constraints],
        }

    def foresees(self) -> tuple[list[Expected], tuple[float, float, float]]:
        return [
            Expected(self._plan, (1, 1, 2), 60),
            Expected(self._enhancement, (0, 0.9, 2), 120),
            Expected(self._same_answer, (0, 0.2, 4), 8),
        ], (1.0, 1.0, 1.0)

    def describe(self) -> dict[str, Any]:
        """Its section of the report: how often each principle was chosen, and the harder item kept."""
        columns = {"chosen": ("pass", "revise", "reject"), "kept": ("revise",)}
        return {
            "edits": ["harder"],
            "sections": [Tally(NAME, "What made items harder", "principles", "principle", columns)],
        }

    async def validate(self, item: Item) -> Verdict:
        """A call that fails permanently leaves the item unchanged."""
        record: dict[str, Any] = {"principles": []}
        try:
            plan = await self._asker.ask(
                self._plan, item, self._tools.shown(item), principles=self._fitting(item), **self._context
            )
            record["analysis"] = plan.analysis[:_SHOWN]
            chosen = [name for name in dict.fromkeys(plan.principles) if name in self._fitting(item)]
            record["principles"] = chosen = chosen[: self._options.at_most]
            if not chosen:
                raise AnswerLost("no_principle")
            harder = await self._harder(item, plan, chosen)
            record["before"] = {
                name: value for name, value in self._tools.shown(item).items() if name in _KEPT
            }
            return Verdict.revised(NAME, "harder", harder, record=record, tentative=True)
        except AnswerLost as lost:
            return _original(lost.reason, str(lost), record)
        except PermanentError as error:
            return _original(error.reason, str(error), record)

    def _fitting(self, item: Item) -> Mapping[str, str]:
        """The principles that fit an item: those about choices only if it has choices."""
        return {
            name: sentence
            for name, sentence in self._options.principles.items()
            if item.choices or name not in ABOUT_CHOICES
        }

    # --- asking ---

    async def _harder(self, item: Item, plan: Plan, chosen: Sequence[str]) -> Item:
        """Raises AnswerLost, or PermanentError."""
        reply = await self._asker.ask(
            self._enhancement,
            item,
            self._tools.shown(item),
            analysis=orjson.dumps(plan.analysis, default=str).decode(),  # a quoted string: it quotes the item
            principles={name: self._options.principles[name] for name in chosen},
            **self._context,
        )
        asked = [name for name in self._tools.question(item) if name != "choices"]
        harder = self._tools.revised(item, {name: reply.item.get(name) for name in asked})
        self._check_text(item, harder)
        if item.choices:
            harder = await self._with_choices(item, harder, reply.item, chosen)
        elif isinstance(item.label, str) and str(reply.item.get("label", item.label)).strip() != item.label:
            raise AnswerLost("label_changed", f"the label became {str(reply.item['label'])[:100]!r}")
        if (harder.text, harder.choices) == (item.text, item.choices):
            raise AnswerLost("unchanged")
        return harder

    # --- has the answer survived? ---

    def _check_text(self, item: Item, harder: Item) -> None:
        lost = numbers(item.text) - numbers(harder.text)
        if self._options.keep_numbers and lost:
            raise AnswerLost("number_lost", f"not in the harder question: {', '.join(sorted(lost))}")
        if not item.choices and item.answer and gives_away(item.answer, item.text, harder.text):
            raise AnswerLost("answer_given_away", "the harder question contains the answer")

    async def _with_choices(
        self, item: Item, harder: Item, reply: Mapping[str, Any], chosen: Sequence[str]
    ) -> Item:
        """The harder item with its choices and the letter of the right one. Raises AnswerLost."""
        choices = choices_in(reply.get("choices"), item.choices)
        pairs = paired(item.choices, choices, may_reword=REWORDS in chosen, may_add=ADDS in chosen)
        right = pairs[ascii_uppercase.index(item.answer)] if item.answer else None
        label = ascii_uppercase[right] if right is not None else None
        sent = reply.get("label")
        if sent is not None and right is not None and str(sent).strip() not in (label, choices[right]):
            raise AnswerLost("label_changed", f"the label became {str(sent)[:100]!r}, and should be {label}")
        reworded = [
            (before, choices[place])
            for before, place in zip(item.choices, pairs, strict=True)
            if plain(before) != plain(choices[place])
        ]
        added = [choice for place, choice in enumerate(choices) if place not in pairs]
        if right is not None and await self._any_right(item, choices[right], added):
            raise AnswerLost("two_right", "the choice that was added is right, too")
        asked = (self._same(item, before, after) for before, after in reworded)
        for (before, after), alike in zip(reworded, await asyncio.gather(*asked), strict=True):
            if not alike:
                raise AnswerLost(
                    "choice_changed", f"{before[:100]!r} became {after[:100]!r}, which means another thing"
                )
        return harder.evolve(choices=choices, label=label)

    async def _any_right(self, item: Item, right: str, added: Sequence[str]) -> bool:
        """Whether an added choice means the same as the right one: decided by rule, else by a model."""
        for choice in added:
            decided = same(choice, right)
            if decided or (decided is None and await self._same(item, right, choice)):
                return True
        return False

    async def _same(self, item: Item, before: str, after: str) -> bool:
        shown = {"first": before, "second": after, "question": item.text}
        return (await self._asker.ask(self._same_answer, item, shown, tag=mark(before, after))).same


def _original(reason: str, said: str, record: Mapping[str, Any]) -> Verdict:
    return Verdict(Decision.PASS, NAME, reason, said, record=record)


# --- the checks, as functions of texts -------------------------------------------------------------


_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")


def numbers(text: str) -> Counter[str]:
    """The numbers written in digits in a text, with their counts; 1,000 is 1000."""
    return Counter(number.replace(",", "") for number in _NUMBER.findall(text))


def gives_away(answer: str, before: str, after: str) -> bool:
    """Whether `after` contains the answer as whole words and `before` does not."""
    if len(answer.strip()) < 2:
        return False  # a single letter or digit occurs anywhere
    whole_words = re.compile(rf"(?<!\w){re.escape(plain(answer))}(?!\w)")
    return bool(whole_words.search(plain(after))) and not whole_words.search(plain(before))


def plain(text: str) -> str:
    """The text for comparison, without differences in case and spacing."""
    return " ".join(text.casefold().split())


def choices_in(sent: Any, before: Sequence[str]) -> tuple[str, ...]:
    """A model's choices; those of `before` if it sent none. Raises AnswerLost."""
    if sent is None:
        return tuple(before)
    listed = list(sent.values()) if isinstance(sent, Mapping) else sent
    if not isinstance(listed, list) or not all(
        isinstance(choice, str) and choice.strip() for choice in listed
    ):
        raise AnswerLost("bad_choices", "the choices are not a list of texts")
    choices = tuple(choice.strip() for choice in listed)
    if len({plain(choice) for choice in choices}) < len(choices) or len(choices) > len(ascii_uppercase):
        raise AnswerLost("bad_choices", "two choices are the same, or there are too many")
    return choices


def paired(before: Sequence[str], after: Sequence[str], *, may_reword: bool, may_add: bool) -> list[int]:
    """The new index of each old choice: that of the same text, else the same index. Raises AnswerLost."""
    if not len(before) <= len(after) <= len(before) + may_add:
        raise AnswerLost("choices_lost", f"{len(before)} choices became {len(after)}")
    places = {plain(choice): place for place, choice in enumerate(after)}
    partners = [places.get(plain(choice)) for choice in before]
    taken = {place for place in partners if place is not None}
    for place, now in enumerate(partners):
        if now is None:
            if not may_reword or place in taken:
                raise AnswerLost("choices_lost", f"the choice {before[place][:100]!r} is gone")
            partners[place] = place
    return [place for place in partners if place is not None]

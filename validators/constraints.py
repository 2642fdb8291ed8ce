"""Checks an item against the declared constraints: by program where possible, by a model on request."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

from engine.constraints import (
    Case,
    Constraint,
    Contains,
    Count,
    Ends,
    Excludes,
    Form,
    FreeText,
    LabelIn,
    LabelRatio,
    Language,
    Length,
    OneOf,
    Paragraph,
    Regex,
    Starts,
)
from engine.items import Item, Verdict
from engine.protocols import Compliance, Expected, Reply, RuleChecked, Tools
from validators.segments import sentences, words
from validators.shapes import complaint, paragraphs
from validators.templates import template

Check = Callable[[Item], str | None]
"""The complaint about an item, or None."""

_COMMON = (
    "ar bg bn ca cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv mk ms nl no pl pt ro ru sk sl sq"
    " sr sv ta te th tr uk ur vi zh"
).split()
"""Languages to distinguish. Few, so that a short text is not classified as a rare related language."""
_REGEX_SECONDS = 0.2
_FEWEST_LETTERS = 20
"""The language of a shorter text cannot be detected; such a text passes."""


class Broken(Reply):
    """One rule that an item breaks, by its number in the prompt, from 1."""

    rule: int
    why: str


class Adherence(Reply):
    """The wire's `constraint_check`."""

    analysis: str
    broken: list[Broken]


JUDGED = "rule"
"""The verdict's reason if an item breaks a rule in plain words."""


class Constraints:
    """PASS, or REJECT with the first broken constraint's kind as the reason.

    With `judge`, a model checks the rules in plain words, once the programs have found nothing. The record in
    `_meta` says whether the model judged, and lists the broken constraints by index in the config.
    """

    name = "constraints"

    def __init__(self, tools: Tools, *, judge: bool = False) -> None:
        """Raises ValueError for a language that cannot be detected, or `judge` without a rule to judge."""
        named = (
            each.code for each in tools.constraints if isinstance(each, Language) and each.field == "text"
        )
        language = next(named, "en")
        self._checks = [
            (place, _slug(constraint), check)
            for place, constraint in enumerate(tools.constraints)
            if (check := check_of(constraint, language)) is not None
        ]
        self._rules = [
            (place, constraint.rule)
            for place, constraint in enumerate(tools.constraints)
            if isinstance(constraint, FreeText)
        ]
        if judge and not self._rules:
            raise ValueError("judge: dataset.constraints holds no rule in plain words to be judged")
        self._judges = judge
        self._tools = tools
        self._asker = tools.asker(self.name)
        self._adherence = self._asker.question(
            "constraint_check",
            template("constraint_check"),
            Adherence,
            max_tokens=512,
            bounds={
                "analysis": {"maxLength": 1000},
                "broken": {"maxItems": max(1, len(self._rules))},
                "broken[].rule": {"minimum": 1, "maximum": max(1, len(self._rules))},
                "broken[].why": {"maxLength": 300},
            },
        )

    def foresees(self) -> tuple[list[Expected], tuple[float, float, float]]:
        judged = [Expected(self._adherence, (1, 1, 2), 60)] if self._judges else []
        return judged, (0.6, 0.93, 1.0)

    def describe(self) -> dict[str, Any]:
        """Its section of the report: how often each constraint was kept. Rules in plain words if judged."""
        rules = [
            RuleChecked(constraint.sentence(), "judged" if isinstance(constraint, FreeText) else None)
            for constraint in self._tools.constraints
        ]
        return {"sections": [Compliance(self.name, "How well constraints were kept", "broken", rules)]}

    async def validate(self, item: Item) -> Verdict:
        """Raises what `Tools.ask` raises, and Unparseable."""
        complaints = [
            (place, reason, said)
            for place, reason, check in self._checks
            if (said := check(item)) is not None
        ]
        if complaints:
            _, reason, complaint = complaints[0]
            record = {"broken": [place for place, _, _ in complaints]}
            return Verdict.rejected(self.name, reason, complaint, record)
        return await self._judged(item) if self._judges else Verdict.passed(self.name)

    async def _judged(self, item: Item) -> Verdict:
        rules = [rule for _, rule in self._rules]
        reply = await self._asker.ask(self._adherence, item, self._tools.shown(item), rules=rules)
        named = {each.rule: each.why for each in reply.broken if 1 <= each.rule <= len(self._rules)}
        record = {"judged": True, "broken": [self._rules[number - 1][0] for number in sorted(named)]}
        if not named:
            return Verdict.passed(self.name, {"judged": True})
        first = min(named)
        return Verdict.rejected(self.name, JUDGED, f"{self._rules[first - 1][1]} ({named[first]})", record)


def _slug(constraint: Constraint) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(constraint).__name__).lower()


def check_of(constraint: Constraint, language: str = "en") -> Check | None:
    """The check for a constraint; None if it concerns more than a single item, or no program can check it.

    `language` is that of the texts, whose abbreviations end no sentence.
    """
    match constraint:
        case Length():
            return _length(constraint, language)
        case Regex(pattern, field):
            return _regex(pattern, field)
        case Language(code, field):
            return _language(code, field)
        case Contains(words, field):
            return lambda item: _words(item, field, words, wanted=True)
        case Excludes(words, field):
            return lambda item: _words(item, field, words, wanted=False)
        case Case() | Count() | Ends() | Form() | OneOf() | Paragraph() | Starts():
            return lambda item: complaint(constraint, part(item, constraint.field))
        case LabelIn(labels) | LabelRatio(labels):
            return lambda item: _label(item, labels)
    return None


def _label(item: Item, labels: Collection[str]) -> str | None:
    given = item.label if isinstance(item.label, tuple) else (item.answer,)
    unknown = next((label for label in given if label not in labels), None)
    return None if unknown is None else f"the label {unknown!r} is not allowed"


def part(item: Item, field: str) -> str:
    """The text of a field: text, a part of it, label, choices (one per line), messages or an extra."""
    value: Any = item.parts.get(field, item.extras.get(field))
    if field in ("text", "choices") and field not in item.parts:
        value = getattr(item, field)
    if field == "label":
        value = item.answer
    if isinstance(value, list | tuple):
        return "\n".join(
            str(each.get("content", "")) if isinstance(each, dict) else str(each) for each in value
        )
    return "" if value is None else str(value)


def measure(text: str, unit: str, language: str = "en") -> int:
    """The number of words, characters or sentences."""
    match unit:
        case "characters":
            return len(text)
        case "sentences":
            return sentences(text, language)
        case "paragraphs":
            return len(paragraphs(text))
    return words(text, language)


def _regex(pattern: str, field: str) -> Check:
    """Uses the regex package, whose timeout, unlike re, stops patterns that backtrack excessively."""
    import regex

    compiled = regex.compile(pattern)

    def check(item: Item) -> str | None:
        try:
            matches = compiled.search(part(item, field), timeout=_REGEX_SECONDS)
        except TimeoutError:
            return f"matching the {field} with {pattern} takes too long; simplify the pattern"
        return None if matches else f"the {field} does not match {pattern}"

    return check


def _length(constraint: Length, language: str) -> Check:
    low, high = constraint.min or 0, constraint.max

    def check(item: Item) -> str | None:
        size = measure(part(item, constraint.field), constraint.unit, language)
        if size < low:
            return f"the {constraint.field} has {size} {constraint.unit}, fewer than {low}"
        if high is not None and size > high:
            return f"the {constraint.field} has {size} {constraint.unit}, more than {high}"
        return None

    return check


def _words(item: Item, field: str, words: tuple[str, ...], *, wanted: bool) -> str | None:
    text = part(item, field).casefold()
    for word in words:
        if (word.casefold() in text) != wanted:
            return f"the {field} {'lacks' if wanted else 'contains'} {word!r}"
    return None


_ALIKE = (frozenset(("id", "ms")), frozenset(("no", "nb", "nn")), frozenset(("hr", "sr", "bs")))
"""Written languages that are so alike that a short text of one is taken for another."""


@cache
def _identifier(code: str) -> Any:
    """Distinguishes the common languages and this one. Loading takes half a second, so it is cached."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    alike = _alike(code)
    if not alike & {*identifier.labels}:
        raise ValueError(f"the language {code!r} cannot be told apart from others")
    identifier.set_languages([*{*_COMMON, *alike} & {*identifier.labels}])
    return identifier


def _alike(code: str) -> frozenset[str]:
    """The language without its region, and those that it cannot be told apart from."""
    base = code.partition("-")[0]
    return next((group for group in _ALIKE if base in group), frozenset((base,)))


def _language(code: str, field: str) -> Check:
    identifier, alike = _identifier(code), _alike(code)

    def check(item: Item) -> str | None:
        text = part(item, field)
        if sum(map(str.isalpha, text)) < _FEWEST_LETTERS:
            return None
        language = identifier.classify(text)[0]
        return None if language in alike else f"the {field} reads as {language!r}, not {code!r}"

    return check

"""The simulated fact check: it reads the passages that it is given, and goes by nothing else."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from engine.config.simulator import SimulatorConfig
from engine.simulator.content import facts
from engine.simulator.mistakes import errs
from engine.simulator.request import Asked

_ENOUGH = 0.5
"""The share of a question's own words that a sentence must hold to be about what it asks."""
_COMMON = frozenset(
    "a an and are as at be by can did do does for from had has have how in is it its many much name of on or that the"
    " their there this to was were what when where which who whom whose why will with".split()
)


class Found(NamedTuple):
    """What the passages say: a verdict, the sentence that shows it, and the answer that it gives, if another."""

    verdict: str
    quote: str = ""
    answer: str = ""


def fact_check(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    """The wire's `fact_check`, with the corrected item where the passages hold the right answer."""
    item, passages = asked.item, [str(each.get("text", "")) for each in asked.examples]
    answer = _answer(item)
    found = read(str(item.get("text", "")), answer, passages)
    if errs(knobs.reading_errors, str(item.get("text", "")), knobs, chance):
        other = {"supported": "refuted", "refuted": "supported", "silent": "supported"}[found.verdict]
        found = Found(other, found.quote or (passages[0] if passages else ""))
    corrected = _corrected(item, found.answer) if found.answer else None
    reasoning = {
        "supported": "A passage says so.",
        "refuted": "A passage says otherwise.",
        "silent": "No passage says anything of it.",
    }[found.verdict]
    return {"reasoning": reasoning, "verdict": found.verdict, "quote": found.quote, "item": corrected}


def read(question: str, answer: str, passages: Sequence[str]) -> Found:
    """What the passages say of an answer to a question."""
    fact = facts.known(question)
    if fact is not None:
        return _of_fact(fact, answer, passages)
    best = max(_about(question, passages), default=(0.0, ""))
    sharing = [sentence for share, sentence in _about(question, passages) if share >= _ENOUGH]
    holding = next((sentence for sentence in sharing if _holds(sentence, answer)), None)
    if holding is not None:
        return Found("supported", holding)
    return Found("refuted", best[1]) if best[0] >= _CLEARLY else Found("silent")


_CLEARLY = 0.8
"""The share of its words from which a sentence answers the question, with whatever it says."""


def _of_fact(fact: facts.Fact, answer: str, passages: Sequence[str]) -> Found:
    """A question that asks for one of a known set of values: the one that stands beside its subject counts."""
    values = sorted({fact.answer, *fact.wrong}, key=len, reverse=True)
    for passage in passages:
        for sentence in _sentences(passage):
            if not _holds(sentence, fact.subject):
                continue
            rest = sentence.replace(fact.subject, " ")
            said = next((value for value in values if _holds(rest, value)), None)
            if said is not None:
                same = said.casefold() == answer.casefold()
                return Found("supported", sentence) if same else Found("refuted", sentence, said)
    return Found("silent")


def _about(question: str, passages: Sequence[str]) -> Iterator[tuple[float, str]]:
    """Each sentence with the share of the question's own words that it holds."""
    wanted = _words(question)
    for passage in passages:
        for sentence in _sentences(passage):
            yield len(wanted & _words(sentence)) / max(1, len(wanted)), sentence


def _words(text: str) -> set[str]:
    return {word[:6] for word in re.findall(r"\w+", text.casefold())} - _COMMON


def _sentences(text: str) -> list[str]:
    return [each.strip() for each in re.split(r"(?<=[.!?])\s+", text) if each.strip()]


def _holds(text: str, words: str) -> bool:
    return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None


def _answer(item: Mapping[str, Any]) -> str:
    label, choices = str(item.get("label", "")), item.get("choices")
    if isinstance(choices, list) and label and label in ascii_uppercase[: len(choices)]:
        return str(choices[ascii_uppercase.index(label)])
    return label


def _corrected(item: Mapping[str, Any], answer: str) -> dict[str, Any] | None:
    choices = item.get("choices")
    if not isinstance(choices, list) or not choices:
        return {**item, "label": answer}
    folded = [str(choice).casefold() for choice in choices]
    return (
        {**item, "label": ascii_uppercase[folded.index(answer.casefold())]}
        if answer.casefold() in folded
        else None
    )

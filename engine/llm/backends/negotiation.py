"""Settles what an endpoint takes of a request for one purpose, from what it refuses. Without I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import BadRequest, ContextExceeded
from engine.llm.backends.limits_told import longest_answer, overrun
from engine.llm.backends.terms import FORMS, Form, Terms
from engine.llm.backends.terms import SWAPPED as TRIED

Change = Callable[[Terms], Terms | None]
"""The terms with one thing changed; None if it is changed already."""


@dataclass(frozen=True)
class Step:
    """One thing that can be left out or sent otherwise."""

    change: Change
    named: re.Pattern[str] | None = None
    """How a refusal names it, in any wording; None if no refusal can."""
    ladder: bool = True
    """Whether it is tried where a refusal names nothing."""


def without(name: str, pattern: str = "", *, ladder: bool = True) -> Step:
    """Leaves an optional field out."""

    def change(terms: Terms) -> Terms | None:
        return None if name in terms.without else terms.dropping(name)

    return Step(change, re.compile(pattern or rf"(?<![\w.]){name}(?!\w)", re.IGNORECASE), ladder)


def forms(allowed: Sequence[Form]) -> Iterator[Step]:
    """Asks for the form of the answer in the next simpler way; a fixed form (one alone) stays."""
    named = re.compile(
        r"response_?format|json_?schema|json_?object|guided|grammar|schema|structured|tool|input_schema",
        re.IGNORECASE,
    )

    def simpler(terms: Terms) -> Terms | None:
        later = [form for form in allowed if FORMS.index(form) > FORMS.index(terms.form)]
        return replace(terms, form=later[0]) if later else None

    yield Step(simpler, named, ladder=False)
    for form in allowed[1:]:
        yield Step(lambda terms, form=form: None if terms.form == form else replace(terms, form=form))  # type: ignore[misc]


def _merged(terms: Terms) -> Terms | None:
    return None if terms.merged else replace(terms, merged=True)


def _swapped(terms: Terms) -> Terms | None:
    if TRIED in terms.without:
        return None
    other = "max_completion_tokens" if terms.limit == "max_tokens" else "max_tokens"
    return replace(terms, limit=other).dropping(TRIED)  # type: ignore[arg-type]


def _streamed(terms: Terms) -> Terms | None:
    return None if terms.streamed else replace(terms, streamed=True)


def _not_streamed(terms: Terms) -> Terms | None:
    return None if "stream" in terms.without else replace(terms, streamed=False).dropping("stream")


_SYSTEM = re.compile(
    r"system.{0,20}(?:role|message|prompt)|role.{0,30}system|messages\[0\]|roles must alternate",
    re.IGNORECASE,
)
MERGED = Step(_merged, _SYSTEM)
SWAPPED = Step(_swapped, re.compile(r"max_tokens|max_completion_tokens", re.IGNORECASE))
STREAMED = Step(_streamed, re.compile(r"stream(?!_options)|http call", re.IGNORECASE))
NOT_STREAMED = Step(_not_streamed, re.compile(r"stream(?!_options)", re.IGNORECASE), ladder=False)
CHAT_STEPS: tuple[Step, ...] = (
    without("stream_options", ladder=False),
    without("reasoning_effort", r"reasoning_?effort|\.effort\b", ladder=False),
    without("top_k", ladder=False),
    without("top_p", ladder=False),
    without("seed"),
    without("temperature"),
    MERGED,
    SWAPPED,
    STREAMED,
    NOT_STREAMED,
)
"""In the order of the ladder, after the forms."""


@dataclass
class Negotiation:
    """The terms of one purpose at one endpoint. Mutable: the terms, whether they are settled, the ladder."""

    first: Terms
    steps: Sequence[Step]
    terms: Terms = field(default_factory=Terms)
    settled: bool = False
    """Whether a request on these terms has been answered."""
    said: str = ""
    """What the endpoint said when it refused the terms before."""
    _ladder: Iterator[Terms] | None = None

    def refused(self, refusal: BadRequest, asked: int, *, streamed: bool = False) -> bool:
        """Takes in the refusal of a request on the present terms. True if that changes them.

        `asked` is the longest answer that the request asked for; `streamed` is whether it asked for a stream.
        Raises ContextExceeded.
        """
        if not refusal.negotiable:
            return False
        changed = self._named(refusal, asked, streamed=streamed)
        if changed is None and not self.settled and not self._is_fixed(refusal.param):
            changed = self._unnamed()
        if changed is None:
            return False
        self.terms = changed
        self.said = str(refusal)
        return True

    def answered(self, sent: Terms) -> bool:
        """Takes in an answer to a request on these terms. True if this settles them."""
        if self.settled or sent != self.terms:
            return False
        self.settled, self._ladder = True, None
        return True

    def _named(self, refusal: BadRequest, asked: int, *, streamed: bool) -> Terms | None:
        """What the refusal names, left out or sent otherwise; None if it names nothing that can be."""
        told = refusal.told or str(refusal)
        if (over := overrun(told)) is not None and not longest_is_alone(told):
            raise ContextExceeded(str(refusal), over.context, over.prompt)
        both = "max_tokens" in told and "max_completion_tokens" in told
        if not both and (most := longest_answer(told, asked)) is not None:
            return replace(self.terms, most_tokens=most)
        for text in filter(None, (refusal.param, _message(told), told)):
            steps = [step for step in self.steps if step is not (STREAMED if streamed else NOT_STREAMED)]
            steps = [SWAPPED, *steps] if both and SWAPPED in steps else steps
            changed = self._by_name(text, steps, is_param=text is refusal.param)
            if changed is not None:
                return changed
        return None

    def _is_fixed(self, param: str | None) -> bool:
        """Whether the field at fault is one that the user has fixed, or that is left out already."""
        return param is not None and any(step.named and step.named.search(param) for step in self.steps)

    def _by_name(self, text: str, steps: Sequence[Step], *, is_param: bool) -> Terms | None:
        """Once the terms are settled, a name counts only as the field at fault or in quotes: it may be prose."""
        for step in steps:
            match = step.named.search(text) if step.named is not None else None
            if match is not None and (
                not self.settled or is_param or text[max(0, match.start() - 1)] in "'\"`"
            ):
                changed = step.change(self.terms)
                if changed is not None:
                    return changed
        return None

    def _unnamed(self) -> Terms | None:
        """The next rung: each thing alone, then one after the other; None, and the first terms, at the end."""
        if self._ladder is None:
            self._ladder = iter(list(self._rungs()))
        rung = next(self._ladder, None)
        if rung is None:
            self.terms, self.steps = self.first, [step for step in self.steps if step.named is not None]
            self.steps = [replace(step, ladder=False) for step in self.steps]
            self._ladder = iter(())
        return rung

    def _rungs(self) -> Iterable[Terms]:
        start, tried = self.terms, {self.terms}
        for step in self.steps:
            changed = step.change(start) if step.ladder else None
            if changed is not None and changed not in tried:
                tried.add(changed)
                yield changed
        together = start
        for step in self.steps:
            changed = step.change(together) if step.ladder else None
            if changed is not None:
                together = changed
                if together not in tried:
                    tried.add(together)
                    yield together


_ABOUT_CONTEXT = re.compile(r"context|prompt|input|messages|n_ctx", re.IGNORECASE)


def longest_is_alone(told: str) -> bool:
    """Whether the words are about the answer's length only, and not about the context."""
    return not _ABOUT_CONTEXT.search(told)


def _message(told: str) -> str:
    """The message of an error body without what else stands there, such as an echo of the request."""
    match = re.search(r'"(?:message|error|detail|msg)"\s*:\s*"((?:[^"\\]|\\.)*)"', told)
    return match[1] if match is not None else ""


class Negotiations:
    """The negotiations of one model at one endpoint, by purpose. Mutable: what they have settled so far."""

    def __init__(self, first: Terms, steps: Sequence[Step]) -> None:
        self._first = first
        self._steps = steps
        self._manners = first
        """What a refusal has named for one purpose is not tried for the next."""
        self._by_purpose: dict[str, Negotiation] = {}

    def of(self, purpose: str) -> Negotiation:
        negotiation = self._by_purpose.get(purpose)
        if negotiation is None:
            terms = replace(self._manners, form=self._first.form)
            negotiation = self._by_purpose[purpose] = Negotiation(terms, self._steps, terms)
        return negotiation

    def settled(self, purpose: str) -> bool:
        negotiation = self._by_purpose.get(purpose)
        return negotiation is not None and negotiation.settled

    def learn(self, terms: Terms) -> None:
        """Begins further purposes on terms that have held for one."""
        self._manners = terms

    def sentence(self, purpose: str) -> str:
        """What is sent otherwise than at first, and why; '' where nothing is."""
        negotiation = self.of(purpose)
        differs = negotiation.terms.differences(self._first)
        why = f" (it said: {negotiation.said})" if negotiation.said else ""
        return f"{purpose}: {differs}{why}" if differs else ""

    def as_dict(self) -> dict[str, Any]:
        """The settled terms by purpose, to be kept."""
        return {purpose: each.terms.as_dict() for purpose, each in self._by_purpose.items() if each.settled}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Takes terms that `as_dict` returned in an earlier start as settled."""
        for purpose, told in kept.items():
            terms = Terms.from_dict(told)
            self._by_purpose[purpose] = Negotiation(self._first, self._steps, terms, settled=True)
            self._manners = replace(terms, form=self._first.form)

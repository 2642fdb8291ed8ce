"""Checks that documents bear out the items made from them: what costs nothing first, then what a model must say.

The quote is looked for without any tolerance but for how things are written (engine.answers.quotes). That a question
should not be answerable without its document is how closed-book baselines are used to find leaks (Lewis et al., 2021,
arXiv 2008.02637); questions without an answer in the document are those of SQuAD 2.0 (Rajpurkar et al., 2018).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from engine.answers.quotes import folded, located, located_in
from engine.answers.same import same
from engine.errors import PermanentError
from engine.items import Item, Passage, Verdict
from engine.protocols import Evidence, Expected, Question, Reply, Tools
from validators.facts.paragraphs import Paragraphs
from validators.grounded.rules import missing, refers_to_document
from validators.options import parsed
from validators.templates import template

NAME = "grounded"


class GroundedOptions(BaseModel):
    """This validator's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    judge: float = Field(default=1.0, ge=0, le=1)
    """The share of items of which a model is asked whether the quote alone bears out the answer."""
    closed_book: Literal["off", "flag", "reject"] = "off"
    """What to do with questions that a model answers without the document."""
    self_contained: bool = True
    """Whether a question that speaks of 'the passage' is rejected."""
    searched: int = Field(default=4, ge=1, le=20)
    """Of a question without an answer: in how many passages of the document, the nearest ones, it is looked for."""
    max_tokens: int = Field(default=512, ge=64)


class Grounding(Reply):
    """The wire's `grounding`."""

    reasoning: str
    supported: bool


class ClosedBook(Reply):
    """The wire's `closed_book`."""

    reasoning: str
    answer: str


class Answerable(Reply):
    """The wire's `answerable`."""

    reasoning: str
    answerable: bool
    quote: str


class Grounded:
    """PASS if the documents bear the item out, else REJECT with the first reason that is found.

    Its reasons, in the order of the checks: no_quote, quote_not_found, asks_nothing, no_answer, answer_not_in_quote,
    not_self_contained, known_without_document, unsupported; of questions that are to have no answer: answered,
    not_self_contained, answerable. The record holds the places of the quotes as [passage, start, end], in characters of
    the document, and what models were asked.
    Mutable state: the index of all passages, made when the first question without an answer comes.
    """

    name = NAME
    confirms = True

    def __init__(self, tools: Tools, **options: Any) -> None:
        """Raises ValueError for invalid options, or where items are not made from documents."""
        if "unanswerable" in options:
            raise ValueError("unanswerable: is set where batches are planned: documents.unanswerable: 0.1")
        self._options = parsed(GroundedOptions, options)
        if tools.passages is None:
            raise ValueError(
                "checks items that a run makes from documents (documents.path), and these are made from none"
            )
        self._tools = tools
        self._search: Paragraphs | None = None
        self._by_place: dict[str, list[Passage]] = {}
        self._building = asyncio.Lock()
        asker, most = tools.asker(NAME), self._options.max_tokens

        def asked(purpose: str, reply: type[Any]) -> Question[Any]:
            return asker.question(purpose, template(purpose), reply, max_tokens=most)

        self._asker = asker
        self._grounding: Question[Grounding] = asked("grounding", Grounding)
        self._closed: Question[ClosedBook] = asked("closed_book", ClosedBook)
        self._answerable: Question[Answerable] = asked("answerable", Answerable)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._search is not None:
            self._search.close()

    def describe(self) -> dict[str, Any]:
        return {
            "judge": self._options.judge,
            "closed_book": self._options.closed_book,
            "caveat": "Quotes were found by program; whether they bear out the answers was judged by a language model.",
        }

    def foresees(self) -> tuple[list[Expected], tuple[float, float, float]]:
        judged, closed = self._options.judge, float(self._options.closed_book != "off")
        return [
            *([Expected(self._closed, (0, closed, closed), 30)] if closed else []),
            *([Expected(self._grounding, (0, judged, judged), 60)] if judged else []),
        ], (0.4, 0.8, 1.0)

    async def validate(self, item: Item) -> Verdict:
        """Raises what asking raises."""
        if not item.batch.passages:
            return Verdict.rejected(NAME, "no_passage", "the item is made from no passage")
        if item.batch.unanswerable:
            return await self._without_answer(item)
        if not item.quotes:
            return Verdict.rejected(NAME, "no_quote", "the reply holds no quote")
        passages = item.batch.passages
        spans = located_in(item.quotes, passages)
        found = [(passage, span) for passage, span in zip(passages, spans, strict=True) if span is not None]
        record: dict[str, Any] = {
            "quotes": [[p.number, p.start + start, p.start + end] for p, (start, end) in found]
        }
        if len(found) < len(passages):
            lost = next(
                (each for each in item.quotes if not any(located(each, p.text) for p in passages)), ""
            )
            said = f"stands in no passage: {lost[:200]}" if lost else "a passage is not quoted"
            return Verdict.rejected(NAME, "quote_not_found", said, record)
        quotes = [passage.text[start:end] for passage, (start, end) in found]
        rejection = self._by_rules(item, quotes, record)
        return rejection or await self._by_models(item, quotes, record)

    def _by_rules(self, item: Item, quotes: list[str], record: dict[str, Any]) -> Verdict | None:
        answer = item.answer if isinstance(item.label, str) and not item.choices else ""
        question = _question(item)
        if answer and folded(answer)[0] == folded(question)[0]:
            return Verdict.rejected(NAME, "asks_nothing", "question and answer are the same", record)
        if answer and self._tools.no_answer and same(answer, self._tools.no_answer):
            said = "says that the document has no answer, with a quote"
            return Verdict.rejected(NAME, "no_answer", said, record)
        if answer and answer not in self._tools.labels:
            lacks = missing(answer, "\n".join(quotes), question)
            if lacks:
                return Verdict.rejected(
                    NAME, "answer_not_in_quote", f"the quote does not hold {lacks!r}", record
                )
        return self._standing_alone(item, f"{question}\n{answer}", record)

    def _standing_alone(self, item: Item, words: str, record: dict[str, Any]) -> Verdict | None:
        if not self._options.self_contained:
            return None
        said = refers_to_document(words, [passage.text for passage in item.batch.passages])
        if said:
            return Verdict.rejected(NAME, "not_self_contained", f"speaks of {said!r}", record)
        return None

    async def _by_models(self, item: Item, quotes: list[str], record: dict[str, Any]) -> Verdict:
        if self._options.closed_book != "off" and isinstance(item.label, str):
            known = await self._known_without(item)
            record["closed_book"] = "known" if known else "unknown"
            if known and self._options.closed_book == "reject":
                said = "a model answers it without the document"
                return Verdict.rejected(NAME, "known_without_document", said, record)
        if _drawn(self._tools.seed, item.id) < self._options.judge:
            reply = await self._asker.ask(
                self._grounding,
                item,
                self._tools.shown(item),
                quotes=quotes,
                description=self._tools.description,
            )
            record["judged"] = reply.supported
            if not reply.supported:
                return Verdict.rejected(NAME, "unsupported", reply.reasoning, record)
        return Verdict.passed(NAME, record)

    async def _known_without(self, item: Item) -> bool:
        try:
            reply = await self._asker.ask(
                self._closed, item, self._tools.question(item), description=self._tools.description
            )
        except PermanentError:
            return False  # who cannot answer does not know
        return same(reply.answer, item.answer, item.choices) is True or _within(item.answer, reply.answer)

    # --- questions without an answer ---

    async def _without_answer(self, item: Item) -> Verdict:
        record: dict[str, Any] = {"unanswerable": True}
        if same(item.answer, self._tools.no_answer) is not True:
            said = f"was to be answered by {self._tools.no_answer!r}"
            return Verdict.rejected(NAME, "answered", said, record)
        if (rejection := self._standing_alone(item, _question(item), record)) is not None:
            return rejection
        passages = await self._nearest(item)
        record["searched"] = [passage.number for passage in passages]
        reply = await self._asker.ask(
            self._answerable,
            item,
            self._tools.question(item),
            passages=[passage.text for passage in passages],
            description=self._tools.description,
        )
        # A model that says so must show where: an answer that it knows by itself stands in no passage.
        if reply.answerable and any(located(reply.quote, passage.text) for passage in passages):
            return Verdict.rejected(NAME, "answerable", reply.quote, record)
        return Verdict.passed(NAME, record)

    async def _nearest(self, item: Item) -> list[Passage]:
        """The item's own passage, and those of its document that are nearest to its question."""
        own = item.batch.passages[0]
        async with self._building:
            if self._search is None:
                await asyncio.to_thread(self._build)
        assert self._search is not None
        found = self._search.best(_question(item), self._options.searched + 1, [own.file])
        there = {each.text: each for each in self._by_place.get(own.file, ())}
        others = [there[each.text] for each in found if each.text in there and each.text != own.text]
        return [own, *others][: self._options.searched]

    def _build(self) -> None:
        search = Paragraphs()
        assert self._tools.passages is not None
        for passage in self._tools.passages():
            self._by_place.setdefault(passage.file, []).append(passage)
        search.add(
            (Evidence(file, ""), [each.text for each in there]) for file, there in self._by_place.items()
        )
        self._search = search


def _question(item: Item) -> str:
    return "\n".join(str(part) for part in item.parts.values() if isinstance(part, str)) or item.text


def _drawn(seed: int, item: str) -> float:
    """A number from 0 up to 1 that depends on the item alone."""
    digest = hashlib.blake2b(f"{seed}/{NAME}/{item}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / (1 << 64)


def _within(label: str, answer: str) -> bool:
    """Whether an answer, which may be a sentence, holds the label as whole words."""
    wanted = label.strip()
    return bool(wanted) and re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", answer, re.IGNORECASE) is not None

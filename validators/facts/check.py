"""Checks an item's facts against passages from a source and corrects it if they contradict it."""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from string import ascii_uppercase
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.errors import PermanentError
from engine.items import Item, Verdict
from engine.protocols import Evidence, Expected, Reply, Tools
from validators.facts.local import Local, LocalOptions
from validators.facts.mediawiki import MediaWiki, MediaWikiOptions
from validators.facts.zim import Zim, ZimOptions
from validators.options import parsed
from validators.tags import mark
from validators.templates import template

NAME = "facts"
UNVERIFIABLE, REFUTED = "unverifiable", "refuted"
MOST_ENTITIES = 3
_BOUNDS = {"entities": {"maxItems": MOST_ENTITIES}, "entities[]": {"minLength": 1, "maxLength": 200}}
_SHOWN = 400
"""How many characters of a model's reasoning are recorded."""


class FactOptions(BaseModel):
    """This validator's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[MediaWikiOptions | LocalOptions | ZimOptions, Field(discriminator="kind")]
    passages: int = Field(default=3, ge=1, le=20)
    """How many passages of each entity's article to use."""
    unverifiable: Literal["reject", "keep", "flag"] = "reject"
    """What to do with an item of which the source says nothing; `flag` keeps it, with that as the verdict's reason."""
    max_tokens: int = Field(default=1024, ge=64)


class Entities(Reply):
    """The wire's `entities`."""

    entities: list[str]


class FactReply(Reply):
    """The wire's `fact_check`.

    Its first form, with `supported` alone, is read too: what was neither supported nor corrected was silent.
    """

    reasoning: str
    verdict: Literal["supported", "refuted", "silent"]
    quote: str
    item: dict[str, Any] | None

    @model_validator(mode="before")
    @classmethod
    def _first_form(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "verdict" in given or not isinstance(given.get("supported"), bool):
            return given
        verdict = "supported" if given["supported"] else "refuted" if given.get("item") else "silent"
        return {"item": None, **given, "verdict": verdict, "quote": UNQUOTED}


UNQUOTED = "\0"
"""The quote of a reply in the first form, which was not asked for one."""


class FactCheck:
    """PASS (supported), REVISE (corrected, and the correction supported), REJECT (`refuted`, `unverifiable`).

    What a reply says counts only with a quote that stands in a passage; without one the source is silent. Passages
    with their revisions, and the quote, are recorded in `_meta`; an item without evidence never counts as supported.
    """

    name = NAME
    confirms = True

    def __init__(self, tools: Tools, **options: Any) -> None:
        """Raises ValueError for invalid options."""
        self._options = parsed(FactOptions, options, unnamed=("mediawiki", "local", "zim"))
        self._source = _source(self._options.source, tools)
        self._tools = tools
        self._asker = asker = tools.asker(NAME)
        self._entities = asker.question(
            "entities", template("entities"), Entities, max_tokens=256, bounds=_BOUNDS
        )
        self._fact_check = asker.question(
            "fact_check",
            template("fact_check"),
            FactReply,
            max_tokens=self._options.max_tokens,
            bounds={"reasoning": {"maxLength": 2000}, "quote": {"maxLength": 1000}},
        )

    async def __aenter__(self) -> Self:
        """Raises RetrieverUnavailable."""
        await self._source.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._source.__aexit__(*failure)

    def foresees(self) -> tuple[list[Expected], tuple[float, float, float]]:
        passages = 110 * self._options.passages
        kept = (0.3, 0.7, 0.95) if self._options.unverifiable == "reject" else (0.5, 0.9, 1.0)
        return [
            Expected(self._entities, (1, 1, 2), 20),
            Expected(self._fact_check, (0, 1.1, 2), 120, passages),
        ], kept

    def policies(self) -> Iterator[tuple[Mapping[str, Any], FactCheck]]:
        """The other way with items of which the source says nothing."""
        other: Literal["reject", "keep"] = "keep" if self._options.unverifiable == "reject" else "reject"
        check = copy.copy(self)
        check._options = self._options.model_copy(update={"unverifiable": other})
        yield {"unverifiable": other}, check

    def describe(self) -> dict[str, Any]:
        caveat = "Facts were compared with retrieved passages; a passage can be missing, outdated or wrong."
        return {**self._source.describe(), "caveat": caveat}

    async def validate(self, item: Item) -> Verdict:
        """Raises RetrieverUnavailable if the source has never answered, and what `Tools.ask` raises."""
        entities = await self._named(item)
        passages = await self._evidence(entities, item)
        record: dict[str, Any] = {"entities": entities, "passages": [_cited(passage) for passage in passages]}
        if not passages:
            names = ", ".join(entities) or "nothing to look up"
            return self._unverifiable(f"no article found: {names}", record)
        reply = await self._checked(item, item, passages, "1")
        found = finding(reply, passages)
        record["checks"] = [_shown(reply, found)]
        if found == "silent":
            return self._unverifiable(f"the passages do not say: {reply.reasoning[:_SHOWN]}", record)
        if found == "supported":
            return Verdict.passed(NAME, record)
        if reply.item is None:
            return Verdict.rejected(NAME, REFUTED, reply.reasoning[:_SHOWN], record)
        return await self._corrected(item, reply, entities, record)

    async def _corrected(
        self, item: Item, reply: FactReply, entities: Sequence[str], record: dict[str, Any]
    ) -> Verdict:
        """Checks the correction once more, against passages retrieved for it."""
        said = reply.reasoning[:_SHOWN]
        try:
            candidate = self._tools.revised(item, reply.item or {})
            if self._tools.shown(candidate) == self._tools.shown(item):
                return Verdict.rejected(NAME, REFUTED, said, record)  # the same question was just answered
            passages = await self._evidence(entities, candidate)
            again = await self._checked(item, candidate, passages, "2")
        except PermanentError as error:
            return Verdict.rejected(NAME, REFUTED, f"{said} (the correction: {error})", record)
        found = finding(again, passages)
        record["checks"].append(_shown(again, found))
        if found != "supported":
            return Verdict.rejected(NAME, REFUTED, said, record)
        return Verdict.revised(NAME, "corrected", candidate, said, record)

    def _unverifiable(self, why: str, record: dict[str, Any]) -> Verdict:
        if self._options.unverifiable == "reject":
            return Verdict.rejected(NAME, UNVERIFIABLE, why, record)
        kept = Verdict.passed(NAME, {**record, UNVERIFIABLE: True})
        return (
            replace(kept, reason=UNVERIFIABLE, feedback=why) if self._options.unverifiable == "flag" else kept
        )

    async def _named(self, item: Item) -> list[str]:
        shown, description = self._tools.shown(item), self._tools.description
        reply = await self._asker.ask(
            self._entities,
            item,
            shown,
            description=description,
            most=MOST_ENTITIES,
            source=self._source.called,
        )
        named = (entity.encode("utf-8", "ignore").decode().strip()[:250] for entity in reply.entities)
        return [entity for entity in dict.fromkeys(named) if entity][:MOST_ENTITIES]

    async def _evidence(self, entities: Sequence[str], item: Item) -> list[Evidence]:
        """The passages of each entity's article that best match the item, each once.

        By its text, and by its text with its answer, in turn: where the answer is wrong, its words lead away from the
        passage that holds the right one (benchmarks/retrieval.py), and where it is right, they lead to it.
        """
        claim, most = f"{item.text} {_answer(item)}".strip(), self._options.passages
        asked = [(entity, said) for entity in entities for said in dict.fromkeys((item.text, claim))]
        found = await self._source.retrieve(asked, most)
        by_entity: dict[str, list[list[Evidence]]] = {}
        for (entity, _), passages in zip(asked, found, strict=True):
            by_entity.setdefault(entity, []).append(passages)
        return list(dict.fromkeys(each for lists in by_entity.values() for each in in_turn(lists)[:most]))

    async def _checked(
        self, item: Item, candidate: Item, passages: Sequence[Evidence], tag: str
    ) -> FactReply:
        quoted = (orjson.dumps({"title": p.title, "text": p.text}).decode() for p in passages)
        evidence = "\n".join(quoted)
        return await self._asker.ask(
            self._fact_check,
            item,
            self._tools.shown(candidate),
            tag=f"{tag}-{mark(evidence)}",
            description=self._tools.description,
            passages=evidence,
            source=self._source.called,
        )


def _source(options: MediaWikiOptions | LocalOptions | ZimOptions, tools: Tools) -> MediaWiki | Local | Zim:
    """Raises ValueError if the options do not describe a usable source."""
    match options:
        case LocalOptions():
            return Local(options, tools.passages)
        case ZimOptions():
            return Zim(options)
    return MediaWiki(options, tools.cache)


def in_turn(lists: Sequence[Sequence[Evidence]]) -> list[Evidence]:
    """The best of each list, then the second best of each, and so on; each passage once."""
    return list(dict.fromkeys(each for row in zip_longest(*lists) for each in row if each is not None))


def _answer(item: Item) -> str:
    """The label's text: the choice itself where the label is a letter."""
    if item.choices and item.answer and item.answer in ascii_uppercase[: len(item.choices)]:
        return item.choices[ascii_uppercase.index(item.answer)]
    return item.answer


def _cited(passage: Evidence) -> dict[str, Any]:
    """The source of a passage, and its beginning."""
    shown: dict[str, Any] = {"title": passage.title, "text": passage.text[:120], "source": passage.source}
    for name in ("revid", "url", "licence"):
        if value := getattr(passage, name):
            shown[name] = value
    return shown


def finding(reply: FactReply, passages: Sequence[Evidence]) -> str:
    """The reply's verdict; `silent` where its quote stands in no passage."""
    if reply.verdict == "silent" or reply.quote == UNQUOTED:
        return reply.verdict
    return reply.verdict if any(quotes(reply.quote, passage.text) for passage in passages) else "silent"


_LEAST_QUOTED = 8
"""Bytes of the letters and digits of a quote that says anything."""


def quotes(quote: str, text: str) -> bool:
    """Whether the quote stands in the text, in order where it leaves something out (`...`).

    Case, spaces and punctuation do not count: models change them when they copy.
    """
    parts = [part for each in re.split(r"\.{3,}|\u2026|\[\.*\]", quote) if (part := _letters(each))]
    said, place = _letters(text), 0
    if sum(len(part.encode("utf-8", "replace")) for part in parts) < _LEAST_QUOTED:
        return False
    for part in parts:
        found = said.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True


def _letters(text: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFKC", text).casefold() if each.isalnum())


def _shown(reply: FactReply, found: str) -> dict[str, Any]:
    shown = {"verdict": found, "supported": found == "supported", "reasoning": reply.reasoning[:_SHOWN]}
    if reply.quote != UNQUOTED:
        shown["quote"] = reply.quote[:_SHOWN]
        if found != reply.verdict:
            shown["unquoted"] = reply.verdict
    return shown

"""What stands behind a check's word: programs with what they printed, passages with the quote in its place."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

_AROUND = 600
"""Characters of a passage that are shown on each side of a quote."""
_NAMES = ("program", "code", "python")
_FENCED = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)


class Called(Protocol):
    """A call as this needs it."""

    @property
    def key(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def answer(self) -> str: ...


@dataclass(frozen=True)
class Program:
    """A program that a model wrote, and how it ended."""

    code: str
    status: str
    printed: str
    error: str


@dataclass(frozen=True)
class Quote:
    """A passage; with what a model quoted of it, where that stands in it."""

    title: str
    source: str
    before: str
    quote: str
    after: str


def programs_of(record: Mapping[str, Any], by: str, calls: Sequence[Called]) -> list[Program]:
    """The programs that a verdict's record names, with their code out of the replies that brought them."""
    there = {each.key.partition(f"/{by}/")[2]: each for each in calls if f"/{by}/" in each.key}
    found = []
    for told in record.get("programs") or ():
        if isinstance(told, Mapping) and isinstance(told.get("call"), str):
            call = there.get(told["call"])
            code = code_in(call.answer) if call is not None else ""
            found.append(
                Program(
                    code, str(told.get("status", "")), str(told.get("answer", "")), str(told.get("error", ""))
                )
            )
    return found


def code_in(answer: str) -> str:
    """The program in a reply: what its JSON calls so, else its longest text, or what stands between fences, or all."""
    try:
        told = orjson.loads(answer)
    except orjson.JSONDecodeError:
        fenced = _FENCED.findall(answer)
        return max(fenced, key=len) if fenced else answer
    texts = (
        {name: value for name, value in told.items() if isinstance(value, str)}
        if isinstance(told, dict)
        else {}
    )
    named = next((texts[name] for name in _NAMES if name in texts), None)
    return named if named is not None else max(texts.values(), key=len, default=answer)


def quotes_of(record: Mapping[str, Any], by: str, calls: Sequence[Called]) -> list[Quote]:
    """The passages that a model was shown, with its quotes marked; the passages stand in what it was asked."""
    checks = [each for each in record.get("checks") or () if isinstance(each, Mapping)]
    quoted = [str(each["quote"]) for each in checks if each.get("quote")]
    sources = {
        str(each.get("title")): str(each.get("url") or each.get("source") or "")
        for each in record.get("passages") or ()
        if isinstance(each, Mapping)
    }
    shown: dict[tuple[str, str], None] = {}
    for call in calls:
        if call.owner == by:
            shown.update(dict.fromkeys(_passages(call.user)))
    found = []
    for title, text in shown:
        if title not in sources:
            continue
        place = next((at for quote in quoted if (at := _at(quote, text)) is not None), None)
        begin, end = place or (0, 0)
        before = text[max(0, begin - _AROUND) : begin] if place else text[: 2 * _AROUND]
        found.append(
            Quote(title, sources[title], before, text[begin:end], text[end : end + _AROUND] if place else "")
        )
    return found


def sources_of(connection: sqlite3.Connection, meta: Mapping[str, Any]) -> list[Quote]:
    """The passages of documents that an item was made from, with its quotes marked."""
    source = meta.get("source")
    found = []
    for each in source if isinstance(source, list) else [source]:
        row = None
        if isinstance(each, Mapping) and isinstance(each.get("passage"), int):
            query = "SELECT text, first FROM passages WHERE passage = ?"
            row = connection.execute(query, (each["passage"],)).fetchone()
        if row is None or not isinstance(each, Mapping):
            continue
        text, first = row
        begin, end = (each["start"] - first, each["end"] - first) if each.get("quote") else (0, 0)
        page = f", page {each['page']}" if each.get("page") else ""
        title = f"{each.get('file', '')}{page}"
        found.append(Quote(title, str(each.get("heading", "")), text[:begin], text[begin:end], text[end:]))
    return found


def _passages(prompt: str) -> Iterator[tuple[str, str]]:
    for line in prompt.splitlines():
        if line.startswith('{"title":'):
            try:
                told = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(told.get("title"), str) and isinstance(told.get("text"), str):
                yield told["title"], told["text"]


def _at(quote: str, text: str) -> tuple[int, int] | None:
    """Where the quote stands, whatever its spaces and quotation marks are; None where it does not."""
    words = re.findall(r"\w+", quote)
    if not words:
        return None
    match = re.search(r"\W+".join(map(re.escape, words)), text, re.IGNORECASE)
    return match.span() if match is not None else None

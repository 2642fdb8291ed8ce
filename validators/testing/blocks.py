"""Where an item's code and tests stand: in fields of its own, or in fenced blocks of its texts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from engine.items import Item

LANGUAGES = {
    "python": "python", "py": "python", "python3": "python",
    "javascript": "javascript", "js": "javascript", "node": "javascript",
    "sql": "sql", "sqlite": "sql",
}  # fmt: skip
"""What stands behind a fence, by what it means."""
_FENCE = re.compile(
    r"^[ \t]*(`{3,}|'{3,}|~{3,})[ \t]*([\w+-]*)[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE
)
_TESTS = re.compile(r"\bassert\b|\bdef test|\bexpect\(|\btest\(|\bit\(|unittest|def check\(")


@dataclass(frozen=True)
class Block:
    language: str
    """As LANGUAGES names it; '' where the fence does not say."""
    text: str


@dataclass(frozen=True)
class Code:
    """What is run."""

    language: str
    solution: str
    tests: Any
    """A text, or what a JSON value holds: a list of tests, or of inputs and outputs."""


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a text, in order."""
    return [Block(LANGUAGES.get(found[2].casefold(), ""), found[3]) for found in _FENCE.finditer(text)]


def code_of(item: Item, code: str, tests: str, language: str) -> Code:
    """What an item holds; `code` and `tests` name the fields, `language` is the config's, or 'auto'.

    Raises LookupError, with `code` or `tests` as its argument, for what is missing.
    """
    solution, found = _solution(item, code)
    given = _field(item, tests)
    if given is None:
        fenced = [each for text in _texts(item) for each in blocks(text) if _TESTS.search(each.text)]
        fenced = [each for each in fenced if each.text.strip() != solution.strip()]
        if not fenced:
            raise LookupError("tests")
        given = "\n".join(each.text for each in fenced)
    named = _field(item, "language")
    said = found or (LANGUAGES.get(str(named).casefold(), "") if named is not None else "")
    return Code(said or "python" if language == "auto" else language, solution, _tests(given))


def _solution(item: Item, name: str) -> tuple[str, str]:
    """(source, language). Raises LookupError."""
    value = _field(item, name)
    if not isinstance(value, str) or not value.strip():
        raise LookupError("code")
    fenced = blocks(value)
    if not fenced:
        return value, ""
    solutions = [each for each in fenced if not _TESTS.search(each.text)] or fenced
    return "\n".join(each.text for each in solutions), solutions[0].language


def _field(item: Item, name: str) -> Any:
    """A field by its name on the wire."""
    if name == "text":
        return item.text
    if name == "label":
        return item.label
    return item.extras.get(name, item.parts.get(name))


def _texts(item: Item) -> list[str]:
    values = [item.text, item.label, *item.parts.values(), *item.extras.values()]
    return [value for value in values if isinstance(value, str)]


def _tests(given: Any) -> Any:
    """Tests as a list, where they are one or are written as one; else their text, out of its fence."""
    if not isinstance(given, str):
        return given
    stripped = given.strip()
    fenced = blocks(given)
    if fenced:
        stripped = "\n".join(each.text for each in fenced).strip()
    if stripped[:1] in "[{":
        try:
            return json.loads(stripped)
        except ValueError:
            pass
    return stripped

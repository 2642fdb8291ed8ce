"""Checks how a text is written: counts, beginnings and ends, letter case, forms. Each returns a complaint, or None."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from engine.constraints import Case, Count, Ends, Form, OneOf, Paragraph, Shape, Starts

_BULLET = re.compile(r"^[ \t]*(?:\*(?!\*)|-|\u2022)[ \t]+\S", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\]")
_HIGHLIGHT = re.compile(r"(?<!\*)\*\*?(?=[^\s*])[^\n*]+?(?<=[^\s*])\*\*?(?!\*)")
_TITLE = re.compile(r"<<\s*[^<>\n]*\w[^<>\n]*>>")
_POSTSCRIPT = re.compile(
    r"(?:^|\s)P\.\s?(?:P\.\s?)?S\.[:,]?\s*\S|^\s*PS[:.,\s]\s*\S", re.IGNORECASE | re.MULTILINE
)
_QUOTES = (('"', '"'), ("\u201c", "\u201d"), ("\u201e", "\u201c"), ("\u00ab", "\u00bb"))


def paragraphs(text: str) -> list[str]:
    """What stands between empty lines, or lines of three asterisks."""
    return [
        part.strip()
        for part in re.split(r"\n\s*(?:\*{3}\s*)?\n|^\*{3}$", text, flags=re.MULTILINE)
        if part.strip()
    ]


def complaint(rule: Shape, text: str) -> str | None:
    """What is wrong with a field's text, as a sentence."""
    match rule:
        case Count():
            return _count(rule, text)
        case Starts(with_, field):
            return (
                None
                if _plain(text).startswith(_plain(with_))
                else f"the {field} does not begin with {with_!r}"
            )
        case Ends(with_, field):
            return (
                None if _plain(text).endswith(_plain(with_)) else f"the {field} does not end with {with_!r}"
            )
        case Paragraph(number, starts, field):
            return _paragraph(number, starts, field, text)
        case Case(form, field):
            wrong = text.upper() if form == "upper" else text.lower()
            return None if text == wrong else f"the {field} is not in {form} case"
        case Form(name, field):
            return None if _FORMS[name](text.strip()) else f"the {field} is not of the form {name}"
        case OneOf(texts, field):
            known = {_plain(each) for each in texts}
            return None if _plain(text) in known else f"the {field} is none of {', '.join(map(repr, texts))}"


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def counted(rule: Count, text: str) -> int:
    """How often what the rule counts occurs in a text."""
    match rule.of:
        case "word":
            return len(re.findall(rf"(?<!\w){re.escape(rule.what)}(?!\w)", text, re.IGNORECASE))
        case "letter":
            return text.casefold().count(rule.what.casefold())
        case "bullets":
            return len(_BULLET.findall(text))
        case "placeholders":
            return len(_PLACEHOLDER.findall(text))
        case "highlights":
            return len(_HIGHLIGHT.findall(_BULLET.sub("x", text)))
        case "sections":
            return len(re.findall(rf"^\W*{re.escape(rule.what)}\s*\d+", text, re.IGNORECASE | re.MULTILINE))
        case "capital_words":
            return sum(word.isupper() and len(word) > 1 for word in re.findall(r"[^\W\d_]+", text))
        case "parts":
            return sum(bool(part.strip()) for part in text.split(rule.what))


def _count(rule: Count, text: str) -> str | None:
    found = counted(rule, text)
    what = rule.what if rule.of in ("word", "letter") else rule.of.replace("_", " ")
    if rule.min is not None and found < rule.min:
        return f"the {rule.field} has {found} of {what!r}, fewer than {rule.min}"
    if rule.max is not None and found > rule.max:
        return f"the {rule.field} has {found} of {what!r}, more than {rule.max}"
    return None


def _paragraph(number: int, starts: str, field: str, text: str) -> str | None:
    there = paragraphs(text)
    if len(there) < number:
        return f"the {field} has {len(there)} paragraphs, and not {number}"
    first = re.match(r"\W*(\w[\w'-]*)", there[number - 1])
    if first is not None and first[1].casefold() == starts.casefold():
        return None
    return f"paragraph {number} of the {field} does not begin with {starts!r}"


def _is_json(text: str) -> bool:
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", text, re.DOTALL | re.IGNORECASE)
    try:
        json.loads(fenced[1] if fenced is not None else text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_quoted(text: str) -> bool:
    return len(text) > 2 and any(text.startswith(first) and text.endswith(last) for first, last in _QUOTES)


_FORMS: Mapping[str, Callable[[str], bool]] = {
    "json": _is_json,
    "title": lambda text: _TITLE.search(text) is not None,
    "quoted": _is_quoted,
    "postscript": lambda text: _POSTSCRIPT.search(text) is not None,
}

"""Constraints on how a text is written: counts, beginnings and ends, letter case, forms; and their sentences.

With `length`, `contains`, `excludes`, `language` and `regex` these are the 25 kinds of IFEval (Zhou et al., 2023, arXiv
2311.07911), each of which a program can check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Counted = Literal[
    "word", "letter", "bullets", "placeholders", "highlights", "sections", "capital_words", "parts"
]
_COUNTED: dict[str, str] = {
    "bullets": "bullet points, each on a line that begins with * or -",
    "placeholders": "placeholders in square brackets, such as [address]",
    "highlights": "highlighted parts, such as *this one*",
    "capital_words": "words in capital letters alone",
}
LetterCase = Literal["upper", "lower"]
FormName = Literal["json", "title", "quoted", "postscript"]
_FORMS: dict[str, str] = {
    "json": "is one JSON value and nothing else",
    "title": "has a title in double angle brackets, such as <<a title>>",
    "quoted": "stands in double quotation marks as a whole",
    "postscript": "ends with a postscript that begins with P.S.",
}


@dataclass(frozen=True, slots=True)
class Count:
    """How often something occurs, from `min` to `max`; `what` is the word, the letter, a section's or part's mark."""

    of: Counted
    what: str = ""
    min: int | None = None
    max: int | None = None
    field: str = "text"

    def sentence(self) -> str:
        if self.min == self.max:
            bounds = f"exactly {self.min}"
        elif self.max is None:
            bounds = f"at least {self.min}"
        else:
            bounds = f"at most {self.max}" if self.min is None else f"between {self.min} and {self.max}"
        match self.of:
            case "word":
                return f"The word {self.what!r} occurs {bounds} times in the {self.field}."
            case "letter":
                return f"The letter {self.what!r} occurs {bounds} times in the {self.field}."
            case "sections":
                return f"The {self.field} has {bounds} sections, each headed {self.what} 1, {self.what} 2 and so on."
            case "parts":
                return f"The {self.field} has {bounds} parts, separated by {self.what}"
        return f"The {self.field} has {bounds} {_COUNTED[self.of]}."


@dataclass(frozen=True, slots=True)
class Starts:
    """The field begins with this (case ignored)."""

    with_: str
    field: str = "text"

    def sentence(self) -> str:
        return f"The {self.field} begins with exactly this: {self.with_}"


@dataclass(frozen=True, slots=True)
class Ends:
    """The field ends with this, and nothing after it (case ignored)."""

    with_: str
    field: str = "text"

    def sentence(self) -> str:
        return f"The {self.field} ends with exactly this, and nothing after it: {self.with_}"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """The `number`-th paragraph, from 1, begins with this word; paragraphs are set apart by an empty line."""

    number: int
    starts: str
    field: str = "text"

    def sentence(self) -> str:
        said = f"Paragraph {self.number} of the {self.field} begins with the word {self.starts!r}"
        return f"{said}; an empty line ends a paragraph."


@dataclass(frozen=True, slots=True)
class Case:
    """All letters are capitals, or none is."""

    form: LetterCase
    field: str = "text"

    def sentence(self) -> str:
        return f"The {self.field} is in {'capital' if self.form == 'upper' else 'small'} letters alone."


@dataclass(frozen=True, slots=True)
class Form:
    """A form of the whole field."""

    name: FormName
    field: str = "text"

    def sentence(self) -> str:
        return f"The {self.field} {_FORMS[self.name]}."


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field is one of these texts."""

    texts: tuple[str, ...]
    field: str = "text"

    def sentence(self) -> str:
        return f"The {self.field} is one of: {', '.join(repr(text) for text in self.texts)}."

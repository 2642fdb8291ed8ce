"""The constraints that a generated item must satisfy, and the sentence that states each to a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from engine.constraints.shapes import Case, Count, Ends, Form, OneOf, Paragraph, Starts

Unit = Literal["words", "characters", "sentences", "paragraphs"]


@dataclass(frozen=True, slots=True)
class FreeText:
    """A rule in plain words, which only goes into the prompt: no program can check it."""

    rule: str

    def sentence(self) -> str:
        return self.rule


@dataclass(frozen=True, slots=True)
class Length:
    """From `min` to `max` units, both inclusive; either may be absent."""

    min: int | None = None
    max: int | None = None
    unit: Unit = "words"
    field: str = "text"

    def sentence(self) -> str:
        if self.min is not None and self.max is not None:
            bounds = f"between {self.min} and {self.max}"
        elif self.min is not None:
            bounds = f"at least {self.min}"
        else:
            bounds = f"at most {self.max}"
        return f"The {self.field} has {bounds} {self.unit}."


@dataclass(frozen=True, slots=True)
class Regex:
    """The pattern must be found in the field (Python syntax, `re.search`)."""

    pattern: str
    field: str = "text"

    def sentence(self) -> str:
        return f"The {self.field} matches the regular expression {self.pattern}"


@dataclass(frozen=True, slots=True)
class Language:
    """The language that the field is written in: an ISO 639-1 code, with a region or script if wanted (pt-BR)."""

    code: str
    field: str = "text"

    def sentence(self) -> str:
        return f"The {self.field} is written in {language_name(self.code)}."


@dataclass(frozen=True, slots=True)
class Contains:
    """Each of these must occur in the field (case ignored)."""

    words: tuple[str, ...]
    field: str = "text"

    def sentence(self) -> str:
        return f"The {self.field} contains each of: {_quoted(self.words)}."


@dataclass(frozen=True, slots=True)
class Excludes:
    """None of these may occur in the field (case ignored)."""

    words: tuple[str, ...]
    field: str = "text"

    def sentence(self) -> str:
        return f"The {self.field} contains none of: {_quoted(self.words)}."


@dataclass(frozen=True, slots=True)
class LabelIn:
    """The label is one of these."""

    labels: tuple[str, ...]

    def sentence(self) -> str:
        return f"The label is one of: {_quoted(self.labels)}."


@dataclass(frozen=True, slots=True)
class LabelRatio:
    """Share of each label in the accepted items, as weights; labels without a weight are not accepted."""

    weights: Mapping[str, float]

    def sentence(self) -> str:
        return f"The label is one of: {_quoted(tuple(self.weights))}."


def allowed_by(constraints: Iterable[Constraint]) -> tuple[str, ...]:
    """The labels that an item may have by its constraints, in the first one's order; none where these name none."""
    sets = [
        each.labels if isinstance(each, LabelIn) else tuple(each.weights)
        for each in constraints
        if isinstance(each, LabelIn | LabelRatio)
    ]
    return tuple(label for label in sets[0] if all(label in other for other in sets)) if sets else ()


def language_name(code: str) -> str:
    """A language as people call it; by its code where it is none of the common ones."""
    base, _, region = code.partition("-")
    named = _LANGUAGES.get(base, f"the language with the ISO 639-1 code {base!r}")
    return f"{named} ({_REGIONS.get(region, region)})" if region else named


_REGIONS: Mapping[str, str] = {
    "CN": "as written in China",
    "TW": "as written in Taiwan",
    "HK": "as written in Hong Kong",
    "Hans": "in simplified characters",
    "Hant": "in traditional characters",
    "BR": "of Brazil",
    "PT": "of Portugal",
    "GB": "of Britain",
    "US": "of the United States",
    "MX": "of Mexico",
    "ES": "of Spain",
}


_LANGUAGES: Mapping[str, str] = dict(
    pair.split(":")
    for pair in (
        "ar:Arabic bg:Bulgarian bn:Bengali ca:Catalan cs:Czech da:Danish de:German el:Greek en:English es:Spanish"
        " et:Estonian fa:Persian fi:Finnish fr:French he:Hebrew hi:Hindi hr:Croatian hu:Hungarian id:Indonesian"
        " it:Italian ja:Japanese km:Khmer ko:Korean lt:Lithuanian lv:Latvian mk:Macedonian ms:Malay nb:Norwegian"
        " nl:Dutch nn:Norwegian no:Norwegian pl:Polish pt:Portuguese ro:Romanian ru:Russian sk:Slovak sl:Slovenian"
        " sq:Albanian sr:Serbian sv:Swedish"
        " sw:Swahili ta:Tamil te:Telugu th:Thai tr:Turkish uk:Ukrainian ur:Urdu vi:Vietnamese zh:Chinese"
    ).split()
)


Shape = Case | Count | Ends | Form | OneOf | Paragraph | Starts
Constraint = FreeText | Length | Regex | Language | Contains | Excludes | LabelIn | LabelRatio | Shape


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)

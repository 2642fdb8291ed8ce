"""The form that all labels of a dataset share: numbers, dates, a closed set, a part of the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["free", "number", "date", "closed", "span"]

_NUMBER = re.compile(r"[-\u2212]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?")
_NUMERAL = re.compile(r"(?<![\d/.])[-\u2212]?\d[\d,]*(?:\.\d+)?(?![\d/])")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_LEAST_ROWS = 5
"""Fewer labels show no form."""
_LEAST_CLOSED = 8
"""Fewer labels show no closed set."""
_MOST_VALUES = 200
_EACH, _EACH_NUMBER = 3, 10
"""A set of labels is closed if each value stands for this many rows on average; numbers may be answers."""
_LONGEST_NAME = 60
"""Characters of the longest label of a closed set."""
_LONGEST_SPAN = 200


@dataclass(frozen=True, slots=True)
class LabelForm:
    """What every label of the base dataset has in common, and new labels must have, too."""

    kind: Kind = "free"
    values: tuple[str, ...] = ()
    """Of a closed set."""
    digits: int = 0
    """Of numbers: the most digits before the point."""
    decimals: int = 0
    marks: frozenset[str] = frozenset()
    """Of numbers: which of the signs $ € £ , % occur."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> LabelForm:
        """The form of (label, text) pairs; free where there is none, or too few pairs."""
        given = list(pairs)
        labels = [label for label, _ in given]
        if len(labels) < _LEAST_ROWS:
            return cls()
        if (closed := _closed(labels)) is not None:
            return cls("closed", closed)
        if all(_NUMBER.fullmatch(label) for label in labels):
            return cls._numbers(labels)
        if all(_DATE.fullmatch(label) for label in labels):
            return cls("date")
        if all(len(label) <= _LONGEST_SPAN and _plain(label) in _plain(text) for label, text in given):
            return cls("span")
        return cls()

    @classmethod
    def closed(cls, values: Iterable[str]) -> LabelForm:
        """A set that is known to be closed."""
        return cls("closed", tuple(dict.fromkeys(values)))

    @classmethod
    def _numbers(cls, labels: Sequence[str]) -> LabelForm:
        bare = [re.sub(r"[^\d.]", "", label) for label in labels]
        digits = max(len(number.partition(".")[0]) for number in bare)
        decimals = max(len(number.partition(".")[2]) for number in bare)
        return cls(
            "number", (), digits, decimals, frozenset(c for label in labels for c in label if c in "$€£,%")
        )

    def fitted(self, label: str, text: str) -> str | None:
        """The label in this form, without a unit that a model has added; None if it has another form."""
        match self.kind:
            case "number":
                return self._number(label)
            case "date":
                return label if _DATE.fullmatch(label) else None
            case "closed":
                same = {value.casefold(): value for value in self.values}
                return same.get(label.casefold())
            case "span":
                return label if _plain(label) in _plain(text) else None
        return label

    def _number(self, label: str) -> str | None:
        if _NUMBER.fullmatch(label) and {c for c in label if c in "$€£,%"} <= self.marks:
            return label
        numerals = _NUMERAL.findall(label)
        if len(numerals) != 1 or ("%" in label and "%" not in self.marks):
            return None
        return str(numerals[0]).replace(",", "").replace("\u2212", "-")

    def schema(self) -> dict[str, Any]:
        """JSON Schema of such a label: patterns are anchored and bounded, for servers that generate by them."""
        match self.kind:
            case "number":
                signs = "".join(re.escape(sign) for sign in sorted(self.marks & frozenset("$€£")))
                before = f"[{signs}]?" if signs else ""
                whole = (
                    f"[0-9,]{{1,{self.digits + 4}}}" if "," in self.marks else f"[0-9]{{1,{self.digits + 2}}}"
                )
                after = "%?" if "%" in self.marks else ""
                return {
                    "type": "string",
                    "pattern": rf"^-?{before}{whole}(\.[0-9]{{1,{max(2, self.decimals)}}})?{after}$",
                }
            case "date":
                return {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
            case "closed":
                return {"type": "string", "enum": list(self.values)}
        return {"type": "string"}

    def in_words(self) -> str:
        """What a label is, for a prompt and for whoever reads why an item was rejected."""
        return {
            "number": "a number in digits, without words around it",
            "date": "a date as YYYY-MM-DD",
            "closed": f"one of: {', '.join(self.values)}",
            "span": "words that stand in the text",
        }.get(self.kind, "")


def _closed(labels: Sequence[str]) -> tuple[str, ...] | None:
    """The values of a closed set: few that repeat. Numbers are one where they are classes or grades."""
    values = sorted(set(labels))
    if len(labels) < _LEAST_CLOSED or len(values) > _MOST_VALUES or max(map(len, values)) > _LONGEST_NAME:
        return None
    if all(_NUMBER.fullmatch(value) for value in values):
        grades = sorted(int(value) for value in values if re.fullmatch(r"-?\d", value))
        runs = grades == list(range(grades[0], grades[-1] + 1)) if grades else False
        if len(grades) != len(values) or not runs or len(labels) < _EACH_NUMBER * len(values):
            return None
        return tuple(values)
    return tuple(values) if len(labels) >= _EACH * len(values) else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())

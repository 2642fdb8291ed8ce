"""Reads constraints from their form in a config file, and writes them back."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    WrapSerializer,
)

from engine.constraints import (
    Case,
    Constraint,
    Contains,
    Count,
    Ends,
    Excludes,
    Form,
    FreeText,
    LabelIn,
    LabelRatio,
    Language,
    Length,
    OneOf,
    Paragraph,
    Regex,
    Starts,
)

CHECKED: dict[str, type] = {
    "length": Length,
    "regex": Regex,
    "language": Language,
    "contains": Contains,
    "excludes": Excludes,
    "label_in": LabelIn,
    "label_ratio": LabelRatio,
    "count": Count,
    "starts": Starts,
    "ends": Ends,
    "paragraph": Paragraph,
    "case": Case,
    "form": Form,
    "one_of": OneOf,
}
_SHORT = {
    "language": "code",
    "regex": "pattern",
    "contains": "words",
    "excludes": "words",
    "label_in": "labels",
    "starts": "with_",
    "ends": "with_",
    "case": "form",
    "form": "name",
    "one_of": "texts",
}


def compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None


def _constraint(value: Any) -> Constraint:
    """A string is a free-text rule; {kind: options} is a rule that a program checks."""
    if isinstance(value, Constraint):
        return value
    if isinstance(value, str):
        return FreeText(value)
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"is neither a sentence nor one of {', '.join(CHECKED)}")
    [(kind, options)] = value.items()
    if kind not in CHECKED:
        raise ValueError(f"has no kind {kind!r}; there are {', '.join(CHECKED)}")
    if kind == "label_ratio" and isinstance(options, dict) and "weights" not in options:
        options = {"weights": options}
    elif not isinstance(options, dict) and kind in _SHORT:
        options = {
            _SHORT[kind]: [options]
            if kind in ("contains", "excludes", "one_of") and isinstance(options, str)
            else options
        }
    return _plausible(_parsed(kind, options))


def _parsed(kind: str, options: Any) -> Constraint:
    cls = CHECKED[kind]
    if isinstance(options, dict) and "with" in options:
        options = {"with_" if name == "with" else name: value for name, value in options.items()}
    if isinstance(options, dict) and (unknown := set(options) - set(cls.__dataclass_fields__)):  # type: ignore[attr-defined]
        allowed = ", ".join(cls.__dataclass_fields__).replace("with_", "with")  # type: ignore[attr-defined]
        raise ValueError(f"{kind} has no option {sorted(unknown)[0]!r}; there are {allowed}")
    try:
        parsed: Constraint = TypeAdapter(cls).validate_python(options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (kind, *first["loc"]))
        raise ValueError(f"{where}: {first['msg']}") from None
    return parsed


def _plausible(constraint: Constraint) -> Constraint:
    match constraint:
        case Length(min=None, max=None):
            raise ValueError("length needs min, max or both")
        case Length(min=low, max=high) if low is not None and high is not None and low > high:
            raise ValueError(f"length: min {low} is above max {high}")
        case Regex(pattern=pattern):
            compiled(pattern)
        case Count(min=None, max=None):
            raise ValueError("count needs min, max or both")
        case Count(min=low, max=high) if low is not None and high is not None and low > high:
            raise ValueError(f"count: min {low} is above max {high}")
        case Count(of=of, what="") if of in ("word", "letter", "sections", "parts"):
            raise ValueError(f"count: of {of} needs what: {_WHAT[of]}")
        case Paragraph(number=number) if number < 1:
            raise ValueError("paragraph: number counts from 1")
        case Starts(with_="") | Ends(with_="") | OneOf(texts=()):
            raise ValueError(f"{_kind(constraint)} needs a text")
        case Language(code=code, field=field):
            known = re.fullmatch(r"([A-Za-z]{2})(?:[-_]([A-Za-z]{4}|[A-Za-z]{2}))?", code)
            if known is None:
                raise ValueError(f"language: {code!r} is no ISO 639-1 code such as 'en' or 'pt-BR'")
            region = known[2] and (known[2].upper() if len(known[2]) == 2 else known[2].capitalize())
            return Language("-".join(filter(None, (known[1].lower(), region))), field)
        case LabelRatio(weights=weights) if not weights or min(weights.values()) <= 0:
            raise ValueError("label_ratio needs a positive weight for each label")
    return constraint


def _written(constraint: Any, default: SerializerFunctionWrapHandler) -> Any:
    """The constraint in its config-file form."""
    if isinstance(constraint, FreeText):
        return constraint.rule
    options = default(constraint)
    return {_kind(constraint): {name.removesuffix("_"): value for name, value in options.items()}}


def _kind(constraint: Any) -> str:
    return next(name for name, cls in CHECKED.items() if cls is type(constraint))


_WHAT = {
    "word": "the word",
    "letter": "the letter",
    "sections": "the word that heads each",
    "parts": "what separates them",
}


WrittenConstraint = Annotated[Any, BeforeValidator(_constraint), WrapSerializer(_written)]

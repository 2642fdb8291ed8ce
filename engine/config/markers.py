"""What a field of the config is besides its type: a secret, a path, a setting that may change between two starts.

A marker stands in the field's annotation; whatever needs to know asks for the places that bear it. So a new secret or
path is one edit. A place is a pattern of keys, in which `*` stands for any key or index:

    api_key: Annotated[str | None, Secret(), Operational()]      model.api_key, model.*.api_key
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel

Keys = tuple[str | int, ...]
Pattern = tuple[str, ...]
M = TypeVar("M")
ANY = "*"


@dataclass(frozen=True)
class Secret:
    """Never written anywhere: in the run folder a variable of the environment stands in its place.

    Of a mapping, every value is one.
    """


@dataclass(frozen=True)
class NotSecret:
    """A field that is named like a secret and is none, and why."""

    why: str


@dataclass(frozen=True)
class FreeForm:
    """Settings whose names the engine does not know: a value is secret if its name says so, or if it came from the
    environment."""


@dataclass(frozen=True)
class Operational:
    """May differ between two starts of one run. All other settings are the run's identity. Of a section, all of it."""


@dataclass(frozen=True)
class ByContent:
    """A file that is part of the run's identity by what it holds, wherever it lies."""


@dataclass(frozen=True)
class PathFrom:
    """A relative path is taken from the folder of the config file; of a list or mapping, every text is one."""

    named: str | None = None
    """Of free settings: only values of this name are paths, at any depth."""
    dotted: bool = False
    """Only what begins with a dot is a path: anything else is a name."""


@cache
def places(model: type[BaseModel], marker: type[M]) -> tuple[tuple[Pattern, M], ...]:
    """The patterns of all fields below `model` that bear the marker, in the order in which they are declared."""
    return tuple(_places(model, marker, ()))


def matches(keys: Sequence[object], pattern: Pattern) -> bool:
    """Whether the keys are a place of that pattern."""
    return len(keys) == len(pattern) and below(keys, pattern)


def below(keys: Sequence[object], pattern: Pattern) -> bool:
    """Whether the keys are a place of that pattern, or one inside of it."""
    return len(keys) >= len(pattern) and all(
        part in (ANY, str(key)) for part, key in zip(pattern, keys, strict=False)
    )


def _places(model: type[BaseModel], marker: type[M], keys: Pattern) -> Iterator[tuple[Pattern, M]]:
    for name, field in model.model_fields.items():
        for found in field.metadata:
            if isinstance(found, marker):
                yield (*keys, name), found
        for inner, section in sections(field.annotation):
            yield from _places(section, marker, (*keys, name, *inner))


def sections(annotation: Any) -> Iterator[tuple[Pattern, type[BaseModel]]]:
    """The sections that a field of this type may hold, and how many levels down."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield (), annotation
        return
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (tuple, list, dict):
        for keys, section in sections(inner[-1] if origin is dict else inner[0]):
            yield (ANY, *keys), section
    else:  # a union, or an annotated type, whose other arguments are no types
        for each in inner:
            yield from sections(each)

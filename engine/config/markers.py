"""Markers of config fields: secrets, paths, settings that may change between two starts.

A marker is part of the field's annotation, and `places` lists the fields that have it. So a new secret or
path is one edit. A place is a pattern of keys, in which `*` matches any key or index, and `#` an index:

    api_key: Annotated[str | None, Secret(), Operational()]      model.api_key, model.#.api_key
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
ANY, INDEX = "*", "#"


@dataclass(frozen=True)
class Secret:
    """Never written anywhere: the run folder names an environment variable instead.

    In a marked mapping, every value is a secret.
    """


@dataclass(frozen=True)
class NotSecret:
    """A field that holds no secret, whatever it is called and wherever its value comes from, and the reason.

    Of a section, all of it.
    """

    why: str


@dataclass(frozen=True)
class FreeForm:
    """Settings whose names the engine does not know.

    A value is secret if its name says so, or if it is a text that comes from the environment.
    """


@dataclass(frozen=True)
class Operational:
    """May differ between two starts of one run; of a section, all of it. Other settings identify the run."""


@dataclass(frozen=True)
class ByContent:
    """A file whose content, not its path, is part of the run's identity."""


@dataclass(frozen=True)
class Words:
    """Texts, whatever YAML makes of them: `no`, `0` and `2024-01-01` are what their writer wrote."""

    under: tuple[Pattern, ...] = ((),)
    """In settings whose keys the engine reads itself: where in them such texts stand."""


@dataclass(frozen=True)
class PathFrom:
    """A path, relative to the config file's folder; in a list or mapping, every text is a path."""

    named: str | None = None
    """In free-form settings: only values of keys with this name are paths, at any depth."""
    dotted: bool = False
    """Only a text that begins with a dot is a path; any other is a name."""


@cache
def places(model: type[BaseModel], marker: type[M]) -> tuple[tuple[Pattern, M], ...]:
    """The patterns of all fields of `model` that have the marker, in order of declaration."""
    return tuple(_places(model, marker, ()))


def matches(keys: Sequence[object], pattern: Pattern) -> bool:
    """Whether the keys match the pattern."""
    return len(keys) == len(pattern) and below(keys, pattern)


def below(keys: Sequence[object], pattern: Pattern) -> bool:
    """Whether the keys match the pattern, or lie below a match."""
    return len(keys) >= len(pattern) and all(
        part in (ANY, str(key)) or (part == INDEX and str(key).isdecimal())
        for part, key in zip(pattern, keys, strict=False)
    )


def _places(model: type[BaseModel], marker: type[M], keys: Pattern) -> Iterator[tuple[Pattern, M]]:
    for name, field in model.model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, marker):
                yield (*keys, name), mark
        for inner, section in sections(field.annotation):
            yield from _places(section, marker, (*keys, name, *inner))


def sections(annotation: Any) -> Iterator[tuple[Pattern, type[BaseModel]]]:
    """The sections that a field of this type may hold, each with the keys that lead to it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield (), annotation
        return
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (tuple, list, dict):
        for keys, section in sections(inner[-1] if origin is dict else inner[0]):
            yield (ANY if origin is dict else INDEX, *keys), section
    else:  # a union, or an annotated type, whose other arguments are not types
        for each in inner:
            yield from sections(each)

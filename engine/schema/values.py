"""JSON text of rows, exactly: whole numbers of any size, NaN and infinities, which strict JSON lacks."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import orjson

LARGE = 2.0**63
"""From here on a number may have been a whole one that was rounded, or does not fit one of 64 bits."""


def dumps(value: Any) -> str:
    """The value as JSON; NaN, infinities and large whole numbers as Python's own module writes them."""
    if is_plain(value):
        try:
            return orjson.dumps(value, default=str).decode()
        except TypeError:  # a whole number beyond 64 bits
            pass
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def loads(text: str | bytes) -> Any:
    """What `dumps` wrote. Raises ValueError."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)
    return value if is_exact(value) else json.loads(text)


def is_exact(value: Any) -> bool:
    """Whether no number is so large that it may have been a whole one, which orjson would have rounded."""
    return _every(value, _below)


def is_plain(value: Any) -> bool:
    """Whether every number in it is finite, and exact as orjson reads it."""
    return _every(value, _finite)


def _below(number: float) -> bool:
    return -LARGE < number < LARGE


def _finite(number: float) -> bool:
    return isfinite(number)


def _every(value: Any, holds: Any) -> bool:
    kind = value.__class__
    if kind is float:
        return bool(holds(value))
    if kind is dict:
        for inner in value.values():
            if inner.__class__ is not str and not _every(inner, holds):
                return False
    elif kind is list:
        for inner in value:
            if inner.__class__ is not str and not _every(inner, holds):
                return False
    return True

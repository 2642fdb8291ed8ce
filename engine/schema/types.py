"""Types of values, as JSON holds them and Arrow names them; the one that several values have in common."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

INT64, UINT64 = 2**63, 2**64
_EXACT = 2**53
"""Whole numbers up to here are numbers of 64 bits with a fraction, too."""
_MOST_KEYS = 64
"""Fields of an object that is still one with fields; more are keys that are data themselves."""


@dataclass(frozen=True, slots=True)
class Type:
    """A type by its Arrow name; `list` has `inner`, `struct` has `fields`, `json` may be any JSON value.

    `large` is an int64 that holds whole numbers which no double is: it has nothing in common with fractions.
    """

    name: str
    inner: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()
    large: bool = False

    def __str__(self) -> str:
        if self.inner is not None:
            return f"{self.name}<{self.inner}>"
        if self.name == "struct":
            return f"struct<{', '.join(f'{name}: {inner}' for name, inner in self.fields)}>"
        return self.name

    @property
    def kind(self) -> str:
        """Its JSON type: boolean, integer, number, string, array, object, null; 'any' where it may be each."""
        known = _KINDS.get(self.name)
        if known is not None:
            return known
        # Dates, times, decimals and bytes are texts in JSON.
        return "integer" if self.name.startswith(("int", "uint", "duration")) else "string"

    def as_json(self) -> Any:
        """Plain JSON values, for `from_json`."""
        if self.inner is not None:
            return [self.name, self.inner.as_json()]
        if self.name == "struct":
            return {name: inner.as_json() for name, inner in self.fields}
        return [self.name, "large"] if self.large else self.name

    @classmethod
    def from_json(cls, value: Any) -> Type:
        """Also reads a config's form: `[string]` is a list of texts. Raises ValueError."""
        match value:
            case str():
                return cls(_ALIASES.get(value, value))
            case [inner]:
                return cls("list", cls.from_json(inner))
            case ["int64", "large"]:
                return LARGE
            case [str(name), inner] if name.startswith("list"):
                return cls(name, cls.from_json(inner))
            case dict():
                return cls("struct", None, tuple((str(k), cls.from_json(v)) for k, v in value.items()))
        raise ValueError(f"{value!r} is no type; a name such as string or int64, [type] or {{name: type}}")


NULL, BOOL, INTEGER, UNSIGNED, NUMBER, STRING, ANY = (
    Type(name) for name in ("null", "bool", "int64", "uint64", "double", "string", "json")
)
LARGE = Type("int64", large=True)
_KINDS: Mapping[str, str] = {
    "null": "null",
    "bool": "boolean",
    "float": "number",
    "double": "number",
    "halffloat": "number",
    "list": "array",
    "large_list": "array",
    "struct": "object",
    "json": "any",
}
_ALIASES: Mapping[str, str] = {
    "text": "string",
    "str": "string",
    "int": "int64",
    "integer": "int64",
    "float64": "double",
    "float32": "float",
    "float16": "halffloat",
    "number": "double",
    "boolean": "bool",
    "date": "date32[day]",
    "date32": "date32[day]",
    "date64": "date64[ms]",
    "bytes": "binary",
    "any": "json",
}
_SIMPLE: Mapping[type, Type] = {str: STRING, bool: BOOL, float: NUMBER, type(None): NULL}


def type_of(value: Any) -> Type:
    """The narrowest type of a JSON value."""
    simple = _SIMPLE.get(type(value))
    if simple is not None:
        return simple
    if isinstance(value, int):
        return _of_integer(value)
    if isinstance(value, list):
        return _list_of(common(map(type_of, value)))
    if isinstance(value, dict):
        return _struct_of(tuple(value), tuple(map(type_of, value.values())))
    return STRING


def _of_integer(value: int) -> Type:
    if -_EXACT <= value <= _EXACT:
        return INTEGER
    if -INT64 <= value < INT64:
        return LARGE
    return UNSIGNED if 0 <= value < UINT64 else ANY


@lru_cache(maxsize=4096)
def _list_of(inner: Type) -> Type:
    return Type("list", inner)


@lru_cache(maxsize=4096)
def _struct_of(names: tuple[str, ...], types: tuple[Type, ...]) -> Type:
    if not names or len(names) > _MOST_KEYS or not all(isinstance(name, str) and name for name in names):
        return ANY
    return Type("struct", None, tuple(zip(names, types, strict=True)))


def common(types: Iterable[Type]) -> Type:
    """The type that all of them can be written as without a change; `json` where there is no narrower one."""
    result = NULL
    for each in types:
        if each is not result:
            result = merged(result, each)
    return result


@lru_cache(maxsize=65536)
def merged(one: Type, other: Type) -> Type:
    """The narrowest type of both. Objects with other keys have none: a column of them would add nulls."""
    if one == other or other is NULL:
        return one
    if one is NULL:
        return other
    names = {one.name, other.name}
    if names == {"list"}:
        assert one.inner is not None
        assert other.inner is not None
        return _list_of(merged(one.inner, other.inner))
    if names == {"struct"} and {name for name, _ in one.fields} == {name for name, _ in other.fields}:
        there = dict(other.fields)
        return Type("struct", None, tuple((name, merged(inner, there[name])) for name, inner in one.fields))
    if names == {"int64"}:
        return LARGE
    if names == {"int64", "double"} and not (one.large or other.large):
        return NUMBER
    return ANY


def conforms(value: Any, type: Type) -> bool:
    """Whether the value adds nothing to a type that others have shown: much faster than merging the two."""
    kind = value.__class__
    if value is None or type.name == "json":
        return True
    if kind is str:
        return type.name == "string"
    if kind is dict:
        fields = type.fields
        if type.name != "struct" or len(value) != len(fields):
            return False
        for name, inner in fields:  # noqa: SIM110 - a generator takes twice as long
            if name not in value or not conforms(value[name], inner):
                return False
        return True
    if kind is list:
        inner_type = type.inner
        if inner_type is None:
            return False
        for inner in value:  # noqa: SIM110 - as above
            if not conforms(inner, inner_type):
                return False
        return True
    if kind is int:
        return type.name == "int64" and (
            -_EXACT <= value <= _EXACT or (type.large and -INT64 <= value < INT64)
        )
    return (kind is float and type.name == "double") or (kind is bool and type.name == "bool")


def has_any(type: Type) -> bool:
    """Whether it may hold any JSON value somewhere, for which there is no closed schema."""
    if type.inner is not None:
        return has_any(type.inner)
    return type.name == "json" or any(has_any(inner) for _, inner in type.fields)


def fits(value: Any, type: Type) -> bool:
    """Whether a JSON value can be written as that type without a change. None fits any: see Column.nullable."""
    if value is None:
        return True
    match type.kind:
        case "any":
            return True
        case "null":
            return False
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool) and _in_range(value, type.name)
        case "number":
            return isinstance(value, float) or (
                isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _EXACT
            )
        case "array":
            assert type.inner is not None
            return isinstance(value, list) and all(fits(inner, type.inner) for inner in value)
        case "object":
            known = dict(type.fields)
            return isinstance(value, dict) and all(
                name in known and fits(inner, known[name]) for name, inner in value.items()
            )
    return isinstance(value, str) and _is_form(value, type.name)


def _is_form(text: str, name: str) -> bool:
    """Whether a text is a date, a time, a decimal or bytes, where it has to be one."""
    read = next((read for prefix, read in _FORMS.items() if name.startswith(prefix)), None)
    if read is None:
        return True
    try:
        read(text)
    except (ValueError, ArithmeticError):
        return False
    return True


_FORMS: Mapping[str, Callable[[str], Any]] = {
    "date": date.fromisoformat,
    "timestamp": lambda text: datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)),
    "time": lambda text: time.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)),
    "decimal": Decimal,
    "binary": partial(base64.b64decode, validate=True),
    "large_binary": partial(base64.b64decode, validate=True),
    "fixed_size_binary": partial(base64.b64decode, validate=True),
}


def _in_range(value: int, name: str) -> bool:
    digits = name.lstrip("uint")
    bits = int(digits) if digits.isdigit() else 64
    most: int = 2**bits if name.startswith("u") else 2 ** (bits - 1)
    return (0 if name.startswith("u") else -most) <= value < most


def json_schema(type: Type) -> dict[str, Any]:
    """JSON Schema of a value: closed, every field required. An empty one allows anything."""
    match type.kind:
        case "any" | "null":
            return {}
        case "array":
            assert type.inner is not None
            return {"type": "array", "items": json_schema(type.inner)}
        case "object":
            fields = {name: json_schema(inner) for name, inner in type.fields}
            return {
                "type": "object",
                "properties": fields,
                "required": list(fields),
                "additionalProperties": False,
            }
    return {"type": type.kind}

"""Config files: YAML in, validated settings out, with the line of every mistake."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
import yaml
from pydantic import BaseModel, ValidationError

from engine.errors import ConfigError

Keys = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SECRETS = (("model", "api_key"), ("model", "headers", "*"))
SECRET_VARIABLE = "DATAGEN_API_KEY"  # noqa: S105 - the name of a variable
"""Stands in the run folder where the config had a literal key, so that `resume` knows where to look."""


def read(model: type[M], path: Path, overrides: Mapping[str, Any]) -> tuple[M, dict[str, Any]]:
    """The validated settings, and the same as written, with every `${...}` still in place.

    Raises ConfigError with the key's full path, its line and what is allowed.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    return parse(model, text, str(path), path.parent, overrides)


def parse(
    model: type[M], text: str, name: str, folder: Path, overrides: Mapping[str, Any]
) -> tuple[M, dict[str, Any]]:
    """`read` for a text. Relative paths are taken from `folder`."""
    try:
        raw = yaml.safe_load(text)
        lines = dict(_lines(yaml.compose(text, Loader=yaml.SafeLoader)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name} line {mark.line + 1}" if mark else name
        raise ConfigError(f"{where}: not YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{name}: holds no settings; see the README for a config to start from")
    for dotted, value in overrides.items():
        _put(raw, dotted, value)
    place = _Place(name, lines)
    filled = _rooted(_filled(raw, (), place), folder)
    return _validated(model, filled, place), raw


def without_secrets(resolved: dict[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Resolved settings fit to be written: what came from the environment is a reference again."""
    _restore(resolved, raw)
    for secret in _SECRETS:
        _mask(resolved, secret)
    return resolved


def scalar(text: str) -> Any:
    """A value given on the command line, typed as YAML would type it. Raises ConfigError."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set: {text!r} is not a YAML value") from None


# --- reading ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    name: str
    lines: Mapping[Keys, int]

    def of(self, keys: Keys) -> str:
        """'config.yaml line 7: limits.budget' for the nearest place that the file holds."""
        dotted = ".".join(str(key) for key in keys)
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.lines:
                return f"{self.name} line {self.lines[keys[:end]]}: {dotted}"
        return f"{self.name}: {dotted}" if dotted else self.name


def _lines(node: yaml.Node | None, keys: Keys = ()) -> Iterator[tuple[Keys, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*keys, key.value)
            yield inner, key.start_mark.line + 1
            yield from _lines(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*keys, index), value.start_mark.line + 1
            yield from _lines(value, (*keys, index))


def _put(raw: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = dotted.split(".")
    where = raw
    for key in path:
        inner = where.setdefault(key, {})
        if key == "model" and inner == "simulated":
            inner = where[key] = {"name": "simulated"}
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {dotted}: {key!r} is not a section")
        where = inner
    where[last] = value


def _filled(value: Any, keys: Keys, place: _Place) -> Any:
    """The value with every ${VARIABLE} replaced from the environment."""
    if isinstance(value, dict):
        return {str(key): _filled(inner, (*keys, str(key)), place) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, (*keys, index), place) for index, inner in enumerate(value)]
    if not isinstance(value, str) or not _VARIABLE.search(value):
        return value

    def fill(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], match[2])
        if found is None:
            raise ConfigError(f"{place.of(keys)}: the environment variable {match[1]} is not set")
        return found

    filled = _VARIABLE.sub(fill, value)
    whole = _VARIABLE.fullmatch(value) is not None
    is_secret = any(_matches(keys, secret) for secret in _SECRETS)
    return scalar(filled) if whole and not is_secret else filled


def _rooted(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Relative paths are relative to the config file."""
    for section, key in (("dataset", "path"), ("generate", "template")):
        inner = raw.get(section)
        if isinstance(inner, dict) and isinstance(inner.get(key), str):
            inner[key] = str((folder / inner[key]).resolve())
    return raw


# --- mistakes --------------------------------------------------------------------------------------


def _validated(model: type[M], filled: dict[str, Any], place: _Place) -> M:
    try:
        return model.model_validate_json(orjson.dumps(filled, default=str), strict=True)
    except ValidationError as error:
        mistakes = [_sentence(model, dict(mistake), place) for mistake in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(mistakes))) from None
    except TypeError as error:
        raise ConfigError(f"{place.name}: {error}") from None


def _sentence(model: type[BaseModel], mistake: dict[str, Any], place: _Place) -> str:
    keys = tuple(key for key in mistake["loc"] if key not in ("float", "int", "tuple[float, float]"))
    where = place.of(keys)
    if mistake["type"] == "extra_forbidden":
        allowed = _allowed(model, keys[:-1])
        close = difflib.get_close_matches(str(keys[-1]), allowed, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"{where}: there is no such key; {hint}allowed here: {', '.join(allowed)}"
    if mistake["type"] == "missing":
        return f"{where}: is missing"
    said = mistake["msg"].removeprefix("Value error, ")
    said = said.replace("Input should", "should").replace("Field required", "is missing")
    value = mistake.get("input")
    shown = (
        f" (got {value!r})" if isinstance(value, str | int | float | bool) and not _is_secret(keys) else ""
    )
    return f"{where}: {said}{shown}" if keys else f"{place.name}: {said}"


def _is_secret(keys: Keys) -> bool:
    return any(_matches(keys, secret) for secret in _SECRETS)


def _allowed(model: Any, keys: Keys) -> list[str]:
    """The keys of the section at that path."""
    for key in keys:
        if isinstance(key, int):
            continue
        field = getattr(model, "model_fields", {}).get(key)
        model = _section(field.annotation) if field is not None else model
    return list(getattr(model, "model_fields", {}))


def _section(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (found := _section(inner)) is not None:
            return found
    return _section(annotation.__origin__) if hasattr(annotation, "__metadata__") else None


# --- secrets ---------------------------------------------------------------------------------------


def _matches(keys: Keys, pattern: tuple[str, ...]) -> bool:
    return len(keys) == len(pattern) and all(p in ("*", k) for k, p in zip(keys, pattern, strict=True))


def _restore(resolved: Any, raw: Any) -> None:
    """Put every `${...}` of the file back where its value has been filled in."""
    pairs: Any = ()
    if isinstance(raw, dict) and isinstance(resolved, dict):
        pairs = [(key, value) for key, value in raw.items() if key in resolved]
    elif isinstance(raw, list) and isinstance(resolved, list) and len(raw) == len(resolved):
        pairs = list(enumerate(raw))
    for key, value in pairs:
        if isinstance(value, str) and _VARIABLE.search(value):
            if not isinstance(resolved[key], dict | list):
                resolved[key] = value
        else:
            _restore(resolved[key], value)


def _mask(resolved: Any, secret: tuple[str, ...]) -> None:
    key, *rest = secret
    for name in list(resolved) if key == "*" else [key]:
        value = resolved.get(name)
        if rest and isinstance(value, dict):
            _mask(value, tuple(rest))
        elif not rest and isinstance(value, str) and not _VARIABLE.search(value):
            resolved[name] = f"${{{SECRET_VARIABLE}}}"

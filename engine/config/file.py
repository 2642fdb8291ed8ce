"""Config files: reads YAML into validated settings and reports the line of every mistake."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson
import yaml
from pydantic import BaseModel, ValidationError

from engine.config.authors import Translation, is_theirs, translated
from engine.config.markers import Keys, Pattern, Words, below, places
from engine.config.paths import rooted
from engine.config.place import Place
from engine.config.secrets import VARIABLE, is_public, is_secret
from engine.errors import ConfigError
from engine.veil import hide

M = TypeVar("M", bound=BaseModel)
_DEEPEST = 50
"""Most levels of nesting: no config needs more, and a YAML anchor that contains itself never ends."""

_LARGEST = 20_000_000
"""Characters of a config, with all its aliases in place."""
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?|true|false|null")


@dataclass(frozen=True)
class Read(Generic[M]):
    """The result of reading a config file."""

    settings: M
    references: dict[str, str]
    """The texts that came from the environment: text -> `${NAME}`."""
    secrets: dict[str, str]
    """The values of variables that stand where a secret may: value -> `${NAME}`."""
    place: Place
    translation: Translation | None = None
    """Where the file has the authors' format: its settings in ours, before variables are filled in."""


def read(model: type[M], path: Path, overrides: Mapping[str, Any], *, lenient: bool = False) -> Read[M]:
    """The validated settings. A config of the paper authors' code is translated first.

    With `lenient`, an environment variable that is not set stays in the text as `${NAME}`.
    Raises ConfigError with the key's full path, its line and what is allowed.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    return parse(model, text, str(path), path.parent, overrides, lenient=lenient)


def parse(
    model: type[M], text: str, name: str, folder: Path, overrides: Mapping[str, Any], *, lenient: bool = False
) -> Read[M]:
    """Like `read`, for a text. Paths are relative to `folder`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_size(node, name)
        lines = dict(_lines(node, name))
        _keep_words(model, node)
        raw = yaml.SafeLoader("").construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name} line {mark.line + 1}" if mark else name
        raise ConfigError(f"{where}: not YAML: {getattr(error, 'problem', error)}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: not YAML that makes sense: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{name}: holds no settings; see the README for a config to start from")
    translation = translated(raw) if is_theirs(raw) else None
    if translation is not None:
        raw = rooted(model, translation.settings, folder)
        name, lines = f"{name} (translated)", {}
    for dotted, value in overrides.items():
        _put(raw, dotted, value)
    given = frozenset(
        tuple(int(key) if key.isdigit() else key for key in dotted.split(".")) for dotted in overrides
    )
    reader = _Reader(model, Place(name, lines, given), lenient)
    filled = rooted(model, reader.filled(raw, ()), folder)
    secrets = _secrets(reader.values, filled.get("public_variables"))
    for value, named in secrets.items():  # before anything of this config can be shown
        hide(value, named)
    settings = _validated(model, filled, reader.place)
    return Read(settings, reader.references, secrets, reader.place, translation)


def _secrets(values: Mapping[str, str], public: Any) -> dict[str, str]:
    names = public if isinstance(public, list) else ()
    return {
        value: f"${{{name}}}"
        for name, value in values.items()
        if value.strip() and name not in names and not _PLACE.fullmatch(value.strip())
    }


_PLACE = re.compile(
    r"(?:https?://)?(?:localhost|\[[0-9a-f:]+\]|\d{1,3}(?:\.\d{1,3}){3}|(?:[a-z0-9-]+\.)+[a-z]{2,12})(?::\d+)?(?:/v\d+)?/?"
)
"""Only a host: no secret, and a word that items may hold."""


def scalar(text: str) -> Any:
    """A command-line value, typed as in YAML, except that 1e-2 is a number. Raises ConfigError."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"--set: {text!r} is not a YAML value") from None
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _check_size(node: yaml.Node | None, name: str) -> None:
    """Raises ConfigError for a file whose aliases expand to more than any config is: a few lines may hold gigabytes."""
    sizes: dict[int, int] = {}

    def size(each: yaml.Node, depth: int) -> int:
        if depth > _DEEPEST:
            line = each.start_mark.line + 1
            raise ConfigError(f"{name} line {line}: is nested too deep, or holds itself")
        if id(each) not in sizes:
            inner = each.value if isinstance(each, yaml.SequenceNode | yaml.MappingNode) else ()
            parts = (part for part in inner for part in (part if isinstance(part, tuple) else (part,)))
            own = len(each.value) if isinstance(each, yaml.ScalarNode) else 1
            sizes[id(each)] = own + sum(size(part, depth + 1) for part in parts)
        return sizes[id(each)]

    if node is not None and (whole := size(node, 0)) > _LARGEST:
        raise ConfigError(
            f"{name}: its aliases expand to {whole:,} characters; a config has {_LARGEST:,} at most"
        )


# --- reading ---------------------------------------------------------------------------------------


def _keep_words(model: type[BaseModel], node: yaml.Node | None) -> None:
    """Makes texts of what stands where only texts may, so that `no` is no boolean there."""
    patterns = [(*place, *inner) for place, marker in places(model, Words) for inner in marker.under]
    _texts(patterns, node, ())


def _texts(patterns: Sequence[Pattern], node: yaml.Node | None, keys: Keys) -> None:
    if len(keys) > _DEEPEST:
        return
    within = any(below(keys, pattern) for pattern in patterns)
    if isinstance(node, yaml.SequenceNode):
        for index, inner in enumerate(node.value):
            _texts(patterns, inner, (*keys, index))
    elif isinstance(node, yaml.MappingNode):
        for key, inner in node.value:
            if within:
                _as_text(key, _NO_TEXTS)
                _as_text(inner, _NO_TEXTS - _NUMBERS)  # the keys are the words, these may be weights
            if not within or not isinstance(inner, yaml.ScalarNode):
                _texts(patterns, inner, (*keys, str(key.value)))
    elif within:
        _as_text(node, _NO_TEXTS)


_NUMBERS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float"))
_NO_TEXTS = _NUMBERS | {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "timestamp")}


def _as_text(node: yaml.Node | None, tags: Set[str]) -> None:
    if isinstance(node, yaml.ScalarNode) and node.tag in tags:
        node.tag = "tag:yaml.org,2002:str"


def _lines(node: yaml.Node | None, name: str, keys: Keys = ()) -> Iterator[tuple[Keys, int]]:
    """The line of each key. Raises ConfigError for a duplicate key: YAML would silently drop the first."""
    if len(keys) > _DEEPEST:
        return
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            inner, line = (*keys, str(key.value)), key.start_mark.line + 1
            if str(key.value) in seen:
                raise ConfigError(f"{name} line {line}: {'.'.join(map(str, inner))}: stands here twice")
            seen.add(str(key.value))
            yield inner, line
            yield from _lines(value, name, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*keys, index), value.start_mark.line + 1
            yield from _lines(value, name, (*keys, index))


def _put(raw: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = dotted.split(".")
    where: Any = raw
    for key in path:
        if isinstance(where, list):
            where = where[_index(where, key, dotted)]
            continue
        inner = where.setdefault(key, {})
        if key == "model" and inner == "simulated":
            inner = where[key] = {"name": "simulated"}
        if not isinstance(inner, dict | list):
            raise ConfigError(f"--set {dotted}: {key!r} is not a section")
        where = inner
    if isinstance(where, list):
        where[_index(where, last, dotted)] = value
    else:
        where[last] = value


def _index(where: list[Any], key: str, dotted: str) -> int:
    if not key.isdigit() or int(key) >= len(where):
        raise ConfigError(
            f"--set {dotted}: {key!r} must be the number of one of {len(where)} entries, from 0"
        )
    return int(key)


class _Reader:
    """Replaces every ${VARIABLE} with its value in the environment.

    Mutable state: `references`; by variable, the `values` that may be secret.
    """

    def __init__(self, model: type[BaseModel], place: Place, lenient: bool) -> None:
        self._model = model
        self.place = place
        self.references: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self._lenient = lenient

    def filled(self, value: Any, keys: Keys) -> Any:
        if len(keys) > _DEEPEST:
            raise ConfigError(f"{self.place.describe(keys[:3])}: is nested too deep")
        if isinstance(value, dict):
            return {
                self._key(key, keys): self.filled(inner, (*keys, str(key))) for key, inner in value.items()
            }
        if isinstance(value, list):
            return [self.filled(inner, (*keys, index)) for index, inner in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{self.place.describe(keys)}: must be a finite number (got {value})")
        if isinstance(value, str) and VARIABLE.search(value):
            return self._substituted(value, keys)
        return value

    def _key(self, key: Any, keys: Keys) -> str:
        if key is True and keys == ("spread",):
            return "on"  # the one key of ours that YAML takes for a truth value
        if isinstance(key, bool) or key is None:
            spelled = {True: "yes, on or true", False: "no, off or false", None: "null or ~"}[key]
            raise ConfigError(f"{self.place.describe(keys)}: a key is {spelled} to YAML; put it in quotes")
        return str(key)

    def _substituted(self, text: str, keys: Keys) -> Any:
        def fill(match: re.Match[str]) -> str:
            value = os.environ.get(match[1], match[2])
            if value is None and self._lenient:
                return match[0]
            if value is None:
                raise ConfigError(
                    f"{self.place.describe(keys)}: the environment variable {match[1]} is not set"
                )
            return value

        filled = VARIABLE.sub(fill, text)
        if filled != text:
            self.references[filled] = VARIABLE.sub(r"${\1}", text)
        whole = VARIABLE.fullmatch(text) is not None
        typed = whole and not is_secret(self._model, keys) and _NUMBER.fullmatch(filled)
        if not typed and not is_public(self._model, keys):
            named = (match[1] for match in VARIABLE.finditer(text))
            self.values |= {name: os.environ[name] for name in named if name in os.environ}
        return yaml.safe_load(filled) if typed else filled


# --- mistakes --------------------------------------------------------------------------------------


def _validated(model: type[M], filled: dict[str, Any], place: Place) -> M:
    try:
        return model.model_validate_json(orjson.dumps(filled, default=str), strict=True)
    except ValidationError as error:
        mistakes = [_sentence(model, dict(mistake), place) for mistake in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(mistakes))) from None
    except TypeError as error:
        raise ConfigError(f"{place.name}: {error}") from None


_FORMS = ("float", "int", "tuple[float, float]", "one endpoint", "several endpoints")
"""Parts of pydantic's error locations that name a type or a tag; they are not keys of the config."""


def _sentence(model: type[BaseModel], mistake: dict[str, Any], place: Place) -> str:
    keys = tuple(key for key in mistake["loc"] if key not in _FORMS)
    where = place.describe(keys)
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
        f" (got {value!r})"
        if isinstance(value, str | int | float | bool) and not is_secret(model, keys)
        else ""
    )
    return f"{where}: {said}{shown}" if keys else f"{place.name}: {said}"


def _allowed(model: Any, keys: Keys) -> list[str]:
    """The keys that the section at this path allows."""
    for key in keys:
        if isinstance(key, int):
            continue
        field = getattr(model, "model_fields", {}).get(key)
        model = _section(field.annotation) if field is not None else model
    return [field.alias or name for name, field in getattr(model, "model_fields", {}).items()]


def _section(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (section := _section(inner)) is not None:
            return section
    return _section(annotation.__origin__) if hasattr(annotation, "__metadata__") else None

"""Removes secrets from settings: an environment variable that holds, or must hold, each one replaces it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from engine.config.markers import FreeForm, Keys, NotSecret, Secret, below, places
from engine.veil import SHORTEST

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
SECRET_NAME = re.compile(r"(api|access|auth).?key$|secret|password|credential|(^|[^x]_)token$", re.IGNORECASE)
"""Names of free-form settings whose values are secret."""


def without_secrets(
    model: type[BaseModel],
    resolved: Mapping[str, Any],
    references: Mapping[str, str],
    values: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Resolved settings, safe to write.

    `references` maps whole texts that came from the environment to their `${NAME}`, `values` single secret values:
    those are replaced wherever they stand, such as in the path of an address.
    """
    veiled = {key: _veiled(model, value, (key,), references) for key, value in resolved.items()}
    ordered = sorted((values or {}).items(), key=lambda each: -len(each[0]))
    return {key: _replaced(model, value, (key,), ordered) for key, value in veiled.items()}


def _replaced(model: type[BaseModel], value: Any, keys: Keys, values: Sequence[tuple[str, str]]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(model, inner, (*keys, key), values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(model, inner, (*keys, index), values) for index, inner in enumerate(value)]
    if isinstance(value, str) and not is_public(model, keys):
        for secret, name in values:
            if len(secret) >= SHORTEST or secret == value:
                value = value.replace(secret, name)
    return value


def is_secret(model: type[BaseModel], keys: Keys) -> bool:
    """Whether the value at these keys is marked as a secret, or is part of one."""
    return any(below(keys, pattern) for pattern, _ in places(model, Secret))


def is_public(model: type[BaseModel], keys: Keys) -> bool:
    """Whether the value at these keys is marked as no secret."""
    return any(below(keys, pattern) for pattern, _ in places(model, NotSecret))


def _veiled(model: type[BaseModel], value: Any, keys: Keys, references: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _veiled(model, inner, (*keys, key), references) for key, inner in value.items()}
    if isinstance(value, list):
        return [_veiled(model, inner, (*keys, index), references) for index, inner in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    secret = is_secret(model, keys)
    own = _free_form(model, keys)
    named = any(SECRET_NAME.search(str(key)) for key in own)
    if (secret or named or (own and isinstance(value, str))) and (text := str(value)) in references:
        return references[text]
    if not (named or secret) or VARIABLE.fullmatch(str(value)):
        return value
    if named and not SECRET_NAME.search(str(keys[-1])):  # part of something that is named like a secret
        keys = (*keys[: -len(own)], "_".join(map(str, own)))
    name = _variable(keys, "OPTION" if named else str(keys[-2]), secret=secret)
    return f"${{DATAGEN_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}}}"


def _free_form(model: type[BaseModel], keys: Keys) -> Keys:
    """The part of the keys that lies within free-form settings."""
    patterns = [pattern for pattern, _ in places(model, FreeForm) if below(keys, pattern)]
    return keys[len(patterns[0]) :] if patterns else ()


def _variable(keys: Keys, owner: str, *, secret: bool) -> str:
    """The name of a literal secret's variable; each key has its own, so no host gets another's secret."""
    if keys[-1] != "api_key" or not secret:
        name = f"{owner}_{keys[-1]}"
    elif "purposes" in keys:
        of = keys[keys.index("purposes") + 1 : -1]  # the purpose, and the place of one of several
        name = "_".join([*map(str, of[:1]), "API_KEY", *map(str, of[1:])])
    else:
        name = "EMBEDDING_API_KEY" if keys[0] == "embedding" else "API_KEY"
    if keys[0] == "evaluate":
        return f"{name}_TESTED_{keys[2]}"
    several = keys[0] == "model" and isinstance(keys[1], int) and keys[1] > 0
    return f"{name}_{keys[1]}" if several else name

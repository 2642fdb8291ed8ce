"""Parses a validator's options from the config, or raises one sentence about what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


def parsed(model: type[M], given: Mapping[str, Any], unnamed: tuple[str, ...] = ()) -> M:
    """Raises ValueError with the option's path and fault, and for an unknown option the known ones.

    `unnamed`: names of union members, which the user did not write and so should not see.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in unnamed)
        unknown = first["type"] == "extra_forbidden" and len(first["loc"]) == 1
        allowed = f"; allowed: {', '.join(model.model_fields)}" if unknown else ""
        raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}{allowed}") from None

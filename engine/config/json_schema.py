"""The JSON Schema of config files: for editors, which complete and check by it. Built from the config's own classes."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from engine.config.installed import installed_validators
from engine.config.markers import sections
from engine.config.run import RunConfig
from engine.constraints.written import CHECKED

_NAMES: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
_SCALARS: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_TEXT: dict[str, Any] = {"type": "string"}
_FLAG: dict[str, Any] = {"type": "boolean"}
_ANY: dict[str, Any] = {}
_ALSO: Mapping[str, list[dict[str, Any]]] = {
    "_as_purpose": [_TEXT],
    "_as_tuple": [],
    "as_model": [_TEXT],
    "_as_field": [_TEXT],
    "_as_extras": [_NAMES],
    "_as_parts": [],
    "as_column": [_ANY],
    "_as_places": [_TEXT],
    "_as_hops": [{"type": "integer"}],
    "_as_weights": [{"type": "array", "items": _SCALARS}],
    "_as_conditional": [
        {"type": "object", "additionalProperties": {"type": ["array", "object"], "items": _SCALARS}}
    ],
    "as_attribute": [{"type": "array", "items": _SCALARS}, {"type": "object"}],
    "as_groupcheck": [_FLAG],
    "_as_learn": [_FLAG],
    "_as_hedge": [_FLAG],
    "_off": [_FLAG],
    "_as_notify": [_TEXT],
    "_as_track": [{"enum": ["wandb", "mlflow", "trackio"]}],
    "_as_count": [{"const": "auto"}],
    "_as_datasets": [{"type": "object", "additionalProperties": _TEXT}],
    "_as_seconds": [{"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[smhd]\s*$"}],
    "_as_clock": [_TEXT],
    "_listed": [_FLAG, _NAMES],
    "str": [_TEXT],
    "_spelled": [{"type": "array", "items": _SCALARS}],
    "_values": [{"type": "array"}],
    "_as_before": [_TEXT],
    "_own_address": [],
    "_with_write": [],
    "_with_defaults": [],
    "_named": [{"enum": ["tab", "comma", "semicolon", "pipe"]}],
}
"""What a file may hold besides the setting's own form, by the function of engine.config that reads it."""
_VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
"""Any value may come from the environment."""


def config_schema() -> dict[str, Any]:
    """The JSON Schema, draft 2020-12."""
    schema = RunConfig.model_json_schema(schema_generator=_AsWritten, mode="validation")
    for name, section in _classes(RunConfig).items():
        _describe(schema if name == RunConfig.__name__ else schema.get("$defs", {}).get(name, {}), section)
    whole: dict[str, Any] = _with_variables(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        "title": "DataGen config",
        "description": "The settings of a run; see docs/config.md.",
    }


class _AsWritten(GenerateJsonSchema):
    """Each setting as a file may hold it: its own form, or one of the short ones that its reader takes."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> dict[str, Any]:
        function = schema["function"]["function"]
        name = getattr(function, "__name__", "")
        if name == "_as_validator":
            return _validator()
        if name == "_constraint":
            return _constraint()
        inner = self.generate_inner(schema["schema"])
        also = _ALSO[name]
        return {"anyOf": [inner, *also]} if also else inner

    def function_wrap_schema(self, schema: core_schema.WrapValidatorFunctionSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])


def _validator() -> dict[str, Any]:
    """A validator by its name, or with options, which are its own matter: `{name: NAME, ...}`, or `{NAME: {...}}`."""
    names = list(installed_validators())
    named = {"type": "string", "examples": names}
    workers = {"type": ["integer", "null"], "minimum": 1, "description": "How many items it checks at once."}
    options = {"type": ["object", "null"]}
    return {
        "anyOf": [
            named,
            {"type": "object", "properties": {"name": named, "workers": workers}, "required": ["name"]},
            {
                "type": "object",
                "properties": {"name": False, **dict.fromkeys(names, options)},
                "additionalProperties": options,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ]
    }


def _constraint() -> dict[str, Any]:
    """A sentence, which a model judges, or one of the kinds that programs check."""
    kinds = {
        name: {"description": " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())}
        for name, kind in CHECKED.items()
    }
    checked = {"type": "object", "properties": kinds, "additionalProperties": False, "minProperties": 1}
    return {"anyOf": [{"type": "string"}, {**checked, "maxProperties": 1}]}


def _classes(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """All sections of the config, by name."""
    found: dict[str, type[BaseModel]] = {}
    waiting = [model]
    while waiting:
        each = waiting.pop()
        if each.__name__ in found:
            continue
        found[each.__name__] = each
        for field in each.model_fields.values():
            waiting += [section for _, section in sections(field.annotation)]
    return found


def _describe(schema: dict[str, Any], section: type[BaseModel]) -> None:
    """Puts the text below each setting in the source, and the class's own, into its schema."""
    if not schema:
        return
    if section.__doc__:
        schema["description"] = " ".join(inspect.cleandoc(section.__doc__).split())
    for each in reversed(section.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            for name, text in _docs(each).items():
                field = section.model_fields.get(name)
                shown = schema.get("properties", {}).get((field.alias if field else None) or name)
                if shown is not None:
                    shown["description"] = text


def _docs(section: type[BaseModel]) -> dict[str, str]:
    """The texts below a class's attributes."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    except (OSError, TypeError, SyntaxError):
        return {}
    assert isinstance(body, ast.ClassDef)
    found = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[before.target.id] = " ".join(after.value.value.split())
    return found


def _with_variables(value: Any) -> Any:
    """Numbers, flags and choices may come from the environment, too; titles that only repeat the name are left out."""
    if isinstance(value, list):
        return [_with_variables(each) for each in value]
    if not isinstance(value, dict):
        return value
    inner = {
        key: ({name: _with_variables(each) for name, each in part.items()} if _of_names(key, part) else
              part if key in ("default", "examples", "enum", "const") else _with_variables(part))
        for key, part in value.items()
        if not (key == "title" and isinstance(part, str))
    }  # fmt: skip
    kinds = inner.get("type")
    if kinds in ("integer", "number", "boolean") or "enum" in inner:
        kept = {name: inner.pop(name) for name in ("description", "default") if name in inner}
        return {**kept, "anyOf": [inner, _VARIABLE]}
    return inner


def _of_names(key: str, part: Any) -> bool:
    """Whether the keys of this part are names of settings or of sections, not words of JSON Schema."""
    return key in ("properties", "$defs") and isinstance(part, dict)


def keys() -> Iterable[str]:
    """Every dotted key that `--set` knows, without those below a list or a mapping."""

    def below(section: type[BaseModel], prefix: str, seen: tuple[type[BaseModel], ...]) -> Iterable[str]:
        for name, field in section.model_fields.items():
            key = f"{prefix}{field.alias or name}"
            yield key
            for inner, each in sections(field.annotation):
                if not inner and each not in seen:
                    yield from below(each, f"{key}.", (*seen, each))

    yield from dict.fromkeys(below(RunConfig, "", (RunConfig,)))

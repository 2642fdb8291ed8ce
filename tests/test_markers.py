"""Secrets, paths and what may change between two starts are said where a field is declared, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine.config import RunConfig
from engine.config.file import parse
from engine.config.markers import (
    FreeForm,
    NotSecret,
    Operational,
    PathFrom,
    Secret,
    below,
    matches,
    places,
    sections,
)
from engine.config.parts import Section
from engine.config.secrets import SECRET_NAME, without_secrets

LIKE_A_SECRET = re.compile(rf"{SECRET_NAME.pattern}|(^|_)keys?$|passw|bearer|authorization", re.IGNORECASE)


def every_field(
    model: type[BaseModel], seen: frozenset[type[BaseModel]] = frozenset()
) -> Iterator[tuple[type[BaseModel], str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield model, name, field
        for _, section in sections(field.annotation):
            if section not in seen:
                yield from every_field(section, seen | {section})


def bears(field: FieldInfo, *markers: type[Any]) -> bool:
    return any(isinstance(found, markers) for found in field.metadata)


def unmarked(model: type[BaseModel]) -> list[str]:
    """Fields that are named like a secret and say nothing of it."""
    return [
        f"{owner.__name__}.{name}"
        for owner, name, field in every_field(model)
        if LIKE_A_SECRET.search(name) and not bears(field, Secret, NotSecret)
    ]


def test_every_field_that_is_named_like_a_secret_says_whether_it_is_one() -> None:
    assert unmarked(RunConfig) == []


@pytest.mark.parametrize(
    "name", ["api_key", "access_key", "token", "auth_token", "client_secret", "password"]
)
def test_a_new_secret_without_a_marker_fails_that_test(name: str) -> None:
    inner = type("Inner", (Section,), {"__annotations__": {name: str}})
    outer = type("Outer", (Section,), {"__annotations__": {"inner": dict[str, inner]}})  # type: ignore[valid-type]
    assert unmarked(outer) == [f"Inner.{name}"]


def test_every_path_is_taken_from_the_folder_of_its_file() -> None:
    lacking = [
        f"{owner.__name__}.{name}"
        for owner, name, field in every_field(RunConfig)
        if "Path" in str(field.annotation) and not bears(field, PathFrom)
    ]
    assert lacking == []


def test_free_settings_are_marked_as_such() -> None:
    lacking = [
        f"{owner.__name__}.{name}"
        for owner, name, field in every_field(RunConfig)
        if field.annotation == dict[str, Any] and not bears(field, FreeForm)
    ]
    assert lacking == ["ValidatorConfig.options"]  # stands in the section `validators`, which is


class Endpoint(Section):
    key: Annotated[str, Secret(), Operational()]
    body: Annotated[dict[str, Any], FreeForm()]


class Whole(Section):
    one: Endpoint
    several: tuple[Annotated[Endpoint, "note"], ...]
    named: dict[str, Endpoint | None]
    headers: Annotated[dict[str, str], Secret()]
    files: Annotated[list[Path], PathFrom()]


def test_one_marker_is_all_that_a_new_secret_needs() -> None:
    assert [".".join(pattern) for pattern, _ in places(Whole, Secret)] == [
        "one.key", "several.#.key", "named.*.key", "headers",
    ]  # fmt: skip
    endpoint = {"key": "s3cret", "body": {"api_key": "s3cret", "top_p": "0.5"}}
    written = without_secrets(
        Whole,
        {"one": endpoint, "several": [endpoint], "named": {"a": endpoint}, "headers": {"X": "s3cret"}},
        {},
    )
    assert "s3cret" not in str(written)
    assert written["one"]["body"]["top_p"] == "0.5"


def test_patterns() -> None:
    assert matches(("model", 0, "api_key"), ("model", "*", "api_key"))
    assert matches(("model", 0, "api_key"), ("model", "#", "api_key"))
    assert not matches(("model", "x", "api_key"), ("model", "#", "api_key"))
    assert not matches(("model", 0, "api_key", "x"), ("model", "*", "api_key"))
    assert below(("limits", "budget_usd"), ("limits",))
    assert not below(("limits",), ("limits", "budget_usd"))


def test_paths_at_any_place_are_taken_from_the_folder() -> None:
    text = """
    dataset: {path: a.jsonl, description: d}
    generate: {target: 1, template: t.j2}
    model: {name: m}
    embedding: {model: ./mine, cache: c}
    validators: [{name: facts, source: {kind: local, path: [x], deep: {path: y.txt}}}, constraints]
    evaluate: {datasets: {old: o.jsonl}}
    """
    config = parse(RunConfig, text, "text", Path("/folder"), {}).settings
    assert config.dataset.path == ("/folder/a.jsonl",)
    assert config.generate.template == Path("/folder/t.j2")
    assert (config.embedding.model, config.embedding.cache) == ("/folder/mine", Path("/folder/c"))
    assert config.validators[0].options["source"] == {
        "kind": "local", "path": ["x"], "deep": {"path": "/folder/y.txt"},
    }  # fmt: skip
    assert config.evaluate.datasets[0].path == "/folder/o.jsonl"
    named = parse(RunConfig, text.replace("./mine", "some-model"), "text", Path("/folder"), {}).settings
    assert named.embedding.model == "some-model"


def lists_behind_a_reading(model: type[BaseModel], behind: bool = False) -> Iterator[str]:
    """Fields for lists that stand below one whose value is rewritten before it is read: from there on, a list of the
    file is no longer taken for one, unless the field says so itself.
    """
    for name, field in model.model_fields.items():
        rewritten = "BeforeValidator" in repr(field)
        own = rewritten or name in {
            each
            for found in model.__pydantic_decorators__.field_validators.values()
            if found.info.mode == "before"
            for each in found.info.fields
        }
        if "tuple[" in str(field.annotation) and behind and not own:
            yield f"{model.__name__}.{name}"
        for _, section in sections(field.annotation):
            yield from lists_behind_a_reading(section, behind or rewritten)


def test_lists_are_read_wherever_they_stand() -> None:
    assert sorted(set(lists_behind_a_reading(RunConfig))) == []

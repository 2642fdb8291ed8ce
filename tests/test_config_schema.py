"""The JSON Schema of configs: it takes what the loader takes, and refuses what that refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
import yaml

from conftest import datagen, finished
from engine.config import RunConfig
from engine.config.json_schema import _ALSO, config_schema, keys
from engine.errors import ConfigError

HERE = Path(__file__).parent.parent
VALIDATOR = jsonschema_rs.validator_for(config_schema())
LEAST: dict[str, Any] = {"dataset": {"description": "x"}, "model": {"name": "m"}}


async def test_the_command_prints_it_and_the_docs_have_it() -> None:
    status, out, _ = await finished(await datagen("config", "schema"))
    assert status == 0
    assert orjson.loads(out) == config_schema()
    kept = HERE / "docs" / "config.schema.json"
    assert orjson.loads(kept.read_bytes()) == config_schema(), (
        "datagen config schema > docs/config.schema.json"
    )


@pytest.mark.parametrize("path", sorted((HERE / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_examples_name_it_and_keep_to_it(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=../docs/config.schema.json\n")
    assert not [str(error) for error in VALIDATOR.iter_errors(yaml.safe_load(text))]


def test_golden_configs_keep_to_it() -> None:
    for name, settings in yaml.safe_load((HERE / "tests" / "golden" / "settings.yaml").read_text()).items():
        given = settings.get("settings", settings) if isinstance(settings, dict) else settings
        if isinstance(given, dict) and "dataset" in given:
            assert not [str(error) for error in VALIDATOR.iter_errors(given)], name


SECTIONS = [
    {"groupcheck": False}, {"groupcheck": True}, {"groupcheck": {"same": "text"}}, {"validators": ["code"]},
    {"validators": [{"name": "reflection", "max_rounds": 2}]}, {"observe": {"log": False, "notify": "https://x.org"}},
    {"observe": {"track": "wandb"}}, {"spread": {"workers": "auto"}},
    {"limits": {"budget_usd": "${CAP}", "hedge": True}},
    {"limits": {"finish_by": "17:00", "batch": {"wait": "6h"}}}, {"model": "simulated"},
    {"model": [{"name": "a"}, {"name": "b"}]},
    {"model": {"name": "a", "purposes": {"review": "b", "agree": ["c", "d"]}}},
    {"generate": {"attributes": {"topic": ["a", "b"], "size": {"large": 2, "small": 1}}, "learn_from_mistakes": True}},
    {"dataset": {"description": "x", "path": ["a.jsonl", "b.jsonl"], "fields": {"text": ["a", "b"], "label": "c"}}},
    {"dataset": {"description": "x", "constraints": ["be kind", {"language": "en"}, {"length": {"max": 5}}]}},
    {"evaluate": {"datasets": {"a": "a.jsonl"}}},
]  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS, ids=str)
def test_short_forms_are_known(section: dict[str, Any]) -> None:
    assert not [str(error) for error in VALIDATOR.iter_errors({**LEAST, **section})]


WRONG = [
    {"groupchek": True}, {"groupcheck": 3}, {"limits": {"budget": 3}}, {"limits": {"budget_usd": -1}},
    {"validators": "code"}, {"generate": {"target": "many"}}, {"observe": {"log": "loud"}}, {"observe": {"track": "x"}},
    {"dataset": {"description": "x", "constraints": [{"lenght": {"max": 5}}]}}, {"dataset": {}},
    {"spread": {"on": "moon"}},
]  # fmt: skip


@pytest.mark.parametrize("section", WRONG, ids=str)
def test_mistakes_are_found(section: dict[str, Any], tmp_path: Path) -> None:
    settings = {**LEAST, **section}
    assert list(VALIDATOR.iter_errors(settings))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError):
        RunConfig.load(tmp_path / "c.yaml")


def test_every_reader_of_short_forms_is_known_and_used() -> None:
    """A new one must say what it takes; one that is gone must not stay."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("type") == "function-before":
                found.add(value["function"]["function"].__name__)
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner)

    walk(RunConfig.__pydantic_core_schema__)
    assert found == set(_ALSO) | {"_as_validator", "_constraint"}


def test_settings_carry_their_texts() -> None:
    schema = config_schema()
    generate = schema["$defs"]["GenerateConfig"]["properties"]
    assert generate["batch_size"]["description"] == "Items requested in one call."
    assert "budget_usd" in "".join(keys())
    assert {"generate.target", "limits.hedge.after", "observe.notify.webhook"} <= set(keys())
    assert not re.search(r'"title":"[A-Z]', orjson.dumps(schema["properties"]).decode())

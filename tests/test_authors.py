"""Configs of the paper's own code: recognised, translated, run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from conftest import Configs, Start, datagen, finished, lines, run_in
from engine.config import RunConfig
from engine.config.authors import is_theirs, translated
from engine.errors import ConfigError

GENERATION = {
    "model_type": "gpt", "temperature": 0.8, "generation_number": 10, "batch_size": 5, "few_shot_num": 5,
    "random_example": False, "max_worker": 2, "label_ratio": None, "label_constraint": False,
}  # fmt: skip
HINT = {
    "dataset_description": "Grade school math word problems.", "dataset_name": "GSM8K",
    "original_dataset_path": "theirs.json", "save_path": "generated", "dataset_constraint": [], "with_label": True,
    "with_attribute": False, "add_attribute": False, "extra_info_keys": [],
}  # fmt: skip
EFFICIENCY = {
    "learn_from_mistake": False, "learn_from_human_feedback": False, "feedback_iteration": 1, "self_reflection": True,
    "math_eval": False, "truthfulness_eval": False,
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    # generation_config.yaml: an Azure endpoint that is named elsewhere
    "azure": {"api_settings": {"embedding_model": "text-embedding-3-large", "use_azure": True}},
    # generation_config_example.yaml and generation_config_MMLU.yaml: all keys, with places to fill in
    "placeholders": {
        "api_settings": {
            "openai_chat_model": "gpt-4-0125-preview", "openai_api_key": "your-openai-api-key",
            "base_url": "your-openai-base-url", "use_azure": False, "azure_base_url": "https://your-azure-endpoint",
            "azure_api_key": "your-azure-api-key", "azure_version": "2023-05-15",
            "azure_model": "gpt-4-0125-preview", "claude_api_key": "your-claude-api-key",
            "llama3_api_key": "your-llama3-api-key",
        }
    },
    # the package's own config.yaml: the hint under its older name
    "older": {
        "api_settings": {
            "model_type": "gpt", "api_key": None, "embedding_model": "text-embedding-3-large", "use_azure": False,
            "api_base": None, "azure_version": None,
        },
        "generation_hint": None,
        "dataset_configuration": HINT,
        "generation_settings": {**GENERATION, "fixed_example": True},
    },
}  # fmt: skip


def shaped(shape: str = "placeholders", **changes: dict[str, Any]) -> dict[str, Any]:
    found = {
        "generation_settings": GENERATION,
        "generation_hint": HINT,
        "efficiency_configuration": EFFICIENCY,
        **SHAPES[shape],
    }
    for section, keys in changes.items():
        found[section] = {**found[section], **keys}
    return {name: part for name, part in found.items() if part is not None}


def written(folder: Path, shape: str = "placeholders", **changes: dict[str, Any]) -> Path:
    rows = [
        {"text": f"What is {n} plus {n}?", "label": str(2 * n), "topic": "sums", "by": "me"}
        for n in range(12)
    ]
    (folder / "theirs.json").write_bytes(orjson.dumps(rows))
    path = folder / "theirs.yaml"
    path.write_text(yaml.safe_dump(shaped(shape, **changes)))
    return path


@pytest.mark.parametrize("shape", SHAPES)
async def test_their_configs_run(shape: str, configs: Configs, endpoint: Start) -> None:
    """With the endpoint and, where they would pay for vectors, the choice of examples put in from here."""
    url, _ = await endpoint(kind="word_problems")
    path = written(configs.folder, shape)
    config = RunConfig.load(
        path,
        {
            "model": {"name": "m", "base_url": url, "price": {"input": 1.0, "output": 2.0}},
            "embedding": {},
            "generate.selection": "random",
        },
    )
    assert (config.generate.target, config.generate.temperature, config.limits.concurrency) == (10, 0.8, 2)
    report = await run_in(configs.folder / "run", config)
    assert report.outcome == "target"
    assert "reflection" in report.data["validators"]
    assert set(lines(configs.folder / "run" / "accepted.jsonl")[0]) == {"text", "label", "_meta"}
    again = RunConfig.load(configs.folder / "run" / "config.yaml")
    assert again.translation() is None


def test_what_their_keys_become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("DATAGEN_CONTACT", "me@example.org")
    path = written(
        tmp_path,
        generation_settings={"label_ratio": {"1": 3, "2": 1}, "random_example": True},
        generation_hint={
            "with_attribute": True, "attribute_key": "topic", "extra_info_keys": ["by"],
            "dataset_constraint": ["Stay below 100."],
        },
        efficiency_configuration={
            "learn_from_mistake": True, "learn_from_human_feedback": True, "math_eval": True,
            "truthfulness_eval": True,
        },
    )  # fmt: skip
    config = RunConfig.load(path)
    assert config.dataset.path == (str(tmp_path / "theirs.json"),)
    assert list(config.dataset.fields.extras) == ["by", "topic"]
    assert config.dataset.constraints[0].sentence() == "Stay below 100."
    assert config.dataset.ratio is not None
    assert dict(config.dataset.ratio.weights) == {"1": 3, "2": 1}
    assert config.generate.attributes["topic"].field == "topic"
    assert config.generate.feedback == "human"
    assert config.generate.learn_from_mistakes is not None
    assert config.generate.selection == "random"
    assert [validator.name for validator in config.validators] == [
        "constraints",
        "code",
        "facts",
        "reflection",
    ]
    assert (config.main.name, config.main.base_url) == ("gpt-4-0125-preview", "https://api.openai.com/v1")
    translation = config.translation()
    assert translation is not None
    notes = "\n".join(translation[1])
    for key in (
        "label_ratio",
        "learn_from_mistake",
        "learn_from_human_feedback",
        "openai_chat_model",
        "temperature",
    ):
        assert f"{key}: had no effect in the authors' code" in notes
    assert "label_constraint" not in notes


def test_attributes_that_a_model_is_to_name() -> None:
    found = translated(shaped(generation_hint={"add_attribute": True})).settings
    assert found["generate"]["attributes"] == {"category": {"extract": 50}}
    assert "extras" not in found["dataset"]["fields"]
    assert (
        "label" not in translated(shaped(generation_hint={"with_label": False})).settings["dataset"]["fields"]
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_type": "claude"}, {"api": "anthropic", "api_key": "${ANTHROPIC_API_KEY}"}),
        ({"model_type": "llama3"}, {"base_url": "https://api.deepinfra.com/v1/openai"}),
        ({"model_type": "gpt"}, {"api_key": "${OPENAI_API_KEY}"}),
    ],
)
def test_their_models(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    found = translated(shaped(generation_settings=changes)).settings["model"]
    assert expected.items() <= found.items()


def test_their_azure() -> None:
    found = translated(
        shaped(
            api_settings={
                "use_azure": True,
                "azure_base_url": "https://mine.openai.azure.com",
                "azure_model": "d",
            }
        )
    ).settings["model"]
    assert found["base_url"] == "https://mine.openai.azure.com"
    assert (found["api"], found["deployment"], found["api_version"]) == ("azure", "d", "2023-05-15")


async def test_convert_prints_ours_and_keeps_the_key(tmp_path: Path) -> None:
    path = written(tmp_path, api_settings={"openai_api_key": "sk-very-secret"}, generation_hint={"typo": 1})
    status, out, err = await finished(await datagen("convert", path))
    assert status == 0, err
    assert "sk-very-secret" not in out + err
    assert yaml.safe_load(out)["model"]["api_key"] == "${DATAGEN_API_KEY}"
    assert "generation_hint.typo: not known" in err
    status, _, err = await finished(await datagen("convert", path, "-o", tmp_path / "ours.yaml"))
    assert status == 0, err
    ours = RunConfig.load(tmp_path / "ours.yaml", {"model.api_key": "x"})
    assert ours.translation() is None
    assert ours.dataset.path == (str(tmp_path / "theirs.json"),)
    status, _, err = await finished(await datagen("convert", tmp_path / "ours.yaml"))
    assert (status, "nothing to translate" in err) == (2, True)


async def test_what_cannot_run_is_not_converted(tmp_path: Path) -> None:
    path = written(tmp_path, generation_hint={"original_dataset_path": None})
    status, out, err = await finished(await datagen("convert", path, "-o", tmp_path / "ours.yaml"))
    assert (status, out) == (2, "")
    assert "generate.few_shot: is above 0, and there is no dataset.path" in err
    assert not (tmp_path / "ours.yaml").exists()


async def test_run_says_what_it_runs(tmp_path: Path) -> None:
    path = written(tmp_path)
    status, _, err = await finished(
        await datagen(
            "run",
            path,
            "-o",
            tmp_path / "run",
            "--set",
            "model=simulated",
            "--set",
            "generate.selection=random",
        )
    )
    assert status == 0, err
    assert "is a config of the paper's own code; it is run as:" in err
    assert "had no effect in the authors' code" in err


def test_a_mistake_in_theirs_is_told_in_our_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with pytest.raises(ConfigError, match=r"theirs\.yaml \(translated\): generate\.target"):
        RunConfig.load(written(tmp_path, generation_settings={"generation_number": 0}))
    assert not is_theirs({"dataset": {}, "generation_settings": {}, "generation_hint": {}})
    assert not is_theirs({"generation_settings": {}})
    assert not is_theirs([])

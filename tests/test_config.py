"""Config files: what is right is typed, what is wrong is one sentence with its key and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT, Configs
from engine.config import RunConfig
from engine.constraints import FreeText, LabelRatio, Length
from engine.errors import ConfigError

GOOD = """\
dataset:
  path: base.jsonl
  description: Sums.
  fields: {text: question, label: answer}
  constraints:
    - Be kind.
    - length: {min: 3, max: 40}
    - label_ratio: {'yes': 1, 'no': 3}
generate:
  target: 10
  temperature: [0.5, 1]
model:
  name: some-model
  api_key: ${SOME_KEY}
"""


def load(tmp_path: Path, text: str, overrides: dict[str, Any] | None = None) -> RunConfig:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return RunConfig.load(path, overrides)


def test_a_good_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    config = load(tmp_path, GOOD)
    assert config.dataset.path == (str(tmp_path / "base.jsonl"),)
    assert config.dataset.constraints[:2] == (FreeText("Be kind."), Length(3, 40))
    assert config.dataset.ratio == LabelRatio({"yes": 1.0, "no": 3.0})
    assert config.generate.temperature == (0.5, 1.0)
    assert config.model.api_key == "sk-secret"


def test_what_is_written_loads_again_and_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    config = load(tmp_path, GOOD)
    written = yaml.safe_dump(config.without_secrets())
    assert "sk-secret" not in written
    assert "${SOME_KEY}" in written
    assert load(tmp_path, written).model_dump() == config.model_dump()


def test_a_key_with_a_line_end_is_trimmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret\n")
    assert load(tmp_path, GOOD).model.api_key == "sk-secret"


def test_secrets_are_veiled_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    overrides = {
        "model.api_key": "${NONE:-sk-default}",
        "model.headers": {"X-Title": "sk-title", "X-Other": "sk-other"},
        "model.extra_body": {"provider_key": "${SOME_KEY}", "api_key": "sk-extra", "top_k": 3},
        "validators": [{"name": "constraints", "api_key": "${SOME_KEY}", "service_token": "sk-token"}],
    }
    config = load(tmp_path, GOOD, overrides)
    assert config.model.api_key == "sk-default"
    written = yaml.safe_dump(config.without_secrets())
    assert "sk-" not in written
    for reference in (
        "${NONE}",
        "${DATAGEN_HEADERS_X_TITLE}",
        "${SOME_KEY}",
        "${DATAGEN_OPTION_SERVICE_TOKEN}",
    ):
        assert reference in written
    assert load_leniently(tmp_path, written).generate == config.generate


def test_secrets_that_are_numbers_are_veiled_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    monkeypatch.setenv("PIN", "73519284")
    config = load(
        tmp_path,
        GOOD,
        {
            "model.extra_body": {"password": 12345678, "api_key": "${PIN}", "top_k": 77},
            "validators": [
                {
                    "name": "constraints",
                    "secret": 123.25,
                    "credentials": [{"password": 555666}, "abcdef"],
                    "passwords": {"one": "ghijkl"},
                }
            ],
        },
    )
    written = yaml.safe_dump(config.without_secrets())
    for secret in ("12345678", "73519284", "123.25", "555666", "abcdef", "ghijkl"):
        assert secret not in written
    assert "${PIN}" in written
    assert "top_k: 77" in written
    assert load_leniently(tmp_path, written).without_secrets() == yaml.safe_load(written)


def load_leniently(tmp_path: Path, text: str) -> RunConfig:
    path = tmp_path / "written.yaml"
    path.write_text(text)
    return RunConfig.load(path, lenient=True)


def test_a_path_from_the_environment_is_written_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "k")
    monkeypatch.setenv("FOLDER", "data #1")
    config = load(tmp_path, GOOD, {"dataset.path": "${FOLDER}/base.jsonl"})
    assert config.dataset.path == (str(tmp_path / "data #1" / "base.jsonl"),)
    assert config.without_secrets()["dataset"]["path"] == config.dataset.path[0]


def test_a_simple_pattern_says_how_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "k")
    config = load(tmp_path, GOOD, {"dataset.fields.label": {"field": "a", "pattern": "#### (.+)"}})
    assert config.dataset.fields.label is not None
    assert config.dataset.fields.label.write == "#### {label}"


def test_a_literal_key_is_replaced_by_a_reference(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD, {"model.api_key": "sk-literal", "model.headers": {"X-Key": "sk-head"}})
    written = yaml.safe_dump(config.without_secrets())
    assert "sk-literal" not in written
    assert "sk-head" not in written
    assert "${DATAGEN_API_KEY}" in written


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"generate.traget": 3}, "generate.traget: there is no such key; did you mean 'target'?"),
        (
            {"generate.target": "ten"},
            "the command line: generate.target: should be a valid integer (got 'ten')",
        ),
        ({"generate.target": 0}, "generate.target: should be greater than or equal to 1 (got 0)"),
        ({"generate.target": True}, "generate.target: should be a valid integer"),
        ({"generate.temperature": [1.5, 0.5]}, "generate.temperature: must lie between 0 and 2"),
        ({"limits.budget_usd": -1}, "limits.budget_usd: should be greater than 0"),
        ({"model.base_url": "ftp://x"}, "model.base_url: must start with http://"),
        ({"dataset.description": "  "}, "dataset.description: is empty"),
        ({"dataset.fields.label": {"field": "a", "pattern": "("}}, "is not a regular expression"),
        ({"dataset.fields.label": {"field": "a", "pattern": "x"}}, "needs one group"),
        ({"dataset.fields.label": {"field": "a", "write": "x"}}, "must contain {label}"),
        ({"dataset.fields.choices": {"columns": ["a"], "field": "b"}}, "either 'field'"),
        ({"dataset.fields.extras": ["question"]}, "is the text or the label already"),
        ({"dataset.fields.label": None}, "speak of a label and dataset.fields names none"),
        ({"dataset.constraints": [{"size": 3}]}, "dataset.constraints.0: has no kind 'size'"),
        ({"dataset.constraints": [{"length": {"mn": 3}}]}, "length has no option 'mn'"),
        ({"dataset.constraints": [{"length": {}}]}, "length needs min, max or both"),
        ({"dataset.constraints": [{"length": {"min": 9, "max": 2}}]}, "min 9 is above max 2"),
        ({"dataset.constraints": [{"regex": "("}]}, "is not a regular expression"),
        ({"dataset.constraints": [{"language": "English"}]}, "is no ISO 639-1 code"),
        ({"dataset.constraints": [{"label_ratio": {"a": 0}}]}, "positive weight"),
        ({"dataset.constraints": [3]}, "is neither a sentence nor one of"),
        (
            {"dataset.constraints": [{"length": {"min": 2, "field": "question"}}]},
            "here it is one of label, text",
        ),
        (
            {"dataset.constraints": [{"label_ratio": {True: 1}}]},
            "a key is yes, on or true to YAML; put it in quotes",
        ),
        ({"dataset.fields.label": "question"}, "cannot be both the text and the label"),
        ({"dataset.fields.extras": ["_meta"]}, "no field may be called '_meta'"),
        ({"dataset.fields.label": {"field": "a", "pattern": r"#+ (.+?)\s*$"}}, "needs 'write'"),
        ({"limits.budget_usd": float("nan")}, "limits.budget_usd: must be a finite number"),
        ({"limits.budget_usd": float("inf")}, "limits.budget_usd: must be a finite number"),
        ({"model.base_url": "http://user:pw@host/v1"}, "no user or password"),
        ({"model.base_url": "http://host:99999/v1"}, "is no address"),
        ({"model.api_key": "two\nlines"}, "no HTTP header may hold"),
        ({"model.extra_body": {"n": 20}}, "may not set 'n'"),
        ({"validators": ["constraints", "constraints"]}, "names one of them twice"),
        ({"model": "${NOT_SET}"}, "the environment variable NOT_SET is not set"),
        ({"model.simulator": {"wrong": 1}}, "model.simulator.wrong: there is no such key"),
        ({"model.simulator": {"latency_p99_s": 1.0}}, "latency_p99_s needs latency_s"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD, overrides)
    assert said in str(caught.value)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset: [", "line 1: not YAML"),
        ("a: b: c", "not YAML"),
        ("", "holds no settings"),
        ("- a", "holds no settings"),
        ("seed: 1\nseed: 2\n", "line 2: seed: stands here twice"),
        ("a: &a [*a]", "nested too deep"),
        ("a: 2024-13-45", "not YAML that makes sense"),
        ("dataset: {description: x}\n", "model: is missing"),
    ],
)
def test_a_file_that_is_no_config(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, text)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        RunConfig.load(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        RunConfig.load(tmp_path / "b.yaml")


def test_simulated_in_one_word(configs: Configs) -> None:
    config = configs.load("http://x", model="simulated")
    assert config.model.simulator is not None
    assert config.model.price is not None


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-x")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://name.openai.azure.com")
    monkeypatch.setenv("DATAGEN_DATA", "/nowhere")
    config = RunConfig.load(path)
    assert "sk-x" not in str(config.without_secrets())


def test_a_run_of_an_earlier_release_goes_on_with_its_spelling_of_labels() -> None:
    from engine.store.identity import differences

    before = {"dataset.fields.label.kind": "index", "seed": 0}
    assert differences(before, {"dataset.fields.label.kind": "from_0", "seed": 0}, {}) == []
    assert differences(before, {"dataset.fields.label.kind": "from_1", "seed": 0}, {}) != []


def test_words_are_what_their_writer_wrote(tmp_path: Path) -> None:
    """YAML makes booleans, numbers and dates of some words; where only a word may stand, it stays one."""
    given = """
dataset:
  description: d
  fields: {text: q, label: {field: a, labels: [yes, no, 1, 2024-01-01]}}
  constraints:
    - label_in: [yes, no, 0]
    - language: no
    - contains: on
    - label_ratio: {yes: 1, no: 2.5}
generate: {target: 3, few_shot: 0, attributes: {a: {values: [yes, 1]}, b: {values: {on: 1, off: 2}}}}
model: simulated
"""
    (tmp_path / "c.yaml").write_text(given)
    config = RunConfig.load(tmp_path / "c.yaml")
    assert config.dataset.fields.label is not None
    assert config.dataset.fields.label.labels == ("yes", "no", "1", "2024-01-01")
    labels, language, words, ratio = config.dataset.constraints
    assert (labels.labels, language.code, words.words) == (("yes", "no", "0"), "no", ("on",))
    assert ratio.weights == {"yes": 1.0, "no": 2.5}
    values = [attribute.values for attribute in config.generate.attributes.values()]
    assert values == [{"yes": 1.0, "1": 1.0}, {"on": 1.0, "off": 2.0}]


def test_on_is_a_key_where_it_is_ours(tmp_path: Path, problems: Path) -> None:
    """YAML takes a bare `on` for true; of a section that has such a key, it can mean nothing else."""
    fields = "{text: question, label: answer}"
    head = f"dataset: {{path: {problems}, description: d, fields: {fields}}}\nmodel: simulated\n"
    path = tmp_path / "c.yaml"
    path.write_text(f"{head}spread:\n  on: local\n  workers: 2\n")
    assert RunConfig.load(path).spread.on == "local"
    path.write_text(f"{head}spread:\n  on: nowhere\n")
    with pytest.raises(ConfigError, match=r"line 4: spread\.on|spread\.on.*line 4|c.yaml line 4"):
        RunConfig.load(path)
    path.write_text(f"{head}limits:\n  on: 3\n")
    with pytest.raises(ConfigError, match="put it in quotes"):
        RunConfig.load(path)

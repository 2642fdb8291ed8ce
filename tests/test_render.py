"""Prompts: what the model is shown, and templates of one's own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from conftest import Configs
from engine.errors import ConfigError
from engine.items import Batch
from engine.prompts.template import PromptTemplate
from engine.runs.modes import GenerateMode


def test_a_prompt_holds_all_that_was_declared(configs: Configs) -> None:
    constraints = ["Be exact.", {"length": {"max": 30}}, {"label_ratio": {"x": 1, "y": 2}}]
    inputs = GenerateMode().load(configs.load("http://h", dataset={"constraints": constraints}))
    prompt = inputs.prompts.render(Batch(4, 3, 99, 0.7, (0, 5), (("x", 1), ("y", 2))))
    assert prompt.key == "4/items"
    assert (prompt.purpose, prompt.seed, prompt.temperature) == ("items", 99, 0.7)
    for said in (
        "Sums of small numbers.",
        "Be exact.",
        "at most 30 words",
        '{"text":"What is 0 plus 1, in whole numbers?","label":"1"}',
        '{"text":"What is 5 plus 6, in whole numbers?","label":"11"}',
        "Write exactly 3 new items",
        '1 with the label "x"',
        '2 with the label "y"',
    ):
        assert said in prompt.user
    schema = prompt.schema["properties"]["items"]
    assert (schema["minItems"], schema["maxItems"]) == (3, 3)
    assert schema["items"]["properties"]["label"]["enum"] == ["x", "y"]


def test_what_stands_in_a_row_is_never_template_text(configs: Configs) -> None:
    configs.base.write_text('{"question": "{{ 7 * 7 }} {% raise %} What?", "answer": "1"}\n')
    inputs = GenerateMode().load(configs.load("http://h", generate={"few_shot": 1}))
    assert "{{ 7 * 7 }} {% raise %} What?" in inputs.prompts.render(Batch(0, 1, 0, 1.0, (0,))).user


def test_a_template_of_ones_own(configs: Configs, tmp_path: Path) -> None:
    template = (
        "{% block system %}S{% endblock %}{% block user %}{{ size }} of {{ description }}{% endblock %}"
    )
    (tmp_path / "own.j2").write_text(template)
    inputs = GenerateMode().load(configs.load("http://h", generate={"template": "own.j2"}))
    prompt = inputs.prompts.render(Batch(0, 2, 0, 1.0))
    said = "2 of Sums of small numbers. The label is the final answer."
    form = '{"items": [{"text": text, "label": text}, ...]}'
    assert (prompt.system, prompt.user) == ("S", f"{said}\n\nAnswer in this form:\n{form}")
    (tmp_path / "own.j2").write_text(template.replace("{{ size }} of", "{{ form }} for"))
    prompt = GenerateMode().load(inputs.config).prompts.render(Batch(0, 2, 0, 1.0))
    assert prompt.user == f"{form} for {said.removeprefix('2 of ')}"  # stated once


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% block system %}{% endblock %}", "has no block 'user'"),
        ("{% block", "own.j2 line 1"),
        ("{% block system %}{{ typo }}{% endblock %}{% block user %}{% endblock %}", "'typo' is undefined"),
    ],
)
def test_a_wrong_template_is_told_before_the_run(
    configs: Configs, tmp_path: Path, template: str, said: str
) -> None:
    (tmp_path / "own.j2").write_text(template)
    with pytest.raises(ConfigError, match=said):
        GenerateMode().load(configs.load("http://h", generate={"template": "own.j2"}))


def test_a_missing_template(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        PromptTemplate.load("items", tmp_path / "none.j2")


@pytest.mark.parametrize(
    "attack",
    [
        "{{ cycler.__init__.__globals__.os.popen('touch pwned').read() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ description.__class__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ fields.update({'text': 'x'}) }}",
        "{% for number in range(10000000) %}{% endfor %}",
        "{{ '%s' | attr('__class__') }}",
        "{{ '{0.__class__}'.format(description) }}",
    ],
)
def test_a_template_reaches_nothing_but_its_values(
    attack: str, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A config may be somebody else's, and `plan` renders its template."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.j2").write_text(
        "{% block system %}S{% endblock %}{% block user %}" + attack + "{% endblock %}"
    )
    with pytest.raises(ConfigError):
        GenerateMode().load(configs.load("http://h", generate={"template": "own.j2"}))
    assert not (tmp_path / "pwned").exists()


BOMBS = [
    "{{ 'x' * 10000000000 }}",
    "{{ 'x'.ljust(10000000000) }}",
    "{{ 'x'|center(10000000000) }}",
    "{{ '%10000000000d' % 7 }}",
    "{{ '%10000000000d'|format(7) }}",
    "{{ '{:10000000000}'.format(7) }}",
    "{{ 9 ** 999999 ** 9 }}",
    "{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}",
    "{% for a in [1] %}{% for b in [1] %}{% for c in [1] %}{% for d in [1] %}{% for e in [1] %}{% endfor %}{% endfor %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "{% for i in range(100) %}{% for j in range(100) %}{{ 'x' * 9999 }}{% endfor %}{% endfor %}",
    "{{ lipsum(n=100000) }}",
]


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_template_takes_neither_memory_nor_time(bomb: str) -> None:
    began = time.process_time()
    with pytest.raises(ConfigError):
        PromptTemplate(
            f"{{% block system %}}{bomb}{{% endblock %}}{{% block user %}}{{% endblock %}}", "x"
        ).render({})
    assert time.process_time() - began < 5
